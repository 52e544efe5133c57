"""What one run of each notebook costs: unit costs times counts."""

from dataclasses import dataclass

from ..config import Settings
from ..model_table import MODEL_BY_ID
from ..tables import N_TRIALS_PER_SESSION, ROIS
from .counts import (
    N_REPEATS,
    Counts,
    n_distinct_predictions,
    partition_fits,
    ridge_operations,
    states_per_image,
)

RULES = {
    "00_make_phantom": "make_phantom",
    "01_load_responses": "load_responses",
    "02_extract_features": "extract_features",
    "03_fit_encoding": "fit_encoding",
    "05_partition_variance": "partition_variance",
}
"""Rules of the workflow by notebook; the other notebooks are results."""

RESULTS = (
    "04_compare_models", "06_estimate_ceilings", "07_map_instructions", "08_group_concepts",
    "09_trace_layers", "10_show_partitions", "11_compare_ablations", "12_check_claims", "13_recover_truth",
)  # fmt: skip


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
    is_measured : bool
        Whether every unit cost in it was measured; otherwise some are stated assumptions.
    """

    notebook: str
    wildcards: tuple[str, ...]
    model: str | None
    cpu_seconds: float
    gpu_seconds: float
    memory: float
    disk: float
    is_measured: bool = True

    @property
    def rule(self) -> str:
        return self.notebook if self.notebook == "book" else RULES.get(self.notebook, "result")


def amounts(notebook: str, settings: Settings, counts: Counts, subject=None, model=None) -> dict[str, float]:
    """How many units of each kind a run has; keys are those of ``seconds`` in the unit costs."""
    n_folds = settings.encoding.n_folds
    if notebook == "00_make_phantom":
        betas = sum(_megabetas(s) for s in counts.subjects)
        return {"picture": counts.n_images, "megabeta": betas}
    if notebook == "01_load_responses":
        return {"megabeta": _megabetas(subject)}
    if notebook == "02_extract_features":
        return {f"row {model}": counts.n_rows(model) / settings.features.n_shards}
    if notebook == "03_fit_encoding":
        components = counts.components[model]
        sizes = [c.width for c in components for _ in range(c.n_spaces)]
        sizes += [components[-1].width] * settings.stats.n_shuffles
        sizes_of_fit = subject.n_voxels, subject.n_test, n_folds
        operations = sum(ridge_operations(subject.n_train, width, *sizes_of_fit) for width in sizes)
        kept = n_distinct_predictions(components)
        bootstrap = kept * subject.n_test * settings.stats.n_bootstraps * len(ROIS) / 1e9
        return {"fit": len(sizes), "gigaoperation": operations / 1e9, "gigasample": bootstrap}
    if notebook == "05_partition_variance":
        width = counts.components[model][-1].width
        fits = partition_fits(
            counts.n_instructions, settings.partition.n_ratios, settings.partition.estimator
        )
        operations = sum(
            n * ridge_operations(subject.n_train, bands * width, subject.n_voxels, subject.n_test, n_folds)
            for bands, n in fits
        )
        return {"fit": sum(n for _, n in fits), "gigaoperation": operations / 1e9}
    values = sum(s.n_voxels * sum(c.n_spaces for c in cs) for s in counts.subjects
                 for cs in counts.components.values())  # fmt: skip
    return {"fit": len(counts.subjects) * len(counts.components), "megascore": values / 1e6}


def _megabetas(subject):
    return subject.n_sessions * N_TRIALS_PER_SESSION * subject.n_voxels / 1e6


def disk_bytes(notebook: str, settings: Settings, counts: Counts, subject=None, model=None) -> float:
    """Bytes of the arrays that a run writes, from their shapes."""
    if notebook == "01_load_responses":
        return 4.0 * (subject.n_train + N_REPEATS * subject.n_test) * subject.n_voxels
    if notebook == "02_extract_features":
        n_images = counts.n_images / settings.features.n_shards
        return _item_size(settings) * n_images * states_per_image(counts.components[model])
    if notebook == "03_fit_encoding":
        components = counts.components[model]
        scores = 4 * 4 * sum(c.n_spaces for c in components) * subject.n_voxels
        predictions = 2 * n_distinct_predictions(components) * subject.n_test * subject.n_voxels
        nulls = 4 * settings.stats.n_shuffles * subject.n_voxels
        samples = 4 * (settings.stats.n_bootstraps + 1) * components[-1].n_instructions * 7
        return float(scores + predictions + nulls + samples)
    if notebook == "05_partition_variance":
        n = counts.n_instructions
        return 4.0 * subject.n_voxels * (3 * n + 1 + 4 * n * (n - 1) / 2)
    return 0.0


def _item_size(settings):
    storage, dtype = settings.features.storage, settings.features.dtype
    if storage == "auto":
        storage = "float32" if settings.checkpoints == "phantom" or dtype == "float32" else "float16"
    return {"float32": 4, "float16": 2}[storage]


def memory_bytes(notebook: str, settings: Settings, counts: Counts, subject=None, model=None) -> float:
    """Bytes of the large arrays that a run holds at once, beyond Python and its libraries."""
    if subject is None:
        values = [s.n_voxels * sum(c.n_spaces for c in cs) for s in counts.subjects
                  for cs in counts.components.values()]  # fmt: skip
        return 4.0 * sum(values) if notebook in RESULTS else 0.0
    responses = 4.0 * (subject.n_train + N_REPEATS * subject.n_test) * subject.n_voxels
    if notebook == "01_load_responses":
        return 1.5 * responses
    targets = 4.0 * (subject.n_train + subject.n_test) * subject.n_voxels
    n, p = subject.n_train, counts.components[model][-1].width
    if notebook == "03_fit_encoding":
        kept = 2 * 2 * n_distinct_predictions(counts.components[model]) * subject.n_test * subject.n_voxels
        solver = 4.0 * (min(n, p) ** 2 * 6 + n * p * 3)
        return responses + 2 * targets + kept + solver
    bands = counts.n_instructions
    joint = min(bands * p, n)
    shared = (
        min(4.0 * bands * n * n, 4 * 2**30) if 2 * p > 0.8 * n else min(24.0 * (bands * p) ** 2, 4 * 2**30)
    )
    features = 4.0 * bands * p * (n + subject.n_test) * 2
    return responses + 2 * targets + features + shared + 4.0 * 6 * joint**2


def run_cost(notebook, wildcards, settings, counts, costs, subject=None, model=None) -> Run:
    """Cost of one run.

    Parameters
    ----------
    notebook : str
    wildcards : tuple of str
    settings : Settings
    counts : Counts
    costs : dict
        Of :func:`brainalign_utils.plan.load_costs`.
    subject : counts.Subject or None
    model : str or None
    """
    given = settings, counts, subject, model
    units = amounts(notebook, *given) if notebook != "book" else {}
    unit = dict(costs["seconds"][notebook])
    disk = costs["disk"][notebook]
    memory = costs["memory"][notebook]
    if settings.checkpoints != "phantom" and notebook in costs["full size"]:
        unit |= costs["full size"][notebook]
    gpu, is_measured = 0.0, True
    if notebook == "02_extract_features" and settings.checkpoints != "phantom":
        gpu, units, extra = _on_gpu(settings, counts, costs, model)
        memory, is_measured = memory + extra, False
    seconds = unit["run"] + sum(unit[name] * amount for name, amount in units.items())
    written = disk["run"] + sum(disk.get(name, 0) * amount for name, amount in units.items())
    written += disk_bytes(notebook, *given)
    return Run(
        notebook,
        wildcards,
        model,
        seconds,
        gpu,
        memory + memory_bytes(notebook, *given),
        written,
        is_measured,
    )


def _on_gpu(settings, counts, costs, model):
    """GPU seconds of a shard, CPU units, bytes of weights in main memory: assumptions, not measured."""
    row, assumed = MODEL_BY_ID[model], costs["gpu"]
    size = assumed["models"][row.checkpoint]
    n_images = counts.n_images / settings.features.n_shards
    n_rows = counts.n_rows(model) / settings.features.n_shards
    tower = 2 * size["vision parameters"] * size["vision tokens"] * (1 if row.image == "stimulus" else 0)
    prompt = 2 * size["language parameters"] * (size["image positions"] + assumed["prompt tokens"])
    answer = 2 * size["language parameters"] * settings.features.max_new_tokens
    rate = 1e12 * assumed["peak teraflops"]
    seconds = (n_images * tower + n_rows * prompt) / (rate * assumed["share reached, prompt"])
    seconds += n_rows * answer / (rate * assumed["share reached, answer"])
    seconds += assumed["seconds to load"]
    return seconds, {"image": n_images}, 2.0 * row.n_parameters
