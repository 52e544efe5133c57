import gzip
import os
import shutil
import subprocess
import sys

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
from fixtures.nsd_tree import (
    MISSING_VOXEL,
    N_SHARED,
    SATURATED_VOXEL,
    SHAPE,
    SUBJECT,
    picture,
    write_tree,
    write_volume,
)
from fixtures.unprivileged import nobody, reachable_folder
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from brainalign_utils import nsd, tables
from brainalign_utils.nsd import layout, reliability

BETAS = f"nsddata_betas/ppdata/subj{SUBJECT:02d}/func1pt8mm/betas_fithrf_GLMdenoise_RR"
ROI = f"nsddata/ppdata/subj{SUBJECT:02d}/func1pt8mm/roi"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("nsd") / "arbre ∂ with spaces"
    return root, write_tree(root)


@pytest.fixture
def root(pristine, tmp_path):
    """A tree that a test may damage: hard links, each file replaced on its first change."""
    copy = tmp_path / "nsd"
    shutil.copytree(pristine[0], copy, copy_function=os.link)
    return copy


@pytest.fixture(scope="session")
def loaded(pristine):
    return nsd.load_responses(pristine[0], SUBJECT, progress_bar=False)


def load(root, **options):
    return nsd.load_responses(root, SUBJECT, progress_bar=False, **options)


def only(root, suffix):
    """The tree, with the betas in one format alone."""
    for path in (root / BETAS).glob("betas_session*"):
        if not path.name.endswith(suffix):
            path.unlink()
    return root


