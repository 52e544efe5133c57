"""Scores on the cortical surface as small files that a page of the book fetches when a reader asks.

Every file is a script that hands over numbers in base64, so that the viewer also works from disk, where
browsers refuse to fetch data.  Vertices are those of fsaverage5, left hemisphere first; those of NSD's
fsaverage are a refinement of it and begin with the same ones.
"""

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .. import store
from ..results import study, surface
from ..results.surface import HEMISPHERES, to_vertices
from ..settings import Settings
from ..stats import scoring
from ..tables import ROIS, subject_name
from ..titles import title_of

MISSING = 255
"""Code of an undefined value; other codes c stand for low + c * (high - low) / 254."""


@dataclass(frozen=True)
class Coded:
    """Numbers in one byte each.

    Parameters
    ----------
    codes : uint8 array
    low, high : float
        Values of codes 0 and 254.
    """

    codes: np.ndarray
    low: float
    high: float

    def values(self) -> np.ndarray:
        """What the viewer reads: within half a step, (high - low) / 508, of what was coded."""
        values = self.low + self.codes * ((self.high - self.low) / (MISSING - 1))
        return np.where(self.codes == MISSING, np.nan, values)


def code(values) -> Coded:
    """Floats of any shape in one byte each; NaN is kept."""
    values = np.asarray(values, float)
    defined = np.isfinite(values)
    low, high = (values[defined].min(), values[defined].max()) if defined.any() else (0.0, 1.0)
    span = (high - low) or 1.0
    scaled = np.rint(np.where(defined, values - low, 0) / span * (MISSING - 1))
    return Coded(np.where(defined, scaled, MISSING).astype(np.uint8), float(low), float(low + span))


def vertex_maps(settings: Settings) -> dict[int, dict[str, np.ndarray]]:
    """Voxel that each vertex of fsaverage5 shows, per subject and hemisphere; -1 for none."""
    full = {subject: study.surface_map(settings, subject) for subject in settings.subjects}
    return {s: {h: full[s][h][: study.N_FSAVERAGE5] for h in HEMISPHERES} for s in full}


def vertex_scores(settings: Settings, model: str, maps: dict) -> tuple[list, dict]:
    """Ceiling-normalised alignment of every feature space on the vertices.

    Parameters
    ----------
    maps : dict as :func:`vertex_maps` returns it

    Returns
    -------
    spaces : list of (component, instruction, layer)
    values : dict of subject -> float array of shape (n_spaces, n_vertices), NaN where undefined; "mean" is
        the mean over the subjects that have a value at a vertex
    """
    values = {}
    for subject, on in maps.items():
        scores = study.open_scores(settings, subject, model)
        ceiling = scores.noise_ceiling.values
        r = scoring.normalised_alignment(scores.r.values, ceiling, settings.stats.min_ceiling)
        values[subject] = to_vertices(r.T, on).T
    counted = np.isfinite(list(values.values())).sum(0)
    total = np.nansum(list(values.values()), axis=0)
    mean = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
    keys = zip(scores.component.values, scores.instruction.values, scores.layer.values, strict=True)
    return [(str(c), str(i), int(layer)) for c, i, layer in keys], values | {"mean": mean}


def region_bits(settings: Settings, maps: dict) -> dict:
    """Regions of each vertex as bits of a uint32, in the table's order; "mean" is any subject's."""
    bits = {}
    for subject, on in maps.items():
        roi_mask = study.open_voxels(settings, subject).roi_mask
        masks = [to_vertices(roi_mask.sel(roi=roi.id).values, on) for roi in ROIS]
        bits[subject] = np.sum(
            [m.astype(np.uint32) << k for k, m in enumerate(masks)], axis=0, dtype=np.uint32
        )
    return bits | {"mean": np.bitwise_or.reduce(list(bits.values()))}


def in_region(bits, roi: str) -> np.ndarray:
    """Vertices of a region; bool array of the shape of ``bits``."""
    return (bits >> [row.id for row in ROIS].index(roi)) % 2 == 1


