"""What readers can move: the cortex viewer, the sliders, the switch for code; and pages without scripts."""

import pytest

pytestmark = pytest.mark.browser

READY = '.cortex-viewer[data-state="ready"]'


@pytest.fixture
def viewer(book):
    """The page of the viewer, after a reader has asked for it."""
    tab = book.open("notebooks/12_view_cortex.html")
    before = tab.evaluate(
        "performance.getEntriesByType('resource').filter((e) => /viewer/.test(e.name)).length"
    )
    assert before == 0, "the viewer is fetched before anyone asks for it"
    tab.click(".cortex-viewer button.load")
    tab.wait_for_selector(READY, timeout=60_000)
    yield tab
    assert tab.problems == []
    tab.close()


def drawn(tab) -> str:
    """The canvas as a picture, and how many colours it holds."""
    return tab.evaluate("document.querySelector('.cortex-viewer canvas').toDataURL()")


def n_colours(tab) -> int:
    return tab.evaluate(
        """async () => {
          const image = new Image();
          image.src = document.querySelector(".cortex-viewer canvas").toDataURL();
          await image.decode();
          const { width, height } = image;
          const copy = Object.assign(document.createElement("canvas"), { width, height });
          const context = copy.getContext("2d");
          context.drawImage(image, 0, 0);
          const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
          return new Set(pixels).size;
        }"""
    )


def test_viewer_draws(viewer):
    assert n_colours(viewer) > 100


@pytest.mark.parametrize("control", ["model", "region", "surface", "subject"])
def test_every_choice_changes_the_picture(viewer, control):
    before = drawn(viewer)
    viewer.select_option(f".cortex-viewer select[name={control}]", index=1)
    viewer.wait_for_function(
        "(before) => document.querySelector('.cortex-viewer canvas').toDataURL() !== before", arg=before
    )


def test_layers_instructions_and_keys_change_the_picture(viewer):
    pictures = {drawn(viewer)}
    viewer.locator(".cortex-viewer input[name=layer]").focus()
    viewer.keyboard.press("ArrowLeft")
    viewer.wait_for_timeout(300)
    pictures.add(drawn(viewer))
    viewer.select_option(".cortex-viewer select[name=instruction]", index=0)
    viewer.wait_for_timeout(300)
    pictures.add(drawn(viewer))
    viewer.locator(".cortex-viewer canvas").focus()
    viewer.keyboard.press("ArrowRight")
    pictures.add(drawn(viewer))
    viewer.click(".cortex-viewer button[data-view=below]")
    pictures.add(drawn(viewer))
    assert len(pictures) == 5


def select(tab, **choices):
    for name, value in choices.items():
        tab.select_option(f".cortex-viewer select[name={name}]", value)
    tab.wait_for_timeout(300)


def test_what_is_chosen_stays_when_the_model_changes(viewer):
    """The instruction, the relative depth of the layer, and the colour scale."""
    models = [o.get_attribute("value") for o in viewer.locator("select[name=model] option").all()]
    scale = viewer.locator(".viewer-scale")
    select(viewer, model="instructblip", component="language", instruction="IU1")
    layer = viewer.locator(".cortex-viewer input[name=layer]")
    layer.fill(layer.get_attribute("max"))
    before = scale.inner_text()
    for model in (m for m in models if m != "instructblip"):
        select(viewer, model=model)
        assert layer.input_value() == layer.get_attribute("max"), "the last layer stays the last"
        assert scale.inner_text() == before, "one scale for all models"
    select(viewer, model="instructblip", component="language")
    select(viewer, subject="subj01")
    assert scale.inner_text() == before and layer.input_value() == layer.get_attribute("max")


