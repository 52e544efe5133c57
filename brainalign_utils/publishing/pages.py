"""From an executed notebook to a page of the book: pure functions on notebooks.

Under the title stand downloads, above the parameters their values, behind a figure its files and what readers
can move, and at the foot how the page was made.
"""

import copy
import json
from ast import literal_eval
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nbformat.v4 import new_markdown_cell

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
        return [name for name in {**before, **self.inputs} if before.get(name) != self.inputs.get(name)]


def clean_notebook(
    notebook, making: Making, figures: Path, widgets: Callable[[list], list[str]] = lambda tags: []
):
    """Copy of an executed notebook that reads like a page.

    Parameters
    ----------
    notebook : nbformat notebook, executed by :mod:`brainalign_utils.running.execute`
    making : Making
    figures : folder with the ``.json`` descriptions of saved figures
    widgets : callable
        Markdown of the widgets that a cell's tags name; they stand behind the cell.
    """
    page = without_injected(notebook)
    page.cells = [part for cell in page.cells for part in _with_neighbours(cell, making, figures, widgets)]
    title, _, rest = page.cells[0].source.partition("\n")
    page.cells[0].source = f"{title}\n\n{_under_title(making)}\n\n{rest}"
    page.cells.append(new_markdown_cell(_footer(making)))
    return page


def without_injected(notebook):
    """Copy of an executed notebook without the cell that papermill wrote and without traces of the run."""
    page = copy.deepcopy(notebook)
    page.cells = [c for c in page.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in page.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    page.metadata.pop("brainalign", None)
    return page


def glued(notebook) -> dict:
    """What an executed notebook hands to prose with :func:`myst_nb.glue`, by name."""
    found = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if about := output.get("metadata", {}).get("scrapbook"):
            found[about["name"]] = literal_eval(output["data"][about["mime_prefix"] + "text/plain"])
    return found


def figure_names(cell) -> list[str]:
    """Figures that a cell has drawn; a study of one model has nothing to draw where models are compared."""
    drawn = any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    tags = cell.metadata.get("tags", []) if drawn else []
    return [tag.removeprefix("figure:") for tag in tags if tag.startswith("figure:")]


def _with_neighbours(cell, making, figures, widgets):
    """A cell as the page shows it, with what belongs before and behind it."""
    tags = cell.metadata.get("tags", [])
    if cell.cell_type == "code":
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]  # progress bars
        if "parameters" in tags or not {"remove-cell", "show-input"} & set(tags):
            cell.metadata["tags"] = sorted({*tags, "hide-input"})
    if "parameters" in tags:
        yield new_markdown_cell(_parameter_table(making))
    yield cell
    for name in figure_names(cell):
        about = json.loads((figures / f"{name}.json").read_text())
        cell.metadata["mystnb"] = {
            "figure": {"name": _label(name), "caption": about["caption"]},
            "image": {"alt": about["alt"], "classes": "study-figure dark-light"},
        }
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": output.data["image/png"]}
        links = " ".join(_download(kind.upper(), f"{name}.{kind}") for kind in ("csv", "svg", "png"))
        text = f"Data and pictures: {links}; remake: `make figure NOTEBOOK={making.name}`"
        yield new_markdown_cell(f":::{{div}} figure-links\n{text}\n:::")
    for text in widgets(tags):
        yield new_markdown_cell(text)


def _label(figure):
    return f"fig-{figure.replace('_', '-')}"


def _download(title, file):
    return f"{{download}}`{title} <../book/downloads/{file}>`"


def front_figure(name: str, page: str, figures: Path) -> str:
    """Markdown of a figure on the first page, with a link to the page that tells about it."""
    about = json.loads((figures / f"{name}.json").read_text())
    alt = about["alt"].replace("\n", " ")
    image = f"```{{image}} /book/downloads/{name}.png\n:alt: {alt}\n:class: study-figure dark-light\n```"
    text = f"{about['caption']} How to read it: [](/notebooks/{page}.ipynb), {{numref}}`{_label(name)}`."
    return f":::{{div}} front-figure\n{image}\n:::\n\n{text}\n"


def _under_title(making):
    """Downloads, how to open the notebook, and a badge when inputs have changed."""
    links = " ".join(_download(kind, f"{making.name}{kind}") for kind in (".ipynb", ".py"))
    text = f":::{{div}} page-tools\nDownload {links}; open with `make lab NOTEBOOK={making.name}`\n:::"
    if changed := making.changed():
        shown = ", ".join(f"`{name}`" for name in changed[:4]) + (", …" if len(changed) > 4 else "")
        remedy = f"{shown} changed since; `make book` makes it again."
        text += f"\n\n:::{{admonition}} {STALE}\n:class: warning stale-badge\n{remedy}\n:::"
    return text


def _parameter_table(making):
    """Values of this page beside the defaults."""
    lines = [":::{div} parameters", "", "| parameter | on this page | default |", "|---|---|---|"]
    for name, default in making.declared.items():
        value = making.record.get("parameters", {}).get(name, default)
        shown = f"settings of study `{making.study}`" if name == "settings_file" else f"`{value}`"
        lines.append(f"| `{name}` | {shown} | `{default}` |")
    if making.n_runs > 1:
        lines += ["", f"One of {making.n_runs} runs of this notebook; the others differ in these parameters."]
    return "\n".join([*lines, "", ":::"])


def _footer(making):
    """How the page was made."""
    record, changed = making.record, making.changed()
    given = making.declared | record.get("parameters", {})
    given = ", ".join(f"{name} = {value}" for name, value in given.items() if name != "settings_file")
    versions = ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items())
    match = "changed since: see the badge above" if changed else "unchanged since"
    rows = {
        "data": DATA[making.data],
        "parameters": given or "none but the settings",
        "revision": f"git {record.get('git_revision', 'unknown')}, "
        f"lock file {record.get('lock_hash', 'unknown')}",
        "machine": record.get("hardware", "unknown"),
        "wall time": f"{record.get('wall_time_s', 0):.0f} s",
        "peak memory": f"{(record.get('peak_memory_bytes') or 0) / 2**30:.2f} GiB",
        "made": record.get("written", "unknown").replace("T", " ").replace("+00:00", " UTC"),
        "versions": f"Python {record.get('python', '')}, {versions}",
        "inputs": "not recorded" if changed is None else match,
    }
    table = "\n".join(f"- **{key}:** {value}" for key, value in rows.items())
    return f":::{{div}} provenance\n**How this page was made**\n\n{table}\n:::"
