"""Rows of one stored layer, from all shards at once.

Zarr takes chunk after chunk through reading, checksum and copying, and precision is widened after the last.
Here a thread takes one shard through all of it, straight into the rows that are wanted, so that disk and
processor work at the same time.  The bytes are those of Zarr's sharding codec: chunks, and behind them
an index of (offset, length) with a checksum.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numpy as np
import zarr

N_THREADS = 8
ABSENT = np.iinfo(np.uint64).max


def read_rows(folder: Path, features: zarr.Array, instruction: int, layer: int, rows) -> np.ndarray:
    """Rows of one instruction and layer.

    Parameters
    ----------
    folder : Path
        Of the array ``features`` (instruction, layer, stimulus, feature), one shard a block of stimuli.
    rows : (n_rows,) int array
        In any order; may repeat.

    Returns
    -------
    (n_rows, n_features) float32 array
        NaN where a block was not written.

    Raises
    ------
    ValueError
        When a checksum fails or a shard is cut off; with the shard's name.
    """
    n_instructions, n_layers, _, n_features = features.shape
    block_size, chunk = features.chunks[2], instruction * n_layers + layer
    values = np.empty((len(rows), n_features), np.float32)
    order = np.argsort(rows, kind="stable")
    blocks, first = np.unique(rows[order] // block_size, return_index=True)

    def read(block, places):
        data = _chunk(folder / f"c/0/0/{block}/0", chunk, n_instructions * n_layers)
        if data is None:
            values[places] = np.nan
            return
        stored = data.view(features.dtype).reshape(block_size, n_features)
        _fill(values, _as_slice(places), stored[_as_slice(rows[places] - block * block_size)])

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(read, blocks, np.split(order, first[1:])))
    return values


def _chunk(path: Path, chunk: int, n_chunks: int) -> np.ndarray | None:
    """Bytes of one chunk of a shard, verified; None where it was not written."""
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    with file:
        if hasattr(os, "posix_fadvise"):  # else the first layer takes the next ones along, unasked
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        length = 16 * n_chunks + 4
        index = _verified(file, max(os.fstat(file.fileno()).st_size - length, 0), length, path)
        offset, length = index.view("<u8")[2 * chunk : 2 * chunk + 2]
        return None if offset == ABSENT else _verified(file, int(offset), int(length), path)


def _verified(file, offset: int, length: int, path: Path) -> np.ndarray:
    data = np.empty(length, np.uint8)
    n_read = os.preadv(file.fileno(), [data], offset)
    if n_read < length or google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:].tobytes(), "little"):
        raise ValueError(f"{n_read} of {length} bytes at {offset} of {path} do not match their checksum")
    return data[:-4]


def _fill(values: np.ndarray, places, stored: np.ndarray) -> None:
    """Write rows in single precision; PyTorch widens half precision in one pass, faster than NumPy."""
    if stored.dtype == np.float32 or not isinstance(places, slice):
        values[places] = stored
        return
    import torch  # whoever reads features fits them

    torch.from_numpy(values[places]).copy_(torch.from_numpy(stored))


def _as_slice(index):
    """Consecutive numbers as a slice: a view instead of a copy."""
    consecutive = np.array_equal(index, np.arange(index[0], index[0] + len(index)))
    return slice(index[0], index[0] + len(index)) if consecutive else index
