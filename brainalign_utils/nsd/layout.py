"""Names and text formats of NSD's tree: where each file lies, how tables are written.

Keys are relative to the tree's root and the same as in NSD's bucket.  Nothing is opened here.
"""

import ast
import re
from pathlib import Path

from .. import BrainalignError
from ..tables import BETA_VERSIONS, ROI_VOLUMES, SPACES, subject_name

EXPDESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
STIM_INFO = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
STIMULI = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
BETAS = BETA_VERSIONS[-1]
SPACE = SPACES[0]
HEMISPHERES = ("lh", "rh")
BETA_SUFFIXES = ("hdf5", "nii.gz")
TRANSFORMS = {
    "func1pt8mm": ("func1pt8-to-layerB2", "white-to-fsaverage"),
    "func1mm": ("func1pt0-to-layerB2", "white-to-fsaverage"),
}
"""Transforms from each grid to the subject's surface, and on to fsaverage."""
REQUIRED_VOLUMES = tuple(v for v in ROI_VOLUMES if v not in ("prf-eccrois", "streams"))
"""ROI files that the study cannot do without; the others only add labels."""


class NsdError(BrainalignError):
    """An NSD tree that cannot be used; the message names the file, both values and the remedy."""


PHANTOM_REMEDY = "`make study` makes the tree of the phantom"


class MissingFileError(NsdError):
    """A file that is not there."""


class DamagedFileError(NsdError):
    """A file that is truncated, corrupted, or not what its name says."""


class ShapeMismatchError(NsdError):
    """Two files that disagree about the grid or about the number of trials."""


class UnknownLabelError(NsdError):
    """An ROI volume with a label that its colour table does not name."""


class InvalidValueError(NsdError):
    """Values that cannot be used, such as NaN betas."""


class NoPermissionError(NsdError):
    """A file that may not be read."""


def check_grid(path, found, expected) -> None:
    """Raise ShapeMismatchError unless a file has the grid (x, y, z) of the mask."""
    if tuple(found) != tuple(expected):
        raise ShapeMismatchError(
            f"{path} has grid (x, y, z) = {tuple(found)}, but the nsdgeneral mask has {tuple(expected)}; "
            "take both from the same subject and the same space"
        )


def betas_folder(subject: int, betas: str = BETAS, space: str = SPACE) -> str:
    """Folder of one version of a subject's betas, and of what NSD computed from them."""
    for name, value, known in (("betas", betas, BETA_VERSIONS), ("space", space, SPACES)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; choose {', '.join(known[:-1])} or {known[-1]}")
    return f"nsddata_betas/ppdata/{subject_name(subject)}/{space}/{betas}"


def session_key(subject: int, session: int, suffix: str, betas: str = BETAS, space: str = SPACE) -> str:
    """Betas of a session (1-based), ``suffix`` one of :data:`BETA_SUFFIXES`."""
    return f"{betas_folder(subject, betas, space)}/betas_session{session:02d}.{suffix}"


def ncsnr_key(subject: int, betas: str = BETAS, space: str = SPACE) -> str:
    """Signal-to-noise ratios; NSD computed them for every version of the betas in both spaces."""
    return f"{betas_folder(subject, betas, space)}/ncsnr.nii.gz"


def roi_key(subject: int, volume: str, space: str = SPACE) -> str:
    return f"nsddata/ppdata/{subject_name(subject)}/{space}/roi/{volume}.nii.gz"


def ctab_keys(subject: int, volume: str) -> tuple[str, str]:
    """Colour table of an ROI volume: the subject's own, or fsaverage's, which has none of hand-drawn ROIs."""
    return tuple(
        f"nsddata/freesurfer/{owner}/label/{volume}.mgz.ctab"
        for owner in (subject_name(subject), "fsaverage")
    )


def transform_key(subject: int, hemisphere: str, name: str) -> str:
    return f"nsddata/ppdata/{subject_name(subject)}/transforms/{hemisphere}.{name}.mgz"


def parse_ctab(text: str, source: str | Path = "ctab") -> dict[int, str]:
    """Names of an ROI volume's labels.

    Parameters
    ----------
    text : str
        One ``<int> <name>`` a line; what follows a tab after the name, or four numbers (a colour, as
        FreeSurfer writes it), is left out, and so are blank lines and lines that start with ``#``.
        A line with 0 is data like any other.
    source : path
        For messages.

    Returns
    -------
    names : dict of int to str
        Label 0 is left out: it is cortex without a region.

    Raises
    ------
    DamagedFileError
        With the line that cannot be read.
    """
    names = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = re.fullmatch(r"\s*(-?\d+)\s+(\S[^\t]*?)\s*(\s(\d+\s+){3}\d+\s*|\t.*)?", line, re.ASCII)
        if row is None:
            raise DamagedFileError(
                f"{source}, line {number}: {line!r} is not '<number> <name>'; download the file again"
            )
        label, name = int(row[1]), row[2]
        if names.setdefault(label, name) != name:
            raise DamagedFileError(
                f"{source}, line {number}: label {label} is named both {names[label]!r} and {name!r}"
            )
    return {label: name for label, name in names.items() if label != 0}


def parse_crop_box(text: str) -> tuple[float, float, float, float]:
    """Crop of a COCO image, as ``nsd_stim_info_merged.csv`` writes it.

    Parameters
    ----------
    text : str
        ``"(top, bottom, left, right)"``, fractions of the height and width cut off at each side.

    Returns
    -------
    top, bottom, left, right : float

    Raises
    ------
    DamagedFileError
        If these are not four fractions that leave something of the image.
    """
    try:
        values = ast.literal_eval(text)
        top, bottom, left, right = (float(value) for value in values)
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        raise DamagedFileError(f"cropBox {text!r} is not '(top, bottom, left, right)'") from None
    inside = all(0 <= value < 1 for value in (top, bottom, left, right))
    if not inside or top + bottom >= 1 or left + right >= 1:
        raise DamagedFileError(f"cropBox {text!r} leaves nothing; expected four fractions below 1")
    return top, bottom, left, right


def study_keys(
    n_sessions: dict[int, int],
    suffix: str = "hdf5",
    stimuli: bool = True,
    betas: str = BETAS,
    space: str = SPACE,
) -> list[str]:
    """Every file that a study reads, in NSD's bucket and below the tree's root alike.

    Parameters
    ----------
    n_sessions : dict of subject to int
    suffix : {"hdf5", "nii.gz"}
        Format of the betas.
    stimuli : bool
        With the images (about 37 GB in the real bucket).
    betas, space : str
        One of :data:`tables.BETA_VERSIONS`, one of :data:`tables.SPACES`.

    Examples
    --------
    >>> keys = study_keys({1: 40, 2: 40})
    >>> len(keys), keys[-1]
    (123, 'nsddata_betas/ppdata/subj02/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session40.hdf5')
    """
    keys = [EXPDESIGN, STIM_INFO, *([STIMULI] if stimuli else [])]
    for subject, count in n_sessions.items():
        for volume in ROI_VOLUMES:
            own, shared = ctab_keys(subject, volume)
            keys += [roi_key(subject, volume, space), own if volume.startswith(("prf-", "floc-")) else shared]
        keys += [transform_key(subject, h, name) for h in HEMISPHERES for name in TRANSFORMS[space]]
        keys.append(ncsnr_key(subject, betas, space))
        keys += [session_key(subject, session, suffix, betas, space) for session in range(1, count + 1)]
    return list(dict.fromkeys(keys))
