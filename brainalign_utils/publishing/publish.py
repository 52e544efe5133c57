"""From executed notebooks to the book.

``build`` stages the pages, renders them with Jupyter Book (nothing is executed there), checks the result
and only then puts it where readers find it; ``check`` looks at it again; ``where`` prints that place;
``serve`` shows it; ``pdf`` prints all of it into one file.
"""

import argparse
import functools
import http.server
import shutil
import sys
from pathlib import Path

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
        server.serve_forever()


def main(arguments=None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("build", "check", "where", "serve", "pdf"))
    parser.add_argument("--settings", default="workflow/config/phantom.yml")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    settings = settings_of_study(options.settings)
    html = settings.paths.root / "html"
    try:
        if options.action == "build":
            build(settings)
        elif options.action == "pdf":
            print(f"The book on paper: {build_pdf(settings)}")
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
