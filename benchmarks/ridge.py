"""Speed, memory and agreement of the ridge solver beside its peers.

    python benchmarks/ridge.py                    # all rows but the largest
    python benchmarks/ridge.py --rows paper       # the shape of the paper: half an hour of himalaya
    python benchmarks/ridge.py --rows mid --solvers ours      # ours again, peers as measured before
    python benchmarks/ridge.py --scale            # one subject of NSD within 8 GB, ours only
    python benchmarks/ridge.py --grow             # time against voxels, features and alphas
    python benchmarks/ridge.py --device cuda

Every run is a process of its own, solvers take turns, medians are reported; see README.md beside
this file for what the columns mean.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from brainalign_utils.artifacts import processor

RESULTS = Path(__file__).parent / "results"
OUTPUTS = Path(__file__).parents[1] / "_build" / "benchmark"
"""Alphas and predictions of the last run of every solver, to compare them."""

FACTS = {"machine", "versions", "date", "revision"}
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


def clock(device):
    """Wall time, when all work given to an accelerator is done."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def gemm_rate(device):
    """Best of three rates of a large float32 matrix product, in 1e9 operations a second."""
    import torch

    a, b = torch.randn(3072, 3072, device=device), torch.randn(3072, 3072, device=device)
    best = 0.0
    for _ in range(3):
        start = clock(device)
        a @ b
        best = max(best, 2 * 3072**3 / (clock(device) - start) / 1e9)
    return best


class PeakMemory:
    """Largest growth of the resident set (of the allocated memory, on an accelerator) in MiB."""

    def __init__(self, device):
        self.device = device

    def __enter__(self):
        import torch

        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.start = torch.cuda.memory_allocated()
            return self
        self.process, self.done = psutil.Process(), threading.Event()
        self.start = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __exit__(self, *error):
        import torch

        if self.device == "cuda":
            self.peak = torch.cuda.max_memory_allocated()
        else:
            self.done.set()
            self.thread.join()
        self.mb = (self.peak - self.start) / 2**20


def run_ours(X, Y, X_test, alphas, device):
    from voxelridge import RidgeCV

    model = RidgeCV(alphas, device=device).fit(X, Y)
    return model.best_alphas_, model.predict(X_test), model.route_


def operations(shape, route, n_folds=5):
    """Floating-point operations of a route's large matrix products, without the mixing of products."""
    n, p, t, _ = shape
    n_held, n_train = n / n_folds, n - n / n_folds
    primal, spectral = route["form"] == "primal", route["folds"] == "spectral"
    full = p if primal else n
    dims = (p if primal else n_train) if spectral else full
    total = (
        n * p * (0.625 * p + t) + n * p**2 if primal else n**2 * p
    )  # Grams, X'Y, projection; or the kernel
    total += full**2 * t + N_TEST * (p * full + full * t)  # responses in the basis, predictions
    total += route["n_products"] * n * dims * t
    total += n_folds * dims * (dims * t if spectral else n_held**2 * route["n_products"])
    total += 0 if primal or not spectral else n_folds * n_held * n_train**2
    total += 0 if spectral else route["n_nodes"] * n * n_held * t  # (I - H)^-1 times residuals
    return 2 * total


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


def work(solver, shape, decaying, threads, device, out):
    """One timed fit in this process; prints a JSON line and saves alphas and predictions."""
    import torch

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    run = SOLVERS[solver]
    run(*simulate((200, 20, 30, 8)), device)  # loads libraries
    data = simulate(shape, decaying)
    rate = gemm_rate(device)
    with PeakMemory(device) as memory:
        start, start_cpu = clock(device), time.process_time()
        best_alphas, predictions, info = run(*data, device)
        times = {"seconds": clock(device) - start, "cpu_seconds": time.process_time() - start_cpu}
    if solver == "ours":
        info = info | {"flops": operations(shape, info)}
        info["eigh_seconds"] = eigh_seconds(shape, info, device)
    rate = max(rate, gemm_rate(device))
    np.savez(out, best_alphas=best_alphas, predictions=predictions)
    print(json.dumps(times | {"extra_mb": memory.mb, "gemm_rate": rate} | info))


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
            start = clock(device)
            torch.linalg.eigh(matrix + matrix.T)
            seconds += times * (clock(device) - start)
    return seconds


