"""Models without instructions: ViT and CLIP; and the language model that reads captions instead."""

import torch
from transformers import AutoModel

from ..checkpoints import ModelError
from .base import Adapter, Component, LanguageAdapter, Tower
from .decoder import causal_decoder
from .inputs import Prompt, embed_rows, ending_ids
from .layers import LayerTap, weighted_sum


class VitAdapter(Adapter):
    """Vision transformer; states averaged over tokens, before the final norm."""

    auto_class = AutoModel
    model_types = ("vit",)

    def _setup(self):
        self.tower = Tower(self.model.layers, self.model.config.hidden_size)
        self.components = {"vision": self.tower.component}

    def encode(self, pixels, captions=None):
        return None, {"vision": self.tower(self.model, pixels)[1]}


class ClipAdapter(Adapter):
    """CLIP's image tower, its text tower on the caption, or both side by side.

    Text states are averaged over the caption's tokens.  ``both`` joins a vision layer with the text
    layer at the same relative depth.  ``projection`` is the vector of the contrastive loss.
    """

    auto_class = AutoModel
    model_types = ("clip",)

    def __init__(self, row, *args, **kwargs):
        self.takes_image, self.takes_caption = row.image != "none", "{caption}" in row.prompt
        if not (self.takes_image or self.takes_caption):
            raise ModelError(
                f"model {row.id!r} takes neither image nor caption; put {{caption}} in its prompt"
            )
        super().__init__(row, *args, **kwargs)

    def _setup(self):
        config = self.model.config
        self.tower = Tower(self.model.vision_model.encoder.layers, config.vision_config.hidden_size)
        self.text_tap = LayerTap(self.model.text_model.encoder.layers)
        if self.takes_caption:
            self.tokenizer = self._load_tokenizer(self.model.text_model.embeddings.token_embedding)
        n_vision, n_text = self.tower.component.n_states, self.text_tap.n_states
        width, n_sides = config.text_config.hidden_size, self.takes_image + self.takes_caption
        both = Component(n_vision, self.tower.component.width + width, False)
        name, component = {
            (True, False): ("vision", self.tower.component),
            (False, True): ("text", Component(n_text, width, False)),
            (True, True): ("both", both),
        }[self.takes_image, self.takes_caption]
        projection = Component(1, config.projection_dim * n_sides, False)
        self.components = {name: component, "projection": projection}
        self.layer_pairs = [round(i * (n_text - 1) / (n_vision - 1)) for i in range(n_vision)]

    def encode(self, pixels, captions=None):
        states, projections = {}, []
        if self.takes_image:
            output, states["vision"] = self.tower(self.model.get_image_features, pixels)
            projections.append(output.pooler_output.float())
        if self.takes_caption:
            states["text"], projection = self._read(captions)
            projections.append(projection.float())
        if len(states) == 2:
            states = {"both": torch.cat([states["vision"], states["text"][self.layer_pairs]], dim=-1)}
        return None, states | {"projection": torch.cat(projections, dim=-1).unsqueeze(0)}

    def _read(self, captions):
        limit = self.model.config.text_config.max_position_embeddings
        batch = self.tokenizer(captions, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        batch = {name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")}
        weights = batch["attention_mask"] / batch["attention_mask"].sum(1, keepdim=True)
        with self.text_tap.reducing(weighted_sum(weights)) as stacked:
            output = self.model.get_text_features(**batch)
            return stacked(), output.pooler_output


class TextAdapter(LanguageAdapter):
    """The language model of an MLLM alone: it reads a caption where the MLLM sees the image.

    The caption precedes the instruction, so it is run once for all instructions.
    """

    model_types = ("instructblip", "blip-2")
    template = ("{caption}", "{instruction}")
    takes_image = False
    takes_caption = True

    def _setup(self):
        language = self.model.language_model
        if not self.model.config.use_decoder_only_language_model:
            raise ModelError(
                f"checkpoint {self.folder} of model {self.row.id!r} has a T5 for its language model; family "
                "'text' runs LLaMA and OPT: name another checkpoint"
            )
        self.tokenizer = self._load_tokenizer(language.get_input_embeddings())
        self.decoder = causal_decoder(language)
        self.eos_ids = ending_ids(self.tokenizer, language.generation_config, language.config)
        n_states, width = self.decoder.n_layers + 1, language.config.hidden_size
        self.components = {"language": Component(n_states, width, True)}
        self.max_tokens = language.config.max_position_embeddings

    def _tokenize(self, text: str) -> Prompt:
        return Prompt(tuple(self.tokenizer(text)["input_ids"]))

    def encode(self, pixels, captions=None):
        ids = [self.prompt("", caption).ids for caption in captions]
        every = torch.arange(len(ids), device=self.device)
        rows = embed_rows(self.decoder.embed, ids, None, every, self.device)
        return (ids, self.decoder.prefix(rows, self.span)), {}

    def rows(self, encoded, row_image, prompts):
        ids, prefix = [prompt.ids for prompt in prompts], None
        captions, shared = encoded
        read = [captions[i] for i in row_image.tolist()]
        # not so where a tokenizer joins the caption's end and the instruction in one token
        if all(len(b) < len(i) and i[: len(b)] == b for i, b in zip(ids, read, strict=True)):
            prefix = shared.of_rows(row_image)
            ids = [i[len(b) :] for i, b in zip(ids, read, strict=True)]
        rows = embed_rows(self.decoder.embed, ids, None, row_image, self.device)
        rows.prefix = prefix
        return rows, {}
