"""What every adapter has in common.  A family states only what differs."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from ...models import Model, template_markers
from ..checkpoints import ModelError, weights_identity
from .inputs import BLANK_GREY, Preprocessing, Prompt, PromptRows
from .layers import LayerTap, token_mean
from .loading import facts, load_image_processor, load_model, load_tokenizer, read_config, tokenizer_facts


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
    model_types : tuple of str
        Values of ``model_type`` in a config.json that the family runs.
    template : tuple of str
        What the row's prompt must hold, each once.
    components : dict of str to Component
    tokenizers : dict of str to tokenizer
    decoder : CausalDecoder, Seq2SeqDecoder or None
        None for models without language output.
    max_tokens, max_qformer_tokens : int or None
        Longest prompt and answer of the language model, longest instruction of a Q-Former; None when
        there is no limit.
    """

    auto_class = AutoModelForImageTextToText
    model_types: tuple[str, ...] = ()
    template: tuple[str, ...] = ()
    takes_image = True
    takes_caption = False
    decoder = None
    max_tokens: int | None = None
    max_qformer_tokens: int | None = None

    def __init__(self, row: Model, folder: Path, device, dtype, image_size="native", span=None):
        self.row, self.folder, self.device, self.dtype, self.span = row, folder, device, dtype, span
        self.tokenizers, self.components = {}, {}
        self._check_row()
        self.model = load_model(self.auto_class, folder, dtype, device, row.init)
        self.model.requires_grad_(False)
        if self.takes_image:
            self.preprocess = Preprocessing(self._load_image_processor(), image_size)
            self._check_pixels()
        self._setup()
        if (own := [name for name, _ in row.components]) != list(self.components):
            raise ModelError(
                f"model {row.id!r} lists the components {', '.join(own)}; family {row.family!r} gives "
                f"{', '.join(self.components)}: correct the row"
            )

    def _check_row(self):
        found = read_config(self.folder).get("model_type")
        if found not in self.model_types:
            raise ModelError(
                f"checkpoint {self.folder} holds a model of type {found!r}; family {self.row.family!r} of "
                f"model {self.row.id!r} runs {' or '.join(self.model_types)}: correct the row, or the folder"
            )
        for part in self.template:
            if (n := self.row.prompt.count(part)) != 1:
                raise ModelError(
                    f"prompt {self.row.prompt!r} of model {self.row.id!r} holds {part} {n} times; "
                    f"family {self.row.family!r} needs it once"
                )

    def _check_pixels(self):
        config = self.model.config
        side = getattr(config, "vision_config", config).image_size
        found = tuple(self.preprocess([np.full((425, 425, 3), BLANK_GREY, np.uint8)]).shape)
        if found != (1, 3, side, side):
            raise ModelError(
                f"image processor of {self.folder} makes pixels of shape {found[1:]}; the model takes "
                f"{(3, side, side)}: get both from the same checkpoint"
            )

    @abstractmethod
    def _setup(self):
        """Find the parts of the model: components, taps, decoder, tokenizer."""

    def _load_image_processor(self):
        return load_image_processor(self.folder)

    def _load_tokenizer(self, embed, subfolder: str = ""):
        return self._adopt(load_tokenizer(self.folder, subfolder), embed, subfolder or "tokenizer")

    def _adopt(self, tokenizer, embed, name: str = "tokenizer"):
        """Check that a tokenizer belongs to the embeddings of the model, and keep it by its name."""
        n_embedded = embed.num_embeddings + getattr(embed, "num_additional_embeddings", 0)
        if not 0 < tokenizer.vocab_size <= n_embedded:
            raise ModelError(
                f"{name} of {self.folder} knows {tokenizer.vocab_size} tokens, but the model embeds "
                f"{n_embedded}; get both from the same checkpoint"
            )
        self.tokenizers[name] = tokenizer
        return tokenizer

    def markers(self) -> list[str]:
        """Marks that the model's tokenizers and template give a meaning of their own.

        Texts must not hold them: an ``<image>`` in an instruction would be a second image.  Special and
        added tokens count, but for plain words and what is as short as punctuation, which some tokenizers
        use for padding.
        """
        marks = template_markers(self.row)
        for tokenizer in self.tokenizers.values():
            special = set(tokenizer.all_special_tokens)
            added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
            marks += [t for t in special | added if len(t.strip()) > 2 and (t in special or not t.isalnum())]
        return sorted(set(marks), key=lambda mark: (-len(mark), mark))

    def fingerprint(self) -> dict:
        """What the states depend on, on the model's side."""
        found = {
            "checkpoint": self.row.checkpoint,
            "weights": weights_identity(self.row, self.folder),
            "init": self.row.init,
            "image": self.row.image,
            "prompt": self.row.prompt,
            "dtype": str(self.dtype).removeprefix("torch."),
            **facts("config", read_config(self.folder)),
            **(self.preprocess.facts() if self.takes_image else {}),
        }
        for name, tokenizer in self.tokenizers.items():
            found |= tokenizer_facts(name, tokenizer)
        return found

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

    template = ("{instruction}",)
    tokenizer = None
    eos_ids: tuple[int, ...] = ()
    banned_ids: tuple[int, ...] = ()

    def prompt(self, instruction: str, caption: str = "") -> Prompt:
        """Tokenise one instruction in the model's template."""
        texts = {"{caption}": caption, "{instruction}": instruction}
        text = re.sub(r"\{caption\}|\{instruction\}", lambda found: texts[found[0]], self.row.prompt)
        return self._tokenize(text.strip() if not instruction else text)

    def _check_marks(self, prompt: str):
        """Refuse a template whose marks the tokenizer would take for text."""
        known = self.tokenizer.get_vocab()
        for mark in re.findall(r"<[^<>\s]+>", prompt):
            if mark not in known:
                raise ModelError(
                    f"prompt {self.row.prompt!r} of model {self.row.id!r} holds {mark}, which is no token of "
                    f"{self.folder}; take it out of the row's prompt"
                )

    def fingerprint(self) -> dict:
        return super().fingerprint() | {"eos_ids": list(self.eos_ids), "banned_ids": list(self.banned_ids)}

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
