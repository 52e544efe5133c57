"""From the voxels of a subject to the vertices of fsaverage, through NSD's transforms."""

from pathlib import Path

import numpy as np

from . import layout
from .files import read_volume
from .volumes import read_mask

INVALID_COORDINATE = 9999


def read_surface_map(root: str | Path, subject: int, space: str = layout.SPACE) -> dict[str, np.ndarray]:
    """Mask voxel under each fsaverage vertex (nearest voxel at mid-depth of the cortex).

    Goes fsaverage -> subject's white surface (``white-to-fsaverage``: a vertex number for each
    fsaverage vertex) -> grid of the betas (``func1pt8-to-layerB2``: a grid position for each vertex).
    Files are 1-based, 9999 marks what has no position.

    Returns
    -------
    voxel : dict of "lh" and "rh" to int array of shape (n_vertices,)
        Index on the voxel axis of :func:`load_responses`, or -1.

    Raises
    ------
    MissingFileError, DamagedFileError
    """
    root = Path(root)
    ijk, shape = read_mask(root, subject, space)
    index = np.full(shape, -1, np.int32)
    index[tuple(ijk.T)] = np.arange(len(ijk))
    maps = {}
    for hemisphere in layout.HEMISPHERES:
        to_volume, to_white = (
            read_volume(root / layout.transform_key(subject, hemisphere, name))
            for name in layout.TRANSFORMS[space]
        )
        vertex = _zero_based(to_white.reshape(-1), len(to_volume))
        position = _zero_based(to_volume.reshape(-1, 3), shape)
        voxel = np.where((position >= 0).all(axis=1), index[tuple(position.T)], -1)
        maps[hemisphere] = np.where(vertex >= 0, voxel[vertex], -1).astype(np.int32)
    return maps


def _zero_based(coordinates, size):
    """Nearest 0-based index of 1-based coordinates; -1 where invalid or outside ``size``."""
    coordinates = np.nan_to_num(np.asarray(coordinates, np.float64), nan=INVALID_COORDINATE)
    index = np.rint(coordinates).astype(np.int64) - 1
    valid = (index >= 0) & (index < np.asarray(size)) & (coordinates != INVALID_COORDINATE)
    return np.where(valid, index, -1)
