"""Ridge on all training samples, in the eigenbasis of their Gram matrix or kernel."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

CONDITION_LIMIT = 1e-4
"""Largest relative rounding error of ``l + alpha`` that a decomposition in single precision may have."""

EPS32 = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Decomposition:
    """Eigenbasis of ``X'X`` (primal) or ``XX'`` (dual).

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
        Centred when an intercept is fitted; its dtype is that of all products with targets.
    mean : float64 tensor of shape (n_features, ) or None
        What was subtracted from the features.
    form : {"primal", "dual"}
    gram : tensor of shape (n_features, n_features) or (n_samples, n_samples)
    eigenvalues : float64 array of shape (n_dims, )
        Ascending, none below 0.
    vectors : tensor of shape (n_features or n_samples, n_dims)
        In the precision of the decomposition: features times rounded vectors would lose small eigenvalues
        beside a large one.
    left : tensor of shape (n_samples, n_dims)
        ``X V`` (primal) or ``V`` (dual) in the dtype of X; the targets in the basis are ``left' Y``.
    constant : float
        Eigenvalue of a constant vector in the kernel of centred features, see :func:`decompose`.
    """

    X: torch.Tensor
    mean: torch.Tensor | None
    form: str
    gram: torch.Tensor
    eigenvalues: np.ndarray
    vectors: torch.Tensor
    left: torch.Tensor
    constant: float = 0.0

    @property
    def is_double(self):
        return self.gram.dtype == torch.float64

    def test_features(self, X):
        """Features of other samples in the basis, (n_test_samples, n_dims)."""
        X = X if self.mean is None else X - self.mean
        X = X.to(self.vectors.dtype)
        if self.form == "dual":
            X = X @ self.X.to(X.dtype).T
        return (X @ self.vectors).to(self.left.dtype)

    def shrink(self, Z, alphas):
        """Targets in the basis, ``Z / (l + alpha)`` with one alpha per target."""
        eigenvalues = torch.as_tensor(self.eigenvalues, dtype=Z.dtype, device=Z.device)
        return Z / (eigenvalues[:, None] + torch.as_tensor(alphas, dtype=Z.dtype, device=Z.device))

    def shrink_mixed(self, Z, alphas, mixture):
        """Targets in the basis, shrunk by a mixture of penalties (n_alphas, n_targets) per target."""
        smallest = self.eigenvalues[:, None] + alphas.min()
        left, scale, right = np.linalg.svd(
            smallest / (self.eigenvalues[:, None] + alphas), full_matrices=False
        )
        rank = int(np.sum(scale > torch.finfo(Z.dtype).eps * scale[0]))
        left, right = left[:, :rank] * scale[:rank] / smallest, right[:rank] @ mixture
        return Z * (torch.as_tensor(left).to(Z) @ torch.as_tensor(right).to(Z))

    def coef(self, shrunk):
        """Coefficients of the features, (n_features, n_targets), without rounding on the way."""
        coef = self.vectors @ shrunk.to(self.vectors.dtype)
        coef = self.X.to(coef.dtype).T @ coef if self.form == "dual" else coef
        return coef.to(shrunk.dtype)

    def in_double(self):
        """The same with all products in double precision."""
        X = self.X.double()
        if not self.is_double:
            return decompose(X, self.mean, self.form, 0.0)
        return replace(self, X=X, left=X @ self.vectors if self.form == "primal" else self.vectors)


def decompose(X, mean, form, alpha, gram=None) -> Decomposition:
    """Eigendecomposition in double precision where single would not do.

    A kernel of centred features has a constant eigenvector with eigenvalue 0, which mixes with others and,
    beside a small alpha, drowns them in rounding.  It gets their mean eigenvalue instead: targets are
    centred too, so that nothing else changes.

    Parameters
    ----------
    X, mean, form
        See :class:`Decomposition`.
    alpha : float
        Smallest penalty.
    gram : tensor or None
        ``X'X`` or ``XX'`` if it is known.
    """
    side = X if form == "primal" else X.T
    gram = symmetric_product(side) if gram is None else gram
    if gram.dtype == torch.float32 and needs_double(gram, alpha):
        gram = symmetric_product(side.double())
    constant = 0.0
    if mean is not None and form == "dual":
        constant = float(gram.diagonal().mean())
        gram = gram + constant / len(gram)
    eigenvalues, vectors = eigh_clamped(gram)
    left = X.to(vectors.dtype) @ vectors if form == "primal" else vectors
    return Decomposition(X, mean, form, gram, eigenvalues, vectors, left.to(X.dtype), constant)


def symmetric_product(X, n_blocks=4):
    """``X'X`` by blocks, the lower ones copied from the upper: 10/16 of the products."""
    out = X.new_empty(X.shape[1], X.shape[1])
    edges = np.linspace(0, X.shape[1], (n_blocks if X.shape[1] >= 512 else 1) + 1).astype(int)
    blocks = [slice(a, b) for a, b in pairwise(edges)]
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            out[rows, columns] = X[:, rows].T @ X[:, columns]
            if rows != columns:
                out[columns, rows] = out[rows, columns].T
    return out


def eigh_clamped(matrix):
    """Eigenvalues as a float64 array (ascending, negative ones set to 0) and eigenvectors."""
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return eigenvalues.clamp_(min=0).double().cpu().numpy(), vectors


def needs_double(matrix, alpha) -> bool:
    """Whether single precision may spoil ``l + alpha`` for an eigenvalue l, told without a decomposition.

    A Gram matrix and its decomposition have an absolute error of about ``eps * l_max`` in every eigenvalue,
    however small.  The smallest eigenvalue is estimated by inverse iteration.
    """
    error = EPS32 * power_iteration(lambda v: matrix @ v, matrix.diagonal()) / CONDITION_LIMIT
    if error <= alpha:
        return False
    shifted = matrix.clone()
    shifted.diagonal().add_(alpha)
    factor, info = torch.linalg.cholesky_ex(shifted)
    if int(info):
        return True
    inverse = power_iteration(lambda v: torch.cholesky_solve(v[:, None], factor)[:, 0], matrix.diagonal())
    return error > 0.5 / inverse


def power_iteration(product, start, n_iter=20) -> float:
    """Largest eigenvalue of a positive definite operator, estimated from below."""
    vector = start + start.mean()
    for _ in range(n_iter):
        vector = product(vector / vector.norm())
    return float(vector.norm())
