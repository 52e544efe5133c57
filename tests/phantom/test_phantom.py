"""The phantom dataset on disk: NSD's layout to the letter, planted oddities, the same bytes every time."""

import hashlib
import json

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PHANTOM_SESSIONS, phantom_settings
from scipy.io import loadmat

from brainalign_utils import nsd
from brainalign_utils.nsd import doctor
from brainalign_utils.phantom import dataset, subject_files
from brainalign_utils.phantom.dataset import PhantomSpaceError, make_phantom
from brainalign_utils.phantom.experiment import special_pairs
from brainalign_utils.phantom.grid import make_layout
from brainalign_utils.phantom.scenes import draw_scene, stimulus_seed
from brainalign_utils.settings import PhantomSettings
from brainalign_utils.tables import ROI_LABELS, ROI_VOLUMES, subject_name

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
def design(phantom_tree):
    return loadmat(phantom_tree / "nsd/nsddata/experiments/nsd/nsd_expdesign.mat")


@pytest.fixture(scope="module")
def stim_info(phantom_tree):
    return pd.read_csv(phantom_tree / "nsd/nsddata/experiments/nsd/nsd_stim_info_merged.csv", index_col=0)


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


def test_every_picture_is_shown_three_times_and_runs_have_63_or_62_trials(design):
    order = design["masterordering"][0]
    assert np.array_equal(np.bincount(order), [0, *[3] * 10000])
    assert np.unique(order[:1500], return_counts=True)[1].tolist() == [3] * 500
    assert (order[:1500] <= 1000).sum() == 3 * phantom_settings().n_shared
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


@pytest.mark.parametrize("subject", PHANTOM_SESSIONS)
def test_behaviour_agrees_with_the_design(phantom_tree, design, subject):
    path = phantom_tree / "nsd/nsddata/ppdata" / subject_name(subject) / "behav/responses.tsv"
    table = pd.read_csv(path, sep="\t")
    n_sessions = PHANTOM_SESSIONS[subject]
    assert np.array_equal(table["73KID"] - 1, _trials(design, subject, n_sessions))
    assert np.array_equal(table["10KID"], design["masterordering"][0, : 750 * n_sessions])
    runs = table.groupby(["SESSION", "RUN"])["TRIAL"].max().to_numpy()
    assert runs.tolist() == [63, 62] * 6 * n_sessions
    assert np.array_equal(table["ISOLD"], table["73KID"].duplicated())
    assert table["TIME"].is_monotonic_increasing


@pytest.mark.parametrize("subject", PHANTOM_SESSIONS)
def test_hdf5_and_nifti_betas_agree_voxel_by_voxel(phantom_tree, subject):
    mask = _volume(_func(phantom_tree, subject) / "brainmask.nii.gz")
    assert len(set(mask.shape)) == 3
    sessions = sorted(_betas(phantom_tree, subject, 1, "hdf5").parent.glob("*.hdf5"))
    assert len(sessions) == PHANTOM_SESSIONS[subject]
    for session in range(1, len(sessions) + 1):
        image = nib.load(_betas(phantom_tree, subject, session, "nii.gz"))
        volume = np.asanyarray(image.dataobj)
        with h5py.File(_betas(phantom_tree, subject, session, "hdf5")) as file:
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


def test_grids_of_subjects_differ(phantom_tree):
    shapes = [_nsdgeneral(phantom_tree, subject).shape for subject in PHANTOM_SESSIONS]
    assert len(set(shapes)) == len(shapes)


