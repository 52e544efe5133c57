"""How the states of many positions become one vector per layer."""

from dataclasses import dataclass

import numpy as np
import torch


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
