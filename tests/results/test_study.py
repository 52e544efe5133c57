"""What a study's artifacts say where subjects and voxels are not complete."""

import numpy as np
import pandas as pd
import xarray as xr

from brainalign_utils import store
from brainalign_utils.results import study, truth
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS


def test_test_images_are_those_of_all_subjects(tmp_path):
    """The first subject has fewer sessions than the second, and so saw fewer shared images."""
    settings = load_settings(build_root=tmp_path, subjects=[4, 1])
    for subject, ids in ((4, [20, 30]), (1, [10, 20, 40])):
        responses = xr.Dataset(coords={"test_nsd_id": ("test_stimulus", ids)})
        store.write_dataset(settings.paths.responses(subject), responses)
    assert study.test_image_ids(settings).tolist() == [10, 20, 30, 40]


def test_layers_are_checked_where_there_are_scores(tmp_path):
    """A voxel, a layer and a region without scores: none of them is taken for the best."""
    settings = load_settings(build_root=tmp_path, subjects=[1])
    n_voxels = 6
    r = np.array([[np.nan] * 6, [0.1] * 6, [0.3] * 6])
    r[:, 0] = np.nan
    masks = np.ones((len(PAPER_GROUPS), n_voxels), bool)
    masks[-1] = np.arange(n_voxels) == 0
    space = {"component": ["language"] * 3, "layer": [0, 1, 2], "instruction": ["IC"] * 3}
    coords = {name: ("space", values) for name, values in space.items()}
    coords |= {"roi": list(PAPER_GROUPS), "roi_mask": (("roi", "voxel"), masks)}
    variables = {name: (("space", "voxel"), r) for name in ("r", "cv_score")}
    store.write_dataset(settings.paths.scores(1, "instructblip"), xr.Dataset(variables, coords))
    table = truth.layer_rows(settings, "instructblip")
    assert table.label.tolist() == list(PAPER_GROUPS[:-1]) and table.passed.all()
    np.testing.assert_allclose(table.estimated, 0.3)


def test_noise_ceilings_are_compared_for_the_repeats_that_there_are(tmp_path):
    """After half of the sessions most test images have one or two trials, which lowers the ceiling."""
    settings = load_settings(build_root=tmp_path, subjects=[4])
    rng, n_voxels = np.random.default_rng(0), 300
    ncsnr = rng.uniform(0.3, 0.8, n_voxels)
    table = pd.DataFrame(np.argwhere(np.ones((n_voxels, 1, 1))), columns=["i", "j", "k"]).assign(ncsnr=ncsnr)
    table = table.assign(saturated=False, constant=False, nan_ncsnr=False, zero_in_session=0)
    (settings.paths.truth / "subj04").mkdir(parents=True)
    table.to_parquet(settings.paths.truth / "subj04/voxels.parquet")
    test = np.zeros((3, 60, n_voxels))
    test[1:, 20:], test[2, :20] = np.nan, np.nan
    ceiling = ncsnr**2 / (ncsnr**2 + (20 / 2 + 40) / 60) + 0.01 * rng.normal(size=n_voxels)
    coords = {
        "ijk": (("voxel", "axis"), table[["i", "j", "k"]].to_numpy()),
        "roi": list(PAPER_GROUPS),
        "roi_mask": (("roi", "voxel"), np.ones((len(PAPER_GROUPS), n_voxels), bool)),
        "noise_ceiling": ("voxel", ceiling),
    }
    responses = xr.Dataset({"test": (("repeat", "test_stimulus", "voxel"), test)}, coords)
    store.write_dataset(settings.paths.responses(4), responses)
    assert truth.ceiling_rows(settings).passed.all()
