"""Fits under other choices: one fit for all analyses gives what a fit of each would."""

import numpy as np
import pytest

from brainalign_utils.encoding import fitting as encoding
from brainalign_utils.results import variants
from brainalign_utils.settings import load_settings
from brainalign_utils.stats import scoring

N_TRAIN, N_TEST, N_FEATURES, N_VOXELS = 120, 35, 11, 7


@pytest.fixture
def settings(tmp_path):
    return load_settings(build_root=tmp_path, encoding={"n_alphas": 7, "log10_alpha_min": 0})


def test_one_fit_serves_all_analyses(settings):
    rng = np.random.default_rng(0)
    X, X_test = (rng.gamma(2.0, size=(n, N_FEATURES)) for n in (N_TRAIN, N_TEST))
    X_test[:, 0] = 3.0 + 5.0 * X_test[:, 0]  # own statistics differ from those of training
    weights = rng.standard_normal((2, N_FEATURES, N_VOXELS))
    targets = []
    for w in weights:  # the two scalings of responses, here quite different ones
        both = [part @ w + rng.standard_normal((len(part), N_VOXELS)) for part in (X, X_test)]
        targets.append(tuple(np.float32(part) for part in both))
    targets[1][0][:, 3] = targets[1][1][:, 3] = np.nan
    r, cv = variants._scores(X, X_test, targets, settings)
    assert r.shape == cv.shape == (3, N_VOXELS)
    for i, (part, by) in enumerate(((0, "train"), (1, "train"), (1, "test"))):
        train, test = encoding.standardise(X, X_test, by)
        Y, Y_test = encoding.without_missing(*targets[part])
        fit = encoding.fit_brainalign(train, Y, test, settings.alphas(), settings.encoding)
        expected = scoring.correlation(Y_test, fit.predictions)
        np.testing.assert_allclose(r[i], expected, atol=1e-5)
        known = np.isfinite(targets[part][1][0])
        np.testing.assert_allclose(cv[i, known], np.asarray(fit.cv_scores)[known], atol=1e-5)
        assert np.isfinite(r[i]).tolist() == known.tolist()
    assert np.abs(r[2] - r[1])[np.isfinite(r[1])].max() > 0.01


def test_features_of_another_pooling_lie_in_a_folder_of_their_own(settings):
    other = variants.pooled_settings(settings, "last")
    assert other.features.pooling == "last" and other.instructions == ("IC",)
    assert other.paths.features("instructblip") != settings.paths.features("instructblip")
    assert settings.paths.root in other.paths.features("instructblip").parents
    assert (other.paths.nsd, other.paths.coco) == (settings.paths.nsd, settings.paths.coco)
    assert settings.features.pooling == "generated", "the study's own settings stay as they are"


def test_models_without_instructions_have_one_pooling(settings):
    assert variants.poolings_of(settings, "vit-h") == ["generated"]
    assert variants.poolings_of(settings, "instructblip") == [
        "generated", "prompt", "last", "image", "authors-all-tokens",
    ]  # fmt: skip
