"""From an executed notebook to a page of the book: pure functions on notebooks."""

import copy
import json
from pathlib import Path
from statistics import median

import nbformat
import pandas as pd

DROPPED_TAGS = {"injected-parameters"}


def clean_notebook(notebook, name: str, data: str, figures: Path):
    """Copy of an executed notebook that reads like a page.

    Injected parameters and progress bars go, code is folded, figures get their number, caption, alternative
    text and downloads, and a footer says how the page was made.

    Parameters
    ----------
    notebook : nbformat notebook, executed by :mod:`brainalign_utils.execute`
    name : stem of the notebook's source
    data : {"phantom", "nsd"}
    figures : folder with the ``.json`` descriptions of saved figures
    """
    page = copy.deepcopy(notebook)
    page.cells = [c for c in page.cells if not DROPPED_TAGS & set(c.metadata.get("tags", []))]
    for cell in page.cells:
        if cell.cell_type == "code":
            _clean_code(cell, figures)
    page.cells = [part for cell in page.cells for part in (cell, *_figure_links(cell, figures))]
    page.cells.append(
        nbformat.v4.new_markdown_cell(footer(notebook.metadata.get("brainalign", {}), name, data))
    )
    return page


def _clean_code(cell, figures):
    tags = set(cell.metadata.get("tags", []))
    cell.metadata.pop("papermill", None)
    cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    if "parameters" in tags or not tags & {"remove-cell", "show-input"}:
        tags.add("hide-input")
    cell.metadata["tags"] = sorted(tags)
    for name in _figure_names(tags):
        about = json.loads((figures / f"{name}.json").read_text())
        cell.metadata["mystnb"] = {
            "figure": {"name": f"fig-{name.replace('_', '-')}", "caption": about["caption"]},
            "image": {"alt": about["alt"], "classes": "study-figure dark-light"},
        }
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": output.data["image/png"]}


def _figure_names(tags):
    return [tag.removeprefix("figure:") for tag in sorted(tags) if tag.startswith("figure:")]


def _figure_links(cell, figures):
    if cell.cell_type != "code":
        return
    for name in _figure_names(cell.metadata.get("tags", [])):
        about = json.loads((figures / f"{name}.json").read_text())
        links = " · ".join(
            f"{{download}}`{kind.upper()} <../book/downloads/{name}.{kind}>`"
            for kind in ("csv", "svg", "png")
        )
        text = f"*Data and pictures:* {links} · *remake:* `{about['command']}`"
        yield nbformat.v4.new_markdown_cell(f":::{{div}} figure-links\n{text}\n:::")


def footer(record: dict, name: str, data: str) -> str:
    """Markdown that says how a page was made."""
    parameters = {k: v for k, v in record.get("parameters", {}).items() if k != "settings_file"}
    versions = ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())
    rows = [
        ("data", "phantom (simulated; not a finding about brains)" if data == "phantom" else "NSD"),
        ("parameters", ", ".join(f"{k} = {v}" for k, v in parameters.items()) or "none but the settings"),
        ("revision", f"{record.get('git_revision', 'unknown')}, lock {record.get('lock_hash', 'unknown')}"),
        ("machine", record.get("hardware", "unknown")),
        (
            "cost",
            f"{record.get('wall_time_s', 0):.0f} s, "
            f"peak memory {record.get('peak_memory_bytes', 0) / 2**30:.2f} GiB, "
            f"{record.get('written', '')[:10]}",
        ),
        ("versions", f"Python {record.get('python', '')}, {versions}"),
    ]
    table = "\n".join(f"- **{key}:** {value}" for key, value in rows)
    source = f"{{download}}`{name}.py <../book/downloads/{name}.py>`"
    head = ":::{admonition} How this page was made\n:class: note dropdown provenance\n\n"
    return f"{head}{table}\n- **source:** {source}\n:::"


def cost_table(executed: Path) -> str:
    """Markdown table of time and memory per notebook, from the records of all executed copies."""
    lines = [
        "| notebook | runs | median s | longest s | total s | peak memory GiB |",
        "|---|---|---|---|---|---|",
    ]
    for folder in sorted(path for path in executed.iterdir() if path.is_dir()):
        notebooks = [p for p in sorted(folder.glob("*.ipynb")) if not p.name.endswith(".failed.ipynb")]
        records = [nbformat.read(path, as_version=4).metadata.get("brainalign", {}) for path in notebooks]
        seconds = [record["wall_time_s"] for record in records if "wall_time_s" in record]
        if seconds:
            peak = max(record["peak_memory_bytes"] for record in records if "wall_time_s" in record) / 2**30
            numbers = f"{median(seconds):.0f} | {max(seconds):.0f} | {sum(seconds):.0f} | {peak:.2f}"
            lines.append(f"| {folder.name} | {len(seconds)} | {numbers} |")
            machine = records[-1]["hardware"]
    if len(lines) > 2:
        lines += [
            "",
            f"Machine: {machine}. Jobs run side by side, one per core; times include starting a kernel.",
        ]
    return "\n".join(lines) + "\n"


def ridge_table(results: Path) -> str:
    """Markdown table of the ridge benchmark, from the file that ``benchmarks/ridge.py`` writes."""
    if not results.is_file():
        return "Not measured yet: `make benchmark`.\n"
    table = pd.read_csv(results)
    columns = ["n, p, voxels, penalties", "solver", "CPU seconds, one thread"]
    columns += ["ours is faster by", "target", "runs", "load"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in table.itertuples():
        shape = f"{row.n_stimuli}, {row.n_features}, {row.n_voxels}, {row.n_alphas}"
        ratio = "" if row.solver == "ours" else f"{row.ratio:.1f}x"
        target = "" if pd.isna(row.target) else f"{row.target:g}x"
        cells = (shape, row.solver, f"{row.seconds:.1f}", ratio, target, row.n_runs, f"{row.load:.1f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    facts = f"Machine: {table.machine.iloc[-1]}; {table.versions.iloc[-1]}; {table.date.iloc[-1]}."
    return "\n".join([*lines, "", f"{facts} *Load* is the machine's load average during the runs."]) + "\n"
