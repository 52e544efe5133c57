"""One question under many analyses: which choices change the answer.

An analysis is a row of choices (layer choice, pooling, ceiling, session z-score, convention, ...).  Tables of
alignment that carry the choices as columns go in; a contrast of models per analysis comes out, and from it
how often each choice alone turns the verdict.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
import xarray as xr

from ..stats.tests import subject_interval
from .alignment import AUTHORS_VOLUMES, LAYER_CHOICES, alignment_table, authors_table

LEFT, RIGHT, UNDECIDED = "left above", "right above", "undecided"
FACTORS = (
    "layer_choice",
    "pooling",
    "ceiling_name",
    "min_ceiling",
    "session_zscore",
    "convention",
    "component",
)
"""Columns that count as choices where a table has them."""


class MultiverseError(ValueError):
    """Choices that leave nothing to compare; the message shows what was given."""


def alignment_grid(
    scores: xr.Dataset,
    ceilings: Mapping[str, tuple],
    layer_choices: Sequence[str] = LAYER_CHOICES,
    min_ceilings: Sequence[float] = (0.05,),
    authors: tuple[Mapping, Mapping] | None = None,
    **labels,
) -> pd.DataFrame:
    """Alignment of one subject and model under every combination of choices that needs no new fit.

    Parameters
    ----------
    scores : Dataset
        As for :func:`alignment.alignment_table`.
    ceilings : mapping of name to (array of shape (n_voxels,) or None, kind)
        For instance ``{"ncsnr": (nc, "variance"), "none": (None, "variance")}``.
    layer_choices : sequence of str
    min_ceilings : sequence of float
        Raw scores have no threshold, so they appear once.
    authors : (volumes, n_outside), optional
        As for :func:`alignment.authors_table`; adds the authors' convention.
    **labels
        Constant columns: subject, model, and the choices that were made before (``pooling``,
        ``session_zscore``).

    Returns
    -------
    table : DataFrame
        Columns of :func:`alignment.alignment_table`, ceiling_name and min_ceiling.
    """
    tables = []
    for choice, (name, (ceiling, kind)) in product(layer_choices, ceilings.items()):
        for threshold in min_ceilings if ceiling is not None else (np.nan,):
            least = 0.0 if ceiling is None else threshold
            table = alignment_table(scores, ceiling, choice, least, kind, **labels)
            tables.append(table.assign(ceiling_name=name, min_ceiling=threshold))
    if authors is not None:
        table = authors_table(scores, *authors, **labels)
        tables.append(table.assign(ceiling_name="none", min_ceiling=np.nan))
    return pd.concat(tables, ignore_index=True)


def contrast_table(
    table: pd.DataFrame,
    left: Sequence[str],
    right: Sequence[str],
    roi: str,
    factors: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Left minus right in one region, under every analysis in the table.

    Models of a side are averaged, and so are instructions; differences are taken within subjects.  Where
    ``component`` is no factor the table must hold one component a model.

    Parameters
    ----------
    table : DataFrame
        Alignment with subject, model, roi, instruction, mean and the factors.  The authors' regions
        (``prf-visualrois==1``) stand for the group they are meant to be.
    left, right : sequences of str
        Models.
    roi : str
    factors : sequence of str, optional
        All of :data:`FACTORS` that the table has and in which it varies, but ``component``.
    level : float

    Returns
    -------
    contrasts : DataFrame
        factors, left, right, roi, n_subjects, estimate, se, low, high (t across subjects), verdict ("left
        above" or "right above" where the interval excludes 0, else "undecided"), sign.

    Raises
    ------
    MultiverseError
        If no analysis has both sides.
    """
    region = table.roi.map(lambda name: AUTHORS_VOLUMES.get(str(name).removesuffix("==1"), name))
    table = table[(region == roi) & table.model.isin([*left, *right])]
    if factors is None:
        factors = [f for f in FACTORS if f in table and f != "component" and _levels(table, f) > 1]
    rows = []
    groups = table.groupby(list(factors), sort=False, dropna=False) if factors else [((), table)]
    for key, part in groups:
        sides = [_side(part, models) for models in (left, right)]
        difference = (sides[0] - sides[1]).dropna()
        if len(difference):
            key = key if isinstance(key, tuple) else (key,)
            rows.append(dict(zip(factors, key, strict=True)) | _contrast(difference, left, right, roi, level))
    if not rows:
        raise MultiverseError(
            f"no analysis has {'+'.join(left)} and {'+'.join(right)} in roi {roi!r}; "
            f"models in the table: {', '.join(map(str, table.model.unique())) or 'none'}"
        )
    return pd.DataFrame(rows)


def _side(part, models) -> pd.Series:
    """Mean over instructions, then over models, a subject; empty unless all models are there."""
    means = part[part.model.isin(models)].groupby(["subject", "model"])["mean"].mean().unstack()
    return means.mean(axis=1, skipna=False) if set(models) <= set(means) else pd.Series(dtype=float)


def _contrast(difference, left, right, roi, level) -> dict:
    estimate, (low, high) = float(difference.mean()), subject_interval(difference, level)
    verdict = LEFT if low > 0 else RIGHT if high < 0 else UNDECIDED
    names = {"left": "+".join(left), "right": "+".join(right), "roi": roi, "n_subjects": len(difference)}
    return names | {
        "estimate": estimate, "se": difference.std() / np.sqrt(len(difference)), "low": low, "high": high,
        "verdict": verdict, "sign": int(np.sign(estimate)),
    }  # fmt: skip


def flips(contrasts: pd.DataFrame, factors: Sequence[str] | None = None) -> pd.DataFrame:
    """Which choices change the answer.

    Parameters
    ----------
    contrasts : DataFrame
        From :func:`contrast_table`.
    factors : sequence of str, optional
        All of :data:`FACTORS` that the table has.

    Returns
    -------
    table : DataFrame
        factor, n_levels, n_pairs (pairs of analyses that differ in this choice alone), verdict_changes and
        sign_changes (share of those pairs), mean_shift (mean absolute change of the estimate).
    """
    factors = [f for f in FACTORS if f in contrasts] if factors is None else list(factors)
    rows = []
    for factor in factors:
        others = [f for f in factors if f != factor] + [c for c in ("left", "right", "roi") if c in contrasts]
        pairs = [p for _, g in contrasts.groupby(others, dropna=False) for p in _pairs(g, factor)]
        row = {"factor": factor, "n_levels": _levels(contrasts, factor), "n_pairs": len(pairs)}
        changes = {
            "verdict_changes": [a.verdict != b.verdict for a, b in pairs],
            "sign_changes": [a.sign != b.sign for a, b in pairs],
            "mean_shift": [abs(a.estimate - b.estimate) for a, b in pairs],
        }
        rows.append(row | {name: np.mean(v) if v else np.nan for name, v in changes.items()})
    return pd.DataFrame(rows)


def _pairs(group, factor):
    rows = list(group.itertuples())
    return [(a, b) for a, b in combinations(rows, 2) if getattr(a, factor) != getattr(b, factor)]


def _levels(table, factor) -> int:
    return table[factor].nunique(dropna=False)
