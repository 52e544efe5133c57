"""Scores per voxel, their normalisation by a ceiling, and means over regions.

One score a voxel, never averaged inside.  The one rule for undefined values: NaN.  A voxel whose
responses or predictions do not vary has no score, and a voxel whose ceiling is unknown or below the
threshold has no normalised score; means leave such voxels out and tables say how many they were.
"""

import numpy as np
import pandas as pd

CEILING_KINDS = ("variance", "correlation")


class ScoringError(ValueError):
    """Arrays that cannot be scored together; the message shows both values and the remedy."""


def correlation(y_true, y_pred) -> np.ndarray:
    """Pearson correlation of each voxel over stimuli.

    Parameters
    ----------
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)

    Returns
    -------
    r : array of shape (n_voxels,), float64
        NaN where either side has zero variance or holds a NaN.

    Raises
    ------
    ScoringError
        If the shapes differ or there are fewer than two stimuli.
    """
    y_true, y_pred = paired_arrays(y_true, y_pred)
    a, b = y_true - y_true.mean(0), y_pred - y_pred.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.where(_varies(y_true) & _varies(y_pred), np.clip(r, -1, 1), np.nan)


def r2(y_true, y_pred) -> np.ndarray:
    """Fraction of variance explained: ``1 - sum((y - p)**2) / sum((y - mean(y))**2)``.

    Parameters
    ----------
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)

    Returns
    -------
    r2 : array of shape (n_voxels,), float64
        At most 1; negative where the mean predicts better; NaN where ``y_true`` has zero variance.

    Raises
    ------
    ScoringError
        If the shapes differ or there are fewer than two stimuli.
    """
    y_true, y_pred = paired_arrays(y_true, y_pred)
    error = ((y_true - y_pred) ** 2).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = 1.0 - error / ((y_true - y_true.mean(0)) ** 2).sum(0)
    return np.where(_varies(y_true), score, np.nan)


def zscore(values) -> np.ndarray:
    """Z-score each voxel over stimuli; a voxel of zero variance becomes NaN.

    Parameters
    ----------
    values : array of shape (n_stimuli, n_voxels)

    Returns
    -------
    z : array of the same shape, float64
    """
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (values - values.mean(0)) / values.std(0)
    return np.where(_varies(values), z, np.nan)


def correlation_ceiling(ceiling, kind: str = "variance") -> np.ndarray:
    """Highest correlation that any model can reach.

    Parameters
    ----------
    ceiling : array of shape (n_voxels,)
    kind : {"variance", "correlation"}
        A noise ceiling is a fraction of variance, so its square root bounds r (NaN below 0).
        Cross-subject prediction accuracy already is a correlation.
    """
    if kind not in CEILING_KINDS:
        raise ScoringError(f"ceiling kind is {kind!r}; choose one of {', '.join(CEILING_KINDS)}")
    ceiling = np.asarray(ceiling, dtype=np.float64)
    if kind == "correlation":
        return ceiling
    with np.errstate(invalid="ignore"):
        return np.sqrt(ceiling)


def reachable(ceiling, min_ceiling: float = 0.05) -> np.ndarray:
    """Voxels with something to explain: ceiling known and at least ``min_ceiling``.

    Parameters
    ----------
    ceiling : array of shape (n_voxels,)
        In its own unit: the threshold applies to a noise ceiling as a fraction of variance, and to
        cross-subject accuracy as a correlation.
    """
    return np.nan_to_num(np.asarray(ceiling, float), nan=-np.inf) >= max(min_ceiling, np.finfo(float).tiny)


def normalised_alignment(r, ceiling, min_ceiling: float = 0.05, kind: str = "variance") -> np.ndarray:
    """Correlation as a fraction of the highest correlation that can be reached.

    Parameters
    ----------
    r : array of shape (..., n_voxels)
    ceiling : array of shape (n_voxels,)
    min_ceiling : float
        Voxels below it are NaN; see :func:`reachable`.
    kind : {"variance", "correlation"}
        Unit of ``ceiling``, see :func:`correlation_ceiling`.

    Returns
    -------
    alignment : array of shape (..., n_voxels), float64
        Not clipped: an estimate may exceed 1.
    """
    r, ceiling = np.asarray(r, np.float64), np.asarray(ceiling, np.float64)
    if r.shape[-1:] != ceiling.shape:
        raise ScoringError(
            f"r has {r.shape[-1]} voxels and ceiling has shape {ceiling.shape}; give both on the same voxels"
        )
    divisor = np.where(reachable(ceiling, min_ceiling), correlation_ceiling(ceiling, kind), np.nan)
    return r / divisor


def dropped_share(ceiling, min_ceiling: float = 0.05, mask=None) -> float:
    """Share of voxels (of ``mask``) that the ceiling threshold leaves out."""
    keep = reachable(ceiling, min_ceiling)
    keep = keep if mask is None else keep[np.asarray(mask, bool)]
    return float(1 - keep.mean()) if keep.size else np.nan


