"""Pages read like pages: no injected cells, no progress bars, figures with captions, a footer."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from brainalign_utils import pages, publish

RECORD = {
    "git_revision": "abc123",
    "lock_hash": "f00",
    "python": "3.11",
    "versions": {"torch": "2.13.0"},
    "hardware": "x86_64, 2 cores",
    "written": "2026-01-02T03:04:05",
    "parameters": {"subject": 5, "settings_file": "x.yml"},
    "wall_time_s": 12.3,
    "peak_memory_bytes": 3 * 2**30,
}


@pytest.fixture
def figures(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    about = {"caption": "What it shows.", "alt": "Two lines.", "command": "make study"}
    (folder / "figure_2.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def notebook():
    png = new_output("display_data", data={"image/png": "iVBORw0K", "image/svg+xml": "<svg/>"})
    bar = new_output("stream", name="stderr", text="50%|#####")
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("subject = 1", metadata={"tags": ["parameters"]}),
        new_code_cell("subject = 5", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("draw()", metadata={"tags": ["figure:figure_2"]}, outputs=[bar, png]),
    ]
    return new_notebook(cells=cells, metadata={"brainalign": RECORD})


def test_page_is_clean_and_the_notebook_is_untouched(notebook, figures):
    before = nbformat.writes(notebook)
    page = pages.clean_notebook(notebook, "04_x", "phantom", figures)
    assert nbformat.writes(notebook) == before
    text = nbformat.writes(page)
    assert "injected-parameters" not in text
    assert "50%" not in text
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert all("hide-input" in cell.metadata.tags for cell in code)


def test_figures_get_number_caption_alt_and_downloads(notebook, figures):
    page = pages.clean_notebook(notebook, "04_x", "phantom", figures)
    cell = next(c for c in page.cells if "mystnb" in c.metadata)
    assert cell.metadata.mystnb["figure"] == {"name": "fig-figure-2", "caption": "What it shows."}
    assert cell.metadata.mystnb["image"]["alt"] == "Two lines."
    links = page.cells[page.cells.index(cell) + 1].source
    assert all(f"figure_2.{kind}>" in links for kind in ("csv", "svg", "png"))
    assert "`make study`" in links


def test_footer_tells_how_the_page_was_made(notebook, figures):
    text = pages.clean_notebook(notebook, "04_x", "phantom", figures).cells[-1].source
    made = ("phantom", "subject = 5", "abc123", "f00", "x86_64", "12 s", "3.00 GiB", "torch 2.13.0")
    for fact in (*made, "04_x.py"):
        assert fact in text
    assert "settings_file" not in text


def test_cost_table_counts_every_run(notebook, tmp_path):
    folder = tmp_path / "notebooks" / "03_fit"
    folder.mkdir(parents=True)
    for i, seconds in enumerate((1.0, 5.0, 3.0)):
        notebook.metadata["brainalign"] = {**RECORD, "wall_time_s": seconds}
        nbformat.write(notebook, folder / f"run{i}.ipynb")
    nbformat.write(notebook, folder / "run1.failed.ipynb")
    assert "| 03_fit | 3 | 3 | 5 | 9 | 3.00 |" in pages.cost_table(tmp_path / "notebooks")


def test_check_names_missing_pages_pictures_and_tracebacks(tmp_path):
    (tmp_path / "_toc.yml").write_text("root: book/index\nparts: [{chapters: [{file: a}, {file: b}]}]\n")
    html = tmp_path / "html"
    (html / "book").mkdir(parents=True)
    (html / "book" / "index.html").write_text("<img class='x' src='../ok.png' alt=''>")
    (html / "ok.png").touch()
    (html / "a.html").write_text("Traceback (most recent call last) <img src='gone.png'>")
    assert publish.check(html, tmp_path) == [
        "page a holds a traceback",
        "page a: picture gone.png is missing",
        "page b is missing",
    ]
