import numpy as np
import pytest

from brainalign_utils.stats import paired, scoring
from brainalign_utils.stats import tests as stats

N_STIMULI, N_VOXELS = 150, 3000


def two_models(seed, gain_a=0.5, gain_b=0.5, n_voxels=N_VOXELS, noise_b="standard_normal", common=0.6):
    """Responses and two predictions with shared errors; equal gains are a null."""
    rng = np.random.default_rng(seed)
    shape = (N_STIMULI, n_voxels)
    y, shared = rng.normal(size=(2, *shape))
    a = gain_a * y + common * shared + rng.normal(size=shape)
    b = gain_b * y + common * shared + getattr(rng, noise_b)(size=shape)
    return y, a, b


@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_swap_false_positive_rate(gain):
    """5 % +- 1 at p < .05, whether or not both models predict (standard error .4 %)."""
    result = paired.swap_test(*two_models(0, gain, gain), n_permutations=1000)
    assert abs(float((result.p < 0.05).mean()) - 0.05) < 0.01
    assert float((result.q < 0.05).mean()) < 0.001


def test_swap_tail_lets_few_true_voxels_pass_fdr():
    """With 1/(n + 1) as the least p, 5 voxels among 3000 could not pass; the normal tail lets them."""
    y, a, b = two_models(12)
    a[:, :5] += 2.0 * y[:, :5]
    result = paired.swap_test(y, a, b, n_permutations=500)
    assert (result.q[:5] < 0.01).all() and (result.q[5:] < 0.05).mean() < 0.001


def test_swap_tail_agrees_with_many_swaps():
    """Voxels that few of 300 swaps reach: the tail gives the p of 60,000 swaps within a factor of 2."""
    y, a, b = two_models(13, gain_a=0.7, n_voxels=150)
    few = paired.swap_test(y, a, b, n_permutations=300).p.values
    many = paired.swap_test(y, a, b, n_permutations=60_000, block_size=50).p.values
    rare = (few < 10 / 301) & (many > 20 / 60_000)
    assert rare.sum() > 10
    assert np.median(np.abs(np.log2(few[rare] / many[rare]))) < 1


def test_swap_is_indifferent_to_units_and_antisymmetric():
    y, a, b = two_models(1, 0.6, 0.4, n_voxels=13)
    result = paired.swap_test(y, a, b, n_permutations=500)
    scaled = paired.swap_test(10 * y - 3, a, 1e4 * b + 5, n_permutations=500)
    turned = paired.swap_test(y, b, a, n_permutations=500)
    np.testing.assert_allclose(scaled.p, result.p, atol=0.003)
    np.testing.assert_allclose(turned.p, result.p, atol=0.003)
    np.testing.assert_allclose(turned.difference, -result.difference)


def test_swap_power_on_planted_differences():
    y, a, b = two_models(2, 0.5, 0.5)
    a[:, :500] += 0.6 * y[:, :500]
    result = paired.swap_test(y, a, b, n_permutations=2000)
    found = (result.q < 0.05).values
    assert found[:500].mean() > 0.9 and found[500:].sum() / found.sum() < 0.08
    assert (result.difference[:500] > 0).mean() > 0.99


def test_swapped_differences_equal_a_plain_loop():
    y, a, b = (scoring.zscore(v) for v in two_models(3, n_voxels=5))
    swaps = np.random.default_rng(0).integers(0, 2, (7, N_STIMULI)).astype(np.float32)
    fast = paired._swapped_differences(swaps, *(v.astype(np.float32) for v in (y, a, b)))
    for row, swap in zip(fast, swaps.astype(bool), strict=True):
        a2, b2 = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
        expected = scoring.correlation(y, a2) - scoring.correlation(y, b2)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_model_against_itself():
    y, a, _ = two_models(4, n_voxels=9)
    result = paired.swap_test(y, a, a, n_permutations=99)
    assert (result.p == 1).all() and (result.difference == 0).all()


def test_swap_blocks_nan_and_regions():
    y, a, b = two_models(5, 0.7, 0.4, n_voxels=19)
    a[:, 3] = 0.0
    masks = np.array([np.arange(19) < 8, np.arange(19) >= 8, np.zeros(19)])
    weights = scoring.roi_weights(masks)
    whole = paired.swap_test(y, a, b, weights, 400)
    parts = paired.swap_test(y, a, b, weights, 400, block_size=4)
    np.testing.assert_allclose(whole.p, parts.p, atol=1 / 400)
    np.testing.assert_allclose(whole.roi_null, parts.roi_null, atol=1e-6)
    assert np.flatnonzero(np.isnan(whole.p)).tolist() == [3]
    expected = np.nanmean(whole.difference.values[:8]), whole.difference.values[8:].mean()
    np.testing.assert_allclose(whole.roi_difference[:2], expected)
    assert np.isnan(whole.roi_p[2]) and (whole.roi_p[:2] < 0.01).all()