def test_plants_are_where_the_truth_says(phantom_tree):
    planted = yaml.safe_load((phantom_tree / "truth/planted.yml").read_text())
    for subject in PHANTOM_SESSIONS:
        mine = planted[subject_name(subject)]
        general = _nsdgeneral(phantom_tree, subject)
        assert {item["value"] for item in mine["saturated"]} == {-32768, 32767}
        for item in mine["saturated"]:
            with h5py.File(_betas(phantom_tree, subject, item["session"], "hdf5")) as file:
                x, y, z = item["ijk"]
                assert general[x, y, z] and file["betas"][item["trial"], z, y, x] == item["value"]
    (zero,) = planted["subj01"]["zero_in_session"]
    x, y, z = zero["ijk"]
    for session in (1, 2):
        with h5py.File(_betas(phantom_tree, 1, session, "hdf5")) as file:
            assert file["betas"][:, z, y, x].any() == (session != zero["session"])
    assert planted["subj07"]["zero_in_session"] == []  # it would have no data at all
    assert "FBA-1" in planted["subj07"]["empty_labels"]["floc-bodies"]
    assert "FBA-1" not in planted["subj01"]["empty_labels"].get("floc-bodies", [])
    for subject in PHANTOM_SESSIONS:
        mine, general = planted[subject_name(subject)], _nsdgeneral(phantom_tree, subject)
        assert {item["value"] for item in mine["constant"]} == {0, 450}
        ncsnr = _volume(_betas(phantom_tree, subject, 1, "nii.gz").with_name("ncsnr.nii.gz"))
        for item in [*mine["constant"], *({"ijk": ijk, "value": None} for ijk in mine["nan_ncsnr"])]:
            x, y, z = item["ijk"]
            assert general[x, y, z] and np.isnan(ncsnr[x, y, z])
            for session in range(1, PHANTOM_SESSIONS[subject] + 1):
                with h5py.File(_betas(phantom_tree, subject, session, "hdf5")) as file:
                    values = np.unique(file["betas"][:, z, y, x])
                assert len(values) > 1 if item["value"] is None else values.tolist() == [item["value"]]
        outside = planted[subject_name(subject)]["roi_voxels_outside_nsdgeneral"]
        assert outside["floc-places"] > 0 and outside["nsdgeneral"] == 0


@pytest.mark.parametrize("subject", PHANTOM_SESSIONS)
def test_roi_volumes_combine_both_hemispheres(phantom_tree, subject):
    brain = _volume(_func(phantom_tree, subject) / "brainmask.nii.gz") == 1
    for volume in ROI_VOLUMES:
        both, left, right = (
            _volume(_func(phantom_tree, subject) / f"roi/{prefix}{volume}.nii.gz")
            for prefix in ("", "lh.", "rh.")
        )
        np.testing.assert_array_equal(both, np.maximum(left, right))
        assert not ((left >= 0) & (right >= 0)).any()
        assert both.dtype == left.dtype == right.dtype == np.float64
        assert set(np.unique(both)) <= {-1, 0, *ROI_LABELS[volume]} and both.min() == -1
        assert (both[~brain] == -1).all()
        assert (left > 0).any() and (right > 0).any()


def test_left_hemisphere_is_left_and_early_cortex_is_behind(phantom_tree):
    roi = _func(phantom_tree, 1) / "roi"
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


def test_colour_tables_are_plain_but_for_the_atlas_of_kastner(phantom_tree):
    """As NSD's own code reads them: two columns, labels counting from 0; Kastner2015 has more columns."""
    folder = phantom_tree / "nsd/nsddata/freesurfer/subj07/label"
    for volume in ROI_VOLUMES:
        rows = [line.split() for line in (folder / f"{volume}.mgz.ctab").read_text().splitlines()]
        assert {int(code): name for code, name in rows[1:]} == ROI_LABELS[volume]
        assert [int(code) for code, _ in rows] == list(range(len(rows)))
    lines = (folder / "Kastner2015.mgz.ctab").read_text().splitlines()
    assert len(lines) == 26 and all(line.count("\t") == 3 for line in lines)


def test_an_atlas_with_further_columns_is_read_by_name(phantom_tree):
    labels, names = nsd.read_roi_labels(phantom_tree / "nsd", 1, "Kastner2015")
    assert list(names) == list(range(1, 26)) and names[1] == "V1v" and names[25] == "FEF"
    assert set(np.unique(labels)) == {-1, *range(8)}


