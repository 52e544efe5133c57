"""How a page was made: parameters on top, the record at its foot, a badge when inputs have changed."""

from dataclasses import dataclass, field

STALE = "This page no longer matches its inputs"
DATA = {"phantom": "phantom (simulated; not a finding about brains)", "nsd": "Natural Scenes Dataset"}


@dataclass(frozen=True)
class Making:
    """What is known about the making of a page.

    Parameters
    ----------
    record : dict
        What :mod:`brainalign_utils.running.execute` stored in the executed copy.
    name, data : str
        Stem of the notebook; "phantom" or "nsd".
    study : str
        Name of the study.
    declared : dict
        Parameters of the notebook with their defaults.
    inputs : dict
        Hashes of the inputs as they are now (:func:`brainalign_utils.registry.input_hashes`).
    n_runs : int
        Executed copies of the notebook; the page shows one of them.
    """

    record: dict
    name: str
    data: str
    study: str
    declared: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)
    n_runs: int = 1

    def changed(self) -> list[str] | None:
        """Inputs that differ from those of the record; None when the record holds none."""
        before = self.record.get("inputs")
        if not before:
            return None
        names = {**before, **self.inputs}
        return [name for name in names if before.get(name) != self.inputs.get(name)]


def tools(making: Making) -> str:
    """Markdown under the title: downloads, how to open the notebook, and the badge."""
    links = " ".join(
        f"{{download}}`{kind} <../book/downloads/{making.name}{kind}>`" for kind in (".ipynb", ".py")
    )
    text = f"Download {links}; open with `make lab NOTEBOOK={making.name}`"
    lines = [f":::{{div}} page-tools\n{text}\n:::"]
    if changed := making.changed():
        shown = ", ".join(f"`{name}`" for name in changed[:4]) + (", …" if len(changed) > 4 else "")
        remedy = "`make book` makes it again"
        badge = (
            f":::{{admonition}} {STALE}\n:class: warning stale-badge\n{shown} changed since; {remedy}.\n:::"
        )
        lines.append(badge)
    return "\n\n".join(lines)


def parameter_table(making: Making) -> str:
    """Markdown table of the parameters: values of this page beside the defaults."""
    lines = [":::{div} parameters", "", "| parameter | on this page | default |", "|---|---|---|"]
    for name, default in making.declared.items():
        value = making.record.get("parameters", {}).get(name, default)
        shown = f"settings of study `{making.study}`" if name == "settings_file" else f"`{value}`"
        lines.append(f"| `{name}` | {shown} | `{default}` |")
    if making.n_runs > 1:
        lines += ["", f"One of {making.n_runs} runs of this notebook; the others differ in these parameters."]
    return "\n".join([*lines, "", ":::"])


def footer(making: Making) -> str:
    """Markdown that says how the page was made."""
    record, changed = making.record, making.changed()
    given = {
        k: v for k, v in {**making.declared, **record.get("parameters", {})}.items() if k != "settings_file"
    }
    versions = ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items())
    match = {None: "not recorded", 0: "unchanged since"}
    rows = {
        "data": DATA[making.data],
        "parameters": ", ".join(f"{k} = {v}" for k, v in given.items()) or "none but the settings",
        "revision": f"git {record.get('git_revision', 'unknown')}, "
        f"lock file {record.get('lock_hash', 'unknown')}",
        "machine": record.get("hardware", "unknown"),
        "wall time": f"{record.get('wall_time_s', 0):.0f} s",
        "peak memory": f"{(record.get('peak_memory_bytes') or 0) / 2**30:.2f} GiB",
        "made": record.get("written", "unknown").replace("T", " ").replace("+00:00", " UTC"),
        "versions": f"Python {record.get('python', '')}, {versions}",
        "inputs": match.get(
            changed if changed is None else len(changed), "changed since: see the badge above"
        ),
    }
    table = "\n".join(f"- **{key}:** {value}" for key, value in rows.items())
    return f":::{{div}} provenance\n**How this page was made**\n\n{table}\n:::"
