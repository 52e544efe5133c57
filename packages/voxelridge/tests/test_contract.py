"""What scikit-learn asks of an estimator, and what comes in: any array, missing values, splits."""

import doctest

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from voxelridge import BandedRidgeCV, RidgeCV, estimators

pytestmark = pytest.mark.filterwarnings("ignore:.*of targets choose:UserWarning")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 7)), RNG.standard_normal((60, 4))
GROUPS = np.repeat(np.arange(12), 5)
BOTH = pytest.mark.parametrize(
    "estimator", [RidgeCV(), BandedRidgeCV(bands=[0, 0, 0, 1, 1, 1, 1])], ids=["plain", "banded"]
)


@parametrize_with_checks(
    [RidgeCV(), RidgeCV(fit_intercept=True), BandedRidgeCV(), BandedRidgeCV(fit_intercept=True)]
)
def test_scikit_learn(estimator, check):
    check(estimator)


@BOTH
def test_pipeline_clone_parameters_and_cross_validation(estimator):
    pipeline = make_pipeline(StandardScaler(), clone(estimator).set_params(alphas=[1.0, 10.0], cv=KFold(4)))
    found = cross_validate(pipeline, X, Y, cv=3, return_estimator=True)
    assert found["test_score"].shape == (3,) and np.isfinite(found["test_score"]).all()
    assert found["estimator"][0][-1].cv.n_splits == 4
    search = GridSearchCV(clone(estimator), {"fit_intercept": [True, False]}, cv=3).fit(X, Y)
    assert search.best_estimator_.predict(X).shape == (60, 4)


@BOTH
def test_scores_are_one_number_or_one_per_target(estimator):
    model = clone(estimator).fit(X, Y)
    scores = model.score_per_target(X, Y)
    assert scores.shape == (4,) and model.score(X, Y) == pytest.approx(scores.mean())
    assert np.isnan(model.score(X, np.ones_like(Y)))


@BOTH
def test_groups_reach_the_splitter(estimator):
    splits = list(GroupKFold(3).split(X, groups=GROUPS))
    by_groups = clone(estimator).set_params(cv=GroupKFold(3)).fit(X, Y, groups=GROUPS)
    by_lists = clone(estimator).set_params(cv=splits).fit(X, Y)
    np.testing.assert_array_equal(by_groups.cv_scores_, by_lists.cv_scores_)
    with config_context(enable_metadata_routing=True):
        model = clone(estimator).set_params(cv=GroupKFold(3)).set_fit_request(groups=True)
        found = cross_validate(model, X, Y, cv=3, params={"groups": GROUPS}, error_score="raise")
    assert np.isfinite(found["test_score"]).all()


@BOTH
def test_an_int_its_labels_and_its_lists_are_the_same_split(estimator):
    forms = [3, KFold(3), list(KFold(3).split(X)), np.repeat([0, 1, 2], 20), [0] * 20 + [1] * 20 + [2] * 20]
    scores = [clone(estimator).set_params(cv=cv).fit(X, Y).cv_scores_ for cv in forms]
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])


