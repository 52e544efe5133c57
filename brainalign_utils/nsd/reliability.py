"""How reliable a voxel is: noise estimate, ncsnr and the noise ceiling.

The recipe is that of Allen et al. (2022), "A massive 7T fMRI dataset to bridge cognitive
neuroscience and artificial intelligence", Nature Neuroscience 25, methods, "noise ceiling".
"""

import numpy as np

from .design import RepeatMoments


class ReliabilityError(ValueError):
    """Not enough repeats for an estimate; the message says how many there are."""


def estimate_ncsnr(repeats) -> np.ndarray:
    """Signal sd over noise sd of single trials, from session-z-scored responses.

    ``noise_sd = sqrt(mean over stimuli of the variance over repeats)`` and, because a
    z-scored response has variance 1, ``ncsnr = sqrt(max(0, 1 - noise_sd**2)) / noise_sd``.

    Parameters
    ----------
    repeats : array of shape (n_repeats, n_stimuli, n_voxels)
        Z-scored.  Per voxel, stimuli with a missing repeat (NaN) are left out.

    Returns
    -------
    ncsnr : array of shape (n_voxels,), float32
        NaN where no stimulus has all repeats.

    Raises
    ------
    ReliabilityError
        If there are fewer than two repeats.
    """
    repeats = np.asarray(repeats)
    if repeats.ndim != 3 or len(repeats) < 2:
        raise ReliabilityError(
            f"repeats has shape {repeats.shape}; give (n_repeats, n_stimuli, n_voxels), at least 2 repeats"
        )
    variance = repeats.var(axis=0, ddof=1, dtype=np.float64)
    complete = np.isfinite(variance)
    total = np.where(complete, variance, 0).sum(axis=0)
    return _ncsnr(_divide(total, complete.sum(axis=0)))


def ncsnr_from_moments(moments: RepeatMoments, min_repeats: int = 3, block: int = 1024):
    """As :func:`estimate_ncsnr`, from running moments instead of single trials.

    Parameters
    ----------
    moments : design.RepeatMoments
        With ``squares=True``, of session-z-scored responses.
    min_repeats : int
        Stimuli with fewer trials are left out; NSD's recipe is 3.  Variances of stimuli with
        different numbers of trials are pooled by their degrees of freedom.
    block : int
        Voxels at a time; bounds the memory, does not change the result.

    Returns
    -------
    ncsnr : array of shape (n_voxels,), float32

    Raises
    ------
    ReliabilityError
        If no stimulus has ``min_repeats`` trials, or squares were not accumulated.
    """
    if moments.sum_of_squares is None:
        raise ReliabilityError("moments were accumulated with squares=False; ncsnr needs squares=True")
    most = int(moments.count.max(initial=0))
    if most < max(min_repeats, 2):
        raise ReliabilityError(
            f"ncsnr needs stimuli with at least {max(min_repeats, 2)} trials; the most any has is {most}. "
            "Use more sessions, or the ncsnr file of the full experiment"
        )
    ncsnr = np.empty(moments.count.shape[1], np.float32)
    for start in range(0, len(ncsnr), block):
        part = slice(start, start + block)
        count = moments.count[:, part].astype(np.int32)
        used = count >= max(min_repeats, 2)
        total = np.where(used, moments.sum_of_squares[:, part], 0).sum(axis=0, dtype=np.float64)
        ncsnr[part] = _ncsnr(_divide(total, np.where(used, count - 1, 0).sum(axis=0)))
    return ncsnr


def mean_inverse_repeats(n_repeats) -> np.ndarray:
    """What stands for 1/n in the noise ceiling when stimuli differ in their number of trials.

    ``(A/3 + B/2 + C) / (A + B + C)`` for A, B and C stimuli of 3, 2 and 1 trials.

    Parameters
    ----------
    n_repeats : int array of shape (n_stimuli,) or (n_stimuli, n_voxels)
        Trials averaged in each response that is scored; stimuli with 0 are left out.

    Returns
    -------
    inverse : scalar or array of shape (n_voxels,)
        NaN without any trial.
    """
    n = np.asarray(n_repeats)
    return _divide(np.where(n > 0, 1 / np.maximum(n, 1), 0.0).sum(axis=0), (n > 0).sum(axis=0))


def noise_ceiling(ncsnr, n_repeats) -> np.ndarray:
    """Largest R2 that any model can reach; the square root is the ceiling of Pearson's r.

    ``ncsnr**2 / (ncsnr**2 + 1/n)``

    Parameters
    ----------
    ncsnr : array of shape (n_voxels,)
    n_repeats : int, or array of shape (n_stimuli,) or (n_stimuli, n_voxels)
        Trials averaged in the responses that are scored.

    Returns
    -------
    ceiling : array of shape (n_voxels,), float32
        Fraction of variance, 0 to 1; NaN where ``ncsnr`` is.
    """
    power = np.square(np.asarray(ncsnr, np.float64))
    inverse = mean_inverse_repeats(np.atleast_1d(n_repeats))
    with np.errstate(divide="ignore"):  # ncsnr 0 gives 0, infinite ncsnr gives 1
        return (1 / (1 + inverse / power)).astype(np.float32)


def _ncsnr(noise_variance) -> np.ndarray:
    signal_variance = np.maximum(0, 1 - noise_variance)
    with np.errstate(divide="ignore"):  # no noise at all: infinite ncsnr, ceiling 1
        return np.sqrt(signal_variance / noise_variance).astype(np.float32)


def _divide(total, number):
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
