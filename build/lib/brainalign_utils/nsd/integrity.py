"""Is a file whole?  Cheap checks of NSD's largest files, and thorough ones on demand."""

import gzip
import struct
from pathlib import Path

import numpy as np

from ..tables import N_TRIALS_PER_SESSION
from .files import open_dataset, open_image, reading
from .layout import ShapeMismatchError

BLOCK = 1 << 24


def check_session(path: Path, shape=None, deep: bool = False) -> None:
    """Check the betas of one session.

    Parameters
    ----------
    path : Path
        ``.hdf5`` or ``.nii.gz``.
    shape : sequence of 3 int, or None
        Grid (x, y, z), if known.
    deep : bool
        Read every value.

    Raises
    ------
    NsdError
        ShapeMismatchError, DamagedFileError, MissingFileError or NoPermissionError.
    """
    if path.suffix == ".gz":
        check_volume(path, deep, None if shape is None else (*shape, N_TRIALS_PER_SESSION))
        return
    data = open_dataset(path, "betas")
    with data.file, reading(path):
        grid = tuple(shape or data.shape[:0:-1])
        _check_shape(path, data.shape, (N_TRIALS_PER_SESSION, *grid[::-1]), "trials, z, y, x")
        for z in range(data.shape[1] if deep else 0):
            data[:, z]


def check_volume(path: Path, deep: bool = False, shape=None) -> None:
    """Check a gzipped volume, by default without decompressing it.

    A gzip file ends with the size of its content, which must be what the header promises.

    Parameters
    ----------
    path : Path
        ``.nii.gz`` or ``.mgz``.
    deep : bool
        Decompress to the end, where the checksum is.
    shape : tuple of int, or None

    Raises
    ------
    NsdError
        ShapeMismatchError, DamagedFileError, MissingFileError or NoPermissionError.
    """
    image, stream = open_image(path)
    stream.close()
    if shape is not None:
        _check_shape(path, image.shape, shape, "x, y, z, trials")
    promised = image.dataobj.offset + image.dataobj.dtype.itemsize * int(np.prod(image.shape))
    with reading(path):
        with path.open("rb") as file:
            file.seek(-4, 2)
            (stored,) = struct.unpack("<I", file.read(4))
        if not deep and stored == promised % 2**32:
            return
        total = 0
        with gzip.open(path) as file:
            while content := file.read(BLOCK):
                total += len(content)
        if total < promised:
            raise EOFError(f"it holds {total} bytes, its header promises {promised}")


def _check_shape(path, found, expected, axes):
    if tuple(found) != tuple(expected):
        raise ShapeMismatchError(f"{path} has shape {tuple(found)}, expected {tuple(expected)} ({axes})")
