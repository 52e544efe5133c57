"""The models of the study: one row each.  Adding a row needs no other change."""

from dataclasses import dataclass

MPLUG_OWL_PROMPT = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\nHuman: <image>\nHuman: {instruction}\nAI:"
)
IDEFICS_PROMPT = "User: {instruction}<image><end_of_utterance>\nAssistant:"
LLAVA_PROMPT = "USER: <image>\n{instruction} ASSISTANT:"


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
        Adapter that runs it (:mod:`brainalign_utils.models`).
    checkpoint, revision : str
        Name and commit on the Hugging Face hub; revision "main" is resolved to a commit and
        recorded when the checkpoint is fetched.
    phantom : str
        Folder of the tiny checkpoint that takes its place in the phantom.
    n_parameters : float
        Parameters of the published checkpoint, in units (not millions).
    components : tuple of (str, int)
        Parts whose states are kept, with their number of layers (hidden states are one more).
    prompt : str
        Template with ``{instruction}``; empty for models that take none.
    init : {"pretrained", "random"}
    image : {"stimulus", "blank"}
        "blank" gives a mid-grey picture: what the instruction alone brings.
    instructed : bool
        False gives the empty instruction: what the image alone brings.
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


_INSTRUCTBLIP = Model(
    "instructblip", "InstructBLIP", "mllm", "instructblip", "Salesforce/instructblip-vicuna-7b", "instructblip",
    7.9e9, (("vision", 39), ("qformer", 12), ("language", 32)), "{instruction}",
)  # fmt: skip
_IDEFICS = Model(
    "idefics", "IDEFICS", "mllm", "idefics", "HuggingFaceM4/idefics-9b-instruct", "idefics",
    8.9e9, (("vision", 32), ("language", 32)), IDEFICS_PROMPT,
)  # fmt: skip
_MPLUG_OWL = Model(
    "mplug-owl", "mPLUG-Owl", "mllm", "mplug_owl", "MAGAer13/mplug-owl-llama-7b", "mplug-owl",
    7.2e9, (("vision", 24), ("language", 32)), MPLUG_OWL_PROMPT,
)  # fmt: skip

MODELS = (_INSTRUCTBLIP, _IDEFICS, _MPLUG_OWL)
MODEL_BY_ID = {row.id: row for row in MODELS}
