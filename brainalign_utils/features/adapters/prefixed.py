"""mPLUG-Owl and LLaVA: image tokens stand in the prompt before the instruction."""

from abc import abstractmethod

import torch
from transformers import AutoTokenizer

from ..mplug_owl import MplugOwlProcessor
from .base import Component, LanguageAdapter, Tower
from .decoder import causal_decoder
from .rows import IMAGE, Prompt, embed_rows, ending_ids


class PrefixedAdapter(LanguageAdapter):
    """The prompt up to the image's end is run once per image; instructions go on from its keys and values."""

    share_prefix = True

    def _prefix_ids(self) -> tuple[int, ...]:
        """Everything up to the last image position, when all instructions begin alike."""
        if not self.share_prefix:
            return ()
        ids = self.prompt("x").ids
        return ids[: len(ids) - ids[::-1].index(IMAGE)]

    @abstractmethod
    def _image_tokens(self, pixels) -> torch.Tensor:
        """Image tokens (n_images, n_tokens, width) of the language model."""

    def encode(self, pixels, captions=None):
        features, pooled = self.tower(self._image_tokens, pixels)
        prefix_ids = self._prefix_ids()
        if not prefix_ids:
            return (features, None), {"vision": pooled}
        every = torch.arange(len(pixels), device=self.device)
        ids = [prefix_ids] * len(pixels)
        rows = embed_rows(self.decoder.embed, ids, features, every, self.device)
        return (features, self.decoder.prefix(rows, self.span)), {"vision": pooled}

    def rows(self, encoded, row_image, prompts):
        features, prefix = encoded
        n_shared = 0 if prefix is None else prefix.mask.shape[1]
        ids = [prompt.ids[n_shared:] for prompt in prompts]
        image_tokens = features[row_image] if prefix is None else None
        rows = embed_rows(self.decoder.embed, ids, image_tokens, row_image, self.device)
        rows.prefix = prefix and prefix.of_rows(row_image)
        return rows, {}

    def _language_component(self):
        config = self.model.config.text_config
        self.max_tokens = config.max_position_embeddings
        return Component(self.decoder.n_layers + 1, config.hidden_size, True)


class MplugOwlAdapter(PrefixedAdapter):
    def _load_image_processor(self):
        self.processor = MplugOwlProcessor.from_pretrained(self.folder, local_files_only=True)
        return self.processor.image_processor

    def _setup(self):
        model, config = self.model, self.model.config
        self.tower = Tower(model.vision_model.encoder.layers, config.vision_config.hidden_size)
        self.tokenizer = self.processor.tokenizer
        self.decoder = causal_decoder(model.language_model)
        self.eos_ids = ending_ids(self.tokenizer, config.text_config)
        self.components = {"vision": self.tower.component, "language": self._language_component()}

    def _tokenize(self, text: str) -> Prompt:
        return Prompt(tuple(self.processor.tokenize(text)))

    def _image_tokens(self, pixels):
        return self.model.get_image_features(pixels).pooler_output


class LlavaAdapter(PrefixedAdapter):
    def _setup(self):
        model, config = self.model, self.model.config
        tower = model.model.vision_tower
        self.tower = Tower(tower.encoder.layers, config.vision_config.hidden_size)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        vision = config.vision_config
        n_patches = (vision.image_size // vision.patch_size) ** 2
        self.n_image_tokens = n_patches + (config.vision_feature_select_strategy != "default")
        self.decoder = causal_decoder(None, model.model.language_model, model.lm_head)
        self.eos_ids = ending_ids(self.tokenizer, model.generation_config)
        self.components = {"vision": self.tower.component, "language": self._language_component()}

    def _tokenize(self, text: str) -> Prompt:
        image_id = self.model.config.image_token_id
        ids = self.tokenizer(text)["input_ids"]
        repeated = [[IMAGE] * self.n_image_tokens if token == image_id else [token] for token in ids]
        return Prompt(tuple(token for tokens in repeated for token in tokens))

    def _image_tokens(self, pixels):
        return torch.stack(list(self.model.model.get_image_features(pixels).pooler_output))
