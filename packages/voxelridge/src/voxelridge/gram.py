"""Folds, Gram matrices and their eigendecomposition with a precision policy."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch

CONDITION_LIMIT = 1e-4
"""Largest relative rounding error of ``l + alpha`` that a float32 eigendecomposition may have."""


def make_folds(n_stimuli, cv=5, groups=None):
    """Held-out stimuli of every fold.

    Parameters
    ----------
    n_stimuli : int
    cv : int, array of shape (n_stimuli, ), or list of arrays
        Number of consecutive folds without shuffling (as scikit-learn's ``KFold``), a fold
        label for every stimulus, or the indices that each fold holds out.
    groups : array of shape (n_stimuli, ) or None
        Stimuli of one group stay in one fold; groups are dealt, largest first, to the
        smallest fold.  Only with an integer ``cv``.

    Returns
    -------
    list of int64 arrays, sorted, pairwise disjoint

    Raises
    ------
    ValueError
        If folds are empty, overlap or do not fit ``n_stimuli``.
    """
    if isinstance(cv, (int, np.integer)):
        if not 2 <= cv <= n_stimuli:
            raise ValueError(f"cv is {cv} but must lie between 2 and n_stimuli = {n_stimuli}; change cv")
        if groups is not None:
            return _grouped_folds(n_stimuli, cv, np.asarray(groups))
        return np.array_split(np.arange(n_stimuli), cv)
    if groups is not None:
        raise ValueError("groups only go with an integer cv; drop groups or give the number of folds")
    if isinstance(cv, (list, tuple)) and np.ndim(cv[0]) == 1:
        folds = [np.unique(np.asarray(fold, dtype=np.int64)) for fold in cv]
    else:
        labels = np.asarray(cv)
        if labels.shape != (n_stimuli,):
            raise ValueError(
                f"cv has shape {labels.shape} but fold labels need ({n_stimuli},); give one per stimulus"
            )
        folds = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    _check_folds(folds, n_stimuli)
    return folds


def _grouped_folds(n_stimuli, n_folds, groups):
    if groups.shape != (n_stimuli,):
        raise ValueError(
            f"groups has shape {groups.shape} but n_stimuli is {n_stimuli}; give one per stimulus"
        )
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < n_folds:
        raise ValueError(f"groups has {len(names)} groups but cv asks for {n_folds} folds; lower cv")
    fold_sizes, fold_of = np.zeros(n_folds, dtype=int), {}
    for index in np.argsort(-sizes, kind="stable"):
        fold_of[names[index]] = int(np.argmin(fold_sizes))
        fold_sizes[fold_of[names[index]]] += sizes[index]
    labels = np.array([fold_of[group] for group in groups])
    return [np.flatnonzero(labels == fold) for fold in range(n_folds)]


def _check_folds(folds, n_stimuli):
    if len(folds) < 2:
        raise ValueError(f"cv has {len(folds)} fold but at least 2 are needed; add folds")
    joined = np.concatenate(folds)
    if min(map(len, folds)) == 0:
        raise ValueError("cv has an empty fold; drop it")
    if joined.min() < 0 or joined.max() >= n_stimuli:
        raise ValueError(
            f"cv holds out stimulus {joined.max()} but n_stimuli is {n_stimuli}; indices are 0-based"
        )
    if len(np.unique(joined)) < len(joined):
        raise ValueError("cv holds out a stimulus in two folds; folds must be disjoint")


def take_rows(array, rows):
    """Rows of a tensor; a view where they are consecutive."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return array[rows[0] : rows[-1] + 1]
    return array[torch.as_tensor(rows, device=array.device)]


@dataclass(frozen=True)
class Grams:
    """Second moments of features, to be shared by every fit on them.

    Parameters
    ----------
    primal : tensor of shape (n_folds + 1, n_features, n_features) or None
        ``X_k' X_k`` of the stimuli that fold k holds out; the last one belongs to stimuli
        that no fold holds out.
    dual : tensor of shape (n_stimuli, n_stimuli) or None
        ``X X'``.
    """

    primal: torch.Tensor | None = None
    dual: torch.Tensor | None = None

    def total(self):
        """Second moments of all stimuli."""
        return self.dual if self.primal is None else self.primal.sum(0)

    def select(self, features, scales=None) -> "Grams":
        """Grams of some of the features, each multiplied by its scale.

        Parameters
        ----------
        features : int array of shape (n_selected, )
        scales : array of shape (n_selected, ) or None
        """
        if self.primal is None:
            raise ValueError(
                "only primal Grams can be restricted to features; compute them with form='primal'"
            )
        index = torch.as_tensor(features, device=self.primal.device)
        primal = self.primal[:, index][:, :, index]
        if scales is not None:
            scales = torch.as_tensor(scales, device=primal.device, dtype=primal.dtype)
            primal = primal * scales[:, None] * scales
        return Grams(primal=primal)


def compute_grams(X, folds, form) -> Grams:
    """Second moments of features.

    Parameters
    ----------
    X : tensor of shape (n_stimuli, n_features)
    folds : list of int arrays
        May be empty: then the Gram of all stimuli is all there is.
    form : {"primal", "dual"}

    Returns
    -------
    Grams
    """
    if form == "dual":
        return Grams(dual=X @ X.T)
    primal = X.new_zeros(len(folds) + 1, X.shape[1], X.shape[1])
    for out, rows in zip(primal, [*folds, rest_of(folds, len(X))], strict=True):
        if len(rows):
            _gram_into(take_rows(X, rows), out)
    return Grams(primal=primal)


def rest_of(folds, n_stimuli):
    """Stimuli that no fold holds out."""
    return np.setdiff1d(np.arange(n_stimuli), np.concatenate([[], *folds]))


def _gram_into(X, out, n_blocks=4):
    """``X'X`` by blocks, the lower ones copied from the upper: 10/16 of the products."""
    edges = np.linspace(0, X.shape[1], (n_blocks if X.shape[1] >= 512 else 1) + 1).astype(int)
    blocks = [slice(a, b) for a, b in itertools.pairwise(edges)]
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            out[rows, columns] = X[:, rows].T @ X[:, columns]
            if rows != columns:
                out[columns, rows] = out[rows, columns].T


def is_well_conditioned(eigenvalues, alpha) -> bool:
    """Whether float32 rounding of a Gram matrix leaves ``l + alpha`` intact for every eigenvalue l.

    Gram and eigendecomposition have an absolute error of about ``eps * l_max`` in every
    eigenvalue, however small.
    """
    smallest = max(float(eigenvalues[0]), 0.0)
    return torch.finfo(torch.float32).eps * float(eigenvalues[-1]) <= CONDITION_LIMIT * (smallest + alpha)


def largest_eigenvalue(matrix, n_iter=20) -> float:
    """Lower estimate of the largest eigenvalue by power iteration."""
    vector = matrix.diagonal().clone() + matrix.diagonal().mean()
    for _ in range(n_iter):
        vector = matrix @ (vector / vector.norm())
    return float(vector.norm())


def eigh_clamped(matrix):
    """Eigenvalues (ascending, negative ones set to 0) and eigenvectors of a symmetric matrix."""
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return eigenvalues.clamp_(min=0), vectors
