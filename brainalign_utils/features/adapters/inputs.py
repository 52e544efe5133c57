"""What goes into a model: images as pixels, prompts as rows of a batch.

A row is one image with one instruction: token ids, their embeddings, and the beginning that it shares
with other rows.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers import Cache

from .loading import facts

BLANK_GREY = 128
"""Level of the picture that stands for none."""


class Preprocessing:
    """An image processor, after shrinking to another size where one is asked for.

    Parameters
    ----------
    processor : transformers image processor
    image_size : "native" or int
        Side to which images are shrunk (bilinear) before the model's own preprocessing; the paper's authors
        shrank them to 227.

    Attributes
    ----------
    seen_size : (width, height, resampling) or None
        What the processor resizes pictures to when it does nothing else but rescale and normalise, so
        that pictures shrunk by :meth:`shrink` give the same pixels; None otherwise.
    """

    def __init__(self, processor, image_size="native"):
        self.processor, self.image_size = processor, image_size
        self.seen_size = None
        if image_size == "native" and _only_resizes(processor):
            self.seen_size = processor.size.width, processor.size.height, int(processor.resample)

    def facts(self) -> dict:
        """What pixels depend on, for fingerprints."""
        return {"image_size": self.image_size, **facts("processor", self.processor.to_dict())}

    def shrink(self, image: np.ndarray) -> np.ndarray:
        """A (height, width, 3) uint8 picture at :attr:`seen_size`."""
        width, height, resampling = self.seen_size
        return np.asarray(Image.fromarray(image).resize((width, height), resampling))

    def __call__(self, images: list[np.ndarray]) -> torch.Tensor:
        """Pixels for the model.

        Parameters
        ----------
        images : list of (height, width, 3) uint8 arrays

        Returns
        -------
        (n_images, 3, size, size) float32 tensor on the CPU
        """
        if self.seen_size:
            return _normalised(np.stack([self._at_seen_size(image) for image in images]), self.processor)
        pictures = [Image.fromarray(image) for image in images]
        if self.image_size != "native":
            side = (int(self.image_size),) * 2
            pictures = [picture.resize(side, Image.Resampling.BILINEAR) for picture in pictures]
        pixels = self.processor(images=pictures, return_tensors="pt")
        return pixels if isinstance(pixels, torch.Tensor) else pixels["pixel_values"]

    def _at_seen_size(self, image):
        return image if image.shape[1::-1] == self.seen_size[:2] else self.shrink(image)


def _only_resizes(processor) -> bool:
    """Whether an image processor resizes to a fixed size, rescales by 1/255 and normalises, nothing else."""
    size = processor.size
    fixed = getattr(size, "height", None) and getattr(size, "width", None)
    steps = {name for name, value in processor.to_dict().items() if name.startswith("do_") and value}
    plain = steps - {"do_convert_rgb"} == {"do_resize", "do_rescale", "do_normalize"}
    return bool(fixed and plain) and np.isclose(processor.rescale_factor, 1 / 255)


def _normalised(pictures: np.ndarray, processor) -> torch.Tensor:
    """Rescale and normalise (n_images, height, width, 3) pictures, for all at once."""
    mean, std = (np.asarray(v, np.float32) for v in (processor.image_mean, processor.image_std))
    pixels = (pictures.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


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
