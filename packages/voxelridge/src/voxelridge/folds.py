"""Held-out residuals of ridge regression at a few penalties, by two exact routes.

``spectral``: one eigendecomposition per fold.  ``downdate``: one eigendecomposition of all training data;
the residual of the left-out block k follows from that of the full fit, ``e_k = (I - H_kk)^-1 r_k`` with hat
matrix H (block form of the PRESS identity, Allen 1974, Technometrics 16:125).  Both work in features
(primal) or samples (dual), and in the basis of all training data.
"""

import numpy as np
import torch

from .decomposition import Decomposition, eigh_clamped, power_iteration, symmetric_product
from .filters import AlphaNodes, filtered_chunks, filtered_products, plan_spectrum
from .inputs import Fold, take_rows

PRODUCT_SLACK = 30
"""Errors of single dimensions average out over dimensions and samples, errors of nodes do not."""

EIGH_COST = {"cpu": 6.0, "cuda": 40.0}
"""Time of ``eigh`` of n dimensions in units of n**3 multiply-adds of a matrix product."""

TYPICAL_NODES, TYPICAL_PRODUCTS = 11, 5
"""Penalties evaluated and products that serve them, before the spectrum is known."""

ROUNDING_LIMIT = 1e-6
"""Largest rounding error of a held-out residual, relative to the targets, that the downdate may make."""


def cheaper_form(n_samples, n_features, folds) -> str:
    """Primal when features are fewer than the samples of the smallest training set."""
    return "primal" if n_features <= min(len(fold.train) for fold in folds) else "dual"


def cheaper_route(full: Decomposition, folds, n_targets) -> str:
    """Compare the multiply-adds of the routes; after a decomposition in double precision all that is
    spectral is double, and takes twice as long."""
    (n, p), dual = full.X.shape, full.form == "dual"
    eigh = EIGH_COST.get(full.X.device.type, EIGH_COST["cuda"])
    spectral = downdate = (TYPICAL_PRODUCTS + 1) * n * min(n, p) * n_targets
    for train, test, left_out in folds:
        dims, size = (len(train) if dual else p), len(left_out)
        spectral += eigh * dims**3 + dims**2 * (n_targets + len(test))
        downdate += TYPICAL_NODES * (size**2 * n_targets + 2 * size**3) + TYPICAL_PRODUCTS * size**2 * min(
            n, p
        )
    is_mixed = full.is_double and full.X.dtype == torch.float32
    return "spectral" if spectral * (1 + is_mixed) <= downdate else "downdate"


