"""From an executed notebook to a page of the book: pure functions on notebooks."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

from nbformat.v4 import new_markdown_cell

from . import provenance

DROPPED_TAGS = {"injected-parameters"}


def clean_notebook(
    notebook, making: provenance.Making, figures: Path, widgets: Callable[[list], list[str]] = lambda tags: []
):
    """Copy of an executed notebook that reads like a page.

    Injected parameters and progress bars go, code is folded, figures get their number, caption, alternative
    text and downloads; downloads stand under the title, parameters above their cell, and the foot says how
    the page was made.

    Parameters
    ----------
    notebook : nbformat notebook, executed by :mod:`brainalign_utils.running.execute`
    making : Making
    figures : folder with the ``.json`` descriptions of saved figures
    widgets : callable
        Markdown of the widgets that a cell's tags name; they stand behind the cell.
    """
    page = without_injected(notebook)
    for cell in page.cells:
        if cell.cell_type == "code":
            _clean_code(cell, figures)
    page.cells = [part for cell in page.cells for part in _with_company(cell, making, figures, widgets)]
    title, _, rest = page.cells[0].source.partition("\n")
    page.cells[0].source = f"{title}\n\n{provenance.tools(making)}\n\n{rest}"
    page.cells.append(new_markdown_cell(provenance.footer(making)))
    return page


def without_injected(notebook):
    """Copy of an executed notebook without the cell that papermill wrote and without traces of the run."""
    page = copy.deepcopy(notebook)
    page.cells = [c for c in page.cells if not DROPPED_TAGS & set(c.metadata.get("tags", []))]
    for cell in page.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    page.metadata.pop("brainalign", None)
    return page


def _clean_code(cell, figures):
    tags = set(cell.metadata.get("tags", []))
    cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    if "parameters" in tags or not tags & {"remove-cell", "show-input"}:
        tags.add("hide-input")
    cell.metadata["tags"] = sorted(tags)
    for name in _figure_names(cell):
        about = json.loads((figures / f"{name}.json").read_text())
        cell.metadata["mystnb"] = {
            "figure": {"name": f"fig-{name.replace('_', '-')}", "caption": about["caption"]},
            "image": {"alt": about["alt"], "classes": "study-figure dark-light"},
        }
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": output.data["image/png"]}


def _figure_names(cell):
    """Figures that a cell has drawn; a study of one model has nothing to draw where models are compared."""
    if not any("image/png" in output.get("data", {}) for output in cell.outputs):
        return []
    tags = cell.metadata.get("tags", [])
    return [tag.removeprefix("figure:") for tag in sorted(tags) if tag.startswith("figure:")]


def _with_company(cell, making, figures, widgets):
    """A cell with what belongs before and behind it."""
    tags = cell.metadata.get("tags", [])
    if "parameters" in tags:
        yield new_markdown_cell(provenance.parameter_table(making))
    yield cell
    for name in _figure_names(cell) if cell.cell_type == "code" else ():
        links = " ".join(
            f"{{download}}`{kind.upper()} <../book/downloads/{name}.{kind}>`"
            for kind in ("csv", "svg", "png")
        )
        text = f"Data and pictures: {links}; remake: `make figure NOTEBOOK={making.name}`"
        yield new_markdown_cell(f":::{{div}} figure-links\n{text}\n:::")
    for text in widgets(tags):
        yield new_markdown_cell(text)


def front_figure(name: str, page: str, figures: Path) -> str:
    """Markdown of a figure on the first page, with a link to the page that tells about it."""
    about = json.loads((figures / f"{name}.json").read_text())
    alt = about["alt"].replace("\n", " ")
    picture = f"```{{image}} /book/downloads/{name}.png\n:alt: {alt}\n:class: study-figure dark-light\n```"
    label = f"fig-{name.replace('_', '-')}"
    picture = f":::{{div}} front-figure\n{picture}\n:::"
    return f"{picture}\n\n{about['caption']} How to read it: [](/notebooks/{page}), {{numref}}`{label}`.\n"