@pytest.mark.parametrize("side", ["lh", "rh"])
@pytest.mark.parametrize("subject", PHANTOM_SESSIONS)
def test_transforms_lead_from_the_volume_to_fsaverage5(phantom_tree, subject, side):
    """Sampling the volume at the vertices gives the surface labels, but where vertices share a voxel."""
    nsddata = phantom_tree / "nsd/nsddata"
    transforms = nsddata / "ppdata" / subject_name(subject) / "transforms"
    label = nsddata / "freesurfer" / subject_name(subject) / "label"
    native = _volume(label / f"{side}.nsdgeneral.mgz").squeeze()
    general = _volume(_func(phantom_tree, subject) / f"roi/{side}.nsdgeneral.nii.gz")
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


def test_brick_holds_the_drawn_pictures_and_nothing_else(phantom_tree, design):
    used = np.unique(np.concatenate([_trials(design, s, n) for s, n in PHANTOM_SESSIONS.items()]))
    with h5py.File(phantom_tree / "nsd/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        brick = file["imgBrick"]
        assert brick.shape == (73000, 425, 425, 3) and brick.chunks == (1, 425, 425, 3)
        assert brick.dtype == np.uint8 and brick.compression == "gzip"
        assert brick.id.get_num_chunks() == len(used)
        for nsd_id in used[[0, 250, -1]]:
            drawn, _ = draw_scene(stimulus_seed(int(nsd_id), phantom_settings().seed))
            np.testing.assert_array_equal(brick[nsd_id], drawn)
        unused = np.setdiff1d(np.arange(73000), used)[0]
        assert not brick[unused].any()


def test_annotations_cover_the_pictures_by_coco_id(phantom_tree, stim_info, design):
    used = np.unique(np.concatenate([_trials(design, s, n) for s, n in PHANTOM_SESSIONS.items()]))
    found = []
    for split in ("train2017", "val2017"):
        for kind in ("instances", "captions"):
            content = json.loads((phantom_tree / f"coco/annotations/{kind}_{split}.json").read_text())
            ids = [image["id"] for image in content["images"]]
            assert set(stim_info.set_index("cocoId").loc[ids, "cocoSplit"]) == {split}
            assert {row["image_id"] for row in content["annotations"]} <= set(ids)
        found += ids
    assert sorted(found) == sorted(stim_info.loc[used, "cocoId"])


def test_expected_numbers_hold(phantom_tree):
    expected = yaml.safe_load((phantom_tree / "truth/expected.yml").read_text())
    for subject, numbers in expected["subjects"].items():
        general = _nsdgeneral(phantom_tree, subject)
        assert list(general.shape) == numbers["shape"]
        assert general.sum() == numbers["n_voxels"]
        assert np.argwhere(general)[:3].tolist() == numbers["first_voxels"]
        visual = _volume(_func(phantom_tree, subject) / "roi/prf-visualrois.nii.gz")
        assert np.isin(visual, (1, 2)).sum() == numbers["area_voxels"]["V1"]
        betas = _volume(_betas(phantom_tree, subject, 1, "nii.gz"))[np.isin(visual, (1, 2))] / 300
        np.testing.assert_allclose(
            [betas.mean(), betas.std()], [numbers["betas"][k] for k in ("mean", "std")], atol=1e-4
        )


def _digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("betas", "space", "transform", "size"),
    [("betas_assumehrf", "func1mm", "func1pt0", 1.0), ("betas_fithrf", "func1pt8mm", "func1pt8", 1.8)],
)
def test_other_betas_and_spaces_lie_where_the_loader_looks(tmp_path, betas, space, transform, size):
    small = PhantomSettings(n_sessions=1, n_voxels=100, n_shared=20)
    make_phantom(tmp_path / "tree", small, (1,), betas=betas, space=space, n_jobs=1, progress_bar=False)
    root = tmp_path / "tree/nsd"
    responses = nsd.load_responses(root, 1, betas=betas, space=space, progress_bar=False)
    voxels = nsd.describe_voxels(root, responses)
    assert voxels.vertex_voxel_lh.max() > 0 and responses.attrs["ncsnr_source"] == "file"
    assert not list(root.rglob("*GLMdenoise*"))
    assert {path.name.split("-")[0] for path in root.rglob("lh.func*")} == {f"lh.{transform}"}
    affine = nib.load(root / f"nsddata/ppdata/subj01/{space}/roi/nsdgeneral.nii.gz").affine
    np.testing.assert_allclose(np.diag(affine)[:3], size)
    findings = doctor.examine(root, [1], betas=betas, space=space)
    assert {finding.status for finding in findings} == {"ok"}


