"""Plans as tables: per rule, as requests to a cluster, and as text."""

import functools
import math
from importlib import resources

import pandas as pd
import yaml

from ..cluster import RULES, JobRequest
from ..config import Settings
from ..tables import subject_name
from .counts import Counts, count
from .runs import RESULTS, Run, run_cost

MEMORY_MARGIN, TIME_MARGIN = 1.5, 3.0
"""What a job asks a cluster for, over what the plan expects; a retry asks for twice as much."""

LEAST_MB, LEAST_MINUTES = 1500, 10


@functools.cache
def load_costs() -> dict:
    """Unit costs: measured ones of ``data/unit_costs.json``, and the assumptions of ``data/plan.yml``."""
    return _data("plan.yml") | _data("unit_costs.json")


def _data(name):
    return yaml.safe_load((resources.files("brainalign_utils") / "data" / name).read_text())


def study_counts(settings: Settings, costs: dict | None = None) -> Counts:
    """Sizes of the study that the settings describe."""
    costs = costs or load_costs()
    return count(settings, _data("nsd_expected.yml"), costs["states"])


def planned_runs(settings: Settings, costs: dict | None = None) -> list[Run]:
    """Every run of a notebook that the workflow will make, and the book.

    Parameters
    ----------
    settings : Settings
    costs : dict, optional
        Unit costs; those of the package by default.
    """
    costs = costs or load_costs()
    counts = study_counts(settings, costs)

    def run(notebook, *wildcards, subject=None, model=None):
        return run_cost(notebook, wildcards or (notebook,), settings, counts, costs, subject, model)

    runs = [] if settings.data == "nsd" else [run("00_make_phantom")]
    runs += [run("01_load_responses", subject_name(s.number), subject=s) for s in counts.subjects]
    n_shards = settings.features.n_shards
    runs += [
        run("02_extract_features", model, f"{shard}of{n_shards}", model=model)
        for model in settings.models
        for shard in range(n_shards)
    ]
    partitioned = [m for m in settings.partition.models if m in settings.models]
    for notebook, models in (("03_fit_encoding", settings.models), ("05_partition_variance", partitioned)):
        runs += [
            run(notebook, subject_name(s.number), model, subject=s, model=model)
            for s in counts.subjects
            for model in models
        ]
    runs += [run(name) for name in RESULTS if settings.data == "phantom" or name != "13_recover_truth"]
    return [*runs, run("book")]


def request_of(runs: list[Run], costs: dict, is_phantom: bool) -> JobRequest:
    """What the jobs behind these runs ask a cluster for: enough for the largest.

    Parameters
    ----------
    runs : list of Run
        Of one rule.
    costs : dict
    is_phantom : bool
        Jobs then make several runs, and get the time of all.
    """
    rule = runs[0].rule
    cpus = costs["cpus"]["phantom" if is_phantom else "full size"].get(rule, 1)
    gpus = int(any(run.gpu_seconds for run in runs))
    times = [wall_seconds(run, cpus, costs) for run in runs]
    seconds = sum(times) if is_phantom else max(times)
    memory = MEMORY_MARGIN * max(run.memory for run in runs) / 1e6
    return JobRequest(
        cpus=cpus,
        gpus=gpus,
        mem_mb=max(LEAST_MB, 500 * math.ceil(memory / 500)),
        minutes=max(LEAST_MINUTES, math.ceil(TIME_MARGIN * seconds / 60)),
    )


def wall_seconds(run: Run, cpus: int, costs: dict) -> float:
    """Expected time of a run on so many processors."""
    busy = cpus * costs["parallel efficiency"] if cpus > 1 else 1
    return max(run.cpu_seconds / busy, run.gpu_seconds)


