"""Which way to solve: features or stimuli, one eigendecomposition or several, which precision."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from .filters import choose_nodes
from .folds import Basis, Design, DowndateFolds, SpectralFolds, dual_basis, primal_basis, targets_in_basis
from .gram import CONDITION_LIMIT, compute_grams, is_well_conditioned, largest_eigenvalue

PRODUCT_SLACK, ILL_CONDITIONED_SLACK = 30, 3
"""Errors of single dimensions average out over dimensions and stimuli, errors of nodes do not.
Less so where one direction dominates, and scores there hardly depend on alpha."""

EIGH_COST = {"cpu": 6.0, "cuda": 40.0}
"""Time of ``eigh`` of n dimensions in units of n**3 multiply-adds of a matrix product."""

TYPICAL_NODES = 11
"""Alphas evaluated, before the spectrum is known."""

SMALLEST_PIVOT = 1e-3
"""Below this ``I - H_kk`` is too close to singular for the downdate route."""


def cheaper_form(n_stimuli, n_features, folds) -> str:
    """Primal when features are fewer than the stimuli of the smallest training set."""
    return "primal" if n_features <= n_stimuli - max(map(len, folds)) else "dual"


def cheaper_route(design: Design, n_voxels) -> str:
    """Compare multiply-adds that only one of the routes needs."""
    n, p = design.X.shape
    sizes = np.array([len(fold) for fold in design.folds], dtype=float)
    dims = np.full(len(sizes), float(p)) if design.form == "primal" else n - sizes
    eigh = EIGH_COST.get(design.X.device.type, EIGH_COST["cuda"])
    spectral = (eigh * dims**3 + dims**2 * n_voxels).sum()
    downdate = TYPICAL_NODES * (sizes**2 * n_voxels + 2 * sizes**3).sum()
    return "spectral" if spectral <= downdate else "downdate"


def solve_folds(
    design: Design, alphas, n_voxels, tolerance, precision="auto", route="auto", grams=None, rotate=True
):
    """Everything that does not depend on the responses.

    Parameters
    ----------
    design : Design
    alphas : array of shape (n_alphas, )
        Ascending.
    n_voxels : int
        Only for the choice of the route.
    tolerance : float
    precision : {"auto", "single", "double"}
    route : {"auto", "spectral", "downdate"}
    grams : Grams or None
    rotate : bool
        Whether ill-conditioned features may be rotated to their principal axes.  Otherwise ``X'Y`` in
        single precision drowns small axes in the rounding of large ones.

    Returns
    -------
    held_out : SpectralFolds or DowndateFolds, planned
    refit : Refit
    nodes : AlphaNodes
    """
    original, automatic = design, route == "auto"
    if automatic:
        route = cheaper_route(design, n_voxels)
    if route == "downdate" and design.standardize:
        raise ValueError(
            "fold_route is 'downdate' but standardize is True, which needs fold_route='spectral'"
        )
    double = precision == "double" or design.X.dtype == torch.float64
    design = replace(design, eigh_dtype=torch.float64 if double else torch.float32)
    grams, refit = _full_basis(design, grams, alphas.min(), route, precision == "auto", rotate)
    if automatic and rotate and route == "downdate" and _is_mixed(refit.design):
        # the identity behind it amplifies what single precision rounds
        return solve_folds(original, alphas, n_voxels, tolerance, precision, "spectral", None)
    held_out = _held_out(refit, grams, route)
    single = refit.design.eigh_dtype == torch.float32
    if precision == "auto" and single and not held_out.is_well_conditioned(alphas.min()):
        design = replace(design, eigh_dtype=torch.float64)
        grams, refit = _full_basis(design, None, alphas.min(), route, False, rotate)
        held_out = _held_out(refit, grams, route)
    nodes = choose_nodes(alphas, *held_out.spectrum(), tolerance)
    slack = PRODUCT_SLACK if held_out.is_well_conditioned(alphas.min()) else ILL_CONDITIONED_SLACK
    held_out.plan(nodes, slack * tolerance)
    if held_out.smallest_pivot < SMALLEST_PIVOT:
        return solve_folds(original, alphas, n_voxels, tolerance, precision, "spectral", None, rotate)
    return held_out, refit, nodes


def _is_mixed(design):
    """Whether single-precision features need a double-precision eigendecomposition."""
    return design.X.dtype == torch.float32 and design.eigh_dtype == torch.float64


def _held_out(refit, grams, route):
    if route == "downdate":
        return DowndateFolds(refit.design, refit.basis)
    return SpectralFolds(refit.design, grams)


def _full_basis(design, grams, alpha, route, check, rotate):
    """Basis of all training stimuli; in double precision where single would not do."""
    if grams is None:
        grams = compute_grams(
            design.X.to(design.eigh_dtype), design.folds if route == "spectral" else [], design.form
        )
    total = grams.total()
    eps = torch.finfo(torch.float32).eps
    suspicious = design.eigh_dtype == torch.float32 and (
        eps * largest_eigenvalue(total) > CONDITION_LIMIT * alpha
    )
    if design.form == "primal":
        basis = primal_basis(design, total, design.all_rows)
    else:
        basis, _ = dual_basis(design, total, design.all_rows)
    if check and suspicious and not is_well_conditioned(basis.eigenvalues, alpha):
        double = replace(design, eigh_dtype=torch.float64)
        return _full_basis(double, None, alpha, route, False, rotate)
    if rotate and _is_mixed(design) and design.form == "primal" and not design.standardize:
        rotated = replace(design, X=basis.project(design.X))
        grams, refit = _full_basis(rotated, None, alpha, route, False, rotate=False)
        return grams, replace(refit, rotation=basis.exact)
    return grams, Refit(design, basis)


@dataclass(frozen=True)
class Refit:
    """Fit on all training stimuli, at one penalty per voxel.

    Parameters
    ----------
    design : Design
    basis : Basis
    rotation : tensor of shape (n_features, n_features) or None
        From the features as given to those of the design.
    """

    design: Design
    basis: Basis
    rotation: torch.Tensor | None = None

    def responses(self, Y, total):
        """Responses in the basis and their mean; see :func:`targets_in_basis`."""
        return targets_in_basis(self.basis, self.design, Y, total)

    def test_features(self, X_test, mean):
        """Test features in the basis, (n_test_stimuli, n_dims)."""
        X = X_test if mean is None else X_test - mean
        if self.rotation is not None:
            X = (X.to(self.rotation.dtype) @ self.rotation).to(X.dtype)
        if self.basis.mean is not None:
            X = X - self.basis.mean
        if self.design.form == "primal":
            return self.basis.project(X)
        if self.basis.scale is not None:
            X = X * self.basis.scale**2
        dtype = self.basis.exact.dtype
        return self.basis.project(X.to(dtype) @ self.design.X.to(dtype).T).to(X.dtype)

    def shrink(self, Z, alphas):
        """``Z / (l + alpha)`` with one alpha per voxel."""
        eigenvalues = torch.as_tensor(self.basis.eigenvalues, dtype=Z.dtype, device=Z.device)
        alphas = torch.as_tensor(alphas, dtype=Z.dtype, device=Z.device)
        return Z / (eigenvalues[:, None] + alphas)

    def weights(self, shrunk):
        """Weights of the original features, (n_features, n_voxels)."""
        weights = self.basis.vectors @ shrunk
        if self.rotation is not None:
            return self.rotation.to(weights.dtype) @ weights
        if self.design.form == "dual":
            weights = self.design.X.T @ weights
            if self.basis.scale is not None:
                weights = weights * self.basis.scale[:, None] ** 2
        return weights