def roi_means(values, roi_mask, rois, **labels) -> pd.DataFrame:
    """Mean over the voxels of each region, as a tidy table.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        NaN voxels are left out and counted.
    roi_mask : bool array of shape (n_rois, n_voxels)
    rois : sequence of str, length n_rois
    **labels
        Constant columns put in front, for instance ``subject=1, model="vit-h"``.

    Returns
    -------
    table : DataFrame
        One row a region: labels, roi, n_voxels (in the region), n_dropped (of them without a value),
        share_dropped, mean, sem (over voxels), absent (the subject has no such region).
    """
    values, roi_mask, rois = np.asarray(values, float), np.asarray(roi_mask, bool), list(rois)
    if roi_mask.shape != (len(rois), values.size):
        raise ScoringError(
            f"roi_mask has shape {roi_mask.shape}; expected ({len(rois)}, {values.size}) for "
            f"{len(rois)} rois and {values.size} voxels"
        )
    return pd.DataFrame({**labels, "roi": rois, **roi_summary(values, roi_mask)})


def roi_summary(values, roi_mask) -> dict[str, np.ndarray]:
    """Columns of :func:`roi_means` for any number of maps at once.

    Parameters
    ----------
    values : array of shape (..., n_voxels)
    roi_mask : bool array of shape (n_rois, n_voxels)

    Returns
    -------
    summary : dict of arrays of shape (..., n_rois)
    """
    values, member = np.asarray(values, np.float64), np.asarray(roi_mask, bool).T.astype(np.float64)
    known = np.isfinite(values)
    filled, n_kept = np.where(known, values, 0), known @ member
    n_voxels = np.broadcast_to(member.sum(0).astype(int), n_kept.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled @ member / n_kept
        variance = np.maximum(filled**2 @ member / n_kept - mean**2, 0) * n_kept / (n_kept - 1)
        sem = np.sqrt(variance / n_kept)
        share = (n_voxels - n_kept) / n_voxels
    return {
        "n_voxels": n_voxels,
        "n_dropped": n_voxels - n_kept.astype(int),
        "share_dropped": np.where(n_voxels > 0, share, np.nan),
        "mean": np.where(n_kept > 0, mean, np.nan),
        "sem": np.where(n_kept > 1, sem, np.nan),
        "absent": n_voxels == 0,
    }


def roi_weights(roi_mask, ceiling=None, min_ceiling: float = 0.05, kind: str = "variance"):
    """Weights that turn voxel correlations into region means: ``r @ weights``.

    A mean of normalised alignment is linear in r, so tests and bootstraps of it are one GEMM more.

    Parameters
    ----------
    roi_mask : bool array of shape (n_rois, n_voxels)
    ceiling : array of shape (n_voxels,), optional
        None gives plain means.
    min_ceiling, kind
        As for :func:`normalised_alignment`.

    Returns
    -------
    weights : array of shape (n_voxels, n_rois), float64
        NaN columns where a region has no voxel left.
    """
    roi_mask = np.asarray(roi_mask, bool)
    scale = np.ones(roi_mask.shape[1])
    if ceiling is not None:
        scale = normalised_alignment(scale, ceiling, min_ceiling, kind)
    keep = roi_mask & np.isfinite(scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.where(keep, scale, 0) / keep.sum(1, keepdims=True)).T


def restrict_weights(weights, valid) -> np.ndarray:
    """Weights of :func:`roi_weights` without voxels that turned out to have no score.

    Parameters
    ----------
    weights : array of shape (n_voxels, n_rois)
    valid : bool array of shape (n_voxels,)

    Returns
    -------
    weights : array of shape (n_voxels, n_rois)
        Rescaled, so that the product with r is still a mean; NaN columns where no voxel is left.
    """
    weights = np.asarray(weights, np.float64)
    kept = np.where(np.asarray(valid, bool)[:, None], weights, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return kept * ((weights != 0).sum(0) / (kept != 0).sum(0))


def _varies(values) -> np.ndarray:
    return np.ptp(values, axis=0) > 0 if len(values) else np.zeros(values.shape[1:], bool)


def paired_arrays(y_true, y_pred) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as float64 arrays of shape (n_stimuli, n_voxels), refused where they do not match."""
    y_true, y_pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    if y_true.shape != y_pred.shape or y_true.ndim != 2:
        raise ScoringError(
            f"y_true has shape {y_true.shape} and y_pred {y_pred.shape}; give both as (n_stimuli, n_voxels)"
        )
    if len(y_true) < 2:
        raise ScoringError(f"y_true has {len(y_true)} stimuli; a score needs at least 2")
    return y_true, y_pred
