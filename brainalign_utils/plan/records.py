"""What a finished study cost, from the records of its executed notebooks, beside the plan."""

from pathlib import Path

import nbformat
import pandas as pd

from ..config import Settings
from .tables import planned_runs

ARTIFACTS = {
    "00_make_phantom": ("dataset",),
    "01_load_responses": ("responses",),
    "02_extract_features": ("features", "answers"),
    "03_fit_encoding": ("scores", "predictions", "nulls", "samples"),
    "05_partition_variance": ("partition",),
}
"""Folders below the study's that hold what a notebook wrote; the others are counted as results."""


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
        if path.is_file() and folder not in ("html", "book_build", "book_source", "settings"):
            notebook = owner.get(folder, "results")
            sizes[notebook] = sizes.get(notebook, 0) + path.stat().st_size
    return sizes


def compare(settings: Settings) -> pd.DataFrame:
    """Plan and records of a finished study.

    Returns
    -------
    table : DataFrame
        notebook, quantity (cpu_seconds, memory or disk), planned, recorded, ratio (planned / recorded).

    Raises
    ------
    ValueError
        If notebooks of the plan have not been executed.
    """
    runs = planned_runs(settings)
    records = study_records(settings)
    done = set(zip(records.notebook, records.name, strict=True))
    wanted = {(run.notebook, "_".join(run.wildcards)) for run in runs if run.notebook != "book"}
    if missing := sorted(wanted - done):
        raise ValueError(
            f"{len(missing)} of {len(wanted)} runs of the plan have no record, such as {missing[0]}; run "
            "`make study` with these settings first"
        )
    disk = disk_usage(settings.paths.root)
    rows = []
    for notebook, recorded in records.groupby("notebook"):
        planned = [run for run in runs if run.notebook == notebook]
        rows.append(
            (notebook, "cpu_seconds", sum(r.cpu_seconds for r in planned), recorded.cpu_seconds.sum())
        )
        rows.append((notebook, "memory", max(r.memory for r in planned), recorded.memory.max()))
        if notebook in ARTIFACTS:
            rows.append((notebook, "disk", sum(r.disk for r in planned), disk[notebook]))
    table = pd.DataFrame(rows, columns=["notebook", "quantity", "planned", "recorded"])
    return table.assign(ratio=table.planned / table.recorded)
