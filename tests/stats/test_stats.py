from itertools import permutations

import numpy as np
import pytest
import scipy.stats

from brainalign_utils.stats import scoring
from brainalign_utils.stats import tests as stats

N_STIMULI, N_VOXELS = 150, 4000


def null_data(seed, draw="normal", n_voxels=N_VOXELS):
    rng = np.random.default_rng(seed)
    return getattr(rng, draw)(size=(2, N_STIMULI, n_voxels))


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential"])
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_false_positive_rate_on_null_data(draw, alternative):
    """5 % +- 1 at p < .05, skewed data included; four thousand voxels have a standard error of .35 %."""
    y, p = null_data(0, draw)
    result = stats.permutation_test(y, p, 1000, alternative)
    assert abs(float((result.p < 0.05).mean()) - 0.05) < 0.01
    assert not (result.q < 0.05).any()


def test_power_and_false_discoveries_on_planted_effects():
    y, p = null_data(1)
    p[:, :1000] += 0.5 * y[:, :1000]  # r about .45
    result = stats.permutation_test(y, p, 5000)
    found = (result.q < 0.05).values
    assert found[:1000].mean() > 0.95
    assert found[1000:].sum() / found.sum() < 0.08
    assert result.attrs["n_permutations"] >= 5000


def test_tail_lets_few_true_voxels_pass_fdr():
    """With 1/(n + 1) as the least p, 5 voxels among 4000 could not pass; the tail formula lets them."""
    y, p = null_data(2)
    p[:, :5] += 1.5 * y[:, :5]
    result = stats.permutation_test(y, p, 1000)
    assert (result.q[:5] < 0.001).all()
    assert (stats.fdr(result.p_permutation)[:5] > 0.05).all()


def test_same_null_as_independent_shuffles():
    rng = np.random.default_rng(3)
    y, p = rng.exponential(size=(2, 41, 6))
    p += 0.15 * y
    result = stats.permutation_test(y, p, 41 * 500)
    zy, zp = scoring.zscore(y), scoring.zscore(p)
    null = np.stack([(zy[rng.permutation(41)] * zp).mean(0) for _ in range(20_000)])
    expected = stats.permutation_p(result.r, null)
    # both are Monte Carlo estimates from 20,000 shuffles
    np.testing.assert_allclose(result.p, expected, atol=5 * np.sqrt(0.25 * 2 / 20_000))


def test_tail_moments_are_exact():
    """All 40,320 orders of eight skewed numbers have the mean, variance and skewness that the tail uses."""
    rng = np.random.default_rng(4)
    x, y = rng.exponential(size=(2, 8))
    orders = np.array(list(permutations(range(8))))
    r = (scoring.zscore(x[:, None])[:, 0] * scoring.zscore(y[:, None])[:, 0][orders]).mean(1)
    g = stats.permutation_skewness(x[:, None], y[:, None]).item()
    assert (r.mean(), r.var(), scipy.stats.skew(r)) == pytest.approx((0, 1 / 7, g), abs=1e-9)
    assert abs(g) > 0.1


def test_tail_against_many_shuffles():
    """On skewed data the formula is within a factor of two down to p of about 5e-5."""
    rng = np.random.default_rng(5)
    y, p = rng.exponential(size=(2, N_STIMULI, 40))
    p += np.linspace(0, 0.35, 40) * y
    r = scoring.correlation(y, p)
    zy, zp = scoring.zscore(y).astype(np.float32), scoring.zscore(p).astype(np.float32)
    null = np.concatenate(list(stats._shuffled_scores(zy, zp, 2000, 6)))
    expected = stats.permutation_p(r, null)
    tested = expected > 5e-5  # at least 15 of 300,000 shuffles
    ratio = (stats.tail_probability(r, y, p) / expected)[tested]
    assert ratio.min() > 0.5 and ratio.max() < 2
    assert tested.sum() > 20 and expected[tested].min() < 5e-4


