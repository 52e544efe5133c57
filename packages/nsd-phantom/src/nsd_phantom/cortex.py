"""Cortex of a simulated subject on the fsaverage5 surface: areas, tuning, receptive fields.

V1 to hV4 are bands around the calcarine sulcus, a schematic of the template of Benson and Winawer (2018),
eLife 7:e40224: eccentricity grows from the occipital pole forward, polar angle runs across the bands and
reverses at each border.  The mesh is fsaverage5 (10242 vertices a hemisphere), which nilearn carries offline;
NSD's own ``fsaverage`` has 163842.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from .areas import AREAS, BACKGROUND, EARLY, EMPTY_LABELS, FAMILIES, ROI_LABELS, STREAMS

HEMISPHERES = ("lh", "rh")
N_VERTICES = 10242
NSDGENERAL_SHARE = 0.135
ANTERIOR_LIMIT = -41.0
"""nsdgeneral ends here, mm: parts of the anterior areas lie outside it, as in NSD."""


POLE, ANTERIOR = (14.0, -98.0, -2.0), (12.0, -62.0, 6.0)
"""Ends of the calcarine sulcus in the right hemisphere, mm: fovea and far periphery."""

BANDS = {"V1": 12.5, "V2": 24.0, "V3": 33.5, "hV4": 47.0}
"""Outer border of each band, mm on a sphere of radius 100 from the calcarine."""

VISUAL_AREAS = ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4")
SIGMA = {"V1": (0.25, 0.11), "V2": (0.3, 0.16), "V3": (0.4, 0.22), "hV4": (0.7, 0.4)}
"""Receptive field size, degrees: intercept and slope on eccentricity."""
ECC_BORDERS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Retinotopy:
    """Labels and receptive fields of the vertices of one hemisphere.

    Attributes
    ----------
    label : int array of shape (n_vertices,)
        0, or 1 to 7 as in ``prf-visualrois``.
    ecc_label : int array of shape (n_vertices,)
        0, or 1 to 5 as in ``prf-eccrois``.
    prf : array of shape (n_vertices, 3)
        x, y and size in degrees (x to the right, y up); NaN outside the areas.
    """

    label: np.ndarray
    ecc_label: np.ndarray
    prf: np.ndarray


def map_retinotopy(sphere, middle, side: int, rng) -> Retinotopy:
    """Place V1 to hV4 in one hemisphere.

    Parameters
    ----------
    sphere, middle : arrays of shape (n_vertices, 3)
        Spherical and mid-cortical coordinates, mm.
    side : {-1, 1}
        Left or right hemisphere.
    rng : numpy.random.Generator
        Moves the ends of the calcarine by about 2 mm and scales the bands by about 5 %.
    """
    mirror = np.array([side, 1, 1])
    ends = np.array([POLE, ANTERIOR]) + rng.normal(0, 2, (2, 3))
    along, across, length = _calcarine_frame(sphere, middle, ends * mirror)
    borders = np.array(list(BANDS.values())) * rng.normal(1, 0.05)
    taper = 0.6 + 0.4 * np.clip(2 * along / length, 0, 1)
    distance = np.hypot(np.minimum(along, 0), across) / taper
    band = np.searchsorted(borders, distance)
    inside = (along < length) & (along > -60) & (band < 4)
    inside &= (band < 3) | ((across < 0) & (along < 0.7 * length))
    dorsal = across > 0
    label = np.where(band < 3, 1 + 2 * band + dorsal, 7) * inside

    ecc = 0.25 * np.exp(3.1 * np.clip(along / length, 0, 1))
    angle = _polar_angle(band, distance, borders, dorsal)
    sigma = np.array(list(SIGMA.values()))[np.minimum(band, 3)]
    size = (sigma[:, 0] + sigma[:, 1] * ecc) * rng.lognormal(0, 0.15, len(ecc))
    prf = np.stack([-side * ecc * np.cos(angle), ecc * np.sin(angle), size], axis=1)
    ecc_label = (1 + np.searchsorted(ECC_BORDERS, ecc)) * inside
    return Retinotopy(label, ecc_label, np.where(inside[:, None], prf, np.nan))


def _calcarine_frame(sphere, middle, ends):
    """Distance along and across (dorsal positive) the great circle through both ends, mm."""
    unit = sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
    fovea, periphery = (unit[np.linalg.norm(middle - end, axis=1).argmin()] for end in ends)
    length = 100 * np.arccos(np.clip(fovea @ periphery, -1, 1))
    normal = np.cross(fovea, periphery)
    normal /= np.linalg.norm(normal)
    forward = np.cross(normal, fovea)
    across = 100 * np.arcsin(np.clip(unit @ normal, -1, 1))
    along = 100 * np.arctan2(unit @ forward, unit @ fovea)
    near = (np.abs(across) < 15) & (np.abs(along - length / 2) < length / 2)
    if np.corrcoef(across[near], middle[near, 2])[0, 1] < 0:
        across = -across
    return along, across, length


def _polar_angle(band, distance, borders, dorsal):
    """Angle from the horizontal meridian in radians, upper field positive."""
    edges = np.concatenate([[0.0], borders])
    lower, upper = edges[np.minimum(band, 3)], edges[np.minimum(band, 3) + 1]
    t = np.clip((distance - lower) / (upper - lower), 0, 1)
    steps = [t, 1 - t, t]  # horizontal -> vertical, back, and again
    size = np.select([band == 0, band == 1, band == 2], steps, 1 - 2 * t)
    return np.pi / 2 * size * np.where(dorsal & (band < 3), -1, 1)


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
    members = {name: retinotopy.label == i + 1 for i, name in enumerate(VISUAL_AREAS)}
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
        if name in VISUAL_AREAS:
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
