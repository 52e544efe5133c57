"""Cortex of a phantom subject on the fsaverage5 surface: areas, tuning, receptive fields.

The mesh is fsaverage5 (10242 vertices a hemisphere), which nilearn carries offline; NSD's
own ``fsaverage`` has 163842.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from .areas import AREAS, BACKGROUND, EARLY, EMPTY_LABELS, FAMILIES, ROI_LABELS, STREAMS
from .retinotopy import LABELS, Retinotopy, map_retinotopy

HEMISPHERES = ("lh", "rh")
N_VERTICES = 10242
NSDGENERAL_SHARE = 0.135
ANTERIOR_LIMIT = -41.0
"""nsdgeneral ends here, mm: parts of the anterior areas lie outside it, as in NSD."""


@dataclass(frozen=True)
class Hemisphere:
    """One hemisphere of a subject, all arrays over the vertices of fsaverage5.

    Attributes
    ----------
    white, pial : arrays of shape (n_vertices, 3)
        Coordinates in mm.
    labels : mapping of ROI volume to int array of shape (n_vertices,)
    profile : array of shape (n_vertices, n_families)
        Expected variance fractions of the signal, rows sum to 1.
    reliability : array of shape (n_vertices,)
        Factor on ncsnr.
    prf : array of shape (n_vertices, 3)
        x, y and size of the receptive field, degrees.
    """

    white: np.ndarray
    pial: np.ndarray
    labels: dict[str, np.ndarray]
    profile: np.ndarray
    reliability: np.ndarray
    prf: np.ndarray


@cache
def load_mesh(side: str) -> dict[str, np.ndarray]:
    """White, pial and spherical coordinates of fsaverage5, each (n_vertices, 3), mm.

    Parameters
    ----------
    side : {"lh", "rh"}
    """
    from nilearn import datasets, surface  # takes seconds; processes that draw pictures go without

    files = datasets.fetch_surf_fsaverage("fsaverage5")
    name = {"lh": "left", "rh": "right"}[side]
    kinds = ("white", "pial", "sphere")
    return {
        kind: np.asarray(surface.load_surf_mesh(files[f"{kind}_{name}"]).coordinates, np.float64)
        for kind in kinds
    }


def make_hemisphere(side: str, subject: int, rng) -> Hemisphere:
    """Place the areas of one hemisphere, with the subject's own jitter.

    Parameters
    ----------
    side : {"lh", "rh"}
    subject : int
        Decides which areas are missing (:data:`.areas.EMPTY_LABELS`).
    rng : numpy.random.Generator
    """
    mesh = load_mesh(side)
    middle = (mesh["white"] + mesh["pial"]) / 2
    retinotopy = map_retinotopy(mesh["sphere"], middle, -1 if side == "lh" else 1, rng)
    early = np.isin(retinotopy.label, range(1, 7))
    members = {name: retinotopy.label == i + 1 for i, name in enumerate(LABELS)}
    taken = early.copy()
    for area in AREAS:
        missing = area.id in EMPTY_LABELS.get(subject, ())
        patch = _patch(area, side, mesh["sphere"], middle, ~(early if area.volume else taken), rng)
        members[area.id] = patch & (not missing)
        taken |= members[area.id]
    distance = _edge_distances(mesh["sphere"], members)
    general = _nsdgeneral(distance, middle)
    labels = _labels(members, retinotopy, general, distance, middle, side)
    profile, reliability = _profiles(distance)
    return Hemisphere(
        mesh["white"], mesh["pial"], labels, profile, reliability,
        _receptive_fields(retinotopy, distance, side, rng),
    )  # fmt: skip


def _patch(area, side, sphere, middle, allowed, rng):
    """The vertices nearest to the jittered centre, as many as the area's share asks for."""
    sign = -1 if side == "lh" else 1
    centre = (np.array(area.centre) + rng.normal(0, 2, 3)) * [sign, 1, 1]
    share = area.share[0 if side == "lh" else 1] * rng.lognormal(0, 0.12)
    n = max(3, round(share * NSDGENERAL_SHARE * N_VERTICES))
    seed = np.linalg.norm(middle - centre, axis=1).argmin()
    away = np.linalg.norm(sphere - sphere[seed], axis=1)
    away[~allowed] = np.inf
    patch = np.zeros(len(sphere), bool)
    patch[np.argsort(away, kind="stable")[:n]] = True
    return patch


