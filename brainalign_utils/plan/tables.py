"""Plans as tables: per rule, as requests to a cluster, and as text."""

import functools
import math
from importlib import resources

import pandas as pd
import yaml

from ..dealing import deal, model_weight
from ..settings import RULES, JobRequest, Settings
from ..tables import subject_name
from .counts import BASES, CHOICES, Counts, count
from .runs import RESULTS, Run, Task, run_cost

N_KERNELS = 2

MEMORY_MARGIN, TIME_MARGIN = 1.5, 3.0
"""What a job asks a cluster for, over what the plan expects; a retry asks for twice as much."""

LEAST_MB, LEAST_MINUTES = 1500, 10


UNIT_COSTS = resources.files("brainalign_utils") / "data" / "unit_costs.csv"
"""A row a unit: size of the study, notebook (or checkpoint), quantity, unit, cost, basis, and where and when
it was measured.  ``benchmarks/unit_costs.py`` writes it."""


def read_units() -> pd.DataFrame:
    """The measured unit costs as a table."""
    with resources.as_file(UNIT_COSTS) as path:
        return pd.read_csv(path)


@functools.cache
def load_costs() -> dict:
    """Unit costs: measured ones of ``data/unit_costs.csv``, and the assumptions of ``data/plan.yml``.

    Returns
    -------
    costs : dict
        Keys of ``plan.yml``; ``units``, (size, quantity, notebook or checkpoint) to unit to cost; ``basis``,
        (quantity, notebook or checkpoint, unit) to what a cost at full size rests on.
    """
    return _data("plan.yml") | index_units(read_units())


def index_units(table: pd.DataFrame) -> dict:
    """``units`` and ``basis`` of :func:`load_costs` from a table of unit costs."""
    units = {}
    for row in table.itertuples():
        units.setdefault((row.size, row.quantity, row.notebook), {})[row.unit] = row.cost
    full = table[table["size"] == "full"]
    keys = zip(full.quantity, full.notebook, full.unit, strict=True)
    return {"units": units, "basis": dict(zip(keys, full.basis, strict=True))}


def _data(name):
    return yaml.safe_load((resources.files("brainalign_utils") / "data" / name).read_text())


def study_counts(settings: Settings, costs: dict | None = None) -> Counts:
    """Sizes of the study that the settings describe."""
    costs = costs or load_costs()
    return count(
        settings,
        yaml.safe_load((resources.files("brainalign_utils") / "nsd/expected.yml").read_text()),
        costs["states"],
    )


def planned_tasks(
    settings: Settings, n_kernels: int = N_KERNELS, costs: dict | None = None
) -> list[tuple[Task, tuple[str, ...]]]:
    """Every run of a notebook that the workflow will make, the book, and names of executed copies.

    Parameters
    ----------
    settings : Settings
    n_kernels : int
        Kernels among which a phantom study deals out its short runs.
    costs : dict, optional
        Unit costs; those of the package by default.
    """
    counts, n_shards = study_counts(settings, costs), settings.features.n_shards
    alone = settings.data == "nsd"

    def weight(model):
        return model_weight(model, len(settings.instructions))

    def task(notebook, *wildcards, starts=True, subject=None, model=None):
        return Task(notebook, settings, counts, subject, model, starts), wildcards or (notebook,)

    tasks = [] if alone else [task("00_make_phantom")]
    firsts = {share[0] for share in deal([s.number for s in counts.subjects], n_kernels)}
    firsts |= {share[0] for share in deal(settings.models, n_kernels, weight)}
    for subject in counts.subjects:
        starts = alone or subject.number in firsts
        tasks.append(task("01_load_responses", subject_name(subject.number), starts=starts, subject=subject))
    for model in settings.models:
        for shard in range(n_shards):
            starts = alone or (model in firsts and not shard)
            name = (model, f"{shard}of{n_shards}")
            tasks.append(task("02_extract_features", *name, starts=starts, model=model))
    partitioned = [model for model in settings.partition.models if model in settings.models]
    for notebook, models in (("03_fit_encoding", settings.models), ("04_partition_variance", partitioned)):
        for s, subject in enumerate(counts.subjects):
            for m, model in enumerate(models):
                dealt, inner = (model, s) if notebook == "03_fit_encoding" else (subject.number, m)
                starts = alone or (dealt in firsts and not inner)
                name = (subject_name(subject.number), model)
                tasks.append(task(notebook, *name, starts=starts, subject=subject, model=model))
    results = [name for name in RESULTS if settings.data == "phantom" or name != "14_recover_truth"]
    return [*tasks, *map(task, (CHOICES, *results)), task("book")]


