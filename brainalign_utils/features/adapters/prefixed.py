"""mPLUG-Owl and LLaVA: image tokens stand in the prompt before the instruction."""

from abc import abstractmethod

import torch

from ..checkpoints import ModelError
from ..mplug_owl import MplugOwlProcessor
from .base import Component, LanguageAdapter, Tower
from .decoder import causal_decoder
from .inputs import IMAGE, Prompt, embed_rows, ending_ids
from .loading import loaded


class PrefixedAdapter(LanguageAdapter):
    """The prompt up to the image's end is run once per image; instructions go on from its keys and values."""

    template = ("<image>", "{instruction}")

    def _check_row(self):
        super()._check_row()
        prompt = self.row.prompt
        if prompt.index("<image>") > prompt.index("{instruction}"):
            raise ModelError(
                f"prompt {prompt!r} of model {self.row.id!r} has the instruction before the image; family "
                f"{self.row.family!r} needs the image first, because it runs it once for all instructions"
            )

    def _prefix_ids(self) -> tuple[int, ...]:
        """Everything up to the last image position: all instructions begin alike."""
        ids = self.prompt("x").ids
        return ids[: len(ids) - ids[::-1].index(IMAGE)]

    @abstractmethod
    def _image_tokens(self, pixels) -> torch.Tensor:
        """Image tokens (n_images, n_tokens, width) of the language model."""

    def encode(self, pixels, captions=None):
        features, pooled = self.tower(self._image_tokens, pixels)
        every = torch.arange(len(pixels), device=self.device)
        ids = [self._prefix_ids()] * len(pixels)
        rows = embed_rows(self.decoder.embed, ids, features, every, self.device)
        return self.decoder.prefix(rows, self.span), {"vision": pooled}

    def rows(self, encoded, row_image, prompts):
        ids = [prompt.ids[encoded.mask.shape[1] :] for prompt in prompts]
        rows = embed_rows(self.decoder.embed, ids, None, row_image, self.device)
        rows.prefix = encoded.of_rows(row_image)
        return rows, {}

    def _language_component(self):
        config = self.model.config.text_config
        self.max_tokens = config.max_position_embeddings
        return Component(self.decoder.n_layers + 1, config.hidden_size, True)


class MplugOwlAdapter(PrefixedAdapter):
    model_types = ("mplug-owl",)

    def _load_image_processor(self):
        self.processor = loaded(MplugOwlProcessor, "tokenizer", self.folder)
        return self.processor.image_processor

    def _setup(self):
        model, config = self.model, self.model.config
        self.tower = Tower(model.vision_model.encoder.layers, config.vision_config.hidden_size)
        self.tokenizer = self._adopt(self.processor.tokenizer, model.get_input_embeddings())
        self.decoder = causal_decoder(model.language_model)
        self.eos_ids = ending_ids(self.tokenizer, config.text_config)
        self.components = {"vision": self.tower.component, "language": self._language_component()}

    def _tokenize(self, text: str) -> Prompt:
        return Prompt(tuple(self.processor.tokenize(text)))

    def _image_tokens(self, pixels):
        return self.model.get_image_features(pixels).pooler_output


class LlavaAdapter(PrefixedAdapter):
    model_types = ("llava",)

    def _setup(self):
        model, config = self.model, self.model.config
        tower = model.model.vision_tower
        self.tower = Tower(tower.encoder.layers, config.vision_config.hidden_size)
        self.tokenizer = self._load_tokenizer(model.get_input_embeddings())
        self._check_marks(self.row.prompt)
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