def space_table(spaces, values, bits, rois) -> pd.DataFrame:
    """Values on the vertices of regions, summarised: one row per feature space and region.

    Parameters
    ----------
    spaces, values : as :func:`vertex_scores` returns them, values of one subject
    bits : uint32 array of shape (n_vertices,)

    Returns
    -------
    table : DataFrame
        space (number), component, instruction, layer, roi, n_vertices, lowest, median, highest.
    """
    rows = []
    for number, (component, instruction, layer) in enumerate(spaces):
        labels = {"space": number, "component": component, "instruction": instruction, "layer": layer}
        for roi in rois:
            part = values[number][in_region(bits, roi) & np.isfinite(values[number])]
            numbers = np.quantile(part, [0, 0.5, 1]) if len(part) else [np.nan] * 3
            row = dict(zip(("lowest", "median", "highest"), numbers, strict=True))
            rows.append(labels | {"roi": roi, "n_vertices": len(part)} | row)
    return pd.DataFrame(rows)


def mesh_script() -> str:
    """Script with faces (uint16), two shapes (int16 in 1/100 mm) and folds (uint8, 1 in sulci)."""
    mesh = surface.fsaverage5()
    parts = {shape: np.rint(100 * mesh[shape].values).astype("<i2") for shape in ("inflated", "pial")}
    parts |= {"faces": mesh.faces.values.astype("<u2"), "folds": (mesh.curvature.values > 0).astype(np.uint8)}
    return script(
        "mesh", parts, perHemisphere={"vertices": mesh.sizes["vertex"], "faces": mesh.sizes["face"]}
    )


def script(name: str, arrays: dict, **facts) -> str:
    """JavaScript that hands numbers to the viewer under a name."""
    coded = {key: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode() for key, a in arrays.items()}
    return f"brainalignCortex.receive({json.dumps(name)}, {json.dumps(facts | {'arrays': coded})});\n"


def write_viewer(settings: Settings, folder: Path) -> dict:
    """Write the files of the viewer and return what its page needs to know.

    Per subject one file says which vertices have values and to which regions they belong; per subject and
    model one file holds the values.  "mean" is the mean over the subjects that have a value at a vertex.

    Returns
    -------
    manifest : dict
        data, subjects, rois, instructions, models (title, spaces) and high, the upper end of the one colour
        scale: no subject and model has more than 2 % of its values above it.  JSON-able, and also in the
        folder as ``manifest.json``.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    maps = vertex_maps(settings)
    covered = [np.concatenate([on[h] for h in HEMISPHERES]) >= 0 for on in maps.values()]
    used = np.flatnonzero(np.any(covered, axis=0))
    bits = region_bits(settings, maps)
    for subject in bits:
        arrays = {"vertices": used.astype("<u2"), "rois": bits[subject][used].astype("<u4")}
        name = f"regions_{_label(subject)}"
        (partial / f"{name}.js").write_text(script(name, arrays))
    (partial / "mesh.js").write_text(mesh_script())
    models = {model: _write_model(settings, model, maps, used, partial) for model in settings.models}
    manifest = {
        "data": settings.data,
        "subjects": [_label(subject) for subject in bits],
        "rois": [[roi.id, roi.title] for roi in ROIS],
        "instructions": {row.id: row.text for row in settings.instruction_rows()},
        "models": {m: {"title": title_of(m), "spaces": spaces} for m, (spaces, _) in models.items()},
        "high": max(high for _, high in models.values()),
    }
    store.write_json(partial / "manifest.json", manifest)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return manifest


def _label(subject) -> str:
    return subject if isinstance(subject, str) else subject_name(subject)


def _write_model(settings, model, maps, used, folder) -> tuple[list, float]:
    """Feature spaces of a model, and the highest 98th percentile of its values in a subject; at least 0.1."""
    high = 0.1
    spaces, values = vertex_scores(settings, model, maps)
    for subject in values:
        shown = values[subject][:, used]
        if np.isfinite(shown).any():
            high = max(high, float(np.nanquantile(shown, 0.98)))
        coded = code(shown)
        name = f"{_label(subject)}_{model}"
        text = script(name, {"values": coded.codes}, low=coded.low, high=coded.high)
        (folder / f"{name}.js").write_text(text)
    return spaces, high
