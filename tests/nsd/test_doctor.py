import os
import shlex
import shutil
import subprocess
import sys

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io

from brainalign_utils import BrainalignError, cli
from brainalign_utils.nsd import doctor, layout

BETAS = "nsddata_betas/ppdata/subj{:02d}/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session{:02d}.{}"
SUBJECTS = (1, 7)


@pytest.fixture
def tree(phantom_tree, tmp_path):
    """A copy that may be damaged: hard links, so replace files instead of writing into them."""
    shutil.copytree(phantom_tree, tmp_path / "dataset", copy_function=os.link)
    return tmp_path / "dataset" / "nsd"


def problems(root, subjects=SUBJECTS, **options):
    return {f.what: f for f in doctor.examine(root, subjects, **options) if f.status != "ok"}


def replace(path, content: bytes):
    path.unlink()
    path.write_bytes(content)


def test_whole_tree_is_fine(tree):
    findings = doctor.examine(tree, SUBJECTS, coco=tree.parent / "coco")
    assert {f.status for f in findings} == {"ok"}
    checked = {f.what for f in findings}
    numbers = ("shape", "n_voxels", "first_voxels", "first_trials", "noise_ceiling_median")
    assert {f"subj07: {name}" for name in numbers} <= checked
    assert {
        "subjectim_first",
        "subj01: voxels of prf-visualrois",
        "subj01: betas of session 1: mean",
    } <= checked
    report = doctor.report(findings)
    assert "subj01: sessions\n            2 of 2 that exist: 1 to 2" in report
    assert "0 missing, 0 damaged, 0 unexpected" in report


def test_real_numbers_are_not_those_of_a_phantom(tree, tmp_path):
    expected = doctor.load_expected(tmp_path / "elsewhere" / "nsd")
    assert expected["name"] == "Natural Scenes Dataset"
    found = problems(tree, expected=expected)
    assert "found 226, expected 15724" in found["subj01: n_voxels"].detail
    assert "found [23, 15, 20], expected [81, 104, 83]".split(", e")[1] in found["subj01: shape"].detail


def test_numbers_of_the_real_dataset(tmp_path):
    """Counts published by others, one by one."""
    expected = doctor.load_expected(tmp_path)
    assert expected["subjectim_first"] == [2951, 2991, 3050]
    sizes = {s: tuple(row["shape"]) for s, row in expected["subjects"].items()}
    assert sizes[1] == (81, 104, 83) and sizes[7] == (78, 95, 81) and len(sizes) == 8
    assert all(len(set(shape)) == 3 for shape in sizes.values())
    areas = expected["subjects"][1]["roi_voxels"]["prf-visualrois"]
    assert (areas["V1v"] + areas["V1d"], areas["V2v"] + areas["V2d"], areas["hV4"]) == (1350, 1433, 687)
    assert doctor.sessions_to_get(range(1, 9)) == dict(enumerate([40, 40, 32, 30, 40, 32, 40, 30], 1))
    assert doctor.sessions_to_get([3, 8], 30) == {3: 30, 8: 30}


@pytest.mark.parametrize(
    "key",
    [
        layout.EXPDESIGN,
        layout.STIM_INFO,
        layout.STIMULI,
        layout.roi_key(1, "floc-words"),
        layout.ctab_keys(7, "floc-words")[0],
        layout.transform_key(7, "rh", "func1pt8-to-layerB2"),
        layout.ncsnr_key(1),
    ],
)
def test_missing_file_is_named(tree, key):
    (tree / key).unlink()
    assert {what: finding.status for what, finding in problems(tree).items()} == {key: "missing"}


def test_missing_folder_is_named_once(tree):
    shutil.rmtree(tree / "nsddata/ppdata/subj07/func1pt8mm/roi")
    found = problems(tree)
    assert list(found) == ["nsddata/ppdata/subj07/func1pt8mm/roi"]


