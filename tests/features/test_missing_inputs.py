"""A notebook that finds nothing says which command makes what it needs."""

import re

import jupytext
import matplotlib.pyplot as plt
import pytest
import yaml

from brainalign_utils.running import execute
from brainalign_utils.settings import project_root

ROOT = project_root()
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").glob("*.py") if path.stem != "00_make_phantom")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.fixture
def empty_study(tmp_path):
    """Settings of a study of which nothing was computed."""
    settings = yaml.safe_load((ROOT / "workflow/config/phantom-small.yml").read_text())
    file = tmp_path / "settings.yml"
    file.write_text(yaml.safe_dump(settings | {"build_root": str(tmp_path / "build")}))
    return file


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_missing_input_names_the_command(source, empty_study, monkeypatch):
    notebook = jupytext.read(source)
    assert "settings_file" in execute.declared_parameters(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    monkeypatch.chdir(ROOT)
    names = {}
    with pytest.raises(Exception) as caught, plt.ioff():
        for cell in cells:
            exec(compile(re.sub(r"(?m)^%.*$", "", cell.source), source.name, "exec"), names)  # no magics
            if "parameters" in cell.metadata.get("tags", []):
                names["settings_file"] = str(empty_study)
    message = str(caught.value)
    commands = re.findall(r"`make ([a-z-]+)( NOTEBOOK=\w+)?", message)
    assert commands, f"{type(caught.value).__name__}: {message}"
    for target, argument in commands:
        assert target in TARGETS
        if argument:
            assert (ROOT / "notebooks" / f"{argument.removeprefix(' NOTEBOOK=')}.py").is_file()
