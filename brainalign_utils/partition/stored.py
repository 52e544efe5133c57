"""Stored variance partitions of a study as tidy tables."""

import numpy as np
import pandas as pd

from .. import store
from ..config import Settings
from ..stats import subject_interval

PARTS = ("unique_a", "unique_b", "shared")


def _stored(settings: Settings, models):
    for subject in settings.subjects:
        for model in models:
            yield subject, model, store.open_dataset(settings.paths.partition(subject, model))


def pair_table(settings: Settings, models, rois, measure: str = "normalised") -> pd.DataFrame:
    """Parts of every pair of instructions per subject, model and region.

    Returns
    -------
    table : DataFrame
        subject, model, roi, instruction_a, instruction_b, unique_a, unique_b, shared, shared_fraction
        (of the sum of the parts; NaN where that is not positive).
    """
    tables = []
    for subject, model, parts in _stored(settings, models):
        for roi in [r for r in rois if r in parts.roi.values]:
            values = parts.sel(roi=roi, measure=measure, bound="mean")
            table = pd.DataFrame({part: values[f"region_{part}"].values for part in PARTS})
            names = {f"instruction_{x}": parts[f"instruction_{x}"].values for x in "ab"}
            tables.append(table.assign(subject=subject, model=model, roi=roi, **names))
    table = pd.concat(tables, ignore_index=True)
    total = table[list(PARTS)].sum(axis=1)
    return table.assign(shared_fraction=(table.shared / total).where(total > 0))


def unique_table(settings: Settings, models, rois, measure: str = "normalised") -> pd.DataFrame:
    """What each instruction explains beyond all others, per subject and over all subjects and models.

    Returns
    -------
    table : DataFrame
        panel (region), instruction, subject (number, or "all"), value; low and high (smallest and largest
        subject) for "all".
    """
    rows = []
    for subject, model, parts in _stored(settings, models):
        for roi in [r for r in rois if r in parts.roi.values]:
            values = parts.region_unique_vs_all.sel(roi=roi, measure=measure, bound="mean")
            rows.append(
                pd.DataFrame({"instruction": parts.instruction.values, "value": values.values}).assign(
                    panel=roi, subject=subject, model=model
                )
            )
    keys = ["panel", "instruction"]
    each = pd.concat(rows).groupby([*keys, "subject"], sort=False).value.mean().reset_index()
    everyone = each.groupby(keys, sort=False).value.agg(value="mean", low="min", high="max").reset_index()
    return pd.concat([each, everyone.assign(subject="all")], ignore_index=True)


def early_higher_table(
    pairs: pd.DataFrame, reference: str, early="prf-visual", higher="higher"
) -> pd.DataFrame:
    """Shared fraction of a reference instruction with each other one, in early and in higher areas.

    Returns
    -------
    table : DataFrame
        panel (the other instruction), roi, subject (number, or "all"), value; low and high (95 %, t across
        subjects) for "all".
    """
    own = pairs[(pairs.instruction_a == reference) | (pairs.instruction_b == reference)]
    other = np.where(own.instruction_a == reference, own.instruction_b, own.instruction_a)
    own = own.assign(panel=other)
    own = own[own.roi.isin([early, higher])].sort_values("roi", key=lambda c: c.map({early: 0, higher: 1}))
    each = (
        own.groupby(["panel", "roi", "subject"], sort=False).shared_fraction.mean().reset_index(name="value")
    )
    groups = each.groupby(["panel", "roi"], sort=False).value
    bounds = [subject_interval(values) for _, values in groups]
    everyone = groups.mean().reset_index().assign(subject="all")
    everyone[["low", "high"]] = np.reshape(bounds, (-1, 2))
    return pd.concat([each, everyone], ignore_index=True)
