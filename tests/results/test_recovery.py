import numpy as np
import pandas as pd
import pytest

from brainalign_utils.results import recovery, truth

N_STIMULI, N_VOXELS = 150, 240


def test_values_pass_inside_their_interval():
    table = recovery.recover_values(
        "shared-variance", "shared", ["a", "b", "c"], [0.3, 0.5, 0.5], [0.32, 0.4, 0.4], [0.2, 0.35, 0.35],
        [0.4, 0.45, 0.495], tolerance=0.01,
    )  # fmt: skip
    assert table.passed.tolist() == [True, False, True]
    bare = recovery.recover_values("x", "y", ["a", "b"], [1.0, 2.0], [1.05, 2.2], tolerance=0.1)
    assert bare.passed.tolist() == [True, False]
    with pytest.raises(recovery.RecoveryError, match="3 labels, 2 planted and 3 estimated"):
        recovery.recover_values("x", "y", "abc", [1, 2], [1, 2, 3])


def test_medians():
    rng = np.random.default_rng(0)
    planted = rng.uniform(0, 0.8, N_VOXELS)
    masks = np.array([np.arange(N_VOXELS) < 100, np.arange(N_VOXELS) >= 100, np.zeros(N_VOXELS)])
    good = planted + 0.1 * rng.normal(size=N_VOXELS)
    good[7] = np.nan
    table = recovery.recover_medians("noise-ceiling", "NC", planted, good, masks, ["V1", "PPA", "FBA-1"])
    assert table.label.tolist() == ["V1", "PPA"] and table.passed.all()
    assert table.planted[1] == pytest.approx(np.median(planted[100:]))
    biased = recovery.recover_medians("noise-ceiling", "NC", planted, good + 0.15, masks[:2], ["V1", "PPA"])
    assert not biased.passed.any()


def test_profiles_tell_a_model_that_knows_from_one_that_does_not():
    rng = np.random.default_rng(1)
    channels = rng.normal(size=(N_STIMULI, 5))
    masks = np.arange(N_VOXELS)[None] % 3 == np.arange(4)[:, None]
    tuning = np.array([[1, 0.2, 0, 0, 0.4], [0, 0, 1, 0.5, 0], [0.3, 0.8, 0, 0, 0]])[np.arange(N_VOXELS) % 3]
    signal = channels @ tuning.T + 0.2 * rng.normal(size=(N_STIMULI, N_VOXELS))
    knows = signal + rng.normal(size=signal.shape)
    arguments = (channels, list("abcde"), masks, ["r", "s", "t", "absent"])
    table = recovery.recover_profiles("roi-tuning", signal, knows, *arguments)
    assert len(table) == 15 and table.passed.all()
    assert table.planted[0] == pytest.approx(np.corrcoef(channels[:, 0], signal[:, masks[0]].mean(1))[0, 1])
    wrong = recovery.recover_profiles("roi-tuning", signal, knows[rng.permutation(N_STIMULI)], *arguments)
    assert wrong.groupby("quantity").passed.first().sum() <= 1


def test_voxels_without_signal_or_prediction_do_not_spoil_a_profile():
    rng = np.random.default_rng(1)
    channels = rng.normal(size=(N_STIMULI, 5))
    signal = channels @ rng.normal(size=(5, 6))
    predicted, mask = signal.copy(), np.ones((1, 6))
    signal[:, 2], predicted[:, 3] = 0, np.nan
    table = recovery.recover_profiles("roi-tuning", signal, predicted, channels, "abcde", mask, ["r"])
    assert table.passed.all() and table.estimated.to_numpy() == pytest.approx(table.planted.to_numpy())
    masks = [mask[0], np.arange(6) == 3]
    table = recovery.recover_profiles(
        "roi-tuning", signal, predicted, channels, "abcde", masks, ["r", "lost"]
    )
    assert set(table.quantity) == {"tuning of r"}


def test_winners():
    rng = np.random.default_rng(2)
    family = np.array(["faces", "food", "energy"])[np.arange(N_VOXELS) % 3]
    answers = {"faces": ("VQ2",), "food": ("IU2", "IC"), "energy": ()}
    names = ["IU2", "VQ2", "SR", "IC"]
    random = rng.integers(0, 4, N_VOXELS)
    found = np.where((family == "faces") & (rng.random(N_VOXELS) < 0.5), 1, random)
    table = recovery.recover_winners("best-instruction", found, names, family, answers).set_index("label")
    assert list(table.index) == ["faces", "food"] and table.passed["faces"]
    assert table.estimated["faces"] == pytest.approx((found[family == "faces"] == 1).mean())
    assert table.chance["faces"] == pytest.approx((found[family != "faces"] == 1).mean())
    assert table.low["faces"] < table.estimated["faces"] < table.high["faces"]
    guesses = (np.random.default_rng(seed).integers(0, 4, N_VOXELS) for seed in range(200))
    rate = [recovery.recover_winners("x", guess, names, family, answers) for guess in guesses]
    assert pd.concat(rate).passed.mean() < 0.08
    with pytest.raises(recovery.RecoveryError, match="among SR"):
        recovery.recover_winners("x", found, ["SR"], family, answers)


def test_columns_are_those_of_the_figure():
    table = recovery.recover_values("x", "y", ["a"], [1.0], [1.0])
    assert {"quantity", "planted", "estimated", "low", "high", "passed", "check", "label"} == set(table)


def test_planted_bands_hold_what_they_say():
    rng = np.random.default_rng(0)
    features = [(rng.standard_normal((300, 12)), rng.standard_normal((80, 12))) for _ in range(3)]
    bands, Y, masks = truth._planted_bands(features, seed=1, n_voxels=50)
    (first, first_test), (second, _) = bands["first"], bands["second"]
    np.testing.assert_array_equal(first[:, :5], second[:, :5])
    whole = np.vstack([first, first_test])
    np.testing.assert_allclose(whole.T @ whole / len(whole), np.eye(10), atol=1e-4)
    assert Y.shape == (380, 150) and masks.sum(1).tolist() == [50, 50, 50] and masks.sum(0).max() == 1
    for share, mask in zip(truth.PLANTED_SHARES, masks, strict=True):
        common = whole[:, :5]
        explained = (common @ (common.T @ Y[:, mask]) / len(Y)).var(0) / Y[:, mask].var(0)
        assert abs(explained.mean() - share / 2) < 0.05, "half of each response is noise"
