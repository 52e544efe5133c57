"""From executed notebooks to the book.

``build`` stages the pages, renders them with Jupyter Book (nothing is executed there), checks the result
and only then puts it where readers find it; ``check`` looks at it again; ``where`` prints that place;
``serve`` shows it; ``pdf`` prints all of it into one file.
"""

import contextlib
import functools
import http.server
import shutil
import sys
from pathlib import Path

import click

from .. import DEFAULT_SETTINGS
from ..cli import run
from ..settings import Settings, load_settings, project_root
from .contents import BookError, pages
from .staging import check, print_pdf, render, stage


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
    html = render(stage(settings, root), output)
    if problems := check(html, root, settings.data):
        raise BookError("the book is not whole:\n  " + "\n  ".join(problems))
    (html / ".nojekyll").touch()
    shutil.copytree(settings.paths.root / "viewer", html / "viewer")
    shutil.rmtree(target, ignore_errors=True)
    html.replace(target)
    return target / "index.html"


def build_pdf(settings: Settings, root: Path | None = None) -> Path:
    """Print the whole book, code left out, into one PDF.

    Raises
    ------
    BookError
        When the book cannot be rendered, or there is no browser to print it.
    """
    output = settings.paths.root / "pdf_build"
    shutil.rmtree(output, ignore_errors=True)
    single = render(stage(settings, root or project_root()), output, "singlehtml")
    return print_pdf(single.resolve() / "index.html", settings.paths.root / "brainalign.pdf")


def settings_of_study(path: str | Path) -> Settings:
    """Settings of the last run of a study: the file's, with what its command line added then."""
    frozen = load_settings(path, scores_only=True).paths.root / "settings" / "settings.json"
    return load_settings(frozen if frozen.is_file() else path)


def serve(folder: Path, port: int) -> None:
    """Serve the book on localhost until interrupted."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://localhost:{port}/  (Ctrl-C ends)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@click.command(name="publish")
@click.argument("action", type=click.Choice(("build", "check", "where", "serve", "pdf")))
@click.option("--settings", default=DEFAULT_SETTINGS, show_default=True)
@click.option("--port", type=int, default=8000, show_default=True)
def command(action, settings, port):
    """From executed notebooks to the book."""
    settings = settings_of_study(settings)
    html = settings.paths.root / "html"
    if action == "build":
        build(settings)
    elif action == "pdf":
        print(f"The book on paper: {build_pdf(settings)}")
    elif action == "serve":
        serve(html, port)
    elif action == "check":
        if problems := check(html, project_root(), settings.data):
            raise BookError("the book is not whole:\n  " + "\n  ".join(problems))
        print(f"{len(pages(project_root(), settings.data))} pages, no traceback, every image in place")
    else:
        print(f"The book: {html / 'index.html'}  (or `make serve`)")


def main(arguments=None) -> int:
    """Command line."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
