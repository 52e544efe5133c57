"""What a hurried user types by mistake: each command ends in one sentence that says what to do, no traceback.

The commands run as a user runs them, so that the tables outlive changes of structure.
"""

import json
import os
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
import pytest
from fixtures.unprivileged import nobody, reachable_folder

from brainalign_utils import cli
from brainalign_utils.artifacts import hold_study
from brainalign_utils.settings import project_root

REAL = "data: nsd\n"
SETTINGS = [
    ("", "holds nothing; expected lines such as `name: my_study`"),
    ("# name: mine\n", "holds nothing"),
    ("- vit-h\n", "holds a list; expected lines such as"),
    ("name:mine", "holds a text; expected lines such as"),
    ("name: mine\nmodels:[vit-h]\n", "line 3: could not find expected ':'; check colons"),
    (
        "encoding:\n\tn_folds: 3",
        "line 2: found character .* that cannot start any token; indent with",
    ),
    ("name: [mine", "line 1: .* but got '<stream end>'; check colons, indentation and brackets"),
    (b"name: \xe9tude", "invalid continuation byte; save it as UTF-8"),
    ("name: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ("encoding: {n_folds: 3}\nname: a\nencoding: {n_alphas: 2}", "encoding stands in line 1 and in line 3"),
    (
        "encoding:\n  n_folds: 3\n  n_alphas: 4\n  n_folds: 4",
        "n_folds stands in line 2 and in line 4",
    ),
    ("n_sessions: 037", "line 1: 037 could be octal; write 37"),
    ("subjects: [01, 02]", "line 1: 01 could be octal; write 1"),
    ("n_sessions: 1:30", "n_sessions: expected a whole number .*'1:30'"),
    ("n_sessions: 0o17", "n_sessions: expected a whole number .*'0o17'"),
    ("n_sessions: true", "n_sessions: expected a whole number .*'true'"),
    ("n_sessions: yes", "n_sessions: expected a whole number .*'yes'"),
    ("n_sessions: all", "n_sessions: expected a whole number .*'all'"),
    ("n_sessions: 2.5", "n_sessions: expected a whole number .*2.5"),
    ("n_sessions: -1", "n_sessions: should be greater than or equal to 1 .*-1"),
    ("n_sessions: 4", "n_sessions is 4 but phantom.n_sessions is 3; raise that"),
    ("stats: {alpha: 5%}", "stats.alpha: expected a number .*'5%'"),
    (
        "encoding: {log10_alpha_min: .nan}",
        "encoding.log10_alpha_min: .* 12 .*nan",
    ),
    ("encoding: {log10_alpha_max: .inf}", "encoding.log10_alpha_max: .* 12 .*inf"),
    ("encoding: {fit_intercept: maybe}", "encoding.fit_intercept: expected true or false .*'maybe'"),
    ("encoding: {device: gpu}", "encoding.device: expected auto, cpu, cuda or cuda:N .*'gpu'"),
    ("features: {batch_size: 0}", "features.batch_size: expected 'auto', or .* 1 .*0"),
    ("features: {image_size: 300}", "features.image_size: expected 'native' or 227 .*300"),
    ("data: NSD", "data: expected 'phantom' or 'nsd' .*'NSD'"),
    ("name: my study", "name: names a folder: .*; write my_study .*'my study'"),
    ("name: 2026", 'name: expected text; write "2026" in quotes'),
    ("name: ..", "name: names a folder: .*; write my_study"),
    (f"name: {'x' * 200}", "name: names a folder: at most 100"),
    ("subjects:", "subjects: has no value; write one, or delete the line"),
    ("subjects: subj01", r"subjects: expected a list; write \[subj01\]"),
    ("subjects: [subj09]", "subject subj09 does not exist; NSD has subjects 1 to 8"),
    ("subjects: [1, subj01]", "subjects: 1 named twice; name each once"),
    ("instructions: [IC]", "IC has no other instruction to be compared with; name at least two"),
    ("instructions: [IC, ic]", "unknown instruction 'ic'; did you mean 'IC'?"),
    ("instructions: IC", r"instructions: expected a list; write \[IC\]"),
    ("extra_instructions: [{id: X, task: t, text: hi, level: 1}]", "instructions does not name 'X'"),
    ("extra_instructions: [{id: IC, task: t, text: hi, level: 1}]", "'IC' a second meaning; choose another"),
    ("extra_instructions: [{id: X, task: t, txt: hi, level: 1}]", "0.txt: unknown key; did you mean 'text'"),
    ("models: [Vit-H, instructblip]", "models: unknown model 'Vit-H'; did you mean 'vit-h'?"),
    ("models: [instructblip-13b]", "no phantom checkpoint for instructblip-13b; .* or set checkpoints: hub"),
    (
        "partition: {models: [vit-h]}",
        "partition.models: unknown instructed model 'vit-h'",
    ),
    ("partition: {triples: [[IC, IU1, XX]]}", "unknown instruction in partition.triples 'XX'"),
    ("partition: {triples: [[IC, IU1]]}", "partition.triples.0.2: is missing"),
    ("pooling: last", "pooling: unknown key; did you mean 'features.pooling'?"),
    ("n_fold: 3", "n_fold: unknown key; did you mean 'encoding.n_folds'?"),
    ("encoding: {subjects: [1]}", "encoding.subjects: unknown key; did you mean 'subjects'?"),
    ("encoding: 3", "encoding: expected keys below it, such as solver"),
    (
        "cluster: {rules: {fit_encoding: {cpu: 2}}}",
        "rules.fit_encoding.cpu: .*; did you mean 'cpus'?",
    ),
    ("cluster: {partition: 'gpu a'}", "cluster.partition: is an argument of sbatch.*without spaces"),
    (REAL, "data is 'nsd' but nsd_root is empty; set it .NSD= of make. to the folder"),
    (REAL + "nsd_root: ''", "nsd_root: the path is empty; name a folder"),
    (REAL + "nsd_root: $NOWHERE/nsd", "nsd_root: names a variable or a user that this machine does not have"),
    (REAL + "nsd_root: ~nobody-here/nsd", "nsd_root: names a variable or a user"),
]


@pytest.mark.parametrize(("content", "message"), SETTINGS, ids=range(len(SETTINGS)))
def test_a_settings_file(content, message, tmp_path, capfd):
    file = tmp_path / "mine.yml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    status = cli.main(["doctor", "--settings", str(file)])
    check(status, 1, message, *capfd.readouterr())


def check(status, expected, message, output, errors=""):
    """The last line is the sentence, and no traceback stands anywhere."""
    lines = (output + errors).rstrip().splitlines()
    assert status == expected and lines, output + errors
    assert re.search(message, lines[-1]), output + errors
    assert "Traceback" not in output + errors


NO_SERVER = "--yes --endpoint-url http://127.0.0.1:9"
COMMANDS = [
    ("doctor", 1, "to get what is missing or damaged: make study SETTINGS=workflow/config/phantom.yml"),
    ("doctor --nsd", 2, "'--nsd' requires an argument"),
    ("doctor --nsd=", 2, "'--nsd': the path is empty"),
    ("doctor --nsd nowhere", 1, "to get what is missing or damaged: brainalign download --to .*nowhere"),
    ("doctor --nsd file", 2, "'--nsd': Directory 'file' is a file .see `brainalign doctor --help`"),
    ("doctor --nsd above", 1, "above is not the folder that holds nsddata: give .*above/nsd"),
    ("doctor --nsd nsd/nsddata", 1, "nsd/nsddata is not the folder that holds nsddata: give .*nsd"),
    ("download --to nsd/nsddata", 1, "nsd/nsddata is not the folder that holds nsddata: give .*nsd"),
    ("doctor nsd", 2, "unexpected extra argument .nsd. .see `brainalign doctor --help`"),
    ("doctor --nsd nsd --subjects 9", 2, "subject 9 does not exist; NSD has subjects 1 to 8"),
    ("doctor --nsd nsd --subjects 1,2", 2, "subject 1,2 does not exist; .* write --subjects 1 2 for two"),
    ("doctor --nsd nsd --subject 1", 2, "No such option '--subject'. Did you mean '--subjects'"),
    ("doctor --nsd nsd --sessions 0", 2, "'--sessions': 0 is not in the range 1<=x<=40"),
    ("doctor --nsd nsd --expected nowhere.yml", 1, "nowhere.yml does not exist; --expected takes"),
    ("doctor --nsd nsd --expected nsd", 2, "'--expected': File 'nsd' is a directory"),
    ("doctor --nsd nsd --settings nowhere.yml", 1, "settings file nowhere.yml does not exist .looked in"),
    ("doctr --nsd nsd", 2, "No such command 'doctr'. Did you mean 'doctor'"),
    ("download", 1, "--to is missing; name the folder for the data"),
    ("download --to", 2, "'--to' requires an argument"),
    ("download data", 2, "unexpected extra argument .data. .see `brainalign download --help`"),
    ("download --to file", 2, "'--to': Directory 'file' is a file"),
    ("download --to data --subjects all", 2, "subject all does not exist; NSD has subjects 1 to 8"),
    ("download --to data --subjects 1-4", 2, "subject 1-4 does not exist; .* write --subjects 1 2 for two"),
    ("download --to data --sessions -1", 2, "'--sessions': -1 is not in the range 1<=x<=40"),
    ("download --to data --sessions 50", 2, "'--sessions': 50 is not in the range 1<=x<=40"),
    ("download --to data --format nii", 2, "'--format': 'nii' is not one of 'hdf5', 'nii.gz'"),
    ("download --to data --settings nowhere.yml", 1, "settings file nowhere.yml does not exist"),
    ("download --to data --settings nsd", 2, "'--settings': File 'nsd' is a directory"),
    ("download --to data --bucket s3://nsd --yes", 1, "--bucket is 's3://nsd'; give its name alone"),
    ("download --to data --yes --endpoint-url s3.amazonaws.com", 1, "looks like https://host:port"),
    (f"download --to data {NO_SERVER}", 1, "cannot be reached.*check the network and --endpoint-url"),
    ("downlaod --to data", 2, "No such command 'downlaod'. Did you mean 'download'"),
    ("fetch-models instruct-blip", 1, "unknown model instruct-blip; `brainalign models` prints the table"),
    ("fetch-models vit_h", 1, "unknown model vit_h"),
    ("fetch-models vit-h,clip-image", 1, "unknown model vit-h,clip-image"),
    ("fetch-models Salesforce/instructblip-vicuna-7b", 1, "unknown model Salesforce/instructblip-vicuna-7b"),
    ("fetch-models all", 1, "unknown model all"),
    ("fetch-models 1", 1, "unknown model 1"),
    ("fetch-models --settings", 2, "'--settings' requires an argument"),
    ("fetch-models --settings nowhere.yml", 1, "settings file nowhere.yml does not exist"),
    ("fetch-models --settings file", 1, "settings file holds nothing"),
    ("fetch-models --model vit-h", 2, "No such option '--model'"),
    ("fetch-models vit-h --force", 2, "No such option '--force'"),
    ("fetch_models", 2, "No such command 'fetch_models'. .Did you mean one of: 'fetch-models'"),
    ("plan --settings nowhere.yml", 1, "settings file nowhere.yml does not exist"),
    ("plan --settings ~/nowhere.yml", 1, f"settings file {Path.home()}/nowhere.yml does not exist"),
    ("plan --settings nsd", 2, "'--settings': File 'nsd' is a directory"),
    ("plan --settings=", 2, "'--settings': the path is empty"),
    ("plan --setting x.yml", 2, "No such option '--setting'. Did you mean '--settings'"),
    ("plan nowhere.yml", 2, "unexpected extra argument .nowhere.yml. .see `brainalign plan --help`"),
    ("plan --settings one.yml", 1, "models is instructblip; the pages compare .* with vit-h: name it"),
    ("plan --settings vision.yml", 1, "models is vit-h, clip-image; .* name it and one of partition.models"),
    ("plan --settings two words.yml", 2, "unexpected extra argument .words.yml."),
    ("plan --settings file", 1, "settings file holds nothing"),
    ("paln", 2, "No such command 'paln'. Did you mean 'plan'"),
    ("models vit-h", 2, "unexpected extra argument .vit-h. .see `brainalign models --help`"),
    ("models --json", 2, "No such option '--json'"),
    ("models --settings x.yml", 2, "No such option '--settings'"),
    ("models -v", 2, "No such option '-v'"),
    ("models models", 2, "unexpected extra argument"),
    ("model", 2, "No such command 'model'. Did you mean 'models'"),
    ("Models", 2, "No such command 'Models'. Did you mean 'models'"),
    ("--models", 2, "No such option '--models'"),
    ("--versoin", 2, "No such option '--versoin'. Did you mean '--version'"),
    ("help", 2, "No such command 'help' .see `brainalign --help`"),
    ("models-list", 2, "No such command 'models-list'"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with what the tables speak of."""
    for folder in ("nsd/nsddata", "above/nsd/nsddata", "coco/annotations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file").touch()
    studies = {
        "one": "models: [instructblip]",
        "vision": "models: [vit-h, clip-image]",
        "braces": "build_root: '{here}/{{a}}'",
        "inside": "build_root: '{here}/file'",
        "absent": "checkpoints: '{here}/nowhere'",
        "empty": "checkpoints: '{here}/nsd'",
        "hub": "checkpoints: hub",
        "good": "build_root: '{here}'",
        "nsd": "data: nsd",
    }
    for name, text in studies.items():
        (tmp_path / f"{name}.yml").write_text(text.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("words", "status", "message"), COMMANDS, ids=[row[0] for row in COMMANDS])
def test_a_command(words, status, message, here, capfd):
    before = sorted(here.rglob("*"))
    check(cli.main(words.split()), status, message, *capfd.readouterr())
    assert sorted(here.rglob("*")) == before


MAKE = [
    ("book SETTINGS=nowhere.yml", "settings file nowhere.yml does not exist"),
    (
        "book SETTINGS=workflow/config",
        "workflow/config cannot be read .Is a directory.; name a file",
    ),
    ("book SETTINGS=README.md", "settings README.md is not valid YAML: line"),
    ("book SETTINGS={here}/one.yml", "models is instructblip; the pages compare .* with vit-h: name it"),
    (
        "book SETTINGS={here}/vision.yml",
        "models is vit-h, clip-image; .* name it and one of partition.models",
    ),
    ("book SETTINGS={here}/braces.yml", "cannot use .*, whose braces are wildcards; choose another"),
    ("book SETTINGS={here}/inside.yml", "file is a file; set build_root to a folder of yours"),
    ("book SETTINGS={here}/absent.yml", "checkpoints: the folder .*/nowhere does not exist"),
    ("book SETTINGS={here}/empty.yml", "no checkpoint for model 'vit-h' in .*; put the files of .* there"),
    (
        "book SETTINGS={here}/hub.yml HF_HOME={here}",
        "model 'vit-h' is not in .*; run `brainalign f",
    ),
    ("book CORES=0", "CORES=0 is no number of processors; give 1 or more"),
    ("book CORES=all", "CORES=all is no number of processors"),
    ("book PROFILE=slrum", "PROFILE=slrum does not exist; there are aws, kubernetes, local, slurm"),
    ("book SCORES=nowhere.zip", "SCORES=nowhere.zip does not exist"),
    ("book SCORES=README.md", "SCORES=README.md is no zip archive of scores"),
    ("book NSD={here}/nsd", "nsd_root .NSD=. is .*/nsd, but data is 'phantom'.* use workflow/config/nsd.yml"),
    ("bok", "No rule to make target 'bok'"),
    ("paper", "nsd_root is empty; set it .NSD= of make. to the folder that holds nsddata"),
    ("paper NSD=/nowhere", "nsd_root .NSD=.: the folder /nowhere does not exist"),
    ("paper NSD=nowhere", "nsd_root .NSD=.: the folder .*/nowhere does not exist"),
    ("paper NSD={here}/file", "nsd_root .NSD=.: the folder .*/file is a file"),
    ("paper NSD={here}/above", "above holds no folder nsddata; did you mean .*/above/nsd?"),
    ("paper NSD={here}/nsd/nsddata", "nsd/nsddata holds no folder nsddata; did you mean .*/nsd?"),
    ("paper NSD={here}/coco", "coco holds no folder nsddata; name the folder that holds nsddata"),
    ("paper NSD=~nobody-here/nsd", "nsd_root: names a variable or a user that this machine does not have"),
    ("paper NSD={here}/nsd", "coco_root is empty, and captions and concepts need it; set it .COCO= of make."),
    ("paper NSD={here}/nsd COCO=/nowhere", "coco_root .COCO=.: the folder /nowhere does not exist"),
    ("paper NSD={here}/nsd COCO={here}/coco/annotations", "annotations; did you mean .*/coco?"),
    ("paper NSD={here}/nsd COCO={here}/nsd", "nsd holds no folder annotations; name the folder"),
    (
        "paper NSD={here}/nsd COCO={here}/coco HF_HOME={here}",
        "model 'vit-h' is not in .*; run `brain",
    ),
    ("paper NSD={here}/nsd SETTINGS=nowhere.yml", "settings file nowhere.yml does not exist"),
    (
        "paper NSD={here}/nsd SETTINGS=workflow/config/phantom.yml",
        "but data is 'phantom', which makes its",
    ),
    ("figure", "NOTEBOOK= does not exist; there are .*06_compare_models"),
    ("figure NOTEBOOK=99", "NOTEBOOK=99 does not exist; there are .*06_compare_models"),
    ("figure NOTEBOOK=6_compare_models", "NOTEBOOK=6_compare_models does not exist; there are"),
    ("figure NOTEBOOK=compare-models", "NOTEBOOK=compare-models does not exist; there are"),
    ("figure NOTEBOOK=figure_2", "NOTEBOOK=figure_2 does not exist; there are"),
    ("figure NOTEBOOK=notebooks", "NOTEBOOK=notebooks does not exist; there are"),
    ("figure NOTEBOOK=06*", r"NOTEBOOK=06\* does not exist; there are"),
    ("figure NOTEBOOK=06_compare_models SETTINGS=nowhere.yml", "settings file nowhere.yml does not exist"),
    ("figure NOTEBOOK=06_compare_models CORES=two", "CORES=two is no number of processors"),
    ("figure NOTEBOOK=06_compare_models PROFILE=", "PROFILE= does not exist; there are aws"),
    ("figure NOTEBOOK=06_compare_models SETTINGS={here}/inside.yml", "is a file; set build_root"),
    ("serve SETTINGS={here}/nsd.yml", "there is no book in .*/nsd/html; `make book` with the same SETTINGS"),
    ("serve SETTINGS={here}/one.yml", "there is no book in .*/one/html"),
    ("serve SETTINGS=nowhere.yml", "settings file nowhere.yml does not exist"),
    ("serve SETTINGS=", "name a file"),
    ("serve SETTINGS={here}/good.yml PORT=", "PORT= is no port; give a number such as 8001"),
    ("serve SETTINGS={here}/good.yml PORT=abc", "PORT=abc is no port"),
    ("serve SETTINGS={here}/good.yml PORT=0", "PORT=0 is no port"),
    ("serve SETTINGS={here}/good.yml PORT=-1", "PORT=-1 is no port"),
    ("serve SETTINGS={here}/good.yml PORT=80000", "PORT=80000 is no port"),
    ("serve SETTINGS={here}/good.yml PORT=8000.5", "PORT=8000.5 is no port"),
    ("serve SETTINGS={here}/good.yml PORT={taken}", "cannot be used .address already in use.; give another"),
    ("lab NOTEBOOK=compare", "NOTEBOOK=compare does not exist; there are"),
]


MAKE_HERE = ["make", "-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}"]
OUTSIDE_MAKE = {name: v for name, v in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


@pytest.mark.parametrize(("words", "message"), MAKE, ids=[row[0] for row in MAKE])
def test_a_target_of_make(words, message, here):
    """The sentence is make's own last line."""
    (here / "good/html").mkdir(parents=True)
    (here / "good/html/index.html").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = words.format(here=here, taken=server.getsockname()[1]).split()
        done = subprocess.run(
            [*MAKE_HERE, *words],
            cwd=project_root(),
            env=OUTSIDE_MAKE,
            capture_output=True,
            text=True,
            timeout=60,
        )
    check(done.returncode, 2, message, done.stdout, done.stderr)
    assert "snakemake" not in done.stdout


def test_a_folder_that_may_not_be_written(capfd):
    with reachable_folder() as folder:
        (folder / "mine.yml").write_text(f"build_root: {folder}/closed/deep\n")
        (folder / "closed").mkdir(mode=0o755)
        options = ["--settings", str(folder / "mine.yml"), "--profile", "local", "--cores", "1"]
        with nobody():
            status = cli.main(["check", "book", *options])
        message = f"{folder}/closed may not be written; set build_root to a folder of yours"
        check(status, 1, message, *capfd.readouterr())
        assert cli.main(["check", "book", *options]) == 0


PAPERMILL = [
    (
        "estimate_ceilings",
        "settings_file nowhere.yml",
        "SettingsError: settings file nowhere.yml does not exist",
    ),
    (
        "estimate_ceilings",
        "settings_file notebooks",
        "SettingsError: .*notebooks cannot be read .Is a directory.",
    ),
    ("estimate_ceilings", "settings_file README.md", "SettingsError: .*README.md is not valid YAML: line"),
    ("estimate_ceilings", "settings_file {here}/file", "SettingsError: settings .*/file holds nothing"),
    ("estimate_ceilings", "settings_file {here}/nsd.yml", "SettingsError: .* nsd_root is empty; set it"),
    (
        "partition_variance",
        "settings_file {here}/twice.yml",
        "SettingsError: .* name stands in line 1 and in line",
    ),
    (
        "fit_encoding",
        "settings_file {here}/octal.yml",
        "SettingsError: .* line 1: 037 could be octal; write 37",
    ),
    ("fit_encoding", "model foo", "SettingsError: model is 'foo'; this study has the models "),
    ("load_responses", "subjects 08", "SettingsError: subjects is .* it takes a list, such as "),
    ("estimate_ceilings", "settings_file {here}/good.yml", "StoreError: .* does not exist; .* run `make "),
]


@pytest.fixture(scope="module")
def papermill_runs(tmp_path_factory):
    """What papermill prints and writes for every row of the table; two processes at a time."""
    here = tmp_path_factory.mktemp("papermill")
    texts = {
        "file": "",
        "nsd.yml": "data: nsd",
        "twice.yml": "name: a\nname: b",
        "octal.yml": "n_sessions: 037",
    }
    for name, text in (texts | {"good.yml": f"build_root: '{here}'"}).items():
        (here / name).write_text(text)

    def run(row):
        (source,) = project_root().glob(f"notebooks/*_{PAPERMILL[row][0]}.py")
        copy, out = here / f"{row}.ipynb", here / f"{row}.out.ipynb"
        jupytext.write(jupytext.read(source), copy)
        words = ["-p", *PAPERMILL[row][1].format(here=here).split()]
        command = [sys.executable, "-m", "papermill", str(copy), str(out), "-k", "python3", *words]
        done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, timeout=120)
        return done, nbformat.read(out, as_version=4)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(len(PAPERMILL))))


