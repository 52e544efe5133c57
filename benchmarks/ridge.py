"""Speed, memory and agreement of the ridge solver beside its peers.

    python benchmarks/ridge.py                    # all rows but the largest
    python benchmarks/ridge.py --rows paper       # the shape of the paper: half an hour of himalaya
    python benchmarks/ridge.py --scale            # one subject of NSD within 8 GB, ours only
    python benchmarks/ridge.py --grow             # time against voxels, features and alphas
    python benchmarks/ridge.py --device cuda

Every run is a process of its own, solvers take turns, medians are reported.  Memory is the
growth of the resident set beyond the data.  Busy time is processor time by thread: the time that
the fit would take on a machine with nothing else to do.  Tables call it ``seconds``, ratios are
made of it, and ``wall_seconds`` stands beside it.  The roofline is the rate of a large float32
matrix product in busy time, measured in the same process before and after the fit.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
N_TEST = 300
ALPHAS = (1, 4)

ROWS = {  # name: (n_stimuli, n_features, n_voxels, n_alphas), peers with the ratio to reach, ours first
    "mid": ((4000, 1024, 10_000, 60), {"himalaya": 15, "himalaya-tuned": 8, "himalaya-kernel": 8}),
    "dual": ((2000, 4096, 2000, 20), {"himalaya-kernel": 1.5}),
    "gcv": ((2000, 1024, 2000, 20), {"sklearn-gcv": 2}),
    "decaying": ((4000, 1024, 10_000, 60), {"himalaya": 15}),
    "paper": ((9000, 4096, 10_000, 60), {"himalaya": 15, "himalaya-fold": 15}),
}
N_FOLDS_OF = {"himalaya-fold": 5}
"""Solvers that are timed on one fold, without the refit: the time of all folds is a lower bound."""

SCALE = (9000, 4096, 15_724, 60)
GROW = {  # what grows: its place in the shape, and shapes
    "voxels": (2, [(1500, 256, t, 60) for t in (500, 2000, 8000)]),
    "features": (1, [(1500, p, 1000, 60) for p in (128, 512, 2048)]),
    "penalties": (3, [(1500, 512, 1000, a) for a in (5, 20, 60)]),
}
TUNED = {"n_targets_batch": 2000, "n_alphas_batch": 5, "n_targets_batch_refit": 1000}


def simulate(shape, decaying=False, seed=0):
    """White (or decaying) features; signal in 50 of them, R2 of 0 to 0.5; float32."""
    n, p, t, n_alphas = shape
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n + N_TEST, p), dtype=np.float32)
    if decaying:
        X *= np.logspace(0, -1.5, p, dtype=np.float32)
        X += 20 * rng.standard_normal((n + N_TEST, 1), dtype=np.float32)
    signal = X[:, :50] @ rng.standard_normal((min(50, p), t), dtype=np.float32)
    Y = signal / signal.std(0) * rng.uniform(0, 1, t).astype(np.float32)
    Y += rng.standard_normal(Y.shape, dtype=np.float32)
    return X[:n], Y[:n], X[n:], np.logspace(*ALPHAS, n_alphas)


def busy_time(device):
    """Seconds of processor time by thread; wall time where an accelerator works."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def gemm_rate(device):
    """Best of three rates of a large float32 matrix product, in 1e9 operations a second."""
    import torch

    a, b = torch.randn(3072, 3072, device=device), torch.randn(3072, 3072, device=device)
    best = 0.0
    for _ in range(3):
        start = busy_time(device)
        a @ b
        best = max(best, 2 * 3072**3 / (busy_time(device) - start) / 1e9)
    return best


def run_ours(X, Y, X_test, alphas, device):
    from torch.utils.flop_counter import FlopCounterMode

    from brainalign_utils.ridge import solve_ridge_cv

    counter = FlopCounterMode(display=False)
    with counter:
        result = solve_ridge_cv(X, Y, alphas, selection="mse", X_test=X_test, device=device, warn=False)
    return result.best_alphas, result.predictions, result.route | {"flops": counter.get_total_flops()}


def _himalaya(model, X, Y, X_test, device):
    import torch
    from himalaya.backend import set_backend

    backend = set_backend("torch_cuda" if device == "cuda" else "torch")
    model = model()
    model.fit(backend.asarray(X), backend.asarray(Y))
    predictions = model.predict(backend.asarray(X_test))
    assert isinstance(predictions, torch.Tensor)
    return backend.to_numpy(model.best_alphas_), backend.to_numpy(predictions), {}


def run_himalaya(X, Y, X_test, alphas, device, params=None):
    from himalaya.ridge import RidgeCV

    authors = {"n_targets_batch": 500, "n_alphas_batch": 10, "n_targets_batch_refit": 100, "warn": False}
    params = authors | (params or {})
    return _himalaya(lambda: RidgeCV(alphas=alphas, cv=5, solver_params=params), X, Y, X_test, device)


