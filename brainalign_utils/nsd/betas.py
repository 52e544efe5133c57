"""Single-trial betas of one session, only at the voxels asked for.

NSD stores them as ``(750, z, y, x)`` in HDF5 and as ``(x, y, z, 750)`` in NIfTI.
"""

import itertools
import os
import re
from pathlib import Path

import numpy as np

from ..tables import BETA_VERSIONS, N_TRIALS_PER_SESSION, SPACES
from . import layout
from .files import open_dataset, open_image, reading, whats_there
from .layout import InvalidValueError, MissingFileError, ShapeMismatchError


def session_files(
    root: str | Path,
    subject: int,
    n_sessions: int | None = None,
    betas: str = layout.BETAS,
    space: str = layout.SPACE,
) -> list[Path]:
    """Beta files of the first sessions, in order; HDF5 where a session is there in both formats.

    Parameters
    ----------
    root : path
    subject : int
    n_sessions : int or None
        None takes all that are there; a gap is an error.
    betas, space : str
        One of :data:`tables.BETA_VERSIONS`, one of :data:`tables.SPACES`.

    Raises
    ------
    MissingFileError
        If a session is not there in either format; the message names the sessions, versions and spaces
        that are.

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> [path.name for path in nsd.session_files(root, subject=1, n_sessions=2)]
    ['betas_session01.hdf5', 'betas_session02.hdf5']
    """
    folder = Path(root) / layout.betas_folder(subject, betas, space)
    present = sessions_in(folder)
    last = n_sessions if n_sessions is not None else max(present, default=1)
    missing = [session for session in range(1, last + 1) if session not in present]
    if missing:
        asked = f"1 to {n_sessions}" if n_sessions else "all"
        download = f"run `brainalign download --subjects {subject}`"
        remedy = [download, "leave n_sessions out to use those that are there"]
        if not present:
            remedy = [others_sentence(root, subject, betas, space) or whats_there(folder / "betas"), download]
        elif missing[0] < max(present):
            remedy = [download]
        raise MissingFileError(
            f"{folder}/betas_session{missing[0]:02d}.hdf5 (or .nii.gz) does not exist; sessions there: "
            f"{spans(present)}; asked for: {asked}; {', or '.join(remedy)}; {layout.PHANTOM_REMEDY}"
        )
    return [present[session].get("hdf5") or present[session]["nii.gz"] for session in range(1, last + 1)]


def sessions_in(folder: Path) -> dict[int, dict[str, Path]]:
    """Sessions whose betas a folder holds, and their file or files by suffix."""
    present = {}
    for path in sorted(folder.glob("betas_session*")):
        if match := re.fullmatch(r"betas_session(\d\d)\.(hdf5|nii\.gz)", path.name):
            present.setdefault(int(match[1]), {})[match[2]] = path
    return present


def others_sentence(root: str | Path, subject: int, betas: str, space: str) -> str:
    """Which other versions and spaces of a subject's betas are there, and the settings that use them."""
    found = []
    for other_space, version in itertools.product(SPACES, BETA_VERSIONS):
        present = sessions_in(Path(root) / layout.betas_folder(subject, version, other_space))
        if present and (version, other_space) != (betas, space):
            lines = [f"betas: {version}"] if version != betas else []
            lines += [f"space: {other_space}"] if other_space != space else []
            found.append(
                f"{other_space}/{version} (sessions {spans(present)}; to use it, set `{', '.join(lines)}`)"
            )
    return f"beside it lies {'; '.join(found)}" if found else ""


