"""Fits behind a variance partition of instructions: singles, pairs, triples, all, all but one.

A joint model of several feature spaces (*bands*) is a banded ridge (:mod:`voxelridge.banded`): candidates
scale each band by the root of a weight before one ridge fit, and are averaged per voxel by how well they
predict held-out training images. Weights of a candidate sum to 1, and each model may drop any of its bands:

- pairs: ratios of weights on a logarithmic grid from 1:100 to 100:1, and either band alone;
- triples: three equal bands, each one emphasised or damped tenfold, equal pairs, and each band alone;
- all bands and all but one: equal weights, weights proportional to what the bands explain alone
  (cross-validated) in clusters of voxels, and each band alone. The model *with* a band also tries all that
  the model *without* it tries, so that unique variance compares like with like.

Finite training data bias shared variance a little below zero, by up to ``n_features / n_stimuli`` times the
joint R2: a single fit takes the other band's signal for noise.
"""

from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
import torch
import xarray as xr
from himalaya.backend import get_backend, set_backend
from himalaya.ridge import solve_group_ridge_random_search
from himalaya.scoring import l2_neg_loss
from scipy.cluster.vq import kmeans2
from tqdm import tqdm

from voxelridge.banded import Bands, candidate_weightings, weigh
from voxelridge.inputs import check_alphas, make_folds
from voxelridge.solver import choose_device

from .algebra import product_measure
from .regions import Regions, bootstrap_roi, partition_dataset

__all__ = ["bootstrap_roi", "pair_weightings", "partition_instructions"]

ESTIMATORS = ("banded", "concatenated", "himalaya")

WEIGHT_FLOOR = 0.05
"""Smallest weight of a band, relative to the mean, in weightings from clusters of voxels."""

TOLERANCE = 1e-3
"""Of the scores that choose weighting and penalty; fits themselves are exact."""


