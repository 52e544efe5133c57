import os
import shutil
import subprocess
import sys
import time

import pytest

from brainalign_utils import cli, tables
from brainalign_utils import models as model_table


def run(*arguments):
    code = "import sys; from brainalign_utils.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_is_fast_and_names_every_command():
    start = time.perf_counter()
    result = run("--help")
    assert time.perf_counter() - start < 5  # 0.1 s alone; importing torch would take longer than that
    assert result.returncode == 0
    assert all(command.name in result.stdout for command in cli.COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys, brainalign_utils.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'torch', 'boto3', 'h5py', 'pydantic') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip().endswith("[]")


@pytest.mark.parametrize("arguments", [[], ["paint"], ["doctor"], ["download", "--sessions", "0"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: brainalign" in capsys.readouterr().err


def test_models_prints_the_table(capsys):
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(model_table.MODELS)
    for line, row in zip(lines[1:], model_table.MODELS, strict=True):
        assert line.split()[0] == row.id and row.checkpoint in line


def test_doctor_exit_code_and_report(phantom_tree, tmp_path, capsys):
    assert cli.main(["doctor", "--nsd", str(phantom_tree / "nsd"), "--coco", str(phantom_tree / "coco")]) == 0
    assert "compared with: phantom (simulated)" in capsys.readouterr().out
    shutil.copytree(phantom_tree / "nsd", tmp_path / "nsd", copy_function=os.link)
    (tmp_path / "nsd/nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz").unlink()
    expected = str(phantom_tree / "truth" / "expected.yml")
    assert cli.main(["doctor", "--nsd", str(tmp_path / "nsd"), "--expected", expected]) == 1
    output = capsys.readouterr().out
    assert "missing     nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz" in output
    assert "-> brainalign download --subjects 1" in output and "1 missing, 0 damaged" in output


def test_doctor_on_a_folder_that_is_not_there(tmp_path, capsys):
    assert cli.main(["doctor", "--nsd", str(tmp_path / "no")]) == 1
    assert "the folder does not exist" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["download"], "--to is missing"),
        (["download", "--to", "x", "--subjects", "9"], "subject 9 does not exist; NSD has subjects 1 to 8"),
        (["download", "--settings", "nowhere.yml"], "settings file nowhere.yml does not exist"),
        (
            ["doctor", "--nsd", ".", "--expected", "nowhere.yml"],
            "nowhere.yml does not exist; --expected takes",
        ),
        (["phantom", "--to", "x", "--settings", "nowhere.yml"], "settings file nowhere.yml does not exist"),
        (["fetch-models", "instruct-blip"], "unknown model instruct-blip"),
    ],
)
def test_errors_are_one_line_without_traceback(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("brainalign: error: ") and message in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_phantom_command(tmp_path, monkeypatch, capsys):
    """Only what the command passes on; the writer has tests of its own."""
    from brainalign_utils.phantom import dataset

    calls = []
    monkeypatch.setattr(dataset, "make_phantom", lambda *arguments: calls.append(arguments) or arguments[0])
    settings = tmp_path / "small.yml"
    settings.write_text("subjects: [7]\nphantom: {n_sessions: 1, seed: 4}\n")
    assert cli.main(["phantom", "--to", str(tmp_path / "made"), "--settings", str(settings)]) == 0
    ((root, phantom, subjects),) = calls
    assert root == tmp_path / "made" and subjects == (7,) and (phantom.n_sessions, phantom.seed) == (1, 4)
    assert "phantom dataset in" in capsys.readouterr().out


def test_all_sessions_of_the_paper_subjects():
    assert cli._all_sessions(tables.SUBJECTS) == dict.fromkeys(tables.SUBJECTS, 40)
    assert cli._all_sessions([3, 8]) == {3: 32, 8: 30}


def test_interrupted_from_the_keyboard(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    command = cli.Command("wait", "", lambda parser: None, stop)
    monkeypatch.setattr(cli, "COMMANDS", (command,))
    assert cli.main(["wait"]) == 130
    assert "run the same command again" in capsys.readouterr().err
