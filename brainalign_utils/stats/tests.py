"""Significance over test images: permutation, false discovery rate, combination across subjects.

Images are the unit that is exchanged: shuffled to ask whether a voxel is predicted at all, swapped
between two models (:mod:`brainalign_utils.stats.paired`) to ask which predicts better.  The tests hold the
fitted models fixed; they say what other test images would give, not what other training images would.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.stats
import xarray as xr
from statsmodels.stats.multitest import multipletests
from tqdm import tqdm

from .scoring import correlation, restrict_weights, zscore

N_EXCEEDANCES = 10
"""With fewer shuffles at or above the observed score than this, the tail formula gives p."""


class StatsError(ValueError):
    """A test that cannot be done on these arrays; the message shows both values and the remedy."""


def permutation_test(
    y_true,
    y_pred,
    n_permutations: int = 5000,
    alternative: str = "greater",
    seed: int = 0,
    roi_weights=None,
    block_size: int = 2048,
    progress_bar: bool = False,
) -> xr.Dataset:
    """Is a voxel predicted better than by predictions for shuffled images?

    Parameters
    ----------
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)
        Test responses and predictions.
    n_permutations : int
        At least this many; rounded up to whole batches of ``n_stimuli``.
    alternative : {"greater", "two-sided"}
    seed : int
    roi_weights : array of shape (n_voxels, n_rois), optional
        From :func:`scoring.roi_weights`; adds a test of each region's mean under the same shuffles.
    block_size : int
        Voxels at a time; does not change the result.

    Returns
    -------
    result : Dataset
        Over ``voxel``: ``r``; ``p_permutation`` = (k + 1) / (n + 1) with k shuffles at least as large;
        ``p``, the same where k >= 10 and otherwise from :func:`tail_probability`, so that
        Benjamini-Hochberg over 15,000 voxels is not stopped by the floor 1 / (n + 1); ``q``
        (Benjamini-Hochberg).  With ``roi_weights`` over ``roi``: ``roi_score``, ``roi_p``.
        NaN where the score is undefined.  Attribute ``n_permutations``.

    Notes
    -----
    One batch is every cyclic shift between two independently shuffled orders, so each order is uniform
    over all permutations and a batch costs three Fourier transforms a voxel instead of ``n_stimuli``
    products.  Orders of different batches are independent.
    """
    _check_alternative(alternative)
    r = correlation(y_true, y_pred)
    n_stimuli, n_voxels = np.shape(y_true)
    n_batches = -(-n_permutations // n_stimuli)
    weights = None if roi_weights is None else restrict_weights(roi_weights, np.isfinite(r))
    null_roi = None if weights is None else np.zeros((n_batches * n_stimuli, weights.shape[1]))
    exceed = np.zeros(n_voxels)
    observed = np.abs(r) if alternative == "two-sided" else r
    blocks = range(0, n_voxels, block_size)
    for start in tqdm(blocks, disable=not progress_bar, desc="permutation", unit="block"):
        part = slice(start, start + block_size)
        y, p = (zscore(np.asarray(side)[:, part]).astype(np.float32) for side in (y_true, y_pred))
        for b, null in enumerate(_shuffled_scores(y, p, n_batches, seed)):
            magnitude = np.abs(null) if alternative == "two-sided" else null
            exceed[part] += (magnitude >= observed[part] - 1e-6).sum(0)
            if weights is not None:
                null_roi[b * n_stimuli : (b + 1) * n_stimuli] += np.nan_to_num(null) @ np.nan_to_num(
                    weights[part]
                )
    n_done = n_batches * n_stimuli
    result = _voxel_result(r, exceed, n_done, y_true, y_pred, alternative)
    if weights is not None:
        score = np.nan_to_num(r) @ weights
        result["roi_score"] = ("roi", score)
        result["roi_p"] = ("roi", permutation_p(score, null_roi, alternative))
    return result


def _shuffled_scores(y, p, n_batches: int, seed: int):
    """Yield (n_stimuli, n_voxels) correlations under shuffled orders; the orders depend on seed alone."""
    n, rng = len(y), np.random.default_rng(seed)
    for _ in range(n_batches):
        first, second = rng.permutation(n), rng.permutation(n)
        spectrum = np.conj(scipy.fft.rfft(y[first], axis=0)) * scipy.fft.rfft(p[second], axis=0)
        yield scipy.fft.irfft(spectrum, n, axis=0) / n


def _voxel_result(r, exceed, n_done, y_true, y_pred, alternative) -> xr.Dataset:
    known = np.isfinite(r)
    p_permutation = np.where(known, (exceed + 1) / (n_done + 1), np.nan)
    p = np.where(exceed >= N_EXCEEDANCES, p_permutation, tail_probability(r, y_true, y_pred, alternative))
    data = {"r": r, "p_permutation": p_permutation, "p": p, "q": fdr(p)}
    return xr.Dataset({k: ("voxel", v) for k, v in data.items()}, attrs={"n_permutations": n_done})


def tail_probability(r, y_true, y_pred, alternative: str = "greater") -> np.ndarray:
    """Tail of the permutation distribution of Pearson's r, without permuting.

    Mean 0, variance ``1 / (n - 1)`` and skewness of that distribution are known exactly from the data
    (Pitman 1937, "Significance tests which may be applied to samples from any populations II"); a
    Pearson type III curve with these moments gives the tail, as in Winkler et al. 2016, "Faster
    permutation inference in brain imaging".

    Parameters
    ----------
    r : array of shape (n_voxels,)
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)
    alternative : {"greater", "two-sided"}

    Returns
    -------
    p : array of shape (n_voxels,)
        NaN where ``r`` is.
    """
    _check_alternative(alternative)
    r, n = np.asarray(r, float), len(y_true)
    skewness = np.nan_to_num(permutation_skewness(y_true, y_pred))
    z = r * np.sqrt(n - 1)
    with np.errstate(invalid="ignore"):
        if alternative == "greater":
            p = scipy.stats.pearson3.sf(z, skewness)
        else:
            z = np.abs(z)
            p = scipy.stats.pearson3.sf(z, skewness) + scipy.stats.pearson3.sf(z, -skewness)
    return np.where(np.isfinite(r), np.clip(p, np.finfo(float).tiny, 1), np.nan)


def permutation_skewness(y_true, y_pred) -> np.ndarray:
    """Skewness of Pearson's r over all orders of the images, per voxel; exact (Pitman 1937).

    Parameters
    ----------
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)
    """
    n = len(y_true)
    g_true, g_pred = (scipy.stats.skew(zscore(side), bias=False) for side in (y_true, y_pred))
    return (n - 2) / (n * np.sqrt(n - 1)) * g_true * g_pred


def permutation_p(observed, null, alternative: str = "greater") -> np.ndarray:
    """``(k + 1) / (n + 1)`` with k null values at least as large as the observed one.

    Parameters
    ----------
    observed : array of shape (n_tests,)
    null : array of shape (n_permutations, n_tests)
    alternative : {"greater", "two-sided"}
    """
    _check_alternative(alternative)
    observed, null = np.asarray(observed, float), np.asarray(null, float)
    if alternative == "two-sided":
        observed, null = np.abs(observed), np.abs(null)
    slack = 1e-12 + 1e-9 * np.abs(observed)
    p = ((null >= observed - slack).sum(0) + 1) / (len(null) + 1)
    return np.where(np.isfinite(observed), p, np.nan)


def fdr(p) -> np.ndarray:
    """Benjamini-Hochberg q values over all defined entries; NaN stays NaN and does not count.

    Parameters
    ----------
    p : array of any shape

    Returns
    -------
    q : array of the same shape; reject where ``q <= alpha``.
    """
    p = np.asarray(p, float)
    q, known = np.full(p.shape, np.nan), np.isfinite(p)
    if known.any():
        q[known] = multipletests(p[known], method="fdr_bh")[1]
    return q


def combine_p(p, method: str = "stouffer") -> float:
    """Combine one-sided p of independent subjects (scipy's ``combine_pvalues``); NaN are left out.

    Only for subjects whose tests share no images.  NSD's test images are the same for all subjects:
    there, average the scores under the same shuffles instead (:func:`paired.combine_subjects`).

    Parameters
    ----------
    p : array of shape (n_subjects,)
    method : {"stouffer", "fisher", ...}
    """
    p = np.asarray(p, float)
    p = p[np.isfinite(p)]
    return float(scipy.stats.combine_pvalues(p, method=method).pvalue) if p.size else np.nan


@dataclass(frozen=True)
class SubjectTest:
    """Wilcoxon signed-rank test across subjects.

    Attributes
    ----------
    p : float
        Two-sided, exact.
    smallest_p : float
        The least that this number of subjects can reach, whatever the effect: ``2 / 2**n``.
    n_subjects : int
    n_positive : int
        Subjects in which the difference is above 0.
    """

    p: float
    smallest_p: float
    n_subjects: int
    n_positive: int

    @property
    def can_reach(self) -> bool:
        """Whether p < .05 is possible at all with so few subjects."""
        return self.smallest_p < 0.05


def wilcoxon_subjects(differences) -> SubjectTest:
    """Wilcoxon signed-rank across subjects, with the smallest p it can reach (four subjects: .125).

    Parameters
    ----------
    differences : array of shape (n_subjects,)
        One difference a subject; NaN (region absent) are left out.

    Raises
    ------
    StatsError
        If no subject is left.
    """
    d = np.asarray(differences, float)
    d = d[np.isfinite(d)]
    if not d.size:
        raise StatsError("differences holds no defined value; at least one subject needs the region")
    p = float(scipy.stats.wilcoxon(d, method="exact").pvalue) if np.any(d) else 1.0
    return SubjectTest(p, 2.0 / 2**d.size, d.size, int((d > 0).sum()))


def subject_interval(values, level: float = 0.95) -> tuple[float, float]:
    """Student t interval of the mean across subjects (wide with four); NaN with fewer than two."""
    v = np.asarray(values, float)
    v = v[np.isfinite(v)]
    if v.size < 2:
        return np.nan, np.nan
    half = scipy.stats.t.ppf(0.5 + level / 2, v.size - 1) * v.std(ddof=1) / np.sqrt(v.size)
    return float(v.mean() - half), float(v.mean() + half)


def _check_alternative(alternative: str) -> None:
    if alternative not in ("greater", "two-sided"):
        raise StatsError(f"alternative is {alternative!r}; choose 'greater' or 'two-sided'")