def partition_instructions(
    features,
    Y,
    Y_test,
    alphas,
    *,
    estimator="banded",
    n_ratios=11,
    n_weightings=3,
    triples=(),
    cv=5,
    roi_masks=None,
    noise_ceiling=None,
    min_ceiling=0.05,
    n_bootstraps=1000,
    seed=0,
    tolerance=TOLERANCE,
    device="auto",
    progress_bar=False,
):
    """Variance partition of responses between the feature spaces of several instructions.

    Parameters
    ----------
    features : dict of str to (train, test)
        Arrays (n_stimuli, n_features) and (n_test_stimuli, n_features) of every instruction,
        standardised with training statistics and used as given.
    Y, Y_test : arrays of shape (n_stimuli, n_voxels) and (n_test_stimuli, n_voxels)
        Responses; no intercept is fitted.
    alphas : array of shape (n_alphas, )
    estimator : {"banded", "concatenated", "himalaya"}
        Bands weighted per voxel; unweighted; or the best weighting of every voxel, found by himalaya's
        solver.
    n_ratios : int
        Candidates of a pair, the two single bands included.
    n_weightings : int
        Candidates of the models of all bands and of all but one.
    triples : iterable of 3-tuples of instructions, or "all"
    cv : int, splitter, fold labels or list of (train, test) indices
    roi_masks : dict of str to bool array of shape (n_voxels, ), or None
        Regions whose mean R2 is bootstrapped over test stimuli.
    noise_ceiling : array of shape (n_voxels, ) or None
        Adds normalised regional means.
    n_bootstraps, seed : int
    tolerance : float
        Of the scores that choose weighting and penalty.
    device : {"auto", "cpu", "cuda"} or torch.device
    progress_bar : bool

    Returns
    -------
    xr.Dataset
        ``r2_single``, ``r2_without``, ``r2_with``, ``unique_vs_all`` (instruction, voxel);
        ``r2_all`` (voxel); ``r2_pair``, ``unique_a``, ``unique_b``, ``shared``, ``split_a``,
        ``split_b``, ``weight_a`` (pair, voxel); with triples ``r2_triple`` (triple, voxel) and
        ``triple_parts`` (triple, part, voxel); with regions ``roi_*`` (..., measure, roi) and
        ``boot_*`` (..., bootstrap, measure, roi) for :func:`bootstrap_roi`.

    Raises
    ------
    ValueError
        If names or shapes do not fit.

    Examples
    --------
    Two instructions whose states carry one signal in common and one signal each:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> common, own_a, own_b = rng.standard_normal((3, 600, 4))
    >>> states = {"IC": np.hstack([common, own_a]), "IU1": np.hstack([common, own_b])}
    >>> Y = (common + own_a) @ rng.standard_normal((4, 5)) + rng.standard_normal((600, 5))
    >>> features = {name: (X[:400], X[400:]) for name, X in states.items()}
    >>> parts = partition_instructions(features, Y[:400], Y[400:], np.logspace(-1, 3, 9))
    >>> means = parts[["unique_a", "unique_b", "shared"]].mean("voxel")
    >>> {name: abs(round(means[name].item(), 1)) for name in means}
    {'unique_a': 0.4, 'unique_b': 0.0, 'shared': 0.5}
    """
    names = list(features)
    bands, bands_test, Y, Y_test = _checked(features, Y, Y_test, estimator)
    triples, device = _triples(triples, names), choose_device(device)
    models = _Models.of(
        bands, bands_test, Y, make_folds(cv, len(Y)), check_alphas(alphas), estimator, tolerance, device
    )
    regions = Regions(Y_test, roi_masks, noise_ceiling, min_ceiling, n_bootstraps, seed)
    pairs = list(combinations(range(len(names)), 2))
    with tqdm(total=len(pairs) + len(names) + len(triples) + 1, disable=not progress_bar) as bar:
        rows = {
            "single": [regions.score(models.fit([b])) for b in range(len(names))],
            "pair": [],
            "triple": [],
        }
        for a, b in pairs:
            fit = models.fit([a, b], pair_weightings(estimator, n_ratios), split=True)
            rows["pair"].append(regions.score(fit) | _pair_details(fit, Y_test))
            bar.update()
        for triple in triples:
            rows["triple"].append(regions.score(models.fit(triple, _triple_weightings(estimator))))
            bar.update()
        rows |= _all_and_all_but_one(models, regions, n_weightings, seed, bar)
    dataset = partition_dataset(rows, names, triples, regions)
    varies = xr.DataArray(np.asarray(Y.std(0) > 0), dims="voxel")
    dataset = dataset.map(lambda values: values.where(varies) if "voxel" in values.dims else values)
    return dataset.assign_attrs(
        estimator=estimator,
        n_ratios=n_ratios,
        n_weightings=n_weightings,
        n_bootstraps=n_bootstraps,
        seed=seed,
    )


def _all_and_all_but_one(models, regions, n_weightings, seed, bar):
    """Rows of the models of all bands, of all but one, and of all that may drop that one."""
    bands = range(models.n_bands)
    weightings = models.weightings(n_weightings, seed)
    known = dict(models.known)
    rows = {"all": [regions.score(models.fit(bands, weightings, known=known))], "without": [], "with": []}
    bar.update()
    for b in bands:
        rest = np.where(np.arange(models.n_bands) == b, 0, weightings)
        rest = rest[rest.sum(1) > 0]
        rest = np.unique(
            rest if models.estimator == "concatenated" else rest / rest.sum(1, keepdims=True), axis=0
        )
        without = {**known}
        rows["without"].append(regions.score(models.fit(bands, rest, known=without)))
        both = (
            weightings if models.estimator == "concatenated" else np.unique(np.r_[weightings, rest], axis=0)
        )
        rows["with"].append(regions.score(models.fit(bands, both, known=without)))
        bar.update()
    return rows


def pair_weightings(estimator, n_ratios):
    """Weights of two bands to try, (n_weightings, 2)."""
    return np.ones((1, 2)) if estimator == "concatenated" else candidate_weightings(2, max(n_ratios - 2, 1))


