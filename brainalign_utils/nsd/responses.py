"""Responses of a subject, from single-trial betas, one session at a time."""

from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from ..tables import BETA_SCALE, ROIS, subject_name
from . import design, layout, reliability
from .betas import prefetch, read_session, session_files
from .files import read_design
from .layout import InvalidValueError
from .volumes import read_mask, read_mask_labels, read_ncsnr

N_REPEATS = 3
MIN_COMPLETE_STIMULI = 50
INT16_LIMITS = (-32768, 32767)


def load_responses(
    root: str | Path,
    subject: int,
    n_sessions: int | None = None,
    betas: str = layout.BETAS,
    space: str = layout.SPACE,
    session_zscore: bool = True,
    progress_bar: bool = True,
    recompute_ncsnr: bool = False,
) -> xr.Dataset:
    """Responses of one subject's nsdgeneral voxels to every image.

    Peak memory for a full subject (30000 trials of 15724 voxels, 9000 train and 1000 test
    images): running means 0.57 GB and counts 0.14 GB, test trials 0.19 GB, one session as
    int16 and float32 with its temporaries 0.2 GB, Python and libraries 0.2 GB; measured 1.4 GB
    (``benchmarks/loading.py --full``).  Recomputing ncsnr keeps squares over all images, measured
    2.1 GB, and 1.4 GB more if responses are not z-scored.  Single trials of training images are
    never kept (they would be 1.7 GB).

    Parameters
    ----------
    root : path
        NSD's tree, the folder that holds ``nsddata`` and ``nsddata_betas``.
    subject : int
        1-based.
    n_sessions : int or None
        First sessions to use; None takes all that are on disk.
    betas : {"betas_assumehrf", "betas_fithrf", "betas_fithrf_GLMdenoise_RR"}
    space : {"func1pt8mm", "func1mm"}
        Grid of the betas, of the regions and of ncsnr.
    session_zscore : bool
        Z-score each voxel within each session; otherwise percent signal change.
    progress_bar : bool
    recompute_ncsnr : bool
        Use NSD's recipe on the sessions read, not NSD's own file (computed from all sessions); done too where
        the file is not there.  Attribute ``ncsnr_source`` says which it was.

    Returns
    -------
    responses : Dataset
        ``train`` (train_stimulus, voxel), mean over repeats, and ``train_n_repeats``; ``test``
        (repeat, test_stimulus, voxel); float32, NaN where a voxel or a repeat is missing.
        Coordinates: train_nsd_id, test_nsd_id, ijk (0-based grid position, C order), ncsnr,
        noise_ceiling (of the mean of the test repeats, fraction of variance), roi, roi_mask
        (roi, voxel) and ``label_<volume>`` (voxel).

    Raises
    ------
    NsdError
        MissingFileError, DamagedFileError, ShapeMismatchError, UnknownLabelError,
        InvalidValueError or NoPermissionError.

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> responses = nsd.load_responses(root, subject=1, progress_bar=False)
    >>> Y_train = responses.train.values  # images x voxels
    >>> Y_test = responses.test.mean("repeat").values
    >>> in_v1 = responses.roi_mask.sel(roi="V1").values
    >>> Y_train[:, in_v1].shape[1] == in_v1.sum()
    np.True_
    """
    root = Path(root)
    ijk, shape = read_mask(root, subject, space)
    labels, names = read_mask_labels(root, subject, space, ijk, shape)
    files = session_files(root, subject, n_sessions, betas, space)
    ncsnr_path = root / layout.ncsnr_key(subject, betas, space)
    experiment = read_design(root)
    nsd_ids = design.trial_nsd_ids(experiment["subjectim"], experiment["masterordering"], subject, len(files))
    train_ids, test_ids = design.split_stimuli(nsd_ids, np.ravel(experiment["sharedix"]).astype(int) - 1)
    recompute = recompute_ncsnr or not ncsnr_path.is_file()
    trials = _Trials(nsd_ids, train_ids, test_ids, len(ijk), session_zscore, recompute)
    progress = tqdm(files, f"{subject_name(subject)} sessions", disable=not progress_bar)
    for session, path in enumerate(progress):
        values = read_session(path, ijk, shape)
        if values.dtype.kind == "f" and not session_zscore:
            raise InvalidValueError(
                f"{path} holds {values.dtype} of unknown unit; NSD's betas are int16, 300 times percent "
                "signal change: download it again, or set session_zscore: true, where units do not matter"
            )
        prefetch(files[session + 1 : session + 2])
        trials.add(session, values)
    if recompute:
        ncsnr_values, source = trials.ncsnr()
    else:
        ncsnr_values, source = read_ncsnr(ncsnr_path, ijk, shape), "file"
    attributes = {
        "subject": subject,
        "n_sessions": len(files),
        "betas": betas,
        "space": space,
        "session_zscore": int(session_zscore),
        "units": "session sd" if session_zscore else "percent signal change",
        "beta_formats": sorted({path.name.partition(".")[2] for path in files}),
        "ncsnr_source": source,
        "n_saturated_betas": trials.n_saturated,
        "n_missing_voxel_sessions": trials.n_missing,
    }
    return _dataset(trials, train_ids, test_ids, ijk, ncsnr_values, labels, names, attributes)


