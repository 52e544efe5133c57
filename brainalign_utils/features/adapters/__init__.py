"""Models of the study: checkpoints and one adapter per family.

An adapter runs a model on images and instructions and hands out pooled layer states.  A new
checkpoint of a known family is a row of :mod:`brainalign_utils.models`; a new family is a class
here.
"""

from ...models import MODEL_BY_ID, Model
from ..checkpoints import ModelError, checkpoint_folder
from .base import Adapter
from .idefics import IdeficsAdapter
from .inputs import BLANK_GREY, Prompt
from .loading import resolve_device, resolve_dtype
from .prefixed import LlavaAdapter, MplugOwlAdapter
from .qformer import Blip2Adapter, InstructBlipAdapter
from .unprompted import ClipAdapter, TextAdapter, VitAdapter

FAMILIES = {
    "instructblip": InstructBlipAdapter,
    "blip2": Blip2Adapter,
    "idefics": IdeficsAdapter,
    "mplug_owl": MplugOwlAdapter,
    "llava": LlavaAdapter,
    "vit": VitAdapter,
    "clip": ClipAdapter,
    "text": TextAdapter,
}

__all__ = [
    "BLANK_GREY",
    "FAMILIES",
    "Adapter",
    "ModelError",
    "Prompt",
    "checkpoint_folder",
    "load_adapter",
    "model_row",
    "resolve_device",
]


def model_row(model_id: str) -> Model:
    """Row of a model.

    Raises
    ------
    ModelError
        For an unknown id.

    Examples
    --------
    >>> model_row("blip2").components
    (('vision', 39), ('qformer', 12), ('language', 24))
    """
    if model_id not in MODEL_BY_ID:
        raise ModelError(f"unknown model {model_id!r}; known: {', '.join(MODEL_BY_ID)}")
    return MODEL_BY_ID[model_id]


def load_adapter(row: Model, folder, device="auto", dtype="auto", image_size="native", span=None) -> Adapter:
    """Load a model for extraction.

    Parameters
    ----------
    row : Model
    folder : Path
        Checkpoint on disk (:func:`checkpoint_folder`).
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    dtype : {"auto", "float32", "bfloat16", "float16"}
        "auto" is the row's on a GPU and float32 elsewhere.
    image_size : "native" or int
    span : {"prompt", "image", "all"} or None
        Prompt positions to pool over.

    Raises
    ------
    ModelError
        For a device that is not there, a row of an unknown family or with an unknown type, and a checkpoint
        that does not fit the row or itself.

    Examples
    --------
    >>> row = model_row("vit-h")
    >>> adapter = load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu")
    >>> adapter.components
    {'vision': Component(n_states=4, width=96, per_instruction=False)}
    """
    place = resolve_device(device)
    if row.family not in FAMILIES:
        raise ModelError(f"model {row.id!r} is of family {row.family!r}; known: {', '.join(FAMILIES)}")
    family = FAMILIES[row.family]
    return family(row, folder, place, resolve_dtype(dtype, row, place), image_size, span)
