"""The checks of ``test_book`` can fail: each is shown a page with one fault."""

import pytest
from PIL import Image
from visiting import sizes_of_pictures

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width">
<title>a page</title></head><body><main><article>{}</article></main></body></html>"""


@pytest.mark.parametrize(
    "body, problem",
    [
        ('<img src="gone.png" alt="">', "404: "),
        ('<img src="http://example.org/x.png" alt="">', "leaves the page: http://example.org/x.png"),
        ("<script>console.error('no good')</script>", "console: no good"),
        ("<script>nothing.here()</script>", "error: nothing is not defined"),
    ],
)
def test_requests_and_errors_are_seen(site, body, problem):
    folder, visitor = site
    (folder / "page.html").write_text(PAGE.format(body))
    assert any(found.startswith(problem) for found in visitor.visit("page").problems)


@pytest.mark.parametrize(
    "body, rule, schemes",
    [
        ('<button style="width:9px;height:9px"></button>', "button-name", {"light", "dark"}),
        ('<p style="color:#777;background:#888">pale words</p>', "color-contrast", {"light", "dark"}),
        (
            "<style>p{color:#111;background:#fff}"
            "@media(prefers-color-scheme:dark){p{background:#222}}</style><p>dark on dark</p>",
            "color-contrast",
            {"dark"},
        ),
    ],
)
def test_axe_reports_in_each_colour_scheme(site, body, rule, schemes):
    folder, visitor = site
    (folder / "page.html").write_text(PAGE.format(body))
    violations = visitor.visit("page").violations
    assert {scheme for scheme, found in violations.items() if any(rule in v for v in found)} == schemes


def test_what_sticks_out_is_seen_at_phone_width_only(site):
    folder, visitor = site
    (folder / "page.html").write_text(PAGE.format('<div style="width:600px">wide</div>'))
    views = visitor.visit("page").views
    assert views[390, "light"]["overflow"] > 100 and "wide" in views[390, "dark"]["wide"][0]
    assert views[1200, "light"]["overflow"] == 0 and views[1200, "light"]["wide"] == []


def test_facts_of_pictures_headings_and_weight(site):
    folder, visitor = site
    (folder / "big.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><!--{"x" * 10_000}--></svg>'
    )
    (folder / "page.html").write_text(
        PAGE.format('<h1>One</h1><h3>Three</h3><figure><img src="big.svg"></figure><a href="#x">to</a>')
    )
    facts = visitor.visit("page").facts
    assert facts["headings"] == [[1, "One"], [3, "Three"]]
    assert facts["bytes"] > 10_000
    assert facts["links"] == [f"{visitor.address}/page.html#x"] and facts["ids"] == []
    (image,) = facts["images"]
    assert image["alt"] is None and image["inFigure"] and not image["hasCaption"]
    assert (image["loaded"], image["width"], image["height"]) == (True, 30, 20)


def test_pictures_that_are_not_printed_are_missed(site):
    folder, visitor = site
    for name, size in (("a", (31, 17)), ("b", (53, 29))):
        Image.effect_noise(size, 50).save(folder / f"{name}.png")
    style = "<style>@media print{#b{display:none}}</style>"
    (folder / "page.html").write_text(PAGE.format(f'{style}<img src="a.png"><img id="b" src="b.png">'))
    assert sizes_of_pictures(visitor.visit("page").pdf) == {(31, 17)}