@pytest.mark.slow
def test_same_bytes_every_time_whatever_the_number_of_processes(tmp_path):
    settings = PhantomSettings(n_sessions=1, n_voxels=100, n_shared=20, seed=1)
    trees = [make_phantom(tmp_path / str(n), settings, (2,), n_jobs=n, progress_bar=False) for n in (1, 2)]
    first, second = map(_digests, trees)
    assert len(first) > 70
    assert first == second


def test_refuses_to_replace_what_is_no_phantom(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other things than a phantom"):
        make_phantom(tmp_path)
    assert (tmp_path / "notes.txt").exists()


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch):
    usage = dataset.shutil.disk_usage(tmp_path)._replace(free=7_000_000)
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PhantomSpaceError, match=r"needs about \d+ MB but .* has 7 MB free.*n_sessions"):
        make_phantom(tmp_path / "tree", PhantomSettings(n_voxels=100), (1,))
    assert list(tmp_path.iterdir()) == []


def test_space_is_estimated_within_a_factor_of_two(phantom_tree):
    settings = phantom_settings()
    layouts = {s: dataset.make_layout(s, settings.n_voxels, settings.seed) for s in PHANTOM_SESSIONS}
    written = sum(path.stat().st_blocks * 512 for path in phantom_tree.rglob("*"))
    estimate = dataset.expected_bytes(layouts, PHANTOM_SESSIONS, 650)
    assert written < estimate < 2 * written


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("planned")

    monkeypatch.setattr(dataset, "_write_stimuli", fail)
    with pytest.raises(RuntimeError, match="planned"):
        make_phantom(tmp_path / "tree", PhantomSettings(n_voxels=100, n_sessions=1), (1,), n_jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_subjects_have_as_many_sessions_as_the_real_ones_in_proportion():
    settings = PhantomSettings(n_sessions=4)
    sessions = dataset._sessions(settings, range(1, 9), {7: 1})
    assert sessions == {1: 4, 2: 4, 3: 3, 4: 3, 5: 4, 6: 3, 7: 1, 8: 3}
    assert set(dataset._sessions(PhantomSettings(n_sessions=1), range(1, 9), {}).values()) == {1}


def test_a_label_of_one_subject_has_no_signal():
    layout = make_layout(2, 400, 0)
    planted = subject_files._plants(layout, 2, 0)
    lost = layout.labels["floc-words"] == 3  # VWFA-2
    assert set(np.flatnonzero(lost)) - {v for *_, v, _ in planted["saturated"]} <= set(planted["constant"])
    assert not set(planted["nan_ncsnr"]) & set(planted["constant"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": (1, 9)}, r"subjects \[9\] do not exist"),
        ({"subjects": ()}, "choose from 1 to 8"),
        ({"sessions_by_subject": {1: 4}}, r"\{1: 4\} must lie between 1 and n_sessions \(3\)"),
        ({"settings": PhantomSettings(n_sessions=1, n_shared=240)}, "n_shared is 240.*between 20 and 230"),
    ],
)
def test_impossible_studies_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_phantom(tmp_path / "tree", **arguments)
