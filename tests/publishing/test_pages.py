"""Pages read like pages: no injected cells, no progress bars, figures with captions, a footer, a badge."""

import json
import re
from dataclasses import replace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from brainalign_utils.publishing import contents, pages, staging, widgets
from brainalign_utils.settings import Settings, project_root

RECORD = {
    "git_revision": "abc123",
    "lock_hash": "f00",
    "python": "3.11",
    "versions": {"torch": "2.13.0"},
    "hardware": "x86_64, 2 cores",
    "written": "2026-01-02T03:04:05+00:00",
    "parameters": {"subject": 5, "settings_file": "x.yml"},
    "inputs": {"04_x.py": "aaa", "settings: study": "bbb"},
    "wall_time_s": 12.3,
    "peak_memory_bytes": 3 * 2**30,
}
MAKING = pages.Making(
    record=RECORD,
    name="04_x",
    data="phantom",
    study="small",
    declared={"settings_file": "workflow/config/phantom.yml", "subject": 1, "model": "vit-h"},
    inputs=RECORD["inputs"],
    n_runs=7,
)


@pytest.fixture
def figures(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    about = {"caption": "What it shows.", "alt": "Two lines."}
    (folder / "figure_2.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def notebook():
    png = new_output("display_data", data={"image/png": "iVBORw0K", "image/svg+xml": "<svg/>"})
    bar = new_output("stream", name="stderr", text="50%|#####")
    cells = [
        new_markdown_cell("# Title\n\nWhat it is about."),
        new_code_cell("subject = 1", metadata={"tags": ["parameters"]}),
        new_code_cell("subject = 5", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("draw()", metadata={"tags": ["figure:figure_2", "widget:bars"]}, outputs=[bar, png]),
    ]
    return new_notebook(cells=cells, metadata={"brainalign": RECORD})


def test_page_is_clean_and_the_notebook_is_untouched(notebook, figures):
    before = nbformat.writes(notebook)
    page = pages.clean_notebook(notebook, MAKING, figures)
    assert nbformat.writes(notebook) == before
    text = nbformat.writes(page)
    assert "injected-parameters" not in text
    assert "50%" not in text
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert all("hide-input" in cell.metadata.tags for cell in code)


def test_figures_get_number_caption_alt_downloads_and_widgets(notebook, figures):
    page = pages.clean_notebook(notebook, MAKING, figures, lambda tags: [f"widget of {len(tags)} tags"])
    cell = next(c for c in page.cells if "mystnb" in c.metadata)
    assert cell.metadata.mystnb["figure"] == {"name": "fig-figure-2", "caption": "What it shows."}
    assert cell.metadata.mystnb["image"]["alt"] == "Two lines."
    links, widget = (c.source for c in page.cells[page.cells.index(cell) + 1 :][:2])
    assert all(f"figure_2.{kind}>" in links for kind in ("csv", "svg", "png"))
    assert "`make figure NOTEBOOK=04_x`" in links
    assert widget == "widget of 2 tags"


def test_downloads_and_command_stand_under_the_title(notebook, figures):
    first = pages.clean_notebook(notebook, MAKING, figures).cells[0].source
    title, tools, rest = re.split(r"\n\n(?=:::)|(?<=:::)\n\n", first, maxsplit=2)
    assert (title, rest.strip()) == ("# Title", "What it is about.")
    assert all(f"/downloads/04_x{kind}>" in tools for kind in (".ipynb", ".py"))
    assert "`make lab NOTEBOOK=04_x`" in tools


def test_parameters_stand_above_their_cell(notebook, figures):
    page = pages.clean_notebook(notebook, MAKING, figures)
    table = page.cells[1].source
    assert page.cells[2].source == "subject = 1"
    assert "| `subject` | `5` | `1` |" in table
    assert "| `model` | `vit-h` | `vit-h` |" in table
    assert "study `small`" in table and "x.yml" not in table
    assert "One of 7 runs" in table


def test_footer_tells_how_the_page_was_made(notebook, figures):
    text = pages.clean_notebook(notebook, MAKING, figures).cells[-1].source
    made = ("phantom", "subject = 5", "model = vit-h", "abc123", "f00", "x86_64", "12 s", "3.00 GiB")
    for fact in (*made, "torch 2.13.0", "2026-01-02 03:04:05 UTC", "unchanged since"):
        assert fact in text
    assert "settings_file" not in text


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"04_x.py": "ccc", "settings: study": "bbb"}, "`04_x.py`"),
        ({"04_x.py": "aaa", "settings: study": "ddd"}, "`settings: study`"),
        (
            {"04_x.py": "aaa", "settings: study": "bbb", "brainalign_utils/new.py": "e"},
            "`brainalign_utils/new.py`",
        ),
    ],
)
def test_badge_names_the_input_that_changed(now, named, notebook, figures):
    cells = pages.clean_notebook(notebook, replace(MAKING, inputs=now), figures).cells
    assert pages.STALE in cells[0].source and f"{named} changed since" in cells[0].source
    assert "changed since: see the badge" in cells[-1].source
    assert pages.STALE not in pages.clean_notebook(notebook, MAKING, figures).cells[0].source


