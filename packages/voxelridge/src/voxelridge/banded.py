"""Ridge on several feature spaces (bands), each with a weight of its own.

Every candidate *weighting* scales the bands by the roots of its weights before one ridge fit (banded ridge,
Nunez-Elizalde et al. 2019, NeuroImage 197:482; Dupre la Tour et al. 2022, NeuroImage 264:119728).  Taking,
for every target, the best of all weightings and penalties overfits that choice where samples are few.
Instead the candidates are averaged: each with its posterior probability, from its cross-validated squared
error in this target and from how often it is right in all targets (pseudo-Bayesian model averaging, Yao et
al. 2018, Bayesian Anal. 13:917, with an empirical prior).  With many samples one candidate takes all, as if
chosen.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from .decomposition import Decomposition, decompose, symmetric_product
from .folds import cheaper_form
from .solver import CrossValidation

TEMPER = 0.5
"""Exponent of the pseudo-likelihood: errors of held-out samples are not independent of each other."""

PRIOR_TARGETS = 5.0
"""Weight of a uniform prior over candidates, in targets."""

NEGLIGIBLE = 1e-3
"""A candidate less probable than this is left out."""

MAX_LOG10_RATIO = 2.0
"""Two bands try weights from 1:100 to 100:1."""

SHARED_BYTES = 4 * 2**30
"""Gram matrices and kernels larger than this are computed anew for every weighting."""

KEPT_BYTES = 2**30
"""Decompositions beyond this are computed anew for the fits of all samples."""


def candidate_weightings(n_bands, n_joint, seed=0) -> np.ndarray:
    """Weights to try, (n_bands + n_joint, n_bands), each summing to 1.

    Every band alone; then for two bands ratios on a logarithmic grid, for more equal weights and draws from
    Dirichlet distributions with concentrations 0.1 and 1.
    """
    if n_bands == 1:
        return np.ones((1, 1))
    if n_bands == 2:
        ratio = np.logspace(-MAX_LOG10_RATIO, MAX_LOG10_RATIO, n_joint) if n_joint > 1 else np.ones(n_joint)
        joint = np.c_[ratio, np.ones(n_joint)] / (1 + ratio)[:, None]
    else:
        rng = np.random.default_rng(seed)
        joint = [np.full(n_bands, 1 / n_bands)]
        joint += [rng.dirichlet(np.full(n_bands, (0.1, 1.0)[i % 2])) for i in range(n_joint - 1)]
    return np.concatenate([np.eye(n_bands), joint[:n_joint]])


def posterior(errors, n_samples, average=True) -> np.ndarray:
    """Probability of every candidate for every target.

    Parameters
    ----------
    errors : array of shape (n_weightings, n_alphas, n_targets)
        Cross-validated mean squared errors.
    n_samples : int
    average : bool
        Otherwise the best candidate of each target gets all.

    Returns
    -------
    array of shape (n_weightings, n_alphas, n_targets)
        Sums to 1 over the first two axes.
    """
    flat = errors.reshape(-1, errors.shape[-1])
    if not average:
        return (np.arange(len(flat))[:, None] == flat.argmin(0)).astype(float).reshape(errors.shape)
    floor = np.finfo(float).eps * np.maximum(flat.max(0), np.finfo(float).tiny)
    log_likelihood = -0.5 * TEMPER * n_samples * np.log(np.maximum(flat, floor))
    likelihood = np.exp(log_likelihood - log_likelihood.max(0))
    uniform, n_targets = 1 / len(flat), flat.shape[1]
    prior = np.full(len(flat), uniform)
    for _ in range(50):  # expectation maximisation
        scaled = prior[:, None] * likelihood
        scaled /= scaled.sum(0)
        prior = (scaled.sum(1) + PRIOR_TARGETS * uniform) / (n_targets + PRIOR_TARGETS)
    probable = np.where(
        scaled.reshape(errors.shape).sum(1, keepdims=True) < NEGLIGIBLE, 0, scaled.reshape(errors.shape)
    )
    return probable / probable.sum((0, 1))


@dataclass
class Bands:
    """Features and targets of models of any bands, and what these models share.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
        Bands side by side; centred when an intercept is fitted.
    mean : float64 tensor of shape (n_features, ) or None
    Y : tensor of shape (n_samples, n_targets)
    members : list of int arrays
        Features of every band.
    folds : list of Fold
    alphas : array of shape (n_alphas, )
        Ascending.
    tolerance : float or None
        See :class:`voxelridge.RidgeCV`.
    batch : int or None
    """

    X: torch.Tensor
    mean: torch.Tensor | None
    Y: torch.Tensor
    members: list
    folds: list
    alphas: np.ndarray
    tolerance: float | None = None
    batch: int | None = None
    _shared: dict = field(default_factory=dict)

    def errors(self, weights):
        """Cross-validated mean squared errors of one weighting (n_bands, ).

        Returns
        -------
        array of shape (n_alphas, n_targets)
        Decomposition
            To be handed to :meth:`refit`.
        """
        X, mean, gram, form = self._problem(weights)
        solver = CrossValidation(
            X, mean, self.folds, self.alphas, self.Y, "mse", self.tolerance, form, gram=gram
        )
        errors = np.empty((len(self.alphas), self.Y.shape[1]))
        for targets, scores, _, _ in solver.blocks(self.Y, self.batch):
            errors[:, targets] = -scores
        return errors, solver.full

    def refit(self, weights, mixture, full: Decomposition | None = None):
        """Fit all samples with one weighting and a mixture of penalties.

        Parameters
        ----------
        weights : array of shape (n_bands, )
        mixture : array of shape (n_alphas, n_targets)
        full : Decomposition or None
            From :meth:`errors`; computed again if None.

        Yields
        ------
        targets : int array
            Those with a share in the mixture, block by block.
        full : Decomposition
            Of the scaled features of the bands whose weight is not 0.
        shrunk : tensor of shape (n_dims, n_block_targets)
        """
        wanted = np.flatnonzero(mixture.any(0))
        if full is None and len(wanted):
            X, mean, gram, form = self._problem(weights)
            full = decompose(X, mean, form, self.alphas[0], gram)
        batch = max(64, 2**25 // max(1, len(self.Y)))
        for start in range(0, len(wanted), batch):
            targets = wanted[start : start + batch]
            y = self.Y[:, targets].to(full.X)
            y = y if self.mean is None else y - y.mean(0)
            yield targets, full, full.shrink_mixed(full.left.T @ y, self.alphas, mixture[:, targets])

    def features(self, weights):
        """Indices of the features of all bands whose weight is not 0, and their scales."""
        used = [band for band, weight in enumerate(weights) if weight > 0]
        index = np.concatenate([self.members[band] for band in used])
        scales = np.repeat(np.sqrt(np.asarray(weights)[used]), [len(self.members[band]) for band in used])
        device = self.X.device
        return torch.as_tensor(index, device=device), torch.as_tensor(
            scales, dtype=self.X.dtype, device=device
        )

    def _problem(self, weights):
        index, scales = self.features(weights)
        form = cheaper_form(len(self.X), len(index), self.folds)
        mean = None if self.mean is None else self.mean[index] * scales
        return self.X[:, index] * scales, mean, self._gram(weights, index, scales, form), form

    def _gram(self, weights, index, scales, form):
        """From shared products where they fit into memory."""
        n, p = self.X.shape
        if form == "primal":
            if p * p * self.X.element_size() > SHARED_BYTES:
                return None
            if "gram" not in self._shared:
                self._shared["gram"] = symmetric_product(self.X)
            return self._shared["gram"][index][:, index] * scales[:, None] * scales
        if len(self.members) * n * n * self.X.element_size() > SHARED_BYTES:
            return None
        total = 0.0
        for band in np.flatnonzero(weights):
            if band not in self._shared:
                self._shared[band] = symmetric_product(self.X[:, self.members[band]].T)
            total = total + float(weights[band]) * self._shared[band]
        return total


def weigh(bands: Bands, weightings, average=True, known=None):
    """Errors and probabilities of all weightings, and those decompositions that are worth keeping.

    Parameters
    ----------
    bands : Bands
    weightings : array of shape (n_weightings, n_bands)
    average : bool
        See :func:`posterior`.
    known : dict or None
        Errors by weighting (a tuple); those that are missing are added.

    Returns
    -------
    errors, probabilities : arrays of shape (n_weightings, n_alphas, n_targets)
    kept : dict of int to Decomposition
        By weighting, for :meth:`Bands.refit`.
    """
    known, kept, n_bytes = {} if known is None else known, {}, 0
    for k, weights in enumerate(weightings):
        if tuple(weights) not in known:
            known[tuple(weights)], full = bands.errors(weights)
            n_bytes += sum(a.nbytes for a in (full.X, full.gram, full.vectors, full.left))
            if n_bytes <= KEPT_BYTES:
                kept[k] = full
    errors = np.stack([known[tuple(weights)] for weights in weightings])
    return errors, posterior(errors, len(bands.Y), average), kept
