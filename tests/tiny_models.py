"""Tiny random checkpoints in the real classes, and what a user gets from them with plain transformers."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    OPTConfig,
    T5Config,
)

from brainalign_utils.model_table import MODEL_BY_ID
from brainalign_utils.models.checkpoints import draw_weights
from brainalign_utils.mplug_owl import MplugOwlProcessor
from brainalign_utils.phantom import checkpoint_shapes as shapes

SIZE = {"height": 64, "width": 64}
FAMILIES = ("instructblip", "instructblip-t5", "blip2", "blip2-opt", "idefics", "mplug-owl", "llava")


def _t5(n_words):
    return T5Config(
        vocab_size=n_words, d_model=40, d_kv=10, d_ff=56, num_layers=3, num_heads=4, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=3, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    ).to_dict()  # fmt: skip


def _opt(n_words):
    return OPTConfig(
        vocab_size=n_words, hidden_size=40, word_embed_proj_dim=40, ffn_dim=56, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=160, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    ).to_dict()  # fmt: skip


def _build(name):
    n_words = len(shapes.words())
    queries = {"num_query_tokens": shapes.N_QUERIES, "image_token_index": shapes.IMAGE}
    if name == "instructblip-t5":
        qformer = shapes._qformer(vocab_size=n_words, pad_token_id=0)
        config = InstructBlipConfig(
            vision_config=shapes._vision(), text_config=_t5(n_words), qformer_config=qformer, **queries
        )
        return InstructBlipForConditionalGeneration(config), shapes.make_processor("instructblip")
    if name == "blip2-opt":
        qformer = shapes._qformer()
        config = Blip2Config(
            vision_config=shapes._vision(), text_config=_opt(n_words), qformer_config=qformer, **queries
        )
        return Blip2ForConditionalGeneration(config), shapes.make_processor("blip2")
    if name == "llava":
        vision = CLIPVisionConfig(**shapes._vision(hidden_act="quick_gelu"))
        config = LlavaConfig(
            vision_config=vision, text_config=shapes._llama(), image_token_index=shapes.IMAGE
        )
        images = CLIPImageProcessorPil(size=SIZE, crop_size=SIZE)
        processor = LlavaProcessor(
            images, shapes.make_tokenizer(), patch_size=shapes.PATCH_SIZE, image_token="<image>",
            vision_feature_select_strategy="default", num_additional_image_tokens=1,
        )  # fmt: skip
        return LlavaForConditionalGeneration(config), processor
    return shapes._MODELS[name](), shapes.make_processor(name)


def save(name, folder, seed=0):
    """Write a checkpoint whose answers vary with the image and often end early."""
    torch.manual_seed(seed)
    model, processor = _build(name)
    draw_weights(model, seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(6 if "language" in key or "layers" in key else 3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def row(name):
    """A row of the model table for the checkpoint of that name."""
    base = {"instructblip-t5": "instructblip", "blip2-opt": "blip2"}.get(name, name)
    known = {"llava": "llava"}.get(base, base)
    return replace(MODEL_BY_ID[known], id=name)


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
