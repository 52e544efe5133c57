"""Readers of NSD's files; the one module that imports h5py and nibabel.

1-based ids and the two axis orders of the betas end here: what leaves this module is
0-based, in ``(x, y, z)``, with voxels on the last axis.
"""

import zlib
from contextlib import contextmanager
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import scipy.io
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from . import layout
from .layout import DamagedFileError, MissingFileError, NoPermissionError


@contextmanager
def reading(path: Path):
    """Turn what h5py, nibabel, zlib and the system raise into named errors about ``path``."""
    try:
        with path.open("rb"):  # libraries hide why they cannot open a file
            pass
        yield
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} does not exist; get it with `brainalign download`, or check the tree with "
            f"`brainalign doctor`; {layout.PHANTOM_REMEDY}"
        ) from error
    except PermissionError as error:
        raise NoPermissionError(
            f"{path} may not be read: {error.strerror}; change its permissions"
        ) from error
    except (OSError, EOFError, RuntimeError, KeyError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise DamagedFileError(
            f"{path} is truncated or damaged ({error}); delete it and download it again"
        ) from error


def open_dataset(path: Path, name: str) -> h5py.Dataset:
    """A dataset of an HDF5 file, nothing read yet; ``dataset.file.close()`` closes it."""
    with reading(path):
        file = h5py.File(path)
        if name not in file:
            held = ", ".join(file) or "none"
            file.close()
            raise DamagedFileError(f"{path} has no dataset {name!r} (it has: {held}); download it again")
        return file[name]


def open_image(path: Path):
    """Header of a NIfTI image, and a stream of its (decompressed) bytes."""
    with reading(path):
        return nibabel.load(path), ImageOpener(path)


def read_volume(path: Path) -> np.ndarray:
    """Values of a NIfTI or MGH volume, in its own dtype, axes (x, y, z[, ...])."""
    with reading(path):
        return np.asanyarray(nibabel.load(path).dataobj)


def read_design(root: Path) -> dict[str, np.ndarray]:
    """Arrays of ``nsd_expdesign.mat`` as stored (1-based): subjectim, masterordering, sharedix."""
    path = root / layout.EXPDESIGN
    with reading(path):
        try:
            design = scipy.io.loadmat(path)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise DamagedFileError(f"{path} is not a MATLAB 5 file ({error}); download it again") from error
    if absent := {"subjectim", "masterordering", "sharedix"} - design.keys():
        raise DamagedFileError(f"{path} has no {', '.join(sorted(absent))}; download it again")
    return design


def read_stim_info(root: str | Path) -> pd.DataFrame:
    """Table of all 73000 pictures.

    Returns
    -------
    stim_info : DataFrame
        Index ``nsd_id`` (0-based); columns of ``nsd_stim_info_merged.csv``, among them cocoId,
        cocoSplit, cropBox (text) and shared1000 (bool).

    Raises
    ------
    MissingFileError, DamagedFileError
    """
    path = Path(root) / layout.STIM_INFO
    with reading(path):
        try:
            table = pd.read_csv(path, index_col=0)
        except ValueError as error:
            raise DamagedFileError(f"{path} is no table of pictures ({error}); download it again") from error
    if absent := {"nsdId", "cocoId", "cocoSplit", "cropBox", "shared1000"} - set(table.columns):
        raise DamagedFileError(f"{path} has no column {', '.join(sorted(absent))}; download it again")
    if not np.array_equal(table["nsdId"], np.arange(len(table))):
        raise DamagedFileError(f"{path}: nsdId does not count from 0 to {len(table) - 1}; download it again")
    wrong = {
        "cocoId": ~table["cocoId"].astype(str).str.fullmatch(r"\d{1,18}"),
        "cocoSplit": ~table["cocoSplit"].isin(["train2017", "val2017"]),
        "shared1000": ~table["shared1000"].astype(str).isin(["True", "False"]),
    }
    for column, rows in wrong.items():
        if rows.any():
            value, row = table[column][rows].iloc[0], int(np.flatnonzero(rows)[0])
            raise DamagedFileError(f"{path}, picture {row}: {column} is {str(value)!r}; download it again")
    table["cocoId"] = table["cocoId"].astype(np.int64)
    table["shared1000"] = table["shared1000"].astype(str) == "True"
    return table.set_index(pd.Index(table["nsdId"], name="nsd_id"))
