"""How each tiny model is run in training: its vision tower, and the logits of prompts with answers."""

from dataclasses import dataclass

import torch

from brainalign_utils.features.mplug_owl import IMAGE_TOKEN_INDEX
from nsd_phantom.instructions import read_instructions

from .checkpoint_shapes import BOS, EOS, IMAGE, MEAN, N_QUERIES, PAD, STD, make_tokenizer

INSTRUCTIONS = read_instructions()
PROMPTS = dict(INSTRUCTIONS.prompts)
PROMPTS["idefics"] = PROMPTS["idefics"].replace(
    "<image>", "<fake_token_around_image><image><fake_token_around_image>"
)
"""Prompts as the processors lay them out, by checkpoint name."""


@dataclass(frozen=True)
class Texts:
    """A batch of prompts with answers, padded on the right.

    Parameters
    ----------
    ids, mask : (n_texts, n_tokens) int64
        Prompt, answer and ``</s>``; the mask is 1 where there is a token.
    labels : (n_texts, n_tokens) int64
        The next token where it belongs to an answer, -100 elsewhere.
    question_ids, question_mask : (n_texts, n_words) int64
        The instruction alone, for the Q-Former.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    question_ids: torch.Tensor
    question_mask: torch.Tensor


class Tokens:
    """Token numbers of prompts and answers of one family, computed once each."""

    def __init__(self, name: str):
        self.name = name
        self.tokenizer = make_tokenizer()
        self._answers = {}
        self._prompts = {}
        self._questions = {}

    def _encode(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt(self, instruction: str) -> list[int]:
        """Numbers of the whole prompt for an instruction text, image positions included."""
        if instruction not in self._prompts:
            text = PROMPTS[self.name].format(instruction=instruction)
            if self.name == "blip2" and not instruction:
                text = ""
            before, *after = text.split("<image>") if self.name == "mplug-owl" else [text]
            ids = [BOS, *self._encode(before)]
            for piece in after:
                ids += [IMAGE_TOKEN_INDEX] * (N_QUERIES[self.name] + 1) + self._encode(piece)
            if self.name in ("instructblip", "blip2"):
                ids = [IMAGE] * N_QUERIES[self.name] + ids
            self._prompts[instruction] = ids
            self._questions[instruction] = [BOS, *self._encode(instruction)]
        return self._prompts[instruction]

    def answer(self, text: str) -> list[int]:
        """Numbers of an answer, closed by ``</s>``."""
        if text not in self._answers:
            self._answers[text] = [*self._encode(text), EOS]
        return self._answers[text]

    def batch(self, pairs) -> Texts:
        """Tensors for (instruction text, answer) pairs."""
        prompts = [self.prompt(instruction) for instruction, _ in pairs]
        answers = [self.answer(answer) for _, answer in pairs]
        rows = [p + a for p, a in zip(prompts, answers, strict=True)]
        n_tokens = max(map(len, rows))
        ids = torch.tensor([row + [PAD] * (n_tokens - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (n_tokens - len(row)) for row in rows])
        labels = [
            [-100] * (len(p) - 1) + a + [-100] * (n_tokens - len(p) - len(a) + 1)
            for p, a in zip(prompts, answers, strict=True)
        ]
        questions = [self._questions[instruction] for instruction, _ in pairs]
        n_words = max(map(len, questions))
        question_ids = torch.tensor([q + [PAD] * (n_words - len(q)) for q in questions])
        question_mask = torch.tensor([[1] * len(q) + [0] * (n_words - len(q)) for q in questions])
        return Texts(ids, mask, torch.tensor(labels), question_ids, question_mask)


def instruction_text(instruction_id: str) -> str:
    """Text of one of the paper's instructions."""
    return INSTRUCTIONS.texts[instruction_id]


def to_pixels(images) -> torch.Tensor:
    """(n, 64, 64, 3) uint8 to normalised (n, 3, 64, 64) float32, as the processors do."""
    x = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
    return ((x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]).contiguous()