@pytest.mark.parametrize(
    ("kept", "options", "status", "detail"),
    [
        ([1], {}, "missing", "1 of 2 that exist: 1; missing: 2"),
        ([2], {}, "missing", "1 of 2 that exist: 2; missing: 1"),
        ([], {}, "missing", "0 of 2 that exist: none; missing: 1 to 2"),
        ([1], {"n_sessions": 1}, "ok", "1 of 2 that exist: 1; the study uses 1"),
        ([1, 2], {"n_sessions": 1}, "ok", "2 of 2 that exist: 1 to 2; the study uses 1"),
        ([1, 2], {"n_sessions": 3}, "unexpected", "2 exist, but 3 are asked for; leave n_sessions"),
    ],
)
def test_sessions_found_of_those_that_exist_and_of_those_asked_for(tree, kept, options, status, detail):
    for session in {1, 2} - set(kept):
        for suffix in layout.BETA_SUFFIXES:
            (tree / BETAS.format(1, session, suffix)).unlink()
    findings = [f for f in doctor.examine(tree, [1], **options) if f.what == "subj01: sessions"]
    assert findings[0].status == status and findings[0].detail.startswith(detail)
    assert detail in doctor.report(findings)


def test_one_format_is_enough(tree):
    (tree / BETAS.format(1, 1, "hdf5")).unlink()
    (tree / BETAS.format(1, 2, "nii.gz")).unlink()
    assert problems(tree) == {}


def test_another_version_or_space_is_named(tree):
    folder = (tree / BETAS.format(1, 1, "hdf5")).parent
    folder.rename(folder.with_name("betas_fithrf"))
    found = problems(tree)
    says = "beside it lies func1pt8mm/betas_fithrf (sessions 1 to 2; to use it, set `betas: betas_fithrf`)"
    assert says in found["subj01: sessions"].detail
    assert problems(tree, subjects=[1], betas="betas_fithrf") == {}
    found = problems(tree, subjects=[1], betas="betas_fithrf", space="func1mm")
    assert "to use it, set `space: func1pt8mm`" in found["subj01: sessions"].detail
    assert "to use that, set `space: func1pt8mm`" in found["nsddata/ppdata/subj01/func1mm"].detail


def test_subject_that_is_not_there(tree):
    found = problems(tree, subjects=[5])
    assert "holds subj01, subj07" in found["nsddata/ppdata/subj05"].detail
    assert found["subj05: sessions"].detail.startswith("0 of those that exist: none; missing: 1")


@pytest.mark.parametrize("suffix", layout.BETA_SUFFIXES)
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.98])
def test_truncated_session(tree, suffix, kept):
    key = BETAS.format(1, 2, suffix)
    content = (tree / key).read_bytes()
    replace(tree / key, content[: int(kept * len(content))])
    finding = problems(tree)[key]
    assert finding.status == "damaged" and "truncated" in finding.detail


def test_file_that_another_process_holds_open(tree):
    path = tree / BETAS.format(1, 1, "hdf5")
    replace(path, path.read_bytes())
    hold = "import sys, h5py; file = h5py.File(sys.argv[1], 'r+'); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"\n"
        assert problems(tree, subjects=[1]) == {}
        holder.communicate()


