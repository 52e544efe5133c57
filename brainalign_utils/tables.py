"""Tables that drive the study: subjects, regions of interest and instructions.

A new region or instruction is a new row here (or, for instructions, a row in the
settings file); nothing else changes.  Models have a table of their own in
:mod:`brainalign_utils.models`.
"""

import re
from dataclasses import dataclass

from . import BrainalignError

SUBJECTS = (1, 2, 5, 7)
"""NSD subjects of the paper: the four who completed all 40 sessions."""

N_TRIALS_PER_SESSION = 750
BETA_SCALE = 300.0
"""Betas are stored as int16; divided by this they are percent signal change."""

BETA_VERSIONS = ("betas_assumehrf", "betas_fithrf", "betas_fithrf_GLMdenoise_RR")
"""NSD's three single-trial GLMs: a canonical HRF; an HRF fitted per voxel; that with GLMdenoise and ridge."""

SPACES = ("func1pt8mm", "func1mm")
"""Grids of NSD's functional volumes: 1.8 mm, and the 1 mm upsampling."""


def subject_name(subject: int) -> str:
    """Folder name of a subject in NSD's tree, ``subj01`` for 1."""
    return f"subj{subject:02d}"


def subject_number(subject: int | str) -> int:
    """Number of a subject given as 1, ``1`` or ``subj01``.

    Raises
    ------
    BrainalignError
        For anything else than NSD's eight subjects.
    """
    found = re.fullmatch(r"(?:subj)?0?([1-8])", str(subject))
    if not found or isinstance(subject, bool):
        raise BrainalignError(f"subject {subject} does not exist; NSD has subjects 1 to 8")
    return int(found[1])


@dataclass(frozen=True)
class Roi:
    """A region of interest: labels of one or several NSD ROI volumes.

    Parameters
    ----------
    id, title : str
        Identifier in artifacts, and the name shown to readers.
    parts : tuple of (volume, labels)
        ``volume`` is an NSD ROI file stem (``"floc-faces"``); ``labels`` the ctab names
        taken from it.  An empty ``labels`` means every label above 0.
    kind : {"group", "area"}
        Groups are figure panels; areas are single regions.
    """

    id: str
    title: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]
    kind: str = "area"


def _area(id: str, volume: str, *labels: str) -> Roi:
    return Roi(id, id, ((volume, labels or (id,)),))


FLOC = ("floc-bodies", "floc-faces", "floc-places", "floc-words")

ROIS = (
    Roi("nsdgeneral", "nsdgeneral (all)", (("nsdgeneral", ()),), "group"),
    Roi("prf-visual", "early visual (pRF)", (("prf-visualrois", ()),), "group"),
    Roi("bodies", "bodies", (("floc-bodies", ()),), "group"),
    Roi("faces", "faces", (("floc-faces", ()),), "group"),
    Roi("places", "places", (("floc-places", ()),), "group"),
    Roi("words", "words", (("floc-words", ()),), "group"),
    Roi("higher", "higher visual (all localisers)", tuple((v, ()) for v in FLOC), "group"),
    _area("V1", "prf-visualrois", "V1v", "V1d"),
    _area("V2", "prf-visualrois", "V2v", "V2d"),
    _area("V3", "prf-visualrois", "V3v", "V3d"),
    _area("hV4", "prf-visualrois"),
    _area("EBA", "floc-bodies"),
    _area("FBA-1", "floc-bodies"),
    _area("FBA-2", "floc-bodies"),
    _area("OFA", "floc-faces"),
    _area("FFA-1", "floc-faces"),
    _area("FFA-2", "floc-faces"),
    _area("OPA", "floc-places"),
    _area("PPA", "floc-places"),
    _area("RSC", "floc-places"),
    _area("OWFA", "floc-words"),
    _area("VWFA-1", "floc-words"),
    _area("VWFA-2", "floc-words"),
)
"""Regions in the order in which figures show them."""

ROI_BY_ID = {roi.id: roi for roi in ROIS}
PAPER_GROUPS = ("nsdgeneral", "prf-visual", "bodies", "faces", "places", "words")
"""The six panels of figure 2 (the paper's "whole brain" is nsdgeneral)."""

ROI_VOLUMES = ("nsdgeneral", "prf-visualrois", "prf-eccrois", *FLOC, "streams")
"""ROI files that a study reads.  ``nsdgeneral`` and ``streams`` are optional extras of it."""

ROI_LABELS = {
    "nsdgeneral": {1: "nsdgeneral"},
    "prf-visualrois": {1: "V1v", 2: "V1d", 3: "V2v", 4: "V2d", 5: "V3v", 6: "V3d", 7: "hV4"},
    "prf-eccrois": {1: "ecc0pt5", 2: "ecc1", 3: "ecc2", 4: "ecc4", 5: "ecc4+"},
    "floc-faces": {1: "OFA", 2: "FFA-1", 3: "FFA-2", 4: "mTL-faces", 5: "aTL-faces"},
    "floc-words": {1: "OWFA", 2: "VWFA-1", 3: "VWFA-2", 4: "mfs-words", 5: "mTL-words"},
    "floc-places": {1: "OPA", 2: "PPA", 3: "RSC"},
    "floc-bodies": {1: "EBA", 2: "FBA-1", 3: "FBA-2", 4: "mTL-bodies"},
    "streams": {
        1: "early",
        2: "midventral",
        3: "midlateral",
        4: "midparietal",
        5: "ventral",
        6: "lateral",
        7: "parietal",
    },
}
"""Labels as NSD's ctab files name them.  The loader reads the ctab; this is for writing and checking."""


@dataclass(frozen=True)
class Instruction:
    """One instruction given to a model with every image.

    ``level`` orders instructions from low-level (1) to high-level content; the order is
    this project's choice, the paper gives none.
    """

    id: str
    task: str
    text: str
    level: int


INSTRUCTIONS = (
    Instruction("IU1", "image understanding", "Describe the most dominant color in the image", 1),
    Instruction("IU3", "image understanding", "How many animals are there in the image?", 2),
    Instruction("IU2", "image understanding", "List any food items visible.", 3),
    Instruction("VQ2", "visual question answering",
                "Are there any people in this image? If yes, describe them.", 4),
    Instruction("VQ1", "visual question answering", "What is in this image?", 5),
    Instruction("VQ3", "visual question answering",
                "What is the foreground of the image? What is in the background?", 6),
    Instruction("SR", "scene recognition", "Highlight the area that shows a natural outdoor scene.", 7),
    Instruction("CR", "commonsense reasoning", "What type of environment is shown in the image?", 8),
    Instruction("VR", "visual relationship",
                "What kind of interaction is happening between the animate and inanimate objects here?", 9),
    Instruction("IC", "image captioning", "Generate some text to describe the image", 10),
)  # fmt: skip
"""The paper's ten instructions, ordered from low to high level."""

INSTRUCTION_BY_ID = {row.id: row for row in INSTRUCTIONS}

NO_INSTRUCTION = "none"
"""Value of the ``instruction`` coordinate where a state does not depend on any instruction."""
