"""The tiny checkpoints before training: shapes, tokenizers and processors in the real classes.

Widths are all 96 and pictures 64 pixels with patches of 8; whatever an architecture does in its own way
(how pictures reach the language model, norms, prompts) is left as it is.
"""

import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    IdeficsProcessor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from brainalign_utils.features.mplug_owl import (
    MplugOwlConfig,
    MplugOwlForConditionalGeneration,
    MplugOwlProcessor,
)
from nsd_phantom.instructions import read_instructions

from .answers import vocabulary
from .training_data import IMAGE_SIZE, PATCH_SIZE

WIDTH, N_HEADS, MLP = 96, 4, 192
N_QUERIES = {"instructblip": 8, "blip2": 8, "idefics": 16, "mplug-owl": 16}
"""Vectors that carry a picture to the language model."""
IMAGE_TOKEN = "<image>"
SPECIAL = (
    "<pad>", "<unk>", "<s>", "</s>", IMAGE_TOKEN, "<fake_token_around_image>", "<end_of_utterance>",
)  # fmt: skip
PAD, UNK, BOS, EOS, IMAGE = range(5)
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
NAMES = ("vit", "instructblip", "idefics", "mplug-owl", "blip2", "clip")

_INSTRUCTIONS = read_instructions()
_PARAPHRASE = """
and any are be briefly by can color colour colours count describe detail dominant environment food give how if
image in is it kind list look main many me name of on or people person photo photograph picture place please
say scene see
shown shows some tell text that the there this to type visible want we what where which who will with you your
animal animals background foreground happening hold indoors interaction item items object objects outdoors
sentence
short task
"""


def words() -> list[str]:
    """The vocabulary: specials, then all words of answers, captions, instructions, prompts, paraphrases."""
    texts = [*vocabulary(), *_INSTRUCTIONS.texts.values(), *_INSTRUCTIONS.prompts.values(), _PARAPHRASE]
    text = re.sub(r"<\w+>|\{\w+\}", " ", " ".join(texts)).lower()
    return [*SPECIAL, *sorted(set(re.findall(r"\w+|[^\w\s]", text)) | set(".,?!':"))]


def make_tokenizer(ends: bool = False) -> PreTrainedTokenizerFast:
    """A word-level tokenizer in lower case; unknown words become ``<unk>``.

    Parameters
    ----------
    ends : bool
        Close each text with ``</s>``, as CLIP needs.
    """
    vocab = {word: index for index, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    single = "<s> $A </s>" if ends else "<s> $A"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=list(SPECIAL[4:]), padding_side="right" if ends else "left",
        model_max_length=256,
    )  # fmt: skip


def _vision(**more) -> dict:
    return dict(
        hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=3, num_attention_heads=N_HEADS,
        image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, initializer_range=0.02, **more,
    )  # fmt: skip


def _llama() -> dict:
    return dict(
        model_type="llama", hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=3,
        num_attention_heads=N_HEADS, num_key_value_heads=N_HEADS, vocab_size=len(words()), pad_token_id=PAD,
        bos_token_id=BOS, eos_token_id=EOS, max_position_embeddings=256, initializer_range=0.04,
    )  # fmt: skip


def _qformer(**more) -> dict:
    return dict(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=N_HEADS, intermediate_size=128,
        cross_attention_frequency=1, encoder_hidden_size=WIDTH, max_position_embeddings=64,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.04, **more,
    )  # fmt: skip


def _instructblip():
    return InstructBlipForConditionalGeneration(
        InstructBlipConfig(
            vision_config=_vision(), text_config=_llama(), num_query_tokens=N_QUERIES["instructblip"],
            image_token_index=IMAGE, qformer_config=_qformer(vocab_size=len(words()), pad_token_id=PAD),
        )
    )  # fmt: skip


def _blip2():
    return Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=_vision(), text_config=_llama(), num_query_tokens=N_QUERIES["blip2"],
            image_token_index=IMAGE, qformer_config=_qformer(),
        )
    )  # fmt: skip


