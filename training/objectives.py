"""What each tiny model is trained for: attributes, answers, captions, pairs of pictures and captions.

A loss is called with the vision states of a batch, the pool, the rows of the batch and a random
generator, and returns a scalar.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .checkpoint_shapes import WIDTH, make_tokenizer
from .families import Tokens, answer_logits, instruction_text
from .training_data import ATTRIBUTES, CLASSES, INSTRUCTION_IDS


class AttributeHeads(nn.Module):
    """Linear read-outs of scene attributes (mean and maximum over patches) and of what fills each patch."""

    def __init__(self):
        super().__init__()
        self.whole = nn.Linear(2 * WIDTH, len(ATTRIBUTES))
        self.patch = nn.Linear(WIDTH, len(CLASSES) + 1)

    def forward(self, states):
        patches = states[:, 1:]
        return self.whole(torch.cat([patches.mean(1), patches.amax(1)], 1)), self.patch(patches)

    def loss(self, states, attributes, patches):
        """Mean binary cross-entropy over attributes plus that over patch classes."""
        whole, patch = self(states)
        return F.binary_cross_entropy_with_logits(whole, attributes) + F.binary_cross_entropy_with_logits(
            patch, patches
        )


class NoLoss:
    """Vision alone learns from the attribute heads only."""

    def __init__(self, name, model, recipe):
        self.model = model

    def __call__(self, states, pool, rows, random):
        return self.model.pooler(states).pow(2).mean() * 0


class AnswerLoss:
    """Cross-entropy of answers; instructions are drawn by their share of the loss."""

    def __init__(self, name, model, recipe):
        self.name, self.model, self.n_texts = name, model, recipe.n_texts
        self.tokens = Tokens(name)
        self.share = np.full(len(INSTRUCTION_IDS), 1 / len(INSTRUCTION_IDS))

    def __call__(self, states, pool, rows, random):
        floor = 0.04
        share = floor + (1 - floor * len(self.share)) * self.share / self.share.sum()
        chosen = random.choice(len(INSTRUCTION_IDS), (len(rows), self.n_texts), p=share / share.sum())
        pairs = [
            (instruction_text(INSTRUCTION_IDS[k]), pool.answers[row][INSTRUCTION_IDS[k]])
            for row, ks in zip(rows, chosen, strict=True)
            for k in ks
        ]
        texts = self.tokens.batch(pairs)
        logits = answer_logits(self.name, self.model, states, texts, self.n_texts)
        loss = F.cross_entropy(logits.transpose(1, 2), texts.labels, reduction="none")
        self._learn_shares(loss.detach().sum(1).cpu().numpy(), chosen.ravel())
        return loss.sum() / (texts.labels != -100).sum()

    def _learn_shares(self, loss, chosen):
        """Follow each instruction's loss, summed over an answer's tokens."""
        for k in range(len(self.share)):
            if (chosen == k).any():
                self.share[k] += 0.05 * (loss[chosen == k].mean() - self.share[k])


class CaptionLoss:
    """BLIP-2: a caption, whatever is asked or if nothing is asked."""

    def __init__(self, name, model, recipe):
        self.name, self.model, self.tokens = name, model, Tokens(name)

    def __call__(self, states, pool, rows, random):
        drawn = random.integers(0, len(INSTRUCTION_IDS), len(rows))
        asked = [instruction_text(INSTRUCTION_IDS[k]) for k in drawn]
        silent = random.random(len(rows)) < 0.3
        pairs = [
            ("" if quiet else text, pool.answers[row]["IC"])
            for row, text, quiet in zip(rows, asked, silent, strict=True)
        ]
        texts = self.tokens.batch(pairs)
        logits = answer_logits(self.name, self.model, states, texts, 1)
        return F.cross_entropy(logits.transpose(1, 2), texts.labels)


class ContrastiveLoss:
    """CLIP: which caption belongs to which picture of the batch."""

    def __init__(self, name, model, recipe):
        self.model, self.tokenizer = model, make_tokenizer(ends=True)

    def __call__(self, states, pool, rows, random):
        which = random.integers(0, 5, len(rows))
        captions = [f"{pool.captions[row][k]}." for row, k in zip(rows, which, strict=True)]
        text = self.tokenizer(captions, padding=True, return_tensors="pt")
        words = self.model.text_model(text["input_ids"], attention_mask=text["attention_mask"]).pooler_output
        picture = self.model.vision_model.post_layernorm(states[:, 0])
        picture = F.normalize(self.model.visual_projection(picture), dim=-1)
        words = F.normalize(self.model.text_projection(words), dim=-1)
        logits = self.model.logit_scale.exp().clamp(max=100) * picture @ words.T
        target = torch.arange(len(rows))
        return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def text_loss(name: str, model, recipe):
    """The loss of a checkpoint's own task."""
    return _LOSSES.get(name, AnswerLoss)(name, model, recipe)


_LOSSES = {"vit": NoLoss, "blip2": CaptionLoss, "clip": ContrastiveLoss}
