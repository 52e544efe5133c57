"""Voxelwise tests on a small study in the study's own files, with planted effects."""

import numpy as np
import pytest
import xarray as xr

from brainalign_utils import store
from brainalign_utils.results import voxel_tests
from brainalign_utils.settings import load_settings

N_TRAIN, N_TEST, N_VOXELS = 30, 90, 40
GAINS = {
    "vit-h": {"none": np.full(N_VOXELS, 0.8)},
    "instructblip": {
        "IU1": np.full(N_VOXELS, 0.8),
        "IC": np.r_[np.full(20, 2.5), np.full(20, 0.8)],  # leads in the first region only
    },
    "instructblip-random": {"IU1": np.zeros(N_VOXELS), "IC": np.zeros(N_VOXELS)},
}
ROIS = ("nsdgeneral", "places", "faces")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = load_settings(
        build_root=tmp_path_factory.mktemp("build"), subjects=[1, 5], models=list(GAINS),
        instructions=["IU1", "IC"], stats={"n_permutations": 999},
    )  # fmt: skip
    masks = np.stack([np.full(N_VOXELS, True), np.arange(N_VOXELS) < 20, np.arange(N_VOXELS) >= 20])
    voxels = {"roi": list(ROIS), "roi_mask": (("roi", "voxel"), masks)}
    for subject in settings.subjects:
        rng = np.random.default_rng(10 + subject)
        signal = rng.standard_normal((N_TEST, N_VOXELS))
        test = signal + 0.5 * rng.standard_normal((3, *signal.shape))
        test[:, :, 39] = np.nan  # a voxel without data
        train = rng.standard_normal((N_TRAIN, N_VOXELS))
        responses = xr.Dataset(
            {
                "train": (("train_stimulus", "voxel"), train),
                "test": (("repeat", "test_stimulus", "voxel"), test),
            },
            coords=voxels | {"test_nsd_id": ("test_stimulus", np.arange(N_TEST))},
        )
        store.write_dataset(settings.paths.responses(subject), responses)
        for model, gains in GAINS.items():
            component = "vision" if model == "vit-h" else "language"
            space = {"component": [component] * len(gains), "instruction": list(gains)}
            space |= {"layer": [1] * len(gains), "depth": [1.0] * len(gains)}
            coords = {k: ("space", v) for k, v in space.items()}
            cv = (("space", "voxel"), np.full((len(gains), N_VOXELS), 0.1))
            store.write_dataset(
                settings.paths.scores(subject, model), xr.Dataset({"cv_score": cv}, {**coords, **voxels})
            )
            predicted = [g * signal + rng.standard_normal(signal.shape) for g in gains.values()]
            data = {"prediction": (("space", "test_stimulus", "voxel"), np.float16(predicted))}
            store.write_dataset(settings.paths.predictions(subject, model), xr.Dataset(data, coords))
    return settings


def test_models_are_told_from_chance_and_from_the_reference(settings):
    shares, regions = voxel_tests.model_table(settings, list(GAINS), "vit-h", ROIS)
    mean = shares.groupby(["model", "roi"])[["predicted", "above", "below"]].mean()
    assert mean.predicted["vit-h"].min() > 0.9 and mean.predicted["instructblip"].min() > 0.9
    assert mean.predicted["instructblip-random"].max() < 0.1
    assert mean.above["instructblip", "places"] > 0.8 and mean.above["instructblip", "faces"] < 0.1
    assert mean.below["instructblip-random"].min() > 0.5
    assert np.isnan(mean.above["vit-h"]).all(), "the reference is not compared with itself"
    combined = regions.set_index(["model", "roi"])
    assert combined.q["instructblip", "places"] < 0.01 and combined.q["instructblip", "faces"] > 0.05
    assert combined.difference["instructblip", "places"] > 0.1
    assert (combined.n_subjects == 2).all()


def test_instructions_are_tested_against_captioning(settings):
    shares, regions = voxel_tests.instruction_table(settings, "instructblip", ROIS)
    assert set(shares.instruction) == {"IU1"}
    mean = shares.groupby("roi")[["above", "below"]].mean()
    assert mean.below["places"] > 0.8 and mean.above.max() < 0.1 and mean.below["faces"] < 0.1
    table = voxel_tests.compared(shares, regions, "instruction", 0.05)
    assert list(table.columns) == ["nsdgeneral (all)", "places", "faces"]
    assert (
        table.loc["IU1", "places"].split()[0:2] == ["0%", "/"]
        and table.loc["IU1", "places"].split()[-1] == "*"
    )
    assert not table.loc["IU1", "faces"].endswith("*")


def test_a_voxel_without_data_does_not_count(settings):
    """39 of 40 voxels have data; all of them are predicted, so the share is 1 and not 39/40."""
    shares, _ = voxel_tests.model_table(settings, ["vit-h", "instructblip"], "vit-h", ROIS)
    best = shares[(shares.model == "instructblip") & (shares.roi == "places")]
    assert (best.predicted == 1).all()
    whole = shares[(shares.model == "vit-h") & (shares.roi == "faces")].predicted
    assert ((whole * 19) % 1 < 1e-9).all()


def test_a_clear_winner_wins_again(settings):
    table = voxel_tests.stability_table(settings, "instructblip", ROIS).groupby("roi").mean()
    assert table.again["places"] > 0.95 and table.sure["places"] > 0.7
    assert 0.5 < table.again["faces"] < 0.95 and table.sure["faces"] < 0.5
    assert (table.chance == 0.5).all()
