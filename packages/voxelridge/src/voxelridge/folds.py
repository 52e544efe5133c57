"""Held-out residuals of ridge regression at a few alphas, by two exact routes.

``spectral``: one eigendecomposition per fold.  ``downdate``: one eigendecomposition of all
training data; the residual of a held-out block k then follows from the residual of the full
fit, ``e_k = (I - H_kk)^-1 r_k`` with hat matrix H (block form of the PRESS identity, Allen
1974, Technometrics 16:125).  Both work in features (primal) or stimuli (dual).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from .filters import AlphaNodes, filter_factors, filtered_chunks, filtered_products, plan_spectrum
from .gram import Grams, eigh_clamped, is_well_conditioned, rest_of, take_rows


@dataclass(frozen=True)
class Design:
    """Features of the training stimuli and how they are treated.

    Parameters
    ----------
    X : tensor of shape (n_stimuli, n_features)
        Centred when an intercept is fitted.
    folds : list of int arrays
    form : {"primal", "dual"}
    intercept, standardize : bool
    eigh_dtype : torch.dtype
        Of Gram matrices and eigendecompositions.
    """

    X: torch.Tensor
    folds: list
    form: str
    intercept: bool = False
    standardize: bool = False
    eigh_dtype: torch.dtype = torch.float32

    @property
    def all_rows(self):
        return np.arange(len(self.X))

    @cached_property
    def transposed(self):
        """``X_k'`` of every fold and of the rest, and their stimuli; products with them are faster."""
        rows = [*self.folds, rest_of(self.folds, len(self.X))]
        return [(take_rows(self.X, r).T.contiguous(), r) for r in rows if len(r)]


@dataclass(frozen=True)
class Basis:
    """Eigenbasis of one training set.

    Parameters
    ----------
    train : int array of shape (n_train, )
    eigenvalues : float64 array of shape (n_dims, )
    vectors : tensor of shape (n_features or n_train, n_dims)
        Maps ``X'Y`` (primal) or ``Y`` (dual) to the basis; feature scales included.
    mean : tensor of shape (n_features, ) or None
        Training mean of the features, subtracted from them.
    scale : tensor of shape (n_features, ) or None
        Multiplies features when they are standardised.
    exact : tensor or None
        ``vectors`` as the eigendecomposition gave them.  Features or a kernel times rounded
        vectors would lose small eigenvalues beside a large one.
    """

    train: np.ndarray
    eigenvalues: np.ndarray
    vectors: torch.Tensor
    mean: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    exact: torch.Tensor | None = None

    def project(self, rows):
        """Features or kernel rows in the basis, without rounding on the way."""
        return (rows.to(self.exact.dtype) @ self.exact).to(self.vectors.dtype)

    def shift(self, alpha_min):
        """``l + alpha_min``, the reference of the filter factors."""
        return torch.as_tensor(
            self.eigenvalues + alpha_min, dtype=self.vectors.dtype, device=self.vectors.device
        )


def primal_basis(design: Design, gram, train) -> Basis:
    """Basis from a training Gram matrix ``X'X`` (not modified)."""
    mean, scale = None, None
    gram = gram.to(design.eigh_dtype)
    if design.intercept:
        mean = take_rows(design.X, train).mean(0)
        gram = gram - len(train) * torch.outer(mean, mean).to(gram.dtype)
    if design.standardize:
        variance = gram.diagonal() / len(train)
        constant = variance <= 1e-10 * variance.max()
        scale = torch.where(constant, 0.0, variance.clamp(min=1e-300).rsqrt())
        gram = gram * scale[:, None] * scale
    eigenvalues, vectors = eigh_clamped(gram)
    if scale is not None:
        vectors = vectors * scale[:, None]
    return Basis(train, _numpy(eigenvalues), vectors.to(design.X.dtype), mean, scale, vectors)


def dual_basis(design: Design, kernel, train):
    """Basis from the kernel of all stimuli, and the kernel as this training set sees it."""
    mean, scale = None, None
    if design.standardize:
        rows = take_rows(design.X, train)
        mean, deviation = rows.mean(0), rows.std(0, correction=0)
        scale = torch.where(deviation <= 1e-5 * deviation.max(), 0.0, 1 / deviation)
        X = ((design.X - mean) * scale).to(design.eigh_dtype)
        kernel = X @ X.T
    index = torch.as_tensor(train, device=kernel.device)
    if design.intercept:
        column = kernel[:, index].mean(1)
        kernel = kernel - column[:, None] - column + column[index].mean()
    eigenvalues, vectors = eigh_clamped(kernel[index][:, index].to(design.eigh_dtype))
    return Basis(train, _numpy(eigenvalues), vectors.to(design.X.dtype), mean, scale, vectors), kernel


