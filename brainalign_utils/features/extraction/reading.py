"""Pictures and captions on their way to a model."""

from dataclasses import dataclass

import numpy as np
import torch

from ... import BrainalignError
from ...nsd import NsdError
from ..adapters import BLANK_GREY, Adapter

BLANK_SIDE = 425


class ExtractionError(BrainalignError):
    """An image, an instruction or a state that cannot be used; names which."""


@dataclass
class Batch:
    """Images of one encoding batch: positions in their block, ids, pixels and captions."""

    positions: np.ndarray
    nsd_ids: np.ndarray
    pixels: torch.Tensor | None
    captions: list[str] | None

    def parts(self, n_images: int) -> list["Batch"]:
        """The same images in batches of at most ``n_images``."""
        cuts = [slice(i, i + n_images) for i in range(0, len(self.positions), n_images)]
        pixels, captions = self.pixels, self.captions
        return [
            Batch(
                self.positions[cut],
                self.nsd_ids[cut],
                None if pixels is None else pixels[cut],
                None if captions is None else captions[cut],
            )
            for cut in cuts
        ]


@dataclass(frozen=True)
class Reader:
    """Reads what a model takes.

    Parameters
    ----------
    adapter : Adapter
    images : mapping of nsd_id to (height, width, 3) uint8 array
        None for models that see no image.
    captions : mapping of nsd_id to str
        None for models that read none.

    Raises
    ------
    ExtractionError
        From :meth:`batch`, for an image that cannot be read or is not RGB.
    """

    adapter: Adapter
    images: object
    captions: object

    def batch(self, positions: np.ndarray, nsd_ids: np.ndarray) -> Batch:
        """Pixels and captions; pixels in pinned memory when they go to a GPU."""
        adapter = self.adapter
        captions = [self.captions[int(i)] for i in nsd_ids] if adapter.takes_caption else None
        if not adapter.takes_image:
            return Batch(positions, nsd_ids, None, captions)
        pixels = adapter.preprocess([self.image(int(nsd_id)) for nsd_id in nsd_ids])
        if adapter.device.type == "cuda":
            pixels = pixels.pin_memory()
        return Batch(positions, nsd_ids, pixels, captions)

    def image(self, nsd_id: int) -> np.ndarray:
        """One picture, (height, width, 3) uint8."""
        if self.adapter.row.image == "blank":
            return np.full((BLANK_SIDE, BLANK_SIDE, 3), BLANK_GREY, np.uint8)
        try:
            image = np.asarray(self.images[nsd_id])
        except (OSError, KeyError, IndexError, ValueError, NsdError) as error:
            raise ExtractionError(f"image of nsd_id {nsd_id} cannot be read: {error}") from error
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ExtractionError(
                f"image of nsd_id {nsd_id} has shape {image.shape} and type {image.dtype}; "
                "expected (height, width, 3) uint8, red green blue"
            )
        return image
