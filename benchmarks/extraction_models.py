"""Random models for the extraction benchmark: mid-size ones for a CPU, 7B-size ones for a GPU."""

from dataclasses import replace
from pathlib import Path

from transformers import (
    AutoTokenizer,
    BlipImageProcessorPil,
    GenerationConfig,
    IdeficsConfig,
    IdeficsImageProcessorPil,
    IdeficsProcessor,
    InstructBlipConfig,
    InstructBlipProcessor,
    ViTConfig,
    ViTImageProcessorPil,
)

from brainalign_utils.features.mplug_owl import MplugOwlConfig, MplugOwlProcessor
from brainalign_utils.models import MODEL_BY_ID, random_init
from nsd_phantom import CHECKPOINTS as PHANTOM_FOLDER

FAMILIES = ("instructblip", "idefics", "mplug-owl")


def _vision(width, inner, n_layers, n_heads=16):
    return dict(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=n_layers, num_attention_heads=n_heads
    )


LANGUAGE = {
    "mid": dict(hidden_size=640, intermediate_size=1728, num_hidden_layers=10, num_attention_heads=10),
    "7b": dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32),
}
VISION = {
    "mid": _vision(768, 3072, 14, 12),
    "instructblip": _vision(1408, 6144, 39),
    "idefics": _vision(1280, 5120, 32),
    "mplug-owl": _vision(1024, 4096, 24),
}
N_WORDS = {"mid": 1000, "7b": 32000}


def row(name: str):
    """Row of the model table with weights drawn at random."""
    return replace(random_init(MODEL_BY_ID["vit-h" if name == "vit" else name]), id=name)


def write_folder(name: str, size: str, folder: Path) -> Path:
    """Config, tokenizer and processor of a random model; weights are drawn when it is loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    vision = dict(VISION["mid" if size == "mid" else name], image_size=224)
    vision["patch_size"] = 16 if size == "mid" else 14
    if name == "vit":
        ViTConfig(**VISION["mid"], image_size=224, patch_size=16).save_pretrained(folder)
        ViTImageProcessorPil().save_pretrained(folder)
        return folder
    tokenizer = AutoTokenizer.from_pretrained(PHANTOM_FOLDER / name)
    text = dict(
        LANGUAGE[size], vocab_size=N_WORDS[size], max_position_embeddings=2048, pad_token_id=0,
        bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    config, processor = globals()[f"_{name.replace('-', '_')}"](size, vision, text, tokenizer)
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    GenerationConfig(pad_token_id=0, bos_token_id=2).save_pretrained(folder)
    return folder


def _instructblip(size, vision, text, tokenizer):
    small = dict(hidden_size=384, num_hidden_layers=4, num_attention_heads=6, intermediate_size=1536)
    large = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
    qformer = small if size == "mid" else large
    qformer |= {"vocab_size": N_WORDS[size], "encoder_hidden_size": vision["hidden_size"]}
    config = InstructBlipConfig(
        vision_config=vision, qformer_config=qformer, text_config=dict(text, model_type="llama"),
        num_query_tokens=32, image_token_index=4,
    )  # fmt: skip
    images = BlipImageProcessorPil(size={"height": 224, "width": 224})
    return config, InstructBlipProcessor(images, tokenizer, tokenizer, 32)


def _idefics(size, vision, text, tokenizer):
    vision["embed_dim"] = vision.pop("hidden_size")
    perceiver = dict(use_resampler=True, resampler_n_latents=64, resampler_depth=2 if size == "mid" else 6,
                     resampler_n_heads=8 if size == "mid" else 16, resampler_head_dim=96)  # fmt: skip
    config = IdeficsConfig(
        **text, vision_config=vision, perceiver_config=perceiver, use_resampler=True,
        cross_layer_interval=5 if size == "mid" else 4, additional_vocab_size=0,
    )  # fmt: skip
    return config, IdeficsProcessor(IdeficsImageProcessorPil(image_size=224), tokenizer, image_size=224)


def _mplug_owl(size, vision, text, tokenizer):
    width = vision["hidden_size"]
    abstractor = dict(
        hidden_size=width, encoder_hidden_size=width, intermediate_size=1024 if size == "mid" else 2816,
        num_hidden_layers=2 if size == "mid" else 6, num_attention_heads=vision["num_attention_heads"],
    )  # fmt: skip
    config = MplugOwlConfig(
        vision_config=vision, visual_abstractor_config=abstractor, text_config=dict(text, model_type="llama"),
        num_query_tokens=64,
    )  # fmt: skip
    return config, MplugOwlProcessor(tokenizer, 224, config.n_image_tokens)