def planned_runs(settings: Settings, costs: dict | None = None, n_kernels: int = N_KERNELS) -> list[Run]:
    """Every run of a notebook that the workflow will make, and the book, with its cost.

    Parameters
    ----------
    settings : Settings
    costs : dict, optional
        Unit costs; those of the package by default.
    n_kernels : int
        Kernels among which a phantom study deals out its short runs.
    """
    costs = costs or load_costs()
    return [run_cost(task, name, costs) for task, name in planned_tasks(settings, n_kernels, costs)]


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


def requests(settings: Settings, costs: dict | None = None) -> dict[tuple[str, str | None], JobRequest]:
    """What each kind of job asks for, by rule and, on real data, model; model None is the rule as a whole."""
    costs, by_kind = costs or load_costs(), {}
    for run in planned_runs(settings, costs):
        by_kind.setdefault((run.rule, None), []).append(run)
        if run.model and settings.data == "nsd":
            by_kind.setdefault((run.rule, run.model), []).append(run)
    is_phantom = settings.data == "phantom"
    return {key: request_of(runs, costs, is_phantom) for key, runs in by_kind.items()}


COLUMNS = {
    "cpu_hours": lambda runs: sum(run.cpu_seconds for run in runs) / 3600,
    "gpu_hours": lambda runs: sum(run.gpu_seconds for run in runs) / 3600,
    "peak_memory_gb": lambda runs: max(run.memory for run in runs) / 1e9,
    "disk_gb": lambda runs: sum(run.disk for run in runs) / 1e9,
    "basis": lambda runs: max((run.basis for run in runs), key=BASES.index),
}


def sum_up(runs) -> dict:
    """Columns of a plan for some runs: cpu_hours, gpu_hours, peak_memory_gb, disk_gb, basis (the weakest)."""
    return {name: column(runs) for name, column in COLUMNS.items()}


def rule_table(settings: Settings, costs: dict | None = None, n_kernels: int = N_KERNELS) -> pd.DataFrame:
    """The plan per rule.

    Parameters
    ----------
    settings, costs, n_kernels
        As for :func:`planned_runs`.

    Returns
    -------
    table : DataFrame
        Index rule; columns jobs, longest_hours (of one job, at the cpus it asks for) and those of
        :func:`sum_up`; the last row is "total".
    """
    costs = costs or load_costs()
    runs, planned = planned_runs(settings, costs, n_kernels), requests(settings, costs)
    asked = {r: settings.cluster.request(r, request) for (r, model), request in planned.items() if not model}
    rows = {}
    for rule in RULES:
        if mine := [run for run in runs if run.rule == rule]:
            longest = max(wall_seconds(run, asked[rule].cpus, costs) for run in mine) / 3600
            jobs = n_jobs(settings, rule, len(mine), n_kernels)
            rows[rule] = {"jobs": jobs, "longest_hours": longest} | sum_up(mine)
    longest = max(row["longest_hours"] for row in rows.values())
    jobs = sum(row["jobs"] for row in rows.values())
    rows["total"] = {"jobs": jobs, "longest_hours": longest} | sum_up(runs)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def n_jobs(settings: Settings, rule: str, n_runs: int, n_kernels: int) -> int:
    """Jobs of a rule: one a run on real data; in the miniature short runs share kernels."""
    if settings.data == "nsd":
        return n_runs
    names = {"load_responses": settings.subjects, "partition_variance": settings.subjects,
             "extract_features": settings.models, "fit_encoding": settings.models}  # fmt: skip
    return min(n_kernels, len(names[rule])) if rule in names else n_runs


