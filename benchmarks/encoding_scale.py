"""Fit one feature space of a whole subject: 9000 pictures, 4096 features, 15,724 voxels, 60 penalties.

    python benchmarks/encoding_scale.py [--threads 2] [--json FILE]

The path is that of the notebook (``encoding.fit_encoding``), on synthetic responses with a known share of
signal.  Limit: peak memory below 8 GB.  Takes minutes.
"""

import argparse
import json
import os
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from brainalign_utils import artifacts
from brainalign_utils.encoding import fitting as encoding
from brainalign_utils.settings import Settings

N_TRAIN, N_TEST, N_REPEATS = 9000, 1000, 3
N_FEATURES, N_VOXELS, N_LATENT = 4096, 15_724, 100
SIGNAL = 0.3
"""Share of a voxel's variance that the features explain."""
MAX_GIGABYTES = 8.0


def make_subject(seed=0):
    """Features (n_train + n_test, n_features) and responses; voxels read ``N_LATENT`` directions of them."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((N_TRAIN + N_TEST, N_LATENT), dtype=np.float32)
    loading = rng.standard_normal((N_LATENT, N_FEATURES), dtype=np.float32) / np.float32(np.sqrt(N_LATENT))
    X = latent @ loading + rng.standard_normal((N_TRAIN + N_TEST, N_FEATURES), dtype=np.float32)
    W = rng.standard_normal((N_LATENT, N_VOXELS), dtype=np.float32) * np.float32(np.sqrt(SIGNAL / N_LATENT))
    noise = np.float32(np.sqrt(1 - SIGNAL))
    train = latent[:N_TRAIN] @ W
    train += noise * rng.standard_normal(train.shape, dtype=np.float32)
    test = np.empty((N_REPEATS, N_TEST, N_VOXELS), np.float32)
    signal = latent[N_TRAIN:] @ W
    for repeat in range(N_REPEATS):
        test[repeat] = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
    ids = np.arange(N_TRAIN + N_TEST)
    dims = {"train": ("train_stimulus", "voxel"), "test": ("repeat", "test_stimulus", "voxel")}
    coords = {"train_nsd_id": ("train_stimulus", ids[:N_TRAIN])}
    coords |= {"test_nsd_id": ("test_stimulus", ids[N_TRAIN:])}
    data = {"train": (dims["train"], train), "test": (dims["test"], test)}
    return X, xr.Dataset(data, coords=coords)


def measure(threads):
    torch.set_num_threads(threads)
    settings = Settings()
    X, responses = make_subject()
    spaces = pd.DataFrame({"component": ["language"], "instruction": "IC", "layer": 16, "depth": 0.5})
    before = artifacts.peak_memory() / 1e9
    start, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    scores, _ = encoding.fit_encoding(
        spaces, lambda space, ids: X[ids], responses, settings.alphas(), settings.encoding
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    # the mean of three repeats holds more signal than one trial
    ceiling = np.sqrt(SIGNAL / (SIGNAL + (1 - SIGNAL) / N_REPEATS))
    return {
        "n_train": N_TRAIN, "n_features": N_FEATURES, "n_voxels": N_VOXELS,
        "n_alphas": settings.encoding.n_alphas,
        "n_folds": settings.encoding.n_folds, "threads": threads,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime,
        "peak_gigabytes": artifacts.peak_memory() / 1e9, "gigabytes_before": before,
        "mean_r": float(scores.r.mean()), "largest_possible_r": float(ceiling),
        "machine": artifacts.hardware(), "load_average": os.getloadavg()[0],
        "date": datetime.now(UTC).date().isoformat(),
        "versions": artifacts.package_versions(("torch", "numpy")),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    figures = measure(args.threads)
    text = json.dumps(figures, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    within = (
        figures["peak_gigabytes"] < MAX_GIGABYTES and figures["mean_r"] > 0.8 * figures["largest_possible_r"]
    )
    print("within limits" if within else f"OVER the limit ({MAX_GIGABYTES} GB), or the signal was not found")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
