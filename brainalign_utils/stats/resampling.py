"""Correlations over resampled or grouped stimuli, all samples at once by matrix products."""

import numpy as np

from .scoring import paired_arrays, zscore


def weighted_correlation(weights, y_true, y_pred, dtype=np.float32) -> np.ndarray:
    """Correlation over weighted stimuli: bootstrap samples, groups of images, all in a few GEMMs.

    Parameters
    ----------
    weights : array of shape (n_samples, n_stimuli)
        Not negative; a count of how often a stimulus is in the sample, or a bool mask.
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)
    dtype : float dtype
        Of the computation.  Both sides are z-scored first, so float32 is good to about 1e-5.

    Returns
    -------
    r : array of shape (n_samples, n_voxels), ``dtype``
        Rows of ones give :func:`scoring.correlation`.
    """
    y, p = (zscore(side).astype(dtype) for side in paired_arrays(y_true, y_pred))
    return correlation_from_moments(target_moments(weights, y), y, p)


def target_moments(weights, z_true):
    """Weighted mean and variance of the responses, shared by all models that are scored on them.

    Parameters
    ----------
    weights : array of shape (n_samples, n_stimuli)
    z_true : array of shape (n_stimuli, n_voxels), z-scored

    Returns
    -------
    weights, mean, variance : arrays of shape (n_samples, n_stimuli) and twice (n_samples, n_voxels)
        Weights sum to 1.
    """
    weights = np.asarray(weights, z_true.dtype)
    weights = weights / weights.sum(1, keepdims=True)
    mean = weights @ z_true
    return weights, mean, weights @ z_true**2 - mean**2


def correlation_from_moments(moments, z_true, z_pred) -> np.ndarray:
    """Second half of :func:`weighted_correlation`: three GEMMs a model."""
    weights, mean_true, variance_true = moments
    mean = weights @ z_pred
    variance = weights @ z_pred**2 - mean**2
    covariance = weights @ (z_true * z_pred) - mean_true * mean
    tiny = 64 * np.finfo(z_pred.dtype).eps
    with np.errstate(invalid="ignore", divide="ignore"):
        r = covariance / np.sqrt(variance_true * variance)
    return np.where((variance > tiny) & (variance_true > tiny), r, np.nan).clip(-1, 1)
