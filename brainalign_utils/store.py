"""Read and write artifacts: Zarr v3 with checksums for arrays, parquet and CSV for tables, JSON for notes.

Every write goes to a temporary name and is renamed, so a killed job leaves a whole artifact or none.
Every read checks crc32c checksums and that no chunk is missing.  Nothing is pickled.
"""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from filelock import FileLock, Timeout
from zarr.codecs import Crc32cCodec, ZstdCodec

from . import BrainalignError
from .registry import writer

SCHEMA_VERSION = 1
MAX_CHUNK_BYTES = 64 * 2**20
KEPT_BYTES = 2 * 2**20
"""Datasets up to this size stay in memory once :func:`open_kept` has read them."""


class StoreError(BrainalignError):
    """An artifact that is missing, damaged, locked or made with other settings."""


def missing(path: Path) -> StoreError:
    """Error for an artifact that does not exist; it names the command that makes it."""
    names = (part.partition(".")[0] for part in reversed(Path(path).parts))
    notebook = next((found for name in names if (found := writer(name))), None)
    if notebook is None:
        return StoreError(f"{path} does not exist; no notebook writes it")
    command = "make study" if notebook.over else f"make figure NOTEBOOK={notebook.name}"
    return StoreError(
        f"{path} does not exist; notebook {notebook.name} writes it: run `{command}` with your SETTINGS"
    )


def write_dataset(path: Path, ds: xr.Dataset, attrs: dict | None = None) -> Path:
    """Write a dataset to ``path``, replacing what is there only when the new one is whole.

    Parameters
    ----------
    path : Path
        Folder ending in ``.zarr``.
    ds : xr.Dataset
        Arrays in memory; not modified.  An array is one chunk, or blocks of its first dimension when it
        is larger than 64 MiB.
    attrs : dict, optional
        JSON-able facts about the artifact (settings, provenance), added to the dataset's own.

    Raises
    ------
    StoreError
        When another job is writing the same artifact.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.zarr"
    >>> path = write_dataset(path, xr.Dataset({"r": ("voxel", [0.5, np.nan])}), {"subject": 1})
    >>> open_dataset(path).r.values
    array([0.5, nan])
    """
    path = Path(path)
    ds = ds.assign_attrs(schema_version=SCHEMA_VERSION, **(attrs or {}))
    # text as variable-length UTF-8: fixed-width text has no Zarr v3 specification
    ds = ds.assign_coords({name: v.astype(object) for name, v in ds.coords.items() if v.dtype.kind in "UT"})
    ds = ds.assign({name: v.astype(object) for name, v in ds.data_vars.items() if v.dtype.kind in "UT"})
    encoding = {name: _encoding(var) for name, var in ds.variables.items()}
    with locked(path), zarr.config.set({"array.write_empty_chunks": True}):
        partial = path.with_name(f".{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        ds.drop_encoding().to_zarr(partial, zarr_format=3, consolidated=False, encoding=encoding)
        if path.exists():  # the older one goes only when the new one is ready
            old = path.with_name(f".{path.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.rename(path)
    return path


def _encoding(var: xr.Variable) -> dict:
    is_text = var.dtype.kind in "OUT"
    shape = list(var.shape)
    limit = MAX_CHUNK_BYTES // (8 if is_text else max(var.dtype.itemsize, 1))
    if shape and np.prod(shape) > limit:
        shape[0] = max(1, int(limit // max(np.prod(shape[1:]), 1)))
    compress = [] if var.dtype.kind == "f" else [ZstdCodec(level=1)]  # noise does not shrink
    encoding = {"compressors": [*compress, Crc32cCodec()]}
    return encoding | ({"chunks": tuple(max(n, 1) for n in shape)} if shape else {})


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


def open_dataset(path: Path) -> xr.Dataset:
    """Read a dataset into memory, checking every checksum.

    Raises
    ------
    StoreError
        When the artifact is missing, incomplete, damaged or of another schema.
    """
    path = Path(path)
    group = open_group(path)
    if (found := group.attrs.get("schema_version")) != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {found!r}, this program reads {SCHEMA_VERSION}; "
            "delete it and run its stage again"
        )
    for name, array in group.arrays():
        if array.nchunks_initialized != array.nchunks:
            raise StoreError(
                f"{path}: array {name!r} has {array.nchunks_initialized} of {array.nchunks} chunks; "
                "delete the folder and run the command that makes it again"
            )
    with named_damage(path):
        return xr.open_zarr(path, consolidated=False, chunks=None).load()


_kept: dict[tuple[Path, int | None], xr.Dataset] = {}


def open_kept(path: Path) -> xr.Dataset:
    """As :func:`open_dataset`, but small datasets are read once a process while their file is the same.

    A table of results asks for the same dozens of them again and again.  Arrays are read-only: the next
    caller gets the same ones.
    """
    key = Path(path).absolute(), stamp(path)
    if key not in _kept:
        ds = open_dataset(path)
        for variable in ds.variables.values():
            if isinstance(variable.values, np.ndarray):
                variable.values.flags.writeable = False
        if ds.nbytes > KEPT_BYTES:
            return ds
        _kept[key] = ds
    return _kept[key].copy()


def stamp(path: Path) -> int | None:
    """When a group was written; None where there is none."""
    file = Path(path) / "zarr.json"
    return file.stat().st_mtime_ns if file.exists() else None


def open_group(path: Path, mode: str = "r") -> zarr.Group:
    """The Zarr group at ``path``, or a :class:`StoreError` that says what is wrong with it."""
    if not path.exists():
        raise missing(path)
    try:
        return zarr.open_group(path, mode=mode, zarr_format=3)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a readable Zarr v3 group: {error}") from error


@contextmanager
def named_damage(path: Path):
    """Turn what a reader says about damaged content into an error that names the artifact."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, StoreError | PermissionError):
            raise
        raise StoreError(f"{path} is damaged ({error}); delete it and run its stage again") from error


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as parquet or CSV, after the suffix of ``path``; the index is not kept."""
    path = Path(path)
    partial = _partial(path)
    if path.suffix == ".parquet":
        table.to_parquet(partial, index=False)
    elif path.suffix == ".csv":
        table.to_csv(partial, index=False)
    else:
        raise ValueError(f"path ends in {path.suffix!r}; expected .parquet or .csv ({path})")
    partial.replace(path)
    return path


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote."""
    path = Path(path)
    if not path.is_file():
        raise missing(path)
    with named_damage(path):
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def write_json(path: Path, values: dict) -> Path:
    """Write a JSON note."""
    path = Path(path)
    partial = _partial(path)
    partial.write_text(json.dumps(values, indent=1, default=str) + "\n")
    partial.replace(path)
    return path


def read_json(path: Path) -> dict:
    """Read a JSON note."""
    if not Path(path).is_file():
        raise missing(path)
    with named_damage(path):
        return json.loads(Path(path).read_text())


def _partial(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
