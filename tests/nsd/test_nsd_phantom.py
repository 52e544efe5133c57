"""The loader on a phantom tree: formats agree, and what was planted is found."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from brainalign_utils import nsd
from brainalign_utils.nsd import doctor, layout, reliability


@pytest.fixture(scope="module", params=[1, 7])
def subject(request):
    return request.param


@pytest.fixture(scope="module")
def loaded(phantom_tree, subject):
    return nsd.load_responses(phantom_tree / "nsd", subject, progress_bar=False)


@pytest.fixture(scope="module")
def truth(phantom_tree, subject, loaded):
    """Rows of the truth at the voxels that were loaded."""
    folder = phantom_tree / "truth" / f"subj{subject:02d}"
    table = pd.read_parquet(folder / "voxels.parquet")
    row = {tuple(ijk): n for n, ijk in enumerate(table[["i", "j", "k"]].to_numpy())}
    rows = [row[tuple(ijk)] for ijk in loaded.ijk.values]
    stored = np.load(folder / "signal.npz")
    return table.iloc[rows], stored["nsd_id"], stored["signal"][:, rows].astype(np.float32)


def test_formats_are_identical(phantom_tree, subject, loaded, tmp_path):
    root = tmp_path / "nsd"
    shutil.copytree(phantom_tree / "nsd", root, copy_function=os.link)
    for path in root.glob("nsddata_betas/**/betas_session*.hdf5"):
        path.unlink()
    other = nsd.load_responses(root, subject, progress_bar=False)
    assert other.attrs["beta_formats"] == ["nii.gz"]
    assert other.drop_attrs().identical(loaded.drop_attrs())


def test_every_voxel_of_the_brain_agrees_between_formats(phantom_tree, subject):
    root = phantom_tree / "nsd"
    _, shape = nsd.read_mask(root, subject)
    assert len(set(shape)) == 3
    everywhere = np.argwhere(np.ones(shape, bool))
    hdf5, nifti = (
        nsd.read_session(root / layout.session_key(subject, 1, suffix), everywhere, shape)
        for suffix in layout.BETA_SUFFIXES
    )
    assert_array_equal(hdf5, nifti)
    assert hdf5.any(axis=0).sum() > 200


def test_labels_are_those_planted(loaded, truth):
    table = truth[0]
    for volume in ("prf-visualrois", "floc-faces", "floc-bodies", "streams"):
        assert_array_equal(loaded[f"label_{volume}"], table[f"label_{volume}"])


def test_planted_oddities_are_met(phantom_tree, subject, loaded):
    planted = yaml.safe_load((phantom_tree / "truth/planted.yml").read_text())[f"subj{subject:02d}"]
    assert loaded.attrs["n_saturated_betas"] >= len(planted["saturated"]) > 0
    ijk, n_sessions = loaded.ijk.values, loaded.attrs["n_sessions"]
    inside = [one["ijk"] for one in planted["constant"] if (ijk == one["ijk"]).all(axis=1).any()]
    n_missing = len(planted["zero_in_session"]) + n_sessions * len(inside)
    assert loaded.attrs["n_missing_voxel_sessions"] == n_missing
    undefined = {tuple(one) for one in ijk[np.isnan(loaded.noise_ceiling.values)].tolist()}
    assert undefined == {tuple(one) for one in [*inside, *planted["nan_ncsnr"]]}
    for one in inside:
        voxel = np.flatnonzero((ijk == one).all(axis=1))
        assert np.isnan(loaded.test.values[:, :, voxel]).all()
        assert np.isnan(loaded.train.values[:, voxel]).all()
    for zero in planted["zero_in_session"]:
        voxel = np.flatnonzero((ijk == zero["ijk"]).all(axis=1))
        assert np.isnan(loaded.test.values[:, :, voxel]).any()
    empty = {name for names in planted["empty_labels"].values() for name in names}
    assert empty & set(loaded.roi.values) <= set(loaded.attrs["absent_rois"])


def test_voxels_are_described_without_their_responses(phantom_tree, subject, loaded):
    voxels = nsd.describe_voxels(phantom_tree / "nsd", loaded)
    assert not any("stimulus" in str(dim) or dim == "repeat" for dim in voxels.dims)
    assert_array_equal(voxels.roi_mask, loaded.roi_mask)
    assert_array_equal(voxels.noise_ceiling, loaded.noise_ceiling)
    maps = nsd.read_surface_map(phantom_tree / "nsd", subject)
    for hemisphere, voxel in maps.items():
        assert_array_equal(voxels[f"vertex_voxel_{hemisphere}"], voxel)
    labels, _ = nsd.read_roi_labels(phantom_tree / "nsd", subject, "prf-visualrois")
    count = int(voxels.n_first_label_outside.sel(volume="prf-visualrois"))
    assert count == (labels == 1).sum() - (loaded["label_prf-visualrois"] == 1).sum()


def test_ncsnr_file_equals_our_recipe(phantom_tree, subject, loaded):
    assert loaded.attrs["ncsnr_source"] == "file"
    again = nsd.load_responses(phantom_tree / "nsd", subject, recompute_ncsnr=True, progress_bar=False)
    if subject == 1:  # float32 sums in another order
        known = np.isfinite(loaded.ncsnr.values)
        assert_allclose(again.ncsnr[known], loaded.ncsnr[known], atol=2e-3)
    assert again.attrs["ncsnr_source"].startswith("recomputed from")


def test_planted_noise_ceiling_is_recovered(loaded, truth, subject):
    """Per voxel within sampling error; on average, above the clip at 0, without bias."""
    if subject != 1:
        pytest.skip("subject 7 has one session: few stimuli with three trials")
    planted = reliability.noise_ceiling(truth[0]["ncsnr"].to_numpy(), 3)
    found = reliability.noise_ceiling(loaded.ncsnr.values, 3)
    # A saturated beta is 109 percent signal change and ruins the estimate of its voxel; a voxel
    # without data in a session has few stimuli left.
    spoilt = truth[0][["saturated", "constant", "nan_ncsnr"]].any(axis=1) | (truth[0]["zero_in_session"] > 0)
    usable = (planted > 0.1) & ~spoilt.to_numpy()
    # sd of an estimate from 500 stimuli x 3, simulated: at most 0.062 for ceilings above 0.1
    error = (found - planted)[usable]
    assert (np.abs(error) < 4.5 * 0.062).all()
    assert abs(error.mean()) < 4 * 0.062 / np.sqrt(usable.sum())
    assert np.corrcoef(found[usable], planted[usable])[0, 1] > 0.95


def test_responses_follow_the_planted_signal(loaded, truth):
    """The ceiling is what the true signal scores: r2 of the signal itself, in each voxel with one."""
    table, nsd_id, signal = truth
    seen = np.isfinite(loaded.test.values).sum(axis=0)
    target = np.where(seen > 0, np.nansum(loaded.test.values, axis=0) / np.maximum(seen, 1), np.nan)
    true = signal[np.searchsorted(nsd_id, loaded.test_nsd_id.values)]
    ceiling = np.sqrt(reliability.noise_ceiling(
        table["ncsnr"].to_numpy(), seen))  # fmt: skip
    usable = ceiling > 0.3
    pairs = zip(target.T[usable], true.T[usable], strict=True)
    error = np.array([pearson(a, b) for a, b in pairs]) - ceiling[usable]
    # sd of r with about 150 pictures or more is below 0.08
    assert (np.abs(error) < 5 * 0.08).all()
    assert abs(error.mean()) < 0.05


def pearson(a, b):
    both = np.isfinite(a) & np.isfinite(b)
    return np.corrcoef(a[both], b[both])[0, 1]


def test_surface_map_reaches_the_mask(phantom_tree, subject, loaded, truth):
    table = truth[0].reset_index(drop=True)
    maps = nsd.read_surface_map(phantom_tree / "nsd", subject)
    for hemisphere, voxels in maps.items():
        assert voxels.shape == (10242,) and voxels.max() < loaded.sizes["voxel"]
        reached = np.unique(voxels[voxels >= 0])
        # large voxels at the midline are reached from both sides
        assert (table.loc[reached, "hemisphere"] == hemisphere).mean() > 0.85
        mine = table.index[(table.hemisphere == hemisphere) & (table.fsaverage5_vertex >= 0)]
        assert len(reached) > 0.5 * len(mine)


def test_pictures_of_the_tree(phantom_tree, loaded):
    with nsd.StimulusBrick(phantom_tree / "nsd") as brick:
        images = brick[loaded.test_nsd_id.values[:4]]
    assert images.shape == (4, 425, 425, 3) and all(image.std() > 5 for image in images)


def test_the_page_on_responses_takes_voxels_without_a_ceiling(phantom_tree, tmp_path):
    settings = {"data": "nsd", "nsd_root": str(phantom_tree / "nsd"), "build_root": str(tmp_path)}
    (tmp_path / "settings.yml").write_text(yaml.safe_dump(settings))
    notebook = jupytext.read(Path(__file__).parents[2] / "notebooks/01_load_responses.py")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    given = next(cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    given.source = f"settings_file, subjects = {str(tmp_path / 'settings.yml')!r}, [1]"
    script = "\n".join(["import matplotlib; matplotlib.use('agg')", *(cell.source for cell in cells)])
    script = re.sub("^%.*", "", script, flags=re.MULTILINE)  # IPython's own commands
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", script]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_an_atlas_with_further_columns_is_read_by_name(phantom_tree):
    labels, names = nsd.read_roi_labels(phantom_tree / "nsd", 1, "Kastner2015")
    assert list(names) == list(range(1, 26)) and names[1] == "V1v" and names[25] == "FEF"
    assert set(np.unique(labels)) == {-1, *range(8)}


@pytest.mark.parametrize(
    ("version", "space", "transform", "size"),
    [("betas_assumehrf", "func1mm", "func1pt0", 1.0), ("betas_fithrf", "func1pt8mm", "func1pt8", 1.8)],
)
def test_other_betas_and_spaces_lie_where_the_loader_looks(tmp_path, version, space, transform, size):
    small = "--subjects 1 --sessions 1 --voxels 100 --shared 20 --jobs 1"
    words = [str(tmp_path / "tree"), *small.split(), "--betas", version, "--space", space]
    subprocess.run([sys.executable, "-m", "nsd_phantom", *words], check=True)
    root = tmp_path / "tree/nsd"
    responses = nsd.load_responses(root, 1, betas=version, space=space, progress_bar=False)
    voxels = nsd.describe_voxels(root, responses)
    assert voxels.vertex_voxel_lh.max() > 0 and responses.attrs["ncsnr_source"] == "file"
    assert not list(root.rglob("*GLMdenoise*"))
    assert {path.name.split("-")[0] for path in root.rglob("lh.func*")} == {f"lh.{transform}"}
    affine = nibabel.load(root / f"nsddata/ppdata/subj01/{space}/roi/nsdgeneral.nii.gz").affine
    assert_allclose(np.diag(affine)[:3], size)
    findings = doctor.examine(root, [1], betas=version, space=space)
    assert {finding.status for finding in findings} == {"ok"}