def test_truncated_experiment_files(tree):
    keys = (layout.EXPDESIGN, layout.STIMULI, layout.roi_key(1, "floc-faces"), layout.ncsnr_key(7))
    for key in keys:
        content = (tree / key).read_bytes()
        replace(tree / key, content[: len(content) // 2])
    found = problems(tree)
    assert {found[key].status for key in keys} == {"damaged"}


def test_table_that_does_not_name_a_label(tree):
    replace(tree / layout.ctab_keys(1, "prf-visualrois")[0], b"0 Unknown\n1 V1v\n2 V1d\n3 V2v\n")
    (finding,) = problems(tree).values()
    assert finding.status == "damaged" and "holds labels 4, 5" in finding.detail


def test_other_number_of_trials(tree):
    key = BETAS.format(1, 1, "hdf5")
    shape = h5py.File(tree / key)["betas"].shape
    (tree / key).unlink()
    with h5py.File(tree / key, "w") as file:
        file.create_dataset("betas", (749, *shape[1:]), "i2")
    assert f"has shape {(749, *shape[1:])}, expected {shape}" in problems(tree)[key].detail


def test_exchanged_axes_are_unexpected(tree):
    """The mask of one subject beside the betas of another grid."""
    path = tree / layout.roi_key(1, "nsdgeneral")
    values = np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)
    path.unlink()
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    found = problems(tree)
    assert {"subj01: shape", "subj01: first_voxels"} <= set(found)


def test_changed_design_is_unexpected(tree):
    path = tree / layout.EXPDESIGN
    arrays = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    arrays["subjectim"] = arrays["subjectim"] - 1  # somebody "corrected" it to 0-based
    path.unlink()
    scipy.io.savemat(path, arrays)
    found = problems(tree)
    assert found["subjectim_first"].status == found["subj01: first_trials"].status == "unexpected"


def test_coco_files(tree):
    annotations = tree.parent / "coco" / "annotations"
    (annotations / "captions_val2017.json").unlink()
    content = (annotations / "instances_train2017.json").read_bytes()
    replace(annotations / "instances_train2017.json", content[:-1])
    found = problems(tree, coco=tree.parent / "coco")
    statuses = {what.rsplit("/", 1)[1]: finding.status for what, finding in found.items()}
    assert statuses == {"captions_val2017.json": "missing", "instances_train2017.json": "damaged"}


def test_report_puts_problems_first():
    findings = [
        doctor.Finding("ok", "fine"),
        doctor.Finding("unexpected", "c", "found 1, expected 2"),
        doctor.Finding("missing", "a/b"),
    ]
    text = doctor.report(findings)
    lines = ["missing     a/b", "unexpected  c", f"{'':11} found 1, expected 2"]
    assert text.splitlines() == [*lines, "1 missing, 0 damaged, 1 unexpected, 1 ok"]
    assert "fine" in doctor.report(findings, verbose=True)


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "holds a list"), ("a: [", "not valid YAML")])
def test_expected_file_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "expected.yml"
    path.write_text(text)
    with pytest.raises(BrainalignError, match=message):
        doctor.load_expected(tmp_path, path)
    with pytest.raises(BrainalignError, match=r"no\.yml does not exist; --expected"):
        doctor.load_expected(tmp_path, tmp_path / "no.yml")


# --- Command -------------------------------------------------------------------------------------


@pytest.fixture
def settings(tree, tmp_path):
    path = tmp_path / "my settings" / "study.yml"
    path.parent.mkdir()
    path.write_text(f"data: nsd\nnsd_root: {tree}\nsubjects: [1]\n")
    return path


def said(capsys, *arguments):
    status = cli.main(["doctor", *map(str, arguments)])
    return status, capsys.readouterr().out


def test_command_looks_at_what_the_settings_ask_for(tree, settings, capsys):
    shutil.rmtree(tree / "nsddata/ppdata/subj07")
    status, output = said(capsys, "--settings", settings)
    assert status == 0 and "compared with: phantom (simulated)" in output and "subj07" not in output
    with settings.open("a") as file:
        file.write("n_sessions: 3\n")
    status, output = said(capsys, "--settings", settings)
    assert status == 1 and "2 exist, but 3 are asked for; leave n_sessions and --sessions out" in output


def test_command_of_the_remedy(tree, settings, capsys):
    """It names the folder and the settings, so that it fetches everything that is missing."""
    for suffix in layout.BETA_SUFFIXES:
        (tree / BETAS.format(1, 2, suffix)).unlink()
    status, output = said(capsys, "--settings", settings)
    command = f"brainalign download --to {tree} --settings {shlex.quote(str(settings))}"
    assert status == 1 and output.endswith(f"to get what is missing or damaged: {command}\n")
    status, output = said(capsys, "--nsd", tree, "--subjects", "1", "7", "--sessions", "2")
    assert f"brainalign download --to {tree} --subjects 1 7 --sessions 2\n" in output


def test_command_on_a_folder_too_high_or_too_low(tree, capsys, tmp_path):
    for wrong in (tree.parent, tree / "nsddata", tree / "nsddata_betas" / "ppdata"):
        assert cli.main(["doctor", "--nsd", str(wrong)]) == 1
        assert f"{wrong} is not the folder that holds nsddata: give {tree}\n" in capsys.readouterr().err
    status, output = said(capsys, "--nsd", tmp_path / "no" / "nsd")
    assert status == 1 and f"missing     nsddata\n{'':11} {tmp_path} holds dataset" in output


def test_command_without_coco(tree, capsys):
    status, output = said(
        capsys, "--nsd", tree, "--subjects", "1", "--coco", tree.parent / "coco/annotations"
    )
    assert status == 1 and output.count("coco/annotations holds captions_train2017.json") == 4
    assert "download http://images.cocodataset.org" in output and "brainalign download" not in output
