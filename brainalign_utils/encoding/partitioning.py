"""Fits behind a variance partition of instructions: singles, pairs, triples, all, all but one.

A joint model of several feature spaces (*bands*) scales each band by the root of a weight
before one ridge fit; every voxel takes the weighting and the penalty with the best
cross-validated R2 (banded ridge, Nunez-Elizalde et al. 2019, NeuroImage 197:482; Dupre la
Tour et al. 2022, NeuroImage 264:119728).  Candidate weightings come from fixed designs:

- pairs: ratios of weights on a logarithmic grid from 1:100 to 100:1, and either band alone;
- triples: three equal bands, each one emphasised or damped tenfold, and every nested pair;
- all bands and all but one: equal weights, and weights proportional to what the bands explain
  alone (cross-validated) in clusters of voxels.  The model *with* a band may always fall back
  to the model *without* it, so that unique variance compares like with like.

Finite training data bias shared variance a little below zero, by up to ``n_features /
n_stimuli`` times the joint R2: a single fit takes the other band's signal for noise.

Gram matrices and products with the responses are computed once for all bands and shared.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
import xarray as xr
from himalaya.backend import get_backend, set_backend
from himalaya.ridge import solve_group_ridge_random_search
from himalaya.scoring import r2_score as himalaya_r2_score
from scipy.cluster.vq import kmeans2
from tqdm import tqdm

from voxelridge.banded import BandedData, BandedFit, best_of, fit_weighting, share
from voxelridge.gram import make_folds
from voxelridge.voxels import choose_device

from .algebra import product_measure
from .regions import Regions, bootstrap_roi, partition_dataset

__all__ = ["bootstrap_roi", "pair_weightings", "partition_instructions"]

ESTIMATORS = ("banded", "concatenated", "himalaya")

MAX_LOG10_RATIO = 2.0
"""Pairs try weights from 1:100 to 100:1."""

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
        Bands weighted per voxel, unweighted, or weighted per voxel with himalaya's solver.
    n_ratios : int
        Candidates of a pair, the two single bands included.
    n_weightings : int
        Candidates of the models of all bands and of all but one.
    triples : iterable of 3-tuples of instructions, or "all"
    cv : int, fold labels or list of held-out indices
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
    bands, bands_test = ([band.to(device) for band in side] for side in (bands, bands_test))
    data = share(bands, bands_test, Y.to(device), make_folds(len(Y), cv), len(names))
    alphas = np.unique(np.asarray(alphas, dtype=np.float64))
    models = _Models(data, alphas, estimator, tolerance)
    regions = Regions(Y_test, roi_masks, noise_ceiling, min_ceiling, n_bootstraps, seed)
    pairs = list(combinations(range(len(names)), 2))
    with tqdm(total=len(pairs) + len(names) + len(triples) + 1, disable=not progress_bar) as bar:
        singles = [models.fit([b], [[1.0]]) for b in range(len(names))]
        rows = {"single": [regions.score(fit) for fit in singles], "pair": [], "triple": []}
        pair_fits = {}
        for a, b in pairs:
            fit = models.pair(a, b, singles, pair_weightings(estimator, n_ratios))
            rows["pair"].append(regions.score(fit) | _pair_details(fit, estimator, n_ratios, Y_test))
            if any({a, b} <= set(triple) for triple in triples):
                pair_fits[a, b] = fit
            bar.update()
        for triple in triples:
            rows["triple"].append(regions.score(models.triple(triple, pair_fits)))
            bar.update()
        rows |= _all_and_all_but_one(models, singles, regions, n_weightings, seed, bar)
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


def _all_and_all_but_one(models, singles, regions, n_weightings, seed, bar):
    """Rows of the models of all bands, all but one, and all with leave to drop that one."""
    n_bands = len(singles)
    weightings = models.weightings(singles, n_weightings, seed)
    everything = models.fit(range(n_bands), weightings)
    rows = {"all": [regions.score(everything)], "without": [], "with": []}
    bar.update()
    for b in range(n_bands):
        others = [k for k in range(n_bands) if k != b]
        rest = models.fit(others, weightings[:, others]) if len(others) > 1 else singles[others[0]]
        rows["without"].append(regions.score(rest))
        rows["with"].append(regions.score(models.nested([everything, rest])))
        bar.update()
    return rows


def pair_weightings(estimator, n_ratios):
    """Weights of two bands to try, (n_weightings, 2), each summing to 2; single bands are extra."""
    n_joint = 1 if estimator == "concatenated" else max(n_ratios - 2, 1)
    log_ratio = np.linspace(-MAX_LOG10_RATIO, MAX_LOG10_RATIO, n_joint) if n_joint > 1 else np.zeros(1)
    ratio = 10**log_ratio
    return np.c_[2 * ratio, 2 * np.ones(n_joint)] / (1 + ratio)[:, None]


@dataclass(frozen=True)
class _Models:
    """Fits of joint models, by estimator."""

    data: BandedData
    alphas: np.ndarray
    estimator: str
    tolerance: float

    def fit(self, bands, weightings, split=False) -> BandedFit:
        """Best of several weightings (n_weightings, n_bands)."""
        if self.estimator == "himalaya":
            return _himalaya_fit(self.data, list(bands), np.asarray(weightings), self.alphas, split)
        return best_of(
            fit_weighting(self.data, list(bands), weights, self.alphas, self.tolerance, index, split)
            for index, weights in enumerate(np.asarray(weightings))
        )

    def nested(self, fits) -> BandedFit:
        """The first fit, or where the estimator may drop bands the best of all."""
        return fits[0] if self.estimator == "concatenated" else best_of(fits)

    def pair(self, a, b, singles, weightings):
        joint = self.fit([a, b], weightings, split=True)
        only_a = replace(singles[a], first=singles[a].predictions, choice=np.full_like(joint.choice, -1))
        only_b = replace(singles[b], first=np.zeros_like(joint.first), choice=np.full_like(joint.choice, -2))
        return self.nested([joint, only_a, only_b])

    def triple(self, bands, pair_fits):
        weightings = [[1.0, 1.0, 1.0]]
        if self.estimator != "concatenated":
            weightings += [np.where(np.arange(3) == k, w, 1.0) for k in range(3) for w in (10.0, 0.1)]
        return self.nested(
            [
                self.fit(bands, weightings),
                *(replace(pair_fits[p], first=None) for p in combinations(bands, 2)),
            ]
        )

    def weightings(self, singles, n_weightings, seed):
        """Equal weights, and weights from what bands explain alone in clusters of voxels."""
        equal = np.ones((1, len(singles)))
        if self.estimator == "concatenated" or n_weightings == 1:
            return equal
        gain = np.clip([fit.cv_scores for fit in singles], 0, None).T  # (n_voxels, n_bands)
        gain = gain[gain.sum(1) > 0]
        if len(gain) < n_weightings:
            return equal
        share_of_gain = gain / gain.sum(1, keepdims=True)
        centres, _ = kmeans2(share_of_gain, n_weightings - 1, minit="++", seed=seed)
        weights = np.maximum(centres * len(singles), WEIGHT_FLOOR)
        return np.concatenate([equal, weights / weights.mean(1, keepdims=True)])


def _himalaya_fit(data, bands, weightings, alphas, split):
    """The same candidates with himalaya's solver, as a reference."""
    before = get_backend().name
    set_backend("torch_cuda" if data.X.is_cuda else "torch")
    try:
        Xs = [data.X[:, data.slices[b]] for b in bands]
        folds = [(np.setdiff1d(np.arange(len(data.X)), fold), fold) for fold in data.folds]
        deltas, weights, cv_scores = solve_group_ridge_random_search(
            Xs,
            data.Y,
            n_iter=torch.as_tensor(weightings, dtype=data.X.dtype),
            alphas=torch.as_tensor(alphas, dtype=data.X.dtype),
            score_func=himalaya_r2_score,
            cv=folds,
            return_weights=True,
            n_alphas_batch=10,
            n_targets_batch=500,
            progress_bar=False,
            warn=False,
        )
    finally:
        set_backend(before)
    n_first = Xs[0].shape[1]
    X_test = torch.cat([data.X_test[:, data.slices[b]] for b in bands], dim=1).cpu()
    weights, cv_scores, deltas = weights.cpu(), cv_scores.cpu(), deltas.cpu()
    choice = cv_scores.argmax(0)
    best_alphas = torch.as_tensor(weightings).T[0][choice] / deltas[0].exp()
    return BandedFit(
        cv_scores.max(0).values.numpy().astype(np.float64),
        (X_test @ weights).numpy(),
        (X_test[:, :n_first] @ weights[:n_first]).numpy() if split else None,
        choice.numpy(),
        best_alphas.numpy().astype(np.float64),
    )


def _pair_details(fit, estimator, n_ratios, Y_test):
    """Chosen weight of the first band (of 2), and the product measure of the joint fit."""
    weights = np.r_[pair_weightings(estimator, n_ratios)[:, 0], 0.0, 2.0]  # choices -2 and -1 at the end
    split = product_measure(Y_test, np.stack([fit.first, fit.predictions - fit.first]))
    return {"weight_a": weights[fit.choice], "split_a": split[0], "split_b": split[1]}


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