def _idefics():
    vision = _vision(hidden_act="quick_gelu")
    vision["embed_dim"] = vision.pop("hidden_size")
    text = {k: v for k, v in _llama().items() if k not in ("model_type", "num_key_value_heads")}
    perceiver = dict(
        use_resampler=True, resampler_n_latents=N_QUERIES["idefics"], resampler_depth=1,
        resampler_n_heads=N_HEADS,
        resampler_head_dim=WIDTH // N_HEADS,
    )  # fmt: skip
    config = IdeficsConfig(
        **text, vision_config=vision, perceiver_config=perceiver, use_resampler=True, cross_layer_interval=1,
        alpha_initializer="ones", freeze_text_layers=False, freeze_vision_layers=False,
    )  # fmt: skip
    return IdeficsForVisionText2Text(config)


def _mplug_owl():
    abstractor = dict(
        hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=2, num_attention_heads=N_HEADS,
        encoder_hidden_size=WIDTH,
    )  # fmt: skip
    return MplugOwlForConditionalGeneration(
        MplugOwlConfig(
            vision_config=_vision(), visual_abstractor_config=abstractor, text_config=_llama(),
            num_query_tokens=N_QUERIES["mplug-owl"],
        )
    )  # fmt: skip


def _clip():
    text = dict(
        vocab_size=len(words()), hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=3,
        num_attention_heads=N_HEADS, max_position_embeddings=77, pad_token_id=PAD, bos_token_id=BOS,
        eos_token_id=EOS,
    )  # fmt: skip
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config=_vision(hidden_act="quick_gelu"), projection_dim=64)
    )


def _vit():
    return ViTModel(ViTConfig(**_vision(hidden_act="gelu", layer_norm_eps=1e-6)))


_MODELS = {
    "instructblip": _instructblip, "blip2": _blip2, "idefics": _idefics, "mplug-owl": _mplug_owl,
    "clip": _clip,
    "vit": _vit,
}  # fmt: skip


def make_model(name: str, seed: int = 0) -> nn.Module:
    """A model with random weights, drawn so that it can learn at this size.

    The classes' own starting values are for large models: vision weights of 1e-10 and queries that
    are all zero, hence all alike for ever.
    """
    torch.manual_seed(seed)
    model = _MODELS[name]().float().eval()
    scales = {"query_tokens": 0.5, "position_embedding": 0.1, "class_embedding": 0.1, "latents": 0.5}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            scale = next((s for part, s in scales.items() if part in key), None)
            if scale is not None and "word" not in key:
                parameter.normal_(std=scale)
    return model


def make_processor(name: str):
    """The processor of a checkpoint: pictures to 64 pixels (bicubic), text to word numbers."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    look = dict(size=size, resample=3, image_mean=list(MEAN), image_std=list(STD))
    if name == "vit":
        return ViTImageProcessorPil(**look)
    if name == "clip":
        images = CLIPImageProcessorPil(**look, do_center_crop=False)
        return CLIPProcessor(images, make_tokenizer(ends=True))
    if name == "idefics":
        return IdeficsProcessor(
            IdeficsImageProcessorPil(image_size=IMAGE_SIZE), make_tokenizer(), image_size=IMAGE_SIZE
        )
    if name == "mplug-owl":
        return MplugOwlProcessor(make_tokenizer(), IMAGE_SIZE, N_QUERIES[name] + 1)
    images = BlipImageProcessorPil(**look)
    if name == "blip2":
        return Blip2Processor(images, make_tokenizer(), num_query_tokens=N_QUERIES[name])
    return InstructBlipProcessor(images, make_tokenizer(), make_tokenizer(), num_query_tokens=N_QUERIES[name])


def save_checkpoint(name: str, model: nn.Module, folder: Path) -> None:
    """Write a checkpoint in Hugging Face's format, weights as float16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    half = make_model(name).half()
    half.load_state_dict(model.state_dict())
    half.save_pretrained(folder)
    make_processor(name).save_pretrained(folder)
