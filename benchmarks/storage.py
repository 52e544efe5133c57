"""Write a feature store of real size and read single layers back; compare with the disk itself.

    python benchmarks/storage.py [--folder DIR] [--json FILE]

10,000 pictures x 33 layers x 4096 features in half precision are 2.7 GB, written below DIR and removed.
Limit: a layer, read through the store with its checksums, comes at no less than half the speed of a
sequential read of one plain file of the same size.  Both are read from the disk, not from the page cache.
The plain read throws away what it read; a second comparison reads as many bytes as a layer has and keeps
them in single precision, as the store does.  The three take turns, because a disk is not equally fast from
one minute to the next, and start some seconds after the caches were dropped, when the system has tidied up.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from loading import forget

from brainalign_utils import provenance
from brainalign_utils.store import FeatureStore, read_features

N_STIMULI, N_LAYERS, N_FEATURES = 10_000, 33, 4096
STIMULI_PER_BLOCK = 256
LAYERS = range(0, N_LAYERS, 4)
SECONDS_TO_SETTLE = 5
MIN_RATIO = 0.5


def drop_caches(folder):
    """Forget what was read: the system's whole page cache where that is permitted, else these files."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        done = "all caches dropped"
    except OSError:
        forget([path for path in folder.rglob("*") if path.is_file()])
        done = "these files taken out of the page cache"
    time.sleep(SECONDS_TO_SETTLE)
    return done


def block_values(rng, n):
    """Half-precision states of one block, (1, n_layers, n, n_features)."""
    bits = rng.integers(0, 1 << 15, (1, N_LAYERS, n, N_FEATURES), dtype=np.uint16)
    return (bits & 0x3BFF).view(np.float16)  # finite, at most 1.0


def write_store(folder):
    rng = np.random.default_rng(0)
    components = {"language": (("IC",), N_LAYERS, N_FEATURES)}
    ids = np.arange(N_STIMULI, dtype=np.int32)
    store = FeatureStore(folder, components, ids, STIMULI_PER_BLOCK, {"benchmark": "storage"}, "float16")
    store.create()
    seconds = 0.0
    for block in range(store.n_blocks):
        values = block_values(rng, len(store.block_ids(block)))
        start = time.perf_counter()
        store.write_block(block, {"language": values}, None, {})
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    os.sync()
    return store, ids, seconds + time.perf_counter() - start


def write_plain(path, n_bytes):
    block = block_values(np.random.default_rng(1), STIMULI_PER_BLOCK).tobytes()
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while file.tell() < n_bytes:
            file.write(block[: n_bytes - file.tell()])
    os.sync()
    return time.perf_counter() - start


def read_plain(path):
    buffer = bytearray(1 << 22)
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


def read_and_keep(path, n_bytes):
    """The same number of bytes as a layer, plainly, into memory that is kept, as single precision."""
    start = time.perf_counter()
    values = np.fromfile(path, np.float16, n_bytes // 2).astype(np.float32)
    seconds = time.perf_counter() - start
    assert values.nbytes == 2 * n_bytes
    return seconds


def read_layer(folder, ids, layer):
    start = time.perf_counter()
    values = read_features(folder, "language", "IC", layer, ids)
    seconds = time.perf_counter() - start
    assert values.shape == (N_STIMULI, N_FEATURES) and values.dtype == np.float32
    return seconds


def measure(folder):
    n_bytes = N_STIMULI * N_LAYERS * N_FEATURES * 2
    layer_bytes = n_bytes // N_LAYERS
    plain = folder / "plain"
    plain_written = write_plain(plain, n_bytes)
    store, ids, written = write_store(folder / "store")
    plain_read, layers_read, kept = [], [], []
    read_layer(store.folder, ids, 0)  # loads libraries
    for layer in LAYERS:
        drop_caches(folder)
        plain_read.append(read_plain(plain))
        drop_caches(folder)
        kept.append(read_and_keep(plain, layer_bytes))
        cold = drop_caches(folder)
        layers_read.append(read_layer(store.folder, ids, layer))
    warm = min(read_layer(store.folder, ids, LAYERS[-1]) for _ in range(2))
    stored = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    disk, layer = n_bytes / median(plain_read) / 1e6, layer_bytes / median(layers_read) / 1e6
    return {
        "n_stimuli": N_STIMULI, "n_layers": N_LAYERS, "n_features": N_FEATURES, "dtype": "float16",
        "gigabytes": n_bytes / 1e9, "gigabytes_on_disk": stored / 1e9, "layer_megabytes": layer_bytes / 1e6,
        "plain_write_megabytes_per_s": n_bytes / plain_written / 1e6,
        "store_write_megabytes_per_s": n_bytes / written / 1e6,
        "plain_read_megabytes_per_s": disk, "plain_read_seconds": plain_read,
        "layer_read_megabytes_per_s": layer, "layer_read_seconds": layers_read,
        "layer_read_in_page_cache_megabytes_per_s": layer_bytes / warm / 1e6,
        "kept_read_seconds": kept, "ratio_kept": median(kept) / median(layers_read),
        "ratio": layer / disk, "cold": cold,
        "machine": provenance.hardware(), "load_average": os.getloadavg()[0],
        "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        figures = measure(Path(folder))
    text = json.dumps(figures, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    within = figures["ratio"] >= MIN_RATIO
    print("within the limit" if within else f"BELOW the limit ({MIN_RATIO} of the disk's speed)")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
