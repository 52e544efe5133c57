"""How reliable a voxel is: noise estimate, ncsnr and the noise ceiling.

The recipe is that of Allen et al. (2022), "A massive 7T fMRI dataset to bridge cognitive
neuroscience and artificial intelligence", Nature Neuroscience 25, methods, "noise ceiling".
"""

import numpy as np

from .. import BrainalignError
from .design import RepeatMoments


class ReliabilityError(BrainalignError):
    """Not enough repeats for an estimate; the message says how many there are."""


def estimate_ncsnr(repeats) -> np.ndarray:
    """Signal sd over noise sd of single trials, in any unit.

    ``noise_var = mean over stimuli of the variance over repeats`` and
    ``ncsnr = sqrt(max(0, total_var - noise_var) / noise_var)``, where ``total_var`` is the variance of all
    trials.  Responses that were z-scored within sessions, as NSD's are, have a total variance of 1, which
    gives the formula of Allen et al. (2022).  The general form is the one that the same authors give for
    responses that were not (GLMsingle, example 9; Prince et al., 2022, eLife 11, e77599); there, differences
    between sessions count as noise.

    Parameters
    ----------
    repeats : array of shape (n_repeats, n_stimuli, n_voxels)
        Per voxel, stimuli with a missing repeat (NaN) are left out.

    Returns
    -------
    ncsnr : array of shape (n_voxels,), float32
        NaN where no stimulus has all repeats.

    Raises
    ------
    ReliabilityError
        If there are fewer than two repeats.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal, noise = rng.normal(size=(2000, 1)), rng.normal(size=(3, 2000, 1))
    >>> estimate_ncsnr(300 * (0.5 * signal + noise)).round(2)
    array([0.49], dtype=float32)
    """
    repeats = np.asarray(repeats)
    if repeats.ndim != 3 or len(repeats) < 2:
        raise ReliabilityError(
            f"repeats has shape {repeats.shape}; give (n_repeats, n_stimuli, n_voxels), at least 2 repeats"
        )
    variance = repeats.var(axis=0, ddof=1, dtype=np.float64)
    complete = np.isfinite(variance)
    noise_variance = _divide(np.where(complete, variance, 0).sum(axis=0), complete.sum(axis=0))
    n_trials = len(repeats) * complete.sum(axis=0)
    mean = _divide(np.where(complete, repeats, 0).sum(axis=(0, 1), dtype=np.float64), n_trials)
    squares = np.where(complete, np.square(repeats - mean), 0).sum(axis=(0, 1), dtype=np.float64)
    return _ncsnr(noise_variance, _divide(squares, n_trials - 1))


def ncsnr_from_moments(moments: RepeatMoments, min_repeats: int = 3, block: int = 1024):
    """NSD's ncsnr of z-scored responses, from running moments instead of single trials.

    ``sqrt(max(0, 1 - noise_var) / noise_var)``, as in :func:`estimate_ncsnr` with a total variance of 1.

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

    Examples
    --------
    >>> mean_inverse_repeats([3, 3, 2, 1]).round(3)
    np.float64(0.542)
    """
    n = np.asarray(n_repeats)
    return _divide(np.where(n > 0, 1 / np.maximum(n, 1), 0.0).sum(axis=0), (n > 0).sum(axis=0))


def noise_ceiling(ncsnr, n_repeats) -> np.ndarray:
    """Largest R2 that any model can reach; the square root is the ceiling of Pearson's r.

    ``ncsnr**2 / (ncsnr**2 + 1/n)`` (Allen et al., 2022)

    Parameters
    ----------
    ncsnr : array of shape (n_voxels,)
    n_repeats : int, or array of shape (n_stimuli,) or (n_stimuli, n_voxels)
        Trials averaged in the responses that are scored.

    Returns
    -------
    ceiling : array of shape (n_voxels,), float32
        Fraction of variance, 0 to 1; NaN where ``ncsnr`` is.

    Examples
    --------
    >>> noise_ceiling([0.5, 1], 3)  # of the mean of three trials
    array([0.42857143, 0.75      ], dtype=float32)
    >>> noise_ceiling([0.5], [3, 3, 2, 1])  # of four stimuli, one of which has two trials, one a single one
    array([0.31578946], dtype=float32)
    """
    power = np.square(np.asarray(ncsnr, np.float64))
    inverse = mean_inverse_repeats(np.atleast_1d(n_repeats))
    with np.errstate(divide="ignore"):  # ncsnr 0 gives 0, infinite ncsnr gives 1
        return (1 / (1 + inverse / power)).astype(np.float32)


def _ncsnr(noise_variance, total_variance=1.0) -> np.ndarray:
    signal_variance = np.maximum(0, total_variance - noise_variance)
    with np.errstate(divide="ignore"):  # no noise at all: infinite ncsnr, ceiling 1
        return np.sqrt(signal_variance / noise_variance).astype(np.float32)


def _divide(total, number):
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
