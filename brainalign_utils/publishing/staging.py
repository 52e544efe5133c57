"""All pages of the book in one folder, as Jupyter Book reads them; its pages; and whether they are whole."""

import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from statistics import median

import jupytext
import nbformat
import yaml

from .. import registry
from ..models import MODEL_BY_ID, ROLE_TITLES
from ..running import execute, plan
from ..settings import Settings, load_settings
from .contents import BookError, contents, notebook_pages, pages
from .pages import Making, clean_notebook, front_figure, glued, without_injected
from .widgets import widgets_of

ANNOUNCEMENT = {
    "phantom": "<strong>Phantom data.</strong> Simulated brains, drawn scenes and tiny models: "
    "these pages test the method and say nothing about real brains.",
    "nsd": "Computed from the Natural Scenes Dataset.",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
_QUIET += ("--disable-component-update", "--disable-sync", "--no-pdf-header-footer")


def shown_copy(settings: Settings, notebook: str) -> Path:
    """The executed copy of a notebook that the book shows: of the first subjects and the lead model."""
    entry = registry.read_notebooks()[notebook]
    runs = [run for run in entry.runs(settings) if run.get("model") in (None, settings.lead_model())]
    path = entry.executed(settings, runs[0]) if runs else entry.path
    if not runs or not path.is_file():
        raise BookError(f"no executed copy of {notebook} in {path.parent}; run `make study` first")
    return path


def stage(settings: Settings, root: Path) -> Path:
    """Put the pages of the book, executed notebooks among them, into one folder for Jupyter Book.

    Raises
    ------
    BookError
        When a notebook was not executed.
    """
    target = settings.paths.root / "book_source"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target / "book", ignore=shutil.ignore_patterns("__pycache__"))
    (target / "book" / "index.md").rename(target / "index.md")
    shutil.copy(root / "CHANGELOG.md", target)
    downloads = target / "book" / "downloads"
    downloads.mkdir()
    for file in (*settings.paths.root.glob("figures/*.*"), *root.glob("notebooks/*.py")):
        shutil.copy(file, downloads)
    (target / "notebooks").mkdir()
    numbers = {"study": {"data": settings.data.replace("nsd", "NSD"), "n_subjects": len(settings.subjects)}}
    for name in notebook_pages(root, settings.data):
        numbers |= _stage_notebook(settings, root, target, name)
    _stage_configuration(settings, root, target, numbers)
    (target / "book" / "generated").mkdir()
    for name, text in _generated(settings, root).items():
        (target / "book" / "generated" / f"{name}.md").write_text(text)
    return target


def _stage_configuration(settings, root, target, numbers):
    toc = contents(root, settings.data)
    (target / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    configuration = yaml.safe_load((root / "_config.yml").read_text())
    options = configuration["sphinx"]["config"]
    options["html_theme_options"]["announcement"] = ANNOUNCEMENT[settings.data]
    options["include_patterns"] = ["index.md", "book/*.md", "notebooks/*.ipynb"]
    configuration["parse"] = {"myst_substitutions": numbers}
    (target / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))


def _stage_notebook(settings, root, target, name) -> dict:
    """Write the page of a notebook and its download; return the numbers that it hands to prose."""
    executed = shown_copy(settings, name)
    notebook = nbformat.read(executed, as_version=4)
    source = root / "notebooks" / f"{name}.py"
    making = Making(
        record=notebook.metadata.get("brainalign", {}),
        name=name,
        data=settings.data,
        study=settings.name,
        declared=execute.declared_parameters(jupytext.read(source)),
        inputs=registry.input_hashes(source, settings),
        n_runs=len(registry.read_notebooks()[name].runs(settings)),
    )
    figures = settings.paths.root / "figures"
    page = clean_notebook(notebook, making, figures, lambda tags: widgets_of(tags, settings))
    nbformat.write(page, target / "notebooks" / f"{name}.ipynb")
    nbformat.write(without_injected(notebook), target / "book" / "downloads" / f"{name}.ipynb")
    return glued(notebook)


def _generated(settings, root) -> dict[str, str]:
    """Parts of pages that follow from the study, by the name under which pages include them."""
    full_grid = load_settings(root / "workflow/config/nsd.yml", nsd_root=root)  # the dataset is not read
    texts = {name: (root / f"book/{name}-{settings.data}.md").read_text() for name in ("notice", "answer")}
    return texts | {
        "front_figure": front_figure("figure_2", "06_compare_models", settings.paths.root / "figures"),
        "cost": cost_table(settings),
        "plan_rules": _plan_table(plan.rule_table(full_grid)),
        "plan_models": _plan_table(plan.model_table(full_grid)),
        "models": model_table(settings),
        "prompts": prompt_table(settings),
        "instructions": instruction_table(settings),
    }


