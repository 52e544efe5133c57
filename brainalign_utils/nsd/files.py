"""Readers of NSD's files, and whether a file is whole; the one module that imports h5py and nibabel.

1-based ids and the two axis orders of the betas end here: what leaves this module is
0-based, in ``(x, y, z)``, with voxels on the last axis.
"""

import difflib
import gzip
import os
import re
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import h5py
import nibabel
import numpy as np
import scipy.io
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from scipy.io.matlab import MatReadError

from ..tables import BETA_VERSIONS, N_TRIALS_PER_SESSION, SPACES
from . import layout
from .layout import DamagedFileError, MissingFileError, NoPermissionError, ShapeMismatchError

GZIP = b"\x1f\x8b"
BLOCK = 1 << 24


@contextmanager
def reading(path: Path):
    """Turn what h5py, nibabel, zlib and the system raise into named errors about ``path``."""
    try:
        with path.open("rb") as file:  # libraries hide why they cannot open a file
            start = file.read(2)
        if start and start != GZIP and path.suffix in (".gz", ".mgz"):
            raise DamagedFileError(
                f"{path} is not compressed, although its name says so; compress it with gzip, "
                "or delete it and download it again"
            )
        yield
    except FileNotFoundError as error:
        subject = re.search(r"/subj0(\d)/", str(path))
        download = "brainalign download" + (f" --subjects {subject[1]}" if subject else "")
        raise MissingFileError(
            f"{path} does not exist; {whats_there(path)}; get it with `{download}`, or see with "
            f"`brainalign doctor` what else is missing; {layout.PHANTOM_REMEDY}"
        ) from error
    except PermissionError as error:
        raise NoPermissionError(
            f"{path} may not be read: {error.strerror}; change its permissions"
        ) from error
    except (OSError, EOFError, RuntimeError, KeyError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise DamagedFileError(
            f"{path} is truncated or damaged ({error}); delete it and download it again"
        ) from error


def whats_there(path: Path) -> str:
    """What lies where a missing file should: a link that leads nowhere, or files and folders beside it."""
    missing = first_missing(path)
    folder, name = missing.parent, missing.name
    if missing.is_symlink():
        return f"{missing} is a link to {missing.readlink()}, which is not there"
    if not folder.is_dir():
        return f"{folder} is a file, where a folder is expected"
    if name == "nsddata" and (root := tree_near(folder)):
        return f"the folder that holds nsddata is {root}: give that one"
    found = sorted(e.name for e in folder.glob("[!.]*")) if os.access(folder, os.R_OK) else []
    known = next((names for names in (BETA_VERSIONS, SPACES) if name in names), ())
    if others := [other for other in found if other in known]:
        key = "betas" if known is BETA_VERSIONS else "space"
        return f"{folder} holds {', '.join(others)}; to use that, set `{key}: {others[0]}`"
    same = [other for other in found if other.lower().split(".")[0] == name.lower().split(".")[0]]
    similar = same or difflib.get_close_matches(name, found, 4) or found[:6]
    return f"{folder} holds {', '.join(sorted(similar)) or 'nothing'}"


def first_missing(path: Path) -> Path:
    """The topmost folder of a path that is not there, or the path itself."""
    path = path.absolute()
    return next((p for p in reversed((path, *path.parents)) if not p.exists()), path)


def tree_near(root: Path) -> Path | None:
    """Root of the tree that a folder lies in, or that lies in it; None for a root itself and elsewhere."""
    inside = [parent for parent in root.parents if root.relative_to(parent).parts[0].startswith("nsddata")]
    around = [] if (root / "nsddata").is_dir() else sorted(root.glob("*"))
    return next((folder for folder in (*inside, *around) if (folder / "nsddata").is_dir()), None)


def open_dataset(path: Path, name: str) -> h5py.Dataset:
    """A dataset of an HDF5 file, nothing read yet; ``dataset.file.close()`` closes it.

    The file is not locked: it may be read while other processes have it open, and where the file system has
    no locks.
    """
    with reading(path):
        file = h5py.File(path, locking=False)
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
    """Values of a NIfTI or MGH volume, in its own dtype, axes (x, y, z[, ...]), without a fourth of 1."""
    with reading(path):
        values = np.asanyarray(nibabel.load(path).dataobj)
        return values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values


def read_design(root: str | Path) -> dict[str, np.ndarray]:
    """Arrays of ``nsd_expdesign.mat`` as stored (1-based).

    Returns
    -------
    design : dict
        ``subjectim`` (8, 10000), 73k ids of each subject's images; ``masterordering`` (1, 30000), 10k index
        of each trial; ``sharedix`` (1, 1000), 73k ids of the shared images; and what else the file holds.

    Raises
    ------
    MissingFileError, DamagedFileError

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> experiment = nsd.read_design(root)
    >>> experiment["subjectim"].shape, experiment["masterordering"].shape
    ((8, 10000), (1, 30000))
    """
    path = Path(root) / layout.EXPDESIGN
    with reading(path):
        if h5py.is_hdf5(path):  # version 7.3 of MATLAB's format is HDF5, axes in the opposite order
            with h5py.File(path, locking=False) as file:
                design = {name: data[()].T for name, data in file.items() if isinstance(data, h5py.Dataset)}
        else:
            try:
                design = scipy.io.loadmat(path)
            except (ValueError, TypeError, IndexError, NotImplementedError, MatReadError) as error:
                raise DamagedFileError(f"{path} is not a MATLAB file ({error}); download it again") from error
    if absent := {"subjectim", "masterordering", "sharedix"} - design.keys():
        raise DamagedFileError(f"{path} has no {', '.join(sorted(absent))}; download it again")
    shape, last = design["subjectim"].shape, int(design["masterordering"].max(initial=0))
    if len(shape) != 2 or shape[1] < last:
        raise DamagedFileError(
            f"{path}: subjectim has shape {shape}, expected (subjects, images) with at least {last} images; "
            "download it again"
        )
    return design


def check_session(path: Path, grid) -> None:
    """Raise NsdError unless a file is that of a whole session: 750 trials on the grid (x, y, z).

    Neither format is read through: HDF5 knows its own size, and a gzip file ends with the size of its
    content, which must be what the header promises.
    """
    if path.suffix == ".hdf5":
        data = open_dataset(path, "betas")
        with data.file:
            _check_shape(path, data.shape, (N_TRIALS_PER_SESSION, *grid[::-1]), "trials, z, y, x")
        return
    image, stream = open_image(path)
    stream.close()
    _check_shape(path, image.shape, (*grid, N_TRIALS_PER_SESSION), "x, y, z, trials")
    promised = image.dataobj.offset + image.dataobj.dtype.itemsize * int(np.prod(image.shape))
    with reading(path):
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            (stored,) = struct.unpack("<I", file.read(4))
        if stored == promised % 2**32:
            return
        with gzip.open(path) as file:  # several compressed blocks one after the other are allowed too
            total = sum(map(len, iter(lambda: file.read(BLOCK), b"")))
        if total < promised:
            raise EOFError(f"it holds {total} bytes, its header promises {promised}")


def _check_shape(path, found, expected, axes):
    if tuple(found) != tuple(expected):
        raise ShapeMismatchError(f"{path} has shape {tuple(found)}, expected {tuple(expected)} ({axes})")
