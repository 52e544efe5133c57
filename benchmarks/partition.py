"""Speed of variance partitions beside himalaya.

    python benchmarks/partition.py             # phantom-sized call in full; full-sized list by sample
    python benchmarks/partition.py --full      # every pair and leave-one-out of the list with ours

The list is 45 pairs and 10 leave-one-out models of ten instructions, one plain ridge fit each.
himalaya is timed on one pair (and, with ``--full``, one leave-one-out model) and multiplied by
their number.  See README.md beside this file for what the columns mean.
"""

import argparse
import os
import resource
import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from ridge import stamp, write

from brainalign_utils.encoding.partitioning import TOLERANCE, partition_instructions
from voxelridge.banded import Bands, posterior
from voxelridge.inputs import make_folds

PHANTOM = (600, 150, 96, 1500)
FULL = (4000, 500, 512, 4000)
N_BANDS = 10
ALPHAS = np.logspace(1, 4, 60)
EXACT_TOLERANCE = 1e-6


def simulate(shape, seed=0):
    """Ten correlated feature spaces, and responses to three of them; float32."""
    n, n_test, p, t = shape
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n + n_test, p), dtype=np.float32)
    bands = {
        f"I{k}": (0.7 * common + rng.standard_normal(common.shape, dtype=np.float32)) / 1.22
        for k in range(N_BANDS)
    }
    Y = sum(bands[f"I{k}"] @ rng.standard_normal((p, t), dtype=np.float32) for k in range(3))
    Y = 0.5 * Y / Y.std(0) + rng.standard_normal(Y.shape, dtype=np.float32)
    return {k: (X[:n], X[n:]) for k, X in bands.items()}, Y[:n] / Y.std(0), Y[n:] / Y.std(0)


def timed(call):
    """Wall and processor seconds of a call, and its value."""
    start, cpu = time.perf_counter(), time.process_time()
    value = call()
    return np.array([time.perf_counter() - start, time.process_time() - cpu]), value


def phantom():
    """One call as the notebook makes it, with the settings of the phantom and with the default."""
    features, Y, Y_test = simulate(PHANTOM)
    torch.set_num_threads(1)  # as a job of the workflow
    rows = []
    for n_ratios, target in ((5, 20), (11, None)):
        seconds, _ = timed(lambda n=n_ratios: partition_instructions(features, Y, Y_test, ALPHAS, n_ratios=n))
        what = f"ours, banded: 45 pairs x {n_ratios} ratios, 10 leave-one-outs"
        rows.append(row("phantom", PHANTOM, what, seconds, target=target))
    return rows


def row(name, shape, what, seconds, **more):
    n, _, p, t = shape
    sizes = {"n_stimuli": n, "n_features": p, "n_voxels": t, "n_bands": N_BANDS, "n_alphas": len(ALPHAS)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = dict(zip(("seconds", "cpu_seconds"), np.round(seconds, 2), strict=True))
    times |= {"peak_mb": round(peak), "load": round(os.getloadavg()[0], 1)}
    return {"row": name, "what": what, **sizes, **times, **more}


def full_list(full):
    """The list with ours and himalaya, by sample unless ``full``."""
    features, Y, _ = simulate(FULL)
    tensors = [torch.as_tensor(train) for train, _ in features.values()]
    X, responses = torch.cat(tensors, dim=1), torch.as_tensor(Y)
    members = np.split(np.arange(X.shape[1]), N_BANDS)
    data = Bands(X, None, responses, members, make_folds(5, len(Y)), ALPHAS, EXACT_TOLERANCE)
    pairs = list(combinations(range(N_BANDS), 2))
    rest = [[k for k in range(N_BANDS) if k != b] for b in range(N_BANDS)]
    shared, _ = timed(lambda: fit_model(data, np.isin(range(N_BANDS), pairs[0])))
    ours = {}
    for kind, models in (("pair", pairs[1:]), ("leave-one-out", rest)):
        chosen = models if full else models[: 2 if kind == "pair" else 1]
        seconds = sum(timed(lambda m=m: fit_model(data, np.isin(range(N_BANDS), m)))[0] for m in chosen)
        ours[kind] = seconds / len(chosen), len(chosen)
        print("ours", kind, ours[kind], flush=True)
    data = replace(data, tolerance=TOLERANCE)
    banded, _ = timed(
        lambda: fit_model(data, np.where(np.isin(range(N_BANDS), pairs[0]), [0.25, *[0.75] * 9], 0))
    )
    bands = tensors
    peer = {"pair": himalaya_seconds([bands[b] for b in pairs[0]], responses)}
    some = [bands[b] for b in rest[0]]
    if full:
        peer["leave-one-out"] = himalaya_seconds(some, responses)
    else:  # time is a line in the number of voxels: batches of 500 after one decomposition a fold
        first, second = (himalaya_seconds(some, responses[:, :n]) for n in (500, 1000))
        peer["leave-one-out"] = first + (len(responses[0]) / 500 - 1) * (second - first)
    return list_rows(shared, ours, banded, peer, full)


def fit_model(data, weights):
    """One weighting, with the best penalty of each voxel."""
    errors, full = data.errors(weights.astype(float))
    mixture = posterior(errors[None], len(data.Y), average=False)[0]
    for _ in data.refit(weights.astype(float), mixture, full):
        pass


def himalaya_seconds(Xs, Y):
    """Seconds of the authors' solver on concatenated bands."""
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV

    set_backend("torch")
    params = {"n_targets_batch": 500, "n_alphas_batch": 10, "n_targets_batch_refit": 100, "warn": False}
    model = RidgeCV(alphas=torch.as_tensor(ALPHAS, dtype=torch.float32), cv=5, solver_params=params)
    seconds, _ = timed(lambda: model.fit(torch.cat(Xs, dim=1), Y))
    print("himalaya", sum(X.shape[1] for X in Xs), seconds, flush=True)
    return seconds


def list_rows(shared, ours, banded, peer, full):
    counts = {"pair": 44, "leave-one-out": 10}
    total = shared + sum(counts[kind] * seconds for kind, (seconds, _) in ours.items())
    peer_total = 45 * peer["pair"] + 10 * peer["leave-one-out"]
    note = "one pair; one leave-one-out" + (
        "" if full else ", its time extended from 500 and 1000 voxels as a line"
    )
    rows = [row("list", FULL, "ours: first pair, with what all share", shared)]
    for kind, (seconds, n) in ours.items():
        rows.append(row("list", FULL, f"ours: one {kind}", seconds, sample=f"mean of {n}"))
    rows.append(row("list", FULL, "ours: one ratio of a banded pair", banded, sample="one"))
    rows.append(row("list", FULL, "ours: whole list", total, sample="sum of the rows above"))
    ratio, cpu_ratio = np.round(peer_total / total, 1)
    more = {"target": 15, "ratio": ratio, "cpu_ratio": cpu_ratio}
    for kind, seconds in peer.items():
        rows.append(row("list", FULL, f"himalaya: one {kind}", seconds, sample="one"))
    rows.append(row("list", FULL, "himalaya: whole list", peer_total, sample=note, **more))
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=("phantom", "list"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.device = "cpu"
    rows = [] if args.only == "list" else phantom()
    torch.set_num_threads(args.threads)
    rows += [] if args.only == "phantom" else full_list(args.full)
    print(write(stamp(pd.DataFrame(rows), args), "partition", args, ("row",)).to_string())


if __name__ == "__main__":
    main()
