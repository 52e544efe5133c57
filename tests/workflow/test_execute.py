"""Notebooks run headless: parameters checked, failures kept apart, provenance recorded."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
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


def test_progress_is_seen_while_a_notebook_runs_and_warnings_stay_in_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    source, target = tmp_path / "long.py", tmp_path / "04_long" / "subj01.ipynb"
    source.write_text(
        '# %% tags=["parameters"]\nn = 3\n\n# %%\nimport sys\nfrom tqdm import tqdm\n'
        'for _ in tqdm(range(n), desc="fits"):\n    print("a warning", file=sys.stderr)\n'
    )
    assert execute.main([str(source), str(target)]) == 0
    seen = capsys.readouterr()
    assert "fits: 100%|" in seen.err and "3/3" in seen.err and "a warning" not in seen.err
    assert re.fullmatch(r"04_long/subj01: \d+\.\d s\n", seen.out)
    assert "a warning" in target.read_text()


def test_bars_replace_each_other_on_a_terminal_and_are_lines_elsewhere():
    terminal, log = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True
    for stream in (terminal, log):
        bars = execute.ProgressBars(stream)
        for text in ("\rfits:   0%|    | 0/2", "note\n", "\rfits:  50%|#  | 1/2\rfits: 100%|##| 2/2\n", "\r"):
            bars.write(text)
    assert terminal.getvalue() == "\r\033[Kfits:   0%|    | 0/2\r\033[Kfits: 100%|##| 2/2"
    assert log.getvalue() == "fits:   0%|    | 0/2\nfits: 100%|##| 2/2\n"


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
    counts = [[cell.get("execution_count") for cell in notebook.cells] for notebook in done]
    assert counts[0] == counts[1], "cells of the second run are not counted from 1"
    (first, three), (second, six) = (text.split() for text in texts)
    assert first == second, "the second run started a kernel of its own"
    assert (three, six) == ("3.0", "6.0")
    assert 2 < done[1].metadata.brainalign.cpu_time_s < 5, "time of the first run counted as the second's"


def test_another_notebook_runs_in_the_same_kernel(notebook, tmp_path):
    other = tmp_path / "other.py"
    other.write_text('# %% tags=["parameters"]\nfactor = 1.0\n\n# %%\nassert "subject" not in globals()\n')
    targets = [tmp_path / f"{name}.ipynb" for name in ("first", "second")]
    runs = ["--run", str(targets[0]), "--run", str(other), str(targets[1]), "factor=4.0"]
    assert execute.main([str(notebook), "-p", "factor", "3.0", *runs]) == 0
    facts = [nbformat.read(target, as_version=4).metadata.brainalign for target in targets]
    assert [fact.notebook for fact in facts] == [notebook.name, "other.py"]
    assert [fact.parameters for fact in facts] == [{"factor": 3.0}, {"factor": 4.0}]


def test_a_failure_is_named_and_keeps_what_was_executed_before(notebook, tmp_path, capsys):
    other = notebook.with_name("other.py")
    other.write_text(SOURCE)
    targets = [tmp_path / f"{k}.ipynb" for k in (1, 200)]
    runs = ["--run", str(targets[0]), "--run", str(other), str(targets[1]), "subject=200"]
    assert execute.main([str(notebook), *runs]) == 1
    assert targets[0].is_file() and not targets[1].exists()
    message = capsys.readouterr().err
    assert "too large" in message and notebook.name not in message
    assert f"other.py failed; what ran is kept as {tmp_path / '200.failed.ipynb'}" in message


WAITING = """# %% tags=["parameters"]
subject = 1

# %%
import os, pathlib, time
pathlib.Path("started").write_text(str(os.getpid()))
while not pathlib.Path("go").exists():
    time.sleep(0.05)
"""


def start(folder, target="out.ipynb"):
    (folder / "waiting.py").write_text(WAITING)
    (folder / "_toc.yml").touch()  # the folder counts as the project's root
    command = [sys.executable, "-m", "brainalign_utils.execute", "waiting.py", target]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(path, timeout=120):
    deadline = time.monotonic() + timeout
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path.read_text()


def test_killed_kernel_is_reported_and_the_next_run_is_clean(tmp_path):
    process = start(tmp_path)
    os.kill(int(wait_for(tmp_path / "started")), signal.SIGKILL)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 1 and "Its kernel was killed, most often for want of memory" in message
    assert "waiting.py failed; what ran is kept as out.failed.ipynb" in message
    assert "Traceback" not in message
    assert (tmp_path / "out.failed.ipynb").is_file() and not (tmp_path / "out.ipynb").exists()
    (tmp_path / "go").touch()
    assert start(tmp_path).wait(timeout=120) == 0
    assert [path.name for path in tmp_path.glob("*.ipynb")] == ["out.ipynb"]


def test_kernel_ends_with_its_job_and_leftovers_go(tmp_path):
    process = start(tmp_path)
    kernel = psutil.Process(int(wait_for(tmp_path / "started")))
    process.kill()
    process.communicate()
    kernel.wait(timeout=10)
    assert (tmp_path / ".out.ipynb.partial").is_dir() and not list(tmp_path.glob("*.ipynb"))
    (tmp_path / "go").touch()
    assert start(tmp_path).wait(timeout=120) == 0
    assert not list(tmp_path.glob(".*.partial"))


def test_second_job_on_the_same_copy_waits_for_the_first(tmp_path):
    first = start(tmp_path)
    wait_for(tmp_path / "started")
    second = start(tmp_path)
    message = second.stderr.readline()
    assert "waiting for another job, of an earlier run, that makes out.ipynb" in message
    assert second.poll() is None and not (tmp_path / "out.ipynb").exists()
    (tmp_path / "go").touch()
    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0)
