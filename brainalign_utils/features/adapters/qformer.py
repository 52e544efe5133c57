"""InstructBLIP and BLIP-2: a Q-Former turns vision states into a few tokens of the language model."""

import torch

from .base import Component, LanguageAdapter, Tower
from .decoder import Seq2SeqDecoder, causal_decoder
from .inputs import IMAGE, Prompt, PromptRows, embed_rows, ending_ids, pad_left, parts
from .layers import LayerTap, placeholder, share_projections, token_mean


class InstructBlipAdapter(LanguageAdapter):
    """The Q-Former reads the instruction too, so it runs once per row, on vision states shared per image."""

    model_types = ("instructblip",)
    qformer_reads_instruction = True

    def _setup(self):
        model, config = self.model, self.model.config
        self.tower = Tower(model.vision_model.encoder.layers, config.vision_config.hidden_size)
        self.tokenizer = self._load_tokenizer(model.language_model.get_input_embeddings())
        if self.qformer_reads_instruction:
            words = model.qformer.embeddings.word_embeddings
            self.qformer_tokenizer = self._load_tokenizer(words, "qformer_tokenizer")
        self.n_queries = config.num_query_tokens
        self.query_tap = LayerTap(model.qformer.encoder.layer)
        self._share_cross_attention()
        language = model.language_model
        is_causal = config.use_decoder_only_language_model
        self.decoder = causal_decoder(language) if is_causal else Seq2SeqDecoder(language)
        self.eos_ids = ending_ids(self.tokenizer, language.generation_config, config.text_config)
        n_language = self.decoder.n_layers + 1
        width, reads = config.qformer_config.hidden_size, self.qformer_reads_instruction
        self.components = {
            "vision": self.tower.component,
            "qformer": Component(self.query_tap.n_states, width, reads),
            "language": Component(n_language, config.text_config.hidden_size, True),
        }
        self.max_tokens = getattr(config.text_config, "max_position_embeddings", None)
        self.max_qformer_tokens = config.qformer_config.max_position_embeddings

    def _share_cross_attention(self):
        self.shared = []
        for layer in self.model.qformer.encoder.layer:
            if layer.has_cross_attention:
                self.shared += share_projections(layer.crossattention.attention, "key", "value")

    def _tokenize(self, text: str) -> Prompt:
        ids = self.tokenizer(text)["input_ids"]
        queries = [IMAGE] * self.n_queries
        qformer_ids = self.qformer_tokenizer(text)["input_ids"] if self.qformer_reads_instruction else ()
        return Prompt(tuple([*queries, *ids]), tuple(qformer_ids))

    def encode(self, pixels, captions=None):
        vision, pooled = self.tower(self.model.vision_model, pixels)
        states = vision.last_hidden_state
        projections = [projection.share(states) for projection in self.shared]
        return (states, projections), {"vision": pooled}

    def rows(self, encoded, row_image, prompts):
        image_tokens, pooled = self._query(encoded, row_image, prompts)
        ids = [prompt.ids for prompt in prompts]
        rows = embed_rows(self.decoder.embed, ids, image_tokens, row_image, self.device)
        return rows, {"qformer": pooled}

    def _query(self, encoded, row_image, prompts=None):
        """Image tokens (n_rows, n_queries, width) of the language model and pooled query states."""
        longest = max((len(prompt.qformer_ids) for prompt in prompts or []), default=0)
        some = [
            self._query_part(encoded, row_image[part], prompts and prompts[part])
            for part in parts(len(row_image), self.n_queries + longest)
        ]
        tokens, pooled = zip(*some, strict=True)
        return torch.cat(tokens), torch.cat(pooled, dim=1)

    def _query_part(self, encoded, row_image, prompts):
        states, projections = encoded
        for shared, projection in zip(self.shared, projections, strict=True):
            shared.assign(projection, row_image)
        queries = self.model.query_tokens.expand(len(row_image), -1, -1)
        inputs = {"query_embeds": queries, "encoder_hidden_states": placeholder(states, len(row_image))}
        if prompts is not None:
            inputs |= self._instruction_inputs(prompts)
        n_queries = self.n_queries
        with self.query_tap.reducing(lambda state: token_mean(state[:, :n_queries])) as stacked:
            output = self.model.qformer(**inputs).last_hidden_state[:, :n_queries]
            pooled = stacked()
        for shared in self.shared:
            shared.assign(None)
        projection = self.model.language_projection
        return projection(output.to(projection.weight.dtype)), pooled

    def _instruction_inputs(self, prompts) -> dict:
        # instructions are padded on the right here: the Q-Former numbers positions from the left
        sequences = [prompt.qformer_ids for prompt in prompts]
        ids, mask = (t.flip(1) for t in pad_left([s[::-1] for s in sequences], 0, self.device))
        ones = torch.ones(len(prompts), self.n_queries, dtype=torch.bool, device=self.device)
        return {"input_ids": ids, "attention_mask": torch.cat([ones, mask], dim=1).long()}


class Blip2Adapter(InstructBlipAdapter):
    """BLIP-2: the Q-Former sees the image only, so its tokens are a prefix that all instructions share."""

    model_types = ("blip-2",)
    qformer_reads_instruction = False

    def encode(self, pixels, captions=None):
        encoded, pooled = super().encode(pixels)
        n_images = len(pixels)
        every = torch.arange(n_images, device=self.device)
        image_tokens, pooled["qformer"] = self._query(encoded, every)
        if isinstance(self.decoder, Seq2SeqDecoder):
            return (image_tokens, None), pooled
        is_image = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=self.device)
        rows = PromptRows(image_tokens.to(self.decoder.embed.weight.dtype), is_image, is_image, every)
        return (None, self.decoder.prefix(rows, self.span)), pooled

    def rows(self, encoded, row_image, prompts):
        image_tokens, prefix = encoded
        embed = self.decoder.embed
        if prefix is None:
            tokens = image_tokens[row_image]
            return embed_rows(embed, [p.ids for p in prompts], tokens, row_image, self.device), {}
        ids = [prompt.ids[self.n_queries :] for prompt in prompts]
        rows = embed_rows(embed, ids, None, row_image, self.device)
        rows.prefix = prefix.of_rows(row_image)
        return rows, {}
