"""What a study will cost, before anything runs: how much of it there is, times a short table of unit costs.

The table, ``unit_costs.csv``, says where each cost was measured.  Where it says nothing (a new notebook, a
new checkpoint), a typical notebook or the number of parameters stands in.  It is a forecast: expect it to be
right within a factor of two.
"""

import math
from dataclasses import dataclass
from importlib import resources
from math import comb

import pandas as pd

from .. import registry
from ..models import MODEL_BY_ID
from ..settings import RULES, JobRequest, Settings
from ..tables import N_TRIALS_PER_SESSION, ROIS

N_SESSIONS, N_VOXELS, N_IMAGES, N_SHARED, N_REPEATS = 40, 14_500, 10_000, 1000, 3
"""Of a subject of NSD; voxels of nsdgeneral in the 1.8 mm space, mean over subjects."""

WIDTHS = {
    "vision": {24: 1024, 32: 1280, 39: 1408}, "qformer": 768, "text": 768, "both": 1792, "projection": 768,
}  # fmt: skip
"""Features per layer of the published checkpoints, for vision towers by their number of layers."""
PHANTOM_SIZES = {"qformer": (3, 96), "both": (4, 192), "projection": (1, 64)}
"""States and width of components of the tiny checkpoints; (4, 96) for the others."""

N_GROUPS = sum(roi.kind == "group" for roi in ROIS)
N_TRIPLE_WEIGHTINGS = 7
COMPOSED = {"partition_variance": ("fit_encoding",), "vary_choices": ("extract_features", "fit_encoding")}
"""Kinds of jobs that do what others do, at their unit costs."""
CPUS = {
    "load_responses": 2, "extract_features": 4, "fit_encoding": 8, "partition_variance": 8, "vary_choices": 8,
    "result": 2,
}  # fmt: skip
"""Processors that a job on real data asks for; in the miniature ``make_phantom`` alone takes more than 1."""
EFFICIENCY, MEMORY_MARGIN, TIME_MARGIN, LEAST_MB, LEAST_MINUTES = 0.7, 1.5, 3.0, 1500, 10
"""Fraction of several processors that a job keeps busy (not measured); what a job asks a cluster for, over
what the plan expects, and at least.  A retry asks for twice as much."""


@dataclass(frozen=True)
class Run:
    """Cost of one job; ``kind`` is its rule in the workflow, memory (peak) and disk are in bytes."""

    kind: str
    notebook: str
    model: str | None
    cpu_seconds: float
    gpu_seconds: float
    memory: float
    disk: float


def kind_of(notebook: str) -> str:
    """Rule of the workflow that runs a notebook; ``result`` for those without a rule of their own.

    Examples
    --------
    >>> kind_of("03_fit_encoding"), kind_of("06_compare_models")
    ('fit_encoding', 'result')
    """
    kind = notebook.partition("_")[2] or notebook
    return kind if kind in RULES else "result"