@pytest.mark.slow
@pytest.mark.parametrize("row", range(len(PAPERMILL)), ids=[" ".join(row[:2]) for row in PAPERMILL])
def test_a_notebook_in_papermill(row, papermill_runs):
    """The sentence stands alone in the notebook, and is the last line that papermill prints."""
    done, notebook = papermill_runs[row]
    message = PAPERMILL[row][2]
    assert done.returncode == 1 and re.match(message, done.stderr.rstrip().splitlines()[-1]), done.stderr
    (error,) = (o for cell in notebook.cells for o in cell.get("outputs", ()) if o.output_type == "error")
    assert len(error.traceback) == 1 and re.match(message, error.traceback[0])


def test_a_study_that_runs_already(here, capfd):
    options = ["--settings", "good.yml", "--profile", "local", "--cores", "1"]
    held = hold_study(here / "good")
    status = cli.main(["check", "study", *options])
    check(status, 1, "another run is at work in .*/good; wait for it to end", *capfd.readouterr())
    held.release()
    assert cli.main(["check", "study", *options]) == 0


def test_a_cluster_that_is_not_there(here, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(here))
    status = cli.main(["check", "study", "--settings", "good.yml", "--profile", "slurm", "--cores", "1"])
    check(status, 1, "PROFILE=slurm needs Slurm's sbatch, which this machine lacks", *capfd.readouterr())


