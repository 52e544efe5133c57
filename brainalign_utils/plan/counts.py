"""How much a study has of what costs: pictures, voxels, states, fits.  No file of the study is read."""

from dataclasses import dataclass
from math import comb

import numpy as np

from ..models import MODEL_BY_ID
from ..settings import Settings
from ..tables import N_TRIALS_PER_SESSION, ROIS

N_TRIPLE_WEIGHTINGS = 7
N_NSD_SESSIONS, N_NSD_PICTURES, N_NSD_SHARED, N_REPEATS = 40, 10_000, 1000, 3
N_GROUPS = sum(roi.kind == "group" for roi in ROIS)
CHOICES = "15_vary_choices"

BASES = ("measured", "scaled up", "assumed")
"""What a planned cost rests on, best first: a unit cost measured at that size; one measured on a smaller
study or task; an assumption of ``data/plan.yml``."""


@dataclass(frozen=True)
class Subject:
    """Sizes of one subject's data; ``shape`` is the grid (x, y, z), of the whole volume."""

    number: int
    n_sessions: int
    n_voxels: int
    shape: tuple[int, int, int]
    n_train: int
    n_test: int


@dataclass(frozen=True)
class Component:
    """States that one part of a model gives: a feature space per state and instruction."""

    name: str
    n_states: int
    width: int
    n_instructions: int

    @property
    def n_spaces(self) -> int:
        return self.n_states * self.n_instructions


@dataclass(frozen=True)
class Counts:
    """Sizes of a study.

    Attributes
    ----------
    subjects : tuple of Subject
    components : dict of str to tuple of Component
        For each model.
    n_images : int
        Pictures that models see: shared ones once.
    n_instructions : int
    """

    subjects: tuple[Subject, ...]
    components: dict[str, tuple[Component, ...]]
    n_images: int
    n_instructions: int

    def n_rows(self, model: str) -> int:
        """Answers, or passes of a model that gives none."""
        instructed = max(c.n_instructions for c in self.components[model])
        return self.n_images * instructed


def count(settings: Settings, numbers: dict, sizes: dict) -> Counts:
    """Sizes of the study that the settings describe.

    Parameters
    ----------
    settings : Settings
    numbers : dict
        Of ``nsd/expected.yml``: grid, sessions and voxels of each subject.
    sizes : dict
        ``states`` of ``data/plan.yml``: states and widths of each checkpoint's components.
    """
    subjects = tuple(_subject(settings, number, numbers["subjects"][number]) for number in settings.subjects)
    own = sum(subject.n_train for subject in subjects)
    return Counts(
        subjects,
        {model: model_components(settings, model, sizes) for model in settings.models},
        max(subject.n_test for subject in subjects) + own,
        len(settings.instructions),
    )


def _subject(settings, number, known):
    if settings.data == "phantom":
        n = settings.phantom.n_sessions
        n_pictures = N_TRIALS_PER_SESSION * n // N_REPEATS
        edge = round((8 * settings.phantom.n_voxels) ** (1 / 3))
        shape = (edge, edge, edge)
        return Subject(number, n, settings.phantom.n_voxels, shape, n_pictures - settings.phantom.n_shared,
                       settings.phantom.n_shared)  # fmt: skip
    n = min(settings.n_sessions or N_NSD_SESSIONS, known["n_sessions"])
    # the three showings of a picture are spread over all sessions
    seen = 1 - (1 - n / N_NSD_SESSIONS) ** N_REPEATS
    n_test = round(N_NSD_SHARED * seen)
    n_train = round(N_NSD_PICTURES * seen) - n_test
    return Subject(number, n, known["n_voxels"], tuple(known["shape"]), n_train, n_test)


def model_components(settings: Settings, model: str, sizes: dict) -> tuple[Component, ...]:
    """States of a model, of the published checkpoint or of the phantom's."""
    row = MODEL_BY_ID[model]
    kind = sizes["phantom"] if settings.checkpoints == "phantom" else sizes[row.checkpoint]
    n_instructions = len(settings.instructions) if row.instructed else 1
    components = []
    for name, _ in row.components:
        n_states, width = kind[name]
        if name == "projection" and row.components[0][0] == "both":
            width *= 2  # of the picture and of the caption, side by side
        components.append(
            Component(name, n_states, width, n_instructions if _is_instructed(row, name) else 1)
        )
    return tuple(components)


def _is_instructed(row, component) -> bool:
    """Whether a component's states depend on the instruction; BLIP-2's Q-Former does not read it."""
    if component == "qformer":
        return row.family == "instructblip"
    return component == "language"


def n_distinct_predictions(components) -> int:
    """Most predictions that a fit keeps: of the main component, the best state of each group of voxels."""
    main = components[-1]
    return min(main.n_spaces, main.n_instructions * N_GROUPS)


def ridge_operations(n_train, n_features, n_voxels, n_test, n_folds=5, n_nodes=11) -> float:
    """Multiply-adds of one regression of every voxel, as :mod:`voxelridge` does it.

    Parameters
    ----------
    n_train, n_features, n_voxels, n_test, n_folds, n_nodes : int
        ``n_nodes`` penalties are evaluated; the others follow by interpolation.

    Returns
    -------
    operations : float
    """
    n, p, v = float(n_train), float(n_features), float(n_voxels)
    held_out = n / n_folds
    primal = p <= n - held_out
    d, d_fold = (p, p) if primal else (n, n - held_out)
    eigh = 6 * d**3
    spectral = n_folds * (6 * d_fold**3 + d_fold**2 * v)
    downdate = n_nodes * n_folds * (held_out**2 * v + 2 * held_out**3)
    gram = n * p * min(n, p)
    residuals = 4 * n * d * v
    products = (n * p * v if primal else 0) + d * d * v + n_test * d * v
    return gram + eigh + min(spectral, downdate) + residuals + products


def n_partition_layers(layers: str, n_states: int) -> int:
    """Layers at which variance is partitioned; the most it can be where each region has its own."""
    return {"common": 1, "roi": min(n_states, N_GROUPS), "all": n_states}[layers]


def n_triples(triples, n_instructions: int) -> int:
    """Triples of instructions of the setting ``partition.triples``."""
    return comb(n_instructions, 3) if triples == "all" else len(triples)


def partition_fits(
    n_instructions: int, n_ratios: int, estimator: str, n_triples: int = 0
) -> list[tuple[int, int]]:
    """Joint models behind the partition of one layer, as (number of bands, weightings tried)."""
    if estimator == "concatenated":
        ratios = rest = 1
    else:
        ratios, rest = max(n_ratios - 2, 1), 3
    n = n_instructions
    n_pairs = n * (n - 1) // 2
    fits = [(1, n), (2, n_pairs * ratios), (n, rest), (n - 1, n * rest)] if n > 1 else [(1, 1)]
    return fits + [(3, n_triples * (1 if estimator == "concatenated" else N_TRIPLE_WEIGHTINGS))]


def states_per_image(components) -> int:
    """Numbers stored for each picture."""
    return int(np.sum([c.n_spaces * c.width for c in components]))


def compared_models(settings: Settings) -> dict[str, int]:
    """Models whose features are pooled in other ways too, and in how many ways."""
    compared = [m for m in (*settings.partition.models, "vit-h") if m in settings.models]
    ways = len(dict.fromkeys([settings.features.pooling, *settings.multiverse.poolings]))
    return {model: ways if MODEL_BY_ID[model].prompt else 1 for model in compared}
