"""Model against model, instruction against instruction: paired tests over the same test images.

Two engines.  :func:`swap_test` exchanges the two predictions of randomly chosen images: the exact test of
"both predict equally well", per voxel and per region.  :func:`bootstrap_scores` resamples images for any
number of models and regions at once: intervals, all pairs, and the interaction of region and model.
What happens to an image follows from ``seed`` and its id alone: subjects are resampled together on the images
that they share, whatever else each of them saw, and can be averaged.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import scipy.stats
import xarray as xr
from tqdm import tqdm

from .resampling import correlation_from_moments, target_moments
from .scoring import correlation, restrict_weights, zscore
from .tests import N_EXCEEDANCES, StatsError, fdr, permutation_p


def swap_test(
    y_true,
    pred_a,
    pred_b,
    roi_weights=None,
    n_permutations: int = 5000,
    seed: int = 0,
    image_ids=None,
    block_size: int = 128,
    progress_bar: bool = False,
) -> xr.Dataset:
    """Does a predict better than b?  Paired permutation over test images, two-sided.

    Under the null the two (z-scored) predictions of an image are exchangeable.  Each permutation swaps
    them for a random half of the images and recomputes both correlations, norms included.

    Parameters
    ----------
    y_true, pred_a, pred_b : arrays of shape (n_stimuli, n_voxels)
    roi_weights : array of shape (n_voxels, n_rois), optional
        From :func:`scoring.roi_weights`; tests the regions' mean differences under the same swaps.
    n_permutations, seed : int
    image_ids : int array of shape (n_stimuli,), optional
        Decide, with ``seed``, which images are swapped in each permutation; 0, 1, 2, ... by default.
    block_size : int
        Voxels at a time; does not change the result.

    Returns
    -------
    result : Dataset
        Over ``voxel``: ``difference`` (r_a - r_b); ``p``, the share of swaps with a difference as large, and
        where fewer than ten have one the normal tail with the swaps' spread, so that Benjamini-Hochberg is
        not stopped by their number; ``q`` (Benjamini-Hochberg).  With ``roi_weights``
        over ``roi``: ``roi_difference``, ``roi_p``; ``roi_null`` (permutation, roi) is what
        :func:`combine_subjects` averages.

    Raises
    ------
    StatsError
        If the shapes differ.
    """
    shapes = {np.shape(a) for a in (y_true, pred_a, pred_b)}
    if len(shapes) > 1:
        raise StatsError(
            f"y_true, pred_a and pred_b have shapes {sorted(shapes)}; give all on the same images"
        )
    n_stimuli, n_voxels = np.shape(y_true)
    difference = correlation(y_true, pred_a) - correlation(y_true, pred_b)
    ids = np.arange(n_stimuli) if image_ids is None else image_ids
    swaps = _by_image(lambda rng: rng.integers(0, 2, n_permutations), ids, seed).astype(np.float32)
    weights = None if roi_weights is None else restrict_weights(roi_weights, np.isfinite(difference))
    roi_null = None if weights is None else np.zeros((n_permutations, weights.shape[1]))
    p = np.full(n_voxels, np.nan)
    for start in tqdm(range(0, n_voxels, block_size), disable=not progress_bar, desc="swap", unit="block"):
        part = slice(start, start + block_size)
        # a side without variance is 0 here, and so is its null; its p is NaN and its weight 0 below
        sides = [np.nan_to_num(zscore(np.asarray(a)[:, part])) for a in (y_true, pred_a, pred_b)]
        null = _swapped_differences(swaps, *(side.astype(np.float32) for side in sides)).astype(np.float64)
        spread = np.sqrt(np.einsum("pv,pv->v", null, null) / n_permutations)  # swapping is symmetric: mean 0
        if weights is not None:
            roi_null += null @ np.nan_to_num(weights[part])
        # float32 null against float64 score: a slack so that an unchanged pair counts as a tie
        exceed = (np.abs(null, out=null) >= np.abs(difference[part]) - 1e-5).sum(0)
        tail = 2 * scipy.stats.norm.sf(np.abs(difference[part]) / np.where(spread > 0, spread, np.inf))
        counted = (exceed + 1) / (n_permutations + 1)
        p[part] = np.where(exceed >= N_EXCEEDANCES, counted, np.minimum(counted, tail))
    p[~np.isfinite(difference)] = np.nan
    result = xr.Dataset({k: ("voxel", v) for k, v in {"difference": difference, "p": p, "q": fdr(p)}.items()})
    if weights is not None:
        score = np.nan_to_num(difference) @ weights
        result["roi_difference"] = ("roi", score)
        result["roi_p"] = ("roi", permutation_p(score, roi_null, "two-sided"))
        result["roi_null"] = (("permutation", "roi"), roi_null)
    return result


def _by_image(draw, image_ids, seed) -> np.ndarray:
    """What ``draw`` takes from each image's own stream of random numbers, one column an image."""
    return np.stack([draw(np.random.default_rng([seed, image])) for image in image_ids], axis=1)


