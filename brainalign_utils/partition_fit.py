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
from tqdm.auto import tqdm

from .partition import (
    interval,
    normalise,
    pair_parts,
    product_measure,
    r2_resampled,
    r2_score,
    resample,
    triple_parts,
)
from .ridge_banded import BandedData, BandedFit, best_of, fit_weighting, share
from .ridge_gram import make_folds

ESTIMATORS = ("banded", "concatenated", "himalaya")

MAX_LOG10_RATIO = 2.0
"""Pairs try weights from 1:100 to 100:1."""

WEIGHT_FLOOR = 0.05
"""Smallest weight of a band, relative to the mean, in weightings from clusters of voxels."""

TOLERANCE = 1e-4
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
    """
    names = list(features)
    bands, bands_test, Y, Y_test = _checked(features, Y, Y_test, estimator)
    triples = _triples(triples, names)
    data = share(bands, bands_test, Y, make_folds(len(Y), cv), len(names))
    alphas = np.unique(np.asarray(alphas, dtype=np.float64))
    models = _Models(data, alphas, estimator, tolerance)
    regions = _Regions(Y_test, roi_masks, noise_ceiling, min_ceiling, n_bootstraps, seed)
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
    dataset = _dataset(rows, names, triples, regions)
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
    set_backend("torch")
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
    X_test = torch.cat([data.X_test[:, data.slices[b]] for b in bands], dim=1)
    choice = cv_scores.argmax(0)
    best_alphas = torch.as_tensor(weightings).T[0][choice] / deltas[0].exp()
    return BandedFit(
        cv_scores.max(0).values.numpy().astype(np.float64),
        (X_test @ weights).numpy(),
        (X_test[:, :n_first] @ weights[:n_first]).numpy() if split else None,
        choice.numpy(),
        best_alphas.numpy().astype(np.float64),
    )


class _Regions:
    """Scores of a fit on test stimuli: per voxel, and bootstrapped means of regions."""

    def __init__(self, Y_test, roi_masks, noise_ceiling, min_ceiling, n_bootstraps, seed):
        self.Y_test, self.names = Y_test, list(roi_masks or {})
        self.measures = ["raw"] if noise_ceiling is None else ["raw", "normalised"]
        if not self.names:
            return
        masks = np.array([np.asarray(mask, dtype=bool) for mask in roi_masks.values()])
        if masks.shape[1] != Y_test.shape[1]:
            raise ValueError(
                f"roi_masks have {masks.shape[1]} voxels but Y_test has {Y_test.shape[1]}; use the same voxels"
            )
        masks = masks & (Y_test.std(0) > 0)
        scale = [np.ones(Y_test.shape[1])]
        if noise_ceiling is not None:
            scale.append(normalise(scale[0], noise_ceiling, min_ceiling))
        scale = np.array(scale)[:, None] * np.where(masks, 1.0, np.nan)  # (n_measures, n_roi, n_voxels)
        counts = np.isfinite(scale).sum(2, keepdims=True)
        self.weights = np.nan_to_num(scale) / np.where(counts > 0, counts, np.nan)
        self.counts = resample(len(Y_test), n_bootstraps, seed)

    def score(self, fit):
        """R2 (voxel), and with regions ``roi`` (measure, roi) and ``boot`` (bootstrap, measure, roi)."""
        r2 = r2_score(self.Y_test, fit.predictions)
        if not self.names:
            return {"r2": r2}
        flat = self.weights.reshape(-1, self.weights.shape[2]).T
        shape = self.weights.shape[:2]
        boot = np.nan_to_num(r2_resampled(self.Y_test, fit.predictions, self.counts)) @ flat
        return {
            "r2": r2,
            "roi": (np.nan_to_num(r2) @ flat).reshape(shape),
            "boot": boot.reshape(len(boot), *shape),
        }


def _pair_details(fit, estimator, n_ratios, Y_test):
    """Chosen weight of the first band (of 2), and the product measure of the joint fit."""
    weights = np.r_[pair_weightings(estimator, n_ratios)[:, 0], 0.0, 2.0]  # choices -2 and -1 at the end
    split = product_measure(Y_test, np.stack([fit.first, fit.predictions - fit.first]))
    return {"weight_a": weights[fit.choice], "split_a": split[0], "split_b": split[1]}


def _dataset(rows, names, triples, regions):
    """Tables of rows as a dataset, and the parts that follow from them."""
    axes = {"single": "instruction", "without": "instruction", "with": "instruction"}
    axes |= {"pair": "pair", "triple": "triple"}
    tails = {"boot": ("bootstrap", "measure", "roi"), "roi": ("measure", "roi")}
    variables = {}
    for model, items in rows.items():
        for key in items[0] if items else ():
            name = key if key in ("weight_a", "split_a", "split_b") else f"{key}_{model}"
            values = np.stack([item[key] for item in items])
            dims = tails.get(key, ("voxel",))
            variables[name] = (dims, values[0]) if model == "all" else ((axes[model], *dims), values)
    pairs = list(combinations(names, 2))
    coords = {"instruction": names, "pair": ["+".join(pair) for pair in pairs]}
    coords |= {f"instruction_{x}": ("pair", [p[i] for p in pairs]) for i, x in enumerate("ab")}
    if regions.names:
        coords |= {"roi": regions.names, "measure": regions.measures}
    if triples:
        coords["triple"] = ["+".join(names[k] for k in triple) for triple in triples]
    dataset = xr.Dataset(variables, coords)
    for key in ("r2", "roi"):
        if f"{key}_single" in dataset:
            dataset = dataset.assign(_parts(dataset, key, names, triples))
    return dataset


def _parts(dataset, key, names, triples):
    """Parts by set algebra from the R2 variables ``<key>_<model>``."""
    prefix = {"r2": "", "roi": "roi_", "boot": "boot_"}[key]
    single, pair = dataset[f"{key}_single"], dataset[f"{key}_pair"]
    a, b = (single.sel(instruction=dataset[f"instruction_{x}"]).drop_vars("instruction") for x in "ab")
    parts = pair_parts(a.values, b.values, pair.values)
    out = {
        f"{prefix}{part}": (pair.dims, getattr(parts, part)) for part in ("unique_a", "unique_b", "shared")
    }
    out[f"{prefix}unique_vs_all"] = dataset[f"{key}_with"] - dataset[f"{key}_without"]
    if triples:
        values = [_triple(dataset, key, names, triple) for triple in triples]
        labels = ["a", "b", "c", "ab", "ac", "bc", "abc"]
        dims = ("triple", "part", *dataset[f"{key}_triple"].dims[1:])
        out[f"{prefix}triple_parts"] = xr.DataArray(np.stack(values), dims=dims, coords={"part": labels})
    return out


def _triple(dataset, key, names, triple):
    members = [names[k] for k in triple]
    singles = [dataset[f"{key}_single"].sel(instruction=name).values for name in members]
    pairs = [dataset[f"{key}_pair"].sel(pair="+".join(p)).values for p in combinations(members, 2)]
    parts = triple_parts(singles, pairs, dataset[f"{key}_triple"].sel(triple="+".join(members)).values)
    return np.stack(list(parts.values()))


def bootstrap_roi(dataset, level=0.95) -> xr.Dataset:
    """Regional means of all parts with percentile intervals over test stimuli.

    Parameters
    ----------
    dataset : xr.Dataset
        From :func:`partition_instructions` with ``roi_masks``.
    level : float

    Returns
    -------
    xr.Dataset
        Every variable as in the input, named ``unique_a``, ``shared``, ``r2_pair`` and so on,
        with dimensions (..., measure, roi, bound) and bounds ``mean``, ``low``, ``high``.

    Raises
    ------
    ValueError
        If the dataset holds no bootstrap samples.
    """
    if "boot_single" not in dataset:
        raise ValueError(
            "dataset has no boot_single; pass roi_masks to partition_instructions to bootstrap regions"
        )
    names = list(dataset.instruction.values)
    triples = [
        tuple(names.index(n) for n in t.split("+")) for t in dataset.get("triple", xr.DataArray([])).values
    ]
    boot = dataset.assign(_parts(dataset, "boot", names, triples))
    out = {}
    for name in boot.data_vars:
        if not name.startswith("boot_"):
            continue
        key = name.removeprefix("boot_")
        samples = boot[name].transpose("bootstrap", ...)
        mean = dataset[f"roi_{key}"].transpose(*samples.dims[1:])
        bounds = [mean.values, *interval(samples.values, level)]
        is_part = key in ("unique_a", "unique_b", "shared", "unique_vs_all", "triple_parts")
        out[key if is_part else f"r2_{key}"] = (
            (*samples.dims[1:], "bound"),
            np.stack(bounds, axis=-1),
        )
    coords = {k: v for k, v in boot.coords.items() if k != "bootstrap" and "voxel" not in v.dims}
    return xr.Dataset(out, {**coords, "bound": ["mean", "low", "high"]})


def _triples(triples, names):
    """Triples as ascending indices of instructions."""
    if isinstance(triples, str) and triples == "all":
        return list(combinations(range(len(names)), 3))
    for triple in triples:
        if len(set(triple)) != 3 or not set(triple) <= set(names):
            raise ValueError(
                f"triples contains {tuple(triple)} but must hold 3 different ones of {names}; correct the names"
            )
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
