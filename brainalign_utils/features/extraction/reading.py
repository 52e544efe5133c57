"""Images and captions on their way to a model, and what identifies them."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ... import BrainalignError
from ...nsd import NsdError
from ..adapters import BLANK_GREY, Adapter

BLANK_SIDE = 425
KEPT_BYTES = 512 * 2**20
"""Pictures are kept only when those of a whole study take less."""
N_IDENTIFYING = 16


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


class SeenPictures:
    """Stimuli, shrunk to what a model's image processor makes of them.

    The models of a miniature run one after the other in one process, and reading and shrinking a picture
    takes as long as running a tiny model on it, so shrunk pictures are kept.

    Parameters
    ----------
    brick : nsd.StimulusBrick
    preprocess : Preprocessing
    n_stimuli : int
        Of the study.
    """

    def __init__(self, brick, preprocess, n_stimuli: int):
        self.brick, self.preprocess, self.kept = brick, preprocess, None
        size = preprocess.seen_size
        if size and 3 * size[0] * size[1] * n_stimuli <= KEPT_BYTES:
            status = brick.path.stat()
            self.kept = _kept(brick.path, status.st_mtime_ns, status.st_size, size)

    def __getitem__(self, nsd_id: int) -> np.ndarray:
        if self.kept is None:
            return self.brick[nsd_id]
        if nsd_id not in self.kept:
            self.kept[nsd_id] = self.preprocess.shrink(self.brick[nsd_id])
        return self.kept[nsd_id]


@lru_cache(maxsize=1)
def _kept(path, modified, n_bytes, size) -> dict[int, np.ndarray]:
    """Shrunk pictures by nsd_id, of one file in one state."""
    return {}


def pictures_identity(brick, nsd_ids) -> str:
    """Hash of some of the pictures, evenly spaced among those of the study."""
    digest = hashlib.sha256()
    chosen = np.linspace(0, len(nsd_ids) - 1, min(N_IDENTIFYING, len(nsd_ids))).round().astype(int)
    for nsd_id in np.asarray(nsd_ids)[chosen]:
        digest.update(np.ascontiguousarray(brick[int(nsd_id)]))
    return digest.hexdigest()[:16]


def captions_identity(captions: dict[int, str]) -> str:
    """Hash of the captions that a model reads."""
    return hashlib.sha256(repr(sorted(captions.items())).encode()).hexdigest()[:16]
