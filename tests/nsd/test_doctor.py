import os
import shutil

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io

from brainalign_utils.nsd import doctor, layout

BETAS = "nsddata_betas/ppdata/subj{:02d}/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session{:02d}.{}"


@pytest.fixture
def tree(phantom_tree, tmp_path):
    """A copy that may be damaged: hard links, so replace files instead of writing into them."""
    shutil.copytree(phantom_tree, tmp_path / "dataset", copy_function=os.link)
    return tmp_path / "dataset" / "nsd"


def problems(root, **options):
    expected = options.pop("expected", None) or doctor.load_expected(root)
    return {f.what: f for f in doctor.examine(root, expected, **options) if f.status != "ok"}


def replace(path, content: bytes):
    path.unlink()
    path.write_bytes(content)


def test_whole_tree_is_fine(tree):
    findings = doctor.examine(tree, doctor.load_expected(tree), coco=tree.parent / "coco")
    assert {f.status for f in findings} == {"ok"}
    checked = {f.what for f in findings}
    assert {
        "subj01: shape",
        "subj07: first_voxels",
        "subj01: noise_ceiling_median",
        "subj01: voxels of V1",
    } <= checked
    assert f"{layout.EXPDESIGN}: subjectim_first" in checked and len(checked) > 80
    assert "0 missing, 0 damaged, 0 unexpected" in doctor.report(findings)


def test_deep_check_of_a_whole_tree(tree):
    assert problems(tree, deep=True) == {}


def test_real_numbers_are_not_those_of_a_phantom(tree, tmp_path):
    expected = doctor.load_expected(tmp_path / "elsewhere" / "nsd")
    assert expected["name"] == "Natural Scenes Dataset"
    found = problems(tree, expected=expected)
    assert "found 226, expected 15724" in found["subj01: n_voxels"].detail
    assert "expected (750, 83, 104, 81)" in found[BETAS.format(1, 1, "hdf5")].detail


def test_numbers_of_nsd_md(tmp_path):
    """The figures that the project was given, one by one."""
    expected = doctor.load_expected(tmp_path)
    assert expected["subjectim_first"] == [2951, 2991, 3050] and expected["first_trial"] == 46002
    assert expected["shared_first"][0] == expected["subjectim_first"][0] - 1
    sizes = {s: tuple(row["shape"]) for s, row in expected["subjects"].items()}
    assert sizes[1] == (81, 104, 83) and sizes[7] == (78, 95, 81) and len(sizes) == 8
    assert all(len(set(shape)) == 3 for shape in sizes.values())
    one = expected["subjects"][1]
    areas = one["roi_voxels"]["prf-visualrois"]
    assert (areas["V1v"] + areas["V1d"], areas["V2v"] + areas["V2d"], areas["hV4"]) == (1350, 1433, 687)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        (layout.EXPDESIGN, "brainalign download"),
        (layout.STIM_INFO, "brainalign download"),
        (layout.STIMULI, "brainalign download"),
        (layout.roi_key(1, "floc-words"), "brainalign download --subjects 1"),
        (layout.transform_key(7, "rh", "func1pt8-to-layerB2"), "brainalign download --subjects 7"),
        (layout.ncsnr_key(1), "brainalign download --subjects 1"),
    ],
)
def test_missing_file_is_named_with_what_to_download(tree, key, remedy):
    (tree / key).unlink()
    finding = problems(tree)[key]
    assert (finding.status, finding.remedy) == ("missing", remedy)


def test_missing_session_and_gap(tree):
    for suffix in layout.BETA_SUFFIXES:
        (tree / BETAS.format(1, 1, suffix)).unlink()
    finding = problems(tree)[BETAS.format(1, 1, "hdf5")]
    assert finding.status == "missing" and finding.remedy == "brainalign download --subjects 1 --sessions 2"


def test_one_format_is_enough(tree):
    (tree / BETAS.format(1, 1, "hdf5")).unlink()
    (tree / BETAS.format(1, 2, "nii.gz")).unlink()
    assert problems(tree) == {}


