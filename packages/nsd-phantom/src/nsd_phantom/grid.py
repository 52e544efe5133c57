"""Voxel grid of a simulated subject: where the folded surface meets a small slab.

NSD's voxels are 1.8 mm, or 1 mm in its finer space.  A phantom subject keeps that affine but has a small
head: the surface is shrunk until nsdgeneral has as many voxels as asked for, the same number in either space.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.ndimage import binary_dilation

from .areas import REAL_VOXELS, ROI_LABELS
from .cortex import HEMISPHERES, N_VERTICES, Hemisphere, make_hemisphere

SPACES = {"func1pt8mm": ("func1pt8", 1.8), "func1mm": ("func1pt0", 1.0)}
"""Functional spaces: their name in files of transforms, and the size of their voxels in mm."""
DEPTHS = {"layerB1": 0.25, "layerB2": 0.5, "layerB3": 0.75}
"""Cortical depths between the white (0) and the pial (1) surface."""
MARGIN = 2
MIN_VOXELS, MAX_VOXELS = 100, 6000
"""Of nsdgeneral in an average subject: enough for every area, and no more than the mesh has points for."""


@dataclass(frozen=True)
class Layout:
    """The voxels of one subject's brain mask, in C order of ``ijk``.

    Attributes
    ----------
    subject : int
    space : str
        One of :data:`SPACES`.
    shape : tuple of int
        Grid, (x, y, z); three different numbers.
    ijk : int array of shape (n_voxels, 3)
        0-based.
    side : int array of shape (n_voxels,)
        0 left, 1 right, -1 not cortex.
    vertex : int array of shape (n_voxels,)
        Vertex of fsaverage5 that the voxel belongs to; -1 not cortex.
    labels : mapping of ROI volume to int16 array of shape (n_voxels,)
        -1 not cortex, 0 unlabelled.
    profile : array of shape (n_voxels, n_families)
    reliability : array of shape (n_voxels,)
    prf : array of shape (n_voxels, 3)
        Degrees; NaN outside cortex, as are the two before.
    vertex_ijk : mapping of (hemisphere, surface) to array of shape (n_vertices, 3)
        0-based voxel coordinates, not rounded.
    surface_labels : mapping of (hemisphere, ROI volume) to int16 array of shape (n_vertices,)
    """

    subject: int
    space: str
    shape: tuple[int, int, int]
    ijk: np.ndarray
    side: np.ndarray
    vertex: np.ndarray
    labels: dict[str, np.ndarray]
    profile: np.ndarray
    reliability: np.ndarray
    prf: np.ndarray
    vertex_ijk: dict[tuple[str, str], np.ndarray]
    surface_labels: dict[tuple[str, str], np.ndarray]

    @property
    def affine(self) -> np.ndarray:
        """NSD's: voxels of the space's size, the centre of the slab at world 0."""
        size = SPACES[self.space][1]
        affine = np.diag([size] * 3 + [1.0])
        affine[:3, 3] = -(np.array(self.shape) - 1) / 2 * size
        return affine

    @property
    def nsdgeneral(self) -> np.ndarray:
        """Mask of shape (n_voxels,)."""
        return self.labels["nsdgeneral"] == 1

    @property
    def cortex(self) -> np.ndarray:
        """Mask of shape (n_voxels,)."""
        return self.side >= 0

    def volume(self, values, fill=0) -> np.ndarray:
        """Put one value per voxel into the grid, (x, y, z)."""
        values = np.asarray(values)
        grid = np.full(self.shape, fill, values.dtype)
        grid[tuple(self.ijk.T)] = values
        return grid


def make_layout(subject: int, n_voxels: int, seed: int, space: str = "func1pt8mm") -> Layout:
    """Build the brain of one subject.

    Parameters
    ----------
    subject : int
        1 to 8.
    n_voxels : int
        nsdgeneral voxels of an average subject; subjects differ as NSD's do.
    seed : int
    space : str
        One of :data:`SPACES`.

    Returns
    -------
    layout : Layout
        The same for the same arguments, whichever other subjects exist.
    """
    rng = np.random.default_rng([seed, subject, 11])
    hemispheres = {side: make_hemisphere(side, subject, rng) for side in HEMISPHERES}
    target = round(n_voxels * REAL_VOXELS[subject] / 13931)
    size = _fit_voxel_size(hemispheres, target)
    return _grid_layout(hemispheres, size, subject, space)


def _fit_voxel_size(hemispheres, target):
    """Voxel size in mm of the unshrunk head at which nsdgeneral has ``target`` voxels."""
    low, high = 0.5, 40.0
    for _ in range(30):
        size = (low * high) ** 0.5
        points = np.concatenate([_points(hemisphere) for hemisphere in hemispheres.values()])
        general = np.concatenate([np.tile(h.labels["nsdgeneral"], 3) for h in hemispheres.values()])
        owner = _owners(points / size)
        n = general[owner].sum()
        if n == target:
            break
        low, high = (size, high) if n > target else (low, size)
    return size


def _points(hemisphere: Hemisphere, depths=None):
    """Vertices at each cortical depth, (n_depths * n_vertices, 3), mm."""
    depths = depths or tuple(DEPTHS.values())
    return np.concatenate([(1 - d) * hemisphere.white + d * hemisphere.pial for d in depths])


def _owners(ijk):
    """Index of the point nearest to the centre of each occupied voxel."""
    voxel = np.round(ijk).astype(int)
    away = np.linalg.norm(ijk - voxel, axis=1)
    voxel -= voxel.min(axis=0)
    key = np.ravel_multi_index(voxel.T, voxel.max(axis=0) + 1)
    order = np.argsort(away, kind="stable")
    _, first = np.unique(key[order], return_index=True)
    return order[first]


def _grid_layout(hemispheres, size, subject, space) -> Layout:
    points = np.concatenate([_points(hemisphere) for hemisphere in hemispheres.values()]) / size
    owner = _owners(points)
    side, vertex = np.divmod(owner, 3 * N_VERTICES)
    vertex %= N_VERTICES
    labels = {
        volume: np.where(side == 0, *(hemispheres[h].labels[volume][vertex] for h in HEMISPHERES))
        for volume in ROI_LABELS
    }
    wanted = np.any([values > 0 for values in labels.values()], axis=0)
    voxel = np.round(points[owner]).astype(int)
    corner = voxel[wanted].min(axis=0) - MARGIN
    span = voxel[wanted].max(axis=0) + MARGIN + 1 - corner
    shape, pad = _distinct_shape(span, subject)
    corner = corner - pad
    voxel -= corner

    mask = np.zeros(shape, bool)
    mask[tuple(voxel[wanted].T)] = True
    mask = binary_dilation(mask)
    ijk = np.argwhere(mask)
    source = np.full(shape, -1)
    inside = ((voxel >= 0) & (voxel < shape)).all(axis=1)
    source[tuple(voxel[inside].T)] = np.flatnonzero(inside)
    source = source[mask]
    depths = {"white": 0.0, **DEPTHS, "pial": 1.0}
    surfaces = {
        (h, s): _points(hemispheres[h], (d,)) / size - corner for h in HEMISPHERES for s, d in depths.items()
    }
    layout = Layout(
        subject, space, shape, ijk, side, vertex, labels,
        *(_pick(hemispheres, name, side, vertex) for name in ("profile", "reliability", "prf")),
        surfaces,
        {(h, v): hemispheres[h].labels[v] for h in HEMISPHERES for v in ROI_LABELS},
    )  # fmt: skip
    return _take_voxels(layout, source)


def _pick(hemispheres, name, side, vertex):
    left, right = (getattr(hemispheres[h], name)[vertex] for h in HEMISPHERES)
    return np.where((side == 0).reshape(-1, *[1] * (left.ndim - 1)), left, right)


def _take_voxels(layout: Layout, source) -> Layout:
    """Per-voxel arrays of the brain mask; voxels without cortex get -1 or NaN."""
    outside = source < 0

    def take(values, missing):
        taken = values[source].copy()
        taken[outside] = missing
        return taken

    return replace(
        layout,
        side=take(layout.side, -1).astype(np.int8),
        vertex=take(layout.vertex, -1).astype(np.int32),
        labels={name: take(values, -1) for name, values in layout.labels.items()},
        profile=take(layout.profile, np.nan),
        reliability=take(layout.reliability, np.nan),
        prf=take(layout.prf, np.nan),
    )


def _distinct_shape(span, subject):
    """Smallest grid with three different dimensions that no other subject can have.

    The sum of the dimensions modulo 8 encodes the subject.
    """
    pads = sorted(product(range(6), repeat=3), key=lambda pad: (sum(pad), pad))
    for pad in pads:
        shape = tuple(int(n) for n in span + np.array(pad))
        if len(set(shape)) == 3 and sum(shape) % 8 == subject % 8:
            return shape, np.array(pad) // 2
    raise AssertionError(f"no grid near {tuple(span)} has three different dimensions")
