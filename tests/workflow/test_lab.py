"""``make lab``: what is edited and saved in JupyterLab reaches the .py that git keeps, and outputs do not."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupytext
import nbformat
import pytest

from brainalign_utils.settings import project_root

pytestmark = pytest.mark.slow

ROOT = project_root()
PROGRAMS = Path(sys.executable).parent
TOKEN = "secret"


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clean checkout of the notebooks after the first command of ``make lab``."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("*.ipynb", ".*"))
    shutil.copy(ROOT / ".gitignore", folder)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    sources = sorted((folder / "notebooks").glob("*.py"))
    subprocess.run([PROGRAMS / "jupytext", "--sync", *sources], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def lab(checkout, tmp_path_factory):
    """Contents of a running JupyterLab: read and save as its file browser does."""
    runtime = tmp_path_factory.mktemp("runtime")
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_CONFIG_DIR": str(runtime)}
    options = [
        "--no-browser",
        "--ip=127.0.0.1",
        "--port=0",
        f"--IdentityProvider.token={TOKEN}",
        "--allow-root",
    ]
    log = (runtime / "log").open("w")
    command = [PROGRAMS / "jupyter-lab", *options, "notebooks"]
    server = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)
    deadline = time.time() + 120
    while not (notes := list(runtime.glob("jpserver-*.json"))):
        assert server.poll() is None and time.time() < deadline, (runtime / "log").read_text()
        time.sleep(0.2)
    address = json.loads(notes[0].read_text())["url"]

    def contents(name, model=None):
        request = urllib.request.Request(f"{address}api/contents/{name}?content=1")
        request.add_header("Authorization", f"token {TOKEN}")
        if model is not None:
            request.method, request.data = "PUT", json.dumps(model).encode()
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    yield contents
    server.terminate()
    server.wait(30)


def save_with_outputs(lab, name, notebook):
    for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="printed by a kernel")]
    lab(f"{name}.ipynb", {"type": "notebook", "format": "json", "content": notebook})


def tags(notebook):
    return [cell.metadata.get("tags", []) for cell in notebook.cells]


def test_opening_changes_nothing_that_git_keeps(checkout):
    paired = {path.stem for path in (checkout / "notebooks").glob("*.ipynb")}
    assert paired == {path.stem for path in (checkout / "notebooks").glob("*.py")}
    assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "notebooks").glob("*.py")))
def test_edit_and_save_reach_the_py_without_outputs(lab, checkout, name):
    source = checkout / "notebooks" / f"{name}.py"
    before = jupytext.read(source)
    notebook = nbformat.from_dict(lab(f"{name}.ipynb")["content"])
    assert tags(notebook) == tags(before)
    notebook.cells[0].source += "\n\nA sentence that was typed in the browser."
    save_with_outputs(lab, name, notebook)
    after = jupytext.read(source)
    assert after.cells[0].source.endswith("typed in the browser.")
    assert tags(after) == tags(before)
    assert [c.source for c in after.cells[1:]] == [c.source for c in before.cells[1:]]
    assert "printed by a kernel" in (checkout / "notebooks" / f"{name}.ipynb").read_text()
    assert git(checkout, "status", "--porcelain").split() == ["M", f"notebooks/{name}.py"]
    changed = [line for line in git(checkout, "diff", "-U0").splitlines() if line[:1] in "+-"][2:]
    assert changed == ["+#", "+# A sentence that was typed in the browser."]
    git(checkout, "commit", "-qam", "edited")


def test_edit_of_the_py_reaches_the_browser_and_keeps_outputs(lab, checkout):
    name = "06_compare_models"
    save_with_outputs(lab, name, nbformat.from_dict(lab(f"{name}.ipynb")["content"]))
    source = checkout / "notebooks" / f"{name}.py"
    text = source.read_text()
    time.sleep(1.1)  # jupytext compares whole seconds
    source.write_text(text.replace("# # Which models", "# # Indeed, which models"))
    notebook = nbformat.from_dict(lab(f"{name}.ipynb")["content"])
    assert notebook.cells[0].source.startswith("# Indeed, which models")
    assert any(cell.get("outputs") for cell in notebook.cells)
    git(checkout, "commit", "-qam", "edited")
