"""Cross-validated ridge scores of all targets at all penalties, block by block of targets."""

import numpy as np
import psutil
import torch

from .decomposition import CONDITION_LIMIT, EPS32, Decomposition, decompose
from .filters import AlphaNodes, Workspace, choose_nodes
from .folds import ROUNDING_LIMIT, DowndateFolds, SpectralFolds, cheaper_form, cheaper_route
from .scores import mean_scores

TOLERANCES = {"r2": 3e-7, "mse": 3e-7, "r": 1e-10}
"""Default tolerance by scoring: curves of r are flatter, and may rest on small parts of predictions."""

BLOCK_BYTES = 96 * 2**20
"""Temporary memory of a block of targets on a CPU."""


class CrossValidation:
    """Everything that does not depend on the targets.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
    mean : float64 tensor of shape (n_features, ) or None
        Mean of the features when an intercept is fitted; X is centred already.
    folds : list of Fold
    alphas : array of shape (n_alphas, )
        Ascending.
    Y : tensor of shape (n_samples, n_targets)
        Their number and scale decide the route and the tolerance.
    scoring : {"mse", "r2", "r"}
    tolerance : float or None
        Error of products of filter factors interpolated between penalties; 0 evaluates every penalty.
    form : {"primal", "dual"} or None
    route : {"spectral", "downdate"} or None
        None chooses the cheapest; "downdate" is left where rounding errors would grow.
    gram : tensor or None
        ``X'X`` or ``XX'``, for that form.

    Attributes
    ----------
    full : Decomposition
    """

    def __init__(
        self, X, mean, folds, alphas, Y, scoring="mse", tolerance=None, form=None, route=None, gram=None
    ):
        self.alphas, self.scoring = alphas, scoring
        self.scale = 1.0 if mean is not None else relative_second_moment(Y)
        self.tolerance = (TOLERANCES[scoring] if tolerance is None else tolerance) / self.scale
        form = form or cheaper_form(*X.shape, folds)
        full = decompose(X, mean, form, alphas[0], gram)
        if not self._holds_out(full, folds, Y.shape[1], route):
            self._holds_out(full.in_double(), folds, Y.shape[1], route)
        self.workspace = Workspace(self.full.X)

    def _holds_out(self, full: Decomposition, folds, n_targets, route) -> bool:
        """Prepare the folds; False where single precision is not enough for them."""
        self.full, is_double = full, full.X.dtype == torch.float64
        route = "spectral" if self.scoring == "r" else route or cheaper_route(full, folds, n_targets)
        if route == "downdate":
            held_out = DowndateFolds(full, folds)
            error = torch.finfo(full.X.dtype).eps * held_out.amplification(self.alphas[0]) * self.scale**0.5
            if error <= ROUNDING_LIMIT:
                self._plan(held_out)
                return True
        if not is_double and (route == "downdate" or full.is_double):
            return False
        held_out = SpectralFolds(full, folds)
        smallest, largest = held_out.spectrum()
        if not is_double and EPS32 * largest > CONDITION_LIMIT * (smallest + self.alphas[0]):
            return False
        self._plan(held_out)
        return True

    def _plan(self, held_out):
        self.held_out = held_out
        self.nodes: AlphaNodes = choose_nodes(
            self.alphas, *held_out.spectrum(), self.tolerance, self.scoring == "r"
        )
        held_out.plan(self.nodes, self.tolerance)

    @property
    def route(self) -> dict:
        """How scores are computed."""
        full = self.full
        return {
            "form": full.form,
            "folds": self.held_out.name,
            "eigh_dtype": str(full.vectors.dtype).removeprefix("torch."),
            "dtype": str(full.X.dtype).removeprefix("torch."),
            "n_nodes": len(self.nodes.nodes),
            "n_products": round(self.held_out.n_products, 2),
        }

    def blocks(self, Y, batch=None):
        """Score all targets.

        Parameters
        ----------
        Y : tensor of shape (n_samples, n_targets), on any device
        batch : int or None
            Targets per block; None sizes blocks to memory.

        Yields
        ------
        targets : slice
        scores : float64 array of shape (n_alphas, n_block_targets)
            Mean over folds, the higher the better.
        Z : tensor of shape (n_dims, n_block_targets)
            Targets in the basis of all training data.
        mean : tensor of shape (n_block_targets, )
            Subtracted from the targets; zeros without an intercept.
        """
        X = self.full.X
        interpolation = torch.as_tensor(self.nodes.weights, device=X.device)
        batch = batch or self._block_size()
        for start in range(0, Y.shape[1], batch):
            targets = slice(start, min(start + batch, Y.shape[1]))
            y = Y[:, targets].to(X)
            mean = y.mean(0) if self.full.mean is not None else torch.zeros_like(y[0])
            y = y if self.full.mean is None else y - mean
            Z, parts = self.held_out.targets(y)
            as_predictions = self.scoring == "r"
            residuals = self.held_out.residuals(y, Z, parts, self.workspace, as_predictions)
            scores = mean_scores(residuals, interpolation, self.scoring)
            yield targets, scores.cpu().numpy(), Z, mean

    def _block_size(self):
        X = self.full.X
        budget = min(BLOCK_BYTES, psutil.virtual_memory().available // 5)
        if X.is_cuda:
            budget = torch.cuda.mem_get_info(X.device)[0] // 3
        return max(32, int(budget // (X.element_size() * self.held_out.floats_per_target())))


def is_constant(Y) -> np.ndarray:
    """Targets without variance, (n_targets, )."""
    return (Y.amax(0) == Y.amin(0)).cpu().numpy()


def relative_second_moment(Y) -> float:
    """Largest ratio of the mean square of a target to its variance, over targets that vary.

    Interpolated squared errors are accurate relative to the mean square, scores matter relative to the
    variance.
    """
    variance, mean = torch.var_mean(Y, 0, correction=0)
    varies = (variance > 0) & (Y.amax(0) > Y.amin(0))
    ratio = 1 + mean[varies].double().square() / variance[varies]
    return float(ratio.max()) if len(ratio) else 1.0


def edge_proportions(best, n_alphas, counted) -> tuple[float, float]:
    """Proportions of targets whose best penalty is the smallest and the largest of the grid.

    Parameters
    ----------
    best : int array of shape (n_targets, )
        Index of the best penalty.
    n_alphas : int
    counted : bool array of shape (n_targets, )
    """
    if n_alphas == 1 or not counted.any():
        return 0.0, 0.0
    return float((best[counted] == 0).mean()), float((best[counted] == n_alphas - 1).mean())


def choose_device(device) -> torch.device:
    """``"auto"`` takes CUDA when there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