def markdown_table(columns, rows) -> str:
    """Rows of cells as a Markdown table; bars inside cells are escaped."""
    lines = [list(map(str, columns)), ["---"] * len(columns), *([str(c) for c in row] for row in rows)]
    escaped = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _plan_table(table):
    shown = plan.readable(table).reset_index()
    return markdown_table(shown.columns, shown.itertuples(index=False))


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
    return markdown_table(columns, rows)


def prompt_table(settings: Settings) -> str:
    """Templates that put an instruction before a model."""
    rows = [MODEL_BY_ID[model] for model in settings.models]
    shown = {row.prompt: row.title for row in reversed(rows) if row.prompt}
    return markdown_table(("model", "template"), [(t, f"`{p!r}`") for p, t in reversed(shown.items())])


def instruction_table(settings: Settings) -> str:
    """The instructions of a study from low-level to high-level content."""
    rows = [(row.level, row.id, row.task, row.text) for row in settings.instruction_rows()]
    return markdown_table(("level", "id", "task", "instruction"), rows)


def cost_table(settings: Settings) -> str:
    """Time and memory per notebook, from the records of all executed copies; published scores bring that of
    the machine that computed them."""
    published = settings.paths.root / "cost.md"
    if settings.scores_only and published.is_file():
        return published.read_text()
    rows, machine = [], ""
    for notebook in registry.of_study(settings).values():
        copies = [path for path in notebook.copies(settings) if path.is_file()]
        records = [nbformat.read(path, as_version=4).metadata.get("brainalign", {}) for path in copies]
        if records := [record for record in records if "wall_time_s" in record]:
            seconds = [record["wall_time_s"] for record in records]
            peak = max(record["peak_memory_bytes"] or 0 for record in records) / 2**30
            times = (f"{value:.0f}" for value in (median(seconds), max(seconds), sum(seconds)))
            rows.append((notebook.name, len(seconds), *times, f"{peak:.2f}"))
            machine = records[-1]["hardware"]
    if not rows:
        return "Nothing was executed.\n"
    table = markdown_table(("notebook", "runs", "median s", "longest s", "total s", "peak memory GiB"), rows)
    facts = f"Machine: {machine}. Jobs run side by side, one per core; times include starting a kernel."
    return f"{table}\n{facts}\n"


def render(source: Path, output: Path, builder: str = "html") -> Path:
    """Run Jupyter Book on staged pages; its warnings are errors.

    Parameters
    ----------
    builder : {"html", "singlehtml"}

    Returns
    -------
    html : Path
        Folder of the first page.

    Raises
    ------
    BookError
        With the end of what Jupyter Book said.
    """
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", source, "--path-output", output, "--builder", builder]
    command += ["--warningiserror", "--keep-going", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = f"{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        raise BookError(f"jupyter-book ended with {done.returncode}:\n{said}")
    return output / "_build" / builder


def print_pdf(page: Path, target: Path) -> Path:
    """Print a page into a PDF with a browser that is installed.

    Raises
    ------
    BookError
        When there is no browser, or it writes nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BookError(f"printing needs one of {', '.join(BROWSERS)}; `apt-get install chromium`")
    with tempfile.TemporaryDirectory(prefix="brainalign-") as profile:
        partial = Path(profile) / "book.pdf"
        command = [browser, *_QUIET, f"--user-data-dir={profile}", f"--print-to-pdf={partial}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode or not partial.is_file():
            said = done.stderr[-2000:]
            raise BookError(f"{browser} ended with {done.returncode} and printed nothing:\n{said}")
        shutil.move(partial, target)
    return target


def check(html: Path, root: Path, data: str = "phantom") -> list[str]:
    """What is wrong with a built book: missing pages or images, tracebacks.  Empty when all is well."""
    problems = []
    for page in pages(root, data):
        file = html / f"{page}.html"
        if not file.is_file():
            problems.append(f"page {page} is missing")
            continue
        text = file.read_text()
        if "Traceback (most recent call last)" in text or 'class="ansi-red-fg"' in text:
            problems.append(f"page {page} holds a traceback")
        images = _Images()
        images.feed(text)
        for image in images.sources:
            if not (file.parent / image).resolve().is_file():
                problems.append(f"page {page}: image {image} is missing")
    return problems


class _Images(HTMLParser):
    """Collects where a page's images lie."""

    def __init__(self):
        super().__init__()
        self.sources = []

    def handle_starttag(self, tag, attrs):
        source = dict(attrs).get("src") or ""
        if tag == "img" and not source.startswith(("data:", "http")):
            self.sources.append(source.split("?")[0])
