"""The artifacts of a whole study as tidy tables: what every results notebook starts from."""

from collections.abc import Iterator

import pandas as pd
import xarray as xr

from . import alignment, store
from .config import Settings
from .model_table import MODEL_BY_ID


def open_scores(settings: Settings, subject: int, model: str) -> xr.Dataset:
    """Scores of one subject and model; dims (space, voxel)."""
    return store.open_dataset(settings.paths.scores(subject, model))


def open_responses(settings: Settings, subject: int) -> xr.Dataset:
    """Responses of one subject, as :func:`brainalign_utils.nsd.load_responses` made them."""
    return store.open_dataset(settings.paths.responses(subject))


def open_predictions(settings: Settings, subject: int, model: str) -> xr.Dataset:
    """Predictions of the test responses by the chosen layers; dims (space, test_stimulus, voxel)."""
    return store.open_dataset(settings.paths.predictions(subject, model))


def all_scores(settings: Settings, models=None) -> Iterator[tuple[int, str, xr.Dataset]]:
    """(subject, model, scores) for every pair of the study."""
    for subject in settings.subjects:
        for model in models or settings.models:
            yield subject, model, open_scores(settings, subject, model)


def main_component(model: str) -> str:
    """Component that stands for the model in comparisons: the last, which gives the answer."""
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
        stored = store.open_dataset(settings.paths.cross_subject(subject))
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

    Columns are those of :func:`brainalign_utils.alignment.alignment_table` with subject, model, title, role
    and ceiling_name in front.

    Parameters
    ----------
    main_only : bool
        Keep only the component that stands for the model.
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
