"""Visual concepts: test images grouped by what is in them, and alignment within each group.

Groups come from object annotations (COCO's, or the phantom's in the same form), never from a model's
answers.  An image may be in several groups.  The paper speaks of count-related and recognition-related
concepts without defining them; the definitions here are this project's and stand in :data:`CONCEPTS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..stats.resampling import correlation_from_moments, target_moments
from ..stats.scoring import restrict_weights, zscore
from ..stats.tests import fdr

SUPERCATEGORIES = (
    "person", "vehicle", "outdoor", "animal", "accessory", "sports", "kitchen", "food", "furniture",
    "electronic", "appliance", "indoor",
)  # fmt: skip
INDOOR_CUES = ("furniture", "electronic", "appliance", "indoor", "kitchen")
OUTDOOR_CUES = ("vehicle", "outdoor")
WILD = ("horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
OBJECT_COLUMNS = ("nsd_id", "category", "supercategory", "area_fraction", "crowd")


@dataclass(frozen=True)
class Concept:
    """A group of images.

    Parameters
    ----------
    id, title : str
    kind : {"category", "count", "recognition", "scene"}
    definition : str
        What puts an image into the group.
    """

    id: str
    title: str
    kind: str
    definition: str


COUNT_BANDS = ((0, 1), (2, 3), (4, 6), (7, None))
MIN_COUNT, DOMINANT_AREA = 3, 0.15
CROWD_SIZE = 10
"""Objects for which a crowd counts: where a category has more than ten to fifteen members, COCO outlines the
rest as one region (Lin et al. 2014, "Microsoft COCO: common objects in context", section 4.3)."""


def _band_title(low, high) -> str:
    return f"{low} or more" if high is None else f"{low} to {high}"


CONCEPTS = (
    *(
        Concept(f"has-{s}", s, "category", f"at least one object of COCO's supercategory {s!r}")
        for s in SUPERCATEGORIES
    ),
    *(
        Concept(f"n-{low}{'+' if high is None else f'-{high}'}", f"{_band_title(low, high)} objects", "count",
                f"{_band_title(low, high)} annotated objects; a crowd counts as {CROWD_SIZE}")
        for low, high in COUNT_BANDS
    ),
    Concept("count", "several of a kind", "count",
            f"some category occurs at least {MIN_COUNT} times, or as a crowd"),
    Concept("recognition", "one dominant object", "recognition",
            f"the largest object covers at least {DOMINANT_AREA:.0%} of the image, and no category occurs "
            f"{MIN_COUNT} times or as a crowd"),
    Concept("people", "people", "recognition", "at least one person"),
    Concept("no-people", "no people", "recognition", "no person"),
    Concept("food-2", "several foods", "recognition", "food objects of at least two categories"),
    Concept("indoor", "indoor", "scene", f"an object of {', '.join(INDOOR_CUES)}, and no outdoor cue"),
    Concept("outdoor", "outdoor", "scene",
            f"an object of {', '.join(OUTDOOR_CUES)} or a farm or wild animal, and no indoor cue"),
)  # fmt: skip
CONCEPT_BY_ID = {row.id: row for row in CONCEPTS}

INSTRUCTION_KINDS = {
    "count-related": ("IU3",),
    "recognition-related": ("VQ1", "VQ2", "IU2", "SR", "CR"),
}
"""Instructions by what they ask for: a number, or naming what is there.  The others ask for colour (IU1),
layout (VQ3), interaction (VR) or free description (IC)."""


class ConceptError(ValueError):
    """Annotations or groups that do not fit the images; the message shows both values and the remedy."""


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Mean alignment by kind of concept (rows) and of instruction (columns, :data:`INSTRUCTION_KINDS`).

    Parameters
    ----------
    table : DataFrame
        Columns kind, instruction, mean.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"kind": ["count", "count"], "instruction": ["IU3", "IC"], "mean": [0.5, 0.3]}
    ... )
    >>> by_kind(table).loc["count"].to_dict()
    {'count-related': 0.5, 'other': 0.3}
    """
    kinds = {i: kind for kind, ids in INSTRUCTION_KINDS.items() for i in ids}
    named = table.assign(asks=table.instruction.map(kinds).fillna("other"))
    return named.groupby(["kind", "asks"], sort=False)["mean"].mean().unstack("asks")


