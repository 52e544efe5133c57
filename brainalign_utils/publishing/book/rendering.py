"""Jupyter Book on staged pages, and whether what came out is whole."""

import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from .contents import BookError, pages


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
    tool = [sys.executable, "-m", "brainalign_utils.publishing.book"]
    command = [*tool, "build", str(source), "--path-output", str(output), "--builder", builder]
    command += ["--warningiserror", "--keep-going", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BookError(
            f"jupyter-book ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        )
    return output / "_build" / builder


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
_QUIET += ("--disable-component-update", "--disable-sync", "--no-pdf-header-footer")


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
            raise BookError(
                f"{browser} ended with {done.returncode} and printed nothing:\n{done.stderr[-2000:]}"
            )
        shutil.move(partial, target)
    return target


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