class Sizes:
    """How much a study has of what costs; no file of it is read.

    Sessions, voxels, training and test images are per subject; models are shown ``n_images`` in all.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        if settings.data == "phantom":
            self.n_sessions, self.n_voxels = settings.phantom.n_sessions, settings.phantom.n_voxels
            self.n_test = settings.phantom.n_shared
            self.n_train = N_TRIALS_PER_SESSION * self.n_sessions // N_REPEATS - self.n_test
        else:
            self.n_sessions = settings.n_sessions or N_SESSIONS
            self.n_voxels = N_VOXELS if settings.space == "func1pt8mm" else round(N_VOXELS * 1.8**3)
            seen = 1 - (1 - self.n_sessions / N_SESSIONS) ** N_REPEATS  # repeats are spread over all sessions
            self.n_test, self.n_train = round(N_SHARED * seen), round((N_IMAGES - N_SHARED) * seen)
        self.n_images = self.n_test + len(settings.subjects) * self.n_train
        self.megabetas = self.n_sessions * N_TRIALS_PER_SESSION * self.n_voxels / 1e6
        self.responses = 4.0 * (self.n_train + N_REPEATS * self.n_test) * self.n_voxels  # bytes

    def components(self, model: str) -> list[tuple[int, int, int]]:
        """(states, features per state, instructions on which they depend) of each component of a model."""
        row, found = MODEL_BY_ID[model], []
        tower = dict(row.components).get("vision", 0)
        rest = row.n_parameters - 12 * tower * WIDTHS["vision"].get(tower, 1280) ** 2
        for name, n_layers in row.components:
            width = WIDTHS.get(name) or 128 * round(math.sqrt(max(rest, 1e8) / (12 * max(n_layers, 1))) / 128)
            width = width.get(n_layers, 1280) if isinstance(width, dict) else width
            states = n_layers + 1
            if self.settings.checkpoints == "phantom":
                states, width = PHANTOM_SIZES.get(name, (4, 96))
            depends = name == "language" or (name == "qformer" and row.family == "instructblip")
            n_instructions = len(self.settings.instructions) if depends and row.instructed else 1
            found.append((states, width, n_instructions))
        return found

    def n_answers(self, model: str) -> int:
        """Answers of a model to all images, or passes of one that gives none."""
        return self.n_images * max(n for _, _, n in self.components(model))

    def ridge(self, n_features: int, n_voxels: int | None = None) -> float:
        """1e9 multiply-adds of one regression of every voxel: Gram matrix, spectra of the folds, products."""
        n, p, v = self.n_train, n_features, n_voxels or self.n_voxels
        n_folds = self.settings.encoding.n_folds
        d = min(n, p)
        fold = min(p, n - n / n_folds)
        return (n * p * d + 6 * d**3 + n_folds * (6 * fold**3 + fold**2 * v) + 6 * n * d * v) / 1e9

    def partition_bands(self) -> list[tuple[int, int]]:
        """Joint models of a partition at one layer, as (instructions in it, regressions)."""
        n, chosen = len(self.settings.instructions), self.settings.partition
        ratios, rest, triples = max(chosen.n_ratios - 2, 1), 3, N_TRIPLE_WEIGHTINGS
        if chosen.estimator == "concatenated":
            ratios = rest = triples = 1
        n_triples = comb(n, 3) if chosen.triples == "all" else len(chosen.triples)
        return [(1, n), (2, comb(n, 2) * ratios), (n, rest), (n - 1, n * rest), (3, n_triples * triples)]

    def varied(self) -> dict[str, int]:
        """Models that are fitted under other choices, and under how many poolings."""
        s = self.settings
        ways = len({s.features.pooling, *s.multiverse.poolings})
        models = [m for m in (*s.partition.models, "vit-h") if m in s.models]
        return {model: ways if MODEL_BY_ID[model].prompt else 1 for model in models}


def amounts(sizes: Sizes, kind: str, run: dict) -> tuple[dict[str, float], float, float]:
    """Units of one run of a notebook, and the bytes of arrays that it holds at once and that it writes."""
    s, v, model = sizes.settings, sizes.n_voxels, run.get("model")
    n_subjects = len(registry.parameters(run).get("subjects", s.subjects))
    item = {"float32": 4, "float16": 2}.get(s.features.storage, 4 if s.checkpoints == "phantom" else 2)
    targets = 8.0 * (sizes.n_train + sizes.n_test) * v
    if kind == "make_phantom":  # a worker's single trials of the whole volume, in two precisions
        trials = 16.0 * 8 * v * sizes.n_sessions * N_TRIALS_PER_SESSION
        return {"megabeta": n_subjects * sizes.megabetas}, trials, 0.0
    if kind == "load_responses":
        return {"megabeta": n_subjects * sizes.megabetas}, 1.5 * sizes.responses, n_subjects * sizes.responses
    if kind == "extract_features":
        part = 1 / s.features.n_shards
        states = sum(n * width * asked for n, width, asked in sizes.components(model))
        units = _passes(model, sizes.n_images * part, sizes.n_answers(model) * part, s)
        kept = 5e5 * sizes.n_images if s.checkpoints == "phantom" else 0.0  # a small study's images
        return units, kept, item * sizes.n_images * part * states
    if kind == "fit_encoding":
        parts = sizes.components(model)
        spaces = sum(n * asked for n, _, asked in parts)
        main_states, width, asked = parts[-1]
        kept = min(main_states, N_GROUPS) * asked * sizes.n_test * v
        fits = s.stats.n_shuffles * sizes.ridge(width) + sum(n * a * sizes.ridge(p) for n, p, a in parts)
        units = {"read": n_subjects * spaces, "gigaoperation": n_subjects * fits}
        solver = 4.0 * (6 * min(sizes.n_train, width) ** 2 + 3 * sizes.n_train * width)
        written = n_subjects * (16.0 * spaces * v + 2 * kept)
        return units, sizes.responses + targets + 4 * kept + solver, written
    if kind == "partition_variance":
        states, width, asked = sizes.components(model)[-1]
        layers = {"common": 1, "roi": min(states, N_GROUPS), "all": states}[s.partition.layers]
        fits = layers * sum(n * sizes.ridge(bands * width) for bands, n in sizes.partition_bands())
        grams = 8.0 * asked * sizes.n_train * (min(sizes.n_train, asked * width) + 2 * width)
        written = 4.0 * layers * v * (3 * asked + 3 * asked * (asked - 1))
        units = {"read": n_subjects * layers * asked, "gigaoperation": n_subjects * fits}
        return units, sizes.responses + targets + grams, n_subjects * written
    if kind == "vary_choices":
        units, written = {"gigaoperation": 0.0}, 0.0
        for model, ways in sizes.varied().items():
            states, width, _ = sizes.components(model)[-1]
            units["gigaoperation"] += n_subjects * ways * states * sizes.ridge(width, 2 * v)
            n_passes = (ways - 1) * sizes.n_images
            for unit, n in _passes(model, n_passes, n_passes, s).items() if n_passes else ():
                units[unit] = units.get(unit, 0.0) + n
            written += item * (ways - 1) * sizes.n_images * states * width
        return units, 4 * sizes.responses, written
    scores = sum(n * asked for model in s.models for n, _, asked in sizes.components(model))
    return {} if kind == "book" else {"megascore": len(s.subjects) * v * scores / 1e6}, 0.0, 0.0


def _passes(model, n_images, n_answers, settings):
    billions = MODEL_BY_ID[model].n_parameters / 1e9
    return {
        "image": n_images,
        "answer": n_answers,
        "checkpoint": 1,
        "answer times 1e9 parameters": n_answers * billions,
        "token times 1e9 parameters": n_answers * billions * settings.features.max_new_tokens,
    }


def read_unit_costs() -> pd.DataFrame:
    """The table of unit costs: size, kind, unit, cpu_seconds, gpu_seconds, memory_mb, disk_mb, source."""
    with (resources.files(__package__) / "unit_costs.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def _costs_of(table: pd.DataFrame, settings: Settings, kind: str) -> dict[str, pd.Series]:
    """Cost of each unit of a kind of job: what was measured at full size goes before the miniature's."""
    sizes = ["miniature"] if settings.checkpoints == "phantom" else ["miniature", "full"]
    kinds = ["result"] if kind not in set(table.kind) | set(COMPOSED) else [*COMPOSED.get(kind, ()), kind]
    table = table.set_index("unit")
    numbers = table[["cpu_seconds", "gpu_seconds", "memory_mb", "disk_mb"]]
    return {
        unit: row
        for size in sizes
        for name in kinds
        for unit, row in numbers[(table["size"] == size) & (table.kind == name)].iterrows()
    }