class SpectralFolds:
    """Fold residuals from one eigendecomposition per fold."""

    name = "spectral"

    def __init__(self, full: Decomposition, folds: list[Fold]):
        self.full, self.folds = full, folds
        self.disjoint = (
            sum(len(fold.left_out) for fold in folds)
            == len(full.X)
            == len(np.unique(np.concatenate([fold.left_out for fold in folds])))
        )
        self.eigenvalues, self.vectors, self.lefts, self.means = [], [], [], []
        for fold in folds:
            gram, left, mean = self._primal(fold) if full.form == "primal" else self._dual(fold)
            eigenvalues, vectors = eigh_clamped(gram)
            self.eigenvalues.append(eigenvalues)
            self.vectors.append(vectors.to(full.left.dtype))
            self.lefts.append((left @ vectors).to(full.left.dtype))
            self.means.append(mean)

    def _primal(self, fold):
        left, centred = self.full.left, self.full.mean is not None
        gram = -symmetric_product(take_rows(left, fold.left_out))
        gram.diagonal().add_(torch.as_tensor(self.full.eigenvalues, device=left.device).to(left.dtype))
        test, mean = take_rows(left, fold.test), None
        if centred:
            mean = take_rows(left, fold.train).mean(0)
            gram -= len(fold.train) * torch.outer(mean, mean)
            test = test - mean
        return gram, test, mean

    def _dual(self, fold):
        kernel = self.full.gram
        train, test = (torch.as_tensor(rows, device=kernel.device) for rows in (fold.train, fold.test))
        gram, left = kernel[train][:, train], kernel[test][:, train]
        if self.full.mean is not None:
            mean = gram.mean(0)
            left = left - mean - left.mean(1, keepdim=True) + mean.mean()
            gram = gram - mean - mean[:, None] + mean.mean()
            gram += gram.diagonal().mean() / len(gram)  # as in decompose
        return gram, left, None

    def spectrum(self):
        """Smallest and largest eigenvalue over folds."""
        return min(l[0] for l in self.eigenvalues), max(l[-1] for l in self.eigenvalues)

    def plan(self, nodes: AlphaNodes, tolerance):
        """Scale the held-out features and compress the filter factors of every fold."""
        self.plans, alpha = [], nodes.nodes.min()
        for k, eigenvalues in enumerate(self.eigenvalues):
            self.lefts[k] = self.lefts[k] / _like(eigenvalues + alpha, self.lefts[k])
            factors = nodes.factors(eigenvalues)
            plan = plan_spectrum(factors, _log2(eigenvalues, alpha), PRODUCT_SLACK * tolerance, self.lefts[k])
            self.plans.append(plan)

    @property
    def n_products(self):
        return float(np.mean([plan.n_products for plan in self.plans]))

    def targets(self, Y):
        """Targets in the basis of all training data, and what each fold leaves out of them."""
        left = self.full.left
        if self.full.form == "dual":
            return left.T @ Y, None
        parts = [take_rows(left, fold.left_out).T @ take_rows(Y, fold.left_out) for fold in self.folds]
        return (sum(parts[1:], start=parts[0]) if self.disjoint else left.T @ Y), parts

    def residuals(self, Y, Z, parts, workspace, predictions=False):
        """Yield, for every fold, predictions minus targets at the nodes.

        Parameters
        ----------
        Y : tensor of shape (n_samples, n_targets)
            Centred when an intercept is fitted.
        Z, parts : tensors
            From :meth:`targets`.
        workspace : Workspace
            The residuals live in it until the next fold.
        predictions : bool
            Yield predictions themselves instead.

        Yields
        ------
        held_out : tensor of shape (n_test_samples, n_targets)
        residuals : iterable of (slice, tensor of shape (n_rows, n_nodes, n_targets))
            Chunks of held-out samples.
        """
        for k, fold in enumerate(self.folds):
            mean = take_rows(Y, fold.train).mean(0) if self.full.mean is not None else None
            if parts is None:
                y = take_rows(Y, fold.train)
                right = self.vectors[k].T @ (y if mean is None else y - mean)
            else:
                xty = Z - parts[k]
                if mean is not None:
                    xty -= len(fold.train) * torch.outer(self.means[k], mean)
                right = self.vectors[k].T @ xty
            held_out = take_rows(Y, fold.test)
            held_out = held_out if mean is None else held_out - mean
            subtract = None if predictions else held_out
            yield held_out, filtered_chunks(self.lefts[k], right, self.plans[k], subtract, workspace)

    def floats_per_target(self):
        """Size of the temporary arrays of one target."""
        rows = max(map(len, self.lefts))
        ranks = max(p.mix.shape[1] + 1 for p in self.plans)
        widest = max(f.numel() for p in self.plans for f in p.factors)
        return rows * ranks + widest + (len(self.lefts) + 4) * self.full.left.shape[1]


