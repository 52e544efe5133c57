"""Artifacts of a study as the maps and tables that single figures show."""

import numpy as np
import pandas as pd
import xarray as xr

from . import alignment, concepts, cross_subject, encoding, scoring, similarity, store, study, surface
from .config import Settings
from .flat import Cortex, to_vertices
from .tables import ROI_BY_ID

OUTLINED = ("V1", "V2", "V3", "hV4", "EBA", "FFA-1", "FFA-2", "OFA", "OPA", "PPA", "RSC", "VWFA-1", "OWFA")
"""Areas whose outlines help to find one's way on a flat map."""


def load_cortex(settings: Settings) -> Cortex:
    """Flat map for the study's data: fsaverage5 for the phantom, NSD's own fsaverage otherwise."""
    if settings.scores_only:
        stored = store.open_dataset(settings.paths.root / "cortex.zarr")
        grid, curvature = stored.vertex_of_pixel.values, stored.curvature.values
        return Cortex(stored.attrs["name"], grid, curvature, stored.attrs["n_left"])
    folder = settings.paths.nsd / "nsddata" / "freesurfer" / "fsaverage"
    meshes = surface.load_meshes(folder if settings.data == "nsd" else None)
    return surface.load_cortex(settings.paths.root / "pycortex", meshes)


def cortex_dataset(cortex: Cortex) -> xr.Dataset:
    """A flat map as a dataset, for archives of scores."""
    grid, curvature = ("row", "column"), ("vertex",)
    variables = {
        "vertex_of_pixel": (grid, cortex.vertex_of_pixel),
        "curvature": (curvature, cortex.curvature),
    }
    return xr.Dataset(variables, attrs={"name": cortex.name, "n_left": cortex.n_left})


def area_outlines(settings: Settings, subject: int, areas=OUTLINED) -> dict[str, np.ndarray]:
    """Vertices of single areas; dict of title -> bool array of shape (n_vertices,)."""
    masks = study.open_voxels(settings, subject).roi_mask
    surface_map = study.surface_map(settings, subject)
    return {ROI_BY_ID[a].title: to_vertices(masks.sel(roi=a).values, surface_map) for a in areas}


def all_outlines(settings: Settings, areas=OUTLINED) -> dict[str, dict]:
    """Outlines of every subject under the panel titles of :func:`winner_maps`; the group has none."""
    return {f"subject {s}": area_outlines(settings, s, areas) for s in settings.subjects}


def instruction_scores(settings: Settings, subject: int, model: str) -> xr.DataArray:
    """Correlation per instruction and voxel, each voxel at its own best layer on training folds.

    Returns
    -------
    scores : DataArray of dims (instruction, voxel), from low to high level
    """
    scores = study.open_scores(settings, subject, model)
    scores = scores.isel(space=scores.component.values == study.main_component(model))
    ids = [row.id for row in settings.instruction_rows()]
    rows = []
    for instruction in ids:
        part = scores.isel(space=scores.instruction.values == instruction)
        everywhere = np.ones(part.sizes["voxel"], bool)
        values = (part.r.values, part.cv_score.values, part.depth.values, everywhere)
        rows.append(alignment.choose_layer(*values, "best-voxel")[0])
    return xr.DataArray(np.stack(rows), dims=("instruction", "voxel"), coords={"instruction": ids})


def normalised_instruction_scores(settings: Settings, subject: int, model: str) -> xr.DataArray:
    """:func:`instruction_scores` divided by the ceiling; voxels below the threshold are NaN."""
    scores = instruction_scores(settings, subject, model)
    ceiling = study.open_voxels(settings, subject).noise_ceiling.values
    values = scoring.normalised_alignment(scores.values, ceiling, settings.stats.min_ceiling)
    return scores.copy(data=values)


