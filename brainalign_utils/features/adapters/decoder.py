"""One decoding interface for causal and encoder-decoder language models.

A row is one image with one instruction.  ``start`` runs the prompts, ``step`` one token per row,
``keep`` drops finished rows.  States leave as reduced vectors, one per layer.
"""

import torch
from transformers import DynamicCache, EncoderDecoderCache

from .inputs import Prefix, PromptRows, parts, span_weights
from .layers import LayerTap, growing_cache, last_token, select_rows, weighted_sum


class CausalDecoder:
    """Decoder-only language model.

    Parameters
    ----------
    base : callable
        Model without head; takes inputs_embeds, attention_mask, position_ids, past_key_values.
    head, embed : callable
        Logits from states, embeddings from token ids.
    layers, final_norm
        Modules whose states are pooled.
    """

    def __init__(self, base, head, embed, layers, final_norm):
        self.base, self.head, self.embed = base, head, embed
        if base.device.type == "cpu":
            # attention of single tokens is many small products, slow in the fused attention of CPUs
            base.set_attn_implementation({"": "eager"})
        self.tap = LayerTap(layers, final_norm)
        self.n_layers = len(layers)
        self._cache = self._mask = self._row_image = None

    def prefix(self, rows: PromptRows, span: str | None) -> Prefix:
        """Run the beginnings of prompts, one a row, that several rows of :meth:`start` share.

        Parameters
        ----------
        rows : PromptRows
        span : {"prompt", "image", "all"} or None
            States to add up for pooling.
        """
        n_rows, n_tokens, _ = rows.embeds.shape
        cache = growing_cache(self.n_layers, n_rows, n_tokens)
        every = torch.arange(n_rows, device=rows.embeds.device)
        weights = None if span is None else span_weights(span, rows.is_image, rows.mask)
        _, sums = self._read(rows, rows.mask, cache, weights)
        return Prefix(cache, rows.mask, rows.is_image, every, None if span is None else sums)

    def start(self, rows: PromptRows, n_new: int, span: str | None = None):
        """Run the prompts.

        Returns
        -------
        logits : (n_rows, vocab) tensor
        states : (n_states, n_rows, width) float32 tensor
            Of the last prompt position, or the mean over ``span``.
        """
        prefix, (n_rows, n_tokens, _) = rows.prefix, rows.embeds.shape
        if prefix is None:
            self._mask = rows.mask
            self._cache = growing_cache(self.n_layers, n_rows, n_tokens + n_new)
        else:
            self._mask = torch.cat([prefix.mask[prefix.row], rows.mask], dim=1)
            self._cache = select_rows(prefix.cache, prefix.row, self._mask.shape[1] + n_new)
        weights = None if span is None else span_weights(span, rows.is_image, rows.mask)
        hidden, states = self._read(rows, self._mask, self._cache, weights)
        self._take(rows)
        if span is not None:
            states = self._span_mean(states, weights, prefix, span)
        return self.head(hidden), states

    def _read(self, rows, mask, cache, weights):
        """Run prompts, some rows at a time, into their places in a cache.

        Returns the last position's output (n_rows, width), and of each layer that position's state or,
        with (n_rows, n_tokens) weights, a weighted sum.
        """
        length, outputs = cache.get_seq_length(), []
        for part in parts(*rows.mask.shape):
            for layer in cache.layers:
                layer.narrow(part, length)
            some = rows.part(part)
            self._take(some)
            with self.tap.reducing(_reduction(weights, part)) as stacked:
                hidden = self._forward(some.embeds, mask[part], cache)
                outputs.append((hidden[:, -1].clone(), stacked()))
        for layer in cache.layers:
            layer.narrow(slice(None), layer.length)
        hidden, states = zip(*outputs, strict=True)
        return torch.cat(hidden), torch.cat(states, dim=1)

    def _span_mean(self, sums, weights, prefix, span):
        counts = weights.sum(1)
        if prefix is not None:
            sums = sums + prefix.sums[:, prefix.row]
            counts = counts + span_weights(span, prefix.is_image, prefix.mask).sum(1)[prefix.row]
        if (counts == 0).any():
            raise ValueError(f"pooling {span!r} finds no such position in the prompt; choose another pooling")
        return sums / counts[:, None]

    def _forward(self, embeds, mask, cache):
        n_tokens = embeds.shape[1]
        positions = (mask.long().cumsum(1) - 1).clamp_(min=0)[:, -n_tokens:]
        out = self.base(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, past_key_values=cache,
            use_cache=True, **self._extra_inputs(n_tokens),
        )  # fmt: skip
        return out.last_hidden_state

    def _extra_inputs(self, n_tokens: int) -> dict:
        """Further arguments of ``base``; models that look at images through cross-attention have some."""
        return {}

    def _take(self, rows: PromptRows):
        """Called before other rows run."""
        self._row_image = rows.row_image

    def step(self, tokens):
        """Feed one token per row.

        Parameters
        ----------
        tokens : (n_rows,) int tensor

        Returns
        -------
        logits : (n_rows, vocab) tensor
        states : (n_states, n_rows, width) float32 tensor
            Of the token just fed.
        """
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=True)
        with self.tap.reducing(last_token) as stacked:
            hidden = self._forward(self.embed(tokens[:, None]), self._mask, self._cache)
            return self.head(hidden[:, -1]), stacked()

    def keep(self, index):
        """Go on with the rows ``index`` only."""
        for layer in self._cache.layers:
            layer.keep(index)
        self._mask, self._row_image = self._mask[index], self._row_image[index]


