"""Notebooks stay thin, and their pairing with .ipynb loses nothing."""

from pathlib import Path

import jupytext
import pytest

from brainalign_utils.settings import project_root

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.py"))
MAX_CELL_LINES = 20


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return jupytext.read(request.param)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5


def test_notebooks_define_nothing_and_have_short_cells(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            assert not any(line.lstrip().startswith(("def ", "class ")) for line in lines), cell.source
            assert len(lines) <= MAX_CELL_LINES, cell.source


def test_notebooks_start_with_a_title_and_have_parameters(notebook):
    assert notebook.cells[0].source.startswith("# ")
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert "settings_file: str = " in tagged[0].source


def test_round_trip_through_ipynb_keeps_text_and_tags(notebook, tmp_path):
    jupytext.write(notebook, tmp_path / "n.ipynb")
    back = jupytext.read(tmp_path / "n.ipynb")
    assert [(c.cell_type, c.source, c.metadata.get("tags")) for c in back.cells] == [
        (c.cell_type, c.source, c.metadata.get("tags")) for c in notebook.cells
    ]
    jupytext.write(back, tmp_path / "n.py", fmt="py:percent")
    again = jupytext.read(tmp_path / "n.py")
    assert [c.source for c in again.cells] == [c.source for c in notebook.cells]


def test_no_outputs_in_git():
    ignored = (project_root() / ".gitignore").read_text().split()
    assert "notebooks/*.ipynb" in ignored
    assert Path("_build").name + "/" in ignored
