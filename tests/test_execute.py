"""Notebooks run headless: parameters checked, failures kept apart, provenance recorded."""

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

from brainalign_utils import execute

SOURCE = """# %% tags=["parameters"]
subject = 1
factor = 2.0

# %%
product = subject * factor
assert product < 100, "too large"
print(product)
"""


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "source with space é.py"
    path.write_text(SOURCE)
    return path


def test_parameters_reach_the_notebook_and_are_recorded(notebook, tmp_path):
    target = tmp_path / "out" / "done.ipynb"
    execute.execute(notebook, target, {"subject": 7}, cwd=tmp_path)
    done = nbformat.read(target, as_version=4)
    text = "".join(out.get("text", "") for cell in done.cells for out in cell.get("outputs", []))
    assert "14.0" in text
    assert done.metadata.brainalign.parameters == {"subject": 7}
    assert done.metadata.brainalign.wall_time_s > 0
    assert 0.2 < done.metadata.brainalign.cpu_time_s  # starting Python alone takes that
    assert done.metadata.brainalign.peak_memory_bytes > 1e6
    assert [p.name for p in target.parent.iterdir() if not p.name.startswith(".")] == ["done.ipynb"]


def test_unknown_parameter_runs_nothing(notebook, tmp_path, capsys):
    target = tmp_path / "out.ipynb"
    assert execute.main([str(notebook), str(target), "-p", "subjct", "1"]) == 1
    assert "has no parameter subjct; it has: factor, subject" in capsys.readouterr().err
    assert not target.exists()


def test_failed_run_leaves_the_last_good_output(notebook, tmp_path):
    target = tmp_path / "out.ipynb"
    target.write_text("last good")
    with pytest.raises(PapermillExecutionError, match="too large"):
        execute.execute(notebook, target, {"subject": 99}, cwd=tmp_path)
    assert target.read_text() == "last good"
    assert (tmp_path / "out.failed.ipynb").is_file()
    assert len(list(tmp_path.glob("*.ipynb"))) == 2


def test_several_runs_share_one_cleared_kernel(tmp_path):
    source = tmp_path / "source.py"
    source.write_text(
        SOURCE.replace(
            "product =",
            "import os\nassert 'product' not in globals()\nprint(os.getpid())\n"
            "while sum(os.times()[:2]) < 3 * int(subject):\n    pass\nproduct =",
        )
    )
    targets = [tmp_path / f"out {k}.ipynb" for k in (1, 2)]
    runs = [word for k, target in enumerate(targets, 1) for word in ("--run", str(target), f"subject={k}")]
    assert execute.main([str(source), "-p", "factor", "3.0", *runs]) == 0
    done = [nbformat.read(target, as_version=4) for target in targets]
    texts = [
        "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
        for notebook in done
    ]
    (first, three), (second, six) = (text.split() for text in texts)
    assert first == second, "the second run started a kernel of its own"
    assert (three, six) == ("3.0", "6.0")
    assert 2 < done[1].metadata.brainalign.cpu_time_s < 5, "time of the first run counted as the second's"


def test_a_failure_keeps_what_was_executed_before(notebook, tmp_path):
    targets = [tmp_path / f"{k}.ipynb" for k in (1, 200)]
    runs = [word for t in targets for word in ("--run", str(t), f"subject={t.stem}")]
    assert execute.main([str(notebook), *runs]) == 1
    assert targets[0].is_file() and not targets[1].exists()
