"""What every adapter has in common.  A family states only what differs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModelForImageTextToText

from ...models import Model
from .checkpoints import load_model, weights_revision
from .pixels import Preprocessing
from .rows import Prompt, PromptRows
from .taps import LayerTap, token_mean


@dataclass(frozen=True)
class Component:
    """States of one part: their number (embeddings included), width, and whether instructions change them."""

    n_states: int
    width: int
    per_instruction: bool


class Adapter(ABC):
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
    max_tokens, max_qformer_tokens : int or None
        Longest prompt and answer of the language model, longest instruction of a Q-Former; None when
        there is no limit.
    """

    auto_class = AutoModelForImageTextToText
    takes_image = True
    takes_caption = False
    decoder = None
    max_tokens: int | None = None
    max_qformer_tokens: int | None = None

    def __init__(self, row: Model, folder: Path, device, dtype, image_size="native", span=None):
        self.row, self.folder, self.device, self.dtype, self.span = row, folder, device, dtype, span
        self.model = load_model(self.auto_class, folder, dtype, row.init).to(device)
        self.model.requires_grad_(False)
        if self.takes_image:
            self.preprocess = Preprocessing(self._load_image_processor(), image_size)
        self.components: dict[str, Component] = {}
        self._setup()

    @abstractmethod
    def _setup(self):
        """Find the parts of the model: components, taps, decoder, tokenizer."""

    def _load_image_processor(self):
        # the PIL backend, so that features do not depend on whether torchvision is installed
        return AutoImageProcessor.from_pretrained(self.folder, backend="pil", local_files_only=True)

    def fingerprint(self) -> dict:
        """What the states depend on, on the model's side."""
        return {
            "checkpoint": self.row.checkpoint,
            "weights": weights_revision(self.folder, self.row),
            "init": self.row.init,
            "image": self.row.image,
            "prompt": self.row.prompt,
            "dtype": str(self.dtype).removeprefix("torch."),
            **(self.preprocess.facts() if self.takes_image else {}),
        }

    @abstractmethod
    def encode(self, pixels: torch.Tensor | None, captions: list[str] | None):
        """Run what instructions do not change.

        Parameters
        ----------
        pixels : (n_images, 3, size, size) tensor on the model's device, or None
        captions : list of str or None

        Returns
        -------
        encoded
            Whatever :meth:`LanguageAdapter.rows` needs.
        pooled : dict of str to (n_states, n_images, width) float32 tensor
        """


class LanguageAdapter(Adapter):
    """A model that takes instructions and answers.

    Attributes
    ----------
    eos_ids, banned_ids : tuple of int
        Tokens that end an answer, and tokens that may not be generated.
    """

    tokenizer = None
    eos_ids: tuple[int, ...] = ()
    banned_ids: tuple[int, ...] = ()

    def prompt(self, instruction: str, caption: str = "") -> Prompt:
        """Tokenise one instruction in the model's template."""
        text = self.row.prompt.replace("{caption}", caption).replace("{instruction}", instruction)
        return self._tokenize(text.strip() if not instruction else text)

    @abstractmethod
    def _tokenize(self, text: str) -> Prompt:
        """Ids of a filled template."""

    @abstractmethod
    def rows(self, encoded, row_image: torch.Tensor, prompts: list[Prompt]) -> tuple[PromptRows, dict]:
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

    def decode(self, ids: list[int]) -> str:
        """Answer text of generated ids."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()


class Tower:
    """A vision tower whose layer states are averaged over its tokens while it runs."""

    def __init__(self, layers, width: int):
        self.tap = LayerTap(layers)
        self.component = Component(self.tap.n_states, width, per_instruction=False)

    def __call__(self, run, pixels):
        with self.tap.reducing(token_mean) as stacked:
            output = run(pixels)
            return output, stacked()
