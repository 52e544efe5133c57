"""Set algebra on R2: identities, planted Venn diagrams, bootstrap."""

from itertools import combinations

import numpy as np
import pytest
from himalaya.scoring import r2_score_split
from sklearn.metrics import r2_score as sklearn_r2

from brainalign_utils.encoding.algebra import (
    interval,
    normalise,
    pair_parts,
    product_measure,
    r2_resampled,
    r2_score,
    resample,
    resampled_precision,
    triple_parts,
    unique_leave_one_out,
)


def test_pair_parts_sum_to_the_joint_model_and_keep_negative_values():
    rng = np.random.default_rng(0)
    a, b, ab = rng.uniform(0, 0.4, (3, 7, 11))
    parts = pair_parts(a, b, ab)
    np.testing.assert_allclose(parts.unique_a + parts.unique_b + parts.shared, ab)
    np.testing.assert_allclose(parts.unique_a + parts.shared, a)
    assert (parts.unique_a < 0).any()


def test_pair_parts_of_known_sets():
    parts = pair_parts(a := np.array([0.3]), np.array([0.5]), np.array([0.6]))
    np.testing.assert_allclose([parts.unique_a, parts.unique_b, parts.shared], [[0.1], [0.3], [0.2]])
    assert a[0] == 0.3  # inputs are left alone


def planted_venn(rng, n_voxels):
    """Seven disjoint parts, and R2 of every union as the sum of the parts it covers."""
    keys = [s for k in (1, 2, 3) for s in combinations(range(3), k)]
    parts = {key: rng.uniform(0, 0.1, n_voxels) for key in keys}
    union = {
        key: sum((v for k, v in parts.items() if set(k) & set(key)), start=np.zeros(n_voxels)) for key in keys
    }
    return parts, union


def test_triple_parts_recover_a_planted_venn_diagram():
    parts, union = planted_venn(np.random.default_rng(1), 13)
    found = triple_parts(
        [union[(i,)] for i in range(3)], [union[p] for p in combinations(range(3), 2)], union[(0, 1, 2)]
    )
    assert set(found) == set(parts)
    for key, value in parts.items():
        np.testing.assert_allclose(found[key], value, atol=1e-12, err_msg=str(key))
    np.testing.assert_allclose(sum(found.values()), union[(0, 1, 2)])


def test_pair_parts_follow_from_triple_parts():
    _, union = planted_venn(np.random.default_rng(2), 5)
    pairs = [union[p] for p in combinations(range(3), 2)]
    seven = triple_parts([union[(i,)] for i in range(3)], pairs, union[(0, 1, 2)])
    pair = pair_parts(union[(0,)], union[(1,)], union[(0, 1)])
    np.testing.assert_allclose(pair.shared, seven[(0, 1)] + seven[(0, 1, 2)])
    np.testing.assert_allclose(pair.unique_a, seven[(0,)] + seven[(0, 2)])


def test_leave_one_out_is_a_difference():
    np.testing.assert_allclose(unique_leave_one_out([0.5, 0.1], [0.2, 0.3]), [0.3, -0.2])


def test_product_measure_sums_to_r2_and_agrees_with_himalaya():
    rng = np.random.default_rng(3)
    Y = rng.standard_normal((60, 9))
    predictions = 0.2 * rng.standard_normal((4, 60, 9)) + 0.1 * Y
    for responses in (Y - Y.mean(0), Y + 0.3):
        split = product_measure(responses, predictions)
        np.testing.assert_allclose(split.sum(0), r2_score(responses, predictions.sum(0)), atol=1e-12)
    centred = Y - Y.mean(0)
    np.testing.assert_allclose(
        product_measure(centred, predictions), r2_score_split(centred, predictions), atol=1e-12
    )


def test_r2_is_sklearn_and_undefined_is_nan():
    rng = np.random.default_rng(4)
    Y = rng.standard_normal((40, 6))
    Y[:, 2] = 5
    P = Y + rng.standard_normal((40, 6))
    r2 = r2_score(Y, P)
    assert np.isnan(r2[2])
    others = [0, 1, 3, 4, 5]
    expected = sklearn_r2(Y[:, others], P[:, others], multioutput="raw_values")
    np.testing.assert_allclose(r2[others], expected)


def test_bootstrap_is_that_of_drawn_stimuli_and_unbiased():
    rng = np.random.default_rng(5)
    Y = rng.standard_normal((120, 4))
    P = 0.5 * Y + 0.3 * rng.standard_normal((120, 4))
    counts = resample(120, 2000, seed=6)
    assert counts.shape == (2000, 120) and (counts.sum(1) == 120).all()
    samples = r2_resampled(Y, P, counts, resampled_precision(Y, counts))
    drawn = np.repeat(np.arange(120), counts[0].astype(int))
    expected = 1 - ((Y - P)[drawn] ** 2).sum(0) / ((Y - Y.mean(0))[drawn] ** 2).sum(0)
    np.testing.assert_allclose(samples[0], expected, rtol=1e-4)  # float32
    low, high = interval(samples)
    r2 = r2_score(Y, P)
    assert ((low < r2) & (r2 < high)).all()
    assert np.abs(samples.mean(0) - r2).max() < 0.1 * (high - low).min()


def test_interval_of_normal_samples():
    low, high = interval(np.random.default_rng(7).standard_normal((20_000, 3)), level=0.9)
    np.testing.assert_allclose(low, -1.645, atol=0.06)
    np.testing.assert_allclose(high, 1.645, atol=0.06)


def test_normalise_hides_voxels_without_ceiling():
    out = normalise(np.array([[0.1, 0.2, 0.3]]), [0.5, 0.01, 0.6], min_ceiling=0.05)
    np.testing.assert_allclose(out, [[0.2, np.nan, 0.5]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pair_parts(np.ones(3), np.ones(4), np.ones(3)),
            r"r2_b has shape \(4,\) but r2_a has",
        ),
        (
            lambda: triple_parts([np.ones(2)] * 2, [np.ones(2)] * 3, np.ones(2)),
            "5 arrays but must",
        ),
        (lambda: product_measure(np.ones((3, 2)), np.ones((3, 2))), r"predictions has shape \(3, 2\)"),
        (lambda: interval(np.ones(5), level=95), "level is 95"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
