"""The Natural Scenes Dataset: from its files to responses, labels, images and surfaces.

Only this subpackage knows NSD's files.  Real and phantom trees are read by the same code.
"""

from .betas import read_session, session_files
from .files import read_design
from .layout import (
    DamagedFileError,
    InvalidValueError,
    MissingFileError,
    NoPermissionError,
    NsdError,
    ShapeMismatchError,
    UnknownLabelError,
)
from .responses import load_responses
from .stimuli import StimulusBrick, read_stim_info
from .volumes import describe_voxels, read_mask, read_roi_labels, read_surface_map

__all__ = [
    "DamagedFileError",
    "InvalidValueError",
    "MissingFileError",
    "NoPermissionError",
    "NsdError",
    "ShapeMismatchError",
    "StimulusBrick",
    "UnknownLabelError",
    "describe_voxels",
    "load_responses",
    "read_design",
    "read_mask",
    "read_roi_labels",
    "read_session",
    "read_stim_info",
    "read_surface_map",
    "session_files",
]
