import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from brainalign_utils.stats import scoring, similarity

N_LABELS, N_VOXELS = 5, 301


def test_winner_and_margin():
    scores = np.array([[0.1, 0.5, np.nan, np.nan], [0.4, 0.5, 0.2, np.nan], [0.3, 0.1, np.nan, np.nan]])
    winner, margin = similarity.winner_take_all(scores)
    assert winner.tolist() == [1, 0, -1, -1]
    np.testing.assert_allclose(margin, [0.1, 0.0, np.nan, np.nan])
    with pytest.raises(similarity.SimilarityError, match=r"\(1, 4\); at least 2"):
        similarity.winner_take_all(scores[:1])


def test_planted_preference_is_found_and_stable():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(150, 40))
    prefers = np.arange(40) % 4  # the fourth quarter prefers nothing
    predictions = [rng.normal(size=y.shape) + 1.0 * y * (prefers == i) for i in range(3)]
    winner, margin = similarity.winner_take_all([scoring.correlation(y, p) for p in predictions])
    tuned = prefers < 3
    assert (winner[tuned] == prefers[tuned]).all()
    assert margin[tuned].min() > np.median(margin[~tuned])
    share = similarity.winner_stability(y, predictions, block_size=7)
    np.testing.assert_allclose(share.sum(0), 1)
    assert share[prefers[tuned], np.flatnonzero(tuned)].min() > 0.95
    assert np.median(share[:, ~tuned].max(0)) < 0.95
    np.testing.assert_array_equal(share, similarity.winner_stability(y, predictions))


def test_stability_of_an_undefined_voxel_is_undefined():
    rng = np.random.default_rng(1)
    y, p, q = rng.normal(size=(3, 30, 4))
    y[:, 2] = 0
    assert np.flatnonzero(np.isnan(similarity.winner_stability(y, [p, q])[0])).tolist() == [2]


def test_agreement_equals_cohens_kappa():
    rng = np.random.default_rng(2)
    a = rng.integers(0, N_LABELS, N_VOXELS)
    b = np.where(rng.random(N_VOXELS) < 0.4, a, rng.integers(0, N_LABELS, N_VOXELS))
    result = similarity.agreement(a, b, N_LABELS)
    assert result["adjusted"] == pytest.approx(cohen_kappa_score(a, b))
    assert result["p"] == pytest.approx(1 / 1001)
    assert similarity.agreement(a, a, N_LABELS)["adjusted"] == 1
    assert similarity.agreement(b, a, N_LABELS, 0)["adjusted"] == pytest.approx(result["adjusted"])


def test_unequal_popularity_is_not_agreement():
    """Maps dominated by one label agree in most voxels without any relation."""
    rng = np.random.default_rng(3)
    kappas, small = [], 0
    for seed in range(200):
        a, b = (np.where(rng.random(N_VOXELS) < 0.8, 0, rng.integers(1, N_LABELS, N_VOXELS)) for _ in "ab")
        result = similarity.agreement(a, b, N_LABELS, 199, seed)
        assert result["observed"] > 0.5
        kappas.append(result["adjusted"])
        small += result["p"] <= 0.05
    assert abs(np.mean(kappas)) < 0.02 and small / 200 < 0.1


def test_undefined_voxels_are_left_out():
    a, b = np.array([0, 1, 2, -1, 1]), np.array([0, 1, -1, 2, 0])
    result = similarity.agreement(a, b, 3, 10)
    assert result["n_voxels"] == 3 and result["observed"] == pytest.approx(2 / 3)
    empty = similarity.agreement(np.full(4, -1), np.zeros(4, int), 3)
    assert empty["n_voxels"] == 0 and np.isnan(empty["adjusted"])
    with pytest.raises(similarity.SimilarityError, match="one subject"):
        similarity.agreement(a, b[:2], 3)


def test_tables():
    rng = np.random.default_rng(4)
    maps = {m: rng.integers(0, N_LABELS, N_VOXELS) for m in ("x", "y", "z")}
    mask = np.array([np.arange(N_VOXELS) < 100, np.zeros(N_VOXELS), np.arange(N_VOXELS) >= 100], bool)
    table = similarity.agreement_table(maps, N_LABELS, mask, ["V1", "FBA-1", "rest"], n_permutations=9)
    assert len(table) == 9 and table.n_voxels.tolist()[:3] == [100, 0, 201]
    winner = maps["x"].copy()
    winner[:50] = similarity.UNDEFINED
    shares = similarity.winner_distribution(winner, list("abcde"), mask, ["V1", "FBA-1", "rest"], model="x")
    assert shares.groupby("roi").share.sum().loc[["V1", "rest"]].tolist() == pytest.approx([1, 1])
    assert shares[shares.roi == "FBA-1"].share.isna().all()
    assert (shares[shares.roi == "V1"].n_voxels == 50).all()
    with pytest.raises(similarity.SimilarityError, match="needs two"):
        similarity.agreement_table({"x": maps["x"]}, N_LABELS)
