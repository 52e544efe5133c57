"""What the simulated brains are made of: content families and cortical areas, as tables.

Centres are approximate MNI coordinates from the literature on each area; sizes follow the
share of NSD's ``nsdgeneral`` that the area takes in real subjects.  A new area is a new row.
"""

from dataclasses import dataclass

FAMILIES = (
    "energy",
    "colour",
    "faces",
    "bodies",
    "animals",
    "food",
    "words",
    "places",
    "objects",
    "relations",
)
"""Kinds of drawn content that a voxel can be tuned to."""


@dataclass(frozen=True)
class Area:
    """A patch of cortex with its tuning.

    Parameters
    ----------
    id : str
        Label in the ROI volume; unlabelled patches have a name of their own.
    volume : str or None
        NSD ROI file that carries the label; None for patches without a localiser.
    centre : tuple of float
        x, y, z in mm in the right hemisphere (MNI); mirrored for the left.
    share : tuple of float
        Vertices in the left and right hemisphere, as a share of that hemisphere's nsdgeneral.
    profile : mapping of family to fraction
        Mean variance fractions of the signal.
    reliability : float
        Factor on the voxel's ncsnr.
    ecc, sigma : float
        Typical eccentricity and size of receptive fields, degrees.
    """

    id: str
    volume: str | None
    centre: tuple[float, float, float]
    share: tuple[float, float]
    profile: dict[str, float]
    reliability: float = 1.0
    ecc: float = 0.8
    sigma: float = 2.0


EARLY = {
    "V1": ({"energy": 0.72, "colour": 0.28}, 1.25),
    "V2": ({"energy": 0.68, "colour": 0.32}, 1.2),
    "V3": ({"energy": 0.66, "colour": 0.26, "objects": 0.08}, 1.15),
    "hV4": ({"colour": 0.56, "energy": 0.26, "objects": 0.10, "food": 0.08}, 1.15),
}
"""Profile and reliability of the retinotopic areas, which :mod:`.cortex` places."""

AREAS = (
    Area("OFA", "floc-faces", (40, -77, -12), (0.022, 0.03),
         {"faces": 0.62, "bodies": 0.18, "energy": 0.2}, 1.1),
    Area("FFA-1", "floc-faces", (40, -62, -17), (0.025, 0.032),
         {"faces": 0.76, "bodies": 0.14, "objects": 0.1}, 1.15),
    Area("FFA-2", "floc-faces", (41, -48, -19), (0.02, 0.026),
         {"faces": 0.8, "bodies": 0.12, "objects": 0.08}, 1.1),
    Area("mTL-faces", "floc-faces", (39, -28, -24), (0.006, 0.008),
         {"faces": 0.8, "bodies": 0.2}, 0.5),
    Area("EBA", "floc-bodies", (48, -71, 3), (0.11, 0.14),
         {"bodies": 0.66, "animals": 0.12, "faces": 0.1, "relations": 0.12}, 1.25, 1.0, 2.2),
    Area("FBA-1", "floc-bodies", (46, -58, -15), (0.016, 0.022),
         {"bodies": 0.66, "faces": 0.22, "animals": 0.12}, 1.1),
    Area("FBA-2", "floc-bodies", (46, -47, -17), (0.018, 0.024),
         {"bodies": 0.64, "faces": 0.22, "animals": 0.14}, 1.0),
    Area("mTL-bodies", "floc-bodies", (45, -30, -22), (0.006, 0.006),
         {"bodies": 0.8, "faces": 0.2}, 0.5),
    Area("OPA", "floc-places", (34, -79, 22), (0.06, 0.07),
         {"places": 0.68, "energy": 0.22, "objects": 0.1}, 1.1, 2.0, 2.8),
    Area("PPA", "floc-places", (27, -46, -7), (0.055, 0.06),
         {"places": 0.78, "objects": 0.14, "energy": 0.08}, 1.1, 2.0, 3.0),
    Area("RSC", "floc-places", (17, -56, 14), (0.035, 0.035),
         {"places": 0.9, "objects": 0.1}, 0.9, 2.5, 3.5),
    Area("OWFA", "floc-words", (40, -80, -6), (0.03, 0.02),
         {"words": 0.56, "energy": 0.3, "objects": 0.14}, 1.0, 0.4, 1.4),
    Area("VWFA-1", "floc-words", (46, -62, -12), (0.035, 0.018),
         {"words": 0.7, "objects": 0.16, "faces": 0.14}, 0.95, 0.4, 1.6),
    Area("VWFA-2", "floc-words", (48, -50, -16), (0.028, 0.012),
         {"words": 0.74, "objects": 0.16, "bodies": 0.1}, 0.9, 0.4, 1.8),
    Area("mfs-words", "floc-words", (36, -43, -20), (0.01, 0.006),
         {"words": 0.6, "faces": 0.2, "food": 0.2}, 0.7),
    Area("food", None, (32, -58, -11), (0.06, 0.06),
         {"food": 0.78, "colour": 0.12, "objects": 0.1}, 1.05),
    Area("LO", None, (42, -82, 6), (0.06, 0.06),
         {"objects": 0.62, "energy": 0.22, "animals": 0.16}, 1.1, 0.8, 1.8),
    Area("IPS", None, (25, -74, 34), (0.06, 0.06),
         {"animals": 0.72, "energy": 0.14, "places": 0.14}, 0.85, 1.5, 3.0),
    Area("pSTS", None, (52, -56, 8), (0.035, 0.045),
         {"relations": 0.6, "bodies": 0.2, "faces": 0.2}, 0.8),
)  # fmt: skip
"""Areas above the retinotopic ones.  The last four have no localiser in NSD."""

