"""All pages of the book in one folder, as Jupyter Book reads them."""

import shutil
from pathlib import Path

import jupytext
import nbformat
import yaml

from ... import registry
from ...running import execute
from ...settings import Settings
from ..measured import limits_table
from . import benchmarks, contents, generated, numbers, pages, planning, prose, provenance, widgets

ANNOUNCEMENT = {
    "phantom": "<strong>Phantom data.</strong> Simulated brains, drawn scenes and tiny models: "
    "these pages test the method and say nothing about real brains.",
    "nsd": "Computed from the Natural Scenes Dataset.",
}
NOTICES = {
    "phantom": """\
This copy of the book was built from the **phantom**: simulated brains, drawn scenes and tiny models with a
known truth. It shows that every step of the method works and [what it can
recover](/notebooks/14_recover_truth). It is *not* evidence about real brains; for that, the same notebooks
run on the real dataset with the published models.
""",
    "nsd": "This copy of the book was computed from the Natural Scenes Dataset.\n",
}


def shown_copy(settings: Settings, notebook: str) -> Path:
    """The executed copy of a notebook that the book shows: of the first subjects and the lead model."""
    entry = registry.read_notebooks()[notebook]
    runs = [run for run in entry.runs(settings) if run.get("model") in (None, settings.lead_model())]
    path = entry.executed(settings, runs[0]) if runs else entry.path
    if not runs or not path.is_file():
        raise contents.BookError(f"no executed copy of {notebook} in {path.parent}; run `make study` first")
    return path


def stage(settings: Settings, root: Path) -> Path:
    """Put the pages of the book, executed notebooks among them, into one folder for Jupyter Book.

    Raises
    ------
    BookError
        When a notebook was not executed, or prose holds typed-in numbers; each is named.
    """
    if typed := prose.check_prose(root):
        remedy = "take results from an artifact, as {{ figure_2.best.early }}, or add a rule with its reason"
        listed = "\n  ".join(map(str, typed))
        raise contents.BookError(f"typed-in numbers; {remedy} to book/constants.yml:\n  {listed}")
    target = settings.paths.root / "book_source"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target / "book", ignore=shutil.ignore_patterns("__pycache__"))
    (target / "book" / "index.md").rename(target / "index.md")
    shutil.copy(root / "CHANGELOG.md", target)
    _stage_configuration(settings, root, target)
    _stage_downloads(settings, root, target / "book" / "downloads")
    (target / "notebooks").mkdir()
    for name in contents.notebook_pages(root, settings.data):
        _stage_notebook(settings, root, target, name)
    _stage_generated(settings, root, target / "book" / "generated")
    return target


def _stage_configuration(settings, root, target):
    toc = contents.contents(root, settings.data)
    (target / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    configuration = yaml.safe_load((root / "_config.yml").read_text())
    theme = configuration["sphinx"]["config"].setdefault("html_theme_options", {})
    theme["announcement"] = ANNOUNCEMENT[settings.data]
    configuration.setdefault("parse", {})["myst_substitutions"] = numbers.substitutions(settings)
    (target / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))


def _stage_downloads(settings, root, folder):
    folder.mkdir()
    for file in sorted((settings.paths.root / "figures").glob("*.*")):
        shutil.copy(file, folder)
    for source in sorted((root / "notebooks").glob("*.py")):
        shutil.copy(source, folder)


def _stage_notebook(settings, root, target, name):
    executed = shown_copy(settings, name)
    notebook = nbformat.read(executed, as_version=4)
    source = root / "notebooks" / f"{name}.py"
    making = provenance.Making(
        record=notebook.metadata.get("brainalign", {}),
        name=name,
        data=settings.data,
        study=settings.name,
        declared=execute.declared_parameters(jupytext.read(source)),
        inputs=registry.input_hashes(source, settings),
        n_runs=len(registry.read_notebooks()[name].runs(settings)),
    )
    figures = settings.paths.root / "figures"
    page = pages.clean_notebook(notebook, making, figures, lambda tags: widgets.widgets_of(tags, settings))
    nbformat.write(page, target / "notebooks" / f"{name}.ipynb")
    nbformat.write(pages.without_injected(notebook), target / "book" / "downloads" / f"{name}.ipynb")


def _cost(settings):
    """Table of what the study took; published scores bring that of the machine that computed them."""
    published = settings.paths.root / "cost.md"
    if settings.scores_only and published.is_file():
        return published.read_text()
    return generated.cost_table(settings.paths.executed("x").parents[1])


def _stage_generated(settings, root, folder):
    results = root / "benchmarks" / "results"
    folder.mkdir()
    texts = {
        "notice": NOTICES[settings.data],
        "answer": (root / "book" / f"answer-{settings.data}.md").read_text(),
        "front_figure": pages.front_figure("figure_2", "06_compare_models", settings.paths.root / "figures"),
        "cost": _cost(settings),
        "ridge": benchmarks.ridge_table(results / "ridge.csv"),
        "ridge_cuda": benchmarks.ridge_table(results / "ridge_cuda.csv"),
        "extraction": benchmarks.extraction_table(results / "extraction_cpu.csv"),
        "extraction_cuda": benchmarks.extraction_table(results / "extraction_cuda.csv"),
        "growth": benchmarks.growth(results / "ridge_growth.csv", folder),
        "partition": benchmarks.partition_table(results / "partition.csv"),
        "limits": limits_table(results),
        "models": generated.model_table(settings),
        "prompts": generated.prompt_table(settings),
        "instructions": generated.instruction_table(settings),
        "citation": generated.citation(root),
        "api": generated.api_reference(contents.DOCUMENTED),
    }
    texts |= planning.plan_tables(root)
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text)
