import numpy as np
import pytest
from scipy.optimize import curve_fit
from sklearn.linear_model import Ridge

from brainalign_utils.results import figure_tables as results
from brainalign_utils.settings import Settings
from brainalign_utils.stats import cross_subject as cs

N_STIMULI, N_LATENT = 120, 6
N_VOXELS = {1: 31, 2: 29, 5: 37, 7: 23}


def ridge(X_train, Y_train, X_test):
    return Ridge(alpha=100.0).fit(X_train, Y_train).predict(X_test)


def simulate(seed=0, n_stimuli=N_STIMULI, noise=1.0):
    """Voxels mix shared latents; the last five of subject 1 respond to something of its own."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_stimuli, N_LATENT))
    responses = {}
    for subject, n in N_VOXELS.items():
        mixing = rng.normal(size=(N_LATENT, n))
        signal = latent @ (mixing / np.linalg.norm(mixing, axis=0))
        if subject == 1:
            signal[:, -5:] = rng.normal(size=(n_stimuli, 5))
        responses[subject] = signal + noise * rng.normal(size=signal.shape)
    return responses


@pytest.fixture(scope="module")
def scores():
    return cs.cross_subject_scores(simulate(), 1, ridge)


def test_every_subsample_and_split(scores):
    assert dict(scores.sizes) == {"subsample": 7, "split": 10, "voxel": 31}
    assert list(scores.sources.values) == ["2", "5", "7", "2+5", "2+7", "5+7", "2+5+7"]
    assert list(scores.n_sources.values) == [1, 1, 1, 2, 2, 2, 3]


def test_targets_side_by_side_score_as_each_alone(scores):
    together = cs.scores_of_targets(simulate(), [5, 1], ridge)
    assert list(together) == [5, 1] and together[5].attrs == {"target": 5}
    np.testing.assert_allclose(together[1], scores, atol=1e-6)
    alone = cs.cross_subject_scores(simulate(), 5, ridge)
    np.testing.assert_allclose(together[5], alone, atol=1e-6)
    assert list(together[5].sources.values) == list(alone.sources.values)


def test_recovers_the_simulated_ceiling(scores):
    """Signal and noise variance are 1, so no model can exceed r = sqrt(.5); private voxels have 0."""
    plain, fitted = cs.plain_ceiling(scores), cs.extrapolated_ceiling(scores)
    truth = np.sqrt(0.5)
    assert plain[:-5].mean() == pytest.approx(truth, abs=0.1)
    assert plain[:-5].mean() < truth  # sources are noisy and few
    assert abs(plain[-5:].mean()) < 0.1
    v0 = fitted.v0.values
    assert v0[:-5].mean() == pytest.approx(truth, abs=0.1)
    assert np.corrcoef(plain[:-5], v0[:-5])[0, 1] > 0.95
    assert np.nanmax(v0[-5:]) < 0.4
    known = np.isfinite(v0)
    assert known[:-5].all()
    assert ((fitted.low <= v0) & (v0 <= fitted.high))[known].all()


def test_curve_that_is_not_determined_is_undefined(scores):
    """Accuracy in proportion to the number of sources says nothing about where it ends."""
    straight = scores.copy(data=np.broadcast_to(0.1 * scores.n_sources.values[:, None, None], scores.shape))
    fitted = cs.extrapolated_ceiling(straight, n_bootstraps=5)
    assert np.isnan(fitted.v0).all() and (fitted.at_bound == 1).all()


def test_ceiling_keeps_rising_when_few_sources_are_noisy():
    noisy = cs.cross_subject_scores(simulate(4, 240, noise=2.0), 1, ridge)
    fitted = cs.extrapolated_ceiling(noisy)
    plain, v0 = cs.plain_ceiling(noisy)[:-5].mean(), float(fitted.v0[:-5].mean())
    assert plain < v0 < np.sqrt(1 / 5)


def test_more_sources_predict_better(scores):
    by_size = scores[:, :, :-5].mean(("split", "voxel")).groupby("n_sources").mean().values
    assert (np.diff(by_size) > 0).all()


def test_nothing_in_common_gives_zero_not_a_leak():
    """Pure noise scored on the images it was fitted on would correlate strongly."""
    rng = np.random.default_rng(1)
    responses = {s: rng.normal(size=(60, n)) for s, n in N_VOXELS.items()}
    scores = cs.cross_subject_scores(responses, 5, ridge)
    assert abs(float(scores.mean())) < 0.03
    leaked = np.corrcoef(ridge(responses[1], responses[5][:, 0], responses[1]), responses[5][:, 0])[0, 1]
    assert leaked > 0.3


def test_fits_never_see_the_images_they_are_scored_on():
    responses, seen = simulate(n_stimuli=30), []

    def spy(X_train, Y_train, X_test):
        seen.append((len(X_train), len(X_test), (X_train[:, None] == X_test[None]).all(-1).any()))
        np.testing.assert_allclose(X_train.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(X_train.std(0), 1, atol=1e-5)
        return ridge(X_train, Y_train, X_test)

    cs.cross_subject_scores(responses, 7, spy, cs.Splits(n_folds=3, n_repeats=1))
    assert set(seen) == {(20, 10, False)} and len(seen) == 7 * 3
    for _ in range(2):
        folds = list(cs.Splits(n_folds=4, n_repeats=3)(27))
        assert len(folds) == 12
        for start in range(0, 12, 4):
            tested = np.concatenate([test for _, test in folds[start : start + 4]])
            assert sorted(tested) == list(range(27))


def test_saturation_equals_curve_fit():
    rng = np.random.default_rng(2)
    x = np.array([1.0, 2, 3, 4])
    v0, tau0 = rng.uniform(0.2, 0.8, 9), rng.uniform(0.4, 3, 9)
    y = v0 * (1 - np.exp(-x[:, None] / tau0)) + 0.01 * rng.normal(size=(4, 9))
    weights = np.array([4.0, 6, 4, 1])
    got_v0, got_tau = cs.fit_saturation(x, y, weights)
    for v in range(9):
        bounds = ([0, 0.05], [1, 4000])
        expected, _ = curve_fit(
            lambda t, a, b: a * (1 - np.exp(-t / b)),
            x,
            y[:, v],
            p0=(0.5, 1),
            bounds=bounds,
            sigma=1 / np.sqrt(weights),
        )
        np.testing.assert_allclose((got_v0[v], got_tau[v]), expected, rtol=5e-3)


def test_saturation_is_exact_without_noise_and_survives_the_edges():
    x = np.array([1.0, 2, 3])
    y = np.stack([0.7 * (1 - np.exp(-x / 1.3)), [0.4] * 3, 0.1 * x, [-0.1] * 3, [np.nan] * 3], axis=1)
    v0, tau0 = cs.fit_saturation(x, y)
    assert (v0[0], tau0[0]) == pytest.approx((0.7, 1.3), rel=1e-3)
    assert v0[1] == pytest.approx(0.4, rel=1e-6)  # flat: already saturated
    assert v0[2] == 1.0  # straight line: as far as it may go
    assert v0[3] == 0.0 and np.isnan(v0[4]) and np.isnan(tau0[4])


def test_shared_responses_align_images():
    rng = np.random.default_rng(3)
    ids = {1: np.array([9, 3, 5, 7]), 2: np.array([7, 9, 4, 3, 11])}
    data = {s: (i, i[:, None] + 1000 * s + rng.normal(size=2) * 0) for s, i in ids.items()}
    common, aligned = cs.shared_responses(data)
    assert common.tolist() == [3, 7, 9]
    assert aligned[1][:, 0].tolist() == [1003, 1007, 1009]
    assert aligned[2][:, 1].tolist() == [2003, 2007, 2009]


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda r: cs.cross_subject_scores(r, 3, ridge), "target 3 is not among subjects 1, 2, 5, 7"),
        (lambda r: cs.cross_subject_scores({1: r[1]}, 1, ridge), "at least one other subject"),
        (lambda r: cs.cross_subject_scores({1: r[1], 2: r[2][:9]}, 1, ridge), "120, 2: 9"),
        (lambda r: cs.cross_subject_scores(r, 1, ridge, cs.Splits(n_folds=50)), "choose 2 to 40"),
        (lambda r: cs.shared_responses({1: ([1], r[1]), 2: ([2], r[2])}), "share no image"),
        (
            lambda r: cs.extrapolated_ceiling(
                cs.cross_subject_scores({1: r[1], 2: r[2]}, 1, ridge, cs.Splits(2, 1))
            ),
            "at least 2",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(cs.CrossSubjectError, match=match):
        call(simulate())


def test_a_study_of_one_subject_has_no_ceiling_from_others():
    shared = {5: np.random.default_rng(0).standard_normal((30, 4))}
    assert np.isnan(results.linked(Settings(models=("mplug-owl",)), shared, [5])[5].ceiling).all()