def measure(solver, shape, args, name, decaying=False):
    """Run one fit in a fresh process."""
    out = OUTPUTS / f"{name}-{solver}.npz"
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--work", solver, *map(str, shape), str(int(decaying)), str(out)]
    command += ["--threads", str(args.threads), "--device", args.device]
    environment = os.environ | {k: str(args.threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{solver} on {shape} failed:\n{done.stderr[-2000:]}")
    item = json.loads(done.stdout.splitlines()[-1]) | {"load": os.getloadavg()[0]}
    item |= {key: item[key] * N_FOLDS_OF.get(solver, 1) for key in ("seconds", "cpu_seconds")}
    print(name, solver, {k: round(v, 2) if isinstance(v, float) else v for k, v in item.items()}, flush=True)
    return item


def sizes(shape):
    return dict(zip(("n_stimuli", "n_features", "n_voxels", "n_alphas"), shape, strict=True))


def benchmark(name, args):
    """All solvers of a row, taking turns; their runs replace those of earlier calls."""
    shape, peers = ROWS[name]
    runs = []
    for k in range(args.repeats):
        for solver in ("ours", *peers):
            if solver in args.solvers and (k == 0 or f"{name}/{solver}" not in args.once):
                item = measure(solver, shape, args, name, name == "decaying")
                runs.append({"row": name, "solver": solver} | sizes(shape) | item)
    return runs


def summarise(runs):
    """One row per solver from all runs: medians, ratios to ours, share of the roofline, agreement."""
    rows = []
    for (name, solver), items in runs.groupby(["row", "solver"], sort=False):
        ours = runs[(runs.row == name) & (runs.solver == "ours")]
        first = items.iloc[-1]
        row = {
            key: first[key] for key in ("row", "solver", "n_stimuli", "n_features", "n_voxels", "n_alphas")
        }
        row |= {"n_runs": len(items), "target": ROWS[name][1].get(solver)}
        for key in ("seconds", "cpu_seconds", "extra_mb", "gemm_rate", "load"):
            row[key] = round(items[key].median(), 2)
        if solver == "ours":
            row |= roofline(items)
        elif len(ours):
            row["ratio"] = round(items.seconds.median() / ours.seconds.median(), 2)
            row["cpu_ratio"] = round(items.cpu_seconds.median() / ours.cpu_seconds.median(), 2)
            row |= agreement(name, solver)
        rows.append(row | {key: first[key] for key in sorted(FACTS)})
    return pd.DataFrame(rows)


def agreement(name, solver):
    """Share of voxels with the same alpha as ours, and the largest difference of their predictions."""
    paths = [OUTPUTS / f"{name}-{s}.npz" for s in ("ours", solver)]
    if solver in N_FOLDS_OF or not all(path.exists() for path in paths):
        return {}
    with np.load(paths[0]) as a, np.load(paths[1]) as b:
        same = np.isclose(a["best_alphas"], b["best_alphas"], rtol=1e-3)
        error = np.abs(a["predictions"] - b["predictions"]).max(0) / a["predictions"].std(0)
    return {"same_alpha": same.mean(), "prediction_error": error[same].max() if same.any() else np.nan}


def roofline(items):
    """Shares of the time that matrix products at the measured rate, and eigh besides, would take."""
    gemm = items.flops / items.gemm_rate / 1e9 / items.seconds
    bound = gemm + items.eigh_seconds / items.seconds
    keys = ("form", "folds", "eigh_dtype", "n_nodes", "n_products")
    return {
        "share_of_gemm_roofline": round(gemm.median(), 3),
        "share_of_bound_with_eigh": round(bound.median(), 3),
    } | {key: items[key].iloc[-1] for key in keys}


def grow(args):
    """Our time and himalaya's against voxels, features and alphas, one row per measurement."""
    rows = []
    for variable, (axis, shapes) in GROW.items():
        for shape in shapes:
            for solver, engine in (("ours", "brainalign"), ("himalaya", "himalaya")):
                runs = pd.DataFrame([measure(solver, shape, args, "growth") for _ in range(args.repeats)])
                keys = ("seconds", "cpu_seconds", "extra_mb", "load")
                row = sizes(shape) | {"variable": variable, "size": shape[axis], "engine": engine}
                rows.append(row | {k: round(runs[k].median(), 3) for k in keys} | {"n_runs": len(runs)})
    return rows


def scale(args):
    """One subject of NSD at full size, ours only; resident memory of the whole process."""
    item = measure("ours", SCALE, args, "scale")
    n, p, t, _ = SCALE
    data = (n + N_TEST) * (p + t) * 4 / 2**20
    return [
        sizes(SCALE)
        | item
        | {"data_mb": round(data), "total_mb": round(data + item["extra_mb"]), "limit_mb": 8192}
    ]


def stamp(table, args):
    """Add machine, versions, date and revision to a table."""
    table["machine"] = f"{processor()}, {os.cpu_count()} cores, {args.threads} threads, {args.device}"
    if args.device == "cuda":
        import torch

        table["machine"] = torch.cuda.get_device_name()
    table["versions"] = ", ".join(f"{p} {version(p)}" for p in ("torch", "himalaya", "scikit-learn", "numpy"))
    table["date"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    table["revision"] = done.stdout.strip() or "unknown"
    return table


def write(table, name, args, keys=()):
    """Write ``results/<name>.csv``; rows of an older file stay where ``keys`` are not measured anew."""
    path = RESULTS / f"{name}{'_cuda' * (args.device == 'cuda')}.csv"
    if keys and path.exists():
        old = pd.read_csv(path)
        measured = set(table[list(keys)].itertuples(index=False, name=None))
        keep = [key not in measured for key in old[list(keys)].itertuples(index=False, name=None)]
        table = pd.concat([old[keep], table], ignore_index=True)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    return table


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[r for r in ROWS if r != "paper"])
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", nargs="*", default=["paper/himalaya"], help="row/solver to run once only")
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
        print(write(stamp(pd.DataFrame(scale(args)), args), "ridge_scale", args).T.to_string())
    elif args.grow:
        print(write(stamp(pd.DataFrame(grow(args)), args), "ridge_growth", args).to_string())
    else:
        for name in args.rows:
            runs = stamp(pd.DataFrame(benchmark(name, args)), args)
            runs = write(runs, "ridge_runs", args, ("row", "solver"))
            print(write(summarise(runs), "ridge", args).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
