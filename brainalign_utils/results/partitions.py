"""Stored variance partitions of a study as tidy tables."""

import numpy as np
import pandas as pd
import xarray as xr

from .. import store
from ..encoding.regions import bootstrap_roi
from ..settings import Settings
from ..stats.tests import subject_interval
from . import study

PARTS = ("unique_a", "unique_b", "shared")
KEPT = (
    *("r2_single", "r2_all", "r2_without", "r2_pair", "r2_triple", "unique_vs_all", *PARTS),
    *("triple_parts", "split_a", "split_b"),
)
"""Voxelwise variables that are stored, where there are any."""


def write_partition(
    settings: Settings, subject: int, model: str, component: str, layer_of_roi: pd.Series, by_layer: dict
) -> xr.Dataset:
    """Store the partitions of a model's layers.

    Parameters
    ----------
    component : str
    layer_of_roi : Series of int
        Layer whose result stands for a region.
    by_layer : dict of int to Dataset
        From :func:`brainalign_utils.encoding.partitioning.partition_instructions` with regions.

    Returns
    -------
    parts : Dataset
        Variables of :data:`KEPT` and, as ``region_*``, those of
        :func:`brainalign_utils.encoding.partitioning.bootstrap_roi`, with a dimension ``layer``.
    """
    each = []
    for parts in by_layer.values():
        regions = bootstrap_roi(parts)
        kept = parts[[name for name in KEPT if name in parts]]
        each.append(kept.merge(regions.rename({name: f"region_{name}" for name in regions.data_vars})))
    merged = xr.concat(each, "layer").assign_coords(layer=list(by_layer))
    chosen = layer_of_roi[merged.roi.values].to_numpy(int)
    common = study.best_common_layer(settings, subject, model)[1]
    merged = merged.assign_coords(layer_of_roi=("roi", chosen)).assign_attrs(
        component=component, layer=common
    )
    store.write_dataset(settings.paths.partition(subject, model), merged)
    return merged


def open_partition(settings: Settings, subject: int, model: str, layer: int | None = None) -> xr.Dataset:
    """A stored partition without its dimension ``layer``.

    Parameters
    ----------
    layer : int, optional
        None takes the common layer for voxels, and for each region the layer that stands for it.

    Raises
    ------
    KeyError
        When the layer was not fitted.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> parts = open_partition(settings, 1, "instructblip")
    >>> parts.shared.dims, parts.region_shared.dims
    (('pair', 'voxel'), ('pair', 'measure', 'roi', 'bound'))
    """
    parts = store.open_dataset(settings.paths.partition(subject, model))
    if layer is not None:
        if layer not in parts.layer.values:
            fitted = ", ".join(map(str, parts.layer.values))
            raise KeyError(f"layer {layer} was not partitioned, but {fitted}; set partition.layers: all")
        return parts.sel(layer=layer, drop=True)
    voxels = parts.sel(layer=parts.attrs["layer"], drop=True)
    at = {"layer": parts.layer_of_roi, "roi": parts.roi}  # pointwise: each region at its own layer
    names = [name for name in parts if "roi" in parts[name].dims]
    regions = {name: parts[name].sel(at).drop_vars("layer").transpose(*voxels[name].dims) for name in names}
    return voxels.assign(regions)


def triple_table(parts: xr.Dataset, roi: str, measure: str = "normalised") -> pd.DataFrame:
    """Seven parts of each triple of instructions in a region: triple, part, value, low, high.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = triple_table(open_partition(settings, 1, "instructblip"), "higher")
    >>> list(table.part)
    ['a', 'b', 'c', 'ab', 'ac', 'bc', 'abc']
    """
    values = parts.region_triple_parts.sel(roi=roi, measure=measure)
    names = {"mean": "value", "low": "low", "high": "high"}
    columns = {column: values.sel(bound=bound).to_series() for bound, column in names.items()}
    return pd.DataFrame(columns).reset_index()[["triple", "part", *columns]]