def unlinked(path):
    """The path, with a private copy of its file."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def expected_zscores(truth):
    z = stats.zscore(truth["betas"].astype(float).reshape(3, 750, -1), axis=1, ddof=1).reshape(2250, -1)
    z[750:1500, MISSING_VOXEL] = np.nan
    return z


def test_responses_equal_a_plain_computation(pristine, loaded):
    truth = pristine[1]
    z, ids = expected_zscores(truth), truth["nsd_ids"]
    shared = truth["design"]["sharedix"][0] - 1
    assert_array_equal(loaded.test_nsd_id, np.intersect1d(ids, shared))
    assert_array_equal(loaded.train_nsd_id, np.setdiff1d(ids, shared))
    assert loaded.sizes["test_stimulus"] == N_SHARED and loaded.sizes["repeat"] == 3
    for row in (0, 17, 689):
        mine = z[ids == loaded.train_nsd_id.values[row]]
        assert_allclose(loaded.train[row], np.nanmean(mine, axis=0), atol=1e-4)
        assert loaded.train_n_repeats[row] == len(mine)
    for row in (0, 31, 59):
        mine = z[ids == loaded.test_nsd_id.values[row]]  # in time order
        assert_allclose(loaded.test[: len(mine), row], mine, atol=1e-4)
    assert loaded.train.dtype == loaded.test.dtype == np.float32
    assert np.isnan(loaded.test.values[:, :, MISSING_VOXEL]).any()
    assert np.isfinite(np.delete(loaded.test.values, MISSING_VOXEL, axis=2)).all()
    only_there = [(np.flatnonzero(ids == i) // 750 == 1).all() for i in loaded.train_nsd_id.values]
    undefined = np.isnan(loaded.train.values)
    assert_array_equal(undefined[:, MISSING_VOXEL], only_there)
    assert any(only_there) and undefined.sum() == sum(only_there)
    assert loaded.attrs["n_saturated_betas"] == 2 and loaded.attrs["n_missing_voxel_sessions"] == 1
    assert np.isfinite(loaded.train.values[:, SATURATED_VOXEL]).all()


def test_voxels_are_the_mask_in_c_order(pristine, loaded):
    assert_array_equal(loaded.ijk, pristine[1]["ijk"])
    position = tuple(loaded.ijk.values.T)
    for volume in tables.ROI_VOLUMES:
        assert_array_equal(loaded[f"label_{volume}"], pristine[1]["labels"][volume][position])
    labels = pristine[1]["labels"]["prf-visualrois"][position]
    assert_array_equal(loaded.roi_mask.sel(roi="V2"), np.isin(labels, [3, 4]))
    assert loaded.roi_mask.sel(roi="nsdgeneral").all()
    assert loaded.attrs["absent_rois"] == ["FBA-1"] and not loaded.roi_mask.sel(roi="FBA-1").any()


def test_hdf5_and_nifti_are_identical(root, loaded):
    other = load(only(root, "nii.gz"))
    assert other.attrs["beta_formats"] == ["nii.gz"] and loaded.attrs["beta_formats"] == ["hdf5"]
    assert other.drop_attrs().identical(loaded.drop_attrs())


@pytest.mark.parametrize("betas", tables.BETA_VERSIONS)
@pytest.mark.parametrize(("space", "grid"), [("func1pt8mm", "1pt8"), ("func1mm", "1pt0")])
def test_each_version_and_space_lies_in_its_own_folders(root, loaded, betas, space, grid):
    subject, (version, plain) = f"subj{SUBJECT:02d}", (tables.BETA_VERSIONS[-1], tables.SPACES[0])
    (root / BETAS).rename(root / BETAS / f"../{betas}")
    for top in ("nsddata", "nsddata_betas"):
        (root / top / "ppdata" / subject / plain).rename(root / top / "ppdata" / subject / space)
    for hemisphere in ("lh", "rh"):
        path = root / f"nsddata/ppdata/{subject}/transforms/{hemisphere}.func1pt8-to-layerB2.mgz"
        path.rename(path.with_name(f"{hemisphere}.func{grid}-to-layerB2.mgz"))
    other = nsd.load_responses(root, SUBJECT, betas=betas, space=space, progress_bar=False)
    assert other.attrs["betas"] == betas and other.attrs["space"] == space
    assert other.drop_attrs().identical(loaded.drop_attrs())
    maps = nsd.describe_voxels(root, other)
    assert_array_equal(maps.vertex_voxel_lh, [9, 4, -1, -1, 0, -1])
    if (betas, space) != (version, plain):
        with pytest.raises(nsd.MissingFileError):
            nsd.load_responses(root, SUBJECT, progress_bar=False)


def test_falls_to_the_format_that_is_there(root, loaded):
    (root / BETAS / "betas_session02.hdf5").unlink()
    mixed = nsd.load_responses(root, SUBJECT, progress_bar=False)
    assert mixed.attrs["beta_formats"] == ["hdf5", "nii.gz"]
    assert_array_equal(mixed.train, loaded.train)


@pytest.mark.parametrize("storage", [{"chunks": (50, 3, 4, 7)}, {"compression": "gzip"}, {}])
def test_any_hdf5_storage_gives_the_same(root, pristine, storage):
    path = unlinked(root / BETAS / "betas_session01.hdf5")
    with h5py.File(path, "r+") as file:
        values = file["betas"][()]
        del file["betas"]
        file.create_dataset("betas", data=values, **storage)
    assert_array_equal(nsd.read_session(path, pristine[1]["ijk"], SHAPE), pristine[1]["betas"][:750])


def test_chunks_never_stored_read_as_zero(root, pristine):
    path = unlinked(root / BETAS / "betas_session01.hdf5")
    i, j, k = (int(c) for c in pristine[1]["ijk"][0])
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", (750, 9, 8, 7), "i2", chunks=(750, 1, 1, 1))[:, k, j, i] = 5
    betas = nsd.read_session(path, pristine[1]["ijk"], SHAPE)
    assert (betas[:, 0] == 5).all() and not betas[:, 1:].any()


def test_header_scaling_of_a_nifti_is_applied(root, pristine):
    path = root / BETAS / "betas_session01.nii.gz"
    values = np.asarray(nibabel.load(path).dataobj)
    path.unlink()
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, path)
    expected = np.asarray(nibabel.load(path).dataobj)[tuple(pristine[1]["ijk"].T)].T
    assert_allclose(nsd.read_session(path, pristine[1]["ijk"], SHAPE), expected, rtol=1e-6)


def test_without_zscore_it_is_percent_signal_change(pristine):
    raw = nsd.load_responses(pristine[0], SUBJECT, session_zscore=False, progress_bar=False)
    truth = pristine[1]
    mine = truth["betas"][truth["nsd_ids"] == raw.train_nsd_id.values[5]] / 300
    voxel = 0
    assert_allclose(raw.train[5, voxel], mine[:, voxel].mean(), rtol=1e-5)
    assert raw.attrs["units"] == "percent signal change"
    assert np.isnan(raw.test.values[:, :, MISSING_VOXEL]).any()
    zscored = nsd.load_responses(pristine[0], SUBJECT, progress_bar=False)
    assert_allclose(raw.ncsnr, zscored.ncsnr, rtol=1e-6)  # the recipe is on z-scores either way


def test_fewer_sessions(pristine):
    some = nsd.load_responses(pristine[0], SUBJECT, n_sessions=2, progress_bar=False)
    ids = pristine[1]["nsd_ids"][:1500]
    assert some.attrs["n_sessions"] == 2
    assert_array_equal(np.union1d(some.train_nsd_id, some.test_nsd_id), np.unique(ids))
    counts = np.isfinite(some.test.values[:, :, 0]).sum(0)
    assert_array_equal(counts, [(ids == i).sum() for i in some.test_nsd_id.values])
    a, b, c = ((counts == n).sum() for n in (3, 2, 1))
    assert min(a, b, c) > 0
    inverse = (a / 3 + b / 2 + c) / (a + b + c)
    power = float(some.ncsnr[0]) ** 2
    assert_allclose(some.noise_ceiling[0], power / (power + inverse), rtol=1e-5)


def test_ncsnr_is_recomputed_or_read(root, loaded):
    """The planted value is 0.8; with 750 stimuli x 3 the estimate has an sd of 0.04."""
    assert loaded.attrs["ncsnr_source"].startswith("recomputed from 2250 trials, stimuli with at least 3")
    assert_allclose(loaded.ncsnr.values.mean(), 0.8, atol=0.08)
    volume = np.full(SHAPE, np.nan, np.float32)
    volume[tuple(loaded.ijk.values.T)] = np.linspace(0.1, 1, loaded.sizes["voxel"])
    write_volume(root / BETAS / "ncsnr.nii.gz", volume)
    read = nsd.load_responses(root, SUBJECT, progress_bar=False)
    assert read.attrs["ncsnr_source"] == "file"
    assert_allclose(read.ncsnr, np.linspace(0.1, 1, loaded.sizes["voxel"]), rtol=1e-6)
    assert_array_equal(read.train, loaded.train)
    again = load(root, recompute_ncsnr=True)
    assert_array_equal(again.ncsnr, loaded.ncsnr)
    three = np.delete(np.arange(loaded.sizes["voxel"]), MISSING_VOXEL)
    expected = reliability.noise_ceiling(read.ncsnr.values, 3)
    assert_allclose(read.noise_ceiling.values[three], expected[three], rtol=1e-5)


def test_recomputed_ncsnr_follows_the_recipe(pristine, loaded):
    z, ids = expected_zscores(pristine[1]), pristine[1]["nsd_ids"]
    order = np.argsort(ids, kind="stable")
    repeats = z[order].reshape(-1, 3, z.shape[1]).swapaxes(0, 1)
    v = np.sqrt(np.nanmean(repeats.var(axis=0, ddof=1), axis=0))  # NaN where a repeat is missing
    assert_allclose(loaded.ncsnr, np.sqrt(1 - v**2) / v, rtol=1e-3)


def test_pictures_are_read_one_by_one(pristine):
    with nsd.StimulusBrick(pristine[0]) as brick:
        assert brick.shape == (73000, 425, 425, 3) and len(brick) == 73000
        assert_array_equal(brick[12], picture(12))
        assert_array_equal(brick[np.int32(72999)], picture(72999))
        assert_array_equal(brick[[72999, 0]], np.stack([picture(72999), picture(0)]))
        assert brick[[]].shape == (0, 425, 425, 3)
        for wrong in (-1, 73000):
            with pytest.raises(IndexError, match=f"nsd_id {wrong} does not exist.*0 to 72999"):
                brick[wrong]


def test_stim_info(pristine):
    info = nsd.read_stim_info(pristine[0])
    assert info.index.name == "nsd_id" and info.shared1000.dtype == bool and info.shared1000.sum() == 1000
    assert info.loc[11, "cocoId"] == 78


def test_surface_map(pristine):
    """Vertices 2 1 3 invalid 4 5 of the subject; rounding, invalid and outside-grid positions."""
    maps = nsd.read_surface_map(pristine[0], SUBJECT)
    assert set(maps) == {"lh", "rh"}
    assert_array_equal(maps["lh"], [9, 4, -1, -1, 0, -1])


# --- Bad input -----------------------------------------------------------------------------------


def test_missing_session(root):
    for suffix in layout.BETA_SUFFIXES:
        (root / BETAS / f"betas_session02.{suffix}").unlink()
    message = (
        r"betas_session02.hdf5 \(or .nii.gz\) does not exist; sessions there: 1, 3; asked for: all; "
        r"run `brainalign download --subjects 2`"
    )
    with pytest.raises(nsd.MissingFileError, match=message):
        load(root)


def test_more_sessions_than_there_are(root):
    message = (
        r"betas_session04.*sessions there: 1 to 3; asked for: 1 to 7; run `brainalign download --subjects 2`"
        ", or leave n_sessions out to use those that are there"
    )
    with pytest.raises(nsd.MissingFileError, match=message):
        load(root, n_sessions=7)


def test_no_sessions(root):
    shutil.rmtree(root / BETAS)
    message = (
        r"sessions there: none; asked for: all; \S*/func1pt8mm holds nothing, or "
        "run `brainalign download --subjects 2`"
    )
    with pytest.raises(nsd.MissingFileError, match=message):
        load(root)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("func1pt8mm/betas_fithrf", "betas: betas_fithrf"),
        ("func1mm/betas_fithrf_GLMdenoise_RR", "space: func1mm"),
        ("func1mm/betas_assumehrf", "betas: betas_assumehrf, space: func1mm"),
    ],
)
def test_another_version_of_the_betas_is_named(root, place, line):
    folder = root / BETAS
    moved = folder.parent.parent / place
    moved.parent.mkdir(exist_ok=True)
    folder.rename(moved)
    with pytest.raises(
        nsd.MissingFileError, match=rf"beside it lies {place} \(sessions 1 to 3; to use it, set `{line}`\)"
    ):
        load(root)


def test_another_space_of_the_regions_is_named(root):
    with pytest.raises(nsd.MissingFileError, match="holds func1pt8mm; to use that, set `space: func1pt8mm`"):
        load(root, space="func1mm")


def test_similar_names_are_named(root):
    path = root / ROI / "nsdgeneral.nii.gz"
    path.rename(path.with_name("NSDgeneral.nii.gz"))
    with pytest.raises(nsd.MissingFileError, match=r"roi holds NSDgeneral\.nii\.gz.*download --subjects 2"):
        load(root)


def test_folder_too_high_or_too_low(root):
    for wrong in (root.parent, root / "nsddata", root / "nsddata" / "ppdata"):
        with pytest.raises(nsd.MissingFileError, match=f"the folder that holds nsddata is {root}: give that"):
            load(wrong)


def test_link_that_leads_nowhere(root, tmp_path):
    """As git-annex and DataLad leave it for files that were not fetched."""
    path = root / BETAS / "betas_session02.nii.gz"
    only(root, "nii.gz")
    path.unlink()
    path.symlink_to(tmp_path / "annex" / "objects")
    with pytest.raises(
        nsd.MissingFileError, match=r"session02\.nii\.gz is a link to \S*annex/objects, which is not"
    ):
        load(root)


HOLD = """
import sys, h5py
file = h5py.File(sys.argv[1], "r+")
print("open", flush=True)
sys.stdin.read()
"""


def test_betas_and_stimuli_that_another_process_holds_open(root, loaded):
    paths = [unlinked(root / BETAS / "betas_session01.hdf5"), unlinked(root / layout.STIMULI)]
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for path in paths
    ]
    try:
        assert [holder.stdout.readline() for holder in holders] == [b"open\n"] * 2
        assert_array_equal(load(root).train, loaded.train)
        with nsd.StimulusBrick(root) as brick:
            assert_array_equal(brick[12], picture(12))
    finally:
        for holder in holders:
            holder.communicate()


@pytest.mark.parametrize("suffix", layout.BETA_SUFFIXES)
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_truncated_session(root, suffix, kept):
    path = unlinked(root / BETAS / f"betas_session03.{suffix}")
    size = path.stat().st_size
    os.truncate(path, int(kept * size) if isinstance(kept, float) else kept)
    with pytest.raises(
        nsd.DamagedFileError, match=rf"session03.{suffix} is truncated or damaged.*download it"
    ):
        load(only(root, suffix))


def test_flipped_bytes_in_a_nifti(root):
    path = unlinked(root / BETAS / "betas_session01.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(nsd.DamagedFileError, match=r"session01.nii.gz is truncated or damaged"):
        load(only(root, "nii.gz"))


@pytest.mark.parametrize("shape", [(749, 9, 8, 7), (750, 7, 8, 9), (750, 9, 8)])
def test_other_shapes_in_hdf5(root, shape):
    with h5py.File(unlinked(root / BETAS / "betas_session01.hdf5"), "w") as file:
        file["betas"] = np.ones(shape, np.int16)
    message = {
        (749, 9, 8, 7): "has 749 trials, a session has 750",
        (750, 7, 8, 9): r"grid \(x, y, z\) = \(9, 8, 7\), but the nsdgeneral mask has \(7, 8, 9\)",
        (750, 9, 8): r"shape \(750, 9, 8\), expected \(750, z, y, x\)",
    }[shape]
    with pytest.raises(nsd.ShapeMismatchError, match=message):
        load(root)


def test_hdf5_without_betas(root):
    with h5py.File(unlinked(root / BETAS / "betas_session01.hdf5"), "w") as file:
        file["beta"] = np.ones(3)
    with pytest.raises(nsd.DamagedFileError, match=r"has no dataset 'betas' \(it has: beta\)"):
        load(root)


def test_other_shapes_in_nifti(root):
    path = root / BETAS / "betas_session01.nii.gz"
    path.unlink()
    write_volume(path, np.ones((7, 8, 9, 748), np.int16))
    with pytest.raises(nsd.ShapeMismatchError, match="has 748 trials, a session has 750"):
        load(only(root, "nii.gz"))


def test_mask_of_another_shape(root):
    path = root / ROI / "nsdgeneral.nii.gz"
    path.unlink()
    write_volume(path, np.ones((7, 9, 8), np.int16))
    with pytest.raises(
        nsd.ShapeMismatchError, match=r"= \(7, 8, 9\), but the nsdgeneral mask has \(7, 9, 8\)"
    ):
        load(root)


def test_empty_mask(root):
    path = root / ROI / "nsdgeneral.nii.gz"
    path.unlink()
    write_volume(path, np.zeros(SHAPE, np.int16))
    with pytest.raises(nsd.InvalidValueError, match="0 voxels; expected a 3-d mask"):
        load(root)


def test_label_that_the_table_does_not_name(root):
    path = root / ROI / "floc-places.nii.gz"
    path.unlink()
    values = np.zeros(SHAPE, np.int16)
    values[1, 2, 3] = 8
    write_volume(path, values)
    with pytest.raises(
        nsd.UnknownLabelError, match=r"holds labels 8, but .*floc-places.*names only 1 OPA, 2 PPA"
    ):
        load(root)


def test_damaged_colour_table(root):
    path = unlinked(root / f"nsddata/freesurfer/subj{SUBJECT:02d}/label/floc-faces.mgz.ctab")
    path.write_text("0 Unknown\n1 OFA\nFFA-1 2\n")
    with pytest.raises(nsd.DamagedFileError, match=r"floc-faces.*line 3: 'FFA-1 2' is not"):
        load(root)


def test_missing_colour_table(root):
    path = root / f"nsddata/freesurfer/subj{SUBJECT:02d}/label/floc-faces.mgz.ctab"
    path.unlink()
    with pytest.raises(
        nsd.MissingFileError, match=r"floc-faces.mgz.ctab does not exist; \S+label holds floc-.*get it"
    ):
        load(root)


def test_subject_that_does_not_exist(root):
    with pytest.raises(
        nsd.MissingFileError, match=r"subj04.*does not exist; \S+ppdata holds subj02; .*--subjects 4"
    ):
        nsd.load_responses(root, 4, progress_bar=False)


def test_nan_betas(root):
    path = root / BETAS / "betas_session02.nii.gz"
    path.unlink()
    values = np.random.default_rng(0).normal(size=(*SHAPE, 750)).astype(np.float32)
    values[..., 4] = np.nan
    write_volume(path, values)
    with pytest.raises(
        nsd.InvalidValueError, match=r"session02.* NaN or infinite betas in (\d+) of \1 voxels"
    ):
        load(only(root, "nii.gz"))


@pytest.mark.parametrize("suffix", layout.BETA_SUFFIXES)
def test_file_without_permission(pristine, suffix):
    with reachable_folder() as folder:
        path = folder / f"betas_session02.{suffix}"
        shutil.copy(pristine[0] / BETAS / path.name, path)
        path.chmod(0o000)
        with (
            nobody(),
            pytest.raises(nsd.NoPermissionError, match=rf"betas_session02\.{suffix} may not be read"),
        ):
            nsd.read_session(path, np.zeros((1, 3), int), SHAPE)


def test_folder_without_permission(pristine):
    with reachable_folder() as folder:
        shutil.copytree(pristine[0], folder / "nsd", copy_function=os.link)
        (folder / "nsd" / ROI).chmod(0o000)
        with nobody(), pytest.raises(nsd.NoPermissionError, match=r"roi/nsdgeneral\.nii\.gz may not be read"):
            nsd.load_responses(folder / "nsd", SUBJECT, progress_bar=False)
        (folder / "nsd" / ROI).chmod(0o755)


@pytest.mark.parametrize(("option", "value"), [("betas", "betas_fit"), ("space", "MNI")])
def test_unknown_version_or_space(root, option, value):
    with pytest.raises(ValueError, match=f"{option} is '{value}'; choose"):
        nsd.session_files(root, SUBJECT, **{option: value})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(5000),
        b"<html>403 Forbidden</html>",
        b"version https://git-lfs.github.com/spec/v1",
        b"no matrix" * 40,
    ],
)
def test_design_that_is_no_matlab_file(root, content):
    path = root / layout.EXPDESIGN
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(nsd.DamagedFileError, match=r"nsd_expdesign\.mat"):
        load(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [(",nsdId,cocoId\n0,0,5\n", "has no column cocoSplit, cropBox"), ("", "no table of images")],
)
def test_damaged_stim_info(root, text, message):
    unlinked(root / layout.STIM_INFO).write_text(text)
    with pytest.raises(nsd.DamagedFileError, match=message):
        nsd.read_stim_info(root)


# --- Files that are not as NSD writes them, but close ---------------------------------------------


def test_stim_info_without_its_index_and_in_another_order(root, pristine):
    path = unlinked(root / layout.STIM_INFO)
    table = pd.read_csv(path, index_col=0)
    expected = nsd.read_stim_info(pristine[0])
    table.sample(frac=1, random_state=0).to_csv(path, index=False)
    pd.testing.assert_frame_equal(nsd.read_stim_info(root), expected)
    table.assign(shared1000=table.shared1000.astype(int)).to_csv(path, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(nsd.read_stim_info(root), expected)


def test_design_of_matlab_7_3(root, pristine, loaded):
    """MATLAB's newer format is HDF5, whose axes are the other way round, and its numbers are doubles."""
    path = root / layout.EXPDESIGN
    path.unlink()
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in pristine[1]["design"].items():
            file[name] = values.T.astype(float)
        file.create_group("#refs#")
    assert_array_equal(nsd.read_design(root)["masterordering"], pristine[1]["design"]["masterordering"])
    assert load(root).drop_attrs().identical(loaded.drop_attrs())