def _triple_weightings(estimator):
    """Weights of three bands to try, (n_weightings, 3)."""
    if estimator == "concatenated":
        return np.ones((1, 3))
    one = np.eye(3)
    weightings = np.concatenate([np.ones((1, 3)), 1 + 9 * one, 1 - 0.9 * one, 1 - one, one])
    return weightings / weightings.sum(1, keepdims=True)


@dataclass(frozen=True)
class _Fit:
    """A joint model.

    Parameters
    ----------
    predictions : array of shape (n_test_stimuli, n_voxels)
    first : array of shape (n_test_stimuli, n_voxels)
        The part that comes from the first band; empty unless asked for.
    weight : array of shape (n_voxels, )
        Weight of the first band, where weights sum to 1.
    """

    predictions: np.ndarray
    first: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class _Models:
    """Fits of joint models, by estimator.

    Parameters
    ----------
    bands : Bands
    X_test : tensor of shape (n_test_stimuli, n_all_features)
    estimator : {"banded", "concatenated", "himalaya"}
    known : dict
        Errors of single bands.
    """

    bands: Bands
    X_test: torch.Tensor
    estimator: str
    known: dict = field(default_factory=dict)

    @classmethod
    def of(cls, bands, bands_test, Y, folds, alphas, estimator, tolerance, device):
        edges = np.cumsum([0, *(band.shape[1] for band in bands)])
        members = [np.arange(a, b) for a, b in pairwise(edges)]
        X, X_test = (torch.cat(side, dim=1).to(device) for side in (bands, bands_test))
        return cls(Bands(X, None, Y.to(device), members, folds, alphas, tolerance), X_test, estimator)

    @property
    def n_bands(self):
        return len(self.bands.members)

    def fit(self, bands, weightings=((1.0,),), split=False, known=None) -> _Fit:
        """Fit one model.

        Parameters
        ----------
        bands : sequence of int
        weightings : array of shape (n_weightings, len(bands))
        split : bool
            Whether the part of the first band is wanted.
        known : dict or None
            Errors that are known; see :func:`voxelridge.banded.weigh`.
        """
        bands, weightings = list(bands), np.asarray(weightings, dtype=np.float64)
        full = np.zeros((len(weightings), self.n_bands))
        full[:, bands] = weightings
        if self.estimator == "himalaya":
            return _himalaya_fit(self.bands, self.X_test, full, bands[0])
        if known is None:
            known = self.known if len(bands) == 1 else dict(self.known)
        _, probabilities, kept = weigh(self.bands, full, self.estimator == "banded", known)
        predictions = np.zeros((1 + split, len(self.X_test), self.bands.Y.shape[1]), dtype=np.float32)
        first = torch.zeros(self.X_test.shape[1], device=self.X_test.device)
        first[self.bands.members[bands[0]]] = 1
        for k, weights in enumerate(full):
            features, scales = self.bands.features(weights)
            tests = [self.X_test[:, features] * scales]
            tests += [tests[0] * first[features]] * split
            lefts = None
            for voxels, decomposition, shrunk in self.bands.refit(
                weights, probabilities[k], kept.pop(k, None)
            ):
                lefts = lefts or [decomposition.test_features(test) for test in tests]
                for out, left in zip(predictions, lefts, strict=True):
                    out[:, voxels] += (left @ shrunk).cpu().numpy()
        weight = np.einsum("w,wav->v", full[:, bands[0]] / full.sum(1), probabilities)
        return _Fit(predictions[0], predictions[-1] if split else predictions[:0], weight)

    def weightings(self, n_weightings, seed):
        """Equal weights, weights from what bands explain alone in clusters of voxels, and single bands."""
        n_bands = self.n_bands
        if self.estimator == "concatenated":
            return np.ones((1, n_bands))
        equal = np.concatenate([np.full((1, n_bands), 1 / n_bands), np.eye(n_bands)])
        if self.estimator == "himalaya":
            return equal
        errors = np.array([self.known[tuple(weights)].min(0) for weights in np.eye(n_bands)])
        variance = self.bands.Y.square().mean(0).cpu().numpy()
        gain = np.clip(variance - errors, 0, None).T  # (n_voxels, n_bands)
        gain = gain[gain.sum(1) > 0]
        if n_weightings == 1 or len(gain) < n_weightings:
            return equal
        centres, _ = kmeans2(gain / gain.sum(1, keepdims=True), n_weightings - 1, minit="++", seed=seed)
        weights = np.maximum(centres * n_bands, WEIGHT_FLOOR)
        return np.concatenate([equal, weights / weights.sum(1, keepdims=True)])