def targets_in_basis(basis: Basis, design: Design, Y, xty=None):
    """Training responses in the basis, and their mean.

    Parameters
    ----------
    Y : tensor of shape (n_stimuli, n_voxels)
    xty : tensor of shape (n_features, n_voxels) or None
        ``X'Y`` over the training stimuli (primal only).

    Returns
    -------
    Z : tensor of shape (n_dims, n_voxels)
    mean : tensor of shape (n_voxels, ) or float
    """
    mean = take_rows(Y, basis.train).mean(0) if design.intercept else 0.0
    if design.form == "dual":
        return basis.vectors.T @ (take_rows(Y, basis.train) - mean), mean
    if design.intercept:
        xty = xty - len(basis.train) * torch.outer(basis.mean, mean)
    return basis.vectors.T @ xty, mean


class SpectralFolds:
    """Fold residuals from one eigendecomposition a fold."""

    name, per_fold, smallest_pivot = "spectral", True, 1.0

    def __init__(self, design: Design, grams: Grams):
        self.design = design
        self.bases, self.lefts = [], []
        total = grams.total()
        for k, fold in enumerate(design.folds):
            train = np.setdiff1d(design.all_rows, fold)
            if design.form == "primal":
                basis = primal_basis(design, total - grams.primal[k], train)
                held_out = take_rows(design.X, fold)
                left = basis.project(held_out if basis.mean is None else held_out - basis.mean)
            else:
                basis, kernel = dual_basis(design, grams.dual, train)
                rows = take_rows(kernel, fold)[:, torch.as_tensor(train, device=kernel.device)]
                left = basis.project(rows)
            self.bases.append(replace(basis, exact=None))
            self.lefts.append(left)

    def spectrum(self):
        """Smallest and largest eigenvalue over folds."""
        return min(b.eigenvalues[0] for b in self.bases), max(b.eigenvalues[-1] for b in self.bases)

    def is_well_conditioned(self, alpha):
        return all(is_well_conditioned(b.eigenvalues, alpha) for b in self.bases)

    def plan(self, nodes: AlphaNodes, tolerance):
        """Scale the held-out features and compress the filter factors of every fold."""
        self.plans, alpha = [], nodes.nodes.min()
        for k, basis in enumerate(self.bases):
            self.lefts[k] = self.lefts[k] / basis.shift(alpha)
            factors = filter_factors(basis.eigenvalues, nodes.nodes)
            template = self.plans[0] if self.plans else None
            self.plans.append(plan_spectrum(factors, _log2(basis, alpha), tolerance, self.lefts[k], template))
        self.n_products = float(np.mean([plan.n_products for plan in self.plans]))

    def residuals(self, Y, parts, total, Z, mean, workspace, predictions=False):
        """Yield, for every fold, predictions minus responses at the nodes.

        Parameters
        ----------
        Y : tensor of shape (n_stimuli, n_voxels)
        parts, total : list of tensor, tensor
            From :func:`fold_products`.
        Z, mean : tensors
            Responses in the basis of all training stimuli (unused here).
        workspace : Workspace
            The residuals live in it until the next fold.
        predictions : bool
            Yield predictions themselves instead.

        Yields
        ------
        held_out : tensor of shape (n_held_out, n_voxels)
        residuals : iterable of (slice, tensor of shape (n_rows, n_nodes, n_voxels))
            Chunks of held-out stimuli.
        """
        for k, fold in enumerate(self.design.folds):
            xty = None if total is None else total - parts[k]
            Z, mean = targets_in_basis(self.bases[k], self.design, Y, xty)
            held_out = take_rows(Y, fold) - mean
            subtract = None if predictions else held_out
            yield held_out, filtered_chunks(self.lefts[k], Z, self.plans[k], subtract, workspace)

    def floats_per_voxel(self):
        """Size of the temporary arrays of one voxel."""
        rows = max(map(len, self.lefts))
        ranks = max(p.mix.shape[1] + 1 for p in self.plans)
        widest = max(f.numel() for p in self.plans for f in p.factors)
        return rows * ranks + widest + (len(self.lefts) + 4) * self.lefts[0].shape[1]


def fold_products(design: Design, Y, per_fold):
    """``X_k' Y_k`` of every fold (or None), and ``X'Y`` of all stimuli; nothing in dual form."""
    if design.form == "dual":
        return None, None
    parts = [columns @ take_rows(Y, rows) for columns, rows in design.transposed]
    total = sum(parts[1:], start=parts[0])
    return (parts if per_fold else None), total