def test_any_path_reaches_the_workflow(tmp_path):
    """Spaces, letters, quotes and what YAML takes for a comment or a key stay parts of a path."""
    folder = tmp_path / "it's é: #1 (new)"
    (folder / "nsd/nsddata/experiments/nsd").mkdir(parents=True)
    (folder / "nsd/nsddata/experiments/nsd/nsd_expdesign.mat").touch()
    (folder / "coco/annotations").mkdir(parents=True)
    settings = folder / "my study.yml"
    settings.write_text("name: étude\ndata: nsd\nbuild_root: out\nmodels: [vit-h, instructblip]\n")
    settings.write_text(settings.read_text().replace("out", f'"{folder}"'), encoding="utf-8")
    words = [f"SETTINGS={settings}", f"NSD={folder}/nsd", f"COCO={folder}/coco", "SNAKEMAKE_ARGS=--dry-run"]
    done = subprocess.run(
        [*MAKE_HERE, "-j2", "archive", "study", *words],
        cwd=project_root(),
        env=OUTSIDE_MAKE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    frozen = json.loads((folder / "étude/settings/settings.json").read_text(encoding="utf-8"))
    assert [frozen[f"{key}_root"] for key in ("build", "nsd", "coco")] == [
        str(folder), f"{folder}/nsd", f"{folder}/coco",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("interpreter", "message"),
    [
        ("#!/bin/sh\necho Python 3.9.2\n", "Error: .*/python is Python 3.9.2; give another .* make PYTHON="),
        ("#!/bin/nowhere\n", "Error: .*/python is no Python; give another that is Python 3.11 or newer"),
    ],
)
def test_a_python_that_cannot_be_used(interpreter, message, tmp_path):
    python = tmp_path / "python"
    python.write_text(interpreter)
    python.chmod(0o755)
    words = ["make", "env", f"PYTHON={python}", f"VENV={tmp_path}/venv"]
    done = subprocess.run(words, cwd=project_root(), env=OUTSIDE_MAKE, capture_output=True, text=True)
    check(done.returncode, 2, message, done.stdout, done.stderr)
    assert not (tmp_path / "venv").exists()


def test_an_environment_of_a_checkout_that_was_moved(tmp_path):
    program = tmp_path / "bin/brainalign"
    program.parent.mkdir()
    program.write_text(f"#!{tmp_path}/moved/.venv/bin/python\n")
    program.chmod(0o755)
    words = ["make", "-o", f"{tmp_path}/.ready", f"VENV={tmp_path}", "study"]
    done = subprocess.run(words, cwd=project_root(), env=OUTSIDE_MAKE, capture_output=True, text=True)
    check(done.returncode, 2, "was made in another folder; delete it", done.stdout, done.stderr)
