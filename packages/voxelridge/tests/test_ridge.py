"""Plain ridge against himalaya, scikit-learn and scipy, identities, and planted weights."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from himalaya.backend import set_backend
from himalaya.ridge import RidgeCV as HimalayaRidgeCV
from himalaya.scoring import correlation_score, l2_neg_loss, r2_score
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, PredefinedSplit, RepeatedKFold, ShuffleSplit, TimeSeriesSplit

from voxelridge import RidgeCV
from voxelridge.filters import choose_nodes, filter_factors, filtered_products, plan_spectrum
from voxelridge.folds import cheaper_form
from voxelridge.inputs import check_alphas, make_folds

ALPHAS = np.logspace(1, 4, 60)
SCORES = {"mse": l2_neg_loss, "r2": r2_score, "r": correlation_score}
N_TEST = 83
FORMS, ROUTES = ("primal", "dual"), ("spectral", "downdate")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def simulate(n_samples=301, n_features=67, n_targets=1009, kind="white", dtype="float64", seed=0):
    """Responses with signal-to-noise ratios over two decades; features white, decaying or ill-conditioned."""
    rng = np.random.default_rng(seed)
    n = n_samples + N_TEST
    X = rng.standard_normal((n, n_features))
    if kind != "white":
        X *= np.logspace(0, -1.5, n_features)
    if kind == "ill":
        X += 50 * rng.standard_normal((n, 1))
    if kind == "duplicated":
        X[:, n_features // 2 :] = X[:, : n_features - n_features // 2]
    weights = rng.standard_normal((n_features, n_targets))
    signal = X @ weights
    Y = signal / signal.std(0) + rng.standard_normal(signal.shape) * np.exp(rng.uniform(-1, 3, n_targets))
    Y = (Y - Y.mean(0)) / Y.std(0)
    X, Y = X.astype(dtype), Y.astype(dtype)
    return X[:n_samples], Y[:n_samples], X[n_samples:], Y[n_samples:]


def himalaya(X, Y, alphas=ALPHAS, scoring="mse", fit_intercept=False, cv=5):
    """The reference, in double precision."""
    set_backend("torch")
    model = HimalayaRidgeCV(
        alphas=torch.as_tensor(alphas, dtype=torch.float64),
        cv=cv,
        fit_intercept=fit_intercept,
        solver_params={"score_func": SCORES[scoring], "n_alphas_batch": 20, "warn": False},
    )
    return model.fit(torch.as_tensor(X, dtype=torch.float64), torch.as_tensor(Y, dtype=torch.float64))


def fit(X, Y, alphas=ALPHAS, form=None, route=None, cv=5, groups=None, **options):
    """As RidgeCV.fit, by a given form and route."""
    model = RidgeCV(alphas, cv=cv, **options)
    X, Y = model._checked(X, Y)
    model._fit(X, Y, check_alphas(alphas), make_folds(cv, len(X), Y, groups, model.scoring), form, route)
    return model


def assert_agrees(model, X, Y, X_test, **options):
    """The same penalties, scores and predictions; another penalty only where the reference has a tie."""
    reference = himalaya(X, Y, **options)
    scores, best = (np.asarray(a, dtype=float) for a in (reference.cv_scores_, reference.best_alphas_))
    assert np.abs(model.cv_scores_ - scores).max() < 1e-5
    same = np.isclose(model.best_alphas_, best, rtol=1e-4)
    for alpha in np.unique(model.best_alphas_[~same]):
        here = ~same & (model.best_alphas_ == alpha)
        there = himalaya(X, Y[:, here], **{**options, "alphas": [alpha]})
        single_r = model.scoring == "r" and X.dtype == np.float32
        assert (scores[here] - np.asarray(there.cv_scores_)).max() < (1e-5 if single_r else 1e-6)
    expected = reference.predict(torch.as_tensor(X_test, dtype=torch.float64)).numpy()
    error = np.abs(model.predict(X_test) - expected).max(0)
    scale = expected.std(0) + 1e-3 * np.abs(expected).max()
    assert not same.any() or (error / scale)[same].max() < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "n_features"),
    [("white", 67), ("decaying", 150), ("ill", 67), ("duplicated", 90), ("white", 330), ("ill", 330)],
)
def test_agrees_with_himalaya(kind, n_features, dtype):
    X, Y, X_test, _ = simulate(n_features=n_features, kind=kind, dtype=dtype)
    for route in (None, *ROUTES):
        model = fit(X, Y, route=route)
        assert model.predict(X_test).dtype == dtype
        assert_agrees(model, X, Y, X_test)


@pytest.mark.parametrize("n_features", [67, 330])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("scoring", "fit_intercept"), [("r2", False), ("r2", True), ("r", False), ("r", True), ("mse", True)]
)
def test_scoring_and_intercept_agree_with_himalaya(scoring, fit_intercept, dtype, n_features):
    X, Y, X_test, _ = simulate(n_features=n_features, seed=1, dtype=dtype)
    if fit_intercept:
        X, X_test, Y = X + 3, X_test + 3, Y - 2
    options = {"scoring": scoring, "fit_intercept": fit_intercept}
    for route in (None, *ROUTES):
        assert_agrees(fit(X, Y, route=route, **options), X, Y, X_test, **options)


def drawn(seed):
    """A problem of any shape, conditioning, scale, precision and score."""
    rng = np.random.default_rng(seed)
    n, n_targets, n_folds = (int(rng.integers(*bounds)) for bounds in ((30, 400), (1, 200), (2, 8)))
    n_features = int(np.exp(rng.uniform(np.log(3), np.log(900))))
    spectrum = np.logspace(0, -rng.uniform(0, 6), n_features)  # condition of X'X from 1 to 1e12
    rotation = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    X = (rng.standard_normal((n + N_TEST, n_features)) * spectrum) @ rotation * 10 ** rng.uniform(-2, 3)
    if rng.random() < 0.3:
        X[:, 0] += rng.choice([30, 3000]) * X.std()
    Y = X @ rng.standard_normal((n_features, n_targets))
    Y = Y / Y.std(0) * rng.uniform(0, 1.5, n_targets) + rng.standard_normal(Y.shape)
    scale = np.square(X[:n]).sum() / min(n, n_features)
    alphas = scale * np.logspace(rng.uniform(-8, -2), rng.uniform(0, 3), int(rng.integers(5, 60)))
    dtype, scoring = rng.choice(["float32", "float64"]), rng.choice(["mse", "r2", "r"])
    options = {"alphas": alphas, "cv": n_folds, "fit_intercept": bool(rng.integers(2)), "scoring": scoring}
    return X[:n].astype(dtype), Y[:n].astype(dtype), X[n:].astype(dtype), options


@pytest.mark.parametrize(
    "seed", [*range(1000, 1020), *(pytest.param(s, marks=pytest.mark.slow) for s in range(1020, 1200))]
)
def test_agrees_with_himalaya_on_drawn_problems(seed):
    X, Y, X_test, options = drawn(seed)
    assert_agrees(fit(X, Y, **options), X, Y, X_test, **options)


@pytest.mark.parametrize("n_features", [43, 500])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_single_alpha_is_sklearn_and_scipy(n_features, fit_intercept):
    X, Y, X_test, _ = simulate(n_features=n_features, n_targets=7)
    X, Y = X + 1, Y + 2
    model = fit(X, Y, [17.0], fit_intercept=fit_intercept)
    expected = Ridge(alpha=17.0, fit_intercept=fit_intercept).fit(X, Y)
    np.testing.assert_allclose(model.coef_, expected.coef_.T, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=1e-8)
    np.testing.assert_allclose(model.predict(X_test), expected.predict(X_test), rtol=1e-7, atol=1e-8)
    if not fit_intercept:
        normal = X.T @ X + 17.0 * np.eye(n_features)
        coef = scipy.linalg.solve(normal, X.T @ Y, assume_a="pos")
        np.testing.assert_allclose(model.coef_, coef, rtol=1e-7, atol=1e-9)


def sklearn_scores(X, Y, alphas, cv, fit_intercept):
    """R2 of every alpha and target, averaged over splits."""
    scores = []
    for train, test in cv.split(X):
        for alpha in alphas:
            P = Ridge(alpha=alpha, fit_intercept=fit_intercept).fit(X[train], Y[train]).predict(X[test])
            scores.append(1 - ((Y[test] - P) ** 2).sum(0) / ((Y[test] - Y[test].mean(0)) ** 2).sum(0))
    return np.reshape(scores, (-1, len(alphas), Y.shape[1])).mean(0)


@pytest.mark.parametrize("n_features", [29, 470])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "cv",
    [
        KFold(5),
        ShuffleSplit(4, test_size=0.2, train_size=0.5, random_state=0),  # some samples in no part
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),  # overlapping tests
        TimeSeriesSplit(3),  # small training sets
        PredefinedSplit(np.arange(301) % 4 - 1),  # some samples always train
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_scores_of_any_splitter_are_those_of_sklearn(cv, fit_intercept, route, n_features):
    X, Y, _, _ = simulate(n_features=n_features, n_targets=5)
    alphas = np.array([3.0, 40.0, 500.0])
    model = fit(X + 1, Y, alphas, cv=cv, scoring="r2", tolerance=0, route=route, fit_intercept=fit_intercept)
    expected = sklearn_scores(X + 1, Y, alphas, cv, fit_intercept)
    np.testing.assert_allclose(model.cv_scores_, expected.max(0), atol=1e-9)
    np.testing.assert_array_equal(model.best_alphas_, alphas[expected.argmax(0)])


@pytest.mark.parametrize("n_features", [41, 480])
@pytest.mark.parametrize("block", [1, 3, 17])
def test_blocks_of_targets_do_not_change_results(n_features, block):
    X, Y, X_test, _ = simulate(n_features=n_features, n_targets=17, dtype="float32")
    whole, parts = fit(X, Y), fit(X, Y, n_targets_batch=block)
    np.testing.assert_array_equal(whole.best_alphas_, parts.best_alphas_)
    np.testing.assert_allclose(
        whole.predict(X_test), parts.predict(X_test), atol=2e-5
    )  # order of sums in BLAS


def test_permuted_targets_give_permuted_results():
    X, Y, X_test, _ = simulate(n_targets=31)
    order = np.random.default_rng(3).permutation(31)
    plain, permuted = fit(X, Y), fit(X, Y[:, order])
    np.testing.assert_array_equal(plain.best_alphas_[order], permuted.best_alphas_)
    np.testing.assert_allclose(plain.predict(X_test)[:, order], permuted.predict(X_test), atol=1e-10)


def test_scaling_features_scales_alpha():
    X, Y, X_test, _ = simulate(n_targets=13)
    plain, scaled = fit(X, Y), fit(2 * X, Y, 4 * ALPHAS)
    np.testing.assert_allclose(scaled.best_alphas_, 4 * plain.best_alphas_)
    np.testing.assert_allclose(scaled.predict(2 * X_test), plain.predict(X_test), atol=1e-9)


@pytest.mark.parametrize("n_features", [37, 460])
def test_primal_and_dual_agree(n_features):
    X, Y, X_test, _ = simulate(n_features=n_features, n_targets=19)
    primal, dual = (fit(X, Y, form=form) for form in FORMS)
    np.testing.assert_array_equal(primal.best_alphas_, dual.best_alphas_)
    np.testing.assert_allclose(primal.predict(X_test), dual.predict(X_test), atol=1e-8)
    np.testing.assert_allclose(primal.coef_, dual.coef_, atol=1e-8)


@pytest.mark.parametrize("shift", [0, 3000], ids=["centred", "large mean"])
@pytest.mark.parametrize("common", [0, 50], ids=["white", "dominant direction"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n_features", "form"), [(600, "dual"), (600, "primal"), (60, "dual"), (60, "primal")]
)
def test_coefficients_predict_as_the_model_does(n_features, form, dtype, fit_intercept, common, shift):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((250, n_features)) + common * rng.standard_normal((250, 1))
    Y = X[:, :40] @ rng.standard_normal((40, 30)) / 6 + rng.standard_normal((250, 30))
    X[:, 0] += shift
    X, Y = X.astype(dtype), Y.astype(dtype)
    model = fit(X[:200], Y[:200], np.logspace(0, 4, 20), form, fit_intercept=fit_intercept)
    predicted = model.predict(X[200:])
    by_coef = X[200:].astype(float) @ model.coef_.astype(float) + model.intercept_
    double = fit(
        X[:200].astype(float), Y[:200].astype(float), np.logspace(0, 4, 20), form, fit_intercept=fit_intercept
    )
    scale = predicted.std(0)
    assert np.abs((by_coef - predicted) / scale).max() < (2e-3 if dtype == "float32" else 1e-8)
    assert np.abs((double.predict(X[200:]) - predicted) / scale).max() < 2e-3


def test_recovers_known_weights():
    rng = np.random.default_rng(5)
    X, coef = rng.standard_normal((900, 23)), rng.standard_normal((23, 14))
    model = fit(X, X @ coef + 0.01 * rng.standard_normal((900, 14)), [1e-3, 1, 1e3])
    assert (model.best_alphas_ <= 1).all()
    np.testing.assert_allclose(model.coef_, coef, atol=5e-3)  # noise 0.01 / sqrt(900), and shrinkage


def test_noise_takes_the_largest_alpha_and_warns():
    rng = np.random.default_rng(6)
    X, Y = rng.standard_normal((300, 40)), rng.standard_normal((300, 50))
    Y[:, :10] = 3  # constant targets do not count
    with pytest.warns(UserWarning, match=r"0\.0% of targets.*100\.0% the largest; widen alphas"):
        model = RidgeCV([1, 10, 100]).fit(X, Y)
    assert model.edge_proportions_ == (0.0, 1.0)


def test_no_warning_inside_the_grid():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((200, 30))
    Y = X @ rng.standard_normal((30, 9)) + 5 * rng.standard_normal((200, 9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = RidgeCV(np.logspace(-3, 7, 50)).fit(X, Y)
    assert model.edge_proportions_ == (0.0, 0.0)


@pytest.mark.parametrize("scoring", SCORES)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_scores_of_a_constant_target_are_nan(scoring, fit_intercept):
    X, Y, X_test, Y_test = simulate(n_targets=8)
    Y[:, 3], Y_test[:, 3] = 1.5, 1.5
    model = fit(X, Y, scoring=scoring, fit_intercept=fit_intercept)
    others = np.delete(np.arange(8), 3)
    for scores in (model.cv_scores_, model.score_per_target(X_test, Y_test)):
        assert np.isnan(scores[3]) and np.isfinite(scores[others]).all()
    assert model.score(X_test, Y_test) == pytest.approx(model.score_per_target(X_test, Y_test)[others].mean())
    alone = fit(X, Y[:, others], scoring=scoring, fit_intercept=fit_intercept)
    np.testing.assert_allclose(model.predict(X_test)[:, others], alone.predict(X_test), atol=1e-9)
    if fit_intercept:
        np.testing.assert_allclose(model.predict(X_test)[:, 3], 1.5)


def test_constant_and_duplicated_features_change_nothing():
    X, Y, X_test, _ = simulate(n_targets=6)
    plain = fit(X, Y, fit_intercept=True)
    more = [np.c_[A, np.full(len(A), 7.0), np.zeros(len(A))] for A in (X, X_test)]
    model = fit(more[0], Y, fit_intercept=True)
    np.testing.assert_allclose(model.predict(more[1]), plain.predict(X_test), atol=1e-8)
    np.testing.assert_allclose(model.coef_[-2:], 0, atol=1e-12)


def test_ill_conditioned_features_are_decomposed_in_double_precision():
    for kind, expected in (("ill", "float64"), ("white", "float32")):
        X, Y, _, _ = simulate(kind=kind, n_targets=4, dtype="float32")
        assert fit(X, Y).route_["eigh_dtype"] == expected


def test_fold_that_owns_a_direction_falls_back_to_one_decomposition_per_fold():
    X, Y, X_test, _ = simulate(n_targets=6)
    X[:, 0] = 0
    X[:5, 0] = 1e6  # only samples of the first fold know this feature
    model = fit(X, Y, route="downdate")
    assert model.route_["folds"] == "spectral"
    assert_agrees(model, X, Y, X_test)


def test_inputs_are_not_modified():
    arrays = simulate(n_targets=5)[:3]
    copies = [a.copy() for a in arrays]
    fit(*arrays[:2], fit_intercept=True, scoring="r").predict(arrays[2])
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(("smallest", "largest"), [(950, 25_000), (1e-3, 1e5), (1e-2, 3e6)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_compression_error_is_below_tolerance(smallest, largest, tolerance):
    eigenvalues = np.geomspace(smallest, largest, 307)
    nodes = choose_nodes(ALPHAS, smallest, largest, tolerance)
    assert len(nodes.nodes) <= 22
    at_nodes, everywhere = filter_factors(eigenvalues, nodes.nodes), filter_factors(eigenvalues, ALPHAS)
    scale = (eigenvalues + ALPHAS[0]) / (eigenvalues + nodes.nodes.min())
    at_nodes *= scale  # both relative to the smallest alpha of the whole grid
    np.testing.assert_allclose(nodes.weights @ at_nodes**2, everywhere**2, atol=3 * tolerance)
    plan = plan_spectrum(at_nodes, np.log2(eigenvalues), tolerance, torch.zeros(1, dtype=torch.float64))
    rng = np.random.default_rng(9)
    left, right = (
        torch.as_tensor(rng.standard_normal((5, 307))),
        torch.as_tensor(rng.standard_normal((307, 3))),
    )
    for factor, product in zip(at_nodes, filtered_products(left, right, plan), strict=True):
        exact = (left * torch.as_tensor(factor)) @ right
        assert (product - exact).abs().max() < 307 * 4 * tolerance
    assert plan.n_products < len(nodes.nodes)


def test_form_follows_shape():
    folds = make_folds(5, 100)
    assert [cheaper_form(100, p, folds) for p in (30, 80, 81, 500)] == ["primal", "primal", "dual", "dual"]