def test_design_with_exchanged_axes_is_refused(root, pristine):
    path = root / layout.EXPDESIGN
    path.unlink()
    scipy.io.savemat(path, {name: values.T for name, values in pristine[1]["design"].items()})
    with pytest.raises(
        nsd.DamagedFileError, match=r"subjectim has shape \(10000, 8\), expected \(subjects, images\)"
    ):
        load(root)


def rewrite(path, change):
    """Replace a volume by ``change(values)``."""
    values = change(np.asarray(nibabel.load(path).dataobj))
    path.unlink()
    write_volume(path, values)


@pytest.mark.parametrize(
    "change", [lambda v: v.astype(np.float64), lambda v: v[..., None].astype(np.float32)]
)
def test_float_volumes_and_a_fourth_axis_of_one(root, loaded, change):
    for volume in tables.ROI_VOLUMES:
        rewrite(root / ROI / f"{volume}.nii.gz", change)
    assert load(root).drop_attrs().identical(loaded.drop_attrs())


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_labels_that_are_no_whole_numbers_are_refused(root, value):
    path = root / ROI / "floc-faces.nii.gz"
    rewrite(path, lambda v: np.where(v == 1, value, v))
    with pytest.raises(nsd.InvalidValueError, match=f"floc-faces.nii.gz holds {value}, which is no label"):
        load(root)