def memmap(tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


INPUTS = {
    "big endian": lambda _: X.astype(">f8"),
    "reversed": lambda _: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "strided": lambda _: np.repeat(X, 2, axis=1)[:, ::2],
    "Fortran": lambda _: np.asfortranarray(X),
    "read only": memmap,
    "long double": lambda _: X.astype(np.longdouble),
    "objects": lambda _: X.astype(object),
    "lists": lambda _: X.tolist(),
    "pandas": lambda _: pd.DataFrame(X),
    "pandas, nullable": lambda _: pd.DataFrame(X).convert_dtypes(),
    "xarray": lambda _: xr.DataArray(X, dims=("stimulus", "feature")),
    "torch": lambda _: torch.as_tensor(X),
    "torch, with a gradient": lambda _: torch.as_tensor(X).requires_grad_(),
}


@BOTH
@pytest.mark.parametrize("kind", INPUTS)
def test_any_array_gives_the_same_answer(kind, estimator, tmp_path):
    given = INPUTS[kind](tmp_path)
    model, expected = clone(estimator).fit(given, Y), clone(estimator).fit(X, Y)
    np.testing.assert_array_equal(model.predict(given), expected.predict(X))
    targets = clone(estimator).fit(X, given)
    np.testing.assert_array_equal(targets.predict(X), clone(estimator).fit(X, X).predict(X))


@BOTH
@pytest.mark.parametrize(
    ("dtype", "predicted"),
    [
        ("float16", "f4"),
        ("float32", "f4"),
        ("float64", "f8"),
        ("int8", "f8"),
        ("uint16", "f8"),
        ("bool", "f8"),
    ]
    + [(torch.bfloat16, "f4"), (torch.float32, "f4"), (torch.int32, "f8")],
)
def test_precision_follows_the_input(dtype, predicted, estimator):
    whole = np.abs(10 * X).astype(int)
    given = torch.as_tensor(whole).to(dtype) if isinstance(dtype, torch.dtype) else whole.astype(dtype)
    model = clone(estimator).fit(given, Y)
    assert model.predict(given).dtype == model.coef_.dtype == predicted
    expected = clone(estimator).fit(
        np.asarray(whole.astype(bool) if dtype == "bool" else whole, dtype=float), Y
    )
    np.testing.assert_allclose(
        model.predict(given), expected.predict(np.asarray(given.tolist(), dtype=float)), atol=1e-4
    )


@BOTH
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_one_target_as_a_vector(fit_intercept, estimator):
    estimator = clone(estimator).set_params(fit_intercept=fit_intercept)
    vector, column = clone(estimator).fit(X, Y[:, 0]), clone(estimator).fit(X, Y[:, :1])
    assert vector.predict(X).shape == (60,) and vector.coef_.shape == (7,) and np.ndim(vector.intercept_) == 0
    np.testing.assert_array_equal(vector.predict(X), column.predict(X)[:, 0])
    np.testing.assert_array_equal(vector.coef_, column.coef_[:, 0])


def test_names_of_features_are_checked():
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    model = RidgeCV().fit(frame, Y)
    assert list(model.feature_names_in_) == list("abcdefg")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("gfedcba")])


def with_nan(array, value=np.nan):
    array = array.copy()
    array[3, 1] = value
    return array


