import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from brainalign_utils.nsd import reliability
from brainalign_utils.nsd.design import RepeatMoments, zscore_session

TRUE_CEILING = np.array([0.0, 0.213, 0.429, 0.75, 0.923])  # of the mean of 3 trials


def simulate(rng, n_stimuli, ncsnr, n_repeats=3):
    """Trials (n_repeats, n_stimuli, n_voxels) of unit variance with a given ncsnr."""
    noise = 1 / np.sqrt(1 + ncsnr**2)
    signal = rng.normal(size=(n_stimuli, len(ncsnr))) * ncsnr * noise
    return signal + rng.normal(size=(n_repeats, n_stimuli, len(ncsnr))) * noise


def test_planted_ncsnr_is_recovered():
    rng = np.random.default_rng(0)
    true = np.sqrt(TRUE_CEILING / (3 * (1 - TRUE_CEILING)))
    n_stimuli = 2000
    unit = 10.0 ** np.arange(-2, 3)  # of each voxel: z-scores, percent signal change, stored values
    estimates = np.stack([
        reliability.estimate_ncsnr(unit * simulate(rng, n_stimuli, true) + 5) for _ in range(20)
    ])  # fmt: skip
    ceilings = reliability.noise_ceiling(estimates, 3)
    # Voxels with signal: within 4 standard errors of the mean of 20 runs.
    error = ceilings[:, 1:].std(0, ddof=1) / np.sqrt(20)
    assert (np.abs(ceilings[:, 1:].mean(0) - TRUE_CEILING[1:]) < 4 * error).all()
    # Pure noise: biased upwards by the clip at 0, to about 0.014 with 2000 x 3 trials.
    assert 0 < ceilings[:, 0].mean() < 0.03


def test_planted_value_through_the_session_zscore():
    """Raw percent signal change in sessions of 750 trials, with gain and offset of their own."""
    rng = np.random.default_rng(1)
    ncsnr = np.array([0.3, 0.6, 1.1])
    trials = simulate(rng, 750, ncsnr)  # 750 stimuli x 3 = 2250 trials = 3 sessions
    order = rng.permutation(2250)
    flat = trials.reshape(2250, 3)[order]
    rows = np.tile(np.arange(750), 3)[order]
    moments = RepeatMoments(750, 3, squares=True)
    for session in range(3):
        part = slice(750 * session, 750 * (session + 1))
        raw = np.round(300 * (2 + session + (1 + session) * flat[part])).astype(np.int16)
        moments.add(zscore_session(raw), rows[part])
    sd = np.array([0.052, 0.033, 0.055])  # of the estimate, over 40 simulations with other seeds
    assert (np.abs(reliability.ncsnr_from_moments(moments) - ncsnr) < 4 * sd).all()


def zscored(repeats):
    """Mean 0 and variance 1 over all trials of each voxel, as NSD's responses have them within a session."""
    return (repeats - repeats.mean((0, 1))) / repeats.std((0, 1), ddof=1)


def test_equals_the_published_formulas_voxel_by_voxel():
    """Allen et al. (2022) for z-scores; GLMsingle's example 9 for any unit."""
    rng = np.random.default_rng(2)
    raw = 3 * simulate(rng, 41, np.array([0.4, 0.9])) + 2
    repeats = zscored(raw)
    for voxel in range(2):
        v = np.sqrt(np.mean([np.var(repeats[:, i, voxel], ddof=1) for i in range(41)]))
        expected = np.sqrt(max(0, 1 - v**2)) / v
        assert_allclose(reliability.estimate_ncsnr(repeats)[voxel], expected, rtol=1e-6)
        noise = np.mean([np.var(raw[:, i, voxel], ddof=1) for i in range(41)])
        general = np.sqrt((np.var(raw[..., voxel], ddof=1) - noise) / noise)
        assert_allclose(reliability.estimate_ncsnr(raw)[voxel], general, rtol=1e-6)


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_moments_equal_the_array_estimate(block):
    rng = np.random.default_rng(3)
    repeats = zscored(simulate(rng, 37, np.array([0.2, 0.9, 1.5, 0.5, 0.1]))).astype(np.float32)
    moments = RepeatMoments(37, 5, squares=True)
    for repeat in repeats:
        moments.add(repeat, np.arange(37))
    # float32 sums against float64
    assert_allclose(
        reliability.ncsnr_from_moments(moments, block=block),
        reliability.estimate_ncsnr(repeats),
        rtol=1e-4,
        atol=1e-3,
    )


