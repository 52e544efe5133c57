"""From pictures to the pixels a model takes."""

import numpy as np
import torch
from PIL import Image

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
        settings = self.processor.to_dict()
        kept = ("size", "crop_size", "resample", "do_center_crop", "image_mean", "image_std")
        return {
            "image_size": self.image_size,
            "processor": str({key: settings.get(key) for key in kept}),
        }

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
    steps = [getattr(processor, f"do_{step}", False) for step in ("resize", "rescale", "normalize")]
    more = [getattr(processor, f"do_{step}", False) for step in ("center_crop", "pad")]
    return bool(fixed and all(steps) and not any(more)) and np.isclose(processor.rescale_factor, 1 / 255)


def _normalised(pictures: np.ndarray, processor) -> torch.Tensor:
    """Rescale and normalise (n_images, height, width, 3) pictures, for all at once."""
    mean, std = (np.asarray(v, np.float32) for v in (processor.image_mean, processor.image_std))
    pixels = (pictures.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
