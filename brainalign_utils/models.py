"""The models of the study: one row each.  Adding a row needs no other change."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MPLUG_OWL_PROMPT = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\nHuman: <image>\nHuman: {instruction}\nAI:"
)
IDEFICS_PROMPT = "User: {instruction}<image><end_of_utterance>\nAssistant:"
# transformers' processor ends utterances with that token only where the tokenizer was trained with it
IDEFICS_BASE_PROMPT = IDEFICS_PROMPT.replace("<end_of_utterance>", "")
LLAVA_PROMPT = "USER: <image>\n{instruction} ASSISTANT:"
BLIP2_PROMPT = "Question: {instruction} Answer:"
CAPTION_PROMPT = "{caption} {instruction}"


ROLE_TITLES = {
    "mllm": "instruction-tuned multimodal model",
    "vision": "vision only",
    "multimodal": "multimodal, not instruction-tuned",
    "baseline": "random weights",
    "ablation": "one thing taken away",
}


@dataclass(frozen=True)
class Model:
    """A model as the study uses it.

    Parameters
    ----------
    id, title : str
        Identifier in artifacts, and the name shown to readers.
    role : {"mllm", "vision", "multimodal", "baseline", "ablation"}
        What the model stands for in the comparison.
    family : str
        Adapter that runs it (:mod:`brainalign_utils.features.adapters`).
    checkpoint, revision : str
        Name and commit on the Hugging Face hub.  "main" where no commit is known: the commit that it was
        when the checkpoint was fetched is kept in the hub's cache, and stored with the features.
    phantom : str
        Folder of the tiny checkpoint that takes its place in the phantom; empty when there is none.
    n_parameters : float
        Parameters of the published checkpoint, in units (not millions).
    components : tuple of (str, int)
        Parts whose states are kept, with their number of layers (hidden states are one more).
    prompt : str
        Template with ``{instruction}``, and ``{caption}`` for models that read instead of see;
        empty for models that take none.
    init : {"pretrained", "random"}
        "random" keeps the architecture and draws every weight anew, seeded.
    image : {"stimulus", "blank", "none"}
        "blank" gives a mid-grey picture: what the instruction alone brings.  "none" gives no picture.
    instructed : bool
        False gives the empty instruction: what the image alone brings.
    pixels : int
        Side of the pictures that the published checkpoint takes; its image processor makes them, from
        NSD's pictures or from these shrunk to 227 pixels as the authors did (``features.image_size``).
    dtype : str
        Of weights and states on a GPU; a CPU computes in float32.
    """

    id: str
    title: str
    role: str
    family: str
    checkpoint: str
    phantom: str
    n_parameters: float
    components: tuple[tuple[str, int], ...]
    prompt: str = ""
    revision: str = "main"
    init: str = "pretrained"
    image: str = "stimulus"
    instructed: bool = True
    pixels: int = 224
    dtype: str = "bfloat16"


def random_init(row: Model) -> Model:
    """The same architecture with weights drawn at random: what structure alone brings."""
    return replace(row, id=f"{row.id}-random", title=f"{row.title} random", role="baseline", init="random")


_INSTRUCTBLIP = Model(
    "instructblip", "InstructBLIP", "mllm", "instructblip", "Salesforce/instructblip-vicuna-7b",
    "instructblip", 7.9e9, (("vision", 39), ("qformer", 12), ("language", 32)), "{instruction}",
    revision="19103d0c5b5263c8a7891012e08573439fb6607f",
)  # fmt: skip
_IDEFICS = Model(
    "idefics", "IDEFICS", "mllm", "idefics", "HuggingFaceM4/idefics-9b-instruct", "idefics",
    8.9e9, (("vision", 32), ("language", 32)), IDEFICS_PROMPT,
)  # fmt: skip
_MPLUG_OWL = Model(
    "mplug-owl", "mPLUG-Owl", "mllm", "mplug_owl", "MAGAer13/mplug-owl-llama-7b", "mplug-owl",
    7.2e9, (("vision", 24), ("language", 32)), MPLUG_OWL_PROMPT,
    revision="057b523159d015b6c32c3b1f0340821d97930e1b",
)  # fmt: skip
_CLIP = Model(
    "clip-image", "CLIP image", "multimodal", "clip", "openai/clip-vit-large-patch14", "clip",
    4.3e8, (("vision", 24), ("projection", 0)), revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
)  # fmt: skip

MODELS = (
    _INSTRUCTBLIP,
    _IDEFICS,
    _MPLUG_OWL,
    replace(
        _INSTRUCTBLIP, id="instructblip-13b", title="InstructBLIP 13B", phantom="", n_parameters=1.41e10,
        checkpoint="Salesforce/instructblip-vicuna-13b", revision="main",
        components=(("vision", 39), ("qformer", 12), ("language", 40)),
    ),
    replace(
        _INSTRUCTBLIP, id="instructblip-flan-t5", title="InstructBLIP Flan-T5", phantom="",
        n_parameters=4.0e9, checkpoint="Salesforce/instructblip-flan-t5-xl",
        revision="6c0cf6bef6330a114473cb5cec43d7beeb2a74ac",
        components=(("vision", 39), ("qformer", 12), ("language", 24)),
    ),
    Model(
        "llava", "LLaVA-1.5", "mllm", "llava", "llava-hf/llava-1.5-7b-hf", "", 7.1e9,
        (("vision", 24), ("language", 32)), LLAVA_PROMPT, revision="b234b804b114d9e37bb655e11cbbb5f5e971b7a9",
        pixels=336,
    ),
    Model(
        "vit-h", "ViT-H/14", "vision", "vit", "google/vit-huge-patch14-224-in21k", "vit", 6.3e8,
        (("vision", 32),),
    ),
    _CLIP,
    replace(
        _CLIP, id="clip-text", title="CLIP caption", image="none", prompt="{caption}",
        components=(("text", 12), ("projection", 0)),
    ),
    replace(
        _CLIP, id="clip-both", title="CLIP image + caption", prompt="{caption}",
        components=(("both", 24), ("projection", 0)),
    ),
    Model(
        "blip2", "BLIP-2", "ablation", "blip2", "Salesforce/blip2-flan-t5-xl", "blip2", 3.9e9,
        (("vision", 39), ("qformer", 12), ("language", 24)), BLIP2_PROMPT,
        revision="0eb0d3b46c14c1f8c7680bca2693baafdb90bb28",
    ),
    replace(
        _IDEFICS, id="idefics-base", title="IDEFICS base", role="ablation", phantom="",
        checkpoint="HuggingFaceM4/idefics-9b", prompt=IDEFICS_BASE_PROMPT,
    ),
    random_init(_INSTRUCTBLIP),
    random_init(_IDEFICS),
    random_init(_MPLUG_OWL),
    replace(
        _INSTRUCTBLIP, id="instructblip-image-only", title="InstructBLIP image only", role="ablation",
        instructed=False,
    ),
    replace(
        _INSTRUCTBLIP, id="instructblip-instruction-only", title="InstructBLIP instruction only",
        role="ablation", image="blank",
    ),
    replace(
        _INSTRUCTBLIP, id="language-only", title="Language model on captions", role="ablation", family="text",
        components=(("language", 32),), prompt=CAPTION_PROMPT, image="none", n_parameters=6.7e9,
    ),
)  # fmt: skip
"""Rows in the order in which tables show them.