def test_two_models_can_be_subtracted(viewer):
    select(viewer, model="instructblip", minus="instructblip")
    readout, scale = viewer.locator(".viewer-readout"), viewer.locator(".viewer-scale")
    assert "median 0.00" in readout.inner_text(), "a model minus itself"
    assert "difference" in scale.inner_text() and scale.inner_text().startswith("-")
    select(viewer, model="instructblip", minus="vit-h")
    there = readout.inner_text()
    select(viewer, model="vit-h", minus="instructblip")
    assert (
        "median 0.00" not in there and "Subtracted: vision, layer" in there and readout.inner_text() != there
    )


def test_a_finger_turns_the_cortex_on_a_phone(chromium, book):
    context = chromium.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    tab.goto(f"{book.address}/notebooks/12_view_cortex.html")
    tab.tap(".cortex-viewer button.load")
    tab.wait_for_selector(READY, timeout=60_000)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.locator(".cortex-viewer canvas").scroll_into_view_if_needed()
    before, box = drawn(tab), tab.locator(".cortex-viewer canvas").bounding_box()
    touch = context.new_cdp_session(tab)
    for kind, x in (("touchStart", 100), ("touchMove", 140), ("touchMove", 200), ("touchEnd", None)):
        points = [{"x": x, "y": box["y"] + 100}] if x else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    tab.wait_for_timeout(300)
    assert drawn(tab) != before
    context.close()


def test_the_pointer_reads_values(viewer):
    viewer.locator(".cortex-viewer canvas").scroll_into_view_if_needed()
    box = viewer.locator(".cortex-viewer canvas").bounding_box()
    said = set()
    for across in (0.3, 0.35, 0.4, 0.45, 0.55, 0.6):
        viewer.mouse.move(box["x"] + across * box["width"], box["y"] + 0.5 * box["height"])
        viewer.wait_for_timeout(100)
        said.add(viewer.inner_text(".cortex-viewer .viewer-readout"))
    assert any("hemisphere, vertex" in text for text in said), said


def test_slider_over_layers_changes_the_table(book):
    tab = book.open("notebooks/10_trace_layers.html")
    table = tab.locator(".slider-table table")
    before = table.inner_text()
    tab.locator(".slider-table input[name=layer]").focus()
    tab.keyboard.press("Home")
    assert table.inner_text() != before and "layer 0" in table.inner_text()
    assert tab.problems == []
    tab.close()


def test_pairs_of_instructions_can_be_chosen(book):
    tab = book.open("notebooks/11_show_partitions.html")
    table = tab.locator(".slider-table table")
    before = table.inner_text()
    options = tab.locator(".slider-table select[name=second] option").all_inner_texts()
    first = tab.input_value(".slider-table select[name=first]")
    second = tab.input_value(".slider-table select[name=second]")
    other = next(option for option in options if option not in (first, second))
    tab.select_option(".slider-table select[name=second]", other)
    assert table.inner_text() != before and f"{other} alone" in table.inner_text()
    tab.select_option(".slider-table select[name=second]", first)
    assert "two different" in table.inner_text()
    assert tab.problems == []
    tab.close()


def test_one_switch_opens_all_code_and_is_remembered(book):
    tab = book.open("notebooks/06_compare_models.html")
    closed = "document.querySelectorAll('details.above-input:not([open])').length"
    n_cells = tab.evaluate("document.querySelectorAll('details.above-input').length")
    assert n_cells > 2 and tab.evaluate(closed) == n_cells
    tab.click(".code-switch")
    assert tab.evaluate(closed) == 0
    tab.goto(f"{book.address}/notebooks/05_estimate_ceilings.html")
    assert tab.evaluate(closed) == 0
    tab.click(".code-switch")
    assert tab.evaluate(closed) > 2
    tab.close()


def test_pages_without_scripts_say_the_same(chromium, book):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{book.address}/notebooks/12_view_cortex.html")
    assert "needs JavaScript" in tab.inner_text(".cortex-viewer")
    assert tab.locator("figure img").count() >= 1 and tab.locator("table").count() >= 2
    cell = tab.locator("details.above-input").first
    cell.locator("summary").click()
    assert cell.locator("pre").is_visible()
    context.close()
