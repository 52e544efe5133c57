"""Tables of brain alignment: which layer, under which ceiling, by whose convention.

Input is the ``scores`` Dataset of one subject and model: dims (space, voxel), variables ``r`` and
``cv_score``, coordinates component, layer, depth and instruction on ``space`` and ``roi_mask`` of dims
(roi, voxel).  Output is tidy: one row per feature-space choice and region.
"""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ..stats.scoring import normalised_alignment, roi_summary

LAYER_CHOICES = ("best", "best-voxel", "mean", "last")
"""``best``: the layer with the highest mean ``cv_score`` over the region's voxels, so chosen on training
images only, per region (the default).  ``best-voxel``: the same for each voxel by itself.  ``mean``: scores
averaged over all layers, embeddings included, as the authors did.  ``last``: the last layer."""

AUTHORS_VOLUMES = {
    "prf-visualrois": "prf-visual",
    "floc-bodies": "bodies",
    "floc-faces": "faces",
    "floc-places": "places",
    "floc-words": "words",
    "prf-eccrois": "prf-eccrois",
}
"""ROI volumes of the authors' notebook, and the region each is meant to stand for."""

SPACE = ["component", "instruction"]


class AlignmentError(ValueError):
    """A choice that does not exist, or scores that lack what it needs."""


def space_table(scores: xr.Dataset) -> pd.DataFrame:
    """Feature spaces of a ``scores`` Dataset: component, instruction, layer, depth, in their order."""
    return pd.DataFrame({name: scores[name].values for name in (*SPACE, "layer", "depth")})


def best_layers(scores: xr.Dataset) -> pd.DataFrame:
    """Best layer of each region, chosen by cross-validation on the training images.

    Parameters
    ----------
    scores : Dataset
        See the module's head.

    Returns
    -------
    table : DataFrame
        component, instruction, roi, space (index along ``space``), layer, depth, cv_score (mean over the
        region's voxels).  Regions without voxels are left out.
    """
    cv, masks = scores.cv_score.values, scores.roi_mask.values.astype(bool)
    rows = []
    for key, spaces in space_table(scores).groupby(SPACE, sort=False):
        for roi, mask in zip(scores.roi.values, masks, strict=True):
            means = _nanmean(cv[np.ix_(spaces.index, mask)], axis=1)
            if np.isfinite(means).any():
                best = spaces.iloc[int(np.nanargmax(means))]
                row = dict(zip(SPACE, key, strict=True)) | {"roi": roi, "space": best.name}
                rows.append(row | {"layer": best.layer, "depth": best.depth, "cv_score": np.nanmax(means)})
    return pd.DataFrame(rows)


def choose_layer(r, cv_score, depth, mask, choice: str = "best"):
    """Scores of one component and instruction under a layer choice.

    Parameters
    ----------
    r, cv_score : arrays of shape (n_layers, n_voxels)
    depth : array of shape (n_layers,)
    mask : bool array of shape (n_voxels,)
        Region for which ``best`` chooses.
    choice : {"best", "best-voxel", "mean", "last"}
        See :data:`LAYER_CHOICES`.

    Returns
    -------
    values : array of shape (n_voxels,)
    index : int or None
        Layer taken; None where the choice is no single layer.
    """
    if choice not in LAYER_CHOICES:
        raise AlignmentError(f"layer choice is {choice!r}; choose one of {', '.join(LAYER_CHOICES)}")
    if choice == "mean":
        return _nanmean(r, axis=0), None
    if choice == "last":
        index = int(np.argmax(depth))
        return r[index], index
    if choice == "best-voxel":
        index, known = _argmax(cv_score)
        return np.where(known, np.take_along_axis(r, index[None], 0)[0], np.nan), None
    means = _nanmean(cv_score[:, mask], axis=1)
    if not np.isfinite(means).any():
        return np.full(r.shape[1], np.nan), None
    index = int(np.nanargmax(means))
    return r[index], index


def alignment_table(
    scores: xr.Dataset,
    ceiling=None,
    layer_choice: str = "best",
    min_ceiling: float = 0.05,
    kind: str = "variance",
    **labels,
) -> pd.DataFrame:
    """Mean alignment of each component, instruction and region.

    Parameters
    ----------
    scores : Dataset
        One subject and model; see the module's head.
    ceiling : array of shape (n_voxels,), optional
        None gives raw correlations.
    layer_choice : str
        One of :data:`LAYER_CHOICES`.
    min_ceiling, kind
        As for :func:`scoring.normalised_alignment`.
    **labels
        Constant columns, for instance ``subject=1, model="vit-h", ceiling_name="ncsnr"``.

    Returns
    -------
    table : DataFrame
        labels, convention ("default"), metric ("normalised_r" or "pearson_r"), layer_choice, component,
        instruction, roi, layer, depth (NaN where no single layer is taken), n_voxels, n_dropped,
        share_dropped, mean, sem (over voxels), absent.
    """
    r, cv_score, masks = scores.r.values, scores.cv_score.values, scores.roi_mask.values.astype(bool)
    values = r if ceiling is None else normalised_alignment(r, ceiling, min_ceiling, kind)
    groups, n_rois = _groups(scores), len(masks)
    if layer_choice == "best":
        chosen = _best_of_each_region(cv_score, masks, list(groups.values()))
        with_none = np.vstack([values, np.full((1, values.shape[1]), np.nan)])
        summary = {c: v[chosen, np.arange(n_rois)] for c, v in roi_summary(with_none, masks).items()}
    else:
        depth = scores.depth.values
        each = [choose_layer(values[g], cv_score[g], depth[g], None, layer_choice) for g in groups.values()]
        taken = [len(values) if k is None else g[k] for g, (_, k) in zip(groups.values(), each, strict=True)]
        chosen = np.repeat(np.array(taken)[:, None], n_rois, axis=1)
        summary = roi_summary(np.stack([v for v, _ in each]), masks)
    head = labels | {"convention": "default", "metric": _metric(ceiling), "layer_choice": layer_choice}
    head |= dict(zip(SPACE, np.repeat(np.array(list(groups), object), n_rois, axis=0).T, strict=True))
    head["roi"] = np.tile(scores.roi.values, len(groups))
    for name in ("layer", "depth"):
        head[name] = np.append(scores[name].values.astype(float), np.nan)[chosen].ravel()
    return _ordered(pd.DataFrame(head | {name: column.ravel() for name, column in summary.items()}))


