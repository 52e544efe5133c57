"""What one run of each notebook costs: unit costs times counts."""

from dataclasses import dataclass, replace
from math import prod

from .. import BrainalignError
from ..features.store import KEPT_BYTES, N_KEPT
from ..models import MODEL_BY_ID
from ..settings import Settings
from ..tables import N_TRIALS_PER_SESSION, ROIS
from .counts import (
    BASES,
    CHOICES,
    N_REPEATS,
    Counts,
    Subject,
    compared_models,
    n_distinct_predictions,
    n_partition_layers,
    n_triples,
    partition_fits,
    ridge_operations,
    states_per_image,
)
from .gpu import extraction_seconds, ridge_seconds

RULES = {
    "00_make_phantom": "make_phantom",
    "01_load_responses": "load_responses",
    "02_extract_features": "extract_features",
    "03_fit_encoding": "fit_encoding",
    "04_partition_variance": "partition_variance",
    "15_vary_choices": "vary_choices",
}
"""Rules of the workflow by notebook; the other notebooks are results."""

RESULTS = (
    "06_compare_models", "05_estimate_ceilings", "07_map_instructions", "09_group_concepts",
    "10_trace_layers", "11_show_partitions", "13_compare_ablations", "16_check_claims", "14_recover_truth",
    "08_test_voxels", "12_view_cortex",
)  # fmt: skip
MEASURE = "run a study with it, then python benchmarks/unit_costs.py SETTINGS..."
SHARED_BYTES = 4 * 2**30
"""Largest products that models of a partition share, as in :mod:`voxelridge.banded`."""
COMPOSED = {CHOICES: ("01_load_responses", "02_extract_features", "03_fit_encoding")}
"""A notebook that does what others do, at their unit costs."""


@dataclass(frozen=True)
class Run:
    """One execution of a notebook.

    Attributes
    ----------
    notebook : str
        "book" for the rendering of the pages.
    wildcards : tuple of str
        As in the name of the executed copy.
    model : str or None
    cpu_seconds, gpu_seconds : float
    memory, disk : float
        Peak resident bytes, and bytes that it leaves.
    basis : {"measured", "scaled up", "assumed"}
        What its GPU time, or else the largest part of its processor time, rests on.
    """

    notebook: str
    wildcards: tuple[str, ...]
    model: str | None
    cpu_seconds: float
    gpu_seconds: float
    memory: float
    disk: float
    basis: str = "measured"

    @property
    def rule(self) -> str:
        return self.notebook if self.notebook == "book" else RULES.get(self.notebook, "result")


@dataclass(frozen=True)
class Task:
    """What a run is about; the arguments of everything that counts.

    Attributes
    ----------
    notebook : str
    settings : Settings
    counts : Counts
    subject : counts.Subject or None
    model : str or None
    starts : bool
        Whether it is the first run of its kernel, which imports libraries.
    """

    notebook: str
    settings: Settings
    counts: Counts
    subject: Subject | None = None
    model: str | None = None
    starts: bool = True