def winner_maps(settings: Settings, model: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Best instruction and margin on the vertices, per subject and for the mean over subjects.

    Returns
    -------
    maps : dict of title -> (best int (n_vertices,), margin float (n_vertices,))
    """
    maps, stack = {}, []
    for subject in settings.subjects:
        surface_map = study.surface_map(settings, subject)
        values = normalised_instruction_scores(settings, subject, model).values
        stack.append(to_vertices(values.T, surface_map).T)
        maps[f"subject {subject}"] = similarity.winner_take_all(stack[-1])
    counted = np.isfinite(stack).sum(0)
    mean = np.where(counted > 0, np.nansum(stack, 0) / np.maximum(counted, 1), np.nan)
    return maps | {f"group ({len(stack)} subjects)": similarity.winner_take_all(mean)}


def winner_tables(settings: Settings, models) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Distribution of winners per region, and agreement of the models' maps; one row per subject."""
    ids = [row.id for row in settings.instruction_rows()]
    shares, agreements = [], []
    for subject in settings.subjects:
        masks = study.open_voxels(settings, subject).roi_mask
        winners = {}
        for model in models:
            winners[model], _ = similarity.winner_take_all(
                normalised_instruction_scores(settings, subject, model).values
            )
            labels = {"subject": subject, "model": model}
            shares.append(
                similarity.winner_distribution(winners[model], ids, masks.values, masks.roi.values, **labels)
            )
        if len(models) > 1:
            table = similarity.agreement_table(winners, len(ids), seed=settings.stats.seed)
            agreements.append(table.assign(subject=subject))
    agreement = pd.concat(agreements, ignore_index=True) if agreements else pd.DataFrame()
    return pd.concat(shares, ignore_index=True), agreement


def best_layer_map(settings: Settings, subject: int, model: str, component: str) -> np.ndarray:
    """Relative depth of the best layer on the vertices, by cross-validation, mean over instructions."""
    scores = study.open_scores(settings, subject, model)
    scores = scores.isel(space=scores.component.values == component)
    depths = np.unique(scores.depth.values)
    mean = np.stack([scores.cv_score.values[scores.depth.values == d].mean(0) for d in depths])
    ceiling = scores.noise_ceiling.values
    shown = scoring.reachable(ceiling, settings.stats.min_ceiling) & np.isfinite(mean).all(0)
    best = np.where(shown, depths[np.nan_to_num(mean, nan=-np.inf).argmax(0)], np.nan)
    return to_vertices(best, study.surface_map(settings, subject))


def layer_table(settings: Settings, models, rois) -> pd.DataFrame:
    """Ceiling-normalised alignment of every layer, mean over instructions, per subject and over all."""
    tables = []
    for subject, model, scores in study.all_scores(settings, models):
        table = alignment.layer_table(
            scores, scores.noise_ceiling.values, settings.stats.min_ceiling, subject=subject, model=model
        )
        tables.append(table[table.roi.isin(rois)])
    keys = ["model", "component", "layer", "depth", "roi"]
    each = pd.concat(tables).rename(columns={"mean": "value"})
    each = each.groupby([*keys, "subject"], sort=False).value.mean().reset_index()
    everyone = each.groupby(keys, sort=False).value.mean().reset_index().assign(subject="all")
    return pd.concat([each, everyone], ignore_index=True)


def concept_table(settings: Settings, models, objects: pd.DataFrame, rois, setting=None) -> pd.DataFrame:
    """Alignment within groups of test images, per subject, model, instruction and region.

    Parameters
    ----------
    objects : DataFrame as :func:`brainalign_utils.coco.read_objects` returns it
    setting : Series of "indoor"/"outdoor" by nsd_id, optional
    """
    tables = []
    for subject in settings.subjects:
        responses = study.open_responses(settings, subject)
        target = encoding.targets(responses)[1]
        groups = concepts.concept_groups(objects, responses.test_nsd_id.values, setting)
        weights = scoring.roi_weights(
            responses.roi_mask.sel(roi=list(rois)).values,
            responses.noise_ceiling.values,
            settings.stats.min_ceiling,
        )
        for model in models:
            for instruction, predicted in best_predictions(settings, subject, model, "nsdgeneral").items():
                tables.append(
                    concepts.concept_alignment(
                        target, predicted, groups, weights, list(rois), n_random=0,
                        subject=subject, model=model, instruction=instruction,
                    )
                )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def best_predictions(settings: Settings, subject: int, model: str, roi: str) -> dict[str, np.ndarray]:
    """Stored predictions per instruction, at the layer that is best for a region on training folds."""
    scores = study.open_scores(settings, subject, model)
    scores = scores.isel(space=scores.component.values == study.main_component(model))
    best = alignment.best_layers(scores)
    stored = study.open_predictions(settings, subject, model)
    keys = list(zip(stored.instruction.values, stored.layer.values, strict=True))
    return {
        row.instruction: stored.prediction.values[keys.index((row.instruction, row.layer))].astype(np.float32)
        for row in best[best.roi == roi].itertuples()
    }


def cross_subject_ceiling(settings: Settings, subject: int, progress_bar: bool = True) -> xr.Dataset:
    """Accuracy with which the other subjects predict this one, plain and extrapolated.

    Returns
    -------
    ceiling : Dataset over ``voxel``
        ``ceiling`` (all other subjects together) and the variables of
        :func:`brainalign_utils.cross_subject.extrapolated_ceiling`.
        Published scores bring it along.
    """
    if settings.scores_only:
        return store.open_dataset(settings.paths.cross_subject(subject))
    tests = {}
    for other in settings.subjects:
        responses = study.open_responses(settings, other)
        tests[other] = (responses.test_nsd_id.values, encoding.targets(responses)[1])
    _, shared = cross_subject.shared_responses(tests)
    alphas = settings.alphas()
    solve = encoding.SOLVERS[settings.encoding.solver]
    scores = cross_subject.cross_subject_scores(
        shared,
        subject,
        lambda X, Y, X_test: solve(X, Y, X_test, alphas, settings.encoding).predictions,
        progress_bar=progress_bar,
    )
    result = xr.Dataset({"ceiling": ("voxel", cross_subject.plain_ceiling(scores))})
    if len(settings.subjects) > 2:
        result = result.merge(cross_subject.extrapolated_ceiling(scores, seed=settings.stats.seed))
    return result
