"""Set algebra on explained variance: what feature spaces share and what is theirs alone.

All functions take R2 arrays of any equal shape (voxels last) and keep negative parts: they
say that a joint model predicts worse than one of its parts.

A *variance partition* compares separate fits (Lescroart et al. 2015, Front. Comput. Neurosci.
9:135).  A *split score* divides the R2 of one joint fit (:func:`product_measure`).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class PairParts:
    """Parts of the variance that two feature spaces explain."""

    unique_a: np.ndarray
    unique_b: np.ndarray
    shared: np.ndarray


def pair_parts(r2_a, r2_b, r2_ab) -> PairParts:
    """Unique and shared variance of two feature spaces.

    Parameters
    ----------
    r2_a, r2_b : arrays
        R2 of either space alone.
    r2_ab : array
        R2 of both together.

    Returns
    -------
    PairParts
        The three parts sum to ``r2_ab``.
    """
    r2_a, r2_b, r2_ab = _same_shape(r2_a=r2_a, r2_b=r2_b, r2_ab=r2_ab)
    return PairParts(unique_a=r2_ab - r2_b, unique_b=r2_ab - r2_a, shared=r2_a + r2_b - r2_ab)


def unique_leave_one_out(r2_with, r2_without):
    """Variance that only the left-out space explains, given all others."""
    r2_with, r2_without = _same_shape(r2_with=r2_with, r2_without=r2_without)
    return r2_with - r2_without


def triple_parts(r2_singles, r2_pairs, r2_triple) -> dict:
    """The seven regions of a Venn diagram of three feature spaces.

    Parameters
    ----------
    r2_singles : sequence of 3 arrays
        R2 of spaces 0, 1, 2.
    r2_pairs : sequence of 3 arrays
        R2 of spaces (0, 1), (0, 2), (1, 2).
    r2_triple : array

    Returns
    -------
    dict of tuple to array
        Keys (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2); the seven arrays sum to
        ``r2_triple``.
    """
    *arrays, triple = _same_shape(
        **{f"r2_singles[{i}]": a for i, a in enumerate(r2_singles)},
        **{f"r2_pairs[{i}]": a for i, a in enumerate(r2_pairs)},
        r2_triple=r2_triple,
    )
    if len(arrays) != 6:
        raise ValueError(
            f"r2_singles and r2_pairs hold {len(arrays)} arrays but must hold 3 each; give three spaces"
        )
    union = {(i,): arrays[i] for i in range(3)}
    union |= dict(zip(combinations(range(3), 2), arrays[3:], strict=True))
    parts = {}
    for i in range(3):
        others = tuple(k for k in range(3) if k != i)
        parts[(i,)] = triple - union[others]
    for i, j in combinations(range(3), 2):
        (k,) = set(range(3)) - {i, j}
        parts[(i, j)] = triple - union[(k,)] - parts[(i,)] - parts[(j,)]
    parts[(0, 1, 2)] = triple - sum(parts.values())
    return parts


def product_measure(Y, predictions):
    """Split the R2 of one joint fit between its feature spaces (a split score, not a partition).

    Product measure, ``sum_i p_k (2 y - p) / sum (y - mean(y))^2`` with ``p = sum_k p_k``
    (Hoffman 1960, Psychol. Bull. 57:116; St-Yves & Naselaris 2018).

    Parameters
    ----------
    Y : array of shape (n_stimuli, n_voxels)
        Measured responses.
    predictions : array of shape (n_spaces, n_stimuli, n_voxels)
        Predictions from each space of the joint fit.

    Returns
    -------
    array of shape (n_spaces, n_voxels)
        Scores that sum to the R2 of the summed prediction.
    """
    Y, predictions = np.asarray(Y, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if predictions.ndim != 3 or predictions.shape[1:] != Y.shape:
        raise ValueError(
            f"predictions has shape {predictions.shape} but Y has shape {Y.shape}; "
            "stack one (n_stimuli, n_voxels) array per space"
        )
    total = predictions.sum(0)
    variance = ((Y - Y.mean(0)) ** 2).sum(0)
    gain = np.einsum("ksv,sv->kv", predictions, 2 * Y - total)
    # R2 counts from the mean of Y, the products from zero: the difference is shared equally
    gain -= len(Y) * Y.mean(0) ** 2 / len(predictions)
    return np.where(variance > 0, gain / np.where(variance > 0, variance, 1), np.nan)


def normalise(r2, noise_ceiling, min_ceiling=0.05):
    """Share of the explainable variance; NaN where less than ``min_ceiling`` is explainable.

    Parameters
    ----------
    r2 : array of shape (..., n_voxels)
    noise_ceiling : array of shape (n_voxels, )
        Explainable fraction of the variance of the test responses.
    """
    noise_ceiling = np.asarray(noise_ceiling, dtype=np.float64)
    usable = noise_ceiling >= min_ceiling
    return np.where(usable, np.asarray(r2) / np.where(usable, noise_ceiling, 1), np.nan)


def r2_score(Y, predictions):
    """R2 of every voxel, (n_voxels, ); NaN where Y does not vary."""
    Y, predictions = np.asarray(Y, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    error = ((Y - predictions) ** 2).sum(0)
    variance = ((Y - Y.mean(0)) ** 2).sum(0)
    return np.where(variance > 0, 1 - error / np.where(variance > 0, variance, 1), np.nan)


def resample(n_stimuli, n_bootstraps, seed):
    """How often each stimulus is drawn, (n_bootstraps, n_stimuli) float32."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_stimuli, np.full(n_stimuli, 1 / n_stimuli), n_bootstraps).astype(np.float32)


