"""Tables for readers that are written when the book is built: cost, solver times, models, instructions."""

from pathlib import Path
from statistics import median

import nbformat
import yaml

from ...models import MODEL_BY_ID, ROLE_TITLES
from ...settings import Settings


def markdown_table(columns, rows) -> str:
    """Rows of cells as a Markdown table; bars inside cells are escaped."""
    lines = [list(map(str, columns)), ["---"] * len(columns), *([str(c) for c in row] for row in rows)]
    escaped = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def model_table(settings: Settings) -> str:
    """The models of a study: what each stands for, its size, parts and input."""
    columns = ("model", "stands for", "checkpoint", "parameters", "parts (layers)", "gets")
    rows = []
    for row in (MODEL_BY_ID[model] for model in settings.models):
        parts = ", ".join(f"{name} {n}" if n else name for name, n in row.components)
        given = {"stimulus": "picture", "blank": "blank picture", "none": ""}[row.image]
        given = [given, "caption" if "{caption}" in row.prompt else ""]
        given += ["instruction" if row.instructed and "{instruction}" in row.prompt else ""]
        size = f"{row.n_parameters / 1e9:.1f} billion"
        weights = f"`{row.checkpoint}`" + (", weights drawn at random" if row.init == "random" else "")
        weights += ", commit " + ("not pinned" if row.revision == "main" else f"`{row.revision[:7]}`")
        rows += [(row.title, ROLE_TITLES[row.role], weights, size, parts, ", ".join(filter(None, given)))]
    return markdown_table(columns, rows) + "\n"


def prompt_table(settings: Settings) -> str:
    """Templates that put an instruction before a model."""
    rows = [MODEL_BY_ID[model] for model in settings.models]
    shown = {row.prompt: row.title for row in reversed(rows) if row.prompt}
    return markdown_table(("model", "template"), [(t, f"`{p!r}`") for p, t in reversed(shown.items())]) + "\n"


def instruction_table(settings: Settings) -> str:
    """The instructions of a study from low-level to high-level content."""
    rows = [(row.level, row.id, row.task, row.text) for row in settings.instruction_rows()]
    return markdown_table(("level", "id", "task", "instruction"), rows) + "\n"


def cost_table(executed: Path) -> str:
    """Time and memory per notebook, from the records of all executed copies."""
    rows, machine = [], ""
    for folder in sorted(path for path in executed.iterdir() if path.is_dir()):
        notebooks = [p for p in sorted(folder.glob("*.ipynb")) if not p.name.endswith(".failed.ipynb")]
        records = [nbformat.read(path, as_version=4).metadata.get("brainalign", {}) for path in notebooks]
        records = [record for record in records if "wall_time_s" in record]
        if records:
            seconds = [record["wall_time_s"] for record in records]
            peak = max(record["peak_memory_bytes"] or 0 for record in records) / 2**30
            times = (f"{value:.0f}" for value in (median(seconds), max(seconds), sum(seconds)))
            rows.append((folder.name, len(seconds), *times, f"{peak:.2f}"))
            machine = records[-1]["hardware"]
    table = markdown_table(("notebook", "runs", "median s", "longest s", "total s", "peak memory GiB"), rows)
    facts = f"Machine: {machine}. Jobs run side by side, one per core; times include starting a kernel."
    return f"{table}\n\n{facts if rows else 'Nothing was executed.'}\n"


def citation(root: Path) -> str:
    """BibTeX entry of this project, from ``CITATION.cff``."""
    facts = yaml.safe_load((root / "CITATION.cff").read_text())
    authors = " and ".join(
        f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}"
        for a in facts["authors"]
    )
    fields = {"author": authors, "title": f"{{{facts['title']}}}", "version": facts["version"]}
    fields |= {"year": str(facts.get("date-released", ""))[:4], "doi": facts.get("doi", "")}
    fields |= {"url": facts.get("repository-code", ""), "note": f"{facts['license']} licence"}
    entry = "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items() if value)
    return f"```bibtex\n@software{{brainalign,\n{entry}}}\n```\n"


def api_reference(modules) -> str:
    """Directives that document modules, one section each."""
    sections = (
        f"## {name.removeprefix('brainalign_utils.')}\n\n"
        f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :no-value:\n"
        "   :exclude-members: model_config\n```\n"  # pydantic's own
        for name in modules
    )
    return "\n".join(sections)