class Seq2SeqDecoder:
    """Encoder-decoder language model (T5): the prompt is read by the encoder.

    Prompt spans are pooled over encoder states, generated tokens over decoder states.
    """

    def __init__(self, model):
        self.model = model
        self.embed = model.get_input_embeddings()
        self.n_layers = len(model.decoder.block)
        self.encoder_tap = LayerTap(model.encoder.block, model.encoder.final_layer_norm)
        self.tap = LayerTap(model.decoder.block, model.decoder.final_layer_norm)
        self._cache = self._encoded = self._mask = None

    def start(self, rows: PromptRows, n_new: int, span: str | None = None):
        """As :meth:`CausalDecoder.start`; without a span the state is that of the start token."""
        weights = None if span is None else span_weights(span, rows.is_image, rows.mask)
        outputs = []
        for part in parts(*rows.mask.shape):
            with self.encoder_tap.reducing(_reduction(weights, part)) as stacked:
                out = self.model.encoder(inputs_embeds=rows.embeds[part], attention_mask=rows.mask[part])
                outputs.append((out.last_hidden_state, stacked()))
        encoded, prompt_states = zip(*outputs, strict=True)
        self._encoded, prompt_states = torch.cat(encoded), torch.cat(prompt_states, dim=1)
        self._mask = rows.mask
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        start = torch.full((len(rows.mask),), self.model.config.decoder_start_token_id)
        logits, states = self.step(start.to(rows.mask.device))
        return logits, states if span is None else prompt_states / weights.sum(1)[:, None]

    def step(self, tokens):
        """As :meth:`CausalDecoder.step`."""
        with self.tap.reducing(last_token) as stacked:
            out = self.model(
                encoder_outputs=(self._encoded,), attention_mask=self._mask,
                decoder_input_ids=tokens[:, None], past_key_values=self._cache, use_cache=True,
            )  # fmt: skip
            return out.logits[:, -1], stacked()

    def keep(self, index):
        """Go on with the rows ``index`` only."""
        self._encoded, self._mask = self._encoded[index], self._mask[index]
        self._cache.batch_select_indices(index)


def _reduction(weights, part: slice):
    """The last position's state, or a weighted sum over positions, of a part of the rows."""
    return last_token if weights is None else weighted_sum(weights[part])


def causal_decoder(language_model, base=None, head=None) -> CausalDecoder:
    """Decoder of a transformers causal language model (LLaMA or OPT)."""
    base = base or language_model.model
    head = head or language_model.lm_head
    stack = getattr(base, "decoder", base)
    norm = stack.norm if hasattr(stack, "norm") else stack.final_layer_norm
    return CausalDecoder(base, head, stack.embed_tokens, stack.layers, norm)