def planned_runs(settings: Settings) -> list[Run]:
    """Every job of a study, the book among them, with its cost."""
    sizes, table = Sizes(settings), read_unit_costs()
    full, runs = settings.checkpoints != "phantom", []
    jobs = [(n.name, run) for n in registry.of_study(settings).values() for run in n.runs(settings)]
    for notebook, run in [*jobs, ("book", {})]:
        kind, model = kind_of(notebook), run.get("model")
        units, held, written = amounts(sizes, kind, run)
        costs = _costs_of(table, settings, kind)
        if full and settings.encoding.device == "cpu":
            fits = ("read", "gigaoperation")
            units = {f"{unit} on processors" if unit in fits else unit: n for unit, n in units.items()}
        if full:  # the miniature's cost of a whole answer does not hold
            units.pop("answer", None)
        cost = costs["run"] + sum(costs[unit] * n for unit, n in units.items() if unit in costs)
        models = {"extract_features": [model], "vary_choices": sizes.varied()}.get(kind, [])
        weights = 2.0 * max((MODEL_BY_ID[m].n_parameters for m in models), default=0.0) if full else 0.0
        memory, disk = 1e6 * cost.memory_mb + held + weights, 1e6 * cost.disk_mb + written
        runs.append(Run(kind, notebook, model, cost.cpu_seconds, cost.gpu_seconds, memory, disk))
    return runs


