"""The artifacts of a whole study as tidy tables: what every results notebook starts from."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import xarray as xr

from .. import store
from ..encoding import fitting as encoding
from ..features.store import read_features
from ..models import MODEL_BY_ID
from ..settings import Settings
from ..stats import scoring
from . import alignment, intervals

N_FSAVERAGE5 = 10_242
"""Vertices of a hemisphere."""

ANALYSES = ("default", "no session z-score", "authors")
"""Of :func:`open_variants`: the study's own; betas not z-scored within sessions; and, besides, test features
z-scored by themselves."""


def open_scores(settings: Settings, subject: int, model: str) -> xr.Dataset:
    """Scores of one subject and model; dims (space, voxel).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> scores = open_scores(settings, 1, "instructblip")
    >>> sorted(scores.data_vars), scores.r.dims
    (['best_alpha', 'cv_score', 'r', 'r2'], ('space', 'voxel'))
    """
    return store.open_kept(settings.paths.scores(subject, model))


def open_responses(settings: Settings, subject: int) -> xr.Dataset:
    """Responses of one subject, as :func:`brainalign_utils.nsd.load_responses` made them.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> responses = open_responses(settings, 1)
    >>> responses.train.dims, responses.test.dims
    (('train_stimulus', 'voxel'), ('repeat', 'test_stimulus', 'voxel'))
    """
    if settings.scores_only:
        raise store.StoreError(
            f"study {settings.name!r} has published scores, no responses; run it on the dataset: make paper"
        )
    return store.open_dataset(settings.paths.responses(subject))


def open_voxels(settings: Settings, subject: int) -> xr.Dataset:
    """Regions, ceilings and places of one subject's voxels (:func:`brainalign_utils.nsd.describe_voxels`).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> voxels = open_voxels(settings, 1)
    >>> voxels.noise_ceiling.dims, voxels.roi_mask.dims
    (('voxel',), ('roi', 'voxel'))
    """
    return store.open_kept(settings.paths.voxels(subject))


def test_image_ids(settings: Settings) -> np.ndarray:
    """nsd_id of every test image that some subject saw, sorted; subjects with fewer sessions saw fewer."""
    return np.unique(
        np.concatenate([open_responses(settings, s).test_nsd_id.values for s in settings.subjects])
    )


def surface_map(settings: Settings, subject: int) -> dict[str, np.ndarray]:
    """Voxel under each vertex of the maps, or -1; dict of "lh", "rh" -> int array of shape (n_vertices,).

    Where maps are drawn on fsaverage5, its vertices are the first ones of fsaverage: meshes of FreeSurfer's
    average subjects are subdivisions of each other that keep the vertices of the coarser one in front.
    """
    voxels = open_voxels(settings, subject)
    if settings.scores_only:
        n_vertices = store.open_kept(settings.paths.root / "cortex.zarr").attrs["n_left"]
    else:
        n_vertices = None if settings.paths.fsaverage else N_FSAVERAGE5
    return {hemi: voxels[f"vertex_voxel_{hemi}"].values[:n_vertices] for hemi in ("lh", "rh")}


def open_predictions(settings: Settings, subject: int, model: str) -> xr.Dataset:
    """Predictions of the test responses by the chosen layers; dims (space, test_stimulus, voxel)."""
    return store.open_dataset(settings.paths.predictions(subject, model))


def open_variants(settings: Settings, subject: int, model: str) -> Iterator[tuple[str, str, xr.Dataset]]:
    """(pooling, analysis, scores) of one subject and model, as :mod:`variants` fitted them.

    A model without instructions has the same scores under every pooling.
    """
    scores = store.open_kept(settings.paths.variants(subject, model))
    for pooling in dict.fromkeys([settings.features.pooling, *settings.multiverse.poolings]):
        made = pooling if pooling in scores.pooling.values else settings.features.pooling
        for analysis in ANALYSES:
            yield pooling, analysis, scores.sel(pooling=made, analysis=analysis)


def feature_reader(settings: Settings, model: str) -> Callable[[pd.Series, np.ndarray], np.ndarray]:
    """Reader of one model's features: (row of the table of spaces, nsd_ids) -> (n_stimuli, n_features).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> read = feature_reader(settings, "vit-h")
    >>> space = feature_spaces(settings.paths.features("vit-h")).iloc[0]
    >>> read(space, open_responses(settings, 1).test_nsd_id.values[:5]).shape[0]
    5
    """
    folder = settings.paths.features(model)
    return lambda space, ids: read_features(folder, space.component, space.instruction, int(space.layer), ids)


def best_common_layer(settings: Settings, subject: int, model: str) -> tuple[str, int]:
    """Component and layer with the best cross-validated score, mean over voxels and instructions."""
    component = main_component(model)
    scores = open_scores(settings, subject, model)
    scores = scores.isel(space=scores.component.values == component)
    return component, _best_layer(scores, slice(None))


def _best_layer(scores: xr.Dataset, voxels) -> int:
    """Layer with the best cross-validated score, mean over some voxels and all instructions."""
    mean = pd.Series(np.nanmean(scores.cv_score.values[:, voxels], axis=1))
    return int(mean.groupby(scores.layer.values).mean().idxmax())


def partition_layers(settings: Settings, subject: int, model: str, rois) -> tuple[str, pd.Series, list[int]]:
    """Where the variance of a model's instructions is partitioned, by ``partition.layers``.

    Parameters
    ----------
    rois : dict of str to bool array of shape (n_voxels,)

    Returns
    -------
    component : str
    layer_of_roi : Series of int, indexed by region
        Best on training folds: over all voxels ("common", "all") or over the region's ("roi").
    layers : list of int
        Layers to fit.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> masks = {"all": np.ones(open_voxels(settings, 1).sizes["voxel"], bool)}
    >>> component, layer_of_roi, layers = partition_layers(settings, 1, "instructblip", masks)
    >>> component, list(layer_of_roi.index)
    ('language', ['all'])
    """
    component, common = best_common_layer(settings, subject, model)
    layer_of_roi = pd.Series(common, index=list(rois), name="layer")
    scores = open_scores(settings, subject, model)
    scores = scores.isel(space=scores.component.values == component)
    if settings.partition.layers == "all":
        return component, layer_of_roi, sorted(set(scores.layer.values))
    if settings.partition.layers == "roi":
        for name, mask in rois.items():
            if np.isfinite(scores.cv_score.values[:, mask]).any():  # without scores, the common layer
                layer_of_roi[name] = _best_layer(scores, mask)
    return component, layer_of_roi, sorted({common, *layer_of_roi})


def instruction_features(
    settings: Settings, subject: int, model: str, component: str, layer: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Standardised features of every instruction at one layer.

    Returns
    -------
    features : dict instruction -> (train (n_train, n_features), test (n_test, n_features))

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> features = instruction_features(settings, 1, "instructblip", "language", 1)
    >>> list(features), features["IC"][0].shape[1] == features["IC"][1].shape[1]
    (['IU1', 'IU2', 'CR', 'IC'], True)
    """
    responses = open_responses(settings, subject)
    n_train = responses.sizes["train_stimulus"]
    ids = np.concatenate([responses.train_nsd_id.values, responses.test_nsd_id.values])
    features = {}
    for row in settings.instruction_rows():
        X = read_features(settings.paths.features(model), component, row.id, layer, ids)
        features[row.id] = encoding.standardise(X[:n_train], X[n_train:])
    return features