class DowndateFolds:
    """Fold residuals from one eigendecomposition of all training data."""

    name = "downdate"

    def __init__(self, full: Decomposition, folds: list[Fold]):
        self.full, self.folds, self.dual = full, folds, full.form == "dual"
        self.test_rows = [
            None if len(fold.test) == len(fold.left_out) else np.searchsorted(fold.left_out, fold.test)
            for fold in folds
        ]

    def spectrum(self):
        """Range of the eigenvalues of all training sets.

        Leaving samples out takes rows from a kernel, whose smallest eigenvalue does not fall, or
        ``X_k'X_k`` from a Gram matrix, where it is estimated: half of what inverse iteration gives, which
        comes from above.
        """
        smallest, largest = self.full.eigenvalues[[0, -1]]
        if not self.dual and smallest > 0:
            smallest = min(self._smallest_eigenvalue(fold.left_out) for fold in self.folds)
        return smallest, largest

    def _smallest_eigenvalue(self, left_out):
        """With ``B = X_k L^-1/2``: ``(L - X_k'X_k)^-1 = L^-1/2 (I + B'(I - BB')^-1 B) L^-1/2``."""
        root = _like(np.sqrt(self.full.eigenvalues), self.full.left)
        rows = take_rows(self.full.left, left_out) / root
        factor, info = torch.linalg.cholesky_ex(torch.eye(len(rows)).to(rows) - rows @ rows.T)
        if int(info):
            return 0.0

        def product(vector):
            scaled = vector / root
            return (scaled + rows.T @ torch.cholesky_solve((rows @ scaled)[:, None], factor)[:, 0]) / root

        return 0.5 / power_iteration(product, torch.ones_like(root))

    def amplification(self, alpha):
        """How much ``(I - H_kk)^-1`` enlarges rounding errors of full residuals (root mean square, worst
        fold)."""
        factors, worst = 1 / (self.full.eigenvalues + alpha), 0.0
        if self.dual:
            factors *= self.full.eigenvalues[0] + alpha
        for fold in self.folds:
            left = take_rows(self.full.left, fold.left_out)
            worst = max(worst, self._invert((left * _like(factors, left)) @ left.T, alpha))
        return worst

    def _invert(self, product, alpha):
        """Make ``V diag(f) V'`` the inverse of ``I - H_kk``, and return the root mean square of its
        singular values.

        In dual form ``I - H = V diag(alpha / (l + alpha)) V'`` and its product with the targets are both
        divided by their largest factor, which keeps small penalties away from rounding.
        """
        if not self.dual:
            product.neg_().diagonal().add_(1)
        if self.full.mean is not None:
            constant = (self.full.eigenvalues[0] + alpha) / (self.full.constant + alpha) if self.dual else 1
            product -= constant / len(self.full.X)
        factor, info = torch.linalg.cholesky_ex(product)
        if int(info):
            return np.inf
        product.copy_(torch.cholesky_inverse(factor))
        return float(product.norm()) / len(product) ** 0.5

    def plan(self, nodes: AlphaNodes, tolerance):
        """Compress filter factors; invert ``I - H_kk`` for every fold and node."""
        alphas, eigenvalues, left = nodes.nodes, self.full.eigenvalues, self.full.left
        if self.dual:
            factors, self.scaled = (eigenvalues[0] + alphas[:, None]) / (eigenvalues + alphas[:, None]), left
        else:
            factors, self.scaled = (
                nodes.factors(eigenvalues),
                left / _like(eigenvalues + alphas.min(), left),
            )
        tolerance *= PRODUCT_SLACK / max(1.0, self.amplification(alphas.min()))
        self.plan_ = plan_spectrum(factors, _log2(eigenvalues, alphas.min()), tolerance, left)
        self.n_products = self.plan_.n_products
        self.inverses = [self._inverses(fold.left_out, alphas) for fold in self.folds]

    def _inverses(self, left_out, alphas):
        """``(I - H_kk)^-1`` at every node, (n_nodes, n_left_out, n_left_out)."""
        rows = take_rows(self.full.left, left_out)
        systems = filtered_products(take_rows(self.scaled, left_out), rows.T, self.plan_).contiguous()
        for system, alpha in zip(systems, alphas, strict=True):
            self._invert(system, alpha)
        return systems

    def targets(self, Y):
        """Targets in the basis of all training data."""
        return self.full.left.T @ Y, None

    def residuals(self, Y, Z, parts, workspace, predictions=False):
        """As :meth:`SpectralFolds.residuals`, never predictions: they are small differences."""
        for k, fold in enumerate(self.folds):
            held_out, scaled = take_rows(Y, fold.left_out), take_rows(self.scaled, fold.left_out)
            full = filtered_products(scaled, Z, self.plan_, None if self.dual else held_out, workspace)
            out = workspace.get("held_out", *full.shape)
            torch.bmm(self.inverses[k], full, out=out)
            out = out.neg_() if self.dual else out
            if self.test_rows[k] is not None:
                held_out, out = take_rows(held_out, self.test_rows[k]), out[:, self.test_rows[k]]
            yield held_out, [(slice(None), out.transpose(0, 1))]

    def floats_per_target(self):
        """Size of the temporary arrays of one target."""
        n_nodes, n_products = self.plan_.mix.shape
        return (2 * n_nodes + n_products) * max(
            len(f.left_out) for f in self.folds
        ) + 4 * self.full.left.shape[1]


def _log2(eigenvalues, alpha):
    return np.log2(np.maximum(eigenvalues, 1e-2 * alpha))


def _like(array, tensor):
    return torch.as_tensor(array, dtype=tensor.dtype, device=tensor.device)