def test_volume_that_is_not_compressed(root):
    path = root / ROI / "floc-faces.nii.gz"
    content = gzip.decompress(path.read_bytes())
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(
        nsd.DamagedFileError, match=r"floc-faces.nii.gz is not compressed, although its name says so"
    ):
        load(root)
    path.rename(path.with_suffix(""))
    with pytest.raises(
        nsd.MissingFileError, match=r"floc-faces.nii.gz does not exist; \S+roi holds floc-faces.nii; get"
    ):
        load(root)


def test_float_betas_have_no_known_unit(root, loaded):
    rewrite(only(root, "nii.gz") / BETAS / "betas_session03.nii.gz", lambda v: (v / 300).astype(np.float32))
    assert_allclose(load(root).train, loaded.train, atol=1e-4)  # z-scored: no unit matters
    with pytest.raises(nsd.InvalidValueError, match=r"session03\S* holds float32 of unknown unit"):
        load(root, session_zscore=False)


@pytest.mark.filterwarnings("error")
def test_voxel_without_signal_anywhere_and_ncsnr_that_is_nan(root, loaded):
    """Such voxels are in real masks: responses and ceiling are NaN there, and nowhere else."""
    only(root, "nii.gz")
    ijk = loaded.ijk.values
    for session in (1, 2, 3):
        rewrite(root / BETAS / f"betas_session{session:02d}.nii.gz", lambda v: without(v, ijk[6]))
    ncsnr = np.full(SHAPE, np.nan)
    ncsnr[tuple(ijk[8:].T)] = 0.5
    write_volume(root / BETAS / "ncsnr.nii.gz", ncsnr)
    some = load(root)
    assert np.isnan(some.train[:, 6]).all() and np.isnan(some.test[..., 6]).all()
    assert_array_equal(np.delete(some.train, 6, axis=1), np.delete(loaded.train, 6, axis=1))
    assert_array_equal(np.isnan(some.ncsnr), np.arange(len(ijk)) < 8)
    assert_array_equal(np.isnan(some.noise_ceiling), np.arange(len(ijk)) < 8)
    again = load(root, recompute_ncsnr=True)
    assert_array_equal(np.flatnonzero(np.isnan(again.ncsnr)), [6])


