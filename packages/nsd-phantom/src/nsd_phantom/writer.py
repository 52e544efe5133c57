"""Files in NSD's formats, with the same bytes every time: no time stamps, no names of hosts."""

import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from scipy.io import savemat

from .grid import Layout

IMAGE_SHAPE = (425, 425, 3)
BETA_SCALE = 300
"""Betas are stored as int16: percent signal change times this."""
INVALID = 9999
"""Coordinate of a vertex that lies outside the volume."""


def to_int16(betas) -> np.ndarray:
    """Percent signal change to what NSD stores: times 300, rounded, clipped to int16."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(np.asarray(betas) * BETA_SCALE), limits.min, limits.max).astype(np.int16)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_volume(path: Path, layout: Layout, values, fill=0) -> None:
    """One value per voxel of the brain mask as a NIfTI volume (x, y, z).

    Parameters
    ----------
    path : Path
        Ends in ``.nii.gz``.
    layout : Layout
    values : array of shape (n_voxels,)
    fill : scalar
        Outside the brain mask.
    """
    _write_nifti(path, layout.volume(values, fill), layout.affine)


def write_betas_nifti(path: Path, layout: Layout, betas) -> None:
    """Betas of a session as (x, y, z, n_trials) int16; ``betas`` is (n_trials, n_voxels) int16."""
    volume = np.zeros((*layout.shape, len(betas)), np.int16, order="F")
    volume[tuple(layout.ijk.T)] = betas.T
    _write_nifti(path, volume, layout.affine)


def _write_nifti(path, volume, affine):
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    write_bytes(path, gzip.compress(image.to_bytes(), 1, mtime=0))


def write_betas_hdf5(path: Path, layout: Layout, betas) -> None:
    """Betas of a session as (n_trials, z, y, x) int16, one chunk a voxel, brain voxels only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_trials = len(betas)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "betas", (n_trials, *layout.shape[::-1]), np.int16, chunks=(n_trials, 1, 1, 1), fillvalue=0
        )
        for (x, y, z), voxel in zip(layout.ijk.tolist(), np.ascontiguousarray(betas.T), strict=True):
            dataset.id.write_direct_chunk((0, z, y, x), voxel.astype("<i2").tobytes())


def write_surface(path: Path, values) -> None:
    """Values of shape (n_vertices,) or (n_vertices, n_columns) as ``.mgz``."""
    values = np.asarray(values)
    values = values.astype(np.int32 if values.dtype.kind in "iu" else np.float32)
    image = nib.MGHImage(values.reshape(len(values), 1, 1, *values.shape[1:]), np.eye(4))
    write_bytes(path, gzip.compress(image.to_bytes(), 6, mtime=0))


def write_ctab(path: Path, names: Sequence[str], colours: bool = False) -> None:
    """Names of labels, one ``<int> <name>`` a line; with ``colours``, further columns behind a tab."""
    lines = [f"{code} {name}" for code, name in enumerate(("Unknown", *names))]
    if colours:
        lines = [f"{line}\t{10 * code}\t{255 - 10 * code}\t0" for code, line in enumerate(lines)]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def write_mat(path: Path, variables: Mapping[str, np.ndarray]) -> None:
    """A MATLAB 5 file; its header normally holds the time, here a fixed text."""
    buffer = io.BytesIO()
    savemat(buffer, dict(variables), do_compression=True)
    text = b"MATLAB 5.0 MAT-file, written by nsd-phantom"
    write_bytes(path, text.ljust(116) + buffer.getvalue()[116:])


def write_table(path: Path, table: pd.DataFrame, **options) -> None:
    """A csv or tsv file; ``options`` go to pandas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, lineterminator="\n", **options)


def compress_image(image) -> bytes:
    """One picture (425, 425, 3) uint8 as a chunk of the image brick."""
    return zlib.compress(np.ascontiguousarray(image, np.uint8).tobytes(), 1)


class ImageBrick:
    """``nsd_stimuli.hdf5`` with all 73000 rows, of which only those written take space.

    Parameters
    ----------
    path : Path
    n_images : int
    """

    def __init__(self, path: Path, n_images: int = 73000):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(path, "w")
        self._brick = self._file.create_dataset(
            "imgBrick", (n_images, *IMAGE_SHAPE), np.uint8, chunks=(1, *IMAGE_SHAPE), compression="gzip",
            compression_opts=1,
        )  # fmt: skip

    def __enter__(self) -> "ImageBrick":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def put(self, nsd_id: int, chunk: bytes) -> None:
        """Store what :func:`compress_image` made, in row ``nsd_id``."""
        self._brick.id.write_direct_chunk((int(nsd_id), 0, 0, 0), chunk)
