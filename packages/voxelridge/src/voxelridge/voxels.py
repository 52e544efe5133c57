"""Blocks of voxels through a prepared ridge problem, and what comes out."""

import warnings
from dataclasses import dataclass, field

import numpy as np
import psutil
import torch

from .filters import Workspace
from .folds import fold_products
from .scores import SELECTIONS, mean_scores, select_alphas

EDGE_WARNING = 0.02
"""Share of voxels at an end of the grid above which a warning is given."""

BLOCK_BYTES = 96 * 2**20
"""Temporary memory of a block of voxels on a CPU."""


@dataclass(frozen=True)
class RidgeResult:
    """What :func:`solve_ridge_cv` returns.

    Parameters
    ----------
    best_alphas : array of shape (n_voxels, )
        NaN for voxels without variance, like every other result of theirs.
    cv_scores : array of shape (n_voxels, )
        Mean over folds of the score at the best alpha.
    predictions : array of shape (n_test_stimuli, n_voxels) or None
    weights : array of shape (n_features, n_voxels) or None
    intercept : array of shape (n_voxels, ) or None
        With ``weights`` when an intercept was fitted.
    curve : array of shape (n_alphas, n_voxels) or None
        Score at every alpha of the ascending grid.
    edge_share : tuple of float
        Shares of voxels whose best alpha is the smallest and the largest of the grid.
    route : dict
        How it was computed: form, folds, eigh_dtype, n_nodes, n_products.
    """

    best_alphas: np.ndarray
    cv_scores: np.ndarray
    predictions: np.ndarray | None = None
    weights: np.ndarray | None = None
    intercept: np.ndarray | None = None
    curve: np.ndarray | None = None
    edge_share: tuple[float, float] = (0.0, 0.0)
    route: dict = field(default_factory=dict)


class VoxelFit:
    """Blocks of voxels in, results out."""

    def __init__(self, held_out, refit, tests, alphas, weights, grids, selection):
        self.held_out, self.refit, self.tests = held_out, refit, tests
        self.alphas, self.grids, self.selection = alphas, grids, selection
        self.n_nodes = weights.shape[1]
        X = refit.design.X
        self.interpolation = torch.as_tensor(weights, device=X.device)
        self.workspace = Workspace(X)

    def allocate(self, Y, return_weights, return_curve):
        n_voxels, X = Y.shape[1], self.refit.design.X
        dtype = torch.empty(0, dtype=X.dtype).numpy().dtype
        self.out = {}
        for name, grid in self.grids.items():
            out = {key: np.full(n_voxels, np.nan) for key in ("best_alphas", "cv_scores")}
            if self.tests is not None:
                out["predictions"] = np.empty((len(self.tests), n_voxels), dtype)
            if return_curve:
                out["curve"] = np.empty((len(grid), n_voxels))
            if return_weights is not False:
                given = return_weights is not True
                out["weights"] = return_weights if given else np.empty((X.shape[1], n_voxels), dtype)
                out["mean"] = np.zeros(n_voxels, dtype)
            self.out[name] = out

    def block(self, Y, voxels):
        """Fit one block, (n_stimuli, n_block_voxels)."""
        constant = (Y.amax(0) == Y.amin(0)).cpu().numpy()
        design, offset = self.refit.design, 0.0
        if design.intercept:
            offset = Y.mean(0)
            Y = Y - offset
        parts, total = fold_products(design, Y, self.held_out.per_fold)
        Z, mean = self.refit.responses(Y, total)
        as_predictions = self.selection == "r"
        residuals = self.held_out.residuals(Y, parts, total, Z, mean, self.workspace, as_predictions)
        scores = mean_scores(residuals, self.interpolation, self.selection)
        for name, grid in self.grids.items():
            best, best_scores, curve = select_alphas(scores, self.alphas, grid)
            values = {"best_alphas": best, "cv_scores": best_scores, "curve": curve}
            values |= self._refit(name, Z, best, mean + offset)
            for key, out in self.out[name].items():
                values[key][..., constant] = np.nan
                out[..., voxels] = values[key]

    def _refit(self, name, Z, best, mean):
        wanted, values = self.out[name], {}
        if not {"predictions", "weights"} & set(wanted):
            return values
        shrunk = self.refit.shrink(Z, best)
        if "predictions" in wanted:
            values["predictions"] = (self.tests @ shrunk + mean).cpu().numpy()
        if "weights" in wanted:
            values["weights"] = self.refit.weights(shrunk).cpu().numpy()
            values["mean"] = (mean + torch.zeros_like(shrunk[0])).cpu().numpy()
        return values

    def results(self, feature_mean, warn):
        """One result per grid; ``feature_mean`` turns response means into intercepts."""
        return {name: self._result(name, grid, feature_mean, warn) for name, grid in self.grids.items()}

    def _result(self, name, grid, feature_mean, warn):
        out = dict(self.out[name])
        mean, best = out.pop("mean", None), out["best_alphas"]
        if mean is not None and feature_mean is not None:
            out["intercept"] = mean - feature_mean.cpu().numpy() @ np.asarray(out["weights"])
        valid = max(int(np.isfinite(best).sum()), 1)
        share = (float((best == grid[0]).sum() / valid), float((best == grid[-1]).sum() / valid))
        if warn and len(grid) > 1 and max(share) > EDGE_WARNING:
            warnings.warn(_edge_message(name, grid, share), stacklevel=4)
        design = self.refit.design
        route = {
            "form": design.form,
            "folds": self.held_out.name,
            "eigh_dtype": str(design.eigh_dtype).removeprefix("torch."),
            "n_nodes": self.n_nodes,
            "n_products": round(self.held_out.n_products, 2),
        }
        return RidgeResult(**out, edge_share=share, route=route)


