"""Winner-take-all maps: best instruction per voxel, how clear the win is, and how far maps agree."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from .resampling import correlation_from_moments, target_moments
from .scoring import zscore

UNDEFINED = -1


class SimilarityError(ValueError):
    """Maps that cannot be compared; the message shows both values and the remedy."""


def winner_take_all(scores) -> tuple[np.ndarray, np.ndarray]:
    """Best instruction of each voxel and its margin.

    Parameters
    ----------
    scores : array of shape (n_instructions, n_voxels)
        At least two instructions.

    Returns
    -------
    winner : int array of shape (n_voxels,)
        Index of the highest score; -1 where fewer than two instructions have one.
    margin : array of shape (n_voxels,)
        Best minus second best; NaN where undefined.  A margin near 0 is a tie, not a preference.

    Raises
    ------
    SimilarityError
        If there are fewer than two instructions.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or len(scores) < 2:
        raise SimilarityError(f"scores has shape {scores.shape}; at least 2 instructions x voxels needed")
    filled = np.where(np.isfinite(scores), scores, -np.inf)
    second, best = np.partition(filled, -2, axis=0)[-2:]
    known = np.isfinite(second)
    with np.errstate(invalid="ignore"):
        margin = np.where(known, best - second, np.nan)
    return np.where(known, filled.argmax(0), UNDEFINED), margin


def winner_stability(
    y_true, predictions, n_bootstraps: int = 200, seed: int = 0, block_size: int = 2048
) -> np.ndarray:
    """Share of bootstrap samples of the test images in which each instruction wins, per voxel.

    Parameters
    ----------
    y_true : array of shape (n_stimuli, n_voxels)
    predictions : sequence of n_instructions arrays of shape (n_stimuli, n_voxels)
    n_bootstraps, seed : int
    block_size : int
        Voxels at a time; does not change the result.

    Returns
    -------
    share : array of shape (n_instructions, n_voxels)
        Columns sum to 1; NaN where a voxel has no score.
    """
    n_stimuli, n_voxels = np.shape(y_true)
    even = np.full(n_stimuli, 1 / n_stimuli)
    counts = np.random.default_rng(seed).multinomial(n_stimuli, even, n_bootstraps)
    share = np.full((len(predictions), n_voxels), np.nan)
    for start in range(0, n_voxels, block_size):
        part = slice(start, start + block_size)
        z_true = zscore(np.asarray(y_true)[:, part]).astype(np.float32)
        moments, best, winner = target_moments(counts, z_true), -np.inf, UNDEFINED
        for i, prediction in enumerate(predictions):
            z_pred = zscore(np.asarray(prediction)[:, part]).astype(np.float32)
            r = np.nan_to_num(correlation_from_moments(moments, z_true, z_pred), nan=-np.inf)
            winner, best = np.where(r > best, i, winner), np.maximum(r, best)
        wins = np.stack([(winner == i).mean(0) for i in range(len(predictions))])
        share[:, part] = np.where(wins.sum(0) > 0, wins, np.nan)
    return share


def winner_distribution(winner, instructions: Sequence[str], roi_mask, rois, **labels) -> pd.DataFrame:
    """Share of each region's voxels that each instruction wins.

    Parameters
    ----------
    winner : int array of shape (n_voxels,)
    instructions : sequence of str
    roi_mask : bool array of shape (n_rois, n_voxels)
    rois : sequence of str
    **labels
        Constant columns.

    Returns
    -------
    table : DataFrame
        labels, roi, instruction, n_voxels (with a winner), share (NaN where none).
    """
    rows = []
    for roi, mask in zip(rois, np.asarray(roi_mask, bool), strict=True):
        won = np.asarray(winner)[mask]
        won = won[won != UNDEFINED]
        for i, instruction in enumerate(instructions):
            share = (won == i).mean() if won.size else np.nan
            row = {"roi": roi, "instruction": instruction, "n_voxels": won.size, "share": share}
            rows.append({**labels, **row})
    return pd.DataFrame(rows)


def agreement(a, b, n_labels: int, n_permutations: int = 1000, seed: int = 0) -> dict:
    """How far two winner maps agree, against chance.

    Parameters
    ----------
    a, b : int arrays of shape (n_voxels,)
        Voxels undefined in either are left out.
    n_labels : int
    n_permutations, seed : int
        Shuffles of the voxels of ``b``; 0 leaves out ``p``.

    Returns
    -------
    result : dict
        n_voxels; observed (share of equal winners); expected (from how often each label wins in each map);
        adjusted ((observed - expected) / (1 - expected), Cohen's kappa: 0 chance, 1 equal); p.
        Neighbouring voxels are not independent, so p is too small for a claim about cortex: read
        ``adjusted``, and its spread over subjects.

    Raises
    ------
    SimilarityError
        If the maps differ in their number of voxels.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise SimilarityError(f"maps have shapes {a.shape} and {b.shape}; compare maps of one subject")
    known = (a != UNDEFINED) & (b != UNDEFINED)
    a, b = a[known], b[known]
    if not a.size:
        return {"n_voxels": 0} | dict.fromkeys(("observed", "expected", "adjusted", "p"), np.nan)
    observed = (a == b).mean()
    marginals = [np.bincount(x, minlength=n_labels) / x.size for x in (a, b)]
    expected = float(marginals[0] @ marginals[1])
    adjusted = (observed - expected) / (1 - expected) if expected < 1 else np.nan
    rng, p = np.random.default_rng(seed), np.nan
    if n_permutations:
        null = np.array([(a == rng.permutation(b)).mean() for _ in range(n_permutations)])
        p = ((null >= observed - 1e-12).sum() + 1) / (n_permutations + 1)
    values = {"observed": float(observed), "expected": expected, "adjusted": float(adjusted), "p": float(p)}
    return {"n_voxels": int(a.size)} | values


def agreement_table(
    maps: Mapping[str, np.ndarray], n_labels: int, roi_mask=None, rois=("all",), **settings
) -> pd.DataFrame:
    """Agreement of every pair of maps of one subject, in each region.

    Parameters
    ----------
    maps : mapping of model to int array of shape (n_voxels,)
    n_labels : int
    roi_mask : bool array of shape (n_rois, n_voxels), optional
        All voxels by default.
    rois : sequence of str
    **settings
        ``n_permutations`` and ``seed`` of :func:`agreement`.

    Returns
    -------
    table : DataFrame
        a, b, roi, and the columns of :func:`agreement`.
    """
    if len(maps) < 2:
        raise SimilarityError(f"only {len(maps)} map given ({', '.join(maps)}); agreement needs two")
    n_voxels = len(next(iter(maps.values())))
    masks = np.ones((1, n_voxels), bool) if roi_mask is None else np.asarray(roi_mask, bool)
    rows = []
    for a, b in combinations(maps, 2):
        for roi, mask in zip(rois, masks, strict=True):
            row = {"a": a, "b": b, "roi": roi}
            rows.append(row | agreement(maps[a][mask], maps[b][mask], n_labels, **settings))
    return pd.DataFrame(rows)
