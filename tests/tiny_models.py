"""Tiny random checkpoints in the real classes, and what a user gets from them with plain transformers."""

import re
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    IdeficsImageProcessorPil,
    IdeficsProcessor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from brainalign_utils.features.adapters.loading import draw_weights
from brainalign_utils.features.mplug_owl import (
    MplugOwlConfig,
    MplugOwlForConditionalGeneration,
    MplugOwlProcessor,
)
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.tables import INSTRUCTIONS

# widths, heads and lengths differ from part to part, so that no mixed-up axis passes
SIZE = {"height": 48, "width": 48}
VISION, QFORMER, LANGUAGE, N_QUERIES = 24, 32, 40, 7
FAMILIES = ("instructblip", "instructblip-t5", "blip2", "blip2-opt", "idefics", "mplug-owl", "llava")
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>"]
IMAGE_ID = 4


def _words():
    texts = [row.text for row in INSTRUCTIONS] + [
        MODEL_BY_ID[m].prompt for m in ("mplug-owl", "idefics", "llava")
    ]
    found = re.findall(r"\w+|[^\w\s]", " ".join(texts) + " Question Answer")
    return [*SPECIAL, *sorted(set(found) - {"image"}), "image"]


def _tokenizer():
    vocab = {word: i for i, word in enumerate(_words())}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(prefix="##")
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=SPECIAL[4:], padding_side="left",
    )  # fmt: skip


def _vision(**more):
    return dict(
        hidden_size=VISION, intermediate_size=28, num_hidden_layers=2, num_attention_heads=3, image_size=48,
        patch_size=12, **more,
    )  # fmt: skip


def _ids():
    return dict(vocab_size=len(_words()), pad_token_id=0, bos_token_id=2, eos_token_id=3)


def _llama(**more):
    return dict(
        hidden_size=LANGUAGE, intermediate_size=56, num_hidden_layers=3, num_attention_heads=5,
        max_position_embeddings=200, **_ids(), **more,
    )  # fmt: skip


def _text(name):
    if name.endswith("t5"):
        return dict(
            model_type="t5", d_model=LANGUAGE, d_kv=8, d_ff=56, num_layers=3, num_heads=5,
            decoder_start_token_id=0, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **_ids(),
        )  # fmt: skip
    if name.endswith("opt"):
        return dict(
            model_type="opt", hidden_size=LANGUAGE, word_embed_proj_dim=LANGUAGE, ffn_dim=56,
            num_hidden_layers=3, num_attention_heads=5, max_position_embeddings=160, **_ids(),
        )  # fmt: skip
    return _llama(model_type="llama")


def _with_qformer(name):
    qformer = dict(
        hidden_size=QFORMER, num_hidden_layers=3, num_attention_heads=4, intermediate_size=36,
        max_position_embeddings=48, encoder_hidden_size=VISION, vocab_size=len(_words()), pad_token_id=0,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    parts = dict(
        vision_config=_vision(), text_config=_text(name), qformer_config=qformer, num_query_tokens=N_QUERIES,
        image_token_index=IMAGE_ID,
    )  # fmt: skip
    images = BlipImageProcessorPil(size=SIZE)
    if name.startswith("blip2"):
        processor = Blip2Processor(images, _tokenizer(), num_query_tokens=N_QUERIES)
        return Blip2ForConditionalGeneration(Blip2Config(**parts)), processor
    processor = InstructBlipProcessor(images, _tokenizer(), _tokenizer(), num_query_tokens=N_QUERIES)
    return InstructBlipForConditionalGeneration(InstructBlipConfig(**parts)), processor


def _idefics(name):
    vision = _vision()
    vision["embed_dim"] = vision.pop("hidden_size")
    perceiver = dict(
        use_resampler=True, resampler_n_latents=N_QUERIES, resampler_depth=1, resampler_n_heads=3,
        resampler_head_dim=8,
    )  # fmt: skip
    text = _llama() | {"num_hidden_layers": 4, "cross_layer_interval": 2}
    config = IdeficsConfig(vision_config=vision, perceiver_config=perceiver, use_resampler=True, **text)
    processor = IdeficsProcessor(IdeficsImageProcessorPil(image_size=48), _tokenizer(), image_size=48)
    return IdeficsForVisionText2Text(config), processor


def _mplug_owl(name):
    abstractor = dict(
        hidden_size=QFORMER, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4,
        encoder_hidden_size=QFORMER,
    )  # fmt: skip
    vision = _vision() | {"hidden_size": QFORMER, "num_attention_heads": 4}
    config = MplugOwlConfig(
        vision_config=vision, visual_abstractor_config=abstractor, text_config=_text(name),
        num_query_tokens=N_QUERIES,
    )  # fmt: skip
    processor = MplugOwlProcessor(_tokenizer(), 48, config.n_image_tokens)
    return MplugOwlForConditionalGeneration(config), processor


def _llava(name):
    vision = _vision(model_type="clip_vision_model", projection_dim=16)
    config = LlavaConfig(vision_config=vision, text_config=_text(name), image_token_index=IMAGE_ID)
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=SIZE, crop_size=SIZE), _tokenizer(), patch_size=12, image_token="<image>",
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config), processor


