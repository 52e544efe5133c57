"""What a finished study cost, from the records of its executed notebooks, beside the plan."""

from pathlib import Path

import nbformat
import pandas as pd

from .. import BrainalignError
from ..settings import Settings
from .counts import CHOICES
from .runs import RULES
from .tables import N_KERNELS, planned_runs

ARTIFACTS = {
    "00_make_phantom": ("dataset",),
    "01_load_responses": ("responses", "voxels"),
    "02_extract_features": ("features", "answers"),
    "03_fit_encoding": ("scores", "predictions", "nulls", "samples"),
    "04_partition_variance": ("partition",),
    CHOICES: ("choices", "poolings"),
}
"""Folders below the study's that hold what a notebook wrote; the others are counted as results."""

NOT_COUNTED = ("html", "book_build", "book_source", "pdf_build", "settings")
LIMIT = 1.3
"""Plan and records agree when neither is more than this many times the other."""


def study_records(settings: Settings) -> pd.DataFrame:
    """Cost of every executed notebook of a study.

    Returns
    -------
    table : DataFrame
        notebook, name, cpu_seconds, wall_seconds, memory (bytes), hardware.  Empty if nothing ran.
    """
    rows = []
    for path in sorted(settings.paths.executed("x").parents[1].glob("*/*.ipynb")):
        record = nbformat.read(path, as_version=4).metadata.get("brainalign", {})
        if "cpu_time_s" in record and not path.name.endswith(".failed.ipynb"):
            rows.append(
                {
                    "notebook": path.parent.name,
                    "name": path.stem,
                    "cpu_seconds": record["cpu_time_s"],
                    "wall_seconds": record["wall_time_s"],
                    "memory": record["peak_memory_bytes"],
                    "hardware": record["hardware"],
                }
            )
    columns = ["notebook", "name", "cpu_seconds", "wall_seconds", "memory", "hardware"]
    return pd.DataFrame(rows, columns=columns)


def disk_usage(root: Path) -> dict[str, int]:
    """Bytes of a study's files by the notebook that wrote them; those of the others under "results"."""
    owner = {folder: notebook for notebook, folders in ARTIFACTS.items() for folder in folders}
    sizes = {}
    for path in root.rglob("*"):
        folder = path.relative_to(root).parts[0]
        if path.is_file() and folder not in NOT_COUNTED and path.suffix != ".zip":
            notebook = owner.get(folder, "results")
            sizes[notebook] = sizes.get(notebook, 0) + path.stat().st_size
    return sizes


def compare(settings: Settings, costs: dict | None = None, n_kernels: int = N_KERNELS) -> pd.DataFrame:
    """Plan and records of a finished study.

    Parameters
    ----------
    settings, costs, n_kernels
        As for :func:`brainalign_utils.plan.tables.planned_runs`.

    Returns
    -------
    table : DataFrame
        rule, quantity (cpu_seconds of all its runs, memory of the largest, disk; bytes), planned, recorded,
        ratio (planned / recorded).

    Raises
    ------
    ValueError
        If notebooks of the plan have not been executed.
    """
    runs = [run for run in planned_runs(settings, costs, n_kernels) if run.notebook != "book"]
    records = study_records(settings)
    done = set(zip(records.notebook, records.name, strict=True))
    if missing := sorted({(run.notebook, "_".join(run.wildcards)) for run in runs} - done):
        raise BrainalignError(
            f"{len(missing)} of {len(runs)} runs of the plan have no record, such as {missing[0]}; run "
            "`make study` with these settings first"
        )
    recorded = recorded_costs(settings, records)
    return against(recorded, runs)


def recorded_costs(settings: Settings, records: pd.DataFrame) -> pd.DataFrame:
    """What a finished study took, per rule.

    Parameters
    ----------
    settings : Settings
    records : DataFrame
        Of :func:`study_records`.

    Returns
    -------
    table : DataFrame
        rule, quantity, recorded, as in :func:`compare`.
    """
    rules = records.notebook.map(lambda notebook: RULES.get(notebook, "result"))
    grouped = records.groupby(rules)
    disk = disk_usage(settings.paths.root)
    found = {"cpu_seconds": grouped.cpu_seconds.sum(), "memory": grouped.memory.max()}
    found["disk"] = pd.Series(disk).groupby(lambda notebook: RULES.get(notebook, "result")).sum()
    table = pd.concat(found).rename_axis(["quantity", "rule"]).rename("recorded").reset_index()
    return table[["rule", "quantity", "recorded"]]


def against(recorded: pd.DataFrame, runs) -> pd.DataFrame:
    """The table of :func:`compare` from what was recorded and what is planned."""
    planned = {}
    for rule in recorded.rule.unique():
        mine = [run for run in runs if run.rule == rule]
        planned[rule, "cpu_seconds"] = sum(run.cpu_seconds for run in mine)
        planned[rule, "memory"] = max(run.memory for run in mine)
        planned[rule, "disk"] = sum(run.disk for run in mine)
    values = [planned[key] for key in zip(recorded.rule, recorded.quantity, strict=True)]
    table = recorded.assign(planned=values)
    table["ratio"] = table.planned / table.recorded
    return table[["rule", "quantity", "planned", "recorded", "ratio"]]


def is_bound(table: pd.DataFrame, settings: Settings) -> pd.Series:
    """Rows of :func:`compare` that are planned as the most it can be: partitions at regions' layers."""
    of_partitions = (table.rule == "partition_variance") & (table.quantity == "disk")
    return of_partitions & (settings.partition.layers == "roi")


def agrees(table: pd.DataFrame, settings: Settings, limit: float = LIMIT) -> pd.Series:
    """Whether each row of :func:`compare` is within the limit; a bound may be any amount too high."""
    return table.ratio.between(1 / limit, limit) | is_bound(table, settings) & (table.ratio > 1)
