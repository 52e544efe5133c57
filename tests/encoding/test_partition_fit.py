"""Variance partitions of simulated responses with planted unique and shared fractions."""

import numpy as np
import pytest
import torch

from brainalign_utils.encoding.algebra import normalise
from brainalign_utils.encoding.partitioning import bootstrap_roi, pair_weightings, partition_instructions
from voxelridge import BandedRidgeCV, RidgeCV

ALPHAS = np.logspace(0, 4, 25)
N_TRAIN, N_TEST, N_FEATURES = 1200, 300, 12
NAMES = ("one", "two", "three")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def planted(n_groups=20, voxels_per_group=15, seed=0, n_train=N_TRAIN):
    """Responses whose variance fractions are known.

    Latents: one of its own for each space and one that spaces "one" and "two" share; "three"
    is independent of both.  Every space holds its latents rotated, plus small noise.  A group
    of voxels has the same fractions: unique_one, unique_two, shared, unique_three.
    """
    rng = np.random.default_rng(seed)
    n = n_train + N_TEST
    own = {name: rng.standard_normal((n, N_FEATURES // 2)) for name in NAMES}
    common = rng.standard_normal((n, N_FEATURES // 2))
    features = {}
    for name in NAMES:
        latent = np.c_[own[name], common if name != "three" else rng.standard_normal((n, N_FEATURES // 2))]
        rotation = np.linalg.qr(rng.standard_normal((N_FEATURES, N_FEATURES)))[0]
        features[name] = latent @ rotation
    fractions = rng.dirichlet(np.ones(5), n_groups)[:, :4] * 0.9  # the rest is noise
    fractions[: n_groups // 4, 2] = 0  # groups without anything shared
    group = np.repeat(np.arange(n_groups), voxels_per_group)
    Y = np.zeros((n, len(group)))
    for source, share in zip([own["one"], own["two"], common, own["three"]], fractions.T, strict=True):
        signal = source @ rng.standard_normal((N_FEATURES // 2, len(group)))
        Y += signal / signal.std(0) * np.sqrt(share[group])
    Y += rng.standard_normal(Y.shape) * np.sqrt(1 - fractions.sum(1))[group]
    split = {name: (X[:n_train], X[n_train:]) for name, X in features.items()}
    return split, Y[:n_train], Y[n_train:], fractions, group


@pytest.fixture(scope="module")
def banded():
    torch.set_num_threads(1)
    features, Y, Y_test, fractions, group = planted()
    masks = {f"group {k}": group == k for k in range(len(fractions))}
    dataset = partition_instructions(
        features, Y, Y_test, ALPHAS, roi_masks=masks, noise_ceiling=np.full(Y.shape[1], 0.8), triples="all"
    )
    return dataset, fractions, group


def test_planted_fractions_lie_within_intervals(banded):
    dataset, fractions, _ = banded
    means = bootstrap_roi(dataset).sel(measure="raw", pair="one+two")
    hits = []
    for variable, truth in (("unique_a", 0), ("unique_b", 1), ("shared", 2)):
        low, high = (means[variable].sel(bound=b).values for b in ("low", "high"))
        hits.append((low <= fractions[:, truth]) & (fractions[:, truth] <= high))
        assert np.abs(means[variable].sel(bound="mean").values - fractions[:, truth]).mean() < 0.04
        assert (high - low).mean() < 0.2  # an interval that says something
    assert np.mean(hits) >= 0.9


def test_independent_pair_shares_nothing(banded):
    dataset, _, _ = banded
    shared = dataset.shared.sel(pair="one+three")
    # a little negative: the joint fit estimates each part with less noise than the single fits
    assert abs(float(shared.mean())) < 0.01
    means = bootstrap_roi(dataset).sel(measure="raw", pair="one+three").shared
    assert np.abs(means.sel(bound="mean")).max() < 0.04


def test_groups_without_shared_variance_show_none(banded):
    dataset, fractions, group = banded
    none = np.isin(group, np.flatnonzero(fractions[:, 2] == 0))
    assert abs(float(dataset.shared.sel(pair="one+two").values[none].mean())) < 0.015


def test_unique_against_all_others_recovers_the_planted_fraction(banded):
    dataset, fractions, _ = banded
    means = bootstrap_roi(dataset).sel(measure="raw", bound="mean").unique_vs_all
    for name, truth in (("one", 0), ("two", 1), ("three", 3)):
        assert np.abs(means.sel(instruction=name).values - fractions[:, truth]).mean() < 0.04


def test_parts_sum(banded):
    dataset, _, _ = banded
    total = dataset.unique_a + dataset.unique_b + dataset.shared
    np.testing.assert_allclose(total, dataset.r2_pair, atol=1e-12)
    np.testing.assert_allclose(dataset.triple_parts.sum("part"), dataset.r2_triple, atol=1e-12)
    np.testing.assert_allclose(dataset.split_a + dataset.split_b, dataset.r2_pair, atol=1e-5)  # float32
    assert dataset.r2_pair.dims == ("pair", "voxel") and dataset.sizes["pair"] == 3


def test_regions_average_voxels_raw_and_normalised(banded):
    dataset, _, group = banded
    first = dataset.r2_pair.values[:, group == 0]
    roi = dataset.roi_pair.sel(roi="group 0")
    np.testing.assert_allclose(roi.sel(measure="raw"), first.mean(1), atol=1e-9)
    expected = normalise(first, np.full(first.shape[1], 0.8)).mean(1)
    np.testing.assert_allclose(roi.sel(measure="normalised"), expected, atol=1e-9)


def test_banded_beats_concatenated_where_bands_differ():
    rng = np.random.default_rng(3)
    n = 150 + N_TEST
    good, noise = rng.standard_normal((n, 8)), rng.standard_normal((n, 90))
    Y = good @ rng.standard_normal((8, 40)) + 3 * rng.standard_normal((n, 40))
    features = {"good": (good[:150], good[150:]), "noise": (noise[:150], noise[150:])}
    unique = {}
    for estimator in ("banded", "concatenated"):
        dataset = partition_instructions(features, Y[:150], Y[150:], ALPHAS, estimator=estimator)
        unique[estimator] = float(dataset.unique_b.mean())
    assert unique["concatenated"] < -0.03  # kept and shown, not clipped
    assert abs(unique["banded"]) < 0.02


@pytest.mark.parametrize("n_features", [9, 170])
def test_concatenated_pair_is_one_ridge_fit(n_features):
    rng = np.random.default_rng(4)
    n_train, n_test = 220, 50
    bands = {k: rng.standard_normal((n_train + n_test, n_features)) for k in "ab"}
    X = np.concatenate(list(bands.values()), axis=1)
    Y = X @ rng.standard_normal((2 * n_features, 17)) + 5 * rng.standard_normal((len(X), 17))
    features = {k: (x[:n_train], x[n_train:]) for k, x in bands.items()}
    dataset = partition_instructions(
        features, Y[:n_train], Y[n_train:], ALPHAS, estimator="concatenated", tolerance=0
    )
    expected = RidgeCV(ALPHAS).fit(X[:n_train], Y[:n_train]).score_per_target(X[n_train:], Y[n_train:])
    np.testing.assert_allclose(dataset.r2_pair.values[0], expected, atol=1e-4)  # float32 inside
    np.testing.assert_allclose(dataset.r2_all, expected, atol=1e-4)
    np.testing.assert_allclose(dataset.r2_without.values[::-1], dataset.r2_single, atol=1e-5)


def test_himalaya_engine_takes_the_best_candidate():
    features, Y, Y_test, _, _ = planted(n_groups=5, voxels_per_group=4, seed=5, n_train=160)
    found = partition_instructions(
        features, Y, Y_test, ALPHAS, estimator="himalaya", n_ratios=5, n_weightings=2
    )
    X, X_test = (np.concatenate([features[name][k] for name in ("one", "two")], axis=1) for k in (0, 1))
    bands, pairs = np.repeat([0, 1], N_FEATURES), pair_weightings("banded", 5)
    for weightings, r2 in ((pairs, found.r2_pair[0]), ([[1, 0]], found.r2_single[0])):
        ours = BandedRidgeCV(ALPHAS, bands=bands, weightings=weightings, average=False).fit(X, Y)
        np.testing.assert_allclose(ours.score_per_target(X_test, Y_test), r2, atol=2e-3)


def test_tolerance_hardly_changes_results():
    features, Y, Y_test, _, _ = planted(n_groups=4, voxels_per_group=10, seed=6, n_train=300)
    exact, fast = (partition_instructions(features, Y, Y_test, ALPHAS, tolerance=t) for t in (0, 1e-4))
    assert float(np.abs(exact.r2_pair - fast.r2_pair).max()) < 5e-3
    assert float(np.abs(exact.shared.mean() - fast.shared.mean())) < 2e-4


def test_same_seed_same_result_and_constant_voxel_is_nan():
    features, Y, Y_test, _, _ = planted(n_groups=3, voxels_per_group=4, seed=7, n_train=100)
    Y[:, 5] = 1
    runs = [
        partition_instructions(features, Y, Y_test, ALPHAS, seed=1, roi_masks={"all": np.ones(12, bool)})
        for _ in range(2)
    ]
    assert runs[0].identical(runs[1])
    assert np.isnan(runs[0].r2_pair[:, 5]).all() and np.isfinite(runs[0].r2_pair[:, :5]).all()
    assert np.isfinite(runs[0].roi_pair).all()


def test_weightings_of_pairs_are_symmetric_and_sum_to_one():
    weights = pair_weightings("banded", 11)
    assert weights.shape == (11, 2)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(np.sort(weights[:, 0]), np.sort(weights[:, 1]))
    np.testing.assert_array_equal(pair_weightings("concatenated", 11), [[1, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": "pca"}, "estimator is 'pca'"),
        ({"features": {"a": (np.ones((20, 3)), np.ones((6, 3)))}}, "has 1 feature space"),
        ({"Y": np.ones((19, 4))}, r"features\['a'\] has shapes \(20, 3\)"),
        ({"triples": [("a", "b", "b")]}, "3 different ones"),
        ({"Y": np.full((20, 4), np.nan)}, "Y has values that are not finite"),
        ({"roi_masks": {"x": np.ones(3, bool)}}, "roi_masks have 3 voxels but Y_test has 4"),
    ],
)
def test_errors_say_what_to_do(change, message):
    rng = np.random.default_rng(8)
    features = {k: (rng.standard_normal((20, 3)), rng.standard_normal((6, 3))) for k in "ab"}
    arguments = {
        "features": features,
        "Y": rng.standard_normal((20, 4)),
        "Y_test": rng.standard_normal((6, 4)),
    }
    with pytest.raises(ValueError, match=message):
        partition_instructions(**{**arguments, "alphas": ALPHAS, **change})


def test_intervals_need_regions():
    features, Y, Y_test, _, _ = planted(n_groups=2, voxels_per_group=2, n_train=60)
    with pytest.raises(ValueError, match="pass roi_masks"):
        bootstrap_roi(partition_instructions(features, Y, Y_test, ALPHAS, n_ratios=3, n_weightings=1))
