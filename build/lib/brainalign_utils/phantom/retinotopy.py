"""V1 to hV4 on the sphere: bands around the calcarine sulcus, with receptive fields.

A schematic of the banded template of Benson and Winawer (2018), eLife 7:e40224: eccentricity
grows from the occipital pole forward, polar angle runs across the bands and reverses
at each border.
"""

from dataclasses import dataclass

import numpy as np

POLE, ANTERIOR = (14.0, -98.0, -2.0), (12.0, -62.0, 6.0)
"""Ends of the calcarine sulcus in the right hemisphere, mm: fovea and far periphery."""

BANDS = {"V1": 12.5, "V2": 24.0, "V3": 33.5, "hV4": 47.0}
"""Outer border of each band, mm on a sphere of radius 100 from the calcarine."""

LABELS = ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4")
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