_BUILD = {"idefics": _idefics, "mplug-owl": _mplug_owl, "llava": _llava}


def save(name, folder, seed=0):
    """Write a checkpoint whose answers vary with the image and often end early."""
    torch.manual_seed(seed)
    model, processor = _BUILD.get(name, _with_qformer)(name)
    draw_weights(model, seed)
    gain = 4 if name.endswith("t5") else 6  # T5 does not scale its attention
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(gain * (2 if "language" in key or "layers" in key else 1))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def row(name):
    """A row of the model table for the checkpoint of that name."""
    base = {"instructblip-t5": "instructblip", "blip2-opt": "blip2"}.get(name, name)
    return replace(MODEL_BY_ID[base], id=name)


def picture(nsd_id):
    """A smooth picture, different for each id."""
    small = np.random.default_rng(nsd_id).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((85, 85), Image.Resampling.BICUBIC))


class Pictures:
    """Stimuli by id, made when asked for."""

    def __getitem__(self, nsd_id):
        return picture(nsd_id)


class Plain:
    """A checkpoint used as its documentation shows: one image, one instruction, no cache."""

    def __init__(self, name, folder):
        self.name, self.template = name, row(name).prompt
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        load = MplugOwlProcessor if name == "mplug-owl" else AutoProcessor
        self.processor = load.from_pretrained(folder, **({} if name == "mplug-owl" else {"backend": "pil"}))
        self.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.tokenizer = self.processor.tokenizer

    def inputs(self, nsd_id, instruction):
        image = Image.fromarray(picture(nsd_id))
        text = self.template.replace("{instruction}", instruction)
        if self.name == "idefics":
            before, after = text.split("<image>")
            end = "<end_of_utterance>"
            prompt = [[before, image, end, after.removeprefix(end)]]
            return self.processor(text=prompt, add_end_of_utterance_token=False, return_tensors="pt")
        if self.name == "mplug-owl":
            return self.processor(images=[image], text=text)
        return self.processor(images=image, text=text, return_tensors="pt")

    @torch.no_grad()
    def generate(self, nsd_id, instruction, n_new, eos_ids, banned_ids=()):
        """Generated ids and (n_states, width) mean over the steps after the prompt's."""
        inputs = self.inputs(nsd_id, instruction)
        banned = {"bad_words_ids": [[i] for i in banned_ids]} if banned_ids else {}
        out = self.model.generate(
            **inputs, max_new_tokens=n_new, do_sample=False, use_cache=False, eos_token_id=list(eos_ids),
            pad_token_id=0, output_hidden_states=True, return_dict_in_generate=True, **banned,
        )  # fmt: skip
        seq2seq = "decoder_hidden_states" in out
        steps = out.decoder_hidden_states if seq2seq else out.hidden_states
        n = len(steps)
        new = out.sequences[0, 1:] if seq2seq else out.sequences[0, -n:]
        last = [torch.stack([state[0, -1] for state in step]) for step in steps]
        answer = [int(i) for i in new if int(i) not in eos_ids]
        return answer, torch.stack(last[1:]).mean(0) if n > 1 else last[0]

    @torch.no_grad()
    def prompt_states(self, nsd_id, instruction):
        """Ids of the prompt and its language states (n_states, n_tokens, width), one forward pass."""
        inputs = self.inputs(nsd_id, instruction)
        out = self.model(**inputs, output_hidden_states=True)
        states = out.language_model_outputs.hidden_states if "blip" in self.name else out.hidden_states
        return inputs["input_ids"][0], torch.stack(states)[:, 0]

    @torch.no_grad()
    def vision_states(self, nsd_id):
        """(n_states, n_tokens, width) hidden states of the vision tower."""
        pixels = self.image_processor(images=[Image.fromarray(picture(nsd_id))], return_tensors="pt")
        pixels = pixels if isinstance(pixels, torch.Tensor) else pixels["pixel_values"]
        if self.name == "llava":
            tower = self.model.model.vision_tower
        else:
            tower = self.model.model.vision_model if self.name == "idefics" else self.model.vision_model
        if self.name == "idefics":  # this tower hands out no hidden states
            return _layer_outputs(tower, pixels)
        if self.name == "mplug-owl":
            return torch.stack(tower(pixels).hidden_states)[:, 0]
        return torch.stack(tower(pixels, output_hidden_states=True).hidden_states)[:, 0]


def _layer_outputs(tower, pixels):
    """Input of the first layer and output of each, by running the layers one by one."""
    state = tower.pre_layrnorm(tower.embeddings(pixels))
    states = [state]
    for layer in tower.encoder.layers:
        state = layer(state, None)
        state = state[0] if isinstance(state, tuple) else state
        states.append(state)
    return torch.stack(states)[:, 0]