BLIP-2 shares its language model with InstructBLIP Flan-T5: that pair differs in instruction tuning
alone.  Revisions are commits seen in public use of the checkpoints; "main" where none was found, as a
search of public code, issues and pages in November 2026 gave none for IDEFICS, ViT-H and InstructBLIP 13B.
"""

MODEL_BY_ID = {row.id: row for row in MODELS}


def without_phantom(ids) -> list[str]:
    """Those of the models that have no phantom checkpoint and need the published one."""
    return [id for id in ids if not MODEL_BY_ID[id].phantom]


def template_markers(row: Model) -> list[str]:
    """Marks that the template of a row gives a meaning of their own; an image's is one for every model.

    Examples
    --------
    >>> template_markers(MODEL_BY_ID["llava"])
    ['<image>', 'USER:', 'ASSISTANT:']
    """
    found = re.findall(r"<[^<>\s]+>|\[/?[A-Z]+\]|\w+:", row.prompt)
    return list(dict.fromkeys(["<image>", *found]))


def marker_in(text: str, markers) -> str | None:
    """The first of the markers that a text holds; None when it holds none.

    Examples
    --------
    >>> marker_in("Describe <image>.", ["Human:", "<image>"])
    '<image>'
    """
    return next((marker for marker in markers if marker in text), None)