def without(values, voxel):
    values = values.copy()
    values[tuple(voxel)] = 0
    return values


def test_optional_volumes_may_be_missing(root, loaded):
    for volume in ("streams", "prf-eccrois"):
        (root / ROI / f"{volume}.nii.gz").unlink()
    some = load(root)
    assert "label_streams" not in some.coords and "label_prf-eccrois" not in some.coords
    assert_array_equal(some.roi_mask, loaded.roi_mask)
    nsd.describe_voxels(root, some)
    (root / ROI / "floc-words.nii.gz").unlink()
    with pytest.raises(nsd.MissingFileError, match="floc-words"):
        load(root)


# --- Text formats --------------------------------------------------------------------------------


def test_ctab_of_nsd():
    text = "0 Unknown\n1 ecc0pt5\t0 to 0.5 degrees\n5 ecc4+\r\n\n"
    assert layout.parse_ctab(text) == {1: "ecc0pt5", 5: "ecc4+"}


@pytest.mark.parametrize(
    "text",
    [
        "0 Unknown\n1 V1v\n2 V1d\n",  # prf-* and floc-*
        "0\tUnknown\n1\tV1v\n2\tV1d",
        "\ufeff0 Unknown\r\n\r\n1   V1v\t \r\n  2 V1d  \r\n",  # saved by an editor
        "# label name\n\n0 Unknown 0 0 0 0\n1  V1v   255 0 0 0\n2 V1d 0 255 0 0",  # FreeSurfer's own tables
        "1 V1v\tventral part of V1\t12 12 12 12\n2 V1d\tx",  # Kastner2015, thalamus
    ],
)
def test_ctabs_written_by_others(text):
    assert layout.parse_ctab(text) == {1: "V1v", 2: "V1d"}