def test_inputs_that_were_not_recorded_are_not_called_unchanged(notebook, figures):
    unknown = replace(MAKING, record={k: v for k, v in RECORD.items() if k != "inputs"})
    assert unknown.changed() is None
    assert "**inputs:** not recorded" in pages.clean_notebook(notebook, unknown, figures).cells[-1].source


def test_cost_table_counts_every_run_and_none_of_other_settings(notebook, tmp_path):
    settings = Settings(name="small", build_root=tmp_path, models=("vit-h", "clip-image", "idefics"))
    folder = tmp_path / "small/notebooks/03_fit_encoding"
    folder.mkdir(parents=True)
    subjects = "subj01-subj02-subj05-subj07"
    runs = {f"{subjects}_vit-h": 1.0, f"{subjects}_clip-image": 5.0, f"{subjects}_idefics": 3.0}
    for name, seconds in (runs | {"subj01_vit-h": 9.0, f"{subjects}_vit-h.failed": 9.0}).items():
        notebook.metadata["brainalign"] = {**RECORD, "wall_time_s": seconds}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    assert "| 03_fit_encoding | 3 | 3 | 5 | 9 | 3.00 |" in staging.cost_table(settings)


def test_tables_of_models_and_instructions_follow_the_settings():
    settings = Settings(models=("vit-h", "instructblip-random", "clip-both"), instructions=("IC", "IU1"))
    models = staging.model_table(settings).splitlines()
    assert len(models) == 2 + 3
    assert "weights drawn at random" in models[3] and "picture, instruction" in models[3]
    assert (
        "`google/vit-huge-patch14-224-in21k`, commit not pinned" in models[2]
        and "commit `19103d0`" in models[3]
    )
    assert models[4].endswith("| picture, caption |")
    instructions = staging.instruction_table(settings).splitlines()
    assert [line.split("|")[2].strip() for line in instructions[2:]] == ["IU1", "IC"]


def test_bars_in_cells_do_not_break_tables():
    assert staging.markdown_table(("a",), [("x|y\nz",)]).splitlines()[-1] == r"| x\|y z |"


def test_modules_of_the_reference_and_pages_are_sources_of_the_book():
    sources, reference = contents.book_sources(project_root()), (project_root() / "book/api.md").read_text()
    documented = re.findall(r"automodule:: brainalign_utils\.(\S+)", reference)
    assert len(documented) > 20
    for name in (module.replace(".", "/") for module in documented):
        assert f"brainalign_utils/{name}.py" in sources or f"brainalign_utils/{name}/__init__.py" in sources
    assert "packages/voxelridge/src/voxelridge/solver.py" in sources
    assert {"_toc.yml", "book/index.md", "book/static/cortex.js", "CHANGELOG.md"} <= set(sources)


def test_pages_start_at_the_top_and_simulated_ones_go_with_real_data():
    phantom, real = (contents.pages(project_root(), data) for data in ("phantom", "nsd"))
    assert phantom[0] == real[0] == "index"
    assert set(phantom) - set(real) == {"notebooks/00_make_phantom", "notebooks/14_recover_truth"}


def test_data_of_widgets_cannot_end_their_script():
    assert "</script>" not in widgets._inert({"text": "</script><script>alert(1)"})
    assert json.loads(widgets._inert({"text": "</b>"})) == {"text": "</b>"}


def test_check_names_missing_pages_images_and_tracebacks(tmp_path):
    (tmp_path / "_toc.yml").write_text("root: book/index\nparts: [{chapters: [{file: a}, {file: b}]}]\n")
    html = tmp_path / "html"
    html.mkdir()
    (html / "index.html").write_text("<img class='x' src='ok.png' alt=''>")
    (html / "ok.png").touch()
    (html / "a.html").write_text("Traceback (most recent call last) <img src='gone.png'>")
    assert staging.check(html, tmp_path) == [
        "page a holds a traceback",
        "page a: image gone.png is missing",
        "page b is missing",
    ]
