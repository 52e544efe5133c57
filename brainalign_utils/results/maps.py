"""Artifacts of a study as maps on the cortical surface."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ..encoding.algebra import normalise
from ..models import MODEL_BY_ID
from ..settings import Settings
from ..stats import scoring, similarity
from ..titles import title_of
from . import study
from .partitions import open_partition
from .surface import to_vertices

OUTLINED = ("V1", "V2", "V3", "hV4", "EBA", "FFA-1", "FFA-2", "OFA", "OPA", "PPA", "RSC", "VWFA-1", "OWFA")
"""Areas whose outlines help to find one's way on a flat map."""


def area_outlines(settings: Settings, subject: int, areas=OUTLINED) -> dict[str, np.ndarray]:
    """Vertices of single areas; dict of title -> bool array of shape (n_vertices,)."""
    masks = study.open_voxels(settings, subject).roi_mask
    surface_map = study.surface_map(settings, subject)
    return {title_of(a): to_vertices(masks.sel(roi=a).values, surface_map) for a in areas}


def group_title(settings: Settings) -> str:
    """Title of the panel that shows all subjects together."""
    return f"group ({len(settings.subjects)} subjects)"


def all_outlines(settings: Settings, areas=OUTLINED) -> dict[str, dict]:
    """Outlines under the panel titles of :func:`winner_maps`.

    The group's outline of an area holds the vertices of at least half of the subjects who have it, and of at
    least two.
    """
    each = {f"subject {s}": area_outlines(settings, s, areas) for s in settings.subjects}
    return each | {group_title(settings): _group_outlines(list(each.values()))}


