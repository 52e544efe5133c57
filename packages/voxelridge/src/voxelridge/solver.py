"""Voxelwise ridge regression with one cross-validated penalty per voxel.

Gives the answer of himalaya's ``RidgeCV`` (Dupre la Tour et al. 2022, NeuroImage 264:119728):
K-fold cross-validation over a grid of penalties, the best penalty of each voxel, a refit on
all training stimuli.  The work is arranged differently, see :mod:`.filters` (few
products serve all penalties) and :mod:`.folds` (eigendecompositions).
"""

import numpy as np
import torch
from tqdm import tqdm

from .folds import Design
from .gram import make_folds
from .routes import cheaper_form, solve_folds
from .voxels import RidgeResult, VoxelFit, block_size, check_inputs, choose_device

__all__ = ["RidgeCV", "RidgeResult", "solve_ridge_cv"]

TOLERANCES = {"r2": 1e-6, "mse": 1e-6, "r": 1e-8}
"""Default tolerance by selection; the same alpha as without compression in 99.9 % of voxels."""


def solve_ridge_cv(
    X,
    Y,
    alphas,
    cv=5,
    *,
    groups=None,
    X_test=None,
    fit_intercept=False,
    standardize=False,
    selection="r2",
    n_voxels_batch=None,
    tolerance=None,
    precision="auto",
    form="auto",
    fold_route="auto",
    grams=None,
    return_weights=False,
    return_curve=False,
    device="auto",
    progress_bar=False,
    warn=True,
):
    """Fit every voxel with its own penalty.

    Parameters
    ----------
    X : array of shape (n_stimuli, n_features)
        Used as given unless ``standardize``; float32 or float64 sets the precision of all.
    Y : array of shape (n_stimuli, n_voxels)
    alphas : array of shape (n_alphas, ) or dict of such arrays
        Penalties; several named grids share all the work and give a dict of results.
    cv : int, fold labels of shape (n_stimuli, ) or list of held-out indices
        See :func:`voxelridge.gram.make_folds`.
    groups : array of shape (n_stimuli, ) or None
        Stimuli that must stay in one fold.
    X_test : array of shape (n_test_stimuli, n_features) or None
        Predict these.
    fit_intercept : bool
        Unpenalised intercept, refitted in every fold.
    standardize : bool
        Z-score features with the statistics of each fold's training part (and of all
        training stimuli in the refit); implies an intercept.
    selection : {"r2", "r", "mse"}
        Score that picks alpha, averaged over folds; "mse" (negated) is himalaya's default.
    n_voxels_batch : int or None
        Voxels per block; None sizes blocks to memory.  Does not change results.
    tolerance : float or None
        Error of products of filter factors interpolated between alphas; None is 1e-6 (1e-8
        for "r", whose curves are flatter) and 0 evaluates every alpha.
    precision : {"auto", "single", "double"}
        Of Gram matrices and eigendecompositions; auto checks their conditioning.
    form : {"auto", "primal", "dual"}
    fold_route : {"auto", "spectral", "downdate"}
    grams : Grams or None
        Precomputed for these X and folds.
    return_weights : bool or writable array of shape (n_features, n_voxels)
        Weights are written by blocks of voxels, into the given array if there is one.
    return_curve : bool
    device : {"auto", "cpu", "cuda"} or torch.device
    progress_bar, warn : bool

    Returns
    -------
    RidgeResult, or dict of RidgeResult when ``alphas`` is a dict

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or alphas are not positive.
    """
    device = choose_device(device)
    fit_intercept = fit_intercept or standardize
    X, Y, X_test, grids = check_inputs(X, Y, X_test, alphas, selection)
    union = np.unique(np.concatenate(list(grids.values())))
    folds = make_folds(len(X), cv, groups)
    X = X.to(device)
    mean = X.mean(0) if fit_intercept else None
    design = Design(
        X if mean is None else X - mean,
        folds,
        form if form != "auto" else cheaper_form(*X.shape, folds),
        fit_intercept,
        standardize,
    )
    if tolerance is None:
        tolerance = TOLERANCES[selection]
    if fold_route == "auto" and (standardize or (selection == "r" and X.dtype == torch.float32)):
        fold_route = "spectral"  # folds with features of their own; curves flatter than rounding
    held_out, refit, nodes = solve_folds(design, union, Y.shape[1], tolerance, precision, fold_route, grams)
    tests = None if X_test is None else refit.test_features(X_test.to(device), mean)
    fit = VoxelFit(held_out, refit, tests, union, nodes.weights, grids, selection)
    fit.allocate(Y, return_weights, return_curve)
    batch = n_voxels_batch or block_size(fit, X.element_size(), device)
    for start in tqdm(range(0, Y.shape[1], batch), desc="ridge", disable=not progress_bar):
        voxels = slice(start, min(start + batch, Y.shape[1]))
        fit.block(Y[:, voxels].to(device), voxels)
    results = fit.results(mean, warn)
    return results if isinstance(alphas, dict) else results[""]


class RidgeCV:
    """Estimator around :func:`solve_ridge_cv`.

    Parameters
    ----------
    alphas : array of shape (n_alphas, )
    cv : int, fold labels or list of held-out indices
    **options
        Further arguments of :func:`solve_ridge_cv`.

    Attributes
    ----------
    best_alphas_, cv_scores_ : arrays of shape (n_voxels, )
    coef_ : array of shape (n_features, n_voxels)
    intercept_ : array of shape (n_voxels, ) or 0.0
    result_ : RidgeResult
    """

    def __init__(self, alphas=(0.1, 1.0, 10.0), cv=5, **options):
        self.alphas, self.cv, self.options = alphas, cv, options

    def fit(self, X, Y):
        """Choose alphas and fit weights; X (n_stimuli, n_features), Y (n_stimuli, n_voxels)."""
        self.result_ = solve_ridge_cv(X, Y, self.alphas, self.cv, **{**self.options, "return_weights": True})
        self.best_alphas_, self.cv_scores_ = self.result_.best_alphas, self.result_.cv_scores
        self.coef_ = self.result_.weights
        self.intercept_ = 0.0 if self.result_.intercept is None else self.result_.intercept
        return self

    def predict(self, X):
        """Predicted responses, (n_stimuli, n_voxels)."""
        if not hasattr(self, "coef_"):
            raise ValueError("RidgeCV is not fitted; call fit(X, Y) first")
        return np.asarray(X, dtype=self.coef_.dtype) @ self.coef_ + self.intercept_

    def score(self, X, Y):
        """R2 of every voxel, (n_voxels, )."""
        Y = np.asarray(Y)
        error = ((Y - self.predict(X)) ** 2).sum(0)
        return 1 - error / ((Y - Y.mean(0)) ** 2).sum(0)
