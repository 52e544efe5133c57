import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from brainalign_utils import tables
from brainalign_utils.nsd import design

N_TRIALS, N_VOXELS = 11, 7


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def experiment(rng):
    """10000 pictures a subject, 3 sessions in the arrays; the first 1000 pictures are shared."""
    subjectim = np.stack([rng.permutation(73000)[:10000] + 1 for _ in range(8)]).astype(np.int32)
    subjectim[:, :1000] = np.arange(2951, 3951)
    masterordering = rng.integers(1, 10001, (1, 2250)).astype(np.uint16)
    return subjectim, masterordering


def test_trial_ids_are_zero_based_and_in_time_order(experiment):
    subjectim, order = experiment
    ids = design.trial_nsd_ids(subjectim, order, subject=5, n_sessions=2)
    assert ids.dtype == np.int32 and ids.shape == (1500,)
    assert ids[17] == subjectim[4, order[0, 17] - 1] - 1


@pytest.mark.parametrize("subject", [0, 9])
def test_unknown_subject(experiment, subject):
    with pytest.raises(design.DesignError, match=rf"subject {subject} does not exist.*subjects 1 to 8"):
        design.trial_nsd_ids(*experiment, subject, 1)


@pytest.mark.parametrize("n_sessions", [0, 4])
def test_sessions_outside_the_design(experiment, n_sessions):
    with pytest.raises(design.DesignError, match=f"n_sessions is {n_sessions}; the design has 1 to 3"):
        design.trial_nsd_ids(*experiment, 1, n_sessions)


def test_repeat_numbers():
    assert_array_equal(design.repeat_numbers([7, 3, 7, 7, 5, 3]), [0, 0, 1, 2, 0, 1])
    assert design.repeat_numbers(np.zeros(0, int)).shape == (0,)


def test_split_is_disjoint_and_complete(experiment):
    ids = design.trial_nsd_ids(*experiment, 2, 3)
    shared = experiment[0][0, :1000] - 1
    train, test = design.split_stimuli(ids, shared)
    assert not set(train) & set(test)
    assert_array_equal(np.union1d(train, test), np.unique(ids))
    assert set(test) == set(ids) & set(shared)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_zscore_equals_scipy(rng, dtype):
    betas = rng.normal(200, 300, (N_TRIALS, N_VOXELS)).astype(dtype)
    z = design.zscore_session(betas)
    assert z.dtype == np.float32
    # float32 arithmetic: 1e-5 of one standard deviation
    assert_allclose(z, stats.zscore(betas.astype(float), ddof=1), atol=1e-5)


def test_zscore_does_not_depend_on_memory_order(rng):
    betas = rng.integers(-999, 999, (750, 31)).astype(np.int16)
    assert_array_equal(design.zscore_session(betas), design.zscore_session(np.asfortranarray(betas)))


def test_zscore_of_saturated_values_does_not_overflow():
    betas = np.array([[-32768, 5], [32767, 6], [32767, 7]], np.int16)
    assert_allclose(design.zscore_session(betas), stats.zscore(betas.astype(float), ddof=1), atol=1e-5)


@pytest.mark.parametrize("value", [0, 41, -32768])
def test_constant_voxel_is_missing_not_infinite(rng, value):
    betas = rng.integers(-100, 100, (N_TRIALS, N_VOXELS)).astype(np.int16)
    betas[:, 2] = value
    kept = betas.copy()
    z = design.zscore_session(betas)
    assert_array_equal(np.isnan(z).all(0), np.arange(N_VOXELS) == 2)
    assert np.isfinite(np.delete(z, 2, axis=1)).all()
    assert_array_equal(betas, kept)


def test_constant_float_voxel_is_missing():
    betas = np.full((N_TRIALS, 1), 0.1, np.float32)  # its computed sd is not exactly 0
    assert np.isnan(design.zscore_session(betas)).all()


def test_moments_equal_numpy_for_any_blocks(rng):
    responses = rng.normal(size=(29, N_VOXELS)).astype(np.float32)
    responses[rng.random(responses.shape) < 0.2] = np.nan
    rows = rng.integers(0, 6, 29)
    rows[rows == 4] = 5  # stimulus 4 is never shown
    whole, parts = (design.RepeatMoments(6, N_VOXELS, squares=True) for _ in range(2))
    whole.add(responses, rows)
    for trials in (slice(0, 1), slice(1, 13), slice(13, 29)):
        parts.add(responses[trials], rows[trials])
    assert_array_equal(whole.mean, parts.mean)
    squares = whole.sum_of_squares
    average = whole.average()
    assert np.isnan(average[4]).all()
    for stimulus in (0, 1, 2, 3, 5):
        mine = responses[rows == stimulus].astype(float)
        seen = np.isfinite(mine).sum(0)
        assert_array_equal(whole.count[stimulus], seen)
        keep = seen > 0
        assert_allclose(average[stimulus, keep], np.nanmean(mine[:, keep], axis=0), rtol=1e-5, atol=1e-6)
        expected = np.nanvar(mine[:, keep], axis=0) * seen[keep]
        assert_allclose(squares[stimulus, keep], expected, rtol=1e-5, atol=1e-6)
        assert np.isnan(average[stimulus, ~keep]).all()


LABELS = {
    "nsdgeneral": np.array([1, 1, 1, 1, 0, 1]),
    "prf-visualrois": np.array([1, 2, 7, 0, 2, -1]),
    "floc-bodies": np.array([0, 0, 1, 3, 0, -1]),
    "floc-faces": np.array([2, 0, 0, -1, 1, 1]),
    "floc-places": np.array([0, 0, 0, 0, 0, 3]),
    "floc-words": np.array([0, 0, 0, 0, 5, 0]),
}


def test_roi_masks_follow_the_table_not_the_number():
    masks, absent = design.roi_masks(LABELS, tables.ROI_LABELS)
    by_id = {roi.id: mask for roi, mask in zip(tables.ROIS, masks, strict=True)}
    assert_array_equal(by_id["V1"], [1, 1, 0, 0, 1, 0])
    assert_array_equal(by_id["hV4"], [0, 0, 1, 0, 0, 0])
    assert_array_equal(by_id["faces"], [1, 0, 0, 0, 1, 1])  # not only label 1
    assert_array_equal(by_id["OFA"], [0, 0, 0, 0, 1, 1])
    assert_array_equal(by_id["higher"], [1, 0, 1, 1, 1, 1])
    assert "FBA-1" in absent and not by_id["FBA-1"].any()
    assert "EBA" not in absent
    shuffled = {**tables.ROI_LABELS, "floc-faces": {1: "FFA-1", 2: "OFA", 3: "FFA-2"}}
    masks, _ = design.roi_masks(LABELS, shuffled)
    assert_array_equal(masks[[r.id for r in tables.ROIS].index("OFA")], [1, 0, 0, 0, 0, 0])


def test_a_new_region_is_a_row():
    row = tables.Roi("V1+OFA", "", (("prf-visualrois", ("V1v", "V1d")), ("floc-faces", ("OFA",))))
    assert_array_equal(design.roi_mask(row, LABELS, tables.ROI_LABELS), [1, 1, 0, 0, 1, 1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (tables.Roi("X", "", (("floc-faces", ("FFA-9",)),)), "asks for FFA-9.*names OFA, FFA-1"),
        (tables.Roi("X", "", (("thalamus", ()),)), "needs volume 'thalamus'; given: nsdgeneral"),
    ],
)
def test_region_that_the_files_do_not_hold(row, message):
    with pytest.raises(design.DesignError, match=message):
        design.roi_mask(row, LABELS, tables.ROI_LABELS)
