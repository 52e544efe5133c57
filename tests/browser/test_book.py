"""Every page of a built book in a real browser: ``make test-book``."""

import re
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import pytest
from visiting import sizes_of_pictures

pytestmark = pytest.mark.browser

MAX_BYTES = 5 * 2**20
HEAVY_PAGES = {"notebooks/12_view_cortex"}
"""Pages that may weigh more."""


@pytest.fixture
def seen(book, page_name):
    return book.visit(page_name)


def test_loads_without_error(seen):
    assert seen.problems == []
    assert seen.facts["title"] and seen.facts["language"] == "en"


def test_axe_finds_no_serious_violation(seen):
    assert seen.violations == {"light": [], "dark": []}


def test_dark_mode_follows_the_system(seen):
    assert {scheme: view["theme"] for (_, scheme), view in seen.views.items()} == {
        "light": "light",
        "dark": "dark",
    }


def test_nothing_sticks_out(seen):
    for view, facts in seen.views.items():
        assert facts["overflow"] <= 0, f"{view} scrolls sideways by {facts['overflow']} pixels"
        assert facts["wide"] == [], view


def test_pictures_load_and_are_described(seen, page_name):
    for image in seen.facts["images"]:
        assert image["loaded"], image["what"]
        assert image["alt"] is not None, image["what"]
        if image["inFigure"]:
            assert image["hasCaption"] and len(image["alt"]) > 20, image["what"]


def test_headings_are_in_order(seen):
    levels = [level for level, _ in seen.facts["headings"]]
    assert levels.count(1) == 1 and levels[0] == 1, seen.facts["headings"]
    steps = [b - a for a, b in pairwise(levels)]
    assert max(steps, default=1) <= 1, seen.facts["headings"]


def test_page_is_light(seen, page_name):
    if page_name not in HEAVY_PAGES:
        assert seen.facts["bytes"] < MAX_BYTES


def test_links_lead_somewhere(seen, book, html):
    for link in sorted(set(seen.facts["links"])):
        if not link.startswith(book.address):
            assert link.startswith(("https://", "mailto:")), link
            continue
        url = urlsplit(link)
        file = html / unquote(url.path).lstrip("/")
        file = file / "index.html" if file.is_dir() else file
        assert file.is_file(), f"{link}: no such file"
        if url.fragment and file.suffix == ".html":
            target = str(file.relative_to(html).with_suffix(""))
            assert unquote(url.fragment) in book.visit(target).facts["ids"], f"{link}: no such place"


def test_references_are_resolved(seen):
    text = seen.facts["text"]
    assert not re.search(r"\?\?|\{(ref|numref|cite|doc|term|download)|\[%s\]|%s\b", text)


def test_first_address_leads_to_the_front_page(book):
    tab = book.open("")
    tab.wait_for_url("**/")
    assert tab.problems == []
    tab.close()


def test_search_finds_the_noise_ceiling(book):
    tab = book.open("search.html?q=noise+ceiling")
    results = tab.locator("#search-results li a")
    results.first.wait_for()
    found = results.all_inner_texts()
    assert any("Noise ceiling" in title for title in found), found
    assert tab.problems == []
    tab.close()


def test_search_box_opens_by_keyboard(book):
    tab = book.open("index.html")
    tab.keyboard.press("Control+k")
    tab.keyboard.type("noise ceiling")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search.html?q=noise+ceiling*")
    tab.close()


def test_first_stop_of_the_keyboard_skips_the_navigation(book):
    tab = book.open("index.html")
    tab.keyboard.press("Tab")
    focused = tab.evaluate("[document.activeElement.textContent.trim(), document.activeElement.hash]")
    assert focused == ["Skip to main content", "#main-content"]
    tab.close()


def test_print_holds_all_figures(seen):
    assert seen.pdf.startswith(b"%PDF-") and seen.pdf.rstrip().endswith(b"%%EOF")
    printed = sizes_of_pictures(seen.pdf)
    figures = {(i["width"], i["height"]) for i in seen.facts["images"] if i["inFigure"]}
    assert figures <= printed, f"figures {figures - printed} are missing; printed {printed}"