def vision_states(name: str, model, pixels: torch.Tensor) -> torch.Tensor:
    """Last states of the vision tower, (n_images, 1 + n_patches, width), class token first."""
    if name == "vit":
        return model(pixels).last_hidden_state
    tower = model.model.vision_model if name == "idefics" else model.vision_model
    return tower(pixels).last_hidden_state


def answer_logits(name: str, model, states: torch.Tensor, texts: Texts, repeats: int) -> torch.Tensor:
    """Logits (n_texts, n_tokens, n_words), with ``repeats`` texts in a row for each image's states."""
    return _LOGITS[name](model, states, texts, repeats)


def _qformer_logits(model, states, texts, repeats):
    return _decode(model, _queries(model, states.repeat_interleave(repeats, 0), texts), texts)


def _queries(model, states, texts):
    queries = model.query_tokens.expand(len(states), -1, -1)
    ones = torch.ones(queries.shape[:2], dtype=torch.long)
    out = model.qformer(
        input_ids=texts.question_ids,
        attention_mask=torch.cat([ones, texts.question_mask], 1),
        query_embeds=queries,
        encoder_hidden_states=states,
    )
    return out.last_hidden_state[:, : queries.shape[1]]


def _blip2_logits(model, states, texts, repeats):
    queries = model.query_tokens.expand(len(states), -1, -1)
    out = model.qformer(query_embeds=queries, encoder_hidden_states=states).last_hidden_state
    return _decode(model, out.repeat_interleave(repeats, 0), texts)


def _decode(model, queries, texts):
    words = model.language_model.get_input_embeddings()(texts.ids[:, queries.shape[1] :])
    embeds = torch.cat([model.language_projection(queries), words], 1)
    return model.language_model(inputs_embeds=embeds, attention_mask=texts.mask, use_cache=False).logits


def _mplug_owl_logits(model, states, texts, repeats):
    """All texts of an image share what comes before them: one row holds it once, then each text."""
    n_prefix = int((texts.ids[0] == IMAGE_TOKEN_INDEX).nonzero().max()) + 1
    n_images, n_own = len(states), texts.ids.shape[1] - n_prefix
    tokens = model.abstractor(model.query_tokens.expand(n_images, -1, -1), states)
    prefix = model.embed(texts.ids[::repeats, :n_prefix], tokens)
    own = model.embed(texts.ids[:, n_prefix:]).unflatten(0, (n_images, repeats))
    positions = torch.cat([torch.arange(n_prefix), n_prefix + torch.arange(n_own).repeat(repeats)])
    out = model.language_model(
        inputs_embeds=torch.cat([prefix, own.flatten(1, 2)], 1),
        attention_mask=_shared_prefix_mask(n_prefix, n_own, repeats).expand(n_images, 1, -1, -1),
        position_ids=positions.expand(n_images, -1),
        use_cache=False,
    )
    own = out.logits[:, n_prefix:].reshape(n_images * repeats, n_own, -1)
    return torch.cat([own.new_zeros(len(own), n_prefix, own.shape[-1]), own], 1)


def _shared_prefix_mask(n_prefix: int, n_own: int, repeats: int) -> torch.Tensor:
    """Additive mask (1, 1, n_tokens, n_tokens): each text sees the prefix and itself, causally."""
    owner = torch.cat([torch.full((n_prefix,), -1), torch.arange(repeats).repeat_interleave(n_own)])
    sees = (owner[None] == owner[:, None]) | (owner[None] == -1)
    sees &= torch.ones(len(owner), len(owner), dtype=torch.bool).tril()
    return torch.zeros(1, 1, *sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)


def _idefics_logits(model, states, texts, repeats):
    latents = model.model.perceiver_resampler(states).repeat_interleave(repeats, 0)
    sees = (texts.ids == IMAGE).cumsum(1).unsqueeze(-1)
    return model(
        input_ids=texts.ids,
        attention_mask=texts.mask,
        perceiver_embeddings=latents.unsqueeze(1),
        image_attention_mask=sees,
        use_cache=False,
    ).logits


_LOGITS = {
    "instructblip": _qformer_logits,
    "blip2": _blip2_logits,
    "mplug-owl": _mplug_owl_logits,
    "idefics": _idefics_logits,
}