def resampled_precision(Y, counts):
    """One over the sum of squares of the responses in every bootstrap sample, for :func:`r2_resampled`.

    The baseline is the mean of all stimuli in every sample: a mean taken anew from each
    sample would shrink the variance by 1/n_stimuli and bias R2 downwards.

    Parameters
    ----------
    Y : array of shape (n_stimuli, n_voxels)
    counts : array of shape (n_bootstraps, n_stimuli)
        From :func:`resample`.

    Returns
    -------
    float32 array of shape (n_bootstraps, n_voxels), NaN where a sample does not vary
    """
    Y = np.asarray(Y, dtype=np.float32)
    variance = counts @ (Y - Y.mean(0)) ** 2
    return 1 / np.where(variance > 0, variance, np.nan)


def r2_resampled(Y, predictions, counts, precision):
    """R2 of every voxel in every bootstrap sample of the stimuli.

    Parameters
    ----------
    Y, predictions : arrays of shape (n_stimuli, n_voxels)
    counts : array of shape (n_bootstraps, n_stimuli)
    precision : array of shape (n_bootstraps, n_voxels)
        From :func:`resampled_precision`; all models on the same responses share it.

    Returns
    -------
    float32 array of shape (n_bootstraps, n_voxels), NaN where a sample does not vary
    """
    share = counts @ (np.asarray(Y, np.float32) - np.asarray(predictions, np.float32)) ** 2
    share *= precision
    return np.subtract(1, share, out=share)


def interval(samples, level=0.95, axis=0):
    """Percentile interval of bootstrap samples.

    Returns
    -------
    low, high : arrays
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level} but must lie between 0 and 1; 0.95 is usual")
    tail = 50 * (1 - level)
    return tuple(np.nanpercentile(samples, [tail, 100 - tail], axis=axis))


def _same_shape(**arrays):
    arrays = {name: np.asarray(a, dtype=np.float64) for name, a in arrays.items()}
    (first, expected), *others = ((name, a.shape) for name, a in arrays.items())
    for name, shape in others:
        if shape != expected:
            raise ValueError(
                f"{name} has shape {shape} but {first} has shape {expected}; score the same voxels"
            )
    return list(arrays.values())