def _stored(settings: Settings, models):
    for subject in settings.subjects:
        for model in models:
            yield subject, model, open_partition(settings, subject, model)


def pair_table(settings: Settings, models, rois, measure: str = "normalised") -> pd.DataFrame:
    """Parts of every pair of instructions per subject, model and region.

    Returns
    -------
    table : DataFrame
        subject, model, roi, instruction_a, instruction_b, unique_a, unique_b, shared, shared_fraction
        (of the sum of the parts; NaN where that is not positive).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = pair_table(settings, ["instructblip"], ["higher"])
    >>> len(table)  # two subjects, six pairs of four instructions
    12
    """
    tables = []
    for subject, model, parts in _stored(settings, models):
        for roi in [r for r in rois if r in parts.roi.values]:
            values = parts.sel(roi=roi, measure=measure, bound="mean")
            table = pd.DataFrame({part: values[f"region_{part}"].values for part in PARTS})
            names = {f"instruction_{x}": parts[f"instruction_{x}"].values for x in "ab"}
            tables.append(table.assign(subject=subject, model=model, roi=roi, **names))
    table = pd.concat(tables, ignore_index=True)
    total = table[list(PARTS)].sum(axis=1)
    return table.assign(shared_fraction=(table.shared / total).where(total > 0))


def unique_table(settings: Settings, models, rois, measure: str = "normalised") -> pd.DataFrame:
    """What each instruction explains beyond all others, per subject and over all subjects and models.

    Returns
    -------
    table : DataFrame
        panel (region), instruction, subject (number, or "all"), value; low and high (smallest and largest
        subject) for "all".

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = unique_table(settings, ["instructblip"], ["higher"])
    >>> sorted(table.instruction.unique())
    ['CR', 'IC', 'IU1', 'IU2']
    """
    rows = []
    for subject, model, parts in _stored(settings, models):
        for roi in [r for r in rois if r in parts.roi.values]:
            values = parts.region_unique_vs_all.sel(roi=roi, measure=measure, bound="mean")
            rows.append(
                pd.DataFrame({"instruction": parts.instruction.values, "value": values.values}).assign(
                    panel=roi, subject=subject, model=model
                )
            )
    keys = ["panel", "instruction"]
    each = pd.concat(rows).groupby([*keys, "subject"], sort=False).value.mean().reset_index()
    everyone = each.groupby(keys, sort=False).value.agg(value="mean", low="min", high="max").reset_index()
    return pd.concat([each, everyone.assign(subject="all")], ignore_index=True)


def early_higher_table(
    pairs: pd.DataFrame, reference: str, early="prf-visual", higher="higher"
) -> pd.DataFrame:
    """Shared fraction of a reference instruction with each other one, in early and in higher areas.

    Returns
    -------
    table : DataFrame
        panel (the other instruction), roi, subject (number, or "all"), value; low and high (95 %, t across
        subjects) for "all".

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> pairs = pair_table(settings, ["instructblip"], ["prf-visual", "higher"])
    >>> sorted(early_higher_table(pairs, "IC").panel.unique())
    ['CR', 'IU1', 'IU2']
    """
    own = pairs[(pairs.instruction_a == reference) | (pairs.instruction_b == reference)]
    other = np.where(own.instruction_a == reference, own.instruction_b, own.instruction_a)
    own = own.assign(panel=other)
    own = own[own.roi.isin([early, higher])].sort_values("roi", key=lambda c: c.map({early: 0, higher: 1}))
    each = (
        own.groupby(["panel", "roi", "subject"], sort=False).shared_fraction.mean().reset_index(name="value")
    )
    groups = each.groupby(["panel", "roi"], sort=False).value
    bounds = [subject_interval(values) for _, values in groups]
    everyone = groups.mean().reset_index().assign(subject="all")
    everyone[["low", "high"]] = np.reshape(bounds, (-1, 2))
    return pd.concat([each, everyone], ignore_index=True)
