"""Tables of variance partitions: regional means, bootstrap samples, parts by set algebra."""

from itertools import combinations

import numpy as np
import xarray as xr

from .algebra import (
    interval,
    normalise,
    pair_parts,
    r2_resampled,
    r2_score,
    resample,
    resampled_precision,
    triple_parts,
)

DETAILS = ("weight_a", "split_a", "split_b")
"""Variables that only pairs have."""

PARTS = ("unique_a", "unique_b", "shared", "unique_vs_all", "triple_parts")


class Regions:
    """Scores of a fit on test stimuli: per voxel, and bootstrapped means of regions.

    Parameters
    ----------
    Y_test : array of shape (n_test_stimuli, n_voxels)
    roi_masks : dict of str to bool array of shape (n_voxels, ), or None
    noise_ceiling : array of shape (n_voxels, ) or None
    min_ceiling : float
        Voxels below it do not enter normalised means.
    n_bootstraps, seed : int
    """

    def __init__(self, Y_test, roi_masks, noise_ceiling, min_ceiling, n_bootstraps, seed):
        self.Y_test, self.names = Y_test, list(roi_masks or {})
        self.measures = ["raw"] if noise_ceiling is None else ["raw", "normalised"]
        if not self.names:
            return
        masks = np.array([np.asarray(mask, dtype=bool) for mask in roi_masks.values()])
        if masks.shape[1] != Y_test.shape[1]:
            raise ValueError(
                f"roi_masks have {masks.shape[1]} voxels but Y_test has {Y_test.shape[1]}; align them"
            )
        masks = masks & (Y_test.std(0) > 0)
        scale = [np.ones(Y_test.shape[1])]
        if noise_ceiling is not None:
            scale.append(normalise(scale[0], noise_ceiling, min_ceiling))
        scale = np.array(scale)[:, None] * np.where(masks, 1.0, np.nan)  # (n_measures, n_roi, n_voxels)
        counts = np.isfinite(scale).sum(2, keepdims=True)
        self.weights = np.nan_to_num(scale) / np.where(counts > 0, counts, np.nan)
        self.counts = resample(len(Y_test), n_bootstraps, seed)
        self.precision = resampled_precision(Y_test, self.counts)

    def score(self, fit):
        """R2 (voxel), and with regions ``roi`` (measure, roi) and ``boot`` (bootstrap, measure, roi)."""
        r2 = r2_score(self.Y_test, fit.predictions)
        if not self.names:
            return {"r2": r2}
        flat = self.weights.reshape(-1, self.weights.shape[2]).T
        shape = self.weights.shape[:2]
        samples = r2_resampled(self.Y_test, fit.predictions, self.counts, self.precision)
        boot = np.nan_to_num(samples, copy=False) @ flat.astype(np.float32)
        return {
            "r2": r2,
            "roi": (np.nan_to_num(r2) @ flat).reshape(shape),
            "boot": boot.reshape(len(boot), *shape),
        }


def partition_dataset(rows, names, triples, regions):
    """Scores of all models as a dataset, with the parts that follow from them.

    Parameters
    ----------
    rows : dict of str to list of dict
        Results of :meth:`Regions.score` by kind of model: single, pair, triple, all, without, with.
    names : list of str
        Instructions.
    triples : list of tuple of int
    regions : Regions

    Returns
    -------
    xr.Dataset
        See :func:`brainalign_utils.encoding.partitioning.partition_instructions`.
    """
    axes = {"single": "instruction", "without": "instruction", "with": "instruction"}
    axes |= {"pair": "pair", "triple": "triple"}
    tails = {"boot": ("bootstrap", "measure", "roi"), "roi": ("measure", "roi")}
    variables = {}
    for model, items in rows.items():
        for key in items[0] if items else ():
            name = key if key in DETAILS else f"{key}_{model}"
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
        out[key if key in PARTS else f"r2_{key}"] = (
            (*samples.dims[1:], "bound"),
            np.stack(bounds, axis=-1),
        )
    coords = {k: v for k, v in boot.coords.items() if k != "bootstrap" and "voxel" not in v.dims}
    return xr.Dataset(out, {**coords, "bound": ["mean", "low", "high"]})