def combined_p(seed, gain_a, gain_b):
    rng = np.random.default_rng(seed)
    results = []
    content = rng.normal(size=(3, N_STIMULI, 1))  # what models get wrong is the same for all subjects
    for subject in range(4):
        y = content[0] + rng.normal(size=(N_STIMULI, 7 + subject))
        a, b = (g * y + content[i + 1] for i, g in enumerate((gain_a, gain_b)))
        weights = scoring.roi_weights(np.ones((1, y.shape[1])))
        results.append(paired.swap_test(y, a, b, weights, 200, seed=0))
    half = [float(r.roi_p[0]) / 2 for r in results]
    one_sided = [p if r.roi_difference[0] > 0 else 1 - p for p, r in zip(half, results, strict=True)]
    return paired.combine_subjects(results, ["roi"]).p[0], stats.combine_p(one_sided)


def test_combination_over_subjects_with_shared_images():
    """Joint swaps keep 5 % where Stouffer's sum, which takes subjects for independent, does not."""
    null = np.array([combined_p(seed, 0.5, 0.5) for seed in range(300)])
    assert (null[:, 0] < 0.05).mean() < 0.085  # standard error 1.3 %
    assert (null[:, 1] < 0.05).mean() > 0.12  # the nominal 5 % one-sided
    effect = np.array([combined_p(seed, 0.8, 0.4) for seed in range(40)])
    assert (effect[:, 0] < 0.05).mean() > 0.9


def test_subjects_are_resampled_together_on_the_images_that_they_share():
    """One subject lacks every tenth image, as after fewer sessions: samples still rise and fall together."""
    y, a, b = two_models(6, 0.8, 0.3, n_voxels=6)
    ids, kept = 100 + 3 * np.arange(N_STIMULI), np.arange(N_STIMULI) % 10 > 0
    weights = scoring.roi_weights(np.ones((1, 6)))
    boots, nulls = [], []
    for rows in (slice(None), kept):
        models = {"a": a[rows], "b": b[rows]}
        samples = paired.bootstrap_scores(y[rows], models, weights, 300, image_ids=ids[rows])
        boots.append(samples.values[1:, 0, 0])
        test = paired.swap_test(y[rows], a[rows], b[rows], weights, 300, image_ids=ids[rows])
        nulls.append(test.roi_null.values[:, 0])
    assert np.corrcoef(boots)[0, 1] > 0.9 and np.corrcoef(nulls)[0, 1] > 0.9


def test_combination_leaves_absent_regions_out():
    y, a, b = two_models(6, 0.8, 0.3, n_voxels=6)
    full = paired.swap_test(y, a, b, scoring.roi_weights(np.ones((2, 6))), 100)
    part = paired.swap_test(y, a, b, scoring.roi_weights(np.array([np.ones(6), np.zeros(6)])), 100)
    table = paired.combine_subjects([full, part], ["V1", "FBA-1"])
    assert list(table.n_subjects) == [2, 1]
    assert table.difference[1] == pytest.approx(float(full.roi_difference[1]))
    with pytest.raises(stats.StatsError, match=r"\[100, 120\] permutations"):
        other = paired.swap_test(y, a, b, scoring.roi_weights(np.ones((2, 6))), 120)
        paired.combine_subjects([full, other], ["V1", "FBA-1"])


def test_bootstrap_equals_a_plain_loop_and_has_the_right_spread():
    y, a, b = two_models(7, n_voxels=12)
    masks = np.array([np.arange(12) < 5, np.arange(12) >= 5])
    ceiling = np.linspace(0.2, 0.8, 12)
    samples = paired.bootstrap_scores(
        y, {"a": a, "b": b}, scoring.roi_weights(masks, ceiling), 400, rois=["r", "s"], block_size=5
    )
    alignment = scoring.normalised_alignment(scoring.correlation(y, b), ceiling)
    assert samples.sel(sample=0, model="b", roi="s").item() == pytest.approx(alignment[5:].mean(), abs=1e-5)
    rng = np.random.default_rng(0)
    loop = []
    for _ in range(400):
        rows = rng.integers(0, N_STIMULI, N_STIMULI)
        r = scoring.correlation(y[rows], b[rows])
        loop.append(scoring.normalised_alignment(r, ceiling)[5:].mean())
    got = samples.sel(model="b", roi="s")[1:]
    assert got.std().item() == pytest.approx(np.std(loop), rel=0.15)
    assert got.mean().item() == pytest.approx(np.mean(loop), abs=3 * np.std(loop) / 20)