def _group_outlines(subjects: list[dict]) -> dict[str, np.ndarray]:
    stacks = {area: np.stack([outlines[area] for outlines in subjects]) for area in subjects[0]}
    have = {area: int(stack.any(1).sum()) for area, stack in stacks.items()}
    least = {area: max((n + 1) // 2, min(n, 2), 1) for area, n in have.items()}
    return {area: stack.sum(0) >= least[area] for area, stack in stacks.items()}


def winner_maps(settings: Settings, scores: Mapping[int, xr.DataArray]) -> dict[str, tuple]:
    """Best instruction and margin on the vertices, per subject and for the mean over subjects.

    Parameters
    ----------
    scores : mapping of subject to DataArray of :func:`results.normalised_instruction_scores`

    Returns
    -------
    maps : dict of title -> (best int (n_vertices,), margin float (n_vertices,))
    """
    stack = _on_vertices(settings, {s: values.values for s, values in scores.items()})
    maps = {f"subject {s}": similarity.winner_take_all(v) for s, v in zip(scores, stack, strict=True)}
    return maps | {group_title(settings): similarity.winner_take_all(_mean_known(stack))}


def _on_vertices(settings: Settings, values: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """Arrays (..., n_voxels) of subjects as arrays (..., n_vertices) of the common surface."""
    maps = {s: study.surface_map(settings, s) for s in values}
    return [to_vertices(np.asarray(v).T, maps[s]).T for s, v in values.items()]


def _mean_known(stack) -> np.ndarray:
    """Mean over subjects of those that have a value."""
    counted = np.isfinite(stack).sum(0)
    return np.where(counted > 0, np.nansum(stack, 0) / np.maximum(counted, 1), np.nan)


def group_maps(settings: Settings, scores: Mapping[str, Mapping[int, xr.DataArray]]) -> dict[str, tuple]:
    """The group's best instruction and margin of each model: what their agreement is about.

    Parameters
    ----------
    scores : mapping of model to subject to DataArray of :func:`results.normalised_instruction_scores`

    Returns
    -------
    maps : dict of the model's title -> (best, margin), as :func:`winner_maps`
    """
    title = group_title(settings)
    return {title_of(m): winner_maps(settings, each)[title] for m, each in scores.items()}


def best_layer_maps(settings: Settings, model: str) -> dict[str, dict[str, np.ndarray]]:
    """Relative depth of each voxel's best layer on the vertices, by cross-validation, mean over instructions.

    Returns
    -------
    maps : dict of component -> title -> float array of shape (n_vertices,)
        One map a subject, and the mean depth over subjects.
    """
    components = [name for name, _ in MODEL_BY_ID[model].components]
    depths = {component: {} for component in components}
    for subject in settings.subjects:
        scores = study.open_scores(settings, subject, model)
        for component in components:
            part = scores.isel(space=scores.component.values == component)
            depths[component][subject] = _best_depth(part, settings.stats.min_ceiling)
    maps = {}
    for component, each in depths.items():
        stack = _on_vertices(settings, each)
        titled = {f"subject {s}": v for s, v in zip(each, stack, strict=True)}
        maps[component] = titled | {group_title(settings): _mean_known(stack)}
    return maps


def _best_depth(scores: xr.Dataset, min_ceiling: float) -> np.ndarray:
    depths = np.unique(scores.depth.values)
    mean = np.stack([scores.cv_score.values[scores.depth.values == d].mean(0) for d in depths])
    shown = scoring.reachable(scores.noise_ceiling.values, min_ceiling) & np.isfinite(mean).all(0)
    return np.where(shown, depths[np.nan_to_num(mean, nan=-np.inf).argmax(0)], np.nan)


def partition_maps(settings: Settings, models, a: str, b: str) -> dict[str, dict[str, np.ndarray]]:
    """Parts of a pair of instructions on the vertices, as shares of the explainable variance.

    Returns
    -------
    maps : dict of part -> title -> float array of shape (n_vertices,)
        Parts ``shared``, ``unique_a`` (a beyond b), ``unique_b`` and ``unique_vs_all`` (a beyond all others);
        means over models, one map a subject and one of the group.
    """
    parts = {name: {} for name in ("shared", "unique_a", "unique_b", "unique_vs_all")}
    for subject in settings.subjects:
        ceiling = study.open_voxels(settings, subject).noise_ceiling.values
        stored = [open_partition(settings, subject, m) for m in models]
        found = [_voxel_parts(ds, a, b) for ds in stored]
        for name, each in parts.items():
            mean = np.mean([values[name] for values in found], axis=0)
            each[subject] = normalise(mean, ceiling, settings.stats.min_ceiling)
    maps = {}
    for name, each in parts.items():
        stack = _on_vertices(settings, each)
        titled = {f"subject {s}": v for s, v in zip(each, stack, strict=True)}
        maps[name] = titled | {group_title(settings): _mean_known(stack)}
    return maps


def _voxel_parts(parts: xr.Dataset, a: str, b: str) -> dict[str, np.ndarray]:
    """Raw parts of one pair, whichever way round it is stored."""
    names = list(zip(parts.instruction_a.values, parts.instruction_b.values, strict=True))
    turned = (a, b) not in names
    pair = parts.isel(pair=names.index((b, a) if turned else (a, b)))
    first, second = ("unique_b", "unique_a") if turned else ("unique_a", "unique_b")
    return {
        "shared": pair.shared.values,
        "unique_a": pair[first].values,
        "unique_b": pair[second].values,
        "unique_vs_all": parts.unique_vs_all.sel(instruction=a).values,
    }


def map_table(panels: Mapping[str, np.ndarray], cortex: xr.Dataset) -> pd.DataFrame:
    """Every vertex that a figure of maps shows: panel, hemisphere, vertex, value."""
    rows = []
    for title, values in panels.items():
        at = np.flatnonzero(np.isfinite(values))
        rows.append(_vertices(at, cortex).assign(panel=title, value=values[at]))
    return pd.concat(rows, ignore_index=True)[["panel", "hemisphere", "vertex", "value"]]


def winner_table(panels: Mapping[str, tuple], instructions, cortex: xr.Dataset) -> pd.DataFrame:
    """Every vertex that a figure of winners shows: panel, hemisphere, vertex, instruction, margin."""
    rows = []
    for title, (best, margin) in panels.items():
        at = np.flatnonzero(best >= 0)
        names = np.asarray(instructions, object)[best[at]]
        rows.append(_vertices(at, cortex).assign(panel=title, instruction=names, margin=margin[at]))
    return pd.concat(rows, ignore_index=True)[["panel", "hemisphere", "vertex", "instruction", "margin"]]


def _vertices(at, cortex: xr.Dataset) -> pd.DataFrame:
    n_left = cortex.attrs["n_left"]
    right = at >= n_left
    return pd.DataFrame({"hemisphere": np.where(right, "rh", "lh"), "vertex": at - n_left * right})
