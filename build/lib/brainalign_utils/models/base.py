"""What every adapter has in common.  A family states only what differs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText

from ..model_table import Model
from .checkpoints import load_model, weights_revision
from .decoder import PromptRows
from .taps import LayerTap, token_mean

BLANK_GREY = 128
ALTERNATIVE_SIZE = 227
"""Side in pixels to which the paper's authors shrank images before every model."""


@dataclass(frozen=True)
class Component:
    """States of one part: their number (embeddings included), width, and whether instructions change them."""

    n_states: int
    width: int
    per_instruction: bool


@dataclass(frozen=True)
class Prompt:
    """Token ids of one prompt; image positions hold :data:`IMAGE`.  ``qformer_ids`` is InstructBLIP's."""

    ids: tuple[int, ...]
    qformer_ids: tuple[int, ...] = ()


IMAGE = -1
"""Marks image positions among token ids."""


class Adapter:
    """A loaded model and its preprocessing.

    Parameters
    ----------
    row : Model
    folder : Path
        Checkpoint on disk.
    device : torch.device
    dtype : torch.dtype
    image_size : "native" or int
        Side to which images are shrunk (bilinear) before the model's own preprocessing.
    span : {"prompt", "image", "all"} or None
        Positions of the prompt to pool over; None when generated tokens are pooled.

    Attributes
    ----------
    components : dict of str to Component
    decoder : CausalDecoder, Seq2SeqDecoder or None
        None for models without language output.
    eos_ids, banned_ids : tuple of int
        Tokens that end an answer, and tokens that may not be generated.
    """

    auto_class = AutoModelForImageTextToText
    takes_image = True
    takes_caption = False
    decoder = None
    tokenizer = None
    eos_ids: tuple[int, ...] = ()
    banned_ids: tuple[int, ...] = ()

    def __init__(self, row: Model, folder: Path, device, dtype, image_size="native", span=None):
        self.row, self.folder, self.device, self.dtype = row, folder, device, dtype
        self.image_size, self.span = image_size, span
        self.model = load_model(self.auto_class, folder, dtype, row.init).to(device)
        self.model.requires_grad_(False)
        if self.takes_image:
            self.image_processor = self._load_image_processor()
        self.components: dict[str, Component] = {}
        self._setup()

    def _setup(self):
        """Find the parts of the model: components, taps, decoder, tokenizer."""
        raise NotImplementedError

    def _load_image_processor(self):
        # the PIL backend, so that features do not depend on whether torchvision is installed
        return AutoImageProcessor.from_pretrained(self.folder, backend="pil", local_files_only=True)

    def fingerprint(self) -> dict:
        """What the states depend on, on the model's side."""
        facts = {
            "checkpoint": self.row.checkpoint,
            "weights": weights_revision(self.folder, self.row),
            "init": self.row.init,
            "image": self.row.image,
            "prompt": self.row.prompt,
            "image_size": self.image_size,
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        if self.takes_image:
            settings = self.image_processor.to_dict()
            kept = ("size", "crop_size", "resample", "do_center_crop", "image_mean", "image_std")
            facts["processor"] = str({key: settings.get(key) for key in kept})
        return facts

    def preprocess(self, images: list[np.ndarray]) -> torch.Tensor:
        """Pixels for the model.

        Parameters
        ----------
        images : list of (height, width, 3) uint8 arrays

        Returns
        -------
        (n_images, 3, size, size) float32 tensor on the CPU
        """
        pictures = [Image.fromarray(image) for image in images]
        if self.image_size != "native":
            side = (int(self.image_size),) * 2
            pictures = [picture.resize(side, Image.Resampling.BILINEAR) for picture in pictures]
        if _only_resizes(self.image_processor):
            return _resized(pictures, self.image_processor)
        pixels = self.image_processor(images=pictures, return_tensors="pt")
        return pixels if isinstance(pixels, torch.Tensor) else pixels["pixel_values"]

    def prompt(self, instruction: str, caption: str = "") -> Prompt:
        """Tokenise one instruction in the model's template."""
        text = self.row.prompt.replace("{caption}", caption).replace("{instruction}", instruction)
        return self._tokenize(text.strip() if not instruction else text)

    def _tokenize(self, text: str) -> Prompt:
        raise NotImplementedError

    def encode(self, pixels: torch.Tensor, captions: list[str] | None):
        """Run what instructions do not change.

        Parameters
        ----------
        pixels : (n_images, 3, size, size) tensor on the model's device
        captions : list of str or None

        Returns
        -------
        encoded
            Whatever :meth:`rows` needs.
        pooled : dict of str to (n_states, n_images, width) float32 tensor
        """
        raise NotImplementedError

    def rows(self, encoded, row_image: torch.Tensor, prompts: list[Prompt]):
        """Embedded prompts for the decoder.

        Parameters
        ----------
        encoded
            From :meth:`encode`.
        row_image : (n_rows,) int tensor
        prompts : list of Prompt, one a row

        Returns
        -------
        rows : PromptRows
        pooled : dict of str to (n_states, n_rows, width) float32 tensor
        """
        raise NotImplementedError

    def decode(self, ids: list[int]) -> str:
        """Answer text of generated ids."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()


def _only_resizes(processor) -> bool:
    """Whether an image processor resizes to a fixed size, rescales by 1/255 and normalises, nothing else."""
    size = processor.size
    fixed = getattr(size, "height", None) and getattr(size, "width", None)
    steps = [getattr(processor, f"do_{step}", False) for step in ("resize", "rescale", "normalize")]
    more = [getattr(processor, f"do_{step}", False) for step in ("center_crop", "pad")]
    return bool(fixed and all(steps) and not any(more)) and np.isclose(processor.rescale_factor, 1 / 255)


def _resized(pictures, processor) -> torch.Tensor:
    """What such a processor computes, for all pictures at once and without its detours."""
    side = processor.size.width, processor.size.height
    resized = np.stack([np.asarray(picture.resize(side, processor.resample)) for picture in pictures])
    mean, std = (np.asarray(v, np.float32) for v in (processor.image_mean, processor.image_std))
    pixels = (resized.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


class Tower:
    """A vision tower whose layer states are averaged over its tokens while it runs."""

    def __init__(self, layers, width: int):
        self.tap = LayerTap(layers)
        self.component = Component(self.tap.n_states, width, per_instruction=False)

    def __call__(self, run, pixels):
        with self.tap.reducing(token_mean) as stacked:
            output = run(pixels)
            return output, stacked()


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