def test_block_size_does_not_matter_and_input_is_kept():
    y, p = null_data(7, n_voxels=37)
    before = y.copy()
    whole = stats.permutation_test(y, p, 300)
    parts = stats.permutation_test(y, p, 300, block_size=5)
    np.testing.assert_allclose(whole.p, parts.p, atol=1 / 300)
    np.testing.assert_array_equal(y, before)


def test_regions_are_tested_under_the_same_shuffles():
    rates = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        common = rng.normal(size=(2, N_STIMULI, 1))  # voxels share noise: no independent evidence
        y, p = common + rng.normal(size=(2, N_STIMULI, 11))
        weights = scoring.roi_weights(np.array([np.ones(11), np.zeros(11)]))
        result = stats.permutation_test(y, p, 300, roi_weights=weights)
        rates.append(float(result.roi_p[0]))
        assert np.isnan(result.roi_p[1]) and np.isnan(result.roi_score[1])
    assert result.roi_score[0].item() == pytest.approx(result.r.mean().item())
    assert scipy.stats.kstest(rates, "uniform").pvalue > 0.001


def test_undefined_voxels_stay_undefined():
    y, p = null_data(9, n_voxels=6)
    y[:, 2] = 1.0
    result = stats.permutation_test(y, p, 200, roi_weights=scoring.roi_weights(np.ones((1, 6))))
    for name in ("r", "p", "q", "p_permutation"):
        assert np.flatnonzero(np.isnan(result[name])).tolist() == [2]
    assert result.roi_score.item() == pytest.approx(np.nanmean(result.r))


def test_fdr_equals_scipy_and_ignores_nan():
    p = np.random.default_rng(10).uniform(size=(7, 5)) ** 3
    np.testing.assert_allclose(stats.fdr(p), scipy.stats.false_discovery_control(p.ravel()).reshape(7, 5))
    with_nan = np.r_[p.ravel(), np.nan, np.nan]
    np.testing.assert_allclose(stats.fdr(with_nan)[:-2], stats.fdr(p).ravel())
    assert np.isnan(stats.fdr(with_nan)[-2:]).all() and np.isnan(stats.fdr([np.nan])).all()


def test_wilcoxon_says_what_it_can_reach():
    four = stats.wilcoxon_subjects([0.3, 0.2, 0.5, 0.1, np.nan])
    assert (four.p, four.smallest_p, four.n_subjects, four.n_positive) == (0.125, 0.125, 4, 4)
    assert not four.can_reach and stats.wilcoxon_subjects(np.arange(1, 8)).can_reach
    values = np.random.default_rng(11).normal(size=9)
    assert stats.wilcoxon_subjects(values).p == pytest.approx(scipy.stats.wilcoxon(values).pvalue)
    assert stats.wilcoxon_subjects([0.0, 0.0]).p == 1
    with pytest.raises(stats.StatsError, match="at least one subject"):
        stats.wilcoxon_subjects([np.nan])


def test_combined_p():
    p = [0.02, 0.2, 0.4]
    assert stats.combine_p(p) == pytest.approx(scipy.stats.combine_pvalues(p, "stouffer").pvalue)
    assert stats.combine_p([*p, np.nan], "fisher") == pytest.approx(scipy.stats.combine_pvalues(p).pvalue)
    assert np.isnan(stats.combine_p([np.nan]))


def test_subject_interval_covers():
    rng = np.random.default_rng(12)
    bounds = np.array([stats.subject_interval(v) for v in rng.normal(1.5, 1, (2000, 4))])
    assert ((bounds[:, 0] < 1.5) & (bounds[:, 1] > 1.5)).mean() == pytest.approx(0.95, abs=0.015)
    assert np.isnan(stats.subject_interval([1.0, np.nan])).all()


def test_unknown_alternative():
    with pytest.raises(stats.StatsError, match="'less'; choose 'greater'"):
        stats.permutation_test(*null_data(0, n_voxels=2), alternative="less")
