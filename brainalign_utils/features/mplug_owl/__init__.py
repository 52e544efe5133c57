"""mPLUG-Owl (version 1) as a transformers model, by the parameter names of its published checkpoint.

After Ye et al., "mPLUG-Owl: Modularization empowers large language models with multimodality"
(arXiv 2304.14178).  ``MAGAer13/mplug-owl-llama-7b`` loads unchanged.  Importing this package registers
the model with ``AutoConfig`` and ``AutoModelForImageTextToText``.
"""

from .configuration import (
    IMAGE_TOKEN_INDEX,
    MplugOwlConfig,
    MplugOwlVisionConfig,
    MplugOwlVisualAbstractorConfig,
)
from .modeling import MplugOwlForConditionalGeneration
from .processing import MplugOwlProcessor

__all__ = [
    "IMAGE_TOKEN_INDEX",
    "MplugOwlConfig",
    "MplugOwlForConditionalGeneration",
    "MplugOwlProcessor",
    "MplugOwlVisionConfig",
    "MplugOwlVisualAbstractorConfig",
]