LABELS = np.arange(60) % 4
MISTAKES = {
    "rows": ({"y": Y[:50]}, "X has 60 samples but y has 50"),
    "NaN in X": ({"X": with_nan(X)}, "X holds NaN or infinity in 1 of 7 columns; drop or fill it"),
    "NaN in y": ({"y": with_nan(Y)}, "y holds NaN or infinity in 1 of 4 columns"),
    "infinity": ({"y": with_nan(Y, np.inf)}, "y holds NaN or infinity in 1 of 4"),
    "too large for float32": ({"X": X.astype("f4"), "y": with_nan(Y, 1e300)}, "y holds NaN or infinity"),
    "words": ({"X": np.full((60, 7), "a")}, "X has dtype <U1 and holds what is no number"),
    "missing in pandas": (
        {"X": pd.DataFrame(with_nan(X)).convert_dtypes()},
        "X holds NaN or infinity in 1 of 7",
    ),
    "complex": ({"X": X + 1j}, "X has dtype complex128"),
    "vector": ({"X": X[:, 0]}, r"X has shape \(60,\) but must be \(n_samples, n_columns\)"),
    "three axes": ({"y": Y[:, :, None]}, r"y has shape \(60, 4, 1\)"),
    "no target": ({"y": Y[:, :0]}, r"y has 0 target\(s\)"),
    "alpha of 0": ({"alphas": [0.0, 1.0]}, "alphas are 0 to 1 but must be positive"),
    "no alpha": ({"alphas": []}, "alphas are empty"),
    "NaN alpha": ({"alphas": [1, np.nan]}, "alphas are 1 to nan"),
    "one fold": ({"cv": 1}, "cv is 1 but must lie between 2 and n_samples = 60"),
    "too many folds": ({"cv": 61}, "cv is 61"),
    "no fold": ({"cv": []}, "cv gives no split"),
    "labels of others": ({"cv": LABELS[:50]}, r"cv has shape \(50,\).*must be 60 integers"),
    "float labels": ({"cv": np.zeros(60)}, "dtype float64 but fold labels must be 60 integers"),
    "negative index": (
        {"cv": [([0, 1], [-1])]},
        "split 0 of cv has -1 to -1 to test on but needs some of 0 to 59",
    ),
    "index out of range": ({"cv": [([0, 1, 60], [2])]}, "has 0 to 60 to train on"),
    "empty test": ({"cv": [([0, 1], [])]}, "has no sample to test on"),
    "leak": ({"cv": [([0, 1, 2], [2, 3])]}, "trains on 1 of the 2 samples it tests"),
    "a word": ({"cv": "five"}, "Expected `cv` as an integer|cv"),
    "groups without a splitter": (
        {"groups": GROUPS},
        r"cv is 5, which ignores them; pass cv=GroupKFold\(5\)",
    ),
    "groups missing": ({"cv": GroupKFold(3)}, "groups"),
    "NaN groups": (
        {"cv": GroupKFold(3), "groups": np.where(GROUPS == 1, np.nan, GROUPS)},
        "groups contains NaN",
    ),
    "groups of others": ({"cv": GroupKFold(3), "groups": GROUPS[:9]}, "inconsistent numbers of samples"),
    "too few groups": ({"cv": GroupKFold(13), "groups": GROUPS}, "number of groups: 12"),
}


@BOTH
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_both_values(mistake, estimator):
    change, message = MISTAKES[mistake]
    arguments = {"X": X, "y": Y} | {k: v for k, v in change.items() if k in ("X", "y", "groups")}
    model = clone(estimator).set_params(**{k: v for k, v in change.items() if k in ("alphas", "cv")})
    with pytest.raises(ValueError, match=message):
        model.fit(**arguments)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scoring": "best"}, "scoring is 'best' but must be one of mse, r2, r"),
        ({"scoring": "r2", "cv": 60}, "split 0 of cv tests 1 sample but scoring='r2' needs 2"),
        (
            {"scoring": "r", "cv": np.r_[0, np.arange(59) % 3 + 1]},
            "split 0 of cv tests 1 sample but scoring='r'",
        ),
    ],
)
def test_scores_that_a_split_cannot_give_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        RidgeCV(**parameters).fit(X, Y)


def test_leave_one_out_with_squared_error():
    assert np.isfinite(RidgeCV(cv=60).fit(X, Y).cv_scores_).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bands": [0, 1]}, r"bands has shape \(2,\) but X has 7 features"),
        (
            {"bands": [0] * 4 + [1] * 3, "weightings": np.ones((2, 3))},
            r"weightings has shape \(2, 3\) but there are 2 bands",
        ),
        ({"weightings": [[-1.0]]}, "weightings must not be negative"),
        ({"weightings": [[0.0]]}, "weightings must not be negative, nor all 0"),
        ({"weightings": 0, "bands": [0] * 4 + [1] * 3}, None),
    ],
)
def test_bands_and_weightings_are_checked(parameters, message):
    if message is None:  # single bands alone
        assert BandedRidgeCV(**parameters).fit(X, Y).weightings_.tolist() == [[1, 0], [0, 1]]
        return
    with pytest.raises(ValueError, match=message):
        BandedRidgeCV(**parameters).fit(X, Y)


@BOTH
def test_before_fit(estimator):
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)
    with pytest.raises(ValueError, match=r"y has shape \(60, 3\) but predictions have \(60, 4\)"):
        clone(estimator).fit(X, Y).score(X, Y[:, :3])


def test_examples_are_true():
    found = doctest.testmod(estimators)
    assert found.attempted > 10 and found.failed == 0
