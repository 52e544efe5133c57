"""Load a synthetic subject with the dimensions of subj01; compare with reading the same files plainly.

    python benchmarks/loading.py [--folder DIR] [--full] [--json FILE]

Writes two sessions of 1.1 GB each into a temporary folder below DIR and removes them.  Checks two
limits: peak memory under 4 GB, and time under 1.3 times that of a sequential read of the same files,
neither of them in the page cache.  ``--full`` then loads 40 sessions (links to the two) with all
9000 + 1000 pictures three times each, for the peak memory of a whole subject.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import h5py
import nibabel
import numpy as np
import scipy.io

from brainalign_utils import artifacts, nsd, tables
from brainalign_utils.nsd import layout

SUBJECT = 1
SHAPE = (81, 104, 83)
N_VOXELS = 15724
MAX_GIGABYTES = 4.0
MAX_RATIO = 1.3
N_RUNS = 3
N_SESSIONS, N_FULL = 2, 40


def cortex_like_mask(shape=SHAPE, n_voxels=N_VOXELS):
    """The back half of a thick shell: as scattered through the file as nsdgeneral is."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    centre = np.array(shape) / 2
    depth = np.abs(np.linalg.norm((grid - centre) / centre, axis=-1) - 0.8)
    depth[:, shape[1] // 2 :] = np.inf
    mask = np.zeros(shape, np.int16)
    mask[np.unravel_index(np.argsort(depth, axis=None)[:n_voxels], shape)] = 1
    return mask


def write_subject(root):
    """Only what the loader reads."""
    rng = np.random.default_rng(0)
    path = root / layout.EXPDESIGN
    path.parent.mkdir(parents=True)
    order = np.tile(rng.permutation(10000) + 1, 3)[None]
    shared = np.arange(2951, 3951)
    subjectim = np.tile(np.r_[shared, np.arange(10000, 19000)], (8, 1)).astype(np.int32)
    scipy.io.savemat(path, {"masterordering": order, "subjectim": subjectim, "sharedix": shared[None]})
    mask = cortex_like_mask()
    for volume in layout.REQUIRED_VOLUMES:
        write_roi(root, volume, mask if volume == "nsdgeneral" else np.zeros(SHAPE, np.int16))
    folder = root / layout.betas_folder(SUBJECT)
    folder.mkdir(parents=True)
    first = folder / "betas_session01.hdf5"
    with h5py.File(first, "w") as file:
        betas = file.create_dataset("betas", (750, *SHAPE[::-1]), "i2", chunks=(750, 1, 1, 1))
        for z in range(SHAPE[2]):
            betas[:, z] = rng.integers(-3000, 3000, (750, *SHAPE[1::-1]), dtype=np.int16)
    shutil.copyfile(first, folder / "betas_session02.hdf5")
    ncsnr = np.full(SHAPE, 0.5, np.float32)
    nibabel.save(nibabel.Nifti1Image(ncsnr, np.eye(4)), root / layout.ncsnr_key(SUBJECT))


def write_roi(root, volume, values):
    path = root / layout.roi_key(SUBJECT, volume)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    table = root / layout.ctab_keys(SUBJECT, volume)[0]
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("".join(f"{k} {name}\n" for k, name in tables.ROI_LABELS[volume].items()))


def forget(paths):
    """Take files out of the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_plainly(paths):
    buffer = bytearray(1 << 22)
    start, cpu = time.perf_counter(), time.process_time()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def load(root, ncsnr="file"):
    start, cpu = time.perf_counter(), time.process_time()
    responses = nsd.load_responses(root, SUBJECT, progress_bar=False, recompute_ncsnr=ncsnr == "recompute")
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "sizes": dict(responses.sizes),
    }


def load_in_new_process(root, ncsnr="file"):
    """So that peak memory is that of the loader alone."""
    command = [sys.executable, __file__, "--load", str(root), ncsnr]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(root):
    """Fastest of some runs of each kind: other work on the machine only ever slows them down."""
    files = nsd.session_files(root, SUBJECT)
    size = sum(path.stat().st_size for path in files) / 1e9
    runs = {"plain": [], "load": [], "load, in page cache": [], "plain, in page cache": []}
    for _ in range(N_RUNS):
        forget(files)
        runs["plain"].append(read_plainly(files))
        runs["plain, in page cache"].append(read_plainly(files))
        forget(files)
        for name in ("load", "load, in page cache"):
            runs[name].append(load_in_new_process(root))
    best = {name: min(results, key=lambda run: run["seconds"]) for name, results in runs.items()}
    return {
        "sessions": N_SESSIONS,
        "gigabytes_on_disk": size,
        "sizes": best["load"].pop("sizes"),
        "peak_gigabytes": max(run["peak_gigabytes"] for run in runs["load"]),
        "fastest": {name: {k: v for k, v in run.items() if k != "sizes"} for name, run in best.items()},
        "ratio": best["load"]["seconds"] / best["plain"]["seconds"],
        "machine": artifacts.hardware(),
        "date": datetime.now(UTC).date().isoformat(),
        "load_average": os.getloadavg()[0],
    }


def measure_full(root):
    """A whole subject: 30000 trials, every picture three times."""
    folder = root / layout.betas_folder(SUBJECT)
    for session in range(N_SESSIONS + 1, N_FULL + 1):
        os.link(folder / "betas_session02.hdf5", folder / f"betas_session{session:02d}.hdf5")
    return {f"ncsnr {how}": load_in_new_process(root, how) for how in ("file", "recompute")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="for the synthetic subject (default: temporary)")
    parser.add_argument("--full", action="store_true", help="also load a whole subject of 40 sessions")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        print(json.dumps(load(*args.load)))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        write_subject(Path(folder))
        figures = measure(Path(folder))
        if args.full:
            figures["whole subject"] = measure_full(Path(folder))
    text = json.dumps(figures, indent=1)
    print(text)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n")
    peaks = [
        figures["peak_gigabytes"],
        *(f["peak_gigabytes"] for f in figures.get("whole subject", {}).values()),
    ]
    within = max(peaks) < MAX_GIGABYTES and figures["ratio"] < MAX_RATIO
    print("within limits" if within else f"OVER a limit ({MAX_GIGABYTES} GB, {MAX_RATIO} x)")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