def wall_seconds(run: Run, cpus: int) -> float:
    """Expected time of a job on so many processors."""
    return max(run.cpu_seconds / (cpus * EFFICIENCY if cpus > 1 else 1), run.gpu_seconds)


def requests(settings: Settings, runs: list[Run] | None = None) -> dict[tuple[str, str | None], JobRequest]:
    """What each kind of job asks a cluster for, by rule and model: enough for the largest."""
    grouped = {}
    for run in runs or planned_runs(settings):
        grouped.setdefault((run.kind, run.model), []).append(run)
    asked = {}
    for (kind, model), alike in grouped.items():
        cpus = CPUS.get(kind, 1) if settings.data == "nsd" else 2 if kind == "make_phantom" else 1
        memory = MEMORY_MARGIN * max(run.memory for run in alike) / 1e6
        minutes = TIME_MARGIN * max(wall_seconds(run, cpus) for run in alike) / 60
        gpus = int(any(run.gpu_seconds for run in alike))
        mb, minutes = max(LEAST_MB, 500 * math.ceil(memory / 500)), max(LEAST_MINUTES, math.ceil(minutes))
        asked[kind, model] = JobRequest(cpus=cpus, gpus=gpus, mem_mb=mb, minutes=minutes)
    return asked


def _summed(runs) -> dict:
    return {
        "cpu_hours": sum(run.cpu_seconds for run in runs) / 3600,
        "gpu_hours": sum(run.gpu_seconds for run in runs) / 3600,
        "peak_memory_gb": max(run.memory for run in runs) / 1e9,
        "disk_gb": sum(run.disk for run in runs) / 1e9,
    }


def rule_table(settings: Settings) -> pd.DataFrame:
    """The plan per rule: jobs, hours, peak memory, disk, and hours of the longest job; last row "total"."""
    runs = planned_runs(settings)
    planned, rows = requests(settings, runs), {}
    for rule in (*RULES, "total"):
        if mine := [run for run in runs if rule in (run.kind, "total")]:
            asked = [settings.cluster.request(run.kind, planned[run.kind, run.model]) for run in mine]
            longest = max(wall_seconds(run, job.cpus) for run, job in zip(mine, asked, strict=True))
            rows[rule] = {"jobs": len(mine)} | _summed(mine) | {"longest_hours": longest / 3600}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def model_table(settings: Settings) -> pd.DataFrame:
    """What each model adds to a study: index model; columns cpu_hours, gpu_hours, peak_memory_gb, disk_gb."""
    runs = planned_runs(settings)
    rows = {model: _summed([run for run in runs if run.model == model]) for model in settings.models}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


TITLES = {
    "cpu_hours": "CPU hours", "gpu_hours": "GPU hours", "peak_memory_gb": "peak memory, GB",
    "disk_gb": "disk, GB", "longest_hours": "longest job, h",
}  # fmt: skip


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A plan with titles for readers and two significant digits."""
    shown = table.apply(lambda column: column.map(_two_digits) if column.dtype == float else column)
    return shown.rename(columns=TITLES)


def _two_digits(value: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}" if value < 10 else f"{float(f'{value:.2g}'):.0f}"
