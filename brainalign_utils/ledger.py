"""What the claims page needs from a whole study: alignment under every choice that needs no new fit."""

import pandas as pd

from . import alignment, multiverse, study
from .config import Settings

THRESHOLDS = (0.05, 0.2)


def authors_regions(voxels) -> tuple[dict, dict]:
    """Labels inside nsdgeneral, and the number of voxels with label 1 outside it, per ROI volume."""
    volumes = [v for v in alignment.AUTHORS_VOLUMES if f"label_{v}" in voxels.coords]
    inside = {v: voxels[f"label_{v}"].values for v in volumes}
    return inside, {v: int(voxels.n_first_label_outside.sel(volume=v)) for v in volumes}


def multiverse_table(settings: Settings, models) -> pd.DataFrame:
    """Alignment of models under each layer choice, ceiling, threshold and convention."""
    tables = []
    for subject, model, scores in study.all_scores(settings, models):
        scores = scores.isel(space=scores.component.values == study.main_component(model))
        names = ["ncsnr", None]
        if settings.paths.cross_subject(subject).exists():
            names.insert(1, "cross-subject")
        ceilings = {n or "none": study.ceiling_of(settings, subject, scores, n) for n in names}
        authors = authors_regions(study.open_voxels(settings, subject))
        tables.append(
            multiverse.alignment_grid(
                scores, ceilings, min_ceilings=THRESHOLDS, authors=authors, subject=subject, model=model
            )
        )
    return pd.concat(tables, ignore_index=True)


def tension(settings: Settings, left, right, roi: str = "prf-visual") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Left models minus right ones in a region under every choice, and which choices change the answer.

    Returns
    -------
    contrasts : DataFrame
        value, low, high, verdict, and one column of text per choice.
    flips : DataFrame of :func:`brainalign_utils.multiverse.flips`
    """
    left, right = ([m for m in side if m in settings.models] for side in (left, right))
    table = multiverse_table(settings, [*left, *right])
    contrasts = multiverse.contrast_table(table, left, right, roi)
    changes = multiverse.flips(contrasts)
    factors = [f for f in multiverse.FACTORS if f in contrasts]
    shown = contrasts.rename(columns={"estimate": "value"})[["value", "low", "high", "verdict", *factors]]
    text = {f: shown[f].map(lambda v: "any" if pd.isna(v) else str(v)) for f in factors}
    return shown.assign(**text), changes
