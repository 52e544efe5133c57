"""The ridge solver against himalaya, scikit-learn and scipy, identities, and planted weights."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from himalaya.backend import set_backend
from himalaya.ridge import RidgeCV as HimalayaRidgeCV
from himalaya.scoring import correlation_score, l2_neg_loss, r2_score
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.preprocessing import StandardScaler

from voxelridge import RidgeCV, solve_ridge_cv
from voxelridge.filters import choose_nodes, filter_factors, filtered_products, plan_spectrum
from voxelridge.gram import compute_grams, make_folds
from voxelridge.routes import cheaper_form

ALPHAS = np.logspace(1, 4, 60)
SCORES = {"mse": l2_neg_loss, "r2": r2_score, "r": correlation_score}
N_TEST = 83


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def simulate(n_stimuli=301, n_features=67, n_voxels=1009, kind="white", dtype="float64", seed=0):
    """Responses with signal-to-noise ratios over two decades; features white, decaying or ill-conditioned."""
    rng = np.random.default_rng(seed)
    n = n_stimuli + N_TEST
    X = rng.standard_normal((n, n_features))
    if kind != "white":
        X *= np.logspace(0, -1.5, n_features)
    if kind == "ill":
        X += 50 * rng.standard_normal((n, 1))
    if kind == "duplicated":
        X[:, n_features // 2 :] = X[:, : n_features - n_features // 2]
    weights = rng.standard_normal((n_features, n_voxels))
    signal = X @ weights
    Y = signal / signal.std(0) + rng.standard_normal(signal.shape) * np.exp(rng.uniform(-1, 3, n_voxels))
    Y = (Y - Y.mean(0)) / Y.std(0)
    X, Y = X.astype(dtype), Y.astype(dtype)
    return X[:n_stimuli], Y[:n_stimuli], X[n_stimuli:], Y[n_stimuli:]


def himalaya(X, Y, X_test, selection="mse", fit_intercept=False, cv=5):
    """Best alphas, cross-validation scores and predictions of the reference."""
    set_backend("torch")
    model = HimalayaRidgeCV(
        alphas=torch.as_tensor(ALPHAS.astype(X.dtype)),
        cv=cv,
        fit_intercept=fit_intercept,
        solver_params={"score_func": SCORES[selection], "n_alphas_batch": 20, "warn": False},
    )
    model.fit(torch.as_tensor(X), torch.as_tensor(Y))
    predictions = model.predict(torch.as_tensor(X_test)).numpy()
    return model.best_alphas_.numpy(), model.cv_scores_.numpy(), predictions


def steps(result, best_alphas):
    """Distance of best alphas in steps of the grid."""
    step = np.log(ALPHAS[1] / ALPHAS[0])
    return np.abs(np.log(result.best_alphas / best_alphas) / step).round().astype(int)


def assert_agrees(result, best_alphas, cv_scores, predictions):
    distance = steps(result, best_alphas)
    assert (distance == 0).mean() >= 0.999
    assert distance.max() <= 1
    assert np.abs(result.cv_scores - cv_scores).max() < 1e-4
    same = distance == 0
    error = np.abs(result.predictions - predictions).max(0) / predictions.std(0)
    assert error[same].max() < 1e-3


def fit(X, Y, X_test=None, alphas=ALPHAS, **options):
    return solve_ridge_cv(X, Y, alphas, X_test=X_test, **{"warn": False, **options})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "n_features"),
    [("white", 67), ("decaying", 150), ("ill", 67), ("duplicated", 90), ("white", 330), ("ill", 330)],
)
def test_agrees_with_himalaya(kind, n_features, dtype):
    X, Y, X_test, _ = simulate(n_features=n_features, kind=kind, dtype=dtype)
    reference, routes = himalaya(X, Y, X_test), ("spectral", "downdate")
    if (kind, dtype) == ("ill", "float32"):
        # rounding moves himalaya's own choice in 0.4 % of voxels (flat curves): the reference is
        # its answer to the same features in double precision
        reference, routes = himalaya(*(a.astype("float64") for a in (X, Y, X_test))), ("auto",)
    for route in routes:
        result = fit(X, Y, X_test, selection="mse", fold_route=route)
        assert result.predictions.dtype == dtype
        assert_agrees(result, *reference)


@pytest.mark.parametrize("n_features", [67, 330])
@pytest.mark.parametrize(
    ("selection", "fit_intercept"), [("r2", False), ("r2", True), ("r", False), ("r", True), ("mse", True)]
)
def test_selection_and_intercept_agree_with_himalaya(selection, fit_intercept, n_features):
    X, Y, X_test, _ = simulate(n_features=n_features, seed=1)
    if fit_intercept:
        X, X_test, Y = X + 3, X_test + 3, Y - 2
    reference = himalaya(X, Y, X_test, selection, fit_intercept)
    for route in ("spectral", "downdate"):
        result = fit(X, Y, X_test, selection=selection, fit_intercept=fit_intercept, fold_route=route)
        assert_agrees(result, *reference)


@pytest.mark.parametrize("selection", ["r2", "r"])
def test_float32_selection_agrees_with_himalaya(selection):
    X, Y, X_test, _ = simulate(dtype="float32", seed=2)
    reference = himalaya(*(a.astype("float64") for a in (X, Y, X_test)), selection)
    assert_agrees(fit(X, Y, X_test, selection=selection), *reference)


@pytest.mark.parametrize("n_features", [43, 500])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_single_alpha_is_sklearn_and_scipy(n_features, fit_intercept):
    X, Y, X_test, _ = simulate(n_features=n_features, n_voxels=7)
    X, Y = X + 1, Y + 2
    result = fit(X, Y, X_test, [17.0], fit_intercept=fit_intercept, return_weights=True)
    model = Ridge(alpha=17.0, fit_intercept=fit_intercept).fit(X, Y)
    np.testing.assert_allclose(result.weights, model.coef_.T, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(result.predictions, model.predict(X_test), rtol=1e-7, atol=1e-8)
    if not fit_intercept:
        normal = X.T @ X + 17.0 * np.eye(n_features)
        weights = scipy.linalg.solve(normal, X.T @ Y, assume_a="pos")
        np.testing.assert_allclose(result.weights, weights, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n_features", [29, 470])
@pytest.mark.parametrize("route", ["spectral", "downdate"])
def test_without_compression_scores_are_those_of_sklearn(n_features, route):
    X, Y, _, _ = simulate(n_features=n_features, n_voxels=5)
    alphas = np.array([3.0, 40.0, 500.0])
    result = fit(X, Y, alphas=alphas, tolerance=0, return_curve=True, fold_route=route)
    expected = np.zeros((3, 5))
    for train, test in KFold(5).split(X):
        for a, alpha in enumerate(alphas):
            P = Ridge(alpha=alpha, fit_intercept=False).fit(X[train], Y[train]).predict(X[test])
            expected[a] += (1 - ((Y[test] - P) ** 2).sum(0) / ((Y[test] - Y[test].mean(0)) ** 2).sum(0)) / 5
    np.testing.assert_allclose(result.curve, expected, atol=1e-9)


@pytest.mark.parametrize("n_features", [31, 450])
def test_standardize_uses_training_statistics_of_each_fold(n_features):
    X, Y, X_test, _ = simulate(n_features=n_features, n_voxels=6)
    X, X_test = (a * np.linspace(1, 9, n_features) + 5 for a in (X, X_test))
    result = fit(X, Y, X_test, [50.0], standardize=True, return_weights=True)
    expected = np.zeros(6)
    for train, test in KFold(5).split(X):
        scaler = StandardScaler().fit(X[train])
        model = Ridge(alpha=50.0).fit(scaler.transform(X[train]), Y[train])
        P = model.predict(scaler.transform(X[test]))
        expected += (1 - ((Y[test] - P) ** 2).sum(0) / ((Y[test] - Y[test].mean(0)) ** 2).sum(0)) / 5
    np.testing.assert_allclose(result.cv_scores, expected, atol=1e-8)
    scaler = StandardScaler().fit(X)
    model = Ridge(alpha=50.0).fit(scaler.transform(X), Y)
    np.testing.assert_allclose(result.predictions, model.predict(scaler.transform(X_test)), atol=1e-8)
    np.testing.assert_allclose(X_test @ result.weights + result.intercept, result.predictions, atol=1e-8)


@pytest.mark.parametrize("n_features", [41, 480])
@pytest.mark.parametrize("block", [1, 3, 17])
def test_voxel_blocks_do_not_change_results(n_features, block):
    X, Y, X_test, _ = simulate(n_features=n_features, n_voxels=17, dtype="float32")
    whole, parts = fit(X, Y, X_test), fit(X, Y, X_test, n_voxels_batch=block)
    np.testing.assert_array_equal(whole.best_alphas, parts.best_alphas)
    np.testing.assert_allclose(whole.predictions, parts.predictions, atol=2e-5)  # order of sums in BLAS


def test_permuted_voxels_give_permuted_results():
    X, Y, X_test, _ = simulate(n_voxels=31)
    order = np.random.default_rng(3).permutation(31)
    plain, permuted = fit(X, Y, X_test), fit(X, Y[:, order], X_test)
    np.testing.assert_array_equal(plain.best_alphas[order], permuted.best_alphas)
    np.testing.assert_allclose(plain.predictions[:, order], permuted.predictions, atol=1e-10)


def test_scaling_features_scales_alpha():
    X, Y, X_test, _ = simulate(n_voxels=13)
    plain, scaled = fit(X, Y, X_test), fit(2 * X, Y, 2 * X_test, 4 * ALPHAS)
    np.testing.assert_allclose(scaled.best_alphas, 4 * plain.best_alphas)
    np.testing.assert_allclose(scaled.predictions, plain.predictions, atol=1e-9)


@pytest.mark.parametrize("n_features", [37, 460])
def test_primal_and_dual_agree(n_features):
    X, Y, X_test, _ = simulate(n_features=n_features, n_voxels=19)
    primal, dual = (fit(X, Y, X_test, form=form, return_weights=True) for form in ("primal", "dual"))
    np.testing.assert_array_equal(primal.best_alphas, dual.best_alphas)
    np.testing.assert_allclose(primal.predictions, dual.predictions, atol=1e-8)
    np.testing.assert_allclose(primal.weights, dual.weights, atol=1e-8)


def test_weights_predict_and_are_linear_in_features():
    X, Y, X_test, _ = simulate(n_voxels=11)
    result = fit(X, Y, X_test, return_weights=True)
    parts = [X_test[:, :20] @ result.weights[:20], X_test[:, 20:] @ result.weights[20:]]
    np.testing.assert_allclose(sum(parts), result.predictions, atol=1e-10)
    given = np.zeros((X.shape[1], 11))
    fit(X, Y, return_weights=given, n_voxels_batch=4)
    np.testing.assert_allclose(given, result.weights, atol=1e-10)


def test_recovers_known_weights():
    rng = np.random.default_rng(5)
    X, weights = rng.standard_normal((900, 23)), rng.standard_normal((23, 14))
    result = fit(
        X, X @ weights + 0.01 * rng.standard_normal((900, 14)), alphas=[1e-3, 1, 1e3], return_weights=True
    )
    assert (result.best_alphas <= 1).all()
    np.testing.assert_allclose(result.weights, weights, atol=5e-3)  # noise 0.01 / sqrt(900), and shrinkage


def test_noise_takes_the_largest_alpha_and_warns():
    rng = np.random.default_rng(6)
    X, Y = rng.standard_normal((300, 40)), rng.standard_normal((300, 50))
    with pytest.warns(UserWarning, match=r"100\.0% the largest \(100\).*widen"):
        result = solve_ridge_cv(X, Y, [1, 10, 100])
    assert result.edge_share == (0.0, 1.0)


def test_no_warning_inside_the_grid():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((200, 30))
    Y = X @ rng.standard_normal((30, 9)) + 5 * rng.standard_normal((200, 9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_ridge_cv(X, Y, np.logspace(-3, 7, 50))


def test_constant_voxel_is_nan_and_leaves_others_alone():
    X, Y, X_test, _ = simulate(n_voxels=8)
    Y[:, 3] = 1.5
    result = fit(X, Y, X_test, return_weights=True, return_curve=True)
    others = np.delete(np.arange(8), 3)
    for values in (result.best_alphas, result.cv_scores, result.predictions, result.weights, result.curve):
        assert np.isnan(values[..., 3]).all() and np.isfinite(values[..., others]).all()
    np.testing.assert_allclose(result.predictions[:, others], fit(X, Y[:, others], X_test).predictions)


def test_single_voxel_and_single_test_stimulus():
    X, Y, X_test, _ = simulate(n_voxels=21)
    one = fit(X, Y[:, 4:5], X_test[:1])
    all_ = fit(X, Y, X_test)
    assert one.predictions.shape == (1, 1)
    assert one.best_alphas[0] == all_.best_alphas[4]
    np.testing.assert_allclose(one.predictions[0, 0], all_.predictions[0, 4])


def test_several_grids_share_one_run():
    X, Y, X_test, _ = simulate(n_voxels=12)
    grids = {"paper": ALPHAS, "wide": np.logspace(-2, 6, 30)}
    results = fit(X, Y, X_test, grids, return_curve=True)
    for name, grid in grids.items():
        alone = fit(X, Y, X_test, grid)
        np.testing.assert_array_equal(results[name].best_alphas, alone.best_alphas)
        np.testing.assert_allclose(results[name].predictions, alone.predictions, atol=1e-9)
        assert results[name].curve.shape == (len(grid), 12)


@pytest.mark.parametrize("n_features", [33, 440])
@pytest.mark.parametrize("route", ["spectral", "downdate"])
def test_fold_labels_lists_and_uncovered_stimuli(n_features, route):
    X, Y, X_test, _ = simulate(n_features=n_features, n_voxels=10)
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, len(X))
    folds = [np.flatnonzero(labels == k) for k in range(4)]
    by_label, by_list = (
        fit(X, Y, X_test, cv=cv, selection="mse", fold_route=route) for cv in (labels, folds)
    )
    np.testing.assert_array_equal(by_label.best_alphas, by_list.best_alphas)
    some = [(np.setdiff1d(np.arange(len(X)), fold), fold) for fold in folds[:2]]
    reference = himalaya(X, Y, X_test, cv=some)
    assert_agrees(fit(X, Y, X_test, cv=folds[:2], selection="mse", fold_route=route), *reference)


def test_groups_stay_together():
    groups = np.random.default_rng(8).integers(0, 12, 97)
    folds = make_folds(97, 3, groups)
    assert sorted(np.concatenate(folds)) == list(range(97))
    for fold in folds:
        assert not set(groups[fold]) & set(np.delete(groups, fold))
    sizes = sorted(len(test) for _, test in GroupKFold(3).split(groups, groups=groups))
    assert sorted(map(len, folds)) == sizes


def test_precomputed_grams_give_the_same_result():
    X, Y, X_test, _ = simulate(n_features=60, n_voxels=10)
    folds = make_folds(len(X), 5)
    grams = compute_grams(torch.as_tensor(X), folds, "primal")
    features, scales = np.arange(10, 55), np.linspace(0.5, 2, 45)
    shared = grams.select(features, scales)
    result = fit(X[:, features] * scales, Y, X_test[:, features] * scales, grams=shared)
    alone = fit(X[:, features] * scales, Y, X_test[:, features] * scales)
    np.testing.assert_array_equal(result.best_alphas, alone.best_alphas)
    np.testing.assert_allclose(result.predictions, alone.predictions, atol=1e-9)


@pytest.mark.parametrize(("form", "n_features"), [("primal", 60), ("dual", 400)])
def test_grams_are_shared_by_fits_on_the_same_features(form, n_features):
    X, Y, X_test, _ = simulate(n_features=n_features, n_voxels=10)
    grams = compute_grams(torch.as_tensor(X), make_folds(len(X), 5), form)
    for voxels in (slice(0, 6), slice(6, 10)):
        shared = fit(X, Y[:, voxels], X_test, grams=grams, form=form)
        alone = fit(X, Y[:, voxels], X_test, form=form)
        np.testing.assert_array_equal(shared.best_alphas, alone.best_alphas)
        np.testing.assert_allclose(shared.predictions, alone.predictions, atol=1e-9)


def test_estimator_predicts_as_the_function():
    X, Y, X_test, Y_test = simulate(n_voxels=15)
    model = RidgeCV(ALPHAS, fit_intercept=True, warn=False).fit(X, Y)
    np.testing.assert_allclose(
        model.predict(X_test), fit(X, Y, X_test, fit_intercept=True).predictions, atol=1e-9
    )
    assert model.score(X_test, Y_test).shape == model.best_alphas_.shape == (15,)
    with pytest.raises(ValueError, match="not fitted"):
        RidgeCV(ALPHAS).predict(X)


def test_ill_conditioned_features_are_solved_in_double_precision():
    X, Y, _, _ = simulate(kind="ill", n_voxels=4, dtype="float32")
    assert fit(X, Y).route["eigh_dtype"] == "float64"
    X, Y, _, _ = simulate(kind="white", n_voxels=4, dtype="float32")
    assert fit(X, Y).route["eigh_dtype"] == "float32"


def test_fold_that_owns_a_direction_falls_back_to_one_basis_a_fold():
    X, Y, X_test, _ = simulate(n_voxels=6)
    X[:, 0] = 0
    X[:5, 0] = 1e6  # only stimuli of the first fold know this feature
    result = fit(X, Y, X_test, fold_route="downdate", selection="mse")
    assert result.route["folds"] == "spectral"
    assert_agrees(result, *himalaya(X, Y, X_test))


def test_inputs_are_not_modified():
    X, Y, X_test, _ = simulate(n_voxels=5)
    copies = [a.copy() for a in (X, Y, X_test)]
    fit(X, Y, X_test, standardize=True, selection="r")
    for array, copy in zip((X, Y, X_test), copies, strict=True):
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
    folds = make_folds(100, 5)
    assert [cheaper_form(100, p, folds) for p in (30, 80, 81, 500)] == ["primal", "primal", "dual", "dual"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Y": np.ones((20, 3))}, "X has 30 stimuli but Y has 20"),
        ({"X": np.full((30, 4), np.nan)}, "X has values that are not finite in 4 of 4 columns"),
        ({"Y": np.full((30, 3), np.inf)}, "Y has values that are not finite in 3 of 3"),
        ({"X": np.ones(30)}, r"X has shape \(30,\)"),
        ({"X_test": np.ones((5, 6))}, "X_test has 6 features but X has 4"),
        ({"alphas": [0.0, 1.0]}, "must be positive"),
        ({"cv": 1}, "cv is 1"),
        ({"cv": np.zeros(7)}, r"cv has shape \(7,\)"),
        ({"cv": [[0, 1], [1, 2]]}, "disjoint"),
        ({"cv": [[0, 1], [29, 30]]}, "stimulus 30 but n_stimuli is 30"),
        ({"cv": 3, "groups": np.zeros(30)}, "1 groups but cv asks for 3"),
        ({"selection": "best"}, "selection is 'best'"),
        ({"standardize": True, "fold_route": "downdate"}, "needs fold_route='spectral'"),
    ],
)
def test_errors_say_what_to_do(change, message):
    rng = np.random.default_rng(10)
    arguments = {"X": rng.standard_normal((30, 4)), "Y": rng.standard_normal((30, 3)), "alphas": [1.0, 2.0]}
    with pytest.raises(ValueError, match=message):
        solve_ridge_cv(**{**arguments, **change})