class DowndateFolds:
    """Fold residuals from one eigendecomposition of all training stimuli."""

    name, per_fold = "downdate", False

    def __init__(self, design: Design, basis: Basis):
        self.design, self.basis = design, basis
        self.left = basis.vectors if design.form == "dual" else basis.project(design.X)
        self.smallest_pivot = 1.0

    def spectrum(self):
        """Range of the eigenvalues of all training sets.

        Leaving stimuli out takes rows from a kernel, whose smallest eigenvalue does not fall,
        or ``X_k'X_k`` from a Gram matrix, where it is estimated.
        """
        smallest, largest = self.basis.eigenvalues[[0, -1]]
        if self.design.form == "primal" and smallest > 0:
            smallest = min(self._smallest_eigenvalue(fold) for fold in self.design.folds)
        return smallest, largest

    def _smallest_eigenvalue(self, fold, n_iter=20):
        """Half of the estimate by inverse iteration, which comes from above; 0 if there is none.

        With ``B = A_k L^-1/2``: ``(L - A_k'A_k)^-1 = L^-1/2 (I + B'(I - BB')^-1 B) L^-1/2``.
        """
        root = self.basis.shift(0).sqrt()
        rows = take_rows(self.left, fold) / root
        factor, info = torch.linalg.cholesky_ex(torch.eye(len(rows)).to(rows) - rows @ rows.T)
        if int(info):
            return 0.0
        vector = torch.ones_like(root)
        for _ in range(n_iter):
            scaled = vector / vector.norm() / root
            inner = torch.cholesky_solve((rows @ scaled)[:, None], factor)[:, 0]
            vector = (scaled + rows.T @ inner) / root
        return 0.5 / float(vector.norm())

    def is_well_conditioned(self, alpha):
        return is_well_conditioned(self.basis.eigenvalues, alpha)

    def plan(self, nodes: AlphaNodes, tolerance):
        """Compress filter factors; invert ``I - H_kk`` for every fold and node."""
        alpha, eigenvalues = nodes.nodes.min(), self.basis.eigenvalues
        scaled = self.left
        if self.design.form == "dual":
            factors = nodes.nodes[:, None] / (eigenvalues + nodes.nodes[:, None])
        else:
            factors = filter_factors(eigenvalues, nodes.nodes)
            scaled = self.left / self.basis.shift(alpha)
        self.scaled = scaled
        self.plan_ = plan_spectrum(factors, _log2(self.basis, alpha), tolerance, self.left)
        self.n_products = self.plan_.n_products
        self.inverses = [self._inverse(fold) for fold in self.design.folds]

    def _inverse(self, fold):
        """``(I - H_kk)^-1`` at every node, (n_nodes, n_held_out, n_held_out)."""
        rows = take_rows(self.left, fold)
        systems = filtered_products(take_rows(self.scaled, fold), rows.T, self.plan_).contiguous()
        if self.design.form == "primal":
            systems.neg_().diagonal(dim1=1, dim2=2).add_(1)
        if self.design.intercept:
            systems -= 1 / len(self.design.X)
        for system in systems:
            factor, info = torch.linalg.cholesky_ex(system)
            if int(info):
                self.smallest_pivot = 0.0
                return None
            self.smallest_pivot = min(self.smallest_pivot, float(factor.diagonal().min()) ** 2)
            system.copy_(torch.cholesky_inverse(factor))
        return systems

    def residuals(self, Y, parts, total, Z, mean, workspace, predictions=False):
        """As :meth:`SpectralFolds.residuals`; uses the basis of all training stimuli."""
        dual = self.design.form == "dual"
        for fold, inverse in zip(self.design.folds, self.inverses, strict=True):
            held_out = take_rows(Y, fold) - mean
            full = filtered_products(
                take_rows(self.scaled, fold), Z, self.plan_, None if dual else held_out, workspace
            )
            out = workspace.get("held_out", *full.shape)
            torch.bmm(inverse, full, out=out)
            out = out.neg_() if dual else out
            out = out.add_(held_out) if predictions else out
            yield held_out, [(slice(None), out.transpose(0, 1))]

    def floats_per_voxel(self):
        """Size of the temporary arrays of one voxel."""
        n_nodes, n_products = self.plan_.mix.shape
        return (2 * n_nodes + n_products) * max(map(len, self.design.folds)) + 4 * self.left.shape[1]


def _log2(basis, alpha):
    return np.log2(np.maximum(basis.eigenvalues, 1e-2 * alpha))


def _numpy(tensor):
    return tensor.double().cpu().numpy()