BACKGROUND = {"objects": 0.34, "energy": 0.26, "colour": 0.1, "places": 0.1, "animals": 0.1, "relations": 0.1}
"""Profile of cortex in between, before its neighbours bleed in."""

STREAMS = {
    "midventral": (30, -78, -13),
    "midlateral": (40, -82, 5),
    "midparietal": (28, -82, 24),
    "ventral": (37, -54, -16),
    "lateral": (48, -66, 6),
    "parietal": (24, -68, 42),
}
"""Centres of the processing streams; V1 to V3 are ``early``, hV4 is ``midventral``."""

ROI_LABELS = {
    "nsdgeneral": ("nsdgeneral",),
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "prf-eccrois": ("ecc0pt5", "ecc1", "ecc2", "ecc4", "ecc4+"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
    "Kastner2015": (
        "V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4", "VO1", "VO2", "PHC1", "PHC2", "TO2", "TO1", "LO2",
        "LO1", "V3B", "V3A", "IPS0", "IPS1", "IPS2", "IPS3", "IPS4", "IPS5", "SPL1", "FEF",
    ),
}  # fmt: skip
"""ROI files and the names of their labels, from 1 on, as NSD has them."""

EMPTY_LABELS = {2: ("FBA-1",), 7: ("FBA-1",)}
"""Areas that a subject does not have, as in NSD."""

LOST_LABELS = {2: ("floc-words", "VWFA-2"), 4: ("floc-words", "VWFA-2")}
"""A label whose voxels give no signal in a subject, as near the ear canals."""

REAL_SESSIONS = {1: 40, 2: 40, 3: 32, 4: 30, 5: 40, 6: 32, 7: 40, 8: 30}
"""Sessions that each real subject completed; the phantom keeps the proportions."""

NOISE_CEILING_MEDIAN = {1: 28.1, 2: 28.1, 3: 24.0, 4: 20.8, 5: 34.1, 6: 26.1, 7: 19.1, 8: 13.3}
"""Median noise ceiling over nsdgeneral, percent, mean of three trials (NSD, real subjects)."""

BETA_VERSIONS = {"betas_assumehrf": 0.7, "betas_fithrf": 0.8, "betas_fithrf_GLMdenoise_RR": 1.0}
"""NSD's three GLMs for single-trial betas, and ncsnr relative to the last."""

REAL_VOXELS = {1: 15724, 2: 14278, 3: 15226, 4: 13153, 5: 13039, 6: 17907, 7: 12682, 8: 14386}
"""Voxels of nsdgeneral in real subjects; the phantom keeps the proportions."""
