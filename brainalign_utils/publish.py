"""From executed notebooks to the book.

``build`` stages the pages, renders them with Jupyter Book (nothing is executed there), checks the result
and only then puts it where readers find it; ``where`` prints that place; ``serve`` shows it.
"""

import argparse
import functools
import http.server
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import yaml

from .config import Paths, Settings, load_settings, project_root
from .measured import limits_table
from .pages import clean_notebook, cost_table, ridge_table

ANNOUNCEMENT = {
    "phantom": "<strong>Phantom data.</strong> Simulated brains, drawn scenes and tiny models: "
    "these pages test the method and say nothing about real brains.",
    "nsd": "Computed from the Natural Scenes Dataset.",
}


NOTICES = {
    "phantom": """\
This copy of the book was built from the **phantom**: simulated brains, drawn scenes and tiny models with a
known truth. It shows that every step of the method works and [what it can
recover](../notebooks/13_recover_truth). It is *not* evidence about real brains; for that, the same notebooks
run on the real dataset with the published models.
""",
    "nsd": "This copy of the book was computed from the Natural Scenes Dataset.\n",
}


class BookError(RuntimeError):
    """The book could not be built, or what was built is not whole."""


PHANTOM_ONLY = ("notebooks/00_make_phantom", "notebooks/13_recover_truth")


def contents(root: Path, data: str = "phantom") -> dict:
    """``_toc.yml``, without the pages that only simulated data have when the data are real."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    for part in toc.get("parts", []):
        part["chapters"] = [c for c in part["chapters"] if data == "phantom" or c["file"] not in PHANTOM_ONLY]
    return toc


def pages(root: Path, data: str = "phantom") -> list[str]:
    """Pages of the book without suffix, in reading order."""
    toc = contents(root, data)
    chapters = [chapter for part in toc.get("parts", [toc]) for chapter in part.get("chapters", [])]
    sections = [
        c["file"] for chapter in chapters for c in (chapter, *chapter.get("sections", [])) if "file" in c
    ]
    return [toc["root"], *sections]


def book_sources(root: Path) -> list[str]:
    """Files outside the notebooks on which the built book depends."""
    folders = [path for name in ("book", "benchmarks/results") for path in sorted((root / name).rglob("*"))]
    fixed = [root / "_toc.yml", root / "_config.yml", *folders]
    code = [Path(__file__), *(Path(__file__).with_name(name) for name in ("pages.py", "measured.py"))]
    return [str(p.relative_to(root)) for p in [*fixed, *code] if p.is_file() and "__pycache__" not in p.parts]


def shown_copy(paths: Paths, settings: Settings, notebook: str) -> Path:
    """The executed copy of a notebook that the book shows.

    Notebooks that run once per subject or model are shown for the first subject and for InstructBLIP (or the
    first model); the other copies lie beside it.
    """
    folder = paths.executed(notebook).parent
    subject = f"subj{settings.subjects[0]:02d}"
    model = "instructblip" if "instructblip" in settings.models else settings.models[0]
    for stem in (notebook, f"{subject}_{model}", subject, f"{model}_0of{settings.features.n_shards}"):
        if (folder / f"{stem}.ipynb").is_file():
            return folder / f"{stem}.ipynb"
    raise BookError(f"no executed copy of {notebook} in {folder}; run `make study` first")


def stage(settings: Settings, root: Path) -> Path:
    """Put the pages of the book, executed notebooks among them, into one folder for Jupyter Book."""
    paths = settings.paths
    target = paths.root / "book_source"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target / "book", ignore=shutil.ignore_patterns("__pycache__"))
    (target / "_toc.yml").write_text(yaml.safe_dump(contents(root, settings.data), sort_keys=False))
    configuration = yaml.safe_load((root / "_config.yml").read_text())
    theme = configuration["sphinx"]["config"].setdefault("html_theme_options", {})
    theme["announcement"] = ANNOUNCEMENT[settings.data]
    (target / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    (target / "notebooks").mkdir()
    for page in pages(root, settings.data):
        if page.startswith("notebooks/"):
            name = page.removeprefix("notebooks/")
            notebook = nbformat.read(shown_copy(paths, settings, name), as_version=4)
            clean = clean_notebook(notebook, name, settings.data, paths.root / "figures")
            nbformat.write(clean, target / f"{page}.ipynb")
    generated = target / "book" / "generated"
    generated.mkdir()
    (generated / "cost.md").write_text(cost_table(paths.executed("x").parents[1]))
    (generated / "ridge.md").write_text(ridge_table(root / "benchmarks" / "results" / "ridge.csv"))
    (generated / "limits.md").write_text(limits_table(root / "benchmarks" / "results"))
    (generated / "notice.md").write_text(NOTICES[settings.data])
    downloads = target / "book" / "downloads"
    downloads.mkdir()
    for file in sorted((paths.root / "figures").glob("*.*")):
        shutil.copy(file, downloads)
    for source in sorted((root / "notebooks").glob("*.py")):
        shutil.copy(source, downloads)
    return target


def render(source: Path, output: Path) -> None:
    """Run Jupyter Book on staged pages; its warnings are errors."""
    tool = Path(sys.executable).with_name("jupyter-book")
    command = [str(tool), "build", str(source), "--path-output", str(output)]
    command += ["--warningiserror", "--keep-going", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BookError(
            f"jupyter-book ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        )


def check(html: Path, root: Path, data: str = "phantom") -> list[str]:
    """What is wrong with a built book: missing pages or pictures, tracebacks.  Empty when all is well."""
    problems = []
    for page in pages(root, data):
        file = html / f"{page}.html"
        if not file.is_file():
            problems.append(f"page {page} is missing")
            continue
        text = file.read_text()
        if "Traceback (most recent call last)" in text or 'class="ansi-red-fg"' in text:
            problems.append(f"page {page} holds a traceback")
        for picture in _pictures(text):
            if not (file.parent / picture).resolve().is_file():
                problems.append(f"page {page}: picture {picture} is missing")
    return problems


class _Images(HTMLParser):
    """Collects where a page's pictures lie."""

    def __init__(self):
        super().__init__()
        self.sources = []

    def handle_starttag(self, tag, attrs):
        source = dict(attrs).get("src") or ""
        if tag == "img" and not source.startswith(("data:", "http")):
            self.sources.append(source.split("?")[0])


