"""Artifacts of a study as the tables that single figures show."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ..encoding import fitting as encoding
from ..settings import Settings
from ..stats import cross_subject, scoring, similarity
from . import alignment, concepts, study

CONCEPTS_CLAIMED = ("count", "recognition")
"""Groups of images that a claim of the paper is about; they are compared with random groups."""


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
    """:func:`instruction_scores` divided by the ceiling; voxels below the threshold are NaN.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> scores = normalised_instruction_scores(settings, 1, "instructblip")
    >>> scores.instruction.values.tolist()
    ['IU1', 'IU2', 'CR', 'IC']
    """
    scores = instruction_scores(settings, subject, model)
    ceiling = study.open_voxels(settings, subject).noise_ceiling.values
    values = scoring.normalised_alignment(scores.values, ceiling, settings.stats.min_ceiling)
    return scores.copy(data=values)


def winner_tables(
    settings: Settings, scores: Mapping[str, Mapping[int, xr.DataArray]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Distribution of winners per region, and agreement of the models' maps; one row per subject.

    Parameters
    ----------
    scores : mapping of model to subject to DataArray of :func:`normalised_instruction_scores`

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> each = {s: normalised_instruction_scores(settings, s, "instructblip") for s in (1, 4)}
    >>> scores = {"instructblip": each}
    >>> table, agreement = winner_tables(settings, scores)
    >>> of_region = table[(table.subject == 1) & (table.roi == "nsdgeneral")]
    >>> bool(abs(of_region.share.sum() - 1) < 1e-9), agreement.empty  # agreement needs two models
    (True, True)
    """
    ids = [row.id for row in settings.instruction_rows()]
    shares, agreements = [], []
    for subject in settings.subjects:
        masks = study.open_voxels(settings, subject).roi_mask
        winners = {}
        for model, each in scores.items():
            winners[model], _ = similarity.winner_take_all(each[subject].values)
            labels = {"subject": subject, "model": model}
            shares.append(
                similarity.winner_distribution(winners[model], ids, masks.values, masks.roi.values, **labels)
            )
        if len(winners) > 1:
            table = similarity.agreement_table(winners, len(ids), seed=settings.stats.seed)
            agreements.append(table.assign(subject=subject))
    agreement = pd.concat(agreements, ignore_index=True) if agreements else pd.DataFrame()
    return pd.concat(shares, ignore_index=True), agreement


def layer_table(settings: Settings, models, rois) -> pd.DataFrame:
    """Ceiling-normalised alignment of every layer, mean over instructions, per subject and over all.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = layer_table(settings, ["vit-h"], ["prf-visual"])
    >>> sorted(map(str, table.subject.unique()))
    ['1', '4', 'all']
    """
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
    objects : DataFrame as :func:`brainalign_utils.nsd.coco.read_objects` returns it
    setting : Series of "indoor"/"outdoor" by nsd_id, optional

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> ids = study.open_responses(settings, 1).test_nsd_id.values
    >>> objects = coco.read_objects(settings.paths.coco, nsd.read_stim_info(settings.paths.nsd), ids)
    >>> table = concept_table(settings, ["vit-h"], objects, ["nsdgeneral"])
    >>> sorted(table.kind.unique())
    ['category', 'count', 'recognition', 'scene']
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
                        target, predicted, groups, weights, list(rois), random_for=CONCEPTS_CLAIMED,
                        subject=subject, model=model, instruction=instruction,
                    )
                )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def best_predictions(settings: Settings, subject: int, model: str, roi: str) -> dict[str, np.ndarray]:
    """Stored predictions per instruction, at the layer that is best for a region on training folds."""
    scores = study.open_scores(settings, subject, model)
    scores = scores.isel(space=scores.component.values == study.main_component(model))
    best = alignment.best_layers(scores.sel(roi=[roi]))
    stored = study.open_predictions(settings, subject, model)
    keys = list(zip(stored.instruction.values, stored.layer.values, strict=True))
    return {
        row.instruction: stored.prediction.values[keys.index((row.instruction, row.layer))].astype(np.float32)
        for row in best.itertuples()
    }


def cross_subject_ceilings(settings: Settings, progress_bar: bool = True) -> dict[int, xr.Dataset]:
    """Accuracy with which the other subjects predict each one, plain and extrapolated.

    Returns
    -------
    ceilings : dict of subject to Dataset over ``voxel``
        ``ceiling`` (all other subjects together) and the variables of
        :func:`brainalign_utils.stats.cross_subject.extrapolated_ceiling`.  NaN in a study of one subject.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> ceilings = cross_subject_ceilings(settings, progress_bar=False)
    >>> {subject: ceiling.ceiling.dims for subject, ceiling in ceilings.items()}
    {1: ('voxel',), 4: ('voxel',)}
    """
    tests = {}
    for subject in settings.subjects:
        responses = study.open_responses(settings, subject)
        tests[subject] = (responses.test_nsd_id.values, encoding.targets(responses)[1])
    _, shared = cross_subject.shared_responses(tests)
    return linked(settings, shared, settings.subjects, progress_bar)


def linked(
    settings: Settings, shared: Mapping[int, np.ndarray], targets, progress_bar=True
) -> dict[int, xr.Dataset]:
    """:func:`cross_subject_ceilings` from responses to the same images in the same order, by subject."""
    if len(shared) == 1:  # nobody else to predict from
        return {t: xr.Dataset({"ceiling": ("voxel", np.full(shared[t].shape[1], np.nan))}) for t in targets}
    alphas = settings.alphas()
    solve = encoding.SOLVERS[settings.encoding.solver]
    found = cross_subject.scores_of_targets(
        shared,
        list(targets),
        lambda X, Y, X_test: solve(X, Y, X_test, alphas, settings.encoding).predictions,
        progress_bar=progress_bar,
    )
    results = {}
    for target, scores in found.items():
        results[target] = xr.Dataset({"ceiling": ("voxel", cross_subject.plain_ceiling(scores))})
        if len(shared) > 2:
            curve = cross_subject.extrapolated_ceiling(scores, seed=settings.stats.seed)
            results[target] = results[target].merge(curve)
    return results
