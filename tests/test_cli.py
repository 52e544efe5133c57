import os
import shutil
import subprocess
import sys
import time
from importlib import metadata

import click
import pytest

from brainalign_utils import DEFAULT_SETTINGS, cli, models
from brainalign_utils.settings import load_settings, project_root


def run(*arguments):
    code = "import sys; from brainalign_utils.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_is_fast_and_names_every_command():
    start = time.perf_counter()
    result = run("--help")
    assert time.perf_counter() - start < 5  # 0.1 s alone; importing torch would take longer than that
    assert result.returncode == 0
    assert all(
        name in result.stdout for name, command in cli.brainalign.commands.items() if not command.hidden
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys, brainalign_utils.cli as cli\n"
        "cli.main(['--help'])\n"
        "print([m for m in ('numpy', 'torch', 'boto3', 'h5py', 'pydantic') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip().endswith("[]")


@pytest.mark.parametrize("arguments", [[], ["paint"], ["doctor", "tree"], ["download", "--sessions", "0"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    assert cli.main(arguments) == 2
    assert ("see `brainalign" if arguments else "Usage: brainalign") in capsys.readouterr().err


def test_models_prints_the_table(capsys):
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(models.MODELS)
    for line, row in zip(lines[1:], models.MODELS, strict=True):
        assert line.split()[0] == row.id and row.checkpoint in line


def test_doctor_exit_code_and_report(phantom_tree, tmp_path, capsys):
    subjects = ["--subjects", "1", "7"]
    coco = ["--coco", str(phantom_tree / "coco")]
    assert cli.main(["doctor", "--nsd", str(phantom_tree / "nsd"), *coco, *subjects]) == 0
    assert "compared with: phantom (simulated)" in capsys.readouterr().out
    shutil.copytree(phantom_tree / "nsd", tmp_path / "nsd", copy_function=os.link)
    (tmp_path / "nsd/nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz").unlink()
    expected = str(phantom_tree / "truth" / "expected.yml")
    assert cli.main(["doctor", "--nsd", str(tmp_path / "nsd"), "--expected", expected, *subjects]) == 1
    output = capsys.readouterr().out
    assert "missing     nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz" in output
    assert (
        f"brainalign download --to {tmp_path}/nsd --subjects 1 7" in output
        and "1 missing, 0 damaged" in output
    )


def test_doctor_on_a_folder_that_is_not_there(tmp_path, capsys):
    assert cli.main(["doctor", "--nsd", str(tmp_path / "no")]) == 1
    assert "missing     nsddata" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["download"], "--to is missing"),
        (["download", "--settings", "nowhere.yml"], "settings file nowhere.yml does not exist"),
        (
            ["doctor", "--nsd", ".", "--expected", "nowhere.yml"],
            "nowhere.yml does not exist; --expected takes",
        ),
        (["plan", "--settings", "nowhere.yml"], "settings file nowhere.yml does not exist"),
        (["fetch-models", "instruct-blip"], "unknown model instruct-blip"),
    ],
)
def test_errors_are_one_line_without_traceback(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and message in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("subjects", ["1 9", "subj02 subj9", "1 --sessions 1 --subjects 9"])
def test_lists_after_one_option(subjects, capsys):
    """Every value of --subjects is looked at, and what follows another option is no value of it."""
    assert cli.main(["download", "--to", "x", "--subjects", *subjects.split()]) == 2
    assert "9 does not exist; NSD has subjects 1 to 8" in capsys.readouterr().err
    assert cli.main(["doctor", "--nsd", "x", "1", "2"]) == 2
    assert "unexpected extra arguments" in capsys.readouterr().err


def test_version():
    assert metadata.version("brainalign") in run("--version").stdout


def test_the_settings_file_of_a_command_that_is_given_none_is_that_of_make(capsys):
    assert f"SETTINGS ?= {DEFAULT_SETTINGS}\n" in (project_root() / "Makefile").read_text()
    assert cli.main(["plan"]) == 0
    settings = load_settings(DEFAULT_SETTINGS)
    assert f"study {settings.name}: 4 subjects, {len(settings.models)} models" in capsys.readouterr().out


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(models, "MODELS", None)
    with pytest.raises(TypeError):
        cli.main(["models"])


def test_interrupted_from_the_keyboard(monkeypatch, capsys):
    @click.command()
    def wait():
        raise KeyboardInterrupt

    assert cli.run(wait, []) == 130
    assert "run the same command again" in capsys.readouterr().err