def concept_groups(
    objects: pd.DataFrame,
    nsd_ids,
    setting: pd.Series | None = None,
    min_count: int = MIN_COUNT,
    dominant_area: float = DOMINANT_AREA,
) -> pd.DataFrame:
    """Which image is in which group.

    Parameters
    ----------
    objects : DataFrame
        One row an annotated object: nsd_id, category, supercategory, area_fraction (of the image), crowd
        (bool: more of the category than can be counted).  Images without objects have no row.
    nsd_ids : array of shape (n_stimuli,)
        The test images, in the order of responses and predictions.
    setting : Series of "indoor" or "outdoor" by nsd_id, optional
        Where it is known (the phantom knows it); replaces the cues from objects.
    min_count : int
        See the concepts ``count`` and ``recognition``.
    dominant_area : float
        See the concept ``recognition``.

    Returns
    -------
    groups : DataFrame of bool, index nsd_id, one column per row of :data:`CONCEPTS`

    Raises
    ------
    ConceptError
        If a column of ``objects`` is missing.

    Examples
    --------
    >>> objects = pd.DataFrame(
    ...     [[3, "dog", "animal", 0.4], [3, "dog", "animal", 0.1], [8, "bus", "vehicle", 0.5]],
    ...     columns=["nsd_id", "category", "supercategory", "area_fraction"],
    ... ).assign(crowd=False)
    >>> groups = concept_groups(objects, [3, 5, 8])
    >>> groups[["has-animal", "recognition", "no-people"]].sum().to_dict()
    {'has-animal': 1, 'recognition': 2, 'no-people': 3}
    """
    if missing := [c for c in OBJECT_COLUMNS if c not in objects]:
        raise ConceptError(
            f"objects lacks {', '.join(missing)}; it has {', '.join(map(str, objects.columns))}"
        )
    ids = pd.Index(np.asarray(nsd_ids), name="nsd_id")
    objects = objects[objects.nsd_id.isin(ids)]

    def among(rows):
        return pd.Series(ids.isin(rows.nsd_id), ids)

    crowd = objects.crowd.astype(bool)
    number = objects.assign(number=np.where(crowd, CROWD_SIZE, 1))
    n_objects = number.groupby("nsd_id").number.sum().reindex(ids, fill_value=0)
    per_category = number.groupby(["nsd_id", "category"]).number.sum()
    most = per_category.groupby("nsd_id").max().reindex(ids, fill_value=0)
    largest = objects[~crowd].groupby("nsd_id").area_fraction.max().reindex(ids, fill_value=0.0)
    foods = objects[objects.supercategory == "food"].groupby("nsd_id").category.nunique()
    groups = {f"has-{s}": among(objects[objects.supercategory == s]) for s in SUPERCATEGORIES}
    bands = [c.id for c in CONCEPTS if c.id.startswith("n-")]
    for name, (low, high) in zip(bands, COUNT_BANDS, strict=True):
        groups[name] = n_objects.between(low, np.inf if high is None else high)
    groups["count"] = most >= min_count
    groups["recognition"] = (largest >= dominant_area) & (most < min_count)
    groups["people"], groups["no-people"] = groups["has-person"], ~groups["has-person"]
    groups["food-2"] = foods.reindex(ids, fill_value=0) >= 2
    inside, outside = _setting(objects, ids, setting, among)
    groups["indoor"], groups["outdoor"] = inside & ~outside, outside & ~inside
    return pd.DataFrame(groups)[[c.id for c in CONCEPTS]]


def _setting(objects, ids, setting, among):
    if setting is not None:
        known = setting.reindex(ids)
        return known == "indoor", known == "outdoor"
    outdoor = objects.supercategory.isin(OUTDOOR_CUES) | objects.category.isin(WILD)
    return among(objects[objects.supercategory.isin(INDOOR_CUES)]), among(objects[outdoor])