def _swapped_differences(swaps, y, a, b):
    """Differences of correlation after swapping, (n_permutations, n_voxels): three GEMMs.

    z-scored, both sides start with a mean of 0 and a mean square of 1.  Steps are in place: moving arrays of
    this size through memory takes longer than the arithmetic.
    """
    n = len(y)
    cross_a, cross_b = y * a / n, y * b / n
    moved, mean, square = swaps @ (cross_b - cross_a), swaps @ ((b - a) / n), swaps @ ((b**2 - a**2) / n)
    mean *= mean
    sd_a = np.sqrt(1 + square - mean)
    sd_b = np.sqrt(np.subtract(1 - square, mean, out=square), out=square)
    difference = (cross_a.sum(0) + moved) / sd_a
    difference -= np.divide(np.subtract(cross_b.sum(0), moved, out=moved), sd_b, out=moved)
    return difference


def combine_subjects(results: Sequence[xr.Dataset], rois: Sequence[str]) -> pd.DataFrame:
    """Mean difference across subjects, tested under swaps of the images that all of them saw.

    The subjects' tests are not independent (same images, same swaps), so the null of the mean is the mean
    of the nulls, not Stouffer's sum.  A region that a subject lacks is left out of its mean.

    Parameters
    ----------
    results : sequence of Dataset
        From :func:`swap_test` with ``roi_weights``, the same seed and the ids of the images.
    rois : sequence of str

    Returns
    -------
    table : DataFrame
        roi, n_subjects, difference, p, q (Benjamini-Hochberg over regions).

    Raises
    ------
    StatsError
        If the numbers of permutations differ.
    """
    sizes = {d.sizes["permutation"] for d in results}
    if len(sizes) > 1:
        raise StatsError(f"results have {sorted(sizes)} permutations; run every subject with the same number")
    scores = np.stack([d.roi_difference.values for d in results])
    have = np.isfinite(scores)
    n = have.sum(0)
    with np.errstate(invalid="ignore"):
        mean = np.where(have, scores, 0).sum(0) / n
        null = sum(d.roi_null.values * h for d, h in zip(results, have, strict=True)) / n
    p = permutation_p(mean, null, "two-sided")
    return pd.DataFrame({"roi": list(rois), "n_subjects": n, "difference": mean, "p": p, "q": fdr(p)})


def bootstrap_scores(
    y_true,
    predictions: Mapping[str, np.ndarray],
    roi_weights,
    n_bootstraps: int = 1000,
    seed: int = 0,
    rois: Sequence[str] | None = None,
    rois_of: Mapping[str, Sequence[str]] | None = None,
    image_ids=None,
    block_size: int = 256,
    progress_bar: bool = False,
) -> xr.DataArray:
    """Region means of several models (or instructions) over resampled test images.

    Every image is in a sample a number of times drawn from a Poisson distribution of mean 1 (the Poisson
    bootstrap), for which, unlike for a multinomial one, the other images of a subject do not matter.

    Parameters
    ----------
    y_true : array of shape (n_stimuli, n_voxels)
    predictions : mapping of name to array of shape (n_stimuli, n_voxels)
    roi_weights : array of shape (n_voxels, n_rois)
        From :func:`scoring.roi_weights`, plain or ceiling-normalised.  Voxels without a score in any of
        the models are left out for all of them.
    n_bootstraps, seed : int
    rois : sequence of str, optional
    rois_of : mapping of model to sequence of rois, optional
        Score a model on these alone; all by default.
    image_ids : int array of shape (n_stimuli,), optional
        Decide, with ``seed``, how often each image is in each sample; 0, 1, 2, ... by default.
    block_size : int
        Voxels at a time; does not change the result.

    Returns
    -------
    scores : DataArray of dims (sample, model, roi)
        Sample 0 is the observed score (all images once), the others are resampled; NaN for absent regions
        and those that were not asked for.
        Means over subjects of these arrays are valid samples for the group when images are shared.
    """
    n_stimuli, n_voxels = np.shape(y_true)
    ids = np.arange(n_stimuli) if image_ids is None else image_ids
    counts = _by_image(lambda rng: rng.poisson(1, n_bootstraps), ids, seed)
    counts = np.vstack([np.ones(n_stimuli, int), counts])
    weights = np.asarray(roi_weights, float)
    rois = list(range(weights.shape[1])) if rois is None else list(rois)
    scores = np.zeros((len(counts), len(predictions), weights.shape[1]))
    wanted = np.array([[not rois_of or roi in rois_of[name] for roi in rois] for name in predictions])
    wanted &= np.isfinite(weights).all(0)
    weights = np.nan_to_num(weights)
    for start in tqdm(
        range(0, n_voxels, block_size), disable=not progress_bar, desc="bootstrap", unit="block"
    ):
        part = slice(start, start + block_size)
        z_true = zscore(np.asarray(y_true)[:, part]).astype(np.float32)
        share, mean, variance = target_moments(counts, z_true)
        for m, pred in enumerate(predictions.values()):
            # most layers are the best of a small region only
            used = np.flatnonzero(weights[part, wanted[m]].any(1))
            z_pred = zscore(np.asarray(pred)[:, part][:, used]).astype(np.float32)
            moments = share, mean[:, used], variance[:, used]
            r = np.nan_to_num(correlation_from_moments(moments, z_true[:, used], z_pred))
            scores[:, m, wanted[m]] += r @ weights[part, wanted[m]][used]
    scores[:, ~wanted] = np.nan
    coords = {"model": list(predictions), "roi": rois}
    return xr.DataArray(scores, dims=("sample", "model", "roi"), coords=coords)


