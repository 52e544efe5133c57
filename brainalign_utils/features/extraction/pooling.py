"""How the states of many positions become one vector per layer, and generation that pools them."""

from dataclasses import dataclass

import numpy as np
import torch

from ..adapters.layers import staying_rows

COMPACT_BELOW = 0.95
"""Finished rows leave the batch when fewer than this share of it is still running."""


@dataclass(frozen=True)
class Pooling:
    """A rule.

    Parameters
    ----------
    span : {"prompt", "image", "all"} or None
        Positions of the prompt to average; None when the prompt is not averaged.
    generates : bool
        Whether answers are generated and their tokens averaged.  Without a span and without an answer,
        the state of the last prompt position is taken.
    top_k : int
        Sample from this many tokens; 0 is greedy.
    max_length : int
        Prompt and answer together; 0 takes ``max_new_tokens`` of the settings.
    """

    span: str | None = None
    generates: bool = False
    top_k: int = 0
    max_length: int = 0


POOLING_RULES = {
    "generated": Pooling(generates=True),
    "prompt": Pooling(span="prompt"),
    "last": Pooling(),
    "image": Pooling(span="image"),
    "authors-all-tokens": Pooling(span="all"),
    "authors-sampled": Pooling(generates=True, top_k=5, max_length=512),
}
"""``generated`` is the paper's "text output response embeddings".  The public scripts of its authors
differ: IDEFICS averages all tokens of prompt and image, mPLUG-Owl samples its answers."""


def pooling_rule(name: str) -> Pooling:
    """Rule by name.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in POOLING_RULES:
        raise ValueError(f"unknown pooling {name!r}; known: {', '.join(POOLING_RULES)}")
    return POOLING_RULES[name]


class Greedy:
    """The most likely token."""

    def __call__(self, logits, step, rows):
        return logits.argmax(dim=-1)


class TopK:
    """Sampling from the ``k`` most likely tokens with numbers drawn beforehand for each row and step.

    Batching, sharding and resuming therefore do not change the draws.

    Parameters
    ----------
    k : int
    uniforms : (n_rows, n_steps) tensor in [0, 1)
    """

    def __init__(self, k: int, uniforms: torch.Tensor):
        self.k, self.uniforms = k, uniforms

    def __call__(self, logits, step, rows):
        top = logits.float().topk(min(self.k, logits.shape[-1]), dim=-1)
        cumulative = top.values.softmax(dim=-1).cumsum(dim=-1)
        chosen = (
            (cumulative < self.uniforms[rows, step, None]).sum(dim=-1).clamp(max=top.indices.shape[-1] - 1)
        )
        return top.indices.gather(1, chosen[:, None]).squeeze(1)


def row_uniforms(seed: int, nsd_ids, instruction_numbers, n_steps: int) -> torch.Tensor:
    """Numbers in [0, 1) that depend on stimulus and instruction alone, (n_rows, n_steps)."""
    draws = [
        np.random.default_rng([seed, int(nsd_id), int(number)]).random(n_steps)
        for nsd_id, number in zip(nsd_ids, instruction_numbers, strict=True)
    ]
    return torch.tensor(np.array(draws), dtype=torch.float32)


@torch.inference_mode()
def generate_pooled(decoder, rows, n_new: int, eos_ids, banned_ids, choose):
    """Generate answers and average, per layer, the states of their tokens.

    The state of a token is that of the forward pass which reads it.  The pass over the prompt is left
    out, and so is the last token, which is never read: it ends the answer or meets ``n_new``.  This is
    what averaging ``hidden_states[1:]`` of ``generate`` gives.  An answer that ends at once has no token to
    average; it takes the state of the last prompt position, the one that decided to end.

    Parameters
    ----------
    decoder : CausalDecoder or Seq2SeqDecoder
    rows : PromptRows
    n_new : int
        Tokens to generate at most.
    eos_ids, banned_ids : sequences of int
    choose : callable
        (logits, step, row numbers) to tokens.

    Returns
    -------
    states : (n_states, n_rows, width) float32 tensor
    answers : list of lists of int
        Generated tokens without the one that ends the answer.
    """
    logits, first = decoder.start(rows, n_new)
    n_rows, device = first.shape[1], first.device
    ending = torch.tensor(eos_ids, device=device)
    sums, counts = torch.zeros_like(first), torch.zeros(n_rows, device=device)
    history = torch.full((n_rows, n_new), -1, dtype=torch.long, device=device)
    active = torch.arange(n_rows, device=device)
    alive = torch.ones(n_rows, dtype=torch.bool, device=device)
    for step in range(n_new):
        tokens = choose(_without(logits, banned_ids), step, active)
        alive &= ~torch.isin(tokens, ending)
        history[active, step] = torch.where(alive, tokens, -1)
        n_alive = int(alive.sum())
        if n_alive == 0 or step == n_new - 1:
            break
        if n_alive <= COMPACT_BELOW * len(active):
            index = staying_rows(alive)
            decoder.keep(index)
            active, tokens, alive = active[index], tokens[index], alive[index]
        logits, states = decoder.step(tokens)
        sums.index_add_(1, active, states * alive[:, None])
        counts.index_add_(0, active, alive.float())
    states = torch.where((counts == 0)[:, None], first, sums / counts.clamp(min=1)[:, None])
    return states, [[token for token in answer if token >= 0] for answer in history.tolist()]


def _without(logits, banned_ids):
    if banned_ids:
        logits[:, list(banned_ids)] = -torch.inf
    return logits
