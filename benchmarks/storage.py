"""Write a feature store of real size and read single layers back; compare with the disk itself.

    python benchmarks/storage.py [--folder DIR] [--json FILE]

10,000 pictures x 33 layers x 4096 features in half precision are 2.7 GB, written below DIR and removed.
Limit: a layer, read through the store with its checksums and kept in single precision, comes at no less
than half the speed of a plain sequential read that throws away what it read.  All come from the disk, not
from the page cache.

The plain file is as large as the store.  It is read as a whole, and as many bytes of it as a layer has: on a
virtual machine a long read also waits for memory that the host must give, a short one does not.  A third
comparison keeps those bytes in single precision.  Reads of a kind follow each other, and the first of each
series does not count, because it pays for memory that the one before gave back.  The series take turns.
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

from brainalign_utils import artifacts
from brainalign_utils.features.store import FeatureStore, read_features

N_STIMULI, N_LAYERS, N_FEATURES = 10_000, 33, 4096
STIMULI_PER_BLOCK = 256
N_ROUNDS, N_READS = 3, 9
MIN_RATIO = 0.5


def drop_caches(folder):
    """Forget what was read: the system's whole page cache where that is permitted, else these files."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return "all caches dropped"
    except OSError:
        forget([path for path in folder.rglob("*") if path.is_file()])
        return "these files taken out of the page cache"


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


def read_plain(path, n_bytes, start=0):
    """Seconds of a sequential read that throws away what it read."""
    buffer = bytearray(4_096_000)  # a layer is twenty of them
    begun = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        end = file.seek(start) + n_bytes
        while file.tell() < end:
            assert file.readinto(buffer)
    return time.perf_counter() - begun


def read_and_keep(path, n_bytes, start):
    """Seconds of a sequential read into memory that is kept, as single precision."""
    begun = time.perf_counter()
    values = np.fromfile(path, np.float16, n_bytes // 2, offset=start).astype(np.float32)
    seconds = time.perf_counter() - begun
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
    read_layer(store.folder, ids, 0)  # loads libraries
    reads = {
        "whole": lambda layer: read_plain(plain, n_bytes),
        "plain": lambda layer: read_plain(plain, layer_bytes, layer * layer_bytes),
        "kept": lambda layer: read_and_keep(plain, layer_bytes, layer * layer_bytes),
        "layer": lambda layer: read_layer(store.folder, ids, layer),
    }
    seconds = {name: [] for name in reads}
    for turn in range(N_ROUNDS):
        for name, read in reads.items():
            drop_caches(folder)
            read(N_LAYERS - 1)
            for number in range(N_READS):
                cold = drop_caches(folder)
                seconds[name].append(read(turn * N_READS + number))
    took = {name: median(values) for name, values in seconds.items()}
    warm = min(read_layer(store.folder, ids, 1) for _ in range(3))
    stored = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    layer_read = layer_bytes / took["layer"] / 1e6
    whole_read = n_bytes / took["whole"] / 1e6
    return {
        "n_stimuli": N_STIMULI, "n_layers": N_LAYERS, "n_features": N_FEATURES, "dtype": "float16",
        "gigabytes": n_bytes / 1e9, "gigabytes_on_disk": stored / 1e9, "layer_megabytes": layer_bytes / 1e6,
        "plain_write_megabytes_per_s": n_bytes / plain_written / 1e6,
        "store_write_megabytes_per_s": n_bytes / written / 1e6,
        "whole_read_megabytes_per_s": whole_read, "whole_read_seconds": seconds["whole"],
        "plain_read_megabytes_per_s": layer_bytes / took["plain"] / 1e6,
        "plain_read_seconds": seconds["plain"],
        "layer_read_megabytes_per_s": layer_read, "layer_read_seconds": seconds["layer"],
        "layer_read_in_page_cache_megabytes_per_s": layer_bytes / warm / 1e6,
        "kept_read_seconds": seconds["kept"],
        "ratio": took["plain"] / took["layer"], "ratio_whole": layer_read / whole_read,
        "ratio_kept": took["kept"] / took["layer"],
        "cold": cold,
        "machine": artifacts.hardware(), "load_average": os.getloadavg()[0],
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
    within = min(figures["ratio"], figures["ratio_whole"]) >= MIN_RATIO
    print("within the limit" if within else f"BELOW the limit ({MIN_RATIO} of the disk's speed)")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