def model_table(settings: Settings, costs: dict | None = None) -> pd.DataFrame:
    """What each model adds to a study: index model, columns of :func:`sum_up`."""
    runs = planned_runs(settings, costs)
    rows = {model: sum_up([run for run in runs if run.model == model]) for model in settings.models}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def growth(settings: Settings, costs: dict | None = None) -> pd.DataFrame:
    """Totals of the study with fewer or more instructions, subjects and layers.

    Returns
    -------
    table : DataFrame
        Columns axis ("instructions", "subjects", "layers"), size (as text), then those of :func:`sum_up`.
    """
    costs = costs or load_costs()
    ids, everyone = settings.instructions, tuple(range(1, 9))
    variants = [("instructions", str(n), {"instructions": ids[:n]}, 1) for n in _steps(len(ids)) if n > 1]
    variants += [("subjects", str(n), {"subjects": settings.subjects[:n]}, 1)
                 for n in _steps(len(settings.subjects))]  # fmt: skip
    variants += [("subjects", "8", {"subjects": everyone}, 1)] if len(settings.subjects) < 8 else []
    variants += [
        ("layers", name, {}, n) for name, n in {"every fourth": 4, "every second": 2, "all": 1}.items()
    ]
    rows = []
    for axis, size, changes, every in variants:
        changed = Settings.model_validate({**settings.model_dump(), **changes})
        total = sum_up(planned_runs(changed, _thinned(costs, every)))
        rows.append({"axis": axis, "size": size} | total)
    return pd.DataFrame(rows)


def _steps(n):
    return sorted({1, max(n // 4, 1), max(n // 2, 1), n})


def _thinned(costs, every):
    """Unit costs for models with a state at every n-th layer alone."""
    states = {
        checkpoint: {name: [math.ceil(n / every), width] for name, (n, width) in components.items()}
        for checkpoint, components in costs["states"].items()
    }
    return costs | {"states": states}


TITLES = {
    "jobs": "jobs",
    "cpu_hours": "CPU hours",
    "gpu_hours": "GPU hours",
    "longest_hours": "longest job, h",
    "peak_memory_gb": "peak memory, GB",
    "disk_gb": "disk, GB",
    "basis": "unit costs",
}


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A plan with titles for readers and two significant digits."""
    shown = {
        TITLES.get(name, name): values.map(amount) if values.dtype == float else values
        for name, values in table.items()
    }
    order = [
        title for title in (*table.columns.difference(TITLES, sort=False), *TITLES.values()) if title in shown
    ]
    return pd.DataFrame(shown)[order]


def render(table: pd.DataFrame) -> str:
    """A plan as aligned text."""
    return readable(table).rename_axis(None).to_string()


def notes(settings: Settings, costs: dict | None = None) -> str:
    """What a plan rests on: where and when unit costs were measured, and what is assumed."""
    costs, sizes = costs or load_costs(), ["miniature"]
    if settings.checkpoints != "phantom":
        sizes.append("full")
    units = read_units()
    lines = [f"Unit costs ({', '.join(BASES)}; see `brainalign plan --costs`) come from:"]
    used = units[units["size"].isin(sizes) & (units.basis != "assumed")]
    for (source, machine, date), _ in used.groupby(["source", "machine", "date"], sort=False):
        lines.append(f"  {source}: {machine}; {date}")
    lines.append(
        f"Not measured: a job keeps several processors busy {100 * costs['parallel efficiency']:.0f} % of "
        "the time (only the longest job depends on it)."
    )
    return "\n".join(lines)


def amount(value: float) -> str:
    """Two significant digits, plainly written."""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if value < 10 else f"{float(f'{value:.2g}'):.0f}"