def concept_alignment(
    y_true,
    y_pred,
    groups: pd.DataFrame,
    roi_weights,
    rois: Sequence[str],
    min_images: int = 12,
    n_random: int = 200,
    seed: int = 0,
    random_for: Sequence[str] | None = None,
    **labels,
) -> pd.DataFrame:
    """Alignment within each group of images, against random groups of the same size.

    A correlation within a group says whether the model tells the group's images apart as the voxel does.
    Groups differ in how much their images vary, which moves every model's score; so differences between
    instructions within a group mean more than differences between groups.

    Parameters
    ----------
    y_true, y_pred : arrays of shape (n_stimuli, n_voxels)
    groups : DataFrame of bool with n_stimuli rows
        From :func:`concept_groups`, in the same order of images.
    roi_weights : array of shape (n_voxels, n_rois)
        From :func:`scoring.roi_weights`.
    rois : sequence of str
    min_images : int
        Smaller groups are NaN.
    n_random : int
        Random groups.
    random_for : sequence of str, optional
        Groups that are compared with random ones; the others have NaN ``chance`` and ``p``.  All by default.
    seed : int
    **labels
        Constant columns, for instance ``subject=1, model="instructblip", instruction="IU3"``.

    Returns
    -------
    table : DataFrame
        labels, concept, title, kind, n_images, roi, mean, chance (mean over random groups), difference
        (mean - chance), p (two-sided, against random groups), q (Benjamini-Hochberg over the table).

    Raises
    ------
    ConceptError
        If ``groups`` has another number of images than ``y_true``.
    """
    if len(groups) != len(y_true):
        raise ConceptError(
            f"groups has {len(groups)} images and y_true {len(y_true)}; build it with the same nsd_ids"
        )
    used = (np.nan_to_num(np.asarray(roi_weights)) != 0).any(1)
    z_true, z_pred = (zscore(np.asarray(side)[:, used]).astype(np.float32) for side in (y_true, y_pred))
    weights = restrict_weights(np.asarray(roi_weights)[used], np.isfinite(z_true[0]) & np.isfinite(z_pred[0]))
    masks, sizes = groups.to_numpy(bool).T, groups.to_numpy(bool).sum(0)
    scored = sizes >= min_images
    means = np.full((len(masks), len(rois)), np.nan)
    if scored.any():
        means[scored] = _group_means(masks[scored], z_true, z_pred, weights)
    chance, p = np.full_like(means, np.nan), np.full_like(means, np.nan)
    rng = np.random.default_rng(seed)
    tested = scored if random_for is None else scored & groups.columns.isin(random_for)
    for size in np.unique(sizes[tested]):
        null = _group_means(_random_groups(rng, n_random, len(groups), size), z_true, z_pred, weights)
        for i in np.flatnonzero(tested & (sizes == size)):
            chance[i] = null.mean(0)
            k = (np.abs(null - chance[i]) >= np.abs(means[i] - chance[i]) - 1e-7).sum(0)
            p[i] = np.where(np.isfinite(means[i]), (k + 1) / (n_random + 1), np.nan)
    return _table(groups.columns, sizes, rois, means, chance, p, labels)


def _group_means(masks, z_true, z_pred, weights):
    """Region means (n_groups, n_rois) of the correlations over each group's images.

    Voxels that do not vary within a group are left out of that group's means.
    """
    r = correlation_from_moments(target_moments(masks, z_true), z_true, z_pred)
    known, scale = np.isfinite(r), np.nan_to_num(weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = (scale != 0).sum(0) / (known.astype(np.float32) @ (scale != 0))
        return np.nan_to_num(r) @ scale * kept


def _random_groups(rng, n_groups, n_stimuli, size):
    return rng.random((n_groups, n_stimuli)).argsort(1) < size


def _table(names, sizes, rois, means, chance, p, labels) -> pd.DataFrame:
    rows = []
    for i, name in enumerate(names):
        concept = CONCEPT_BY_ID.get(name, Concept(name, name, "other", ""))
        head = {**labels, "concept": name, "title": concept.title, "kind": concept.kind, "n_images": sizes[i]}
        for j, roi in enumerate(rois):
            rows.append(head | {"roi": roi, "mean": means[i, j], "chance": chance[i, j], "p": p[i, j]})
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p"), "difference", table["mean"] - table.chance)
    return table.assign(q=fdr(table.p))