def _edge_distances(sphere, members):
    """Distance of every vertex to each area (0 inside), mm on the sphere; inf for empty areas."""
    return {
        name: cKDTree(sphere[mask]).query(sphere)[0] if mask.any() else np.full(len(sphere), np.inf)
        for name, mask in members.items()
    }


def _nsdgeneral(distance, middle):
    """All of visual cortex: what is close to any area and not too far forward."""
    nearest = np.min(list(distance.values()), axis=0)
    nearest = np.where(middle[:, 1] > ANTERIOR_LIMIT, np.inf, nearest)
    general = np.zeros(N_VERTICES, bool)
    general[np.argsort(nearest, kind="stable")[: round(NSDGENERAL_SHARE * N_VERTICES)]] = True
    return general


def _labels(members, retinotopy: Retinotopy, general, distance, middle, side):
    labels = {
        "nsdgeneral": general.astype(np.int16),
        "prf-visualrois": retinotopy.label.astype(np.int16),
        "prf-eccrois": retinotopy.ecc_label.astype(np.int16),
        "streams": _streams(retinotopy.label, general, middle, side),
        "Kastner2015": retinotopy.label.astype(np.int16),  # its first seven labels; the others are empty
    }
    localised = [area for area in AREAS if area.volume]
    for volume in dict.fromkeys(area.volume for area in localised):
        labels[volume] = np.zeros(N_VERTICES, np.int16)
        for area in localised:
            if area.volume == volume:
                free = members[area.id] & (labels[volume] == 0)
                labels[volume][free] = 1 + ROI_LABELS[volume].index(area.id)
    return labels


def _streams(visual, general, middle, side):
    codes = {name: code for code, name in enumerate(ROI_LABELS["streams"], 1)}
    centres = np.array(list(STREAMS.values())) * [-1 if side == "lh" else 1, 1, 1]
    nearest = cKDTree(centres).query(middle)[1]
    stream = np.array([codes[name] for name in STREAMS], np.int16)[nearest]
    stream[visual == 7] = codes["midventral"]
    stream[(visual > 0) & (visual < 7)] = codes["early"]
    return np.where(general, stream, 0).astype(np.int16)


def _profiles(distance, reach: float = 5.0):
    """Tuning and reliability: an area's own inside it, bleeding into its neighbourhood."""
    rows = [(BACKGROUND, 0.8, np.full(N_VERTICES, 0.2))]
    for name, away in distance.items():
        kernel = np.exp(-0.5 * np.minimum(away / reach, 12) ** 2)
        if name in LABELS:
            profile, factor = EARLY[name.rstrip("vd") if name != "hV4" else name]
        else:
            area = next(area for area in AREAS if area.id == name)
            profile, factor = area.profile, area.reliability
        rows.append((profile, factor, np.where(away == 0, 2.0, 0.3 * kernel)))
    weights = np.array([row[2] for row in rows])
    weights /= weights.sum(axis=0)
    profiles = np.array([[row[0].get(family, 0.0) for family in FAMILIES] for row in rows])
    return weights.T @ profiles, weights.T @ np.array([row[1] for row in rows])


def _receptive_fields(retinotopy: Retinotopy, distance, side, rng):
    """Retinotopic where there is a map; elsewhere large and contralateral of the fovea."""
    nearest = np.array([distance[area.id] for area in AREAS]).argmin(axis=0)
    ecc = np.array([area.ecc for area in AREAS])[nearest] * rng.lognormal(0, 0.4, N_VERTICES)
    angle = rng.uniform(-np.pi / 3, np.pi / 3, N_VERTICES)
    size = np.array([area.sigma for area in AREAS])[nearest] * rng.lognormal(0, 0.2, N_VERTICES)
    contralateral = 1 if side == "lh" else -1
    general = np.stack([contralateral * ecc * np.cos(angle), ecc * np.sin(angle), size], axis=1)
    return np.where(np.isfinite(retinotopy.prf), retinotopy.prf, general)
