"""Many ridge penalties at the price of a few: compressed filter factors.

A ridge prediction is ``A diag(f(alpha)) Z`` with ``A`` the features of held-out stimuli in
the eigenbasis of the training Gram matrix, and filter factors ``f_j = 1 / (l_j + alpha)``.
Over a grid of alphas the factors form a Cauchy-like matrix of low numerical rank, so

1. the moments of the residual at every alpha are interpolated from a few *nodes*
   (:func:`choose_nodes`), and
2. predictions at all nodes are formed from two to five products per *group* of
   neighbouring eigenvalues (:func:`plan_spectrum`, :func:`filtered_products`).

Both approximations are bounded by a tolerance that is checked when the plan is made.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from scipy.linalg import qr, solve_triangular

N_SAMPLES = 24
"""Eigenvalues at which the interpolation between alphas is controlled."""

SMALLEST_TOLERANCE = 1e-12
"""Below it every penalty is evaluated."""

MIX_COST = 5
"""Cost of mixing one product into one node, in columns of a matrix product (memory-bound)."""

SMALLEST_GROUP = 32
"""Dimensions a group should have on average; smaller ones cost more to mix than they save."""

CHUNK_ROWS = 64
"""Rows of predictions that are mixed and used at a time."""

GROUP_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, np.inf)
"""Candidate widths of a group of eigenvalues, in octaves."""


@dataclass(frozen=True)
class AlphaNodes:
    """Alphas that are evaluated, and how all others follow from them.

    Parameters
    ----------
    nodes : array of shape (n_nodes, )
        Subset of the grid, in the order in which it was chosen.
    weights : array of shape (n_alphas, n_nodes)
        A moment at every alpha is ``weights @ moment_at_nodes``.
    largest : float
        See :func:`filter_factors`.
    """

    nodes: np.ndarray
    weights: np.ndarray
    largest: float = np.inf

    def factors(self, eigenvalues):
        """Filter factors at the nodes, (n_nodes, n_dims)."""
        return filter_factors(eigenvalues, self.nodes, self.largest)


def choose_nodes(alphas, smallest, largest, tolerance, relative=False) -> AlphaNodes:
    """Pick the fewest alphas from which squared errors at all alphas can be interpolated.

    Moments of a residual are sums of products of two filter factors, of one, and of none.
    Rows of that family at sampled eigenvalues are selected by a pivoted QR (an interpolative
    decomposition, Cheng et al. 2005, SIAM J. Sci. Comput. 26:1389).

    Parameters
    ----------
    alphas : array of shape (n_alphas, )
        Positive penalties.
    smallest, largest : float
        Range of the eigenvalues.
    tolerance : float
        Largest allowed error of any product of factors (which are at most 1); 0 evaluates
        every alpha.
    relative : bool
        Whether predictions matter relative to their own size, as for r.

    Returns
    -------
    AlphaNodes
    """
    alphas = np.asarray(alphas, dtype=np.float64)
    if tolerance < SMALLEST_TOLERANCE or len(alphas) < 4:
        return AlphaNodes(alphas, np.eye(len(alphas)), largest if relative else np.inf)
    floor = max(smallest, 1e-3 * alphas.min())
    low, high = np.floor(2 * np.log2(floor)) / 2, np.ceil(2 * np.log2(max(largest, 2 * floor))) / 2
    return _choose_nodes(
        tuple(alphas), low, high, tolerance, relative
    )  # half octaves, so that plans are reused


@lru_cache(maxsize=64)
def _choose_nodes(alphas, log2_smallest, log2_largest, tolerance, relative):
    alphas, largest = np.array(alphas), 2**log2_largest if relative else np.inf
    sample = np.exp2(np.linspace(log2_smallest, log2_largest, N_SAMPLES))
    factors = np.c_[np.ones(len(alphas)), filter_factors(sample, alphas, largest)]
    i, j = np.triu_indices(factors.shape[1])
    family = factors[:, i] * factors[:, j]  # (n_alphas, n_products)
    _, r, pivots = qr(family.T, mode="economic", pivoting=True)
    first = max(1, int(np.sum(np.abs(np.diag(r)) > tolerance * 10)))
    for n_nodes in range(first, len(alphas) + 1):
        weights = np.zeros((len(alphas), n_nodes))
        weights[pivots[:n_nodes]] = np.eye(n_nodes)
        weights[pivots[n_nodes:]] = solve_triangular(r[:n_nodes, :n_nodes], r[:n_nodes, n_nodes:]).T
        if np.abs(family - weights @ family[pivots[:n_nodes]]).max() <= tolerance:
            break
    return AlphaNodes(alphas[pivots[:n_nodes]], weights, largest)


def filter_factors(eigenvalues, alphas, largest=np.inf) -> np.ndarray:
    """Filter factors relative to the smallest alpha, ``(l + alpha_min) / (l + alpha)``.

    Parameters
    ----------
    eigenvalues : array of shape (n_dims, )
    alphas : array of shape (n_alphas, )
    largest : float
        Largest eigenvalue, if factors are to be scaled at each alpha so that its factor is 1.

    Returns
    -------
    array of shape (n_alphas, n_dims), float64, in (0, 1]
    """
    eigenvalues = np.asarray(eigenvalues, dtype=np.float64)
    alphas = np.asarray(alphas, dtype=np.float64)
    scale = 1 if np.isinf(largest) else ((largest + alphas) / (largest + alphas.min()))[:, None]
    return scale * (eigenvalues + alphas.min()) / (eigenvalues + alphas[:, None])


@dataclass(frozen=True)
class SpectrumPlan:
    """Low-rank factorisation of filter factors, group by group.

    Parameters
    ----------
    slices : tuple of slice
        Consecutive ranges of dimensions.
    factors : tuple of tensor of shape (rank, size)
        Scalings of the columns of ``A``, one row per product.
    mix : tensor of shape (n_nodes, total_rank)
        Coefficients of the products at every node.
    """

    slices: tuple[slice, ...]
    factors: tuple[torch.Tensor, ...]
    mix: torch.Tensor

    @property
    def n_products(self) -> float:
        """Matrix products over all dimensions that the plan amounts to."""
        n_dims = self.slices[-1].stop
        return sum(f.numel() for f in self.factors) / n_dims


def plan_spectrum(factors, log_eigenvalues, tolerance, like) -> SpectrumPlan:
    """Factorise filter factors within groups of neighbouring eigenvalues.

    Parameters
    ----------
    factors : array of shape (n_nodes, n_dims)
        Wanted factors; dimensions sorted by eigenvalue.
    log_eigenvalues : array of shape (n_dims, )
        Ascending base-2 logarithms, clipped to the range where factors vary.
    tolerance : float
        Bound on the 2-norm over nodes of the error of any dimension.
    like : tensor
        Gives device and dtype of the plan.

    Returns
    -------
    SpectrumPlan
    """
    edges, groups = _cheapest_groups(factors, log_eigenvalues, tolerance)
    return SpectrumPlan(
        tuple(slice(int(a), int(b)) for a, b in pairwise(edges)),
        tuple(_like(rows, like) for _, rows in groups),
        _like(np.concatenate([mix for mix, _ in groups], axis=1), like),
    )


def _cheapest_groups(factors, log_eigenvalues, tolerance):
    best, best_cost, seen = None, np.inf, set()
    for width in GROUP_WIDTHS:
        edges = _group_edges(log_eigenvalues, width)
        if tuple(edges) in seen or len(edges) > 2 + len(log_eigenvalues) / SMALLEST_GROUP:
            continue
        seen.add(tuple(edges))
        groups = [_compress(factors[:, a:b], tolerance) for a, b in pairwise(edges)]
        sizes = np.diff(edges)
        cost = sum(len(f) * (n + MIX_COST * len(factors)) for (_, f), n in zip(groups, sizes, strict=True))
        if cost < best_cost:
            best, best_cost = (edges, groups), cost
    return best


def _group_edges(log_eigenvalues, width):
    """Indices at which groups of at most ``width`` octaves begin; tiny groups are merged."""
    n_dims = len(log_eigenvalues)
    if not np.isfinite(width):
        return np.array([0, n_dims])
    bins = np.floor((log_eigenvalues - log_eigenvalues[0]) / width)
    edges = [0]
    for start in np.flatnonzero(np.diff(bins)) + 1:
        if start - edges[-1] >= 8:
            edges.append(int(start))
    return np.array([*edges, n_dims])


def _compress(factors, tolerance):
    """``factors ~ mix @ rows`` with the fewest rows; (n_nodes, rank) and (rank, size)."""
    _, basis = np.linalg.eigh(factors @ factors.T)
    basis = basis[:, ::-1]
    rows = basis.T @ factors
    tails = np.sqrt(np.cumsum(rows[::-1] ** 2, axis=0))[::-1].max(axis=1)  # error if cut before row s
    rank = max(1, int(np.sum(tails > tolerance)))
    return basis[:, :rank], rows[:rank]


def _like(array, like):
    return torch.as_tensor(np.ascontiguousarray(array), device=like.device, dtype=like.dtype)


def filtered_chunks(left, right, plan: SpectrumPlan, subtract=None, workspace=None, n_rows=CHUNK_ROWS):
    """``left diag(f) right`` at every node, optionally minus a constant matrix, by chunks of rows.

    A chunk is small enough to be used while it is in the processor's cache.

    Parameters
    ----------
    left : tensor of shape (n_all_rows, n_dims)
    right : tensor of shape (n_dims, n_columns)
    plan : SpectrumPlan
    subtract : tensor of shape (n_all_rows, n_columns) or None
    workspace : Workspace or None
        Buffers to reuse; a chunk lives in one of them until the next.
    n_rows : int
        Rows of a chunk.

    Yields
    ------
    rows : slice
    chunk : tensor of shape (n_rows, n_nodes, n_columns)
    """
    workspace = workspace or Workspace(left)
    parts, mix = _products(left, right, plan, subtract, workspace)
    for start in range(0, len(left), n_rows):
        rows = slice(start, min(start + n_rows, len(left)))
        chunk = workspace.get("nodes", rows.stop - start, len(mix), right.shape[1])
        yield rows, torch.matmul(mix, parts[rows], out=chunk)


def filtered_products(left, right, plan: SpectrumPlan, subtract=None, workspace=None):
    """All chunks of :func:`filtered_chunks` as one tensor of shape (n_nodes, n_rows, n_columns)."""
    ((_, products),) = filtered_chunks(left, right, plan, subtract, workspace, len(left))
    return products.transpose(0, 1)


def _products(left, right, plan, subtract, workspace):
    """Products that the plan mixes, (n_rows, total_rank, n_columns), and how it mixes them."""
    n_columns, n_products = right.shape[1], plan.mix.shape[1] + (subtract is not None)
    flat = workspace.get("parts", len(left), n_products * n_columns)
    start = 0
    for dims, factors in zip(plan.slices, plan.factors, strict=True):
        stop = start + len(factors) * n_columns
        scaled = workspace.get("scaled", factors.shape[1], len(factors), n_columns)
        torch.mul(factors.T[:, :, None], right[dims][:, None], out=scaled)
        torch.mm(left[:, dims], scaled.flatten(1), out=flat[:, start:stop])
        start = stop
    parts, mix = flat.view(len(left), n_products, n_columns), plan.mix
    if subtract is not None:
        parts[:, -1] = subtract
        mix = torch.cat([mix, -torch.ones_like(mix[:, :1])], dim=1)
    return parts, mix


class Workspace:
    """Named buffers that grow and are reused, so that big blocks are allocated once."""

    def __init__(self, like):
        self._like = like
        self._buffers = {}

    def get(self, name, *shape):
        """An uninitialised tensor of this shape; the previous one of that name is overwritten."""
        size = int(np.prod(shape))
        if name not in self._buffers or self._buffers[name].numel() < size:
            self._buffers.pop(name, None)
            self._buffers[name] = torch.empty(size, device=self._like.device, dtype=self._like.dtype)
        return self._buffers[name][:size].view(shape)
