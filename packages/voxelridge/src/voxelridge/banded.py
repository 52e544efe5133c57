"""Ridge on several scaled feature spaces (bands) that share Gram matrices and products with Y."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from .filters import Workspace
from .folds import Design
from .gram import Grams, compute_grams, rest_of, take_rows
from .routes import cheaper_form, solve_folds
from .scores import mean_scores, select_alphas

SHARED_BYTES = 4 * 2**30
"""Gram matrices, kernels and products larger than this are computed anew for every model."""

BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class BandedData:
    """Everything that joint models of any bands share.

    Parameters
    ----------
    X, X_test : tensors of shape (n_stimuli, n_all_features), (n_test_stimuli, n_all_features)
        Bands side by side.
    Y : tensor of shape (n_stimuli, n_voxels)
    slices : tuple of slice
        Features of every band.
    folds : list of int arrays
    grams : Grams or None
        Primal, of all features.
    kernels : tensor of shape (n_bands, n_stimuli, n_stimuli) or None
    products : tensor of shape (n_folds + 1, n_all_features, n_voxels) or None
        ``X_k'Y_k``, the last one of stimuli that no fold holds out.
    """

    X: torch.Tensor
    X_test: torch.Tensor
    Y: torch.Tensor
    slices: tuple[slice, ...]
    folds: list
    grams: Grams | None
    kernels: torch.Tensor | None
    products: torch.Tensor | None


def share(bands, bands_test, Y, folds, largest_model) -> BandedData:
    """Compute what joint models share.

    Parameters
    ----------
    bands, bands_test : lists of tensors (n_stimuli, n_features), (n_test_stimuli, n_features)
    Y : tensor of shape (n_stimuli, n_voxels)
    folds : list of int arrays
    largest_model : int
        Bands of the largest model; decides whether kernels are needed.

    Returns
    -------
    BandedData
    """
    sizes = [band.shape[1] for band in bands]
    edges = np.cumsum([0, *sizes])
    X, n = torch.cat(bands, dim=1), len(Y)
    item, grams, kernels, products = X.element_size(), None, None, None
    if cheaper_form(n, min(sizes), folds) == "primal":
        if item * (len(folds) + 1) * edges[-1] ** 2 <= SHARED_BYTES:
            grams = compute_grams(X, folds, "primal")
        if item * (len(folds) + 1) * edges[-1] * Y.shape[1] <= SHARED_BYTES:
            rows = [*folds, rest_of(folds, n)]
            products = torch.stack([take_rows(X, r).T @ take_rows(Y, r) for r in rows if len(r)])
    widest = sum(sorted(sizes)[-largest_model:])
    if cheaper_form(n, widest, folds) == "dual" and item * len(bands) * n * n <= SHARED_BYTES:
        kernels = torch.stack([band @ band.T for band in bands])
    slices = tuple(slice(int(a), int(b)) for a, b in pairwise(edges))
    return BandedData(X, torch.cat(bands_test, dim=1), Y, slices, folds, grams, kernels, products)


@dataclass(frozen=True)
class BandedFit:
    """A joint model, at the best weighting and penalty of each voxel.

    Parameters
    ----------
    cv_scores : array of shape (n_voxels, )
        Cross-validated R2.
    predictions : array of shape (n_test_stimuli, n_voxels)
    first : array of shape (n_test_stimuli, n_voxels) or None
        The part of the predictions that comes from the first band.
    choice : int array of shape (n_voxels, )
        Index of the weighting.
    best_alphas : array of shape (n_voxels, )
    """

    cv_scores: np.ndarray
    predictions: np.ndarray
    first: np.ndarray | None
    choice: np.ndarray
    best_alphas: np.ndarray


def best_of(fits) -> BandedFit:
    """Per voxel the fit with the highest cross-validated score; the first one wins ties.

    Parameters
    ----------
    fits : iterable of BandedFit
        Consumed one at a time, so that a generator keeps two in memory.
    """
    fits = iter(fits)
    best = next(fits)
    for fit in fits:
        better = fit.cv_scores > best.cv_scores
        best = BandedFit(
            np.where(better, fit.cv_scores, best.cv_scores),
            np.where(better, fit.predictions, best.predictions),
            None if best.first is None or fit.first is None else np.where(better, fit.first, best.first),
            np.where(better, fit.choice, best.choice),
            np.where(better, fit.best_alphas, best.best_alphas),
        )
    return best


def fit_weighting(data: BandedData, bands, weights, alphas, tolerance, index=0, split=False) -> BandedFit:
    """One ridge fit on bands scaled by the roots of their weights.

    Parameters
    ----------
    data : BandedData
    bands : sequence of int
    weights : sequence of float, one per band
    alphas : array of shape (n_alphas, )
        Ascending.
    tolerance : float
        See :func:`voxelridge.solve_ridge_cv`.
    index : int
        Becomes ``choice``.
    split : bool
        Whether predictions from the first band are wanted.

    Returns
    -------
    BandedFit
    """
    features, scales = _features(data, bands, weights)
    X, X_test = data.X[:, features] * scales, data.X_test[:, features] * scales
    design = Design(X, data.folds, cheaper_form(*X.shape, data.folds))
    held_out, refit, nodes = solve_folds(
        design,
        alphas,
        data.Y.shape[1],
        tolerance,
        grams=_grams(data, design.form, bands, weights, features, scales),
        rotate=False,  # shared products belong to the features as they are
    )
    tests = [refit.test_features(X_test, None)]
    if split:
        n_first = data.slices[bands[0]].stop - data.slices[bands[0]].start
        is_first = torch.arange(len(features), device=X.device) < n_first
        tests.append(refit.test_features(X_test * is_first, None))
    interpolation = torch.as_tensor(nodes.weights, device=X.device)
    workspace, n_voxels = Workspace(X), data.Y.shape[1]
    cv_scores, best_alphas = np.empty(n_voxels), np.empty(n_voxels)
    predictions = np.empty((len(tests), len(X_test), n_voxels), dtype=np.float32)
    block = max(32, BLOCK_BYTES // (X.element_size() * held_out.floats_per_voxel()))
    for start in range(0, n_voxels, block):
        voxels = slice(start, min(start + block, n_voxels))
        Y = data.Y[:, voxels]
        parts, total = _products(data, design, features, scales, voxels, Y)
        Z, mean = refit.responses(Y, total)
        residuals = held_out.residuals(Y, parts, total, Z, mean, workspace)
        scores = mean_scores(residuals, interpolation, "r2")
        best_alphas[voxels], cv_scores[voxels], _ = select_alphas(scores, alphas, alphas)
        shrunk = refit.shrink(Z, best_alphas[voxels])
        for out, left in zip(predictions, tests, strict=True):
            out[:, voxels] = (left @ shrunk).cpu().numpy()
    choice = np.full(n_voxels, index)
    return BandedFit(cv_scores, predictions[0], predictions[1] if split else None, choice, best_alphas)


def _features(data, bands, weights):
    index = np.concatenate([np.arange(data.slices[b].start, data.slices[b].stop) for b in bands])
    sizes = [data.slices[b].stop - data.slices[b].start for b in bands]
    scales = np.repeat(np.sqrt(np.asarray(weights, dtype=np.float64)), sizes)
    device = data.X.device
    return torch.as_tensor(index, device=device), torch.as_tensor(scales, dtype=data.X.dtype, device=device)


def _grams(data, form, bands, weights, features, scales):
    if form == "dual" and data.kernels is not None:
        weights = torch.as_tensor(np.asarray(weights), dtype=data.X.dtype, device=data.X.device)
        return Grams(dual=torch.einsum("b,bij->ij", weights, data.kernels[list(bands)]))
    if form == "primal" and data.grams is not None:
        return data.grams.select(features, scales)
    return None


def _products(data, design, features, scales, voxels, Y):
    """Scaled ``X_k'Y_k`` and their sum; nothing in dual form."""
    if design.form == "dual":
        return None, None
    if data.products is None:
        rows = [*data.folds, rest_of(data.folds, len(Y))]
        parts = torch.stack([take_rows(design.X, r).T @ take_rows(Y, r) for r in rows if len(r)])
    else:
        parts = data.products[:, features][:, :, voxels] * scales[:, None]
    return parts, parts.sum(0)
