"""Prompts as rows of a batch: token ids, embeddings, and the beginning that some rows share."""

from dataclasses import dataclass

import torch
from transformers import Cache

IMAGE = -1
"""Marks image positions among token ids."""

PART_TOKENS = 4096
"""Prompt tokens that run at once.  They fill a GPU, and their states stay in the caches of a CPU."""


@dataclass(frozen=True)
class Prompt:
    """Token ids of one prompt; image positions hold :data:`IMAGE`.  ``qformer_ids`` is InstructBLIP's."""

    ids: tuple[int, ...]
    qformer_ids: tuple[int, ...] = ()


@dataclass
class Prefix:
    """Beginnings of prompts, each shared by several rows and already run.

    Parameters
    ----------
    cache : Cache
        Keys and values of (n_prefixes, ...) beginnings.
    mask, is_image : (n_prefixes, n_tokens) bool tensors
    row : (n_rows,) int tensor
        Which beginning each row goes on from.
    sums : (n_states, n_prefixes, width) tensor or None
        States of the pooled span added up; None when no span is pooled.
    """

    cache: Cache
    mask: torch.Tensor
    is_image: torch.Tensor
    row: torch.Tensor
    sums: torch.Tensor | None

    def of_rows(self, row: torch.Tensor) -> "Prefix":
        """The same beginnings for other rows."""
        return Prefix(self.cache, self.mask, self.is_image, row, self.sums)


@dataclass
class PromptRows:
    """Embedded prompts, padded on the left.

    Parameters
    ----------
    embeds : (n_rows, n_tokens, width) tensor
        Without the shared prefix.
    mask, is_image : (n_rows, n_tokens) bool tensors
        Real positions, and those that hold image tokens.
    row_image : (n_rows,) int tensor
        Which image of the batch each row looks at.
    prefix : Prefix or None
    """

    embeds: torch.Tensor
    mask: torch.Tensor
    is_image: torch.Tensor
    row_image: torch.Tensor
    prefix: Prefix | None = None

    def part(self, rows: slice) -> "PromptRows":
        """Some of the rows; their prefix is left out."""
        return PromptRows(self.embeds[rows], self.mask[rows], self.is_image[rows], self.row_image[rows])


def parts(n_rows: int, n_tokens: int) -> list[slice]:
    """Slices of rows that have about :data:`PART_TOKENS` tokens each."""
    n = max(1, PART_TOKENS // max(n_tokens, 1))
    return [slice(i, min(i + n, n_rows)) for i in range(0, n_rows, n)]


def span_weights(span: str, is_image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Positions of the prompt that a pooling takes: its text, its image, or all; never padding."""
    return {"prompt": mask & ~is_image, "image": mask & is_image, "all": mask}[span]


def pad_left(sequences, pad: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (n_rows, n_tokens) padded on the left, and the bool mask of real positions."""
    n_tokens = max((len(ids) for ids in sequences), default=0)
    ids = torch.tensor([[pad] * (n_tokens - len(s)) + list(s) for s in sequences], dtype=torch.long)
    mask = torch.tensor([[False] * (n_tokens - len(s)) + [True] * len(s) for s in sequences])
    return ids.reshape(-1, n_tokens).to(device), mask.reshape(-1, n_tokens).to(device)


def embed_rows(embed, prompts_ids, image_tokens, row_image, device) -> PromptRows:
    """Embed prompts and put image tokens in their image positions.

    Parameters
    ----------
    embed : callable
        Ids to embeddings.
    prompts_ids : list of sequences of int
        With :data:`IMAGE` at image positions.
    image_tokens : (n_rows, n_image_tokens, width) tensor or None
    row_image : (n_rows,) int tensor
    """
    ids, mask = pad_left(prompts_ids, 0, device)
    is_image = ids == IMAGE
    embeds = embed(ids.masked_fill(is_image, 0))
    if image_tokens is not None:
        embeds = embeds.masked_scatter(is_image.unsqueeze(-1), image_tokens.to(embeds.dtype))
    return PromptRows(embeds, mask, is_image, row_image)


def ending_ids(tokenizer, *configs) -> tuple[int, ...]:
    """Tokens that end an answer, from a tokenizer and generation or model configs."""
    found = {tokenizer.eos_token_id}
    for config in configs:
        ids = getattr(config, "eos_token_id", None)
        found.update(ids if isinstance(ids, (list, tuple)) else [ids])
    return tuple(sorted(found - {None}))