class _Trials:
    """Accumulates sessions into train means, test repeats and (on demand) repeat variances."""

    def __init__(self, nsd_ids, train_ids, test_ids, n_voxels, zscore, recompute):
        self.ids, self._train_ids, self._test_ids = nsd_ids, train_ids, test_ids
        self._repeat = design.repeat_numbers(nsd_ids)
        self._zscore = zscore
        n_all = len(train_ids) + len(test_ids)
        shared_moments = recompute and zscore
        self.means = design.RepeatMoments(
            n_all if shared_moments else len(train_ids), n_voxels, shared_moments
        )
        self._squares = self.means if shared_moments else None
        if recompute and not zscore:
            self._squares = design.RepeatMoments(n_all, n_voxels, squares=True)
        n_repeats = max(N_REPEATS, int(self._repeat.max()) + 1)
        self.test = np.full((n_repeats, len(test_ids), n_voxels), np.nan, np.float32)
        self.n_saturated = self.n_missing = 0

    def add(self, session, betas):
        """Add the betas (n_trials, n_voxels) of a session, counted from 0."""
        part = slice(session * len(betas), (session + 1) * len(betas))
        ids, repeat = self.ids[part], self._repeat[part]
        if betas.dtype == np.int16:
            self.n_saturated += sum(np.count_nonzero(betas == limit) for limit in INT16_LIMITS)
        z = design.zscore_session(betas)
        missing = np.isnan(z[0])
        self.n_missing += np.count_nonzero(missing)
        if self._zscore:
            responses = z
        else:
            responses = betas / np.float32(BETA_SCALE)
            responses[:, missing] = np.nan
        is_test = np.isin(ids, self._test_ids)
        test_rows = np.searchsorted(self._test_ids, ids[is_test])
        train_rows = np.searchsorted(self._train_ids, ids[~is_test])
        self.test[repeat[is_test], test_rows] = responses[is_test]
        self.means.add(responses[~is_test], train_rows)
        if self._squares is None:
            return
        if self._squares is not self.means:
            self._squares.add(z[~is_test], train_rows)
        self._squares.add(z[is_test], len(self._train_ids) + test_rows)

    def ncsnr(self):
        """NSD's recipe; with few complete images, all that have at least two trials."""
        complete = int((np.bincount(self.ids)[np.r_[self._train_ids, self._test_ids]] >= N_REPEATS).sum())
        least = N_REPEATS if complete >= MIN_COMPLETE_STIMULI else 2
        values = reliability.ncsnr_from_moments(self._squares, least)
        return values, f"recomputed from {self.ids.size} trials, stimuli with at least {least} trials"


def _dataset(trials, train_ids, test_ids, ijk, ncsnr, labels, names, attributes):
    masks, absent = design.roi_masks(labels, names)
    ceiling = reliability.noise_ceiling(ncsnr, np.isfinite(trials.test).sum(axis=0, dtype=np.uint8))
    counts = np.bincount(trials.ids, minlength=int(train_ids.max(initial=0)) + 1)[train_ids]
    coordinates = {
        "train_nsd_id": ("train_stimulus", train_ids),
        "test_nsd_id": ("test_stimulus", test_ids),
        "ijk": (("voxel", "axis"), ijk),
        "ncsnr": ("voxel", ncsnr),
        "noise_ceiling": ("voxel", ceiling),
        "roi": [roi.id for roi in ROIS],
        "roi_mask": (("roi", "voxel"), masks),
    }
    coordinates |= {f"label_{volume}": ("voxel", values) for volume, values in labels.items()}
    return xr.Dataset(
        {
            "train": (("train_stimulus", "voxel"), trials.means.average()[: len(train_ids)]),
            "train_n_repeats": ("train_stimulus", counts.astype(np.int16)),
            "test": (("repeat", "test_stimulus", "voxel"), trials.test),
        },
        coordinates,
        {**attributes, "absent_rois": list(absent)},
    )