def _himalaya_fit(bands, X_test, weightings, first) -> _Fit:
    """The best of the same candidates with himalaya's solver, as a reference."""
    before = get_backend().name
    set_backend("torch_cuda" if bands.X.is_cuda else "torch")
    used = np.flatnonzero(weightings.any(0))
    try:
        _, weights, cv_scores = solve_group_ridge_random_search(
            [bands.X[:, bands.members[b]] for b in used],
            bands.Y,
            n_iter=torch.as_tensor(
                np.maximum(weightings[:, used], 1e-12), dtype=bands.X.dtype
            ),  # it divides by them
            alphas=torch.as_tensor(bands.alphas, dtype=bands.X.dtype),
            score_func=l2_neg_loss,
            cv=[(fold.train, fold.test) for fold in bands.folds],
            return_weights=True,
            n_alphas_batch=10,
            n_targets_batch=500,
            progress_bar=False,
            warn=False,
        )
    finally:
        set_backend(before)
    weights, choice = weights.cpu(), cv_scores.argmax(0).cpu().numpy()
    X_test = torch.cat([X_test[:, bands.members[b]] for b in used], dim=1).cpu()
    n_first = len(bands.members[first])
    predictions = [(X_test[:, part] @ weights[part]).numpy() for part in (slice(None), slice(n_first))]
    return _Fit(*predictions, (weightings[:, first] / weightings.sum(1))[choice])


def _pair_details(fit, Y_test):
    """Weight of the first band (of 2), and the product measure of the joint fit."""
    split = product_measure(Y_test, np.stack([fit.first, fit.predictions - fit.first]))
    return {"weight_a": 2 * fit.weight, "split_a": split[0], "split_b": split[1]}


def _triples(triples, names):
    """Triples as ascending indices of instructions."""
    if isinstance(triples, str) and triples == "all":
        return list(combinations(range(len(names)), 3))
    for triple in triples:
        if len(set(triple)) != 3 or not set(triple) <= set(names):
            raise ValueError(f"triples contains {tuple(triple)} but must hold 3 different ones of {names}")
    return [tuple(sorted(map(names.index, triple))) for triple in triples]


def _checked(features, Y, Y_test, estimator):
    """Tensors of one dtype, checked against each other."""
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r} but must be one of {ESTIMATORS}")
    if len(features) < 2:
        raise ValueError(f"features has {len(features)} feature space but a partition needs at least 2")
    Y, Y_test = np.asarray(Y, dtype=np.float32), np.asarray(Y_test, dtype=np.float32)
    bands, bands_test = [], []
    for name, (train, test) in features.items():
        if len(train) != len(Y) or len(test) != len(Y_test) or train.shape[1] != test.shape[1]:
            raise ValueError(
                f"features[{name!r}] has shapes {train.shape} and {test.shape} but responses have "
                f"{Y.shape} and {Y_test.shape}; select the same stimuli and features"
            )
        bands.append(torch.as_tensor(np.asarray(train, dtype=np.float32)))
        bands_test.append(torch.as_tensor(np.asarray(test, dtype=np.float32)))
    for name, array in (("Y", Y), ("Y_test", Y_test), ("features", torch.cat(bands, 1).numpy())):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite; drop those voxels or stimuli")
    return bands, bands_test, torch.as_tensor(Y), Y_test
