"""Banded ridge against himalaya, against its parts, and where samples are few."""

import numpy as np
import pytest
import torch
from himalaya.backend import set_backend
from himalaya.ridge import solve_group_ridge_random_search

from voxelridge import BandedRidgeCV, RidgeCV
from voxelridge.banded import Bands, candidate_weightings, posterior
from voxelridge.inputs import make_folds

pytestmark = pytest.mark.filterwarnings("ignore:.*of targets choose:UserWarning")
ALPHAS = np.logspace(0, 4, 20)
WEIGHTINGS = np.array([[1, 1, 1], [8, 1, 1], [1e-9, 1, 1], [1, 1, 8]]) / [[3], [10], [2], [10]]


def simulate(n_samples, sizes, n_targets=20, dtype="float64", noise=2.0, seed=0):
    """Targets of the first band; the others are noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, sum(sizes)))
    Y = X[:, : sizes[0]] @ rng.standard_normal((sizes[0], n_targets)) / np.sqrt(sizes[0])
    Y += noise * rng.standard_normal(Y.shape)
    return X.astype(dtype), Y.astype(dtype), np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("sizes", [(11, 7, 5), (90, 60, 30)], ids=["primal", "dual"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_best_candidate_is_that_of_himalaya(sizes, fit_intercept):
    X, Y, bands = simulate(150, sizes)
    X, Y = X + 2 * fit_intercept, Y + 3 * fit_intercept
    set_backend("torch")
    Xs = [torch.as_tensor(X[:, bands == band]) for band in range(3)]
    _, coef, cv_scores = solve_group_ridge_random_search(
        Xs,
        torch.as_tensor(Y),
        torch.as_tensor(WEIGHTINGS),
        alphas=torch.as_tensor(ALPHAS),
        return_weights=True,
        fit_intercept=fit_intercept,
        progress_bar=False,
        warn=False,
    )[:3]
    model = BandedRidgeCV(
        ALPHAS, bands=bands, weightings=WEIGHTINGS, average=False, fit_intercept=fit_intercept
    )
    model.fit(X, Y)
    np.testing.assert_allclose(model.cv_scores_, cv_scores.max(0).values, atol=1e-6)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    np.testing.assert_allclose(model.weights_.T, WEIGHTINGS[cv_scores.argmax(0)], atol=1e-12)


@pytest.mark.parametrize("n_features", [20, 300])
def test_one_band_without_averaging_is_plain_ridge(n_features):
    X, Y, _ = simulate(120, (n_features,))
    banded, plain = (model.fit(X, Y) for model in (BandedRidgeCV(ALPHAS, average=False), RidgeCV(ALPHAS)))
    np.testing.assert_array_equal(banded.best_alphas_, plain.best_alphas_)
    np.testing.assert_allclose(banded.predict(X), plain.predict(X), atol=1e-8)
    assert banded.edge_proportions_ == plain.edge_proportions_


def test_errors_of_every_weighting_and_penalty_are_those_of_plain_ridge():
    X, Y, bands = simulate(100, (6, 5))
    members = [np.flatnonzero(bands == band) for band in (0, 1)]
    folds = make_folds(5, len(X))
    data = Bands(torch.as_tensor(X), None, torch.as_tensor(Y), members, folds, ALPHAS)
    errors, _ = data.errors([0.2, 0.8])
    scaled = X * np.sqrt([0.2, 0.8])[bands]
    for k in (0, 7, 19):
        plain = RidgeCV(ALPHAS[[k]]).fit(scaled, Y)
        np.testing.assert_allclose(errors[k], -plain.cv_scores_, atol=1e-6)


@pytest.mark.parametrize("sizes", [(11, 7), (90, 60)], ids=["primal", "dual"])
def test_a_mixture_is_the_mean_of_its_fits(sizes):
    X, Y, bands = simulate(100, sizes, n_targets=3)
    alphas, rng = np.array([1.0, 30.0, 900.0]), np.random.default_rng(1)
    mixture = rng.dirichlet(np.ones(3), 3).T
    members = [np.flatnonzero(bands == band) for band in (0, 1)]
    data = Bands(torch.as_tensor(X), None, torch.as_tensor(Y), members, make_folds(5, len(X)), alphas)
    ((targets, full, shrunk),) = data.refit([1.0, 0.0], mixture)
    expected = sum(
        RidgeCV([a]).fit(X[:, members[0]], Y).coef_ * m for a, m in zip(alphas, mixture, strict=True)
    )
    np.testing.assert_allclose(full.coef(shrunk), expected, atol=1e-7)
    assert targets.tolist() == [0, 1, 2]


def test_single_precision_agrees_with_double():
    X, Y, bands = simulate(150, (40, 30, 20))
    single, double = (BandedRidgeCV(ALPHAS, bands=bands).fit(X.astype(d), Y.astype(d)) for d in ("f4", "f8"))
    np.testing.assert_allclose(single.predict(X), double.predict(X), atol=1e-3)
    np.testing.assert_allclose(single.weights_, double.weights_, atol=1e-3)


def test_probabilities():
    errors = 1 + np.random.default_rng(2).random((5, 7, 11))
    for average in (True, False):
        found = posterior(errors, 100, average)
        np.testing.assert_allclose(found.sum((0, 1)), 1)
        assert (found >= 0).all()
    best = found.reshape(-1, 11).argmax(0)
    np.testing.assert_array_equal(best, errors.reshape(-1, 11).argmin(0))
    sharp = posterior(errors, 100_000)
    np.testing.assert_allclose(sharp, found, atol=1e-6)  # with many samples the best candidate takes all
    assert np.isfinite(posterior(np.zeros((2, 3, 4)), 50)).all()  # constant targets


def test_weightings_sum_to_one_and_hold_every_band_alone():
    for n_bands in (1, 2, 3, 10):
        found = candidate_weightings(n_bands, 9)
        np.testing.assert_allclose(found.sum(1), 1)
        assert len(found) == (1 if n_bands == 1 else n_bands + 9)
        np.testing.assert_array_equal(found[:n_bands], np.eye(n_bands))


@pytest.mark.parametrize("n_samples", [40, 150])
def test_useless_bands_cost_little(n_samples):
    X, Y, bands = simulate(n_samples + 2000, (18, 18, 18, 18), n_targets=200, noise=1.0)
    train, test = slice(n_samples), slice(n_samples, None)
    alphas = np.logspace(-1, 6, 20)
    alone = RidgeCV(alphas).fit(X[train, :18], Y[train]).score(X[test, :18], Y[test])
    score = {
        average: BandedRidgeCV(alphas, bands=bands, average=average)
        .fit(X[train], Y[train])
        .score(X[test], Y[test])
        for average in (True, False)
    }
    assert score[True] > alone - 0.02
    assert score[True] > score[False]


def test_band_without_signal_gets_no_weight():
    X, Y, bands = simulate(400, (10, 50), noise=0.5)
    model = BandedRidgeCV(ALPHAS, bands=bands).fit(X, Y)
    assert (model.weights_[0] > 0.95).all()
