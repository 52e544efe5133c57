"""The phantom dataset on disk: NSD's layout to the letter, planted oddities, the same bytes every time."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.io import loadmat

import nsd_phantom
from nsd_phantom import __main__ as command
from nsd_phantom import dataset, make_phantom, subject_files
from nsd_phantom.areas import ROI_LABELS
from nsd_phantom.experiment import special_pairs, subject_name
from nsd_phantom.grid import make_layout
from nsd_phantom.scenes import draw_scene, stimulus_seed

SESSIONS = {1: 2, 7: 1}
BETAS = "nsddata_betas/ppdata/{}/func1pt8mm/betas_fithrf_GLMdenoise_RR"


def _func(tree, subject):
    return tree / "nsd/nsddata/ppdata" / subject_name(subject) / "func1pt8mm"


def _volume(path):
    return np.asanyarray(nib.load(path).dataobj)


def _nsdgeneral(tree, subject):
    return _volume(_func(tree, subject) / "roi/nsdgeneral.nii.gz") == 1


def _betas(tree, subject, session, suffix):
    return tree / "nsd" / BETAS.format(subject_name(subject)) / f"betas_session{session:02d}.{suffix}"


@pytest.fixture(scope="module")
def design(tree):
    return loadmat(tree / "nsd/nsddata/experiments/nsd/nsd_expdesign.mat")


@pytest.fixture(scope="module")
def stim_info(tree):
    return pd.read_csv(tree / "nsd/nsddata/experiments/nsd/nsd_stim_info_merged.csv", index_col=0)


def _trials(design, subject, n_sessions):
    order = design["masterordering"][0, : 750 * n_sessions] - 1
    return design["subjectim"][subject - 1, order] - 1


def test_design_has_the_shapes_and_known_numbers_of_nsd(design):
    shapes = {name: design[name].shape for name in design if not name.startswith("__")}
    assert shapes == {
        "basiccnt": (3, 40),
        "masterordering": (1, 30000),
        "sharedix": (1, 1000),
        "stimpattern": (40, 12, 75),
        "subjectim": (8, 10000),
    }
    shared, pictures = design["sharedix"][0], design["subjectim"]
    assert pictures.dtype == np.int32
    assert pictures[0, :3].tolist() == [2951, 2991, 3050]
    assert (np.diff(shared) > 0).all() and shared[[0, -1]].tolist() == [2951, 72949]
    assert (pictures[:, :1000] == shared).all()
    assert np.array_equal(np.unique(pictures), np.arange(1, 73001))  # 1000 shared + 8 x 9000 own
    assert all(shared[number - 1] == picture for number, picture in special_pairs().items())
    assert _trials(design, 1, 1)[:3].tolist() == [46002, 61882, 828]
    assert {_trials(design, s, 1)[0] for s in range(1, 9)} == {46002}


def test_every_picture_is_shown_three_times_and_runs_have_63_or_62_trials(design, size):
    order = design["masterordering"][0]
    assert np.array_equal(np.bincount(order), [0, *[3] * 10000])
    assert np.unique(order[:1500], return_counts=True)[1].tolist() == [3] * 500
    assert (order[:1500] <= 1000).sum() == 3 * size["shared"]
    per_run = design["stimpattern"].sum(axis=2)
    assert (per_run[:, ::2] == 63).all() and (per_run[:, 1::2] == 62).all()
    counts = np.unique(order[:750], return_counts=True)[1]
    assert design["basiccnt"][:, 0].tolist() == [(counts == n).sum() for n in (1, 2, 3)]


def test_stimulus_table_agrees_with_the_design(stim_info, design):
    assert len(stim_info) == 73000
    assert stim_info.columns.tolist()[:8] == [
        "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000", "shared1000",
    ]  # fmt: skip
    assert np.array_equal(stim_info["nsdId"], np.arange(73000))
    assert stim_info["cocoId"].is_unique and set(stim_info["cocoSplit"]) == {"train2017", "val2017"}
    assert np.array_equal(np.flatnonzero(stim_info["shared1000"]) + 1, design["sharedix"][0])
    for subject in (1, 7):
        trials = _trials(design, subject, 40)
        for repeat in range(3):
            number = stim_info[f"subject{subject}_rep{repeat}"].to_numpy()
            shown = np.flatnonzero(number)
            assert len(shown) == stim_info[f"subject{subject}"].sum() == 10000
            assert np.array_equal(trials[number[shown] - 1], shown)


@pytest.mark.parametrize("subject", SESSIONS)
def test_behaviour_agrees_with_the_design(tree, design, subject):
    path = tree / "nsd/nsddata/ppdata" / subject_name(subject) / "behav/responses.tsv"
    table = pd.read_csv(path, sep="\t")
    n_sessions = SESSIONS[subject]
    assert np.array_equal(table["73KID"] - 1, _trials(design, subject, n_sessions))
    assert np.array_equal(table["10KID"], design["masterordering"][0, : 750 * n_sessions])
    runs = table.groupby(["SESSION", "RUN"])["TRIAL"].max().to_numpy()
    assert runs.tolist() == [63, 62] * 6 * n_sessions
    assert np.array_equal(table["ISOLD"], table["73KID"].duplicated())
    assert table["TIME"].is_monotonic_increasing


@pytest.mark.parametrize("subject", SESSIONS)
def test_hdf5_and_nifti_betas_agree_voxel_by_voxel(tree, subject):
    mask = _volume(_func(tree, subject) / "brainmask.nii.gz")
    assert len(set(mask.shape)) == 3
    sessions = sorted(_betas(tree, subject, 1, "hdf5").parent.glob("*.hdf5"))
    assert len(sessions) == SESSIONS[subject]
    for session in range(1, len(sessions) + 1):
        image = nib.load(_betas(tree, subject, session, "nii.gz"))
        volume = np.asanyarray(image.dataobj)
        with h5py.File(_betas(tree, subject, session, "hdf5")) as file:
            betas = file["betas"]
            assert betas.chunks == (750, 1, 1, 1) and betas.id.get_num_chunks() == mask.sum()
            stored = betas[:]
        assert stored.dtype == volume.dtype == np.int16
        assert stored.shape == (750, *mask.shape[::-1]) and volume.shape == (*mask.shape, 750)
        np.testing.assert_array_equal(stored.transpose(3, 2, 1, 0), volume)
        assert not volume[mask == 0].any()
    shape = np.array(mask.shape)
    np.testing.assert_allclose(image.affine[:3, :3], np.diag([1.8] * 3))
    np.testing.assert_allclose(image.affine[:3, 3], -(shape - 1) / 2 * 1.8, rtol=1e-6)


def test_grids_of_subjects_differ(tree):
    shapes = [_nsdgeneral(tree, subject).shape for subject in SESSIONS]
    assert len(set(shapes)) == len(shapes)


def test_plants_are_where_the_truth_says(tree):
    planted = yaml.safe_load((tree / "truth/planted.yml").read_text())
    for subject in SESSIONS:
        mine = planted[subject_name(subject)]
        general = _nsdgeneral(tree, subject)
        assert {item["value"] for item in mine["saturated"]} == {-32768, 32767}
        for item in mine["saturated"]:
            with h5py.File(_betas(tree, subject, item["session"], "hdf5")) as file:
                x, y, z = item["ijk"]
                assert general[x, y, z] and file["betas"][item["trial"], z, y, x] == item["value"]
    (zero,) = planted["subj01"]["zero_in_session"]
    x, y, z = zero["ijk"]
    for session in (1, 2):
        with h5py.File(_betas(tree, 1, session, "hdf5")) as file:
            assert file["betas"][:, z, y, x].any() == (session != zero["session"])
    assert planted["subj07"]["zero_in_session"] == []  # it would have no data at all
    assert "FBA-1" in planted["subj07"]["empty_labels"]["floc-bodies"]
    assert "FBA-1" not in planted["subj01"]["empty_labels"].get("floc-bodies", [])
    for subject in SESSIONS:
        mine, general = planted[subject_name(subject)], _nsdgeneral(tree, subject)
        assert {item["value"] for item in mine["constant"]} == {0, 450}
        ncsnr = _volume(_betas(tree, subject, 1, "nii.gz").with_name("ncsnr.nii.gz"))
        for item in [*mine["constant"], *({"ijk": ijk, "value": None} for ijk in mine["nan_ncsnr"])]:
            x, y, z = item["ijk"]
            assert general[x, y, z] and np.isnan(ncsnr[x, y, z])
            for session in range(1, SESSIONS[subject] + 1):
                with h5py.File(_betas(tree, subject, session, "hdf5")) as file:
                    values = np.unique(file["betas"][:, z, y, x])
                assert len(values) > 1 if item["value"] is None else values.tolist() == [item["value"]]
        outside = planted[subject_name(subject)]["roi_voxels_outside_nsdgeneral"]
        assert outside["floc-places"] > 0 and outside["nsdgeneral"] == 0


@pytest.mark.parametrize("subject", SESSIONS)
def test_roi_volumes_combine_both_hemispheres(tree, subject):
    brain = _volume(_func(tree, subject) / "brainmask.nii.gz") == 1
    for volume in ROI_LABELS:
        both, left, right = (
            _volume(_func(tree, subject) / f"roi/{prefix}{volume}.nii.gz") for prefix in ("", "lh.", "rh.")
        )
        np.testing.assert_array_equal(both, np.maximum(left, right))
        assert not ((left >= 0) & (right >= 0)).any()
        assert both.dtype == left.dtype == right.dtype == np.float64
        assert set(np.unique(both)) <= {-1, *range(len(ROI_LABELS[volume]) + 1)} and both.min() == -1
        assert (both[~brain] == -1).all()
        assert (left > 0).any() and (right > 0).any()


def test_left_hemisphere_is_left_and_early_cortex_is_behind(tree):
    roi = _func(tree, 1) / "roi"
    affine = nib.load(roi / "streams.nii.gz").affine
    centre = {}
    for name, mask in {
        "left": _volume(roi / "lh.nsdgeneral.nii.gz") == 1,
        "right": _volume(roi / "rh.nsdgeneral.nii.gz") == 1,
        "early": _volume(roi / "streams.nii.gz") == 1,
        "ventral": _volume(roi / "streams.nii.gz") == 5,
        "parietal": _volume(roi / "streams.nii.gz") == 7,
    }.items():
        centre[name] = nib.affines.apply_affine(affine, np.argwhere(mask)).mean(axis=0)
    assert centre["left"][0] < centre["right"][0]
    assert centre["early"][1] < centre["ventral"][1]
    assert centre["ventral"][2] < centre["parietal"][2]


def test_colour_tables_are_plain_but_for_the_atlas_of_kastner(tree):
    """As NSD's own code reads them: two columns, labels counting from 0; Kastner2015 has more columns."""
    folder = tree / "nsd/nsddata/freesurfer/subj07/label"
    for volume in set(ROI_LABELS) - {"Kastner2015"}:
        rows = [line.split() for line in (folder / f"{volume}.mgz.ctab").read_text().splitlines()]
        assert tuple(name for _, name in rows[1:]) == ROI_LABELS[volume]
        assert [int(code) for code, _ in rows] == list(range(len(rows)))
    lines = (folder / "Kastner2015.mgz.ctab").read_text().splitlines()
    assert len(lines) == 26 and all(line.count("\t") == 3 for line in lines)


