"""Volumes on the grid of the betas: mask, regions, ncsnr, and the way from voxels to fsaverage."""

import logging
from pathlib import Path

import numpy as np
import xarray as xr

from ..tables import ROI_VOLUMES
from . import layout
from .files import read_volume, reading
from .layout import InvalidValueError, UnknownLabelError

log = logging.getLogger(__name__)

INVALID_COORDINATE = 9999


def read_mask(
    root: str | Path, subject: int, space: str = layout.SPACE
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Voxels of nsdgeneral.

    Returns
    -------
    ijk : array of shape (n_voxels, 3), int16
        0-based, in C order.
    shape : tuple of 3 int
        Grid, (x, y, z).

    Raises
    ------
    MissingFileError, DamagedFileError, InvalidValueError

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> ijk, shape = nsd.read_mask(root, subject=1)
    >>> ijk[:2].tolist()
    [[...], [...]]
    """
    path = Path(root) / layout.roi_key(subject, "nsdgeneral", space)
    mask = read_volume(path) > 0
    if mask.ndim != 3 or not mask.any():
        raise InvalidValueError(f"{path} has shape {mask.shape} and {mask.sum()} voxels; expected a 3-d mask")
    return np.argwhere(mask).astype(np.int16), mask.shape


def read_roi_labels(
    root: str | Path, subject: int, volume: str, space: str = layout.SPACE
) -> tuple[np.ndarray, dict[int, str]]:
    """Labels of an ROI volume and their names.

    Parameters
    ----------
    root : path
    subject : int
    volume : str
        File stem, such as ``"floc-faces"``.
    space : str
        One of :data:`tables.SPACES`.

    Returns
    -------
    labels : array of shape (x, y, z), int16
        -1 outside the cortex, 0 cortex without a region.
    names : dict of int to str
        From the colour table.

    Raises
    ------
    MissingFileError, DamagedFileError, UnknownLabelError, InvalidValueError

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> labels, names = nsd.read_roi_labels(root, 1, "prf-visualrois")
    >>> names[7], bool((labels == 7).any())
    ('hV4', True)
    """
    path = Path(root) / layout.roi_key(subject, volume, space)
    values = read_volume(path)
    keys = layout.ctab_keys(subject, volume)
    table = next((Path(root) / key for key in keys if (Path(root) / key).is_file()), Path(root) / keys[0])
    with reading(table):
        names = layout.parse_ctab(table.read_text(encoding="utf-8", errors="replace"), table)
    found = np.unique(values)
    if len(wrong := found[found != np.rint(found)]):  # NaN too
        raise InvalidValueError(
            f"{path} holds {wrong[0]:g}, which is no label; labels are whole numbers (interpolated volumes "
            "have others): download the file again"
        )
    if unknown := [f"{value:g}" for value in found if value > 0 and value not in names]:
        raise UnknownLabelError(
            f"{path} holds labels {', '.join(unknown)}, but {table} names only "
            f"{', '.join(f'{k} {v}' for k, v in names.items())}; download both again"
        )
    return values.astype(np.int16), names


def read_mask_labels(root, subject, space, ijk, shape):
    """Labels at the voxels of the mask, and names, of every ROI volume that is there."""
    labels, names = {}, {}
    for volume in ROI_VOLUMES:
        path = root / layout.roi_key(subject, volume, space)
        if volume not in layout.REQUIRED_VOLUMES and not path.exists():
            log.info("%s is not there; label_%s is left out", path, volume)
            continue
        values, names[volume] = read_roi_labels(root, subject, volume, space)
        layout.check_grid(path, values.shape, shape)
        labels[volume] = values[tuple(ijk.T)]
    return labels, names


def read_ncsnr(path, ijk, shape):
    """Signal-to-noise ratios (n_voxels,), float32; NaN where NSD has none."""
    volume = read_volume(path)
    layout.check_grid(path, volume.shape, shape)
    return volume[tuple(ijk.T)].astype(np.float32)


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

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> ijk, _ = nsd.read_mask(root, subject=1)
    >>> vertex_voxel = nsd.read_surface_map(root, subject=1)["lh"]
    >>> height = np.where(vertex_voxel >= 0, ijk[vertex_voxel, 2], np.nan)  # of one number per voxel, a map
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


def describe_voxels(root: str | Path, responses: xr.Dataset) -> xr.Dataset:
    """Regions, ceilings and places on the cortical surface of one subject's voxels, without responses.

    Parameters
    ----------
    root : path
        NSD's tree.
    responses : Dataset of :func:`load_responses`

    Returns
    -------
    voxels : Dataset
        Coordinates over ``voxel`` as in ``responses``; ``vertex_voxel_lh`` and ``vertex_voxel_rh``, the voxel
        under each fsaverage vertex or -1; and, over ``volume``, ``n_first_label_outside``: how many voxels
        outside the mask carry label 1 of that region file.

    Raises
    ------
    MissingFileError, DamagedFileError, UnknownLabelError

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> responses = nsd.load_responses(root, subject=1, progress_bar=False)
    >>> voxels = nsd.describe_voxels(root, responses)
    >>> bool(voxels.noise_ceiling[voxels.roi_mask.sel(roi="V1")].median() > 0)
    True
    """
    subject, space = responses.attrs["subject"], responses.attrs["space"]
    stimuli = [
        name for name, coord in responses.coords.items() if "stimulus" in "".join(map(str, coord.dims))
    ]
    voxels = responses.drop_vars([*responses.data_vars, *stimuli])
    volumes = [name.removeprefix("label_") for name in voxels.coords if name.startswith("label_")]
    mask = read_roi_labels(root, subject, "nsdgeneral", space)[0] > 0
    outside = [int(((read_roi_labels(root, subject, v, space)[0] == 1) & ~mask).sum()) for v in volumes]
    maps = read_surface_map(root, subject, space)
    return voxels.assign(
        n_first_label_outside=("volume", outside),
        **{f"vertex_voxel_{hemi}": (f"vertex_{hemi}", values) for hemi, values in maps.items()},
    ).assign_coords(volume=volumes)
