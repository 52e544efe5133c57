import numpy as np
import pytest
from himalaya.scoring import correlation_score, r2_score

from brainalign_utils.stats import resampling, scoring

N_STIMULI, N_VOXELS, N_ROIS = 31, 17, 3


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(N_STIMULI, N_VOXELS))
    return y, 0.6 * y + rng.normal(size=y.shape)


def test_equal_to_himalaya_and_numpy(pair):
    y, p = pair
    reference = [np.corrcoef(y[:, v], p[:, v])[0, 1] for v in range(N_VOXELS)]
    np.testing.assert_allclose(scoring.correlation(y, p), reference, rtol=1e-12)
    np.testing.assert_allclose(scoring.correlation(y, p), correlation_score(y, p), rtol=1e-10)
    np.testing.assert_allclose(scoring.r2(y, p), r2_score(y, p), rtol=1e-10)


def test_identities(pair):
    y, p = pair
    np.testing.assert_allclose(scoring.correlation(y, 3 * p + 7), scoring.correlation(y, p))
    np.testing.assert_allclose(scoring.correlation(y, -p), -scoring.correlation(y, p))
    np.testing.assert_allclose(scoring.r2(y, y), 1)
    np.testing.assert_allclose(scoring.r2(y, np.broadcast_to(y.mean(0), y.shape)), 0, atol=1e-12)


def test_zero_variance_and_nan_are_undefined(pair):
    y, p = (a.copy() for a in pair)
    y[:, 2] = 0.1  # a constant that floats cannot average exactly
    p[:, 5] = -3.3
    y[4, 7] = np.nan
    undefined = [2, 5, 7]
    assert np.isnan(scoring.correlation(y, p)[undefined]).all()
    assert np.isfinite(np.delete(scoring.correlation(y, p), undefined)).all()
    assert np.isnan(scoring.r2(y, p)[[2, 7]]).all() and np.isfinite(scoring.r2(y, p)[5])
    assert np.isnan(scoring.zscore(y)[:, [2, 7]]).all()


def test_weighted_correlation_is_correlation_of_the_resampled_images(pair):
    y, p = pair
    rng = np.random.default_rng(1)
    sample = rng.integers(0, N_STIMULI, (5, N_STIMULI))
    counts = np.stack([np.bincount(s, minlength=N_STIMULI) for s in sample])
    expected = [scoring.correlation(y[s], p[s]) for s in sample]
    np.testing.assert_allclose(resampling.weighted_correlation(counts, y, p), expected, atol=2e-5)
    np.testing.assert_allclose(
        resampling.weighted_correlation(np.ones((1, N_STIMULI)), y, p, np.float64)[0],
        scoring.correlation(y, p),
    )


def test_weighted_correlation_of_a_constant_group_is_undefined(pair):
    y, p = (a.copy() for a in pair)
    y[:9, 3] = y[0, 3]
    group = np.arange(N_STIMULI)[None] < 9
    r = resampling.weighted_correlation(group, y, p)
    assert np.isnan(r[0, 3]) and np.isfinite(np.delete(r[0], 3)).all()


def test_perfect_model_reaches_its_ceiling():
    rng = np.random.default_rng(2)
    n, ceiling = 20_000, np.array([0.05, 0.2, 0.5, 0.9])
    signal = rng.normal(size=(n, 4))
    y = np.sqrt(ceiling) * signal + np.sqrt(1 - ceiling) * rng.normal(size=(n, 4))
    alignment = scoring.normalised_alignment(scoring.correlation(y, signal), ceiling)
    # the standard error of r is 1 / sqrt(n), divided by the ceiling of r
    np.testing.assert_array_less(abs(alignment - 1), 4 / np.sqrt(n) / np.sqrt(ceiling))


def test_threshold_and_unknown_ceilings():
    r = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    ceiling = np.array([np.nan, 0.0, 0.049, 0.05, 0.25])
    alignment = scoring.normalised_alignment(r, ceiling, 0.05)
    assert np.isnan(alignment[:3]).all()
    np.testing.assert_allclose(alignment[3:], [0.4 / np.sqrt(0.05), 1.0])
    by_correlation = scoring.normalised_alignment(r, ceiling, 0.05, "correlation")
    np.testing.assert_allclose(by_correlation[3:], [8, 2])
    assert scoring.dropped_share(ceiling, 0.05) == pytest.approx(3 / 5)
    assert scoring.dropped_share(ceiling, 0.05, [0, 0, 0, 1, 1]) == 0
    assert np.isnan(scoring.dropped_share(ceiling, 0.05, np.zeros(5)))
    assert np.isnan(scoring.normalised_alignment(r, ceiling, 0.0)[:2]).all()  # 0 is no ceiling


def test_roi_means_counts_what_it_drops():
    values = np.array([1.0, 2.0, np.nan, 4.0, 10.0])
    masks = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    table = scoring.roi_means(values, masks, ["a", "b", "c"], subject=2, model="m").set_index("roi")
    assert list(table.n_voxels) == [3, 1, 0] and list(table.n_dropped) == [1, 1, 0]
    assert table.loc["a", "mean"] == 1.5 and table.loc["a", "sem"] == pytest.approx(0.5)
    assert table.loc["a", "share_dropped"] == pytest.approx(1 / 3)
    assert table.loc[["b", "c"], "mean"].isna().all() and list(table.absent) == [False, False, True]
    assert (table.subject == 2).all() and (table.model == "m").all()


@pytest.mark.parametrize("with_ceiling", [False, True])
def test_roi_weights_give_the_same_means(with_ceiling):
    rng = np.random.default_rng(3)
    r, ceiling = rng.uniform(0, 1, N_VOXELS), rng.uniform(0, 0.4, N_VOXELS)
    masks = rng.random((N_ROIS, N_VOXELS)) < 0.6
    masks[2] = False
    values = scoring.normalised_alignment(r, ceiling) if with_ceiling else r
    weights = scoring.roi_weights(masks, ceiling if with_ceiling else None)
    expected = scoring.roi_means(values, masks, "abc")["mean"]
    np.testing.assert_allclose(r @ weights, expected)
    valid = rng.random(N_VOXELS) < 0.7
    expected = scoring.roi_means(np.where(valid, values, np.nan), masks, "abc")["mean"]
    np.testing.assert_allclose(r @ scoring.restrict_weights(weights, valid), expected)


def test_inputs_are_not_changed(pair):
    y, p = pair
    before = y.copy(), p.copy()
    (
        scoring.correlation(y, p),
        scoring.r2(y, p),
        resampling.weighted_correlation(np.ones((2, N_STIMULI)), y, p),
    )
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(p, before[1])


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: scoring.correlation(np.ones((3, 2)), np.ones((2, 3))), r"\(3, 2\) and y_pred \(2, 3\)"),
        (lambda: scoring.r2(np.ones((1, 2)), np.ones((1, 2))), "1 stimuli; a score needs at least 2"),
        (
            lambda: scoring.normalised_alignment(np.ones(3), np.ones(4)),
            r"3 voxels and ceiling has shape",
        ),
        (lambda: scoring.normalised_alignment(np.ones(3), np.ones(3), kind="sd"), "'sd'; choose one of"),
        (lambda: scoring.roi_means(np.ones(3), np.ones((2, 4)), "ab"), r"\(2, 4\); expected \(2, 3\)"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(scoring.ScoringError, match=match):
        call()
