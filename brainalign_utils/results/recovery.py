"""Planted truth against estimate: does the method find what a simulated brain was given?

Each function returns rows of one table: check (the id that claims refer to), quantity (what is compared),
label, planted, estimated, low, high (interval of the estimate), passed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

from ..stats.scoring import correlation
from ..stats.similarity import UNDEFINED

MIN_PROFILE_CORRELATION = 0.8


class RecoveryError(ValueError):
    """Truth and estimate that do not belong together; the message shows both values and the remedy."""


def recover_values(
    check: str, quantity: str, labels: Sequence[str], planted, estimated, low=None, high=None, tolerance=0.0
) -> pd.DataFrame:
    """Single numbers: passed where the planted value is inside the interval, widened by ``tolerance``.

    Parameters
    ----------
    check, quantity : str
    labels : sequence of str
    planted, estimated : arrays of shape (n_labels,)
    low, high : arrays of shape (n_labels,), optional
        The estimate itself by default, so that the tolerance alone decides.
    tolerance : float
        Known bias of the estimator, in the unit of the quantity.
    """
    planted, estimated = np.asarray(planted, float), np.asarray(estimated, float)
    if not len(labels) == len(planted) == len(estimated):
        raise RecoveryError(
            f"{len(labels)} labels, {len(planted)} planted and {len(estimated)} estimated values; "
            "give one of each"
        )
    low, high = (estimated if v is None else np.asarray(v, float) for v in (low, high))
    passed = (planted >= low - tolerance) & (planted <= high + tolerance)
    return _table(check, quantity, labels, planted, estimated, low, high, passed)


def recover_medians(
    check: str, quantity: str, planted, estimated, roi_mask, rois, tolerance: float = 0.02
) -> pd.DataFrame:
    """Median over the voxels of each region, for instance of the noise ceiling.

    The interval is that of a median of independent voxel errors, 1.25 standard deviations over the root of
    their number, times 1.96.

    Parameters
    ----------
    check, quantity : str
    planted, estimated : arrays of shape (n_voxels,)
    roi_mask : bool array of shape (n_rois, n_voxels)
        Regions without voxels are left out.
    rois : sequence of str
    tolerance : float
        Room for the bias of the estimator (a noise ceiling is clipped at 0).
    """
    planted, estimated = np.asarray(planted, float), np.asarray(estimated, float)
    known = np.isfinite(planted) & np.isfinite(estimated)
    labels, rows = [], []
    for roi, mask in zip(rois, np.asarray(roi_mask, bool) & known, strict=True):
        if mask.sum() > 1:
            error = 1.96 * 1.2533 * (estimated - planted)[mask].std(ddof=1) / np.sqrt(mask.sum())
            labels.append(roi)
            rows.append((np.median(planted[mask]), np.median(estimated[mask]), error))
    truth, found, error = np.reshape(rows, (-1, 3)).T
    return recover_values(check, quantity, labels, truth, found, found - error, found + error, tolerance)


def recover_profiles(
    check: str, planted, estimated, channels, families: Sequence[str], roi_mask, rois
) -> pd.DataFrame:
    """Tuning of each region: how its mean signal, and its mean prediction, follow each kind of content.

    A region passes when the two profiles over families correlate at :data:`MIN_PROFILE_CORRELATION` or more.

    Parameters
    ----------
    check : str
    planted, estimated : arrays of shape (n_stimuli, n_voxels)
        True signal, and a model's predictions for the same images.
    channels : array of shape (n_stimuli, n_families)
        What the images hold.
    families : sequence of str
    roi_mask : bool array of shape (n_rois, n_voxels)
        Regions without voxels are left out, and so are voxels without signal or prediction.
    rois : sequence of str
    """
    channels, tables = np.asarray(channels, float), []
    planted, estimated = np.asarray(planted, float), np.asarray(estimated, float)
    known = (np.ptp(planted, axis=0) > 0) & np.isfinite(estimated).all(0)
    for roi, mask in zip(rois, np.asarray(roi_mask, bool) & known, strict=True):
        if not mask.any():
            continue
        truth, found = (_profile(a[:, mask].mean(1), channels) for a in (planted, estimated))
        passed = np.corrcoef(truth, found)[0, 1] >= MIN_PROFILE_CORRELATION
        half = 1.96 / np.sqrt(max(len(channels) - 3, 1))
        low, high = np.tanh(np.arctanh(found) - half), np.tanh(np.arctanh(found) + half)
        labels = [f"{roi}, {family}" for family in families]
        verdicts = np.full(len(labels), passed)
        tables.append(_table(check, f"tuning of {roi}", labels, truth, found, low, high, verdicts))
    return pd.concat(tables, ignore_index=True)


def _profile(response, channels):
    return correlation(channels, np.broadcast_to(response[:, None], channels.shape))


def recover_winners(
    check: str, winner, instructions: Sequence[str], family, answers: dict, alpha: float = 0.05
) -> pd.DataFrame:
    """Best instruction: does the winner speak of what the voxel is tuned to, more often than by chance?

    Parameters
    ----------
    check : str
    winner : int array of shape (n_voxels,)
        From :func:`similarity.winner_take_all`.
    instructions : sequence of str
    family : str array of shape (n_voxels,)
        Planted tuning.
    answers : mapping of family to instructions whose answer speaks of it
        Families without any (low-level energy) are left out.
    alpha : float

    Returns
    -------
    table : DataFrame
        As the others, one row a family: planted is 1 (every voxel), estimated the share of its voxels whose
        winner is in its set, low and high the 95 % interval of that share (Clopper-Pearson), and ``chance``
        the share among voxels tuned to anything else.  Passed where the share is above chance (Fisher's
        exact test, one-sided).  Voxels are taken for independent, so this is a check and not an inference.
    """
    winner, family = np.asarray(winner), np.asarray(family)
    tables = []
    for name, wanted in answers.items():
        chosen = [i for i, instruction in enumerate(instructions) if instruction in wanted]
        own = (family == name) & (winner != UNDEFINED)
        rest = (family != name) & (winner != UNDEFINED)
        if not chosen or not own.any() or not rest.any():
            continue
        hit = np.isin(winner, chosen)
        counts = [[(hit & own).sum(), (~hit & own).sum()], [(hit & rest).sum(), (~hit & rest).sum()]]
        passed = scipy.stats.fisher_exact(counts, alternative="greater").pvalue < alpha
        share = scipy.stats.binomtest(int(counts[0][0]), int(own.sum()))
        low, high = share.proportion_ci()
        row = _table(check, "best instruction", [name], [1.0], [share.statistic], [low], [high], [passed])
        tables.append(row.assign(chance=hit[rest].mean()))
    if not tables:
        raise RecoveryError(
            f"no family of {', '.join(answers)} has voxels and an instruction among {', '.join(instructions)}"
        )
    return pd.concat(tables, ignore_index=True)


def _table(check, quantity, labels, planted, estimated, low, high, passed) -> pd.DataFrame:
    values = {"planted": planted, "estimated": estimated, "low": low, "high": high}
    table = pd.DataFrame({"check": check, "quantity": quantity, "label": list(labels), **values})
    return table.assign(passed=np.asarray(passed, bool))
