"""From trials to stimuli: which image, which session, which split, which region.

Arrays in, arrays out.  ``nsd_id`` is 0-based here and everywhere inside the project.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .. import BrainalignError
from ..tables import N_TRIALS_PER_SESSION, ROIS, Roi


class DesignError(BrainalignError):
    """Arrays that do not fit the experiment; the message shows both values and the remedy."""


def trial_nsd_ids(subjectim, masterordering, subject: int, n_sessions: int) -> np.ndarray:
    """Image shown in each trial, in time order.

    Parameters
    ----------
    subjectim : array of shape (n_subjects, 10000)
        1-based 73k ids of each subject's images, as in ``nsd_expdesign.mat``.
    masterordering : array of shape (1, 30000) or (30000,)
        1-based 10k index of each trial, as in ``nsd_expdesign.mat``.
    subject : int
        1-based.
    n_sessions : int
        Trials after these sessions are left out.

    Returns
    -------
    nsd_ids : array of shape (n_trials,), int32
        0-based, ``n_trials = 750 * n_sessions``.

    Raises
    ------
    DesignError
        If the subject or the sessions are not in the arrays.

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> experiment = nsd.read_design(root)
    >>> trial_nsd_ids(experiment["subjectim"], experiment["masterordering"], subject=1, n_sessions=2).shape
    (1500,)
    """
    subjectim = np.asarray(subjectim)
    order = np.asarray(masterordering).ravel()
    if not 1 <= subject <= len(subjectim):
        raise DesignError(f"subject {subject} does not exist; the design has subjects 1 to {len(subjectim)}")
    n_trials = N_TRIALS_PER_SESSION * n_sessions
    if not 0 < n_trials <= len(order):
        available = len(order) // N_TRIALS_PER_SESSION
        raise DesignError(f"n_sessions is {n_sessions}; the design has 1 to {available} sessions")
    return (subjectim[subject - 1, order[:n_trials].astype(int) - 1] - 1).astype(np.int32)


def repeat_numbers(nsd_ids) -> np.ndarray:
    """How often each trial's image was shown before.

    Parameters
    ----------
    nsd_ids : array of shape (n_trials,)
        In time order.

    Returns
    -------
    repeat : array of shape (n_trials,), int
        0 at the first presentation, 1 at the second, ...

    Examples
    --------
    >>> repeat_numbers([7, 3, 7, 7, 3])
    array([0, 0, 1, 2, 1])
    """
    nsd_ids = np.asarray(nsd_ids)
    order = np.argsort(nsd_ids, kind="stable")
    ordered = nsd_ids[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, bool)
    position = np.arange(len(ordered))
    repeat = np.empty(len(ordered), dtype=int)
    repeat[order] = position - np.maximum.accumulate(np.where(starts, position, 0))
    return repeat


def split_stimuli(nsd_ids, shared_ids) -> tuple[np.ndarray, np.ndarray]:
    """Images for training (the subject's own) and for testing (shared by all subjects).

    Parameters
    ----------
    nsd_ids : array of shape (n_trials,)
        0-based.
    shared_ids : array of shape (n_shared,)
        0-based ids of the shared images.

    Returns
    -------
    train_ids, test_ids : sorted int32 arrays
        Disjoint; together all images seen at least once.

    Examples
    --------
    >>> split_stimuli([7, 3, 7, 9], shared_ids=[9, 11])
    (array([3, 7], dtype=int32), array([9], dtype=int32))
    """
    seen = np.unique(np.asarray(nsd_ids)).astype(np.int32)
    shared = np.isin(seen, shared_ids)
    return seen[~shared], seen[shared]


def zscore_session(betas) -> np.ndarray:
    """Z-score each voxel over the trials of one session.

    A voxel that is constant in the session was outside the field of view there: it is missing (NaN), not
    zero and not infinite.  ``ddof=1`` as in NSD's own code.

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels), any real dtype

    Returns
    -------
    z : array of shape (n_trials, n_voxels), float32

    Examples
    --------
    >>> zscore_session([[1, 0], [2, 0], [3, 0]])  # the second voxel is outside the field of view
    array([[-1., nan],
           [ 0., nan],
           [ 1., nan]], dtype=float32)
    """
    betas = np.ascontiguousarray(betas)  # sums in one order, whatever the file's axis order was
    mean = betas.mean(axis=0, dtype=np.float64).astype(np.float32)
    z = np.subtract(betas, mean, dtype=np.float32)
    sd = np.sqrt(np.einsum("tv,tv->v", z, z) / max(len(z) - 1, 1)).astype(np.float32)
    sd[missing_voxels(betas)] = np.nan
    z /= sd
    return z


def missing_voxels(betas) -> np.ndarray:
    """Voxels that are constant over the trials of one session, hence without data.

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels)

    Returns
    -------
    missing : array of shape (n_voxels,), bool
    """
    betas = np.asarray(betas)
    return (betas == betas[:1]).all(axis=0)


class RepeatMoments:
    """Running mean (and, on demand, variance) over the repeats of each stimulus.

    Trials come in blocks, in any order; missing values (NaN) are left out per voxel
    (Welford's update, so that single trials need not be kept).

    Parameters
    ----------
    n_stimuli, n_voxels : int
    squares : bool
        Also accumulate what :attr:`sum_of_squares` needs.

    Attributes
    ----------
    count : array of shape (n_stimuli, n_voxels), uint8
    mean : array of shape (n_stimuli, n_voxels), float32
        0 where ``count`` is 0; :meth:`average` gives NaN there.
    sum_of_squares : array of shape (n_stimuli, n_voxels), float32, or None
        Of deviations from the mean.
    """

    def __init__(self, n_stimuli: int, n_voxels: int, squares: bool = False):
        self.count = np.zeros((n_stimuli, n_voxels), np.uint8)
        self.mean = np.zeros((n_stimuli, n_voxels), np.float32)
        self.sum_of_squares = np.zeros((n_stimuli, n_voxels), np.float32) if squares else None

    def add(self, responses, rows) -> None:
        """Add trials.

        Parameters
        ----------
        responses : array of shape (n_trials, n_voxels), float32
        rows : array of shape (n_trials,), int
            Stimulus of each trial.
        """
        for response, row in zip(responses, rows, strict=True):
            present = np.isfinite(response)
            self.count[row] += present
            delta = np.where(present, response - self.mean[row], np.float32(0))
            self.mean[row] += delta / np.maximum(self.count[row], 1).astype(np.float32)
            if self.sum_of_squares is not None:
                rest = np.where(present, response - self.mean[row], np.float32(0))
                self.sum_of_squares[row] += delta * rest

    def average(self) -> np.ndarray:
        """Mean over repeats, NaN where there is none.  Writes into :attr:`mean` to save memory.

        Returns
        -------
        mean : array of shape (n_stimuli, n_voxels), float32
        """
        for mean, count in zip(self.mean, self.count, strict=True):
            mean[count == 0] = np.nan
        return self.mean


def roi_mask(roi: Roi, labels: Mapping[str, np.ndarray], names: Mapping[str, Mapping[int, str]]):
    """Voxels of one region.

    Parameters
    ----------
    roi : tables.Roi
    labels : mapping of ROI volume to array of shape (n_voxels,), int
    names : mapping of ROI volume to {label: name}
        From the volume's colour table, never assumed.

    Returns
    -------
    mask : array of shape (n_voxels,), bool
        All False where the subject does not have the region (some subjects lack FBA-1).

    Raises
    ------
    DesignError
        If a volume is absent, or its table does not know a name of the region.
    """
    masks = []
    for volume, wanted in roi.parts:
        if volume not in labels:
            raise DesignError(f"ROI {roi.id!r} needs volume {volume!r}; given: {', '.join(labels)}")
        values = np.asarray(labels[volume])
        if not wanted:
            masks.append(values > 0)
            continue
        number = {name: value for value, name in names[volume].items()}
        if unknown := [name for name in wanted if name not in number]:
            raise DesignError(
                f"ROI {roi.id!r} asks for {', '.join(unknown)}, which the table of {volume!r} does not name "
                f"(it names {', '.join(number)}); download the table again, or correct the row of tables.ROIS"
            )
        masks.append(np.isin(values, [number[name] for name in wanted]))
    return np.logical_or.reduce(masks)


def roi_masks(labels, names, rois: Sequence[Roi] = ROIS) -> tuple[np.ndarray, tuple[str, ...]]:
    """Masks of several regions, and the regions that this subject does not have.

    Parameters
    ----------
    labels, names
        As for :func:`roi_mask`.
    rois : sequence of tables.Roi

    Returns
    -------
    masks : array of shape (n_rois, n_voxels), bool
    absent : tuple of str
        Ids of the regions without any voxel.
    """
    masks = np.stack([roi_mask(roi, labels, names) for roi in rois])
    return masks, tuple(roi.id for roi, mask in zip(rois, masks, strict=True) if not mask.any())
