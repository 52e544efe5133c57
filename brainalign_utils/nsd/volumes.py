"""Volumes on the grid of the betas: mask, ROI labels, ncsnr."""

import logging
from pathlib import Path

import numpy as np

from ..tables import ROI_VOLUMES, subject_name
from . import layout
from .files import read_volume, reading
from .layout import InvalidValueError, MissingFileError, UnknownLabelError

log = logging.getLogger(__name__)


def read_mask(root: Path, subject: int, space: str = layout.SPACE) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Voxels of nsdgeneral.

    Returns
    -------
    ijk : array of shape (n_voxels, 3), int16
        0-based, in C order.
    shape : tuple of 3 int
        Grid, (x, y, z).
    """
    if not (root / f"nsddata/ppdata/{subject_name(subject)}").is_dir():
        present = sorted(folder.name for folder in root.glob("nsddata/ppdata/subj*")) or ["none"]
        raise MissingFileError(
            f"{subject_name(subject)} does not exist in {root} (there: {', '.join(present)}); "
            f"check the path, or run `brainalign download --subjects {subject}`; {layout.PHANTOM_REMEDY}"
        )
    path = root / layout.roi_key(subject, "nsdgeneral", space)
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
    MissingFileError, DamagedFileError, UnknownLabelError
    """
    path = Path(root) / layout.roi_key(subject, volume, space)
    values = read_volume(path)
    keys = layout.ctab_keys(subject, volume)
    table = next((Path(root) / key for key in keys if (Path(root) / key).is_file()), Path(root) / keys[0])
    with reading(table):
        names = layout.parse_ctab(table.read_text(errors="replace"), table)
    labels = values.astype(np.int16)
    found = np.unique(values[values > 0])
    if unknown := [f"{value:g}" for value in found if value not in names]:
        raise UnknownLabelError(
            f"{path} holds labels {', '.join(unknown)}, but {table} names only "
            f"{', '.join(f'{k} {v}' for k, v in names.items())}; download both again"
        )
    return labels, names


def read_ncsnr(path, ijk, shape):
    volume = read_volume(path)
    layout.check_grid(path, volume.shape, shape)
    return volume[tuple(ijk.T)].astype(np.float32)


def read_mask_labels(root, subject, space, ijk, shape):
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
