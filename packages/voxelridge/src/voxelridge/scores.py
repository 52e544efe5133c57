"""Cross-validation scores at every alpha from residuals at a few."""

import torch

SELECTIONS = ("r2", "r", "mse")


def mean_scores(folds, weights, selection):
    """Score at every alpha, averaged over folds.

    Parameters
    ----------
    folds : iterable of (held_out, residuals)
        Responses (n_held_out, n_voxels), and chunks (rows, residuals) of predictions minus responses
        at the nodes (n_rows, n_nodes, n_voxels), or for "r" of predictions; they are overwritten.
    weights : tensor of shape (n_alphas, n_nodes), float64
        From the nodes to all alphas.
    selection : {"r2", "r", "mse"}
        "mse" is negated, so that higher is better.

    Returns
    -------
    tensor of shape (n_alphas, n_voxels), float64
    """
    score, error, n_folds = 0.0, 0.0, 0
    for held_out, residuals in folds:
        n_folds += 1
        if selection == "r":
            score = score + _pearson(held_out, residuals, weights)
            continue
        best, scale = _r2_terms(held_out) if selection == "r2" else (0.0, 1 / len(held_out))
        score = score + best
        error = error + scale * sum(chunk.square_().sum(0).double() for _, chunk in residuals)
    if selection != "r":
        score = score - weights @ error  # once for all folds: interpolation is linear
    return score / n_folds


def _r2_terms(held_out):
    """R2 is the first term minus the squared error times the second; 0 without variance, as in himalaya."""
    variance = (held_out - held_out.mean(0)).square_().sum(0).double()
    varies = variance > 0
    return varies.double(), torch.where(varies, 1 / variance, 0.0)


def _pearson(held_out, predictions, weights):
    """Zero where responses or predictions do not vary; takes predictions, not residuals."""
    y = held_out.double()
    y = (y - y.mean(0)).to(held_out.dtype)
    total, product, square = 0.0, 0.0, 0.0
    for rows, chunk in predictions:
        total = total + chunk.sum(0).double()
        product = product + (chunk * y[rows][:, None]).sum(0).double()
        square = square + chunk.square_().sum(0).double()
    mean, covariance, square = (weights @ moment / len(y) for moment in (total, product, square))
    variance = (square - mean**2).clamp(min=0) * y.double().square().mean(0)
    return torch.where(variance > 0, covariance / variance.sqrt(), 0.0)