def test_label_named_twice():
    with pytest.raises(nsd.DamagedFileError, match="label 1 is named both 'OFA' and 'FFA-1'"):
        layout.parse_ctab("1 OFA\n1 FFA-1")


@given(st.text())
def test_any_ctab_gives_a_table_or_a_named_error(text):
    try:
        names = layout.parse_ctab(text)
    except nsd.DamagedFileError:
        return
    assert all(isinstance(k, int) and k != 0 and v for k, v in names.items())


names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=9)


@given(st.dictionaries(st.integers(1, 200), names), st.booleans())
def test_ctab_round_trip(table, remark):
    lines = [f"{k} {v}" + ("\tx y" if remark else "") for k, v in table.items()]
    assert layout.parse_ctab("\n".join(["0 Unknown", *lines])) == table


@given(st.text() | st.from_regex(r"\([0-9e.,\- ]*\)", fullmatch=True))
def test_any_crop_box_gives_fractions_or_a_named_error(text):
    try:
        top, bottom, left, right = layout.parse_crop_box(text)
    except nsd.DamagedFileError:
        return
    assert top + bottom < 1 and left + right < 1 and min(top, bottom, left, right) >= 0


fraction = st.floats(0, 0.49, allow_nan=False)


@given(st.tuples(fraction, fraction, fraction, fraction))
def test_crop_box_round_trip(box):
    assert layout.parse_crop_box(str(box)) == box


@pytest.mark.parametrize(
    "text", ["(0, 0, 0.5)", "(0, 0, 0.6, 0.4)", "(0, -0.1, 0, 0)", "(0, 0, nan, 0)", "", None]
)
def test_bad_crop_boxes(text):
    with pytest.raises(nsd.DamagedFileError, match="cropBox"):
        layout.parse_crop_box(text)