def amounts(task: Task) -> dict[str, float]:
    """How many units of each kind a run has; keys are units of ``seconds`` in the unit costs."""
    settings, counts, subject, model = task.settings, task.counts, task.subject, task.model
    shared = {"run": 1.0, "start": float(task.starts)} if subject or model else {"run": 1.0}
    if task.notebook == "00_make_phantom":
        return shared | {"picture": counts.n_images, "megabeta": sum(map(_megabetas, counts.subjects))}
    if task.notebook == "01_load_responses":
        return shared | {"megabeta": _megabetas(subject)}
    if task.notebook == "02_extract_features":
        return shared | {f"row {model}": counts.n_rows(model) / settings.features.n_shards}
    if task.notebook == "03_fit_encoding":
        components = counts.components[model]
        sizes = [c.width for c in components for _ in range(c.n_spaces)]
        sizes += [components[-1].width] * settings.stats.n_shuffles
        operations = sum(_operations(settings, subject, width) for width in sizes)
        kept = n_distinct_predictions(components)
        bootstrap = kept * subject.n_test * settings.stats.n_bootstraps * len(ROIS) / 1e9
        return shared | {"fit": len(sizes), "gigaoperation": operations / 1e9, "gigasample": bootstrap}
    if task.notebook == "04_partition_variance":
        main, n_layers, triples = counts.components[model][-1], *_partition(settings, counts, model)
        fits = partition_fits(
            counts.n_instructions, settings.partition.n_ratios, settings.partition.estimator, triples
        )
        operations = n_layers * sum(n * _operations(settings, subject, b * main.width) for b, n in fits)
        return shared | {"fit": n_layers * sum(n for _, n in fits), "gigaoperation": operations / 1e9}
    if task.notebook == CHOICES:
        return shared | _choices(settings, counts)
    if task.notebook == "book":
        return shared
    values = sum(s.n_voxels * sum(c.n_spaces for c in cs) for s in counts.subjects
                 for cs in counts.components.values())  # fmt: skip
    return shared | {"fit": len(counts.subjects) * len(counts.components), "megascore": values / 1e6}


def _partition(settings, counts, model):
    """Layers and triples of a partition."""
    layers = n_partition_layers(settings.partition.layers, counts.components[model][-1].n_states)
    return layers, n_triples(settings.partition.triples, counts.n_instructions)


def _choices(settings, counts):
    """One instruction, the main component, both scalings of responses and of test features at once."""
    found = {
        "megabeta": sum(map(_megabetas, counts.subjects)),
        "fit": 0.0,
        "gigaoperation": 0.0,
        "row alone": 0.0,
    }
    for model, n_ways in compared_models(settings).items():
        main = counts.components[model][-1]
        found[f"row {model}"] = counts.n_images * (n_ways - 1)
        found["row alone"] += counts.n_images * (n_ways - 1)  # instructions that share no picture
        for subject in counts.subjects:
            twice = replace(subject, n_voxels=2 * subject.n_voxels, n_test=2 * subject.n_test)
            found["fit"] += n_ways * main.n_states
            operations = n_ways * main.n_states * _operations(settings, twice, main.width)
            found["gigaoperation"] += operations / 1e9
    return found


def _operations(settings, subject, n_features):
    sizes = subject.n_train, n_features, subject.n_voxels, subject.n_test
    return ridge_operations(*sizes, settings.encoding.n_folds)


def _megabetas(subject):
    return subject.n_sessions * N_TRIALS_PER_SESSION * subject.n_voxels / 1e6


def array_bytes(task: Task) -> float:
    """Bytes of the arrays that a run writes, from their shapes."""
    settings, counts, subject, model = task.settings, task.counts, task.subject, task.model
    if task.notebook == "01_load_responses":
        return 4.0 * (subject.n_train + N_REPEATS * subject.n_test) * subject.n_voxels
    if task.notebook == "02_extract_features":
        n_images = counts.n_images / settings.features.n_shards
        return _item_size(settings) * n_images * states_per_image(counts.components[model])
    if task.notebook == "03_fit_encoding":
        components = counts.components[model]
        scores = 4 * 4 * sum(c.n_spaces for c in components) * subject.n_voxels
        predictions = 2 * n_distinct_predictions(components) * subject.n_test * subject.n_voxels
        nulls = 4 * settings.stats.n_shuffles * subject.n_voxels
        samples = 4 * (settings.stats.n_bootstraps + 1) * components[-1].n_instructions * 7
        return float(scores + predictions + nulls + samples)
    if task.notebook == "04_partition_variance":
        n, (n_layers, triples) = counts.n_instructions, _partition(settings, counts, model)
        return 4.0 * n_layers * subject.n_voxels * (3 * n + 1 + 6 * n * (n - 1) / 2 + 8 * triples)
    if task.notebook == CHOICES:
        return _item_size(settings) * counts.n_images * sum(
            (n_ways - 1) * sum(c.n_states * c.width for c in counts.components[model])
            for model, n_ways in compared_models(settings).items()
        )  # fmt: skip
    return 0.0


