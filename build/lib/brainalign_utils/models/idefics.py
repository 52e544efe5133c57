"""IDEFICS: the language model looks at the image through gated cross-attention."""

import torch
from transformers import AutoTokenizer

from .base import Adapter, Component, Prompt, Tower, embed_rows, ending_ids
from .cache import placeholder, share_projections
from .decoder import CausalDecoder

IMAGE_MARKUP = "<fake_token_around_image><image><fake_token_around_image>"


class IdeficsDecoder(CausalDecoder):
    """LLaMA layers with cross-attention whose keys and values are computed once per image."""

    def __init__(self, model, shared):
        base = model.model
        super().__init__(base, model.lm_head, base.embed_tokens, base.layers, base.norm)
        self.shared = shared
        self.projections = self.image_states = self.sees_image = None
        resampled = model.config.use_resampler
        self.states_name = "perceiver_embeddings" if resampled else "image_encoder_embeddings"

    def start(self, rows, n_new, span=None):
        # from the image's position on, tokens look at the image
        self.sees_image = rows.is_image.long().cumsum(1) > 0
        return super().start(rows, n_new, span)

    def _rows_changed(self):
        for shared, projection in zip(self.shared, self.projections, strict=True):
            shared.assign(projection, self._row_image)

    def _extra_inputs(self, n_tokens):
        n_rows = len(self._row_image)
        sees = self.sees_image
        if n_tokens == 1:
            sees = torch.ones(n_rows, 1, dtype=torch.bool, device=self._row_image.device)
        states = placeholder(self.image_states, n_rows).unsqueeze(1)
        return {self.states_name: states, "image_attention_mask": sees.long().unsqueeze(-1)}


class IdeficsAdapter(Adapter):
    """Vision tower, resampler and cross-attention keys once per image; the instruction precedes the image."""

    def _setup(self):
        base, config = self.model.model, self.model.config
        self.tower = Tower(base.vision_model.encoder.layers, config.vision_config.embed_dim)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        self.shared = []
        for block in base.gated_cross_attn_layers:
            self.shared += share_projections(block.cross_attn, "k_proj", "v_proj")
        self.decoder = IdeficsDecoder(self.model, self.shared)
        ids = self.tokenizer.convert_tokens_to_ids
        self.image_id, fake_id = ids("<image>"), ids("<fake_token_around_image>")
        self.eos_ids = ending_ids(self.tokenizer, self.model.generation_config)
        if "<end_of_utterance>" in self.tokenizer.get_vocab():
            self.eos_ids = tuple(sorted({*self.eos_ids, ids("<end_of_utterance>")}))
        self.banned_ids = (self.image_id, fake_id)
        self.components = {
            "vision": self.tower.component,
            "language": Component(self.decoder.n_layers + 1, config.hidden_size, True),
        }
        self.max_tokens = config.max_position_embeddings

    def _tokenize(self, text: str) -> Prompt:
        text = text.replace("<image>", IMAGE_MARKUP)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return Prompt((self.tokenizer.bos_token_id, *ids))

    def encode(self, pixels, captions=None):
        base = self.model.model
        vision, pooled = self.tower(lambda x: base.vision_model(pixel_values=x), pixels)
        states = vision.last_hidden_state
        if self.model.config.use_resampler:
            states = base.perceiver_resampler(states)
        return (states, [shared.share(states) for shared in self.shared]), {"vision": pooled}

    def rows(self, encoded, row_image, prompts):
        self.decoder.image_states, self.decoder.projections = encoded
        embed = self.decoder.embed
        rows = embed_rows(embed, [prompt.ids for prompt in prompts], None, row_image, self.device)
        ids = [[token == self.image_id for token in prompt.ids] for prompt in prompts]
        n_tokens = rows.mask.shape[1]
        marks = torch.tensor([[False] * (n_tokens - len(row)) + row for row in ids], device=self.device)
        rows.is_image = marks
        return rows, {}
