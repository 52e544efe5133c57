"""Images and prompts of mPLUG-Owl: what the model takes, from pictures and text."""

from pathlib import Path

import torch
from transformers import AutoTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from .configuration import IMAGE_TOKEN_INDEX, MplugOwlConfig

IMAGE_TOKEN = "<image>"


class MplugOwlProcessor:
    """Image processor and tokenizer of one checkpoint.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        LLaMA's as published; any tokenizer with a BOS token will do.
    image_size : int
        Side in pixels; images are resized to a square (bicubic, no crop) and normalised as CLIP's.
    n_image_tokens : int
        Positions that ``<image>`` takes in the prompt.
    """

    def __init__(self, tokenizer, image_size: int, n_image_tokens: int):
        if tokenizer.bos_token_id is None:
            raise ValueError("tokenizer has no BOS token, with which every mPLUG-Owl prompt starts")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        self.tokenizer = tokenizer
        self.n_image_tokens = n_image_tokens
        size = {"height": image_size, "width": image_size}
        self.image_processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)

    @classmethod
    def from_pretrained(cls, folder, **kwargs):
        """Processor of a checkpoint folder (or hub name): sizes from its config, its own tokenizer."""
        config = MplugOwlConfig.from_pretrained(folder, **kwargs)
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config.text_config, **kwargs)
        return cls(tokenizer, config.vision_config.image_size, config.n_image_tokens)

    def save_pretrained(self, folder):
        """Write tokenizer and image settings beside the model's config, from which sizes are read back."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)

    def tokenize(self, prompt: str) -> list[int]:
        """Token ids of one prompt: BOS, then text pieces and :data:`IMAGE_TOKEN_INDEX` for ``<image>``."""
        ids = [self.tokenizer.bos_token_id]
        for i, piece in enumerate(prompt.split(IMAGE_TOKEN)):
            ids += [IMAGE_TOKEN_INDEX] * (self.n_image_tokens if i else 0)
            if piece:
                ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        return ids

    def __call__(self, images=None, text=None) -> dict:
        """Tensors for the model, padded on the left.

        Parameters
        ----------
        images : list of images or None
            PIL images or (height, width, 3) uint8 arrays, one for each ``<image>`` of the prompts.
        text : str or list of str

        Returns
        -------
        dict
            ``input_ids`` and ``attention_mask`` (n_prompts, n_tokens), ``pixel_values``
            (n_images, 3, image_size, image_size).
        """
        batch = {}
        if text is not None:
            rows = [self.tokenize(prompt) for prompt in ([text] if isinstance(text, str) else text)]
            n_tokens = max(map(len, rows))
            pad = self.tokenizer.pad_token_id
            batch["input_ids"] = torch.tensor([[pad] * (n_tokens - len(row)) + row for row in rows])
            batch["attention_mask"] = torch.tensor([[0] * (n_tokens - len(r)) + [1] * len(r) for r in rows])
        if images is not None:
            batch["pixel_values"] = self.image_processor(images, return_tensors="pt")["pixel_values"]
        return batch
