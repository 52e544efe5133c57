"""Encoding: both solvers agree, planted weights are recovered, what is missing stays missing."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from himalaya.backend import get_backend

from brainalign_utils import nsd
from brainalign_utils.encoding import fitting as encoding
from brainalign_utils.features.adapters import checkpoint_folder, load_adapter, model_row
from brainalign_utils.features.extraction import Extractor
from brainalign_utils.results import intervals
from brainalign_utils.settings import EncodingSettings, load_settings

N_TRAIN, N_TEST, N_VOXELS, N_FEATURES = 130, 60, 17, 9
ALPHAS = np.logspace(-1, 3, 7)


@pytest.fixture(scope="module")
def study():
    """Two feature spaces, one of which drives the voxels; one voxel lacks too many stimuli."""
    rng = np.random.default_rng(5)
    X = {
        "good": rng.standard_normal((N_TRAIN + N_TEST, N_FEATURES)),
        "bad": rng.standard_normal((N_TRAIN + N_TEST, 4)),
    }
    signal = X["good"] @ rng.standard_normal((N_FEATURES, N_VOXELS)) / 3
    train = signal[:N_TRAIN] + 0.3 * rng.standard_normal((N_TRAIN, N_VOXELS))
    test = signal[N_TRAIN:] + 0.5 * rng.standard_normal((3, N_TEST, N_VOXELS))
    test[2, :7] = np.nan
    train[:3, 1] = np.nan
    train[:40, 2] = np.nan
    masks = np.zeros((2, N_VOXELS), bool)
    masks[0, :10], masks[1, 10:] = True, True
    responses = xr.Dataset(
        {
            "train": (("train_stimulus", "voxel"), train),
            "test": (("repeat", "test_stimulus", "voxel"), test),
            "train_n_repeats": ("train_stimulus", np.full(N_TRAIN, 3)),
        },
        coords={
            "train_nsd_id": ("train_stimulus", np.arange(N_TRAIN)),
            "test_nsd_id": ("test_stimulus", N_TRAIN + np.arange(N_TEST)),
            "ijk": (("voxel", "axis"), np.arange(3 * N_VOXELS).reshape(-1, 3)),
            "roi": ["first", "second"],
            "roi_mask": (("roi", "voxel"), masks),
            "noise_ceiling": ("voxel", np.full(N_VOXELS, 0.8)),
        },
    )
    spaces = pd.DataFrame(
        {"component": ["language"] * 2, "instruction": ["IC"] * 2, "layer": [0, 1], "depth": [0.0, 1.0]}
    )
    names = ["bad", "good"]
    return responses, spaces, lambda space, ids: X[names[int(space.layer)]][ids].astype(np.float32)


def fit(study, solver="brainalign", **options):
    responses, spaces, read = study
    settings = EncodingSettings(solver=solver, n_folds=4, device="cpu")
    return encoding.fit_encoding(spaces, read, responses, ALPHAS, settings, progress_bar=False, **options)


def test_solvers_agree(study):
    before = get_backend().name
    ours, theirs = fit(study)[0], fit(study, "himalaya")[0]
    assert get_backend().name == before, "a fit left himalaya's global backend changed"
    assert ours.best_alpha.values == pytest.approx(theirs.best_alpha.values, rel=1e-4, nan_ok=True)
    for name in ("r", "r2", "cv_score"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4)


def test_solvers_agree_on_the_phantom(phantom_tree):
    """Drawn pictures, a trained vision transformer and simulated voxels."""
    responses = nsd.load_responses(phantom_tree / "nsd", 1, progress_bar=False)
    ids = np.concatenate([responses.train_nsd_id.values, responses.test_nsd_id.values])
    row = model_row("vit-h")
    adapter = load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu")
    features, _ = Extractor(adapter, nsd.StimulusBrick(phantom_tree / "nsd"), ()).block(ids)
    layers = next(iter(features.values()))[0]
    depth = np.arange(len(layers)) / (len(layers) - 1)
    spaces = pd.DataFrame(
        {"component": "vision", "instruction": "none", "layer": range(len(layers)), "depth": depth}
    )
    position = {nsd_id: i for i, nsd_id in enumerate(ids)}
    study = responses, spaces, lambda space, ids: layers[space.layer][[position[i] for i in ids]]
    settings = load_settings()
    ours, theirs = (
        encoding.fit_encoding(
            spaces, study[2], responses, settings.alphas(), EncodingSettings(solver=solver, device="cpu"),
            progress_bar=False,
        )[0]
        for solver in ("brainalign", "himalaya")
    )  # fmt: skip
    step = np.abs(np.log10(ours.best_alpha / theirs.best_alpha)).values / (3 / 59)
    differs = step > 0.01
    tie = np.abs(ours.cv_score - theirs.cv_score).values < 1e-6  # then the processor's rounding decides
    assert np.nanmax(step) < 1.01 and np.nanmean(differs & ~tie) <= 0.001 and np.nanmean(differs) <= 0.005
    for name in ("r", "r2"):
        np.testing.assert_allclose(ours[name].values[~differs], theirs[name].values[~differs], atol=1e-3)
    assert np.nanmedian(ours.r.max("space")) > 0.1, "nothing is predicted"


def test_planted_space_wins_and_keeps_its_predictions(study):
    scores, predictions = fit(study, keep_for={"first": np.arange(N_VOXELS) < 10})
    assert (scores.r[1] > scores.r[0] + 0.3)[np.isfinite(scores.r[1])].all()
    assert list(predictions.layer.values) == [1]
    kept = np.isfinite(predictions.prediction.values[0]).all(0)
    again = encoding.scoring.correlation(
        encoding.targets(study[0])[1][:, kept], predictions.prediction.values[0][:, kept]
    )
    np.testing.assert_allclose(again, scores.r.values[1][kept], atol=1e-3)


def test_missing_stimuli_are_filled_or_drop_the_voxel(study):
    train, test = encoding.targets(study[0])
    assert np.isfinite(train[:, 1]).all()
    np.testing.assert_allclose(train[:3, 1], 0, atol=1e-6)
    assert np.isnan(train[:, 2]).all()
    assert np.isnan(test[:, 2]).all()
    scores, _ = fit(study)
    assert np.isnan(scores.r.values[:, 2]).all()
    assert np.isfinite(np.delete(scores.r.values, 2, axis=1)).all()


def test_test_set_is_standardised_by_the_training_set():
    rng = np.random.default_rng(0)
    train, test = rng.normal(5, 2, (40, 3)), rng.normal(9, 2, (11, 3))
    a, b = encoding.standardise(train, test)
    np.testing.assert_allclose(a.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(b, (test - train.mean(0)) / train.std(0), rtol=1e-5)
    constant, _ = encoding.standardise(np.ones((5, 2)), np.zeros((2, 2)))
    assert (constant == 0).all()


def test_shuffled_rows_predict_nothing(study):
    responses, spaces, read = study
    settings = EncodingSettings(n_folds=4, device="cpu")
    null = encoding.shuffled_scores(spaces.iloc[1], read, responses, ALPHAS, settings, n_shuffles=6, seed=3)
    assert null.r.shape == (6, N_VOXELS)
    assert abs(float(null.r.mean())) < 0.1
    assert len(np.unique(null.r.values[:, 0].round(6))) == 6


def test_samples_start_with_the_observed_alignment(study):
    scores, predictions = fit(
        study, keep_for={"first": np.arange(N_VOXELS) < 10, "second": np.arange(N_VOXELS) >= 10}
    )
    target = encoding.targets(study[0])[1]
    samples = intervals.region_samples(predictions, scores, target, ["first", "second"], n_bootstraps=50)
    assert samples.shape == (51, 1, 2)
    masks = study[0].roi_mask.values
    expected = [np.nanmean(scores.r.values[1][m] / np.sqrt(0.8)) for m in masks]
    np.testing.assert_allclose(samples[0, 0], expected, atol=2e-3)
    spread = samples[1:, 0].std("sample")
    assert (spread > 1e-3).all() and (spread < 0.1).all()


def test_constant_predictions_have_no_score():
    rng = np.random.default_rng(2)
    n_test, n_voxels = 30, 8
    coords = {
        "instruction": ("space", ["a", "b"]),
        "layer": ("space", [0, 0]),
        "depth": ("space", [0.0, 0.0]),
    }
    masks = xr.DataArray(np.ones((1, n_voxels), bool), dims=("roi", "voxel"), coords={"roi": ["all"]})
    cv_score = (("space", "voxel"), np.full((2, n_voxels), 0.1))
    ceiling = ("voxel", np.full(n_voxels, 0.5))
    more = {"component": ("space", ["x", "x"]), "roi_mask": masks, "noise_ceiling": ceiling}
    scores = xr.Dataset({"cv_score": cv_score, "r": cv_score}, coords=coords | more)
    target = rng.standard_normal((n_test, n_voxels)).astype(np.float32)
    values = np.stack([target, np.ones_like(target)])
    coords["test_nsd_id"] = ("test_stimulus", np.arange(n_test))
    predictions = xr.Dataset({"prediction": (("space", "test_stimulus", "voxel"), values)}, coords=coords)
    samples = intervals.region_samples(predictions, scores, target, ["all"], n_bootstraps=20)
    assert np.isfinite(samples.sel(instruction="a")).all()
    assert np.isnan(samples.sel(instruction="b")).all()


def test_test_features_by_their_own_statistics():
    rng = np.random.default_rng(1)
    train, test = rng.normal(2, 3, (40, 4)), rng.normal(5, 1, (9, 4))
    ours, theirs = encoding.standardise(train, test), encoding.standardise(train, test, "test")
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(theirs[1].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(theirs[1].std(0), 1, atol=1e-6)
    np.testing.assert_allclose(ours[1], (test - train.mean(0)) / train.std(0), rtol=1e-5)