def run_himalaya_fold(X, Y, X_test, alphas, device):
    """The search over alphas on the first of five folds; no refit, no predictions."""
    import torch
    from himalaya.backend import set_backend
    from himalaya.ridge import solve_group_ridge_random_search

    backend = set_backend("torch_cuda" if device == "cuda" else "torch")
    n, n_held_out = len(X), len(X) // 5
    solve_group_ridge_random_search(
        [backend.asarray(X)],
        backend.asarray(Y),
        n_iter=torch.ones(1, 1),
        alphas=backend.asarray(alphas.astype(np.float32)),
        cv=[(np.arange(n_held_out, n), np.arange(n_held_out))],
        return_weights=False,
        n_targets_batch=500,
        n_alphas_batch=10,
        progress_bar=False,
        warn=False,
    )
    return np.full(Y.shape[1], np.nan), np.zeros((len(X_test), Y.shape[1])), {}


def run_himalaya_tuned(X, Y, X_test, alphas, device):
    return run_himalaya(X, Y, X_test, alphas, device, TUNED)


def run_himalaya_kernel(X, Y, X_test, alphas, device):
    from himalaya.kernel_ridge import KernelRidgeCV

    params = {"n_targets_batch": 1000, "n_alphas_batch": 10}
    return _himalaya(lambda: KernelRidgeCV(alphas=alphas, cv=5, solver_params=params), X, Y, X_test, device)


def run_sklearn_gcv(X, Y, X_test, alphas, device):
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=alphas, fit_intercept=False, alpha_per_target=True).fit(X, Y)
    return model.alpha_, model.predict(X_test), {}


SOLVERS = {
    "ours": run_ours,
    "himalaya": run_himalaya,
    "himalaya-fold": run_himalaya_fold,
    "himalaya-tuned": run_himalaya_tuned,
    "himalaya-kernel": run_himalaya_kernel,
    "sklearn-gcv": run_sklearn_gcv,
}


def _resident_peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(solver, shape, decaying, threads, device, out):
    """One timed fit in this process; prints a JSON line and saves alphas and predictions."""
    import torch

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    run = SOLVERS[solver]
    run(*simulate((200, 20, 30, 8)), device)  # loads libraries
    data = simulate(shape, decaying)
    rate, before = gemm_rate(device), _resident_peak()
    start_busy, start = busy_time(device), time.perf_counter()
    best_alphas, predictions, info = run(*data, device)
    busy, seconds = busy_time(device) - start_busy, time.perf_counter() - start
    extra = _resident_peak() - before
    if "flops" in info:
        info["eigh_seconds"] = eigh_seconds(shape, info, device)
    rate = max(rate, gemm_rate(device))
    np.savez(out, best_alphas=best_alphas, predictions=predictions)
    times = {"seconds": busy, "wall_seconds": seconds}
    print(json.dumps(times | {"extra_mb": extra, "gemm_rate": rate} | info))


