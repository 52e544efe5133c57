import os
import shutil

import h5py
import nibabel
import numpy as np
import pytest
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


def test_hdf5_and_nifti_are_identical(pristine, loaded):
    other = nsd.load_responses(pristine[0], SUBJECT, prefer="nii.gz", progress_bar=False)
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
    again = nsd.load_responses(root, SUBJECT, ncsnr="recompute", progress_bar=False)
    assert_array_equal(again.ncsnr, loaded.ncsnr)
    three = np.delete(np.arange(loaded.sizes["voxel"]), MISSING_VOXEL)
    expected = reliability.noise_ceiling(read.ncsnr.values, 3)
    assert_allclose(read.noise_ceiling.values[three], expected[three], rtol=1e-5)


def test_recomputed_ncsnr_follows_the_recipe(pristine, loaded):
    z, ids = expected_zscores(pristine[1]), pristine[1]["nsd_ids"]
    order = np.argsort(ids, kind="stable")
    repeats = z[order].reshape(-1, 3, z.shape[1]).swapaxes(0, 1)
    assert_allclose(loaded.ncsnr, reliability.estimate_ncsnr(repeats), rtol=1e-3)


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


def load(root, **options):
    return nsd.load_responses(root, SUBJECT, progress_bar=False, **options)


def test_missing_session(root):
    for suffix in layout.BETA_SUFFIXES:
        (root / BETAS / f"betas_session02.{suffix}").unlink()
    message = (
        r"betas_session02.hdf5 \(or .nii.gz\) does not exist; sessions there: 1, 3; asked for: 1 to 3.*most 1"
    )
    with pytest.raises(nsd.MissingFileError, match=message):
        load(root)


def test_more_sessions_than_there_are(root):
    with pytest.raises(
        nsd.MissingFileError, match=r"betas_session04.*sessions there: 1, 2, 3; asked for: 1 to 7"
    ):
        load(root, n_sessions=7)


def test_no_sessions(root):
    shutil.rmtree(root / BETAS)
    with pytest.raises(
        nsd.MissingFileError, match=r"holds no betas_sessionNN.*brainalign download --subjects 2"
    ):
        load(root)


@pytest.mark.parametrize("suffix", layout.BETA_SUFFIXES)
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_truncated_session(root, suffix, kept):
    path = unlinked(root / BETAS / f"betas_session03.{suffix}")
    size = path.stat().st_size
    os.truncate(path, int(kept * size) if isinstance(kept, float) else kept)
    with pytest.raises(
        nsd.DamagedFileError, match=rf"session03.{suffix} is truncated or damaged.*download it"
    ):
        load(root, prefer=suffix)


def test_flipped_bytes_in_a_nifti(root):
    path = unlinked(root / BETAS / "betas_session01.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(nsd.DamagedFileError, match=r"session01.nii.gz is truncated or damaged"):
        load(root, prefer="nii.gz")


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
        load(root, prefer="nii.gz")


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
    with pytest.raises(nsd.MissingFileError, match=r"floc-faces.mgz.ctab does not exist; get it with"):
        load(root)


def test_subject_that_does_not_exist(root):
    with pytest.raises(nsd.MissingFileError, match=r"subj04 does not exist.*there: subj02.*--subjects 4"):
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
        load(root, prefer="nii.gz")


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


@pytest.mark.parametrize(("option", "value"), [("prefer", "mat"), ("ncsnr", "guess")])
def test_unknown_options(root, option, value):
    with pytest.raises(ValueError, match=f"{option} is '{value}'; choose"):
        load(root, **{option: value})


def test_design_without_its_arrays(root):
    path = root / layout.EXPDESIGN
    path.unlink()
    path.write_bytes(b"not a matrix at all" * 20)
    with pytest.raises(nsd.DamagedFileError, match=r"nsd_expdesign\.mat"):
        load(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [(",nsdId,cocoId\n0,0,5\n", "has no column cocoSplit, cropBox"), ("", "no table of pictures")],
)
def test_damaged_stim_info(root, text, message):
    unlinked(root / layout.STIM_INFO).write_text(text)
    with pytest.raises(nsd.DamagedFileError, match=message):
        nsd.read_stim_info(root)


# --- Text formats --------------------------------------------------------------------------------


def test_ctab_of_nsd():
    text = "0 Unknown\n1 ecc0pt5\t0 to 0.5 degrees\n5 ecc4+\r\n\n"
    assert layout.parse_ctab(text) == {1: "ecc0pt5", 5: "ecc4+"}


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