@pytest.mark.parametrize("side", ["lh", "rh"])
@pytest.mark.parametrize("subject", SESSIONS)
def test_transforms_lead_from_the_volume_to_fsaverage5(tree, subject, side):
    """Sampling the volume at the vertices gives the surface labels, but where vertices share a voxel."""
    nsddata = tree / "nsd/nsddata"
    transforms = nsddata / "ppdata" / subject_name(subject) / "transforms"
    label = nsddata / "freesurfer" / subject_name(subject) / "label"
    native = _volume(label / f"{side}.nsdgeneral.mgz").squeeze()
    general = _volume(_func(tree, subject) / f"roi/{side}.nsdgeneral.nii.gz")
    shares = []
    for layer in ("layerB1", "layerB2", "layerB3"):
        coordinates = _volume(transforms / f"{side}.func1pt8-to-{layer}.mgz")
        assert coordinates.shape == (len(native), 1, 1, 3)
        coordinates = coordinates.squeeze()
        invalid = coordinates[:, 0] == 9999
        assert (coordinates[invalid] == 9999).all() and invalid.any() and not native[invalid].any()
        index = np.round(coordinates[~invalid]).astype(int) - 1  # 1-based on disk
        sampled = general[tuple(index.T)] == 1
        shares.append((sampled == native[~invalid]).mean())
    assert min(shares) > 0.9
    to_fsaverage = _volume(transforms / f"{side}.white-to-fsaverage.mgz").squeeze()
    back = _volume(transforms / f"{side}.fsaverage-to-white.mgz").squeeze()
    assert len(to_fsaverage) == 10242 and len(back) == len(native) < 10242
    assert to_fsaverage.min() == 1 and to_fsaverage.max() == len(native)
    np.testing.assert_array_equal(to_fsaverage[back - 1], np.arange(1, len(native) + 1))


