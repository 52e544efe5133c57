"""Voxel by voxel: is it predicted at all, and better by one model or instruction than by another?"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ..encoding import fitting as encoding
from ..settings import Settings
from ..stats import paired, scoring, similarity
from ..stats import tests as stats
from ..tables import NO_INSTRUCTION
from ..titles import titled
from . import figure_tables as results
from . import study


def caption_prediction(settings: Settings, predictions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Prediction for captions, or the only one of a model without instructions."""
    return predictions.get(settings.caption_id(), predictions.get(NO_INSTRUCTION))


def model_table(settings: Settings, models, reference: str, rois) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tests of every model, and of every model against a reference, on the same test images.

    Each voxel is tested by permutation of test images within its subject, with Benjamini-Hochberg over the
    voxels; regions by the mean over subjects under the same permutations.

    Returns
    -------
    shares : DataFrame
        subject, model, roi, predicted (share of the region's voxels with q < alpha), above, below (share
        that the model predicts better, or worse, than the reference does at q < alpha; NaN for itself).
    regions : DataFrame
        model, roi, n_subjects, difference (raw r, model minus reference), p, q.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> proportions, regions = model_table(settings, ["vit-h", "instructblip"], "vit-h", ["prf-visual"])
    >>> list(regions.model)
    ['instructblip']
    """
    shares, nulls = [], {}
    for subject in settings.subjects:
        y, weights, masks, ids = _subject(settings, subject, rois)
        known = {m: results.best_predictions(settings, subject, m, "nsdgeneral") for m in models}
        captions = {m: caption_prediction(settings, each) for m, each in known.items()}
        for model, predicted in captions.items():
            single = stats.permutation_test(
                y, predicted, settings.stats.n_permutations, seed=settings.stats.seed
            )
            found = {"predicted": single.q.values < settings.stats.alpha}
            if model != reference:
                test = _swap(settings, y, predicted, captions[reference], weights, ids)
                nulls.setdefault(model, []).append(test)
                found |= _sides(test, settings.stats.alpha)
            tags = {"subject": subject, "model": model}
            shares.append(_shares(found, masks, rois, np.isfinite(single.r.values), tags))
    return pd.concat(shares, ignore_index=True), _combined(nulls, "model", rois)


def instruction_table(settings: Settings, model: str, rois) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every other instruction against captioning, for one model; columns as in :func:`model_table`.

    Returns
    -------
    shares, regions : DataFrame
        With ``instruction`` in place of model; ``above`` is where it predicts better than captioning does.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> proportions, regions = instruction_table(settings, "instructblip", ["prf-visual"])
    >>> list(regions.instruction)
    ['IU1', 'IU2', 'CR']
    """
    caption, shares, nulls = settings.caption_id(), [], {}
    for subject in settings.subjects:
        y, weights, masks, ids = _subject(settings, subject, rois)
        predictions = results.best_predictions(settings, subject, model, "nsdgeneral")
        for instruction, predicted in _others(settings, predictions):
            test = _swap(settings, y, predicted, predictions[caption], weights, ids)
            nulls.setdefault(instruction, []).append(test)
            tags = {"subject": subject, "instruction": instruction}
            known = np.isfinite(test.difference.values)
            shares.append(_shares(_sides(test, settings.stats.alpha), masks, rois, known, tags))
    return pd.concat(shares, ignore_index=True), _combined(nulls, "instruction", rois)


def stability_table(settings: Settings, model: str, rois) -> pd.DataFrame:
    """How often the best instruction of a voxel wins again when test images are drawn anew.

    Returns
    -------
    table : DataFrame
        subject, roi, again (mean over voxels of the share of samples that the most frequent winner wins),
        sure (share of voxels where that is .95 or more), chance (one over the number of instructions).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = stability_table(settings, "instructblip", ["nsdgeneral"])
    >>> list(table.chance)
    [0.25, 0.25]
    """
    tables = []
    for subject in settings.subjects:
        y, _, masks, _ = _subject(settings, subject, rois)
        predictions = list(results.best_predictions(settings, subject, model, "nsdgeneral").values())
        wins = similarity.winner_stability(y, predictions, seed=settings.stats.seed).max(0)
        inside = [wins[mask & np.isfinite(wins)] for mask in masks]
        table = pd.DataFrame({"subject": subject, "roi": list(rois)})
        table["again"] = [np.mean(w) if w.size else np.nan for w in inside]
        table["sure"] = [np.mean(w >= 0.95) if w.size else np.nan for w in inside]
        tables.append(table.assign(chance=1 / len(predictions)))
    return pd.concat(tables, ignore_index=True)


def _others(settings: Settings, predictions) -> Iterator[tuple[str, np.ndarray]]:
    """Predictions from low to high level, without captions."""
    for row in settings.instruction_rows():
        if row.id != settings.caption_id() and row.id in predictions:
            yield row.id, predictions[row.id]


def _subject(settings: Settings, subject: int, rois):
    """Test responses, plain weights of regions, their masks, and the ids of the images."""
    responses = study.open_responses(settings, subject)
    masks = responses.roi_mask.sel(roi=list(rois)).values
    y, ids = encoding.targets(responses)[1], responses.test_nsd_id.values
    return y, scoring.roi_weights(masks), masks, ids


def _swap(settings: Settings, y, a, b, weights, ids) -> xr.Dataset:
    return paired.swap_test(y, a, b, weights, settings.stats.n_permutations, settings.stats.seed, ids)


def _sides(test: xr.Dataset, alpha: float) -> dict[str, np.ndarray]:
    sure = test.q.values < alpha
    return {"above": sure & (test.difference.values > 0), "below": sure & (test.difference.values < 0)}


def _shares(found, masks, rois, known, tags) -> pd.DataFrame:
    counts = np.maximum((masks & known).sum(1), 1)
    absent = ~(masks & known).any(1)
    columns = {k: np.where(absent, np.nan, (masks & v).sum(1) / counts) for k, v in found.items()}
    return pd.DataFrame({**tags, "roi": list(rois), **columns})


def _combined(nulls: Mapping[str, list], column: str, rois) -> pd.DataFrame:
    tables = [paired.combine_subjects(n, rois).assign(**{column: name}) for name, n in nulls.items()]
    table = pd.concat(tables, ignore_index=True)[[column, "roi", "n_subjects", "difference", "p"]]
    return table.assign(q=stats.fdr(table.p.to_numpy()))


def compared(shares: pd.DataFrame, regions: pd.DataFrame, column: str, alpha: float) -> pd.DataFrame:
    """Both tables in one for readers: ``share above / share below``, mean over subjects, a row per item.

    A star marks regions whose mean differs from the reference, all subjects together (q < alpha).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> proportions, regions = model_table(settings, ["vit-h", "instructblip"], "vit-h", ["prf-visual"])
    >>> compared(proportions, regions, "model", 0.05).shape
    (1, 1)
    """
    mean = shares.groupby([column, "roi"], sort=False)[["above", "below"]].mean().dropna()
    text = (
        mean.above.map("{:.0%}".format)
        + "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}"
        + mean.below.map("{:.0%}".format)
    )
    sure = regions.set_index([column, "roi"]).q.reindex(text.index) < alpha
    wide = (text + np.where(sure, "\N{NO-BREAK SPACE}*", "")).unstack("roi")
    ids, rois = (list(dict.fromkeys(shares[name])) for name in (column, "roi"))
    return titled(wide.reindex(index=[i for i in ids if i in wide.index], columns=rois))