def test_missing_repeats_are_left_out_per_voxel():
    rng = np.random.default_rng(4)
    repeats = simulate(rng, 37, np.array([0.9, 0.9, 0.9])).astype(np.float32)
    repeats[:, 11:] = zscored(repeats[:, 11:])
    repeats[:2, :, 2] = zscored(repeats[:2, :, 2:])[..., 0]
    repeats[1, :11, 1] = np.nan
    repeats[2, :, 2] = np.nan
    ncsnr = reliability.estimate_ncsnr(repeats)
    assert_allclose(ncsnr[1], reliability.estimate_ncsnr(repeats[:, 11:, 1:2])[0], rtol=1e-6)
    assert np.isnan(ncsnr[2])
    moments = RepeatMoments(37, 3, squares=True)
    for repeat in repeats:
        moments.add(repeat, np.arange(37))
    assert_allclose(reliability.ncsnr_from_moments(moments)[1:], ncsnr[1:], rtol=1e-4)
    pooled = reliability.ncsnr_from_moments(moments, min_repeats=2)
    assert_allclose(pooled[2], reliability.estimate_ncsnr(repeats[:2, :, 2:])[0], rtol=1e-4)


def test_ceiling_limits():
    ceiling = reliability.noise_ceiling(np.array([0, 1, np.inf, np.nan]), 3)
    assert_allclose(ceiling, [0, 0.75, 1, np.nan])
    assert ceiling.dtype == np.float32


def test_mixed_repeats_follow_the_formula():
    counts = np.repeat([3, 2, 1, 0], [13, 7, 5, 2])
    inverse = (13 / 3 + 7 / 2 + 5) / 25
    assert_allclose(reliability.mean_inverse_repeats(counts), inverse)
    assert_allclose(reliability.noise_ceiling([0.4], counts), 0.16 / (0.16 + inverse), rtol=1e-6)
    per_voxel = np.stack([counts, np.full(27, 3)], axis=1)
    assert_allclose(reliability.noise_ceiling([0.4, 0.4], per_voxel)[1], 0.16 / (0.16 + 1 / 3), rtol=1e-6)


def test_ceiling_is_the_r2_of_the_true_signal():
    """The identity that gives the number its meaning, with stimuli of 1, 2 and 3 trials."""
    rng = np.random.default_rng(5)
    n, ncsnr = 30000, 0.7
    counts = rng.integers(1, 4, n)
    signal = ncsnr * rng.normal(size=n)
    trials = signal + rng.normal(size=(3, n))
    trials[np.arange(3)[:, None] >= counts] = np.nan
    mean = np.nanmean(trials, axis=0)
    r2 = 1 - np.var(mean - signal) / np.var(mean)
    # standard error of an R2 near 0.5 with 30000 stimuli: about 0.004
    assert_allclose(reliability.noise_ceiling([ncsnr], counts)[0], r2, atol=0.015)


def test_too_few_repeats():
    with pytest.raises(reliability.ReliabilityError, match=r"shape \(1, 4, 5\).*at least 2 repeats"):
        reliability.estimate_ncsnr(np.zeros((1, 4, 5)))
    moments = RepeatMoments(4, 5, squares=True)
    moments.add(np.zeros((4, 5), np.float32), np.arange(4))
    with pytest.raises(reliability.ReliabilityError, match="at least 3 trials; the most any has is 1"):
        reliability.ncsnr_from_moments(moments)
    with pytest.raises(reliability.ReliabilityError, match="squares=True"):
        reliability.ncsnr_from_moments(RepeatMoments(4, 5))


def test_inputs_are_not_changed():
    rng = np.random.default_rng(6)
    repeats = simulate(rng, 9, np.array([0.5, 0.7]))
    kept = repeats.copy()
    reliability.estimate_ncsnr(repeats)
    assert_array_equal(repeats, kept)