def test_brick_holds_the_drawn_pictures_and_nothing_else(tree, design, size):
    used = np.unique(np.concatenate([_trials(design, s, n) for s, n in SESSIONS.items()]))
    with h5py.File(tree / "nsd/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        brick = file["imgBrick"]
        assert brick.shape == (73000, 425, 425, 3) and brick.chunks == (1, 425, 425, 3)
        assert brick.dtype == np.uint8 and brick.compression == "gzip"
        assert brick.id.get_num_chunks() == len(used)
        for nsd_id in used[[0, 250, -1]]:
            drawn, _ = draw_scene(stimulus_seed(int(nsd_id), size["seed"]))
            np.testing.assert_array_equal(brick[nsd_id], drawn)
        unused = np.setdiff1d(np.arange(73000), used)[0]
        assert not brick[unused].any()


def test_annotations_cover_the_pictures_by_coco_id(tree, stim_info, design):
    used = np.unique(np.concatenate([_trials(design, s, n) for s, n in SESSIONS.items()]))
    found = []
    for split in ("train2017", "val2017"):
        for kind in ("instances", "captions"):
            content = json.loads((tree / f"coco/annotations/{kind}_{split}.json").read_text())
            ids = [image["id"] for image in content["images"]]
            assert set(stim_info.set_index("cocoId").loc[ids, "cocoSplit"]) == {split}
            others = {row["image_id"] for row in content["annotations"]} - set(ids)
            assert others == ({999_999_999} if kind == "instances" else set())
        found += ids
    assert sorted(found) == sorted(stim_info.loc[used, "cocoId"])


def test_expected_numbers_hold(tree):
    expected = yaml.safe_load((tree / "truth/expected.yml").read_text())
    for subject, numbers in expected["subjects"].items():
        general = _nsdgeneral(tree, subject)
        assert list(general.shape) == numbers["shape"]
        assert general.sum() == numbers["n_voxels"]
        assert np.argwhere(general)[:3].tolist() == numbers["first_voxels"]
        visual = _volume(_func(tree, subject) / "roi/prf-visualrois.nii.gz")
        assert np.isin(visual, (1, 2)).sum() == numbers["area_voxels"]["V1"]
        betas = _volume(_betas(tree, subject, 1, "nii.gz"))[np.isin(visual, (1, 2))] / 300
        np.testing.assert_allclose(
            [betas.mean(), betas.std()], [numbers["betas"][k] for k in ("mean", "std")], atol=1e-4
        )


def _digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_same_bytes_every_time_in_one_process_or_in_two(tmp_path):
    small = {"subjects": (2,), "sessions": 1, "voxels": 100, "shared": 20, "seed": 1}
    first, second = (_digests(make_phantom(tmp_path / str(n), **small, jobs=n)) for n in (1, 2))
    assert len(first) > 70
    assert first == second


def test_space_is_estimated_within_a_factor_of_two(tree, size):
    layouts = {s: make_layout(s, size["voxels"], size["seed"]) for s in SESSIONS}
    written = sum(path.stat().st_blocks * 512 for path in tree.rglob("*"))
    assert written < dataset.expected_bytes(layouts, SESSIONS, 650) < 2 * written


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("planned")

    monkeypatch.setattr(dataset, "_write_stimuli", fail)
    with pytest.raises(RuntimeError, match="planned"):
        make_phantom(tmp_path / "tree", (1,), sessions=1, voxels=100, jobs=1)
    assert list(tmp_path.iterdir()) == []


def _plan(**changes):
    given = {"subjects": range(1, 9), "sessions": 4, "sessions_of": {}, "voxels": 100, "shared": 20,
             "seed": 0, "betas": "betas_fithrf", "space": "func1mm", "instructions": None}  # fmt: skip
    return dataset._checked(**{**given, **changes})


def test_subjects_have_as_many_sessions_as_the_real_ones_in_proportion():
    assert _plan(sessions_of={7: 1}).sessions == {1: 4, 2: 4, 3: 3, 4: 3, 5: 4, 6: 3, 7: 1, 8: 3}
    assert set(_plan(sessions=1).sessions.values()) == {1}


@pytest.mark.parametrize("voxels", [100, 6000])
def test_the_grid_has_as_many_voxels_as_asked_for(voxels):
    assert make_layout(6, voxels, 0).nsdgeneral.sum() == pytest.approx(voxels * 17907 / 13931, rel=0.01)


def test_a_label_of_one_subject_has_no_signal():
    layout = make_layout(2, 400, 0)
    planted = subject_files._plants(layout, 2, 0)
    lost = layout.labels["floc-words"] == 3  # VWFA-2
    assert set(np.flatnonzero(lost)) - {v for *_, v, _ in planted["saturated"]} <= set(planted["constant"])
    assert not set(planted["nan_ncsnr"]) & set(planted["constant"])


def test_ncsnr_recovers_what_was_drawn():
    """Pure noise, signal as large as noise, no data, and no data in the second of two sessions."""
    rng, n = np.random.default_rng(0), 400
    signal, rows = rng.normal(size=(n, 1)), np.tile(np.arange(n), 3)
    betas = np.array([0, 1, 1, 1]) * signal[rows] + rng.normal(size=(3 * n, 4))
    betas[:, 2] = 7
    repeats = subject_files.Repeats(n, 4)
    for session in (0, 1):
        part = slice(session * len(rows) // 2, (session + 1) * len(rows) // 2)
        shown = betas[part].copy()
        shown[:, 3] *= session == 0
        repeats.add(shown, rows[part])
    found = repeats.ncsnr()
    assert found[0] < 0.3 and found[1] == pytest.approx(1, abs=0.15) and np.isnan(found[2:]).all()


# what a user may type, with {here} for a folder that holds a file `taken` and folders `full` and `locked`
WRONG = [
    ("", "name the folder to write"),
    ("{here}/taken", "taken is a file; name a new or empty folder"),
    ("{here}/taken/below", "cannot be written: Not a directory; choose another folder"),
    ("{here}/full", "full holds mine.txt, nsd, not a miniature; name a new or empty folder"),
    ("{here}/data", "data holds coco, nsd, not a miniature"),  # as real data lie: never replaced
    ("{here}/x --subjects 9", "subject 9 does not exist; choose from 1 to 8"),
    ("{here}/x --subjects 0 1", "subject 0 does not exist"),
    ("{here}/x --subjects one", "invalid int value: 'one'"),
    ("{here}/x --subjects", "expected at least one argument"),
    ("{here}/x --sessions 0", "0 sessions are not possible; choose from 1 to 40"),
    ("{here}/x --sessions 41", "41 sessions are not possible; choose from 1 to 40"),
    ("{here}/x --sessions 2 1=3", "3 sessions are not possible; choose from 1 to 2"),
    ("{here}/x --sessions 3=1", "sessions are given for subject 3, which is not among the subjects"),
    ("{here}/x --sessions 1=2=3", "'1=2=3' is neither a number nor SUBJECT=NUMBER"),
    ("{here}/x --sessions two", "'two' is neither a number nor SUBJECT=NUMBER"),
    ("{here}/x --voxels 10", "voxels is 10; choose from 100 to 6000"),
    ("{here}/x --voxels 15000", "voxels is 15000; choose from 100 to 6000"),
    ("{here}/x --shared 1000", "1000 shared images do not fit: 3 session(s) show 750 images 3 times; take"),
    ("{here}/x --seed -1", "seed is -1; choose from 0 to 12"),
    ("{here}/x --seed 13", "seed is 13; choose from 0 to 12"),
    ("{here}/x --betas b3", "betas is 'b3'; choose from betas_assumehrf, betas_fithrf, "),
    ("{here}/x --space func1pt8", "space is 'func1pt8'; choose from func1pt8mm, func1mm"),
    ("{here}/x --instructions {here}/none.yml", "none.yml cannot be read: No such file or directory"),
    ("{here}/x --instructions {here}/taken", "need mappings named instructions, speaks_of, prompts"),
    ("{here}/x --instructions {here}/broken.yml", "broken.yml are not valid YAML"),
    ("{here}/x --instructions {here}/family.yml", "no content is called 'smell'; known: energy, colour"),
    ("{here}/x --instructions {here}/id.yml", "food must list ids of instructions, but is ['IU9']"),
    ("{here}/x --jobs 0", "jobs is 0; give at least 1"),
    ("{here}/x --folder y", "unrecognized arguments: --folder y"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "message"), WRONG)
def test_wrong_input_is_answered_in_a_sentence(tmp_path, capsys, typed, message):
    (tmp_path / "taken").write_text("mine")
    for name in ("full/nsd", "data/nsd", "data/coco"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "full/mine.txt").touch()
    (tmp_path / "broken.yml").write_text("instructions: [")
    (tmp_path / "family.yml").write_text("instructions: {IU1: a}\nspeaks_of: {smell: [IU1]}\n")
    (tmp_path / "id.yml").write_text("instructions: {IU1: a}\nspeaks_of: {food: [IU9]}\n")
    before = sorted(tmp_path.rglob("*"))
    try:
        status = command.main(typed.format(here=tmp_path).split())
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr().err
    assert status in (1, 2) and message in said and "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch, capsys):
    usage = dataset.shutil.disk_usage(tmp_path)._replace(free=7_000_000)
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda _: usage)
    assert command.main([str(tmp_path / "tree"), "--voxels", "100"]) == 1
    assert re.search(r"needs about \d+ MB but .* has 7 MB free; free some space", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path, capsys):
    """Modes do not bind root, so a user without rights tries."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        else:
            os.chmod(folder, 0o555)
        try:
            status = command.main([f"{folder}/tree", "--voxels", "100", "--sessions", "1", "--shared", "20"])
        finally:
            if root:
                os.seteuid(0)
    assert (
        status == 1
        and "cannot be written: Permission denied; choose another folder" in capsys.readouterr().err
    )


def test_an_older_miniature_is_replaced_and_other_instructions_are_taken(tmp_path):
    """The command, as a program."""
    (tmp_path / "mine.yml").write_text("instructions: {A: What is there to eat}\nspeaks_of: {food: [A]}\n")
    words = f"{tmp_path}/tree --subjects 1 --sessions 1 --voxels 100 --shared 20 --jobs 1"
    words += f" --instructions {tmp_path}/mine.yml"
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-m", "nsd_phantom", *words.split()], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith(f"miniature in {tmp_path}/tree: nsd, coco and truth")
    families = yaml.safe_load((tmp_path / "tree/truth/families.yml").read_text())
    assert families["food"]["best_instructions"] == ["A"] and families["faces"]["best_instructions"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yml", "tree"]


def test_the_folder_of_the_weights_is_printed(capsys):
    assert command.main(["--checkpoints"]) == 0
    folder = nsd_phantom.CHECKPOINTS
    assert capsys.readouterr().out.strip() == str(folder) and (folder / "vit/model.safetensors").is_file()
