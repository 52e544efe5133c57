"""IDEFICS: the language model looks at the image through gated cross-attention."""

import torch

from ..checkpoints import ModelError
from .base import Component, LanguageAdapter, Tower
from .decoder import CausalDecoder
from .inputs import Prompt, embed_rows, ending_ids
from .layers import placeholder, share_projections

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

    def step(self, tokens):
        self.sees_image = None  # all that is generated looks at the image
        return super().step(tokens)

    def keep(self, index):
        super().keep(index)
        for shared in self.shared:
            shared.keep(index)

    def _take(self, rows):
        super()._take(rows)
        # from the image's position on, tokens look at the image
        self.sees_image = rows.is_image.long().cumsum(1) > 0
        for shared, projection in zip(self.shared, self.projections, strict=True):
            shared.assign(projection, self._row_image)

    def _extra_inputs(self, n_tokens):
        n_rows, sees = len(self._row_image), self.sees_image
        if sees is None:
            sees = torch.ones(n_rows, n_tokens, dtype=torch.bool, device=self._row_image.device)
        states = placeholder(self.image_states, n_rows).unsqueeze(1)
        return {self.states_name: states, "image_attention_mask": sees.long().unsqueeze(-1)}


class IdeficsAdapter(LanguageAdapter):
    """Vision tower, resampler and cross-attention keys once per image.

    The instruction precedes the image, and tokens before the image do not see it, so that part of the
    prompt is run once per instruction.
    """

    model_types = ("idefics",)
    template = ("<image>", "{instruction}")

    def _setup(self):
        base, config = self.model.model, self.model.config
        self.tower = Tower(base.vision_model.encoder.layers, config.vision_config.embed_dim)
        self.tokenizer = self._load_tokenizer(base.embed_tokens)
        self._check_marks(self.row.prompt + IMAGE_MARKUP)
        if self.tokenizer.bos_token_id is None:
            raise ModelError(f"tokenizer of {self.folder} has no BOS token, with which every prompt starts")
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
        ids = [prompt.ids for prompt in prompts]
        n_before = [row.index(self.image_id) for row in ids]
        before = [row[:n] for row, n in zip(ids, n_before, strict=True)]
        number = {beginning: i for i, beginning in enumerate(dict.fromkeys(before))}
        # any image will do: nothing looks at it here
        first = self._embedded(list(number), torch.zeros(len(number), dtype=torch.long))
        prefix = self.decoder.prefix(first, self.span)
        rows = self._embedded([row[n:] for row, n in zip(ids, n_before, strict=True)], row_image)
        rows.prefix = prefix.of_rows(torch.tensor([number[b] for b in before], device=self.device))
        return rows, {}

    def _embedded(self, ids, row_image):
        rows = embed_rows(self.decoder.embed, ids, None, row_image.to(self.device), self.device)
        n_tokens = rows.mask.shape[1]
        marks = [[False] * (n_tokens - len(row)) + [token == self.image_id for token in row] for row in ids]
        rows.is_image = torch.tensor(marks, device=self.device)
        return rows