def mean_over_subjects(samples: Sequence[xr.DataArray]) -> xr.DataArray:
    """Average bootstrap samples of several subjects; a region that a subject lacks is left out."""
    return xr.concat(samples, dim="subject").mean("subject", skipna=True)


def contrast_test(samples: xr.DataArray, contrast, level: float = 0.95) -> dict:
    """Test of any linear contrast of models and regions.

    Parameters
    ----------
    samples : DataArray of dims (sample, model, roi)
        From :func:`bootstrap_scores`.
    contrast : array of shape (n_models, n_rois)

    Returns
    -------
    test : dict
        ``estimate``; ``low``, ``high`` (percentile interval); ``se``; ``p`` (two-sided, normal with the
        bootstrap standard error, so it is not bounded by the number of samples).
    """
    used = np.asarray(contrast, float)
    theta = np.where(used != 0, samples.values * used, 0).sum((1, 2))
    observed, boots = theta[0], theta[1:]
    se = boots.std(ddof=1)
    low, high = np.quantile(boots, [(1 - level) / 2, (1 + level) / 2]) if np.isfinite(se) else (np.nan,) * 2
    p = 2 * scipy.stats.norm.sf(abs(observed) / se) if se > 0 else (1.0 if observed == 0 else np.nan)
    return {"estimate": observed, "low": low, "high": high, "se": se, "p": p}


def compare_pairs(samples: xr.DataArray, pairs=None) -> pd.DataFrame:
    """Every pair of models (or instructions) in every region.

    Parameters
    ----------
    samples : DataArray of dims (sample, model, roi)
    pairs : sequence of (str, str), optional
        All pairs by default.

    Returns
    -------
    table : DataFrame
        a, b, roi, estimate (a - b), low, high, se, p, q (Benjamini-Hochberg over the table).
    """
    names, rois, rows = list(samples.model.values), list(samples.roi.values), []
    for a, b in pairs or combinations(names, 2):
        for i, roi in enumerate(rois):
            contrast = np.zeros((len(names), len(rois)))
            contrast[names.index(a), i], contrast[names.index(b), i] = 1, -1
            rows.append({"a": a, "b": b, "roi": roi, **contrast_test(samples, contrast)})
    table = pd.DataFrame(rows)
    return table.assign(q=fdr(table.p))


def interaction_test(samples: xr.DataArray, models: Sequence[str], rois: Sequence[str]) -> dict:
    """Does the difference between models depend on the region?  (Asked for by the paper's reviewers.)

    Wald test of all double differences ``(model - first model) x (roi - first roi)`` with the bootstrap
    covariance over test images; with two models and two regions also the signed contrast.

    Parameters
    ----------
    samples : DataArray of dims (sample, model, roi)
    models, rois : sequences of str, at least two each

    Returns
    -------
    test : dict
        ``statistic``, ``df``, ``p`` (F with the number of samples, Hotelling); for a 2 x 2 table also
        ``estimate``, ``low``, ``high`` of (m0 - m1 in r0) - (m0 - m1 in r1).

    Raises
    ------
    StatsError
        If fewer than two models or regions are given, or one is absent.
    """
    if len(models) < 2 or len(rois) < 2:
        raise StatsError(f"an interaction needs 2 models and 2 rois; given {list(models)} and {list(rois)}")
    table = samples.sel(model=list(models), roi=list(rois)).values
    if not np.isfinite(table[0]).all():
        missing = [r for r, bad in zip(rois, ~np.isfinite(table[0]).all(0), strict=True) if bad]
        raise StatsError(f"rois {missing} have no score; leave absent regions out of the interaction")
    double = (table - table[:, :1])[:, 1:]
    double = (double - double[:, :, :1])[:, :, 1:].reshape(len(table), -1)
    df, n = double.shape[1], len(table) - 1
    covariance = np.atleast_2d(np.cov(double[1:], rowvar=False))
    statistic = float(double[0] @ np.linalg.pinv(covariance) @ double[0])
    p = float(scipy.stats.f.sf(statistic * (n - df) / (df * (n - 1)), df, n - df))
    result = {"statistic": statistic, "df": df, "p": p}
    if df == 1:
        contrast = np.outer([1, -1], [1, -1])
        signed = contrast_test(samples.sel(model=list(models), roi=list(rois)), contrast)
        result |= {k: signed[k] for k in ("estimate", "low", "high")}
    return result
