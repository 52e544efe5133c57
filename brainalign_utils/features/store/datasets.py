"""Zarr v3 datasets through xarray, written atomically and verified when read."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from filelock import FileLock, Timeout
from zarr.codecs import Crc32cCodec, ZstdCodec

from .missing import StoreError, missing

SCHEMA_VERSION = 1
MAX_CHUNK_BYTES = 64 * 2**20
KEPT_BYTES = 128 * 2**20
"""Datasets that :func:`open_kept` keeps in memory, together."""

_kept: dict[Path, tuple[int, xr.Dataset]] = {}


def write_dataset(path: Path, ds: xr.Dataset, attrs: dict | None = None, chunks: dict | None = None) -> Path:
    """Write a dataset to ``path``, replacing what is there only when the new one is whole.

    Parameters
    ----------
    path : Path
        Folder ending in ``.zarr``.
    ds : xr.Dataset
        Arrays in memory; not modified.
    attrs : dict, optional
        JSON-able facts about the artifact (settings, provenance), added to the dataset's own.
    chunks : dict of str to int, optional
        Chunk length per dimension.  By default an array is one chunk, or blocks of its first
        dimension when it is larger than 64 MiB.

    Raises
    ------
    StoreError
        When another job is writing the same artifact.
    """
    path = Path(path)
    ds = ds.assign_attrs(schema_version=SCHEMA_VERSION, **(attrs or {}))
    # text as variable-length UTF-8: fixed-width text has no Zarr v3 specification
    ds = ds.assign_coords({name: v.astype(object) for name, v in ds.coords.items() if v.dtype.kind in "UT"})
    ds = ds.assign({name: v.astype(object) for name, v in ds.data_vars.items() if v.dtype.kind in "UT"})
    encoding = {name: _encoding(var, chunks or {}) for name, var in ds.variables.items()}
    with locked(path), zarr.config.set({"array.write_empty_chunks": True}):
        partial = path.with_name(f".{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        ds.drop_encoding().to_zarr(partial, zarr_format=3, consolidated=False, encoding=encoding)
        replace_folder(partial, path)
    return path


def _encoding(var: xr.Variable, chunks: dict) -> dict:
    is_text = var.dtype.kind in "OUT"
    shape = list(var.shape)
    limit = MAX_CHUNK_BYTES // (8 if is_text else max(var.dtype.itemsize, 1))
    if shape and np.prod(shape) > limit:
        shape[0] = max(1, int(limit // max(np.prod(shape[1:]), 1)))
    shape = [min(chunks.get(dim, n), full) for dim, n, full in zip(var.dims, shape, var.shape, strict=True)]
    compress = [] if var.dtype.kind == "f" else [ZstdCodec(level=1)]  # noise does not shrink
    encoding = {"compressors": [*compress, Crc32cCodec()]}
    return encoding | ({"chunks": tuple(max(n, 1) for n in shape)} if shape else {})


def replace_folder(partial: Path, path: Path):
    """Rename ``partial`` to ``path``; an older folder there goes only when the new one is ready."""
    if path.exists():
        old = path.with_name(f".{path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        partial.rename(path)
        shutil.rmtree(old)
    else:
        partial.rename(path)


@contextmanager
def locked(path: Path, what: str = "writing", timeout: float = 0):
    """Hold the lock of one artifact; refuse when another process has it for ``timeout`` more seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"another job is {what} {path}; wait for it to end (its lock is {lock.lock_file} "
            "and goes with the process)"
        ) from None
    try:
        yield
    finally:
        lock.release()


def open_dataset(path: Path, expected: dict | None = None, load: bool = True) -> xr.Dataset:
    """Read a dataset and verify it.

    Parameters
    ----------
    path : Path
    expected : dict, optional
        Attributes that must have these values; a difference is refused and named.
    load : bool
        Read everything now, checking every checksum.  False reads lazily: chunks are then
        checked as they are read.

    Raises
    ------
    StoreError
        When the artifact is missing, incomplete, damaged, of another schema, or made with
        other settings than ``expected``.
    """
    path = Path(path)
    group = open_group(path)
    check_attrs(path, {"schema_version": SCHEMA_VERSION, **(expected or {})}, dict(group.attrs))
    for name, array in group.arrays():
        if array.nchunks_initialized != array.nchunks:
            raise StoreError(
                f"{path}: array {name!r} has {array.nchunks_initialized} of {array.nchunks} chunks; "
                "delete the folder and run the command that makes it again"
            )
    with named_damage(path):
        ds = xr.open_zarr(path, consolidated=False, chunks=None)
        return ds.load() if load else ds


def open_kept(path: Path) -> xr.Dataset:
    """As :func:`open_dataset`, but small datasets are read once a process while their file is the same.

    Opening dozens of small datasets again for every table is what a page of results would wait for.
    Arrays are read-only: the next caller gets the same ones.
    """
    path = Path(path).absolute()
    made = stamp(path)
    if path in _kept and _kept[path][0] == made:
        return _kept[path][1].copy()
    _kept.pop(path, None)
    ds = open_dataset(path)
    for variable in ds.variables.values():
        if isinstance(variable.values, np.ndarray):
            variable.values.flags.writeable = False
    if ds.nbytes <= KEPT_BYTES:
        _kept[path] = made, ds
        while sum(kept.nbytes for _, kept in _kept.values()) > KEPT_BYTES:
            _kept.pop(next(iter(_kept)))
    return ds.copy()


def stamp(path: Path) -> int | None:
    """When a group was written; None where there is none."""
    file = path / "zarr.json"
    return file.stat().st_mtime_ns if file.exists() else None


def open_group(path: Path, mode: str = "r") -> zarr.Group:
    """The Zarr group at ``path``, or a :class:`StoreError` that says what is wrong with it."""
    if not path.exists():
        raise missing(path)
    try:
        return zarr.open_group(path, mode=mode, zarr_format=3)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a readable Zarr v3 group: {error}") from error


def check_attrs(path: Path, expected: dict, found: dict):
    """Refuse, naming each field, when stored attributes differ from the expected ones."""
    different = [
        f"{key} is {found.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
    if different:
        raise StoreError(f"{path} was made with other settings: {'; '.join(different)}")


@contextmanager
def named_damage(path: Path):
    """Turn a failed checksum or a cut-off chunk into an error that names the artifact."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} is damaged ({error}); delete it and run its stage again") from error