def _edge_message(name, grid, share):
    grid_name = f" {name!r}" if name else ""
    return (
        f"{share[0]:.1%} of voxels choose the smallest alpha ({grid[0]:g}) and {share[1]:.1%} the largest "
        f"({grid[-1]:g}) of grid{grid_name}; widen alphas on that side"
    )


def block_size(fit, element_size, device):
    """Voxels a block, so that its temporary arrays fit into memory."""
    budget = min(BLOCK_BYTES, psutil.virtual_memory().available // 5)
    if device.type == "cuda":
        budget = torch.cuda.mem_get_info(device)[0] // 3
    return max(32, int(budget // (element_size * fit.held_out.floats_per_voxel())))


def choose_device(device) -> torch.device:
    """``"auto"`` takes CUDA when there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def check_inputs(X, Y, X_test, alphas, selection):
    """Validated inputs: floating tensors and ascending grids by name."""
    if selection not in SELECTIONS:
        raise ValueError(f"selection is {selection!r} but must be one of {SELECTIONS}")
    X = _tensor("X", X)
    Y = _tensor("Y", Y, X.dtype)
    X_test = None if X_test is None else _tensor("X_test", X_test, X.dtype)
    if len(X) != len(Y):
        raise ValueError(
            f"X has {len(X)} stimuli but Y has {len(Y)}; select the same stimuli in the same order"
        )
    if X_test is not None and X_test.shape[1] != X.shape[1]:
        raise ValueError(
            f"X_test has {X_test.shape[1]} features but X has {X.shape[1]}; use the same feature space"
        )
    grids = alphas if isinstance(alphas, dict) else {"": alphas}
    return X, Y, X_test, {name: _grid(name, values) for name, values in grids.items()}


def _grid(name, alphas):
    grid = np.unique(np.atleast_1d(np.asarray(alphas, dtype=np.float64)))
    if not (grid.size and np.isfinite(grid).all() and grid[0] > 0):
        low = grid[0] if grid.size else "missing"
        raise ValueError(
            f"alphas {name!r} must be positive and finite (smallest: {low}); use a small positive alpha"
        )
    return grid


def _tensor(name, array, dtype=None):
    tensor = torch.as_tensor(array)
    if tensor.ndim != 2:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)} but must have 2 dimensions; reshape it to (n_stimuli, n)"
        )
    if dtype is None:
        dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    tensor = tensor.to(dtype)
    bad = ~torch.isfinite(tensor).all(0)
    if bad.any():
        raise ValueError(
            f"{name} has values that are not finite in {int(bad.sum())} of {tensor.shape[1]} columns; "
            "drop or fill them"
        )
    return tensor