def _groups(scores: xr.Dataset) -> dict[tuple[str, str], np.ndarray]:
    """Positions along ``space`` of the layers of each component and instruction, in their order."""
    groups = {}
    for position, key in enumerate(zip(*(scores[name].values for name in SPACE), strict=True)):
        groups.setdefault(key, []).append(position)
    return {key: np.array(positions) for key, positions in groups.items()}


def _best_of_each_region(cv_score, masks, groups) -> np.ndarray:
    """Position of each group's best layer, (n_groups, n_rois); ``n_spaces`` where there is no score."""
    means = roi_summary(cv_score, masks)["mean"]  # (n_spaces, n_rois)
    found = [_argmax(means[group]) for group in groups]
    return np.stack([np.where(k, g[i], len(means)) for g, (i, k) in zip(groups, found, strict=True)])


def layer_table(scores: xr.Dataset, ceiling=None, min_ceiling: float = 0.05, kind="variance", **labels):
    """As :func:`alignment_table`, with a row for every layer (figure 5).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> scores = study.open_scores(settings, 1, "vit-h")
    >>> table = layer_table(scores, scores.noise_ceiling.values, subject=1, model="vit-h")
    >>> list(table.columns[-7:])
    ['depth', 'n_voxels', 'n_dropped', 'share_dropped', 'mean', 'sem', 'absent']
    """
    r = scores.r.values
    values = r if ceiling is None else normalised_alignment(r, ceiling, min_ceiling, kind)
    head = labels | {"convention": "default", "metric": _metric(ceiling), "layer_choice": "each"}
    summary = roi_summary(values, scores.roi_mask.values)
    spaces = space_table(scores)
    rows = spaces.loc[spaces.index.repeat(scores.sizes["roi"])].reset_index(drop=True)
    columns = {name: column.ravel() for name, column in summary.items()}
    rows = rows.assign(**head, roi=np.tile(scores.roi.values, len(spaces)), **columns)
    return _ordered(rows[[*head, *(c for c in rows if c not in head)]])


def authors_table(
    scores: xr.Dataset, volumes: Mapping[str, np.ndarray], n_outside: Mapping[str, int], **labels
) -> pd.DataFrame:
    """Region means as the authors' notebook takes them (``convention: authors``), beside the default.

    Raw correlations averaged over layers; a region is label 1 of its volume alone (V1v, EBA, OFA, OPA,
    OWFA stand for whole localisers); voxels of that label outside nsdgeneral enter as 0.

    Parameters
    ----------
    scores : Dataset
        One subject and model.
    volumes : mapping of ROI volume to int array of shape (n_voxels,)
        Labels inside nsdgeneral.
    n_outside : mapping of ROI volume to int
        Voxels with label 1 outside nsdgeneral.
    **labels
        Constant columns.

    Returns
    -------
    table : DataFrame
        As :func:`alignment_table`, with convention "authors" and roi named ``<volume>==1``;
        ``n_voxels`` counts the voxels outside too, ``n_outside`` says how many they are.

    Raises
    ------
    AlignmentError
        If ``n_outside`` lacks a volume of ``volumes``.
    """
    if missing := sorted(set(volumes) - set(n_outside)):
        raise AlignmentError(f"n_outside lacks {', '.join(missing)}; count label-1 voxels outside the mask")
    groups = _groups(scores)
    mean_r = np.stack([_nanmean(scores.r.values[group], axis=0) for group in groups.values()])
    outside = np.array([int(n_outside[volume]) for volume in volumes])
    summaries = []
    for label, n in zip(volumes.values(), outside, strict=True):
        padded = np.pad(mean_r[:, np.asarray(label) == 1], ((0, 0), (0, n)))
        summaries.append(roi_summary(padded, np.ones((1, padded.shape[1]), bool)))
    columns = {
        name: np.hstack([np.broadcast_to(s[name], (len(groups), 1)) for s in summaries]).ravel()
        for name in summaries[0]
    }
    head = labels | {"convention": "authors", "metric": "pearson_r", "layer_choice": "mean"}
    head |= dict(zip(SPACE, np.repeat(np.array(list(groups), object), len(volumes), axis=0).T, strict=True))
    regions = {"layer": np.nan, "depth": np.nan, "roi": [f"{v}==1" for v in volumes] * len(groups)}
    return _ordered(pd.DataFrame(head | regions | columns | {"n_outside": np.tile(outside, len(groups))}))


def _metric(ceiling) -> str:
    return "pearson_r" if ceiling is None else "normalised_r"


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    last = ["roi", "layer", "depth", "n_voxels", "n_dropped", "share_dropped", "mean", "sem", "absent"]
    return table[[c for c in table.columns if c not in last] + last]


def _argmax(values):
    """Index of the largest value along axis 0, and where there is one."""
    known = np.isfinite(values).any(0)
    return np.where(np.isfinite(values), values, -np.inf).argmax(0), known


def _nanmean(values, axis):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(values, axis=axis)
