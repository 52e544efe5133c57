"""Unit costs from what finished studies took: non-negative least squares on the counts of their runs."""

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from .. import BrainalignError
from ..settings import Settings
from .counts import CHOICES
from .records import ARTIFACTS, disk_usage, study_records
from .runs import COMPOSED, amounts, array_bytes, memory_bytes
from .tables import N_KERNELS, planned_tasks

RESIDENT = ("03_fit_encoding", "04_partition_variance")
"""What these read and free again stays resident in part, more of it the larger their arrays are."""


def fit_units(counted, taken, weigh_by=None) -> dict[str, float]:
    """Non-negative cost of each unit that explains best, in proportion, what runs took.

    Parameters
    ----------
    counted : sequence of dict of unit to amount
        One a run.
    taken : array of shape (n_runs,)
    weigh_by : array of shape (n_runs,), optional
        What errors are in proportion to, where ``taken`` is a remainder.
    """
    table, taken = pd.DataFrame(list(counted)).fillna(0.0), np.asarray(taken, dtype=float)
    scale = table.max().replace(0, 1.0)  # amounts differ by orders of magnitude
    total = taken if weigh_by is None else np.asarray(weigh_by, dtype=float)
    weights = 1 / np.maximum(total, 0.01 * total.max() or 1.0)  # so that short runs count as long ones do
    matrix = (table / scale).to_numpy() * weights[:, None]
    costs, _ = nnls(matrix, taken * weights, maxiter=100 * len(scale))
    return {unit: float(cost) for unit, cost in zip(table.columns, costs / scale.to_numpy(), strict=True)}


def calibrate(studies: list[Settings], n_kernels: int = N_KERNELS) -> pd.DataFrame:
    """Unit costs of the miniature from finished studies.

    Parameters
    ----------
    studies : list of Settings
        Phantom studies of different sizes tell apart what a run costs and what its size adds.
    n_kernels : int
        Kernels among which they dealt out their short runs.

    Returns
    -------
    table : DataFrame
        quantity ("seconds" of processor time, "memory" or "disk" in bytes), notebook, unit, cost.
    """
    runs = pd.concat([_runs(settings, n_kernels) for settings in studies], ignore_index=True)
    rows, seconds = [], {}
    others = [notebook for notebook in runs.notebook.unique() if notebook != CHOICES]
    for notebook in (*others, CHOICES):  # the last is made of what the others do
        mine = runs[runs.notebook == notebook]
        if notebook == CHOICES:
            known = {unit: cost for source in COMPOSED[notebook] for unit, cost in seconds[source].items()}
            own = [{unit: counted[unit] for unit in ("run", "row alone")} for counted in mine.counted]
            rest = [
                taken - sum(known[unit] * n for unit, n in counted.items() if unit not in own[0])
                for counted, taken in zip(mine.counted, mine.cpu_seconds, strict=True)
            ]
            seconds[notebook] = fit_units(own, rest, mine.cpu_seconds)
        else:
            seconds[notebook] = fit_units(mine.counted, mine.cpu_seconds)
        rows += [("seconds", notebook, unit, cost) for unit, cost in seconds[notebook].items()]
        held = memory_units(notebook, mine)
        rows += [("memory", notebook, unit, cost) for unit, cost in held.items()]
    rows += _disk_rows(studies, runs)
    return pd.DataFrame(rows, columns=["quantity", "notebook", "unit", "cost"])


def memory_units(notebook: str, mine: pd.DataFrame) -> dict[str, float]:
    """Bytes a run of one notebook holds beside its arrays, from the largest run of each study."""
    peaks, arrays = (mine.groupby("study")[name].max() for name in ("memory", "arrays_held"))
    if notebook in ("02_extract_features", CHOICES):
        pictures = mine.groupby("study").n_images.first()
        return fit_units([{"run": 1.0, "picture": n} for n in pictures], peaks - arrays, peaks)
    if notebook in RESIDENT:
        return fit_units([{"run": 1.0, "array": n} for n in arrays], peaks)
    return {"run": float((peaks - arrays).clip(lower=0).mean())}


def _runs(settings, n_kernels):
    """Runs of a finished study beside what they took."""
    tasks = {(task.notebook, "_".join(name)): task for task, name in planned_tasks(settings, n_kernels)}
    table = study_records(settings)
    known = [key in tasks for key in zip(table.notebook, table.name, strict=True)]
    table = table[np.array(known, dtype=bool)].reset_index(drop=True)
    tasks = [tasks[key] for key in zip(table.notebook, table.name, strict=True)]
    if not tasks:
        raise BrainalignError(
            f"no record of study {settings.name!r} in {settings.paths.root}; run `make study` first"
        )
    return table.assign(
        study=settings.name,
        n_images=[task.counts.n_images for task in tasks],
        counted=[amounts(task) for task in tasks],
        arrays_held=[memory_bytes(task) for task in tasks],
        arrays_written=[array_bytes(task) for task in tasks],
    )


def _disk_rows(studies, runs):
    """Bytes a run, a byte of its arrays, and what else the amount of files follows."""
    written = {settings.name: disk_usage(settings.paths.root) for settings in studies}
    for notebook, mine in runs.groupby("notebook"):
        if notebook not in ARTIFACTS:
            continue
        counted = []
        for _, group in mine.groupby("study", sort=False):
            counts = {"run": float(len(group)), "array": float(group.arrays_written.sum())}
            if notebook == "00_make_phantom":
                counts = group.counted.iloc[0]
            counted.append({unit: n for unit, n in counts.items() if n})
        taken = [written[study][notebook] for study in mine.study.unique()]
        costs = {"run": 0.0} | fit_units(counted, taken)
        yield from (("disk", notebook, unit, cost) for unit, cost in costs.items())
    others = sorted(set(runs.notebook) - set(ARTIFACTS))  # their files lie together: each gets the same share
    first = runs[runs.notebook == others[0]].set_index("study").counted
    counted = [{unit: len(others) * first[name][unit] for unit in ("run", "megascore")} for name in written]
    costs = fit_units(counted, [sizes["results"] for sizes in written.values()])
    yield from (("disk", notebook, unit, cost) for notebook in others for unit, cost in costs.items())