def _pictures(text: str) -> list[str]:
    parser = _Images()
    parser.feed(text)
    return parser.sources


def build(settings: Settings, root: Path | None = None) -> Path:
    """Build the book and return its first page.

    Raises
    ------
    BookError
        Naming each missing page or picture and each traceback.  The book of the last good build stays.
    """
    root = root or project_root()
    target = settings.paths.root / "html"
    output = settings.paths.root / "book_build"
    shutil.rmtree(output, ignore_errors=True)
    render(stage(settings, root), output)
    html = output / "_build" / "html"
    if problems := check(html, root, settings.data):
        raise BookError("the book is not whole:\n  " + "\n  ".join(problems))
    (html / ".nojekyll").touch()
    (html / "index.html").write_text(
        '<!doctype html><meta http-equiv="refresh" content="0; url=book/index.html">'
        '<title>brainalign</title><a href="book/index.html">brainalign</a>\n'
    )
    shutil.rmtree(target, ignore_errors=True)
    html.replace(target)
    return target / "index.html"


def serve(folder: Path, port: int) -> None:
    """Serve the book on localhost until interrupted."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://localhost:{port}/  (Ctrl-C ends)")
        server.serve_forever()


def main(arguments=None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m brainalign_utils.publish", description=__doc__)
    parser.add_argument("action", choices=("build", "check", "where", "serve"))
    parser.add_argument("--settings", default="workflow/config/phantom.yml")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    settings = load_settings(options.settings)
    html = settings.paths.root / "html"
    try:
        if options.action == "build":
            build(settings)
        elif options.action == "serve":
            serve(html, options.port)
        elif options.action == "check":
            if problems := check(html, project_root(), settings.data):
                raise BookError("the book is not whole:\n  " + "\n  ".join(problems))
            print(f"{len(pages(project_root(), settings.data))} pages, no traceback, every picture in place")
        else:
            print(f"The book: {html / 'index.html'}  (or `make serve`)")
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
