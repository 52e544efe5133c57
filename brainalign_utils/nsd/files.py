"""Readers of NSD's files, and whether a file is whole; the one module that imports h5py and nibabel.

1-based ids and the two axis orders of the betas end here: what leaves this module is
0-based, in ``(x, y, z)``, with voxels on the last axis.
"""

import difflib
import gzip
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
    path = path.absolute()
    if link := next((p for p in (path, *path.parents) if p.is_symlink() and not p.exists()), None):
        return f"{link} is a link to {link.readlink()}, which is not there"
    folder = next(parent for parent in path.parents if parent.is_dir())
    name = path.relative_to(folder).parts[0]
    near = [p for p in (*folder.parents, *sorted(folder.glob("*"))) if (p / name).is_dir()]
    if name.startswith("nsddata") and near:
        return f"{folder} is not the folder that holds {name}, but {near[0]} is: give that one"
    found = sorted(entry.name for entry in folder.iterdir())
    known = next((names for names in (BETA_VERSIONS, SPACES) if name in names), ())
    if others := [other for other in found if other in known]:
        key = "betas" if known is BETA_VERSIONS else "space"
        return f"{folder} holds {', '.join(others)}; to use that, set `{key}: {others[0]}`"
    lower = {other.lower(): other for other in found}
    similar = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, 4)]
    return f"{folder} holds {', '.join(similar or found[:6]) or 'nothing'}"


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
    """Values of a NIfTI or MGH volume, in its own dtype, axes (x, y, z[, ...]); a fourth axis of 1 is left out."""
    with reading(path):
        values = np.asanyarray(nibabel.load(path).dataobj)
        return values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values


def read_design(root: str | Path) -> dict[str, np.ndarray]:
    """Arrays of ``nsd_expdesign.mat`` as stored (1-based).

    Returns
    -------
    design : dict
        ``subjectim`` (8, 10000), 73k ids of each subject's images; ``masterordering`` (1, 30000), 10k index of
        each trial; ``sharedix`` (1, 1000), 73k ids of the shared images; and what else the file holds.

    Raises
    ------
    MissingFileError, DamagedFileError

    Examples
    --------
    >>> experiment = nsd.read_design("/data/nsd")
    >>> experiment["subjectim"][0, experiment["masterordering"][0, 0] - 1] - 1  # first trial of subject 1
    46002
    """
    path = Path(root) / layout.EXPDESIGN
    with reading(path):
        if h5py.is_hdf5(path):  # version 7.3 of MATLAB's format is HDF5, axes in the opposite order
            with h5py.File(path, locking=False) as file:
                design = {name: data[()].T for name, data in file.items() if isinstance(data, h5py.Dataset)}
        else:
            try:
                design = scipy.io.loadmat(path)
            except (ValueError, TypeError, NotImplementedError) as error:
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
    """Raise NsdError unless a file is that of a whole session: 750 trials on the grid (x, y, z)."""
    if path.suffix == ".gz":
        check_volume(path, (*grid, N_TRIALS_PER_SESSION))
        return
    data = open_dataset(path, "betas")
    with data.file:
        _check_shape(path, data.shape, (N_TRIALS_PER_SESSION, *grid[::-1]), "trials, z, y, x")


def check_volume(path: Path, shape=None) -> None:
    """Raise NsdError unless a gzipped volume is whole, by default without decompressing it.

    A gzip file ends with the size of its content, which must be what the header promises.
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
        if stored == promised % 2**32:
            return
        with gzip.open(path) as file:  # several compressed blocks one after the other are allowed too
            total = sum(map(len, iter(lambda: file.read(BLOCK), b"")))
        if total < promised:
            raise EOFError(f"it holds {total} bytes, its header promises {promised}")


def _check_shape(path, found, expected, axes):
    if tuple(found) != tuple(expected):
        raise ShapeMismatchError(f"{path} has shape {tuple(found)}, expected {tuple(expected)} ({axes})")