def spans(numbers) -> str:
    """``"1 to 3, 7"`` for 1, 2, 3, 7."""
    numbers = sorted(numbers)
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    parts = [str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(parts) or "none"


def read_session(path: Path, ijk, shape) -> np.ndarray:
    """Betas of one session at some voxels.

    Parameters
    ----------
    path : Path
        ``betas_sessionNN.hdf5`` or ``.nii.gz``; both give the same answer.
    ijk : array of shape (n_voxels, 3), int
        0-based grid positions.
    shape : tuple of 3 int
        Grid of the mask, (x, y, z).

    Returns
    -------
    betas : array of shape (n_trials, n_voxels)
        As stored: int16, 300 times percent signal change.

    Raises
    ------
    MissingFileError, DamagedFileError, NoPermissionError
    ShapeMismatchError
        If the grid is not that of the mask, or the session has not 750 trials.
    InvalidValueError
        If there are NaN or infinite betas.

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> ijk, shape = nsd.read_mask(root, subject=1)
    >>> path = nsd.session_files(root, subject=1, n_sessions=1)[0]
    >>> percent = nsd.read_session(path, ijk, shape) / 300
    >>> len(percent), percent.shape[1] == len(ijk)
    (750, True)
    """
    ijk = np.asarray(ijk)
    with reading(path):
        betas = (_read_hdf5 if path.suffix == ".hdf5" else _read_nifti)(path, ijk, tuple(shape))
    if betas.dtype.kind == "f" and not np.isfinite(betas).all():
        bad = ~np.isfinite(betas)
        raise InvalidValueError(
            f"{path} holds {bad.sum()} NaN or infinite betas in {bad.any(axis=0).sum()} of {len(ijk)} "
            "voxels, where finite numbers are expected; NSD's volume betas have none: download the file again"
        )
    return betas


def prefetch(paths) -> None:
    """Ask the system to read files ahead, while the processor works on another; a hint only."""
    for path in paths if hasattr(os, "posix_fadvise") else ():
        with reading(path), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _check_session(path, grid, expected, n_trials):
    layout.check_grid(path, grid, expected)
    if n_trials != N_TRIALS_PER_SESSION:
        raise ShapeMismatchError(
            f"{path} has {n_trials} trials, a session has {N_TRIALS_PER_SESSION}; download the file again"
        )


def _read_hdf5(path, ijk, shape):
    data = open_dataset(path, "betas")
    with data.file:
        if data.ndim != 4:
            raise ShapeMismatchError(f"{path}: 'betas' has shape {data.shape}, expected (750, z, y, x)")
        _check_session(path, data.shape[:0:-1], shape, data.shape[0])
        unfiltered = data.id.get_create_plist().get_nfilters() == 0
        if unfiltered and data.chunks == (data.shape[0], 1, 1, 1):
            return _read_chunks(data, ijk)
        return _read_slices(data, ijk)


def _read_chunks(data, ijk):
    """One stored chunk is one voxel's time course: fetch only those of the mask, in file order."""
    betas = np.empty((len(ijk), data.shape[0]), data.dtype)
    for row in np.lexsort(ijk.T):  # z changes slowest, as in the file
        i, j, k = ijk[row].tolist()
        try:
            betas[row] = np.frombuffer(data.id.read_direct_chunk((0, k, j, i))[1], data.dtype)
        except RuntimeError:  # a chunk that was never stored reads as the fill value, a damaged one raises
            betas[row] = data[:, k, j, i]
    return np.ascontiguousarray(betas.T)


def _read_slices(data, ijk):
    """Any other chunking: the box around the mask in each slice."""
    betas = np.empty((data.shape[0], len(ijk)), data.dtype)
    for k in np.unique(ijk[:, 2]):
        rows = np.flatnonzero(ijk[:, 2] == k)
        i, j = ijk[rows, 0], ijk[rows, 1]
        box = data[:, k, j.min() : j.max() + 1, i.min() : i.max() + 1]
        betas[:, rows] = box[:, j - j.min(), i - i.min()]
    return betas


def _read_nifti(path, ijk, shape):
    """Volume by volume, as the file is written; the end is read too, where gzip keeps its checksum."""
    image, stream = open_image(path)
    with stream:
        if len(image.shape) != 4:
            raise ShapeMismatchError(f"{path} has shape {image.shape}, expected (x, y, z, 750)")
        _check_session(path, image.shape[:3], shape, image.shape[3])
        proxy, n_trials = image.dataobj, image.shape[3]
        flat = np.ravel_multi_index(ijk.T, shape, order="F")
        n_bytes = proxy.dtype.itemsize * int(np.prod(shape))
        betas = np.empty((n_trials, len(ijk)), proxy.dtype)
        stream.seek(proxy.offset)
        for trial in range(n_trials):
            content = stream.read(n_bytes)
            if len(content) < n_bytes:
                raise EOFError(f"it ends in trial {trial + 1} of {n_trials}")
            betas[trial] = np.frombuffer(content, proxy.dtype)[flat]
        stream.read(1)
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    return betas * np.float32(proxy.slope) + np.float32(proxy.inter) if scaled else betas
