"""Load a page in every way a reader may see it, and keep what there was to see."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

FACTS = Path(__file__).with_name("facts.js").read_text()
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
SERIOUS = {"serious", "critical"}
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
"""Without ``preload`` axe does not ask for style sheets again, at addresses that it gets wrong."""


def sizes_of_pictures(pdf: bytes) -> set[tuple[int, int]]:
    """Width and height in pixels of the pictures in a PDF that Chromium wrote."""
    entries = re.findall(rb"<<[^<>]*/Subtype /Image[^<>]*>>", pdf)
    keys = (rb"/Width (\d+)", rb"/Height (\d+)")
    return {tuple(int(re.search(key, entry)[1]) for key in keys) for entry in entries}


@dataclass
class Visit:
    """What one page is like.

    Attributes
    ----------
    facts : dict
        Result of ``facts.js`` at desktop width.
    views : dict of (width, scheme) to dict
        The same at every width and in both colour schemes.
    violations : dict of scheme to list of str
        Serious and critical violations that axe-core finds.
    problems : list of str
        Requests that failed, left the server or were answered with an error; errors in the console.
    pdf : bytes
        The page as it is printed.
    """

    facts: dict = field(default_factory=dict)
    views: dict = field(default_factory=dict)
    violations: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    pdf: bytes = b""


class Visitor:
    """A browser window on one server.

    Parameters
    ----------
    browser : playwright Browser
    address : str
        All that may be asked; other requests are stopped and counted as problems.
    screenshots : Path or None
        Folder for pictures of every page.
    """

    def __init__(self, browser, address: str, screenshots: Path | None = None):
        self.address, self.screenshots = address, screenshots
        self.context = browser.new_context(viewport=DESKTOP)
        self.context.route("**/*", self._allow)
        self.visit = cache(self.visit)
        self._problems = []

    def _allow(self, route):
        if route.request.url.startswith((f"{self.address}/", "data:", "blob:")):
            route.continue_()
        else:
            self._problems.append(f"leaves the page: {route.request.url}")
            route.abort()

    def open(self, path: str):
        """A page of the book in a tab; problems are collected until the tab is closed."""
        tab = self.context.new_page()
        self._problems = problems = []
        tab.on("console", lambda m: m.type == "error" and problems.append(f"console: {m.text}"))
        tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
        tab.on("requestfailed", lambda r: problems.append(f"failed: {r.url} ({r.failure})"))
        tab.on("response", lambda r: r.status >= 400 and problems.append(f"{r.status}: {r.url}"))
        tab.goto(f"{self.address}/{path}", wait_until="load")
        tab.problems = problems
        return tab

    def visit(self, name: str) -> Visit:
        """Facts about a page, named without suffix; the page is loaded only the first time."""
        tab = self.open(f"{name}.html")
        visit = Visit(facts=tab.evaluate(FACTS), problems=tab.problems)
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for size in (PHONE, DESKTOP):
                tab.set_viewport_size(size)
                visit.views[size["width"], scheme] = tab.evaluate(FACTS)
                self._picture(tab, f"{name.replace('/', '-')}-{size['width']}-{scheme}")
            found = Axe().run(tab, options=AXE_OPTIONS).response["violations"]
            visit.violations[scheme] = [
                f"{one['id']}: {node['html'][:200]} ({node['failureSummary']})"
                for one in found
                if one["impact"] in SERIOUS
                for node in one["nodes"]
            ]
        tab.emulate_media(color_scheme="light")
        visit.pdf = tab.pdf(print_background=True)
        tab.close()
        return visit

    def _picture(self, tab, stem):
        if self.screenshots:
            tab.screenshot(path=self.screenshots / f"{stem}.png", full_page=True)

    def close(self):
        self.context.close()
