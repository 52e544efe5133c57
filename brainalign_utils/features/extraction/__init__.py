"""Features of a model for every stimulus of a study.

:func:`extract` takes settings and is what notebooks and jobs call; :class:`Extractor` and
:func:`extract_features` take arrays and work without NSD's files.
"""

from .extractor import Extractor, extract_features
from .pooling import POOLING_RULES, Pooling, pooling_rule
from .reading import ExtractionError
from .study import extract, study_stimuli

__all__ = [
    "POOLING_RULES",
    "ExtractionError",
    "Extractor",
    "Pooling",
    "extract",
    "extract_features",
    "pooling_rule",
    "study_stimuli",
]
