"""The built book behind a local server, and a browser that reaches nothing else."""

import functools
import http.server
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from visiting import Visitor

from brainalign_utils.publishing import publish
from brainalign_utils.settings import load_settings, project_root

PROGRAMS = ("chromium", "google-chrome", "chromium-browser")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
EXTRA_PAGES = ["search", "genindex"]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Requests are counted in the browser."""


@contextmanager
def serving(folder: Path):
    """Address of a server that gives out a folder."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def pytest_generate_tests(metafunc):
    if "page_name" in metafunc.fixturenames:
        settings = load_settings(metafunc.config.getoption("settings"))
        metafunc.parametrize("page_name", [*publish.pages(project_root(), settings.data), *EXTRA_PAGES])


@pytest.fixture(scope="session")
def html(request) -> Path:
    """Folder of the built book."""
    file = request.config.getoption("settings")
    folder = load_settings(file).paths.root / "html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"there is no book in {folder}; build it first: make book SETTINGS={file}")
    return folder


@pytest.fixture(scope="session")
def chromium():
    """A headless browser without a network."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail(f"none of {', '.join(PROGRAMS)} is installed; `make chromium` installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", OFFLINE])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def book(html, chromium, request):
    """Visitor of the built book; each page is loaded once and its facts are kept."""
    with serving(html) as address:
        visitor = Visitor(chromium, address, request.config.getoption("screenshots"))
        yield visitor
        visitor.close()


@pytest.fixture
def site(chromium, tmp_path):
    """Visitor of a folder that a test fills."""
    with serving(tmp_path) as address:
        visitor = Visitor(chromium, address)
        yield tmp_path, visitor
        visitor.close()
