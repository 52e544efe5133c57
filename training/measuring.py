"""What the tiny checkpoints can do, measured on held-out scenes along the path that a study takes.

The picture is drawn with 425 pixels, the checkpoint's own processor makes it 64, ``generate`` answers.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor

from brainalign_utils.features.mplug_owl import MplugOwlProcessor
from nsd_phantom.captions import captions
from nsd_phantom.instructions import read_instructions
from nsd_phantom.scenes import HELD_OUT_SEEDS, draw_scene

from .answers import answers
from .families import PROMPTS, instruction_text, to_pixels
from .training_data import Pool

_BATCH = 50


def load(name: str, folder: Path):
    """Model (float32) and processor of a checkpoint folder, offline."""
    if name in ("vit", "clip"):
        model = AutoModel.from_pretrained(folder, dtype=torch.float32)
        loader = AutoImageProcessor if name == "vit" else AutoProcessor
        return model.eval(), loader.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    if name == "mplug-owl":
        return model.eval(), MplugOwlProcessor.from_pretrained(folder)
    return model.eval(), AutoProcessor.from_pretrained(folder, backend="pil")


def held_out(n_scenes: int):
    """Pictures (PIL, 425 pixels) and scenes that no checkpoint was trained on."""
    drawn = [draw_scene(seed) for seed in HELD_OUT_SEEDS[:n_scenes]]
    return [Image.fromarray(image) for image, _ in drawn], [scene for _, scene in drawn]


@torch.no_grad()
def generate(name: str, model, processor, images, instruction: str, max_new_tokens: int = 48) -> list[str]:
    """Greedy answers to one instruction text."""
    texts = []
    for start in range(0, len(images), _BATCH):
        inputs = _inputs(name, processor, images[start : start + _BATCH], instruction)
        ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        n_prompt = inputs["input_ids"].shape[1]
        new = ids[:, n_prompt:] if ids.shape[1] > n_prompt else ids
        texts += processor.tokenizer.batch_decode(new, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _inputs(name, processor, images, instruction):
    if name == "idefics":
        before, after = f"User: {instruction}", "<end_of_utterance>\nAssistant:"
        prompts = [[before, image, after] for image in images]
        return processor(text=prompts, return_tensors="pt", padding=True)
    prompt = PROMPTS[name].format(instruction=instruction) if instruction or name != "blip2" else ""
    if name == "mplug-owl":
        return processor(images, [prompt] * len(images))
    return processor(images=images, text=[prompt] * len(images), return_tensors="pt", padding=True)


def score_answers(name: str, model, processor, images, scenes) -> dict[str, float]:
    """Share of whole answers that are exactly right, by instruction id; "named" is the share of things
    that captions name, "blank" the mean over instructions for a grey picture.
    """
    scores, grey = {}, [Image.new("RGB", images[0].size, (128, 128, 128))]
    blank = []
    for id, text in read_instructions().texts.items():
        truth = [answers(scene)[id] for scene in scenes]
        given = generate(name, model, processor, images, text)
        scores[id] = float(np.mean([a == b for a, b in zip(given, truth, strict=True)]))
        blank.append(np.mean([t == generate(name, model, processor, grey, text)[0] for t in truth[:50]]))
        if id == "IC":
            scores["named"] = _share_named(given, scenes)
    scores["blank"] = float(np.mean(blank))
    return scores


def score_captions(name: str, model, processor, images, scenes) -> dict[str, float]:
    """For a captioner: exact captions, things named, and how often it answers a question about colour."""
    given = generate(name, model, processor, images, "")
    truth = [captions(scene)[0] for scene in scenes]
    colours = generate(name, model, processor, images[:_BATCH], instruction_text("IU1"))
    right = [a == answers(s)["IU1"] for a, s in zip(colours, scenes, strict=False)]
    exact = float(np.mean([a == b for a, b in zip(given, truth, strict=True)]))
    return {"caption": exact, "named": _share_named(given, scenes), "IU1": float(np.mean(right))}


def _share_named(texts, scenes) -> float:
    named = [
        f" {thing.kind or thing.category}" in f" {text}"
        for text, scene in zip(texts, scenes, strict=True)
        for thing in scene.objects
    ]
    return float(np.mean(named))


@torch.no_grad()
def score_retrieval(model, processor, images, scenes) -> dict[str, float]:
    """CLIP: how often the right caption comes first among those of a hundred scenes (or of all, if fewer)."""
    texts = [f"{captions(scene)[0]}." for scene in scenes]
    hits, n_group = [], min(100, len(images))
    for start in range(0, len(images) - n_group + 1, n_group):
        part = slice(start, start + n_group)
        inputs = processor(images=images[part], text=texts[part], return_tensors="pt", padding=True)
        hits.append(model(**inputs).logits_per_image.argmax(1) == torch.arange(n_group))
    return {"first of 100": float(torch.cat(hits).float().mean())}


@torch.no_grad()
def score_probe(model, train: Pool, test: Pool, penalty: float = 10.0) -> dict[str, float]:
    """ViT: area under the curve of linear read-outs of scene attributes, mean over attributes."""
    x, z = _pooled(model, train), _pooled(model, test)
    mean, scale = x.mean(0), x.std(0)
    x, z = (x - mean) / scale, (z - mean) / scale
    y = train.attributes - train.attributes.mean(0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    aucs = [_auc(p, t) for p, t in zip((z @ weights).T, test.attributes.T, strict=True)]
    return {"attribute AUC": float(np.nanmean(aucs))}


def _pooled(model, pool: Pool) -> np.ndarray:
    """Mean and maximum over patches of the last states, (n_scenes, 2 * width)."""
    blocks = [pool.images[k : k + 250] for k in range(0, len(pool), 250)]
    states = torch.cat([model(to_pixels(block)).last_hidden_state[:, 1:] for block in blocks])
    return torch.cat([states.mean(1), states.amax(1)], 1).double().numpy()


def _auc(score, truth) -> float:
    """Chance that a positive example scores above a negative one; NaN without both."""
    n_yes, n_no = truth.sum(), (~truth).sum()
    if not n_yes or not n_no:
        return np.nan
    ranks = np.argsort(np.argsort(score)) + 1
    return (ranks[truth].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no)
