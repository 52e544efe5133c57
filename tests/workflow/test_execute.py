"""Notebooks run headless: parameters checked, failures kept apart, provenance recorded."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import psutil
import pytest
from fixtures.unprivileged import obeys_modes
from papermill.exceptions import PapermillExecutionError

from brainalign_utils.running import execute

ROOT = Path(__file__).parents[2]
SOURCE = """# %% tags=["parameters"]
subject: int = 1  # of the study
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
    assert "no parameter subjct; there are: subject, factor" in capsys.readouterr().err
    assert not target.exists()


def test_failed_run_leaves_the_last_good_output(notebook, tmp_path):
    target = tmp_path / "out.ipynb"
    target.write_text("last good")
    with pytest.raises(PapermillExecutionError, match="too large"):
        execute.execute(notebook, target, {"subject": 99}, cwd=tmp_path)
    assert target.read_text() == "last good"
    assert (tmp_path / "out.failed.ipynb").is_file()
    assert len(list(tmp_path.glob("*.ipynb"))) == 2


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
    command = [sys.executable, "-m", "brainalign_utils.running.execute", "waiting.py", target]
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
    assert (
        process.returncode == 1
        and "waiting.py: the kernel was killed, most often for want of memory" in message
    )
    assert "what ran is kept as out.failed.ipynb" in message
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


# What surrounds the project changes neither the interpreter nor the result.

FACTS = """# %% tags=["parameters"]
name = ""

# %%
import getpass, json, sys
json.dump([sys.executable, name, "from_startup" in globals()], open("facts.json", "w"))
"""


def run_strangely(folder, target="out.ipynb", name="x", command=(), **environment) -> list:
    """Run a tiny notebook as a command in a folder; what it saw: interpreter, parameter, startup files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source.py").write_text(FACTS)
    (folder / "_toc.yml").touch()
    words = [*command, sys.executable, "-m", "brainalign_utils.running.execute"]
    words += ["source.py", str(target), "-p", "name", json.dumps(name)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | {k: str(v) for k, v in environment.items()}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / target).is_file()
    return json.loads((folder / "facts.json").read_text())


def test_another_kernel_of_the_same_name_is_not_taken(tmp_path):
    other = tmp_path / "jupyter/kernels/python3"
    other.mkdir(parents=True)
    stranger = tmp_path / "stranger.sh"
    stranger.write_text("#!/bin/sh\ntouch pwned\n")
    stranger.chmod(0o755)
    spec = {"argv": [str(stranger), "-f", "{connection_file}"], "display_name": "x", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    seen = run_strangely(tmp_path / "work", JUPYTER_PATH=tmp_path / "jupyter", JUPYTER_PREFER_ENV_PATH="0")
    assert seen == [sys.executable, "x", False]
    assert not list(tmp_path.rglob("pwned"))


def test_startup_files_of_the_user_do_not_run(tmp_path):
    startup = tmp_path / "home/.ipython/profile_default/startup"
    startup.mkdir(parents=True)
    for file in (startup / "00.py", tmp_path / "start.py"):
        file.write_text("from_startup = 1\n")
    seen = run_strangely(tmp_path / "work", HOME=tmp_path / "home", PYTHONSTARTUP=tmp_path / "start.py")
    assert seen == [sys.executable, "x", False]


@pytest.mark.parametrize("length", [79, 100, 200])
def test_a_long_folder_for_temporary_files(tmp_path, length):
    folder = tmp_path / ("t" * max(length - len(str(tmp_path)) - 1, 1))
    folder.mkdir()
    assert len(str(folder)) >= length
    assert run_strangely(tmp_path / "work", TMPDIR=folder) == [sys.executable, "x", False]


def test_a_home_that_cannot_be_written(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    seen = run_strangely(tmp_path / "work", command=obeys_modes([]), HOME=home)
    assert seen == [sys.executable, "x", False]
    assert not list(home.iterdir())


def test_spaces_accents_links_and_braces_in_every_path(tmp_path):
    real = tmp_path / "été d'hiver {a} $(touch pwned) 脳"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    for folder in (real, tmp_path / "link"):
        seen = run_strangely(
            folder, target="sub folder/é {b}.ipynb", name="é {c}: #x", TMPDIR=real, HOME=real
        )
        assert seen == [sys.executable, "é {c}: #x", False]
    assert not list(tmp_path.rglob("pwned"))


def run_real(*words, cwd):
    command = [sys.executable, "-m", "brainalign_utils.running.execute", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


SETTINGS = "workflow/config/phantom-small.yml"
WRONG = {  # parameters of 03_fit_encoding, and the sentence
    "a number": (["-p", "subjects", "1"], r"SettingsError: subjects is 1; it takes a list, such as \[\d\]"),
    "model": (["-p", "model", "foo"], r"model is 'foo'; this study has the models vit-h, clip-image"),
    "old name": (["-p", "subject", "08"], r"no parameter subject; there are: settings_file, subjects, model"),
    "no settings": (["-p", "settings_file", "nope.yml"], r"settings file nope.yml does not exist"),
    "not YAML": (["-p", "subjects", "[1"], r"subjects is '\[1', no valid YAML; close its brackets"),
}


@pytest.mark.parametrize("words, sentence", WRONG.values(), ids=WRONG)
def test_wrong_parameters_of_a_notebook_are_a_sentence(words, sentence, tmp_path):
    given = ["-p", "settings_file", SETTINGS] if "settings_file" not in words else []
    done = run_real(ROOT / "notebooks/03_fit_encoding.py", tmp_path / "out.ipynb", *given, *words, cwd=ROOT)
    assert done.returncode == 1 and not (tmp_path / "out.ipynb").exists()
    assert re.search(rf"^03_fit_encoding\.py: .*{sentence}", done.stderr, re.M), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 5


def test_a_notebook_that_is_not_there_is_a_sentence(tmp_path):
    done = run_real("nope.py", "out.ipynb", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "nope.py: [Errno 2] No such file or directory: 'nope.py'\n"


@pytest.mark.parametrize(
    "folder", [ROOT, ROOT / "notebooks", Path("/")], ids=["root", "notebooks", "elsewhere"]
)
def test_plain_papermill_from_any_folder(folder, tmp_path):
    """It finds settings and artifacts, and blames nothing that is not at fault."""
    source = tmp_path / "n.ipynb"
    jupytext.write(jupytext.read(ROOT / "notebooks/03_fit_encoding.py"), source)
    papermill = [Path(sys.executable).parent / "papermill", source, tmp_path / "out.ipynb"]
    papermill += ["-p", "settings_file", SETTINGS, "-p", "model", "foo"]
    done = subprocess.run(papermill, cwd=folder, capture_output=True, text=True)
    assert "SettingsError: model is 'foo'; this study has the models vit-h, clip-image" in done.stderr