def test_sessions_asked_for(tree):
    found = problems(tree, subjects=[1], n_sessions=4)
    assert {BETAS.format(1, 3, "hdf5"), BETAS.format(1, 4, "hdf5")} == set(found)


def test_subject_asked_for_that_is_not_there(tree):
    found = problems(tree, subjects=[5])
    assert found[layout.roi_key(5, "nsdgeneral")].remedy == "brainalign download --subjects 5"


@pytest.mark.parametrize("suffix", layout.BETA_SUFFIXES)
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.98])
def test_truncated_session(tree, suffix, kept):
    key = BETAS.format(1, 2, suffix)
    content = (tree / key).read_bytes()
    replace(tree / key, content[: int(kept * len(content))])
    finding = problems(tree)[key]
    assert finding.status == "damaged" and "truncated" in finding.detail
    assert finding.remedy == "delete it, then brainalign download --subjects 1 --sessions 2"


def test_flipped_byte_is_found_by_the_deep_check(tree):
    key = BETAS.format(7, 1, "nii.gz")
    content = bytearray((tree / key).read_bytes())
    content[len(content) // 2] ^= 0xFF
    replace(tree / key, bytes(content))
    assert problems(tree, deep=True)[key].status == "damaged"


def test_truncated_experiment_files(tree):
    for key in (layout.EXPDESIGN, layout.STIMULI, layout.roi_key(1, "floc-faces")):
        content = (tree / key).read_bytes()
        replace(tree / key, content[: len(content) // 2])
    found = problems(tree)
    assert found[layout.EXPDESIGN].status == found[layout.STIMULI].status == "damaged"
    assert found[layout.roi_key(1, "floc-faces")].status == "damaged"


def test_table_that_does_not_name_a_label(tree):
    key = layout.ctab_keys(1, "prf-visualrois")[0]
    replace(tree / key, b"0 Unknown\n1 V1v\n2 V1d\n3 V2v\n")
    assert list(problems(tree)) == [key]
    assert "holds labels 4, 5" in problems(tree)[key].detail


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
    assert found[f"{layout.EXPDESIGN}: subjectim_first"].status == "unexpected"
    assert found["subj01: first_trials"].status == "unexpected"
    assert any(key.endswith("responses.tsv") for key in found)


def test_session_beyond_the_experiment_and_leftovers(tree):
    folder = (tree / BETAS.format(1, 1, "hdf5")).parent
    os.link(folder / "betas_session02.hdf5", folder / "betas_session03.hdf5")
    (folder / "betas_session04.hdf5.1a2b.part").write_bytes(b"x")
    found = problems(tree)
    assert found[BETAS.format(1, 3, "hdf5")].detail == "subj01 has 2 sessions"
    assert found[BETAS.format(1, 4, "hdf5.1a2b.part")].detail == "left by an interrupted download"


def test_empty_folder_and_no_folder(tmp_path):
    found = problems(tmp_path)
    assert found[layout.EXPDESIGN].status == "missing" and "nsddata/ppdata/subjAA" in found
    assert problems(tmp_path / "nowhere")[str(tmp_path / "nowhere")].remedy == "correct --nsd"


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
        doctor.Finding("missing", "a/b", "", "brainalign download"),
    ]
    text = doctor.report(findings, "phantom")
    assert text.splitlines()[0] == "compared with: phantom"
    assert text.index("missing     a/b") < text.index("-> brainalign download") < text.index("unexpected  c")
    assert "fine" not in text and text.endswith("1 ok, 1 missing, 0 damaged, 1 unexpected")
    assert "fine" in doctor.report(findings, verbose=True)


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "holds a list"), ("a: [", "not valid YAML")])
def test_expected_file_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "expected.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        doctor.load_expected(tmp_path, path)
    with pytest.raises(FileNotFoundError, match=r"no\.yml does not exist; --expected"):
        doctor.load_expected(tmp_path, tmp_path / "no.yml")