def requests(settings: Settings) -> dict[tuple[str, str | None], JobRequest]:
    """What each kind of job asks for, by rule and, on real data, model; model None is the rule as a whole."""
    costs, by_kind = load_costs(), {}
    for run in planned_runs(settings):
        by_kind.setdefault((run.rule, None), []).append(run)
        if run.model and settings.data == "nsd":
            by_kind.setdefault((run.rule, run.model), []).append(run)
    is_phantom = settings.data == "phantom"
    return {key: request_of(runs, costs, is_phantom) for key, runs in by_kind.items()}


def rule_table(settings: Settings, n_kernels: int = 2) -> pd.DataFrame:
    """The plan per rule.

    Parameters
    ----------
    settings : Settings
    n_kernels : int
        Kernels among which a phantom study deals out its short runs.

    Returns
    -------
    table : DataFrame
        Index rule; columns jobs, runs, cpu_hours, gpu_hours, longest_hours (of one job, at the cpus it
        asks for), peak_memory_gb, disk_gb, is_measured; the last row is "total".
    """
    planned = requests(settings)
    asked = {r: settings.cluster.request(r, request) for (r, model), request in planned.items() if not model}
    costs, runs, rows = load_costs(), planned_runs(settings), []
    for rule in RULES:
        mine = [run for run in runs if run.rule == rule]
        if not mine:
            continue
        rows.append(
            {
                "rule": rule,
                "jobs": n_jobs(settings, rule, len(mine), n_kernels),
                "runs": len(mine),
                "cpu_hours": sum(run.cpu_seconds for run in mine) / 3600,
                "gpu_hours": sum(run.gpu_seconds for run in mine) / 3600,
                "longest_hours": max(wall_seconds(run, asked[rule].cpus, costs) for run in mine) / 3600,
                "peak_memory_gb": max(run.memory for run in mine) / 1e9,
                "disk_gb": sum(run.disk for run in mine) / 1e9,
                "is_measured": all(run.is_measured for run in mine),
            }
        )
    table = pd.DataFrame(rows).set_index("rule")
    largest = {"longest_hours": "max", "peak_memory_gb": "max", "is_measured": "all"}
    total = table.agg({name: largest.get(name, "sum") for name in table.columns})
    table = pd.concat([table, total.to_frame("total").T]).rename_axis("rule")
    return table.astype({"jobs": int, "runs": int, "is_measured": bool})


def n_jobs(settings: Settings, rule: str, n_runs: int, n_kernels: int) -> int:
    """Jobs of a rule: one a run on real data; in the miniature short runs share kernels."""
    if settings.data == "nsd":
        return n_runs
    names = {"load_responses": settings.subjects, "partition_variance": settings.subjects,
             "extract_features": settings.models, "fit_encoding": settings.models}  # fmt: skip
    return min(n_kernels, len(names[rule])) if rule in names else n_runs


def growth(settings: Settings, changes: dict[str, dict]) -> pd.DataFrame:
    """Totals of variants of a study.

    Parameters
    ----------
    settings : Settings
    changes : dict of title to settings that replace those of the study

    Returns
    -------
    table : DataFrame
        Index title ("as planned" first), columns of :func:`rule_table`.
    """
    variants = {"as planned": {}, **changes}
    rows = {
        title: rule_table(Settings.model_validate({**settings.model_dump(), **change})).loc["total"]
        for title, change in variants.items()
    }
    return pd.DataFrame(rows).T


def render(table: pd.DataFrame) -> str:
    """A plan as aligned text."""
    shown = pd.DataFrame(
        {
            "jobs": table.jobs,
            "CPU hours": table.cpu_hours.map(amount),
            "GPU hours": table.gpu_hours.map(amount),
            "longest job, h": table.longest_hours.map(amount),
            "peak memory, GB": table.peak_memory_gb.map(amount),
            "disk, GB": table.disk_gb.map(amount),
            "unit costs": table.is_measured.map({True: "measured", False: "assumed"}),
        }
    )
    return shown.rename_axis(None).to_string()


def amount(value: float) -> str:
    """Two significant digits, plainly written."""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if value < 10 else f"{float(f'{value:.2g}'):.0f}"