def eigh_seconds(shape, info, device):
    """Time of the eigendecompositions that a fit needs, measured on a matrix of that size."""
    import torch

    n, p = shape[0], shape[1]
    size, fold_size = (n, n - n // 5) if info["form"] == "dual" else (p, p)
    count = 5 if info["folds"] == "spectral" else 0
    seconds = 0.0
    for dims, times in ((size, 1), (fold_size, count)):
        if times:
            matrix = torch.randn(dims, dims, device=device, dtype=getattr(torch, info["eigh_dtype"]))
            start = busy_time(device)
            torch.linalg.eigh(matrix + matrix.T)
            seconds += times * (busy_time(device) - start)
    return seconds


def measure(solver, shape, args, folder, decaying=False):
    """Run one fit in a fresh process."""
    out = Path(folder) / f"{solver}.npz"
    command = [sys.executable, __file__, "--work", solver, *map(str, shape), str(int(decaying)), str(out)]
    command += ["--threads", str(args.threads), "--device", args.device]
    environment = os.environ | {k: str(args.threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{solver} on {shape} failed:\n{done.stderr[-2000:]}")
    item = json.loads(done.stdout.splitlines()[-1]) | {"load": os.getloadavg()[0]}
    times = {key: item[key] * N_FOLDS_OF.get(solver, 1) for key in ("seconds", "wall_seconds")}
    return item | times


def agreement(folder, solver):
    """Share of voxels with the same alpha as ours, and the largest difference of predictions."""
    with np.load(Path(folder) / "ours.npz") as a, np.load(Path(folder) / f"{solver}.npz") as b:
        same = np.isclose(a["best_alphas"], b["best_alphas"], rtol=1e-3)
        error = np.abs(a["predictions"] - b["predictions"]).max(0) / a["predictions"].std(0)
    return float(same.mean()), float(error[same].max()) if same.any() else np.nan


def benchmark(name, args):
    """All solvers of a row, taking turns."""
    shape, peers = ROWS[name]
    runs = {solver: [] for solver in ("ours", *peers) if solver in args.solvers}
    repeats = 1 if name == "paper" else args.repeats
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for solver in runs:
                runs[solver].append(measure(solver, shape, args, folder, name == "decaying"))
                print(name, solver, runs[solver][-1], flush=True)
        if name == "paper" and len(runs) > 1:  # the machine may change while the peer runs
            runs["ours"].append(measure("ours", shape, args, folder))
        rows = []
        ours = _median(runs["ours"], "seconds")
        for solver, items in runs.items():
            row = dict(zip(("n_stimuli", "n_features", "n_voxels", "n_alphas"), shape, strict=True))
            row |= {"row": name, "solver": solver, "n_runs": len(items), "target": peers.get(solver)}
            keys = ("seconds", "wall_seconds", "extra_mb", "gemm_rate", "load")
            row |= {key: round(_median(items, key), 2) for key in keys}
            row["ratio"] = round(_median(items, "seconds") / ours, 2)
            if solver == "ours":
                row |= roofline(items)
            else:
                row["same_alpha"], row["prediction_error"] = agreement(folder, solver)
            rows.append(row)
    return rows


def roofline(items):
    """Shares of the time that matrix products at the measured rate, and eigh besides, would take."""
    gemm = [i["flops"] / i["gemm_rate"] / 1e9 / i["seconds"] for i in items]
    bound = [g + i["eigh_seconds"] / i["seconds"] for g, i in zip(gemm, items, strict=True)]
    keys = ("form", "folds", "eigh_dtype", "n_nodes", "n_products")
    return {
        "share_of_gemm_roofline": round(float(np.median(gemm)), 3),
        "share_of_bound_with_eigh": round(float(np.median(bound)), 3),
    } | {key: items[0][key] for key in keys}


def _median(items, key):
    return float(np.median([item[key] for item in items]))


def grow(args):
    """Our time and himalaya's against voxels, features and alphas, as ``figures`` plots it."""
    rows = []
    for variable, (axis, shapes) in GROW.items():
        for shape in shapes:
            with tempfile.TemporaryDirectory() as folder:
                for solver, engine in (("ours", "brainalign"), ("himalaya", "himalaya")):
                    item = measure(solver, shape, args, folder)
                    row = dict(zip(("n_stimuli", "n_features", "n_voxels", "n_alphas"), shape, strict=True))
                    row |= {"variable": variable, "size": shape[axis], "engine": engine}
                    row |= {"seconds": item["seconds"], "wall_seconds": item["wall_seconds"]}
                    rows.append(row | {"extra_mb": item["extra_mb"], "load": item["load"]})
                    print(rows[-1], flush=True)
    return rows


def scale(args):
    """One subject of NSD at full size, ours only; resident memory of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        item = measure("ours", SCALE, args, folder)
    n, p, t, _ = SCALE
    data = (n + N_TEST) * (p + t) * 4 / 2**20
    row = dict(zip(("n_stimuli", "n_features", "n_voxels", "n_alphas"), SCALE, strict=True))
    return [
        row | item | {"data_mb": round(data), "total_mb": round(data + item["extra_mb"]), "limit_mb": 8192}
    ]


def stamp(table, args):
    """Add machine, versions and date to a table."""
    table["machine"] = f"{_processor()}, {os.cpu_count()} cores, {args.threads} threads, {args.device}"
    table["versions"] = ", ".join(f"{p} {version(p)}" for p in ("torch", "himalaya", "scikit-learn", "numpy"))
    table["date"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return table


def write(rows, name, args):
    """Merge rows into ``results/<name>.csv``."""
    table = stamp(pd.DataFrame(rows), args)
    path = RESULTS / f"{name}.csv"
    if "row" in table and path.exists():
        old = pd.read_csv(path)
        table = pd.concat([old[~old.row.isin(table.row)], table], ignore_index=True)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    print(table.to_string())


def _processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[r for r in ROWS if r != "paper"])
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--work", nargs=7, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        solver, *shape, decaying, out = args.work
        work(solver, tuple(map(int, shape)), bool(int(decaying)), args.threads, args.device, out)
    elif args.scale:
        write(scale(args), "ridge_scale", args)
    elif args.grow:
        write(grow(args), "ridge_growth", args)
    else:
        for name in args.rows:
            write(benchmark(name, args), "ridge", args)


if __name__ == "__main__":
    main()