def all_scores(settings: Settings, models=None) -> Iterator[tuple[int, str, xr.Dataset]]:
    """(subject, model, scores) for every pair of the study."""
    for subject in settings.subjects:
        for model in models or settings.models:
            yield subject, model, open_scores(settings, subject, model)


def main_component(model: str) -> str:
    """Component that stands for the model in comparisons: the last, which gives the answer.

    Examples
    --------
    >>> main_component("instructblip"), main_component("vit-h")
    ('language', 'vision')
    """
    return MODEL_BY_ID[model].components[-1][0]


def ceiling_of(settings: Settings, subject: int, scores: xr.Dataset, name: str | None):
    """Ceiling of every voxel and its kind for :func:`scoring.normalised_alignment`.

    Parameters
    ----------
    name : {"ncsnr", "cross-subject", None}
        The noise ceiling of the data; the accuracy with which other subjects predict; or none (raw scores).

    Returns
    -------
    ceiling : array of shape (n_voxels,) or None
    kind : {"variance", "correlation"}
    """
    if name is None:
        return None, "variance"
    if name == "ncsnr":
        return scores.noise_ceiling.values, "variance"
    if name == "cross-subject":
        stored = store.open_kept(settings.paths.cross_subject(subject))
        return stored.ceiling.values, "correlation"
    raise ValueError(f"unknown ceiling {name!r}; choose 'ncsnr', 'cross-subject' or None")