def interaction_p(seed, boost):
    """Model a is better everywhere by the same amount, plus ``boost`` in the first region only."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(N_STIMULI, 8))
    a, b = 0.9 * y + rng.normal(size=y.shape), 0.6 * y + rng.normal(size=y.shape)
    a[:, :4] += boost * y[:, :4]
    masks = np.array([np.arange(8) < 4, np.arange(8) >= 4])
    samples = paired.bootstrap_scores(y, {"a": a, "b": b}, scoring.roi_weights(masks), 200, seed, ["r", "s"])
    return paired.interaction_test(samples, ["a", "b"], ["r", "s"])["p"]


def test_interaction_false_positives_and_power():
    """A main effect of the model alone is no interaction."""
    null = np.array([interaction_p(seed, 0.0) for seed in range(500)])
    assert abs((null < 0.05).mean() - 0.05) < 0.03  # standard error 1 %, bootstrap at 150 images
    power = np.array([interaction_p(seed, 0.8) for seed in range(40)])
    assert (power < 0.05).mean() > 0.8


def test_interaction_of_several_models_and_regions():
    rng = np.random.default_rng(8)
    y = rng.normal(size=(N_STIMULI, 12))
    predictions = {m: 0.7 * y + rng.normal(size=y.shape) for m in "abc"}
    masks = np.arange(12)[None] % 4 == np.arange(4)[:, None]
    samples = paired.bootstrap_scores(y, predictions, scoring.roi_weights(masks), 300, rois=list("pqrs"))
    test = paired.interaction_test(samples, list("abc"), list("pqrs"))
    assert test["df"] == 6 and test["p"] > 0.001
    two = paired.interaction_test(samples, ["a", "c"], ["p", "s"])
    table = samples.sel(sample=0)
    expected = (table.sel(model="a") - table.sel(model="c")).sel(roi=["p", "s"]).values
    assert two["estimate"] == pytest.approx(expected[0] - expected[1])
    assert two["low"] < two["estimate"] < two["high"]


def test_bootstrap_intervals_cover():
    y, a, b = two_models(9, 0.5, 0.5, n_voxels=800)
    samples = paired.bootstrap_scores(y, {"a": a, "b": b}, np.eye(800), 300)
    table = paired.compare_pairs(samples)
    covered = ((table.low < 0) & (table.high > 0)).mean()
    assert abs(covered - 0.95) < 0.03  # standard error .8 %, percentile intervals run a little short
    assert abs((table.p < 0.05).mean() - 0.05) < 0.03
    assert set(table) == {"a", "b", "roi", "estimate", "low", "high", "se", "p", "q"}


def test_mean_over_subjects_and_absent_regions():
    y, a, b = two_models(10, n_voxels=6)
    full = paired.bootstrap_scores(y, {"a": a, "b": b}, scoring.roi_weights(np.ones((2, 6))), 50)
    part = paired.bootstrap_scores(
        y, {"a": a, "b": b}, scoring.roi_weights(np.array([np.ones(6), np.zeros(6)])), 50
    )
    assert np.isnan(part.sel(roi=1)).all()
    mean = paired.mean_over_subjects([full, part])
    np.testing.assert_allclose(mean.sel(roi=1), full.sel(roi=1))
    with pytest.raises(stats.StatsError, match="no score"):
        paired.interaction_test(part, ["a", "b"], [0, 1])
    with pytest.raises(stats.StatsError, match="2 models and 2 rois"):
        paired.interaction_test(full, ["a"], [0, 1])
    with pytest.raises(stats.StatsError, match="same images"):
        paired.swap_test(y, a, b[:, :2])


def test_bootstrap_of_chosen_rois_equals_that_of_all():
    rng = np.random.default_rng(5)
    y, a, b = rng.normal(size=(3, 60, 700))
    masks = rng.random((3, 700)) < 0.3
    weights, rois = scoring.roi_weights(masks), list("pqr")
    full = paired.bootstrap_scores(y, {"a": a, "b": b}, weights, 40, rois=rois)
    some = paired.bootstrap_scores(y, {"a": a, "b": b}, weights, 40, rois=rois, rois_of={"a": "pr", "b": "q"})
    np.testing.assert_allclose(
        some.sel(model="a", roi=["p", "r"]), full.sel(model="a", roi=["p", "r"]), atol=1e-6
    )
    np.testing.assert_allclose(some.sel(model="b", roi="q"), full.sel(model="b", roi="q"), atol=1e-6)
    assert (
        np.isnan(some.sel(model="a", roi="q")).all() and np.isnan(some.sel(model="b", roi=["p", "r"])).all()
    )
