"""Estimators that follow scikit-learn's contract."""

import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .banded import Bands, candidate_weightings, weigh
from .inputs import SCORINGS, as_matrix, as_tensor, check_alphas, make_folds
from .solver import CrossValidation, choose_device, edge_proportions, is_constant

EDGE_WARNING = 0.05
"""Proportion of targets at an end of the grid above which a warning is given."""


class _Ridge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """What plain and banded ridge have in common."""

    def score_per_target(self, X, y):
        """R2 of every target.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, ) or (n_samples, n_targets)

        Returns
        -------
        array of shape (n_targets, )
            NaN where the target is constant.
        """
        predicted = self.predict(X)
        y = as_tensor("y", y).cpu().numpy()
        if y.shape != predicted.shape:
            raise ValueError(
                f"y has shape {y.shape} but predictions have {predicted.shape}; pass the same targets"
            )
        y, predicted = (a.reshape(len(a), -1).astype(np.float64) for a in (y, predicted))
        error, variance = ((y - predicted) ** 2).sum(0), ((y - y.mean(0)) ** 2).sum(0)
        varies = y.max(0) > y.min(0)
        return np.where(varies, 1 - error / np.where(varies, variance, 1), np.nan)

    def score(self, X, y):
        """Mean R2 of the targets that vary; NaN if none does.  Parameters as :meth:`score_per_target`."""
        scores = self.score_per_target(X, y)
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")

    def _checked(self, X, y):
        """Tensors X and Y, on the device."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        device = choose_device(self.device)
        features = as_matrix("X", X)
        Y = as_tensor("y", y, features.dtype)
        self._is_vector = Y.ndim == 1
        Y = as_matrix("y", Y[:, None] if self._is_vector else Y)
        if len(features) != len(Y):
            raise ValueError(
                f"X has {len(features)} samples but y has {len(Y)}; select the same samples in the same order"
            )
        validate_data(self, _named(X, features), skip_check_array=True)
        return features.to(device), Y

    def _features(self, X):
        check_is_fitted(self)
        features = as_matrix("X", X)
        validate_data(self, _named(X, features), skip_check_array=True, reset=False)
        return features

    def _report_edges(self, best, n_alphas, varies):
        self.edge_proportions_ = edge_proportions(best, n_alphas, varies)
        if max(self.edge_proportions_) > EDGE_WARNING:
            low, high = self.edge_proportions_
            warnings.warn(
                f"{low:.1%} of targets choose the smallest of alphas and {high:.1%} the largest; widen "
                "alphas on that side (a target without signal chooses the largest penalty of any grid)",
                stacklevel=3,
            )


def _named(X, features):
    """What scikit-learn reads names and the number of features from."""
    return X if hasattr(X, "columns") else np.empty((1, features.shape[1]))


class RidgeCV(_Ridge):
    """Ridge regression of many targets, each with its own penalty, chosen by cross-validation.

    Minimises ``||y - X b||^2 + alpha ||b||^2`` for every target.  The answer is that of himalaya's
    ``RidgeCV`` (Dupre la Tour et al. 2022, NeuroImage 264:119728).

    Parameters
    ----------
    alphas : array-like of shape (n_alphas, )
        Positive penalties.
    fit_intercept : bool
        Unpenalised intercept, fitted again in every fold.
    cv : int, splitter of scikit-learn, fold of every sample (ints), or list of (train, test) indices
        An int is a number of consecutive folds without shuffling.
    scoring : {"mse", "r2", "r"}
        What picks the penalty: negated mean squared error, R2, or Pearson's r, averaged over folds.
    tolerance : float or None
        Error of filter factors interpolated between penalties.  None is 3e-7 (1e-10 for "r"), which leaves
        scores within about 1e-6; 0 evaluates every penalty.
    n_targets_batch : int or None
        Targets per block; None sizes blocks to memory.  Does not change results.
    device : {"auto", "cpu", "cuda"} or torch.device

    Attributes
    ----------
    best_alphas_ : array of shape (n_targets, )
    cv_scores_ : array of shape (n_targets, )
        Cross-validated score at the best penalty; NaN where the target is constant.
    coef_ : array of shape (n_features, ) or (n_features, n_targets)
        Computed when asked for: predictions do without.
    intercept_ : float or array of shape (n_targets, )
        0.0 without an intercept.
    edge_proportions_ : tuple of two floats
        Proportions of (not constant) targets that choose the smallest and the largest penalty.
    route_ : dict
        How it was computed: form, folds, precisions, penalties evaluated (n_nodes), products that serve them.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from voxelridge import RidgeCV
    >>> rng = np.random.default_rng(0)
    >>> X, noise = rng.standard_normal((200, 30)), rng.standard_normal((200, 500))
    >>> Y = X @ rng.standard_normal((30, 500)) + noise
    >>> model = RidgeCV(alphas=np.logspace(-2, 4, 20)).fit(X[:150], Y[:150])
    >>> model.predict(X[150:]).shape, model.best_alphas_.shape
    ((50, 500), (500,))
    >>> bool(model.score(X[150:], Y[150:]) > 0.9)
    True
    """

    def __init__(
        self,
        alphas=(0.1, 1.0),
        *,
        fit_intercept=False,
        cv=5,
        scoring="mse",
        tolerance=None,
        n_targets_batch=None,
        device="auto",
    ):
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.tolerance = tolerance
        self.n_targets_batch = n_targets_batch
        self.device = device

    def fit(self, X, y, groups=None):
        """Choose a penalty for every target and fit all samples with it.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Float32 is computed in single precision, but for what would lose accuracy; all else in double.
        y : array of shape (n_samples, ) or (n_samples, n_targets)
        groups : array of shape (n_samples, ) or None
            Handed to the splitter ``cv``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If values are missing or infinite, or shapes, penalties or splits do not fit.
        """
        X, Y = self._checked(X, y)
        if self.scoring not in SCORINGS:
            raise ValueError(f"scoring is {self.scoring!r} but must be one of {', '.join(SCORINGS)}")
        alphas = check_alphas(self.alphas)
        folds = make_folds(self.cv, len(X), y, groups, self.scoring)
        best = self._fit(X, Y, alphas, folds)
        self._report_edges(best, len(alphas), ~is_constant(Y))
        return self

    def _fit(self, X, Y, alphas, folds, form=None, route=None):
        self._dtype = np.float32 if X.dtype == torch.float32 else np.float64
        X, mean = centred(X) if self.fit_intercept else (X, None)
        solver = CrossValidation(X, mean, folds, alphas, Y, self.scoring, self.tolerance, form, route)
        n_targets, full = Y.shape[1], solver.full
        best, self.cv_scores_ = np.empty(n_targets, dtype=int), np.empty(n_targets)
        self._shrunk = full.left.new_empty(full.left.shape[1], n_targets)
        self._mean = full.left.new_zeros(n_targets)
        for targets, scores, Z, y_mean in solver.blocks(Y, self.n_targets_batch):
            best[targets] = scores.argmax(0)
            self.cv_scores_[targets] = scores.max(0)
            self._shrunk[:, targets] = full.shrink(Z, alphas[best[targets]])
            self._mean[targets] = y_mean
        self._full, self.route_ = full, solver.route
        self.best_alphas_, self.cv_scores_[is_constant(Y)] = alphas[best], np.nan
        return best

    def predict(self, X):
        """Predicted targets, (n_samples, ) or (n_samples, n_targets)."""
        X = self._features(X).to(self._full.X.device)
        predicted = self._full.test_features(X) @ self._shrunk + self._mean
        predicted = predicted.cpu().numpy().astype(self._dtype, copy=False)
        return predicted[:, 0] if self._is_vector else predicted

    @property
    def coef_(self):
        check_is_fitted(self)
        coef = self._full.coef(self._shrunk).cpu().numpy().astype(self._dtype, copy=False)
        return coef[:, 0] if self._is_vector else coef

    @property
    def intercept_(self):
        check_is_fitted(self)
        if self._full.mean is None:
            return 0.0
        coef = self.coef_
        return (
            self._mean.cpu().numpy() if coef.ndim > 1 else float(self._mean[0])
        ) - self._full.mean.cpu().numpy() @ coef


def centred(X):
    """Features without their mean, and the mean in double precision."""
    mean = X.mean(0, dtype=torch.float64)
    return (X - mean).to(X.dtype), mean


class BandedRidgeCV(_Ridge):
    """Ridge regression on several feature spaces (bands), each with a weight of its own per target.

    Candidates are all pairs of a weighting of bands and a penalty.  Their fits are averaged, with
    probabilities from cross-validated squared errors: see :mod:`voxelridge.banded`.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas, )
        Positive penalties; a band of weight w is penalised by alpha / w.
    bands : int array of shape (n_features, ) or None
        The band of every feature, any labels; None takes all as one.
    weightings : int or array of shape (n_weightings, n_bands)
        How many joint weightings to try beside every band alone, or the weights (summing to 1, bands in the
        order of their sorted labels).
    average : bool
        Otherwise the best candidate of each target is taken, which overfits where samples are few.
    fit_intercept, cv, tolerance, n_targets_batch, device
        As in :class:`RidgeCV`.

    Attributes
    ----------
    weights_ : array of shape (n_bands, n_targets)
        Mean weights of the bands.
    best_alphas_, cv_scores_ : arrays of shape (n_targets, )
        Penalty and negated cross-validated mean squared error of the most probable candidate; scores are
        NaN where the target is constant.
    coef_ : array of shape (n_features, ) or (n_features, n_targets)
    intercept_ : float or array of shape (n_targets, )
    edge_proportions_ : tuple of two floats
        Proportions of (not constant) targets whose most probable penalty is the smallest and the largest.
    weightings_ : array of shape (n_weightings, n_bands)
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from voxelridge import BandedRidgeCV
    >>> rng = np.random.default_rng(0)
    >>> X, noise = rng.standard_normal((200, 60)), rng.standard_normal((200, 40))
    >>> Y = X[:, :10] @ rng.standard_normal((10, 40)) + noise  # the second band says nothing
    >>> bands = np.repeat([0, 1], [10, 50])
    >>> model = BandedRidgeCV(np.logspace(-2, 4, 20), bands=bands).fit(X[:150], Y[:150])
    >>> bool(model.weights_[0].mean() > 0.9)
    True
    """

    def __init__(
        self, alphas=(0.1, 1.0), *, bands=None, weightings=9, average=True, fit_intercept=False, cv=5,
        tolerance=None, n_targets_batch=None, device="auto",
    ):  # fmt: skip
        self.alphas = alphas
        self.bands = bands
        self.weightings = weightings
        self.average = average
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.tolerance = tolerance
        self.n_targets_batch = n_targets_batch
        self.device = device

    def fit(self, X, y, groups=None):
        """Weigh bands and penalties for every target and fit all samples; parameters as
        :meth:`RidgeCV.fit`."""
        X, Y = self._checked(X, y)
        alphas, folds = check_alphas(self.alphas), make_folds(self.cv, len(X), y, groups)
        members, self.weightings_ = self._candidates(X.shape[1])
        dtype = np.float32 if X.dtype == torch.float32 else np.float64
        X, mean = centred(X) if self.fit_intercept else (X, None)
        bands = Bands(X, mean, Y, members, folds, alphas, self.tolerance, self.n_targets_batch)
        errors, probabilities, kept = weigh(bands, self.weightings_, self.average)
        coef = np.zeros((X.shape[1], Y.shape[1]), dtype)
        for k, weights in enumerate(self.weightings_):
            index, scales = bands.features(weights)
            for targets, full, shrunk in bands.refit(weights, probabilities[k], kept.pop(k, None)):
                part = scales[:, None] * full.coef(shrunk)
                coef[np.ix_(index.cpu().numpy(), targets)] += part.cpu().numpy().astype(dtype)
        self.coef_ = coef[:, 0] if self._is_vector else coef
        self.intercept_ = 0.0 if mean is None else Y.mean(0).cpu().numpy() - mean.cpu().numpy() @ coef
        self.intercept_ = (
            float(self.intercept_[0]) if self._is_vector and mean is not None else self.intercept_
        )
        self.weights_ = np.einsum("wb,wat->bt", self.weightings_, probabilities)
        best = probabilities.reshape(-1, Y.shape[1]).argmax(0)
        self.cv_scores_ = -errors.reshape(-1, Y.shape[1])[best, np.arange(Y.shape[1])]
        constant = is_constant(Y)
        self.best_alphas_, self.cv_scores_[constant] = alphas[best % len(alphas)], np.nan
        self._report_edges(best % len(alphas), len(alphas), ~constant)
        return self

    def _candidates(self, n_features):
        """Features of every band, and weightings."""
        labels = np.zeros(n_features) if self.bands is None else np.asarray(self.bands)
        if labels.shape != (n_features,):
            raise ValueError(
                f"bands has shape {labels.shape} but X has {n_features} features; give one label per feature"
            )
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if np.ndim(self.weightings) == 0:
            return members, candidate_weightings(len(members), self.weightings)
        weightings = np.asarray(self.weightings, dtype=np.float64)
        if weightings.ndim != 2 or weightings.shape[1] != len(members):
            raise ValueError(
                f"weightings has shape {weightings.shape} but there are {len(members)} bands; "
                "give one column per band"
            )
        if not (weightings >= 0).all() or not (weightings.sum(1) > 0).all():
            raise ValueError("weightings must not be negative, nor all 0; drop such rows")
        return members, weightings

    def predict(self, X):
        """Predicted targets, (n_samples, ) or (n_samples, n_targets)."""
        X = self._features(X).cpu().numpy()
        return X.astype(self.coef_.dtype, copy=False) @ self.coef_ + self.intercept_