def _item_size(settings):
    storage, dtype = settings.features.storage, settings.features.dtype
    if storage == "auto":
        storage = "float32" if settings.checkpoints == "phantom" or dtype == "float32" else "float16"
    return {"float32": 4, "float16": 2}[storage]


def memory_bytes(task: Task) -> float:
    """Bytes of the large arrays that a run holds at once, beyond Python, its libraries and models."""
    counts, subject, model = task.counts, task.subject, task.model
    if task.notebook == CHOICES:  # responses in two scalings, of the largest subject
        subject = max(counts.subjects, key=lambda s: s.n_voxels)
        return 16.0 * (subject.n_train + N_REPEATS * subject.n_test) * subject.n_voxels
    if task.notebook == "00_make_phantom":  # a worker's single trials of the whole volume, in two precisions
        return max(16.0 * prod(s.shape) * s.n_sessions * N_TRIALS_PER_SESSION for s in counts.subjects)
    if subject is None:
        values = [s.n_voxels * sum(c.n_spaces for c in cs) for s in counts.subjects
                  for cs in counts.components.values()]  # fmt: skip
        return 4.0 * sum(values) if task.notebook in RESULTS else 0.0
    responses = 4.0 * (subject.n_train + N_REPEATS * subject.n_test) * subject.n_voxels
    if task.notebook == "01_load_responses":
        return 1.5 * responses
    targets = 4.0 * (subject.n_train + subject.n_test) * subject.n_voxels
    held = responses + 2 * targets + _kept_features(task)
    n, p = subject.n_train, counts.components[model][-1].width
    if task.notebook == "03_fit_encoding":
        kept = 2 * 2 * n_distinct_predictions(counts.components[model]) * subject.n_test * subject.n_voxels
        solver = 4.0 * (min(n, p) ** 2 * 6 + n * p * 3)
        return held + kept + solver
    n_features = counts.n_instructions * p
    shared = sum(size for size in _shared_products(task, n_features) if size <= SHARED_BYTES)
    features = 4.0 * n_features * (n + subject.n_test) * 2
    return held + features + shared + 4.0 * 6 * min(n_features, n) ** 2


def _shared_products(task: Task, n_features: int) -> list[float]:
    """Bytes of what models of a partition share if it fits: Grams, products with responses, kernels."""
    n, n_folds = task.subject.n_train, task.settings.encoding.n_folds
    smallest = n - n / n_folds  # training set of a fold
    sizes = []
    if n_features / task.counts.n_instructions <= smallest:
        sizes += [4.0 * (n_folds + 1) * n_features * each for each in (n_features, task.subject.n_voxels)]
    if n_features > smallest:
        sizes += [4.0 * task.counts.n_instructions * n * n]
    return sizes


def _kept_features(task: Task) -> float:
    """Bytes of features of small studies that stay in memory; runs share a process, whatever their model."""
    counts, settings, fits = task.counts, task.settings, task.notebook == "03_fit_encoding"
    read = {
        model: components if fits else components[-1:]
        for model, components in counts.components.items()
        if fits or model in settings.partition.models
    }
    sizes = [
        _item_size(settings) * counts.n_images * c.n_spaces * c.width
        for components in read.values()
        for c in components
    ]
    return float(sum(sorted(size for size in sizes if size <= KEPT_BYTES)[-N_KEPT:]))


