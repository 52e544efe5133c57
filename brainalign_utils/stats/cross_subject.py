"""Cross-subject prediction accuracy: how well do other brains predict this one?

The ceiling of the paper's group (arXiv 2506.08277), after Schrimpf et al. 2021, "The neural architecture
of language", PNAS 118.  A target subject is predicted, by the same ridge as the models, from the voxels of
every sub-sample of the other subjects, on the images that all of them saw; accuracy as a function of the
number of source subjects is extrapolated to infinitely many.  Always fitted on other images than it is
scored on: repeated K-fold splits of the shared images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from tqdm import tqdm

from .scoring import correlation

FitPredict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class CrossSubjectError(ValueError):
    """Responses that cannot be linked; the message shows both values and the remedy."""


@dataclass(frozen=True)
class Splits:
    """Repeated K-fold splits of the shared images.

    Parameters
    ----------
    n_folds : int
        Each fold is scored once per repeat, by a fit on the others.
    n_repeats : int
        Shuffles of the images into folds.
    seed : int
    """

    n_folds: int = 5
    n_repeats: int = 2
    seed: int = 0

    def __call__(self, n_stimuli: int):
        """Yield (train, test) index arrays, ``n_repeats * n_folds`` of them."""
        if not 2 <= self.n_folds <= n_stimuli // 3:
            raise CrossSubjectError(
                f"n_folds is {self.n_folds} for {n_stimuli} shared images; choose 2 to {n_stimuli // 3}, "
                "so that each fold has three images to correlate over"
            )
        rng = np.random.default_rng(self.seed)
        for _ in range(self.n_repeats):
            for test in np.array_split(rng.permutation(n_stimuli), self.n_folds):
                yield np.setdiff1d(np.arange(n_stimuli), test), np.sort(test)


def cross_subject_scores(
    responses: Mapping[int, np.ndarray],
    target: int,
    fit_predict: FitPredict,
    splits: Splits | None = None,
    progress_bar: bool = False,
) -> xr.DataArray:
    """Accuracy of predicting ``target`` from every sub-sample of the other subjects.

    Parameters
    ----------
    responses : mapping of subject to array of shape (n_stimuli, n_voxels of that subject)
        Averaged responses to the same images in the same order (see :func:`shared_responses`).
    target : int
        Key of ``responses``.
    fit_predict : callable (X_train, Y_train, X_test) -> Y_pred
        The regression, with its own choice of penalty inside the training images.  What it gets is
        z-scored with the statistics of the training images.
    splits : Splits, optional
    progress_bar : bool

    Returns
    -------
    scores : DataArray of dims (subsample, split, voxel)
        Pearson r on the left-out images of each split; coordinates ``sources`` ("1+5+7") and
        ``n_sources`` on ``subsample``.

    Raises
    ------
    CrossSubjectError
        If the target is unknown, alone, or the subjects differ in their number of images.
    """
    return scores_of_targets(responses, [target], fit_predict, splits, progress_bar)[target]


def scores_of_targets(
    responses: Mapping[int, np.ndarray],
    targets: Sequence[int],
    fit_predict: FitPredict,
    splits: Splits | None = None,
    progress_bar: bool = False,
) -> dict[int, xr.DataArray]:
    """:func:`cross_subject_scores` of several targets.

    All targets that are not among the sources of a sub-sample are predicted by one fit, side by side: voxels
    are independent of each other.

    Returns
    -------
    scores : dict of target to DataArray
    """
    for target in targets:
        _check(responses, target)
    pairs = list((splits or Splits())(len(responses[targets[0]])))
    subsamples = {t: _subsamples([s for s in responses if s != t]) for t in targets}
    n_voxels = {t: np.shape(responses[t])[1] for t in targets}
    scores = {t: np.empty((len(subsamples[t]), len(pairs), n_voxels[t]), np.float32) for t in targets}
    every = list(dict.fromkeys(sources for each in subsamples.values() for sources in each))
    bar = tqdm(total=len(every) * len(pairs), disable=not progress_bar, desc="ceilings from other subjects")
    for j, (train, test) in enumerate(pairs):
        scaled = {s: _standardise(responses[s], train) for s in responses}
        for sources in every:
            predicting = [t for t in targets if t not in sources]
            x, y = (np.concatenate([scaled[s] for s in side], axis=1) for side in (sources, predicting))
            predicted = np.asarray(fit_predict(x[train], y[train], x[test]))
            ends = np.cumsum([n_voxels[t] for t in predicting])
            for t, part in zip(predicting, np.split(predicted, ends[:-1], axis=1), strict=True):
                scores[t][subsamples[t].index(sources), j] = correlation(scaled[t][test], part)
            bar.update()
    bar.close()
    return {t: _labelled(scores[t], subsamples[t], t) for t in targets}


def _subsamples(subjects) -> list[tuple]:
    return [c for k in range(1, len(subjects) + 1) for c in combinations(subjects, k)]


def _labelled(scores, subsamples, target) -> xr.DataArray:
    coords = {
        "sources": ("subsample", ["+".join(map(str, c)) for c in subsamples]),
        "n_sources": ("subsample", [len(c) for c in subsamples]),
    }
    return xr.DataArray(scores, dims=("subsample", "split", "voxel"), coords=coords, attrs={"target": target})


def plain_ceiling(scores: xr.DataArray) -> np.ndarray:
    """Accuracy from all other subjects together (three to one, with four subjects), mean over splits.

    Parameters
    ----------
    scores : DataArray
        From :func:`cross_subject_scores`.

    Returns
    -------
    ceiling : array of shape (n_voxels,)
        A correlation, so use it with ``kind="correlation"``.
    """
    return scores.isel(subsample=int(scores.n_sources.values.argmax())).mean("split", skipna=False).values


def extrapolated_ceiling(scores: xr.DataArray, n_bootstraps: int = 100, seed: int = 0) -> xr.Dataset:
    """Accuracy from infinitely many subjects: median over bootstraps of v0 in ``v0 * (1 - exp(-x / tau0))``.

    Each bootstrap resamples splits and, among sub-samples of equal size, sub-samples.

    Parameters
    ----------
    scores : DataArray
        From :func:`cross_subject_scores`.
    n_bootstraps, seed : int

    Returns
    -------
    ceiling : Dataset over ``voxel``
        ``v0`` (median), ``low``, ``high`` (2.5 and 97.5 %), ``tau0`` (median), ``at_bound`` (share of
        bootstraps in which v0 ran into 1).  A median of 1 means that three points did not determine the
        curve (they rise in a straight line, often a voxel without signal): ``v0`` is NaN there.

    Raises
    ------
    CrossSubjectError
        If there are fewer than two different numbers of source subjects.
    """
    x = scores.n_sources.values.astype(float)
    sizes = np.unique(x)
    if len(sizes) < 2:
        raise CrossSubjectError(
            f"scores have {len(sizes)} number of source subjects; the curve needs at least 2 (3 subjects)"
        )
    rng, values = np.random.default_rng(seed), scores.values.astype(np.float64)
    fits = []
    for _ in range(n_bootstraps):
        split = rng.integers(0, values.shape[1], values.shape[1])
        means = []
        for size in sizes:
            of_size = np.flatnonzero(x == size)
            drawn = rng.choice(of_size, len(of_size))
            means.append(values[np.ix_(drawn, split)].mean((0, 1)))
        counts = np.array([(x == size).sum() for size in sizes], float)
        fits.append(fit_saturation(sizes, np.stack(means), counts))
    v0, tau0 = (np.stack(v) for v in zip(*fits, strict=True))
    low, high = np.quantile(v0, [0.025, 0.975], axis=0)
    data = {"v0": np.median(v0, 0), "low": low, "high": high, "tau0": np.median(tau0, 0)}
    data["at_bound"] = np.where(np.isfinite(v0[0]), (v0 >= 1 - 1e-6).mean(0), np.nan)
    data["v0"] = np.where(data["v0"] >= 1 - 1e-6, np.nan, data["v0"])
    return xr.Dataset({k: ("voxel", v.astype(np.float32)) for k, v in data.items()})


def fit_saturation(x, y, weights=None, n_grid: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of ``y = v0 * (1 - exp(-x / tau0))`` for all voxels at once.

    For a given tau0 the best v0 is a ratio, so the search is over tau0 alone: a logarithmic grid, then two
    finer ones around its best point.  ``scipy.optimize.curve_fit`` gives the same answer, one voxel at a
    time; 100 bootstraps of 15,000 voxels would take it an hour.

    Parameters
    ----------
    x : array of shape (n_points,)
    y : array of shape (n_points, n_voxels)
    weights : array of shape (n_points,), optional
        Number of measurements in each point.
    n_grid : int

    Returns
    -------
    v0 : array of shape (n_voxels,)
        Between 0 and 1; NaN where y is.
    tau0 : array of shape (n_voxels,)
        Between ``min(x) / 20`` (flat) and ``1e3 * max(x)`` (straight line).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    bounds = np.log(x.min() / 20), np.log(1e3 * x.max())
    low, high = (np.full(1, bound) for bound in bounds)  # the first grid is the same for all voxels
    for _ in range(3):
        log_tau = np.linspace(low, high, n_grid)
        best, v0 = _best_on_grid(x, y, w, log_tau)
        tau = np.take_along_axis(np.broadcast_to(log_tau, (n_grid, y.shape[1])), best[None], 0)[0]
        step = (high - low) / (n_grid - 1)
        low, high = (np.clip(tau + side * step, *bounds) for side in (-1, 1))
    known = np.isfinite(y).all(0)
    return np.where(known, v0, np.nan), np.where(known, np.exp(tau), np.nan)


def _best_on_grid(x, y, w, log_tau):
    """Best grid index and its v0, per voxel."""
    tau, yy = np.exp(log_tau), (w[:, None] * y**2).sum(0)
    curves = [-np.expm1(-xi / tau) for xi in x]
    fy = sum(wi * f * yi for f, yi, wi in zip(curves, y, w, strict=True))
    ff = sum(wi * f**2 for f, wi in zip(curves, w, strict=True))
    v0 = np.clip(fy / ff, 0, 1)
    error = np.nan_to_num(yy - 2 * v0 * fy + v0**2 * ff, nan=np.inf)
    best = error.argmin(0)
    return best, np.take_along_axis(v0, best[None], 0)[0]


def shared_responses(responses: Mapping[int, tuple[np.ndarray, np.ndarray]]):
    """Restrict subjects to the images that all of them saw, in one order.

    Parameters
    ----------
    responses : mapping of subject to (nsd_ids of shape (n_stimuli,), array of shape (n_stimuli, n_voxels))

    Returns
    -------
    nsd_ids : array of shape (n_shared,), sorted
    responses : dict of subject to array of shape (n_shared, n_voxels)

    Raises
    ------
    CrossSubjectError
        If no image is common to all.
    """
    common = None
    for ids, _ in responses.values():
        common = np.unique(ids) if common is None else np.intersect1d(common, ids)
    if common is None or not common.size:
        raise CrossSubjectError(
            f"subjects {', '.join(map(str, responses))} share no image; give the shared test images"
        )
    rows = {s: np.argsort(ids)[np.searchsorted(np.sort(ids), common)] for s, (ids, _) in responses.items()}
    return common, {s: np.asarray(y)[rows[s]] for s, (_, y) in responses.items()}


def _standardise(values, train):
    values = np.asarray(values, np.float64)
    sd = values[train].std(0)
    z = (values - values[train].mean(0)) / np.where(sd > 0, sd, 1)
    return np.nan_to_num(z).astype(np.float32)


def _check(responses, target):
    if target not in responses:
        raise CrossSubjectError(f"target {target} is not among subjects {', '.join(map(str, responses))}")
    if len(responses) < 2:
        raise CrossSubjectError(f"only subject {target} given; a ceiling needs at least one other subject")
    sizes = {s: len(v) for s, v in responses.items()}
    if len(set(sizes.values())) > 1:
        raise CrossSubjectError(f"subjects have {sizes} images; restrict them with shared_responses first")