def alignment_table(
    settings: Settings,
    ceiling: str | None = "ncsnr",
    layer_choice: str = "best",
    main_only: bool = True,
    models=None,
) -> pd.DataFrame:
    """Mean alignment per subject, model, component, instruction and region.

    Columns are those of :func:`.alignment.alignment_table` with subject, model, title, role
    and ceiling_name in front.

    Parameters
    ----------
    main_only : bool
        Keep only the component that stands for the model.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = alignment_table(settings, models=["vit-h", "instructblip"])
    >>> means = table.groupby(["model", "roi"])["mean"].mean().unstack()
    >>> means.shape[0], "prf-visual" in means
    (2, True)
    """
    tables = []
    for subject, model, scores in all_scores(settings, models):
        values, kind = ceiling_of(settings, subject, scores, ceiling)
        if main_only:
            scores = scores.isel(space=scores.component.values == main_component(model))
        row = MODEL_BY_ID[model]
        tables.append(
            alignment.alignment_table(
                scores,
                values,
                layer_choice,
                settings.stats.min_ceiling,
                kind,
                subject=subject,
                model=model,
                title=row.title,
                role=row.role,
                ceiling_name=ceiling or "none",
            )
        )
    return pd.concat(tables, ignore_index=True)


def comparison_table(settings: Settings, models=None, reference: str = "vit-h") -> pd.DataFrame:
    """Figure 2 as a table: models x regions, per subject and over all of them.

    Values are ceiling-normalised, averaged over instructions, at the layer that is best for the region on
    training folds.

    Returns
    -------
    table : DataFrame
        model, roi, subject (number, or "all"), value; for "all" also low, high, ceiling (1 by construction),
        null_low, null_high (range over subjects and shuffles), difference, p, q and mark: ``+`` or ``-``
        where the model is above or below the reference at q < alpha.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = comparison_table(settings)
    >>> reference = table[(table.subject == "all") & (table.model == "vit-h")]
    >>> bool(reference.p.isna().all())  # the reference is not tested against itself
    True
    """
    models = list(models or settings.models)
    paths, stats = settings.paths, settings.stats
    samples = {
        model: [store.open_dataset(paths.samples(s, model)).alignment for s in settings.subjects]
        for model in models
    }
    each = [
        {"model": model, "roi": roi, "subject": subject, "value": float(mean.sel(roi=roi))}
        for model, arrays in samples.items()
        for subject, array in zip(settings.subjects, arrays, strict=True)
        for mean in [array.isel(sample=0).mean("instruction")]
        for roi in array.roi.values
    ]
    together = intervals.compare_with_reference(samples, reference).assign(subject="all", ceiling=1.0)
    together = together.merge(_null_range(settings, models), on=["model", "roi"], how="left")
    sign = np.where(together.difference > 0, "+", "-")
    together["mark"] = np.where(together.q < stats.alpha, sign, "")
    return pd.concat([pd.DataFrame(each), together], ignore_index=True)


def _null_range(settings, models):
    """Lowest and highest region mean of regressions on shuffled rows, over subjects and shuffles."""
    rows = []
    for model in models:
        for subject in settings.subjects:
            null = store.open_dataset(settings.paths.nulls(subject, model))
            weights = scoring.roi_weights(
                null.roi_mask.values, null.noise_ceiling.values, settings.stats.min_ceiling
            )
            defined = null.r.values[np.isfinite(null.r.values).any(1)]
            for shuffle in np.nan_to_num(defined) @ weights:
                rows += [
                    {"model": model, "roi": roi, "value": value}
                    for roi, value in zip(null.roi.values, shuffle, strict=True)
                ]
    grouped = pd.DataFrame(rows).groupby(["model", "roi"]).value
    return grouped.agg(null_low="min", null_high="max").reset_index()