def run_cost(task: Task, wildcards: tuple[str, ...], costs: dict) -> Run:
    """Cost of one run.

    Parameters
    ----------
    task : Task
    wildcards : tuple of str
    costs : dict
        Of :func:`brainalign_utils.plan.load_costs`.
    """
    notebook, units = task.notebook, amounts(task)
    is_full = task.settings.checkpoints != "phantom"
    unit, disk = (unit_costs(costs, quantity, notebook, is_full) for quantity in ("seconds", "disk"))
    written = disk["run"] + disk.get("array", 1.0) * array_bytes(task)
    written += sum(disk[name] * n for name, n in units.items() if name != "run" and name in disk)
    parts, units, weights = on_gpu(task, units, costs) if is_full else ([], units, 0.0)
    if missing := sorted(set(units) - set(unit)):
        raise BrainalignError(f"no unit cost of {', '.join(missing)} in {notebook}; {MEASURE}")
    terms = {name: unit[name] * n for name, n in units.items()}
    basis = "measured"
    if parts:
        basis = max((found for _, found in parts), key=BASES.index)
    elif is_full:
        basis = costs["basis"].get(("seconds", notebook, max(terms, key=terms.get)), "scaled up")
    held = unit_costs(costs, "memory", notebook, is_full)
    kept = 0.0 if is_full else held.get("picture", 0.0) * task.counts.n_images  # small studies keep pictures
    # measured beside arrays of megabytes; a fit of full size stays within what its arrays alone say
    resident = costs["units"].get(("miniature", "memory", notebook), {}).get("array", 1.0)
    arrays = memory_bytes(task) * (1.0 if is_full else resident)
    memory = held["run"] + kept + weights + arrays
    gpu = sum(seconds for seconds, _ in parts)
    return Run(notebook, wildcards, task.model, sum(terms.values()), gpu, memory, written, basis)


def on_gpu(task: Task, units: dict, costs: dict) -> tuple[list[tuple[float, str]], dict, float]:
    """What a GPU does of a run.

    Returns
    -------
    parts : list of (seconds, basis)
        Empty without a GPU.
    units : dict of str to float
        What is left to processors; they feed the GPU meanwhile.
    weights : float
        Bytes of weights that pass through main memory.
    """
    settings, counts, notebook = task.settings, task.counts, task.notebook
    n_shards, parts, passes = settings.features.n_shards, [], {}
    if notebook == "02_extract_features":
        passes = {task.model: (counts.n_images / n_shards, counts.n_rows(task.model) / n_shards)}
    elif notebook == CHOICES:
        n_passes = {
            model: counts.n_images * (n - 1) for model, n in compared_models(settings).items() if n > 1
        }
        passes = {model: (n, n) for model, n in n_passes.items()}
    parts += [extraction_seconds(model, *counted, settings, costs) for model, counted in passes.items()]
    units = {name: n for name, n in units.items() if not name.startswith("row ")}
    if "gigaoperation" in units and settings.encoding.device != "cpu":
        n_reads = 0 if notebook == "04_partition_variance" else units["fit"]
        seconds, basis = ridge_seconds(units.pop("gigaoperation"), n_reads, costs)
        parts.append((seconds, "scaled up" if notebook == "04_partition_variance" else basis))
    if parts:
        units["gpu second"] = sum(seconds for seconds, _ in parts)
    return parts, units, max((2.0 * MODEL_BY_ID[model].n_parameters for model in passes), default=0.0)


def unit_costs(costs: dict, quantity: str, notebook: str, is_full: bool) -> dict[str, float]:
    """Unit costs of a notebook: those of the miniature, and over them what was measured at full size.

    Parameters
    ----------
    costs : dict
    quantity : {"seconds", "memory", "disk"}
    notebook : str
    is_full : bool

    Raises
    ------
    ValueError
        Nothing was measured of the notebook.
    """
    units = costs["units"]
    sizes = ("miniature", "full") if is_full else ("miniature",)
    found = {}
    for source in (*COMPOSED.get(notebook, ()), notebook):
        own = {}
        for size in sizes:
            own |= units.get((size, quantity, source), {})
        found |= own if source == notebook else {k: v for k, v in own.items() if k not in ("run", "start")}
    if "run" not in found:
        raise BrainalignError(f"no unit cost ({quantity}) of notebook {notebook}; {MEASURE}")
    return found
