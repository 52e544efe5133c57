"""The model card of the tiny checkpoints, written from what was measured."""

import hashlib
import json
import os
import platform
from pathlib import Path

import torch
import transformers

from brainalign_utils.artifacts import processor
from nsd_phantom.instructions import read_instructions
from nsd_phantom.scenes import HELD_OUT_SEEDS

from .measuring import held_out, load, score_answers, score_captions, score_probe, score_retrieval
from .training_data import Pool, make_pool

TARGETS = {"IU1": 0.95, "CR": 0.95, "VQ2": 0.85, "IU3": 0.85, "IU2": 0.85, "IC": 0.70, "named": 0.90}
"""Shares of held-out scenes that were aimed for; the card says where they were not reached."""

_TITLES = {
    "vit": "ViT: attributes of scenes, no language",
    "clip": "CLIP: pictures and captions, contrastive",
    "blip2": "BLIP-2: captions only, no instructions",
    "instructblip": "InstructBLIP: the ten instructions",
    "idefics": "IDEFICS: the ten instructions",
    "mplug-owl": "mPLUG-Owl: the ten instructions",
}
_HEAD = """# Tiny checkpoints of the phantom

They stand in for the published models in the simulated study, in the same classes and file formats.
They know drawn scenes and nothing else: nothing found with them is a finding about published models.

**Data.** {n_scenes} drawn scenes (`nsd_phantom.scenes.TRAINING_SEEDS`), mirrored at random. No stimulus of
any study is among them. Pictures have 64 pixels, as the processors make them of 425.

**Training.** AdamW, cosine over steps, one thread, seeded; `make phantom-models` repeats it. ViT learns
attributes of scenes; the other towers start from it. BLIP-2 learns captions. InstructBLIP starts from
BLIP-2; IDEFICS and mPLUG-Owl from InstructBLIP's language model. BLIP-2 and InstructBLIP leave their tower
as it was, the others go on learning attributes beside their own task.
"""
_TAIL = """BLIP-2: `caption` is exact match, `named` the share of drawn things named, `IU1` how often it
answers the question about the dominant colour, for which it was not trained. CLIP: how often the right one
of 100 captions comes first. ViT: area under the curve of linear read-outs, mean over scene attributes.
"""
_MLLMS = ("instructblip", "idefics", "mplug-owl")


def measure(folder: Path, names, pool: Pool, n_scenes: int) -> dict[str, dict[str, float]]:
    """Scores of saved checkpoints on the first held-out scenes, by checkpoint name."""
    images, scenes = held_out(n_scenes)
    scores = {}
    for name in names:
        model, processor = load(name, folder / name)
        if name == "vit":
            scores[name] = score_probe(model, pool, make_pool(HELD_OUT_SEEDS[:n_scenes]))
        elif name == "clip":
            scores[name] = score_retrieval(model, processor, images, scenes)
        elif name == "blip2":
            scores[name] = score_captions(name, model, processor, images, scenes)
        else:
            scores[name] = score_answers(name, model, processor, images, scenes)
    return scores


def machine(device: str) -> str:
    """Processor and cores or GPU, and library versions."""
    on_gpu = torch.device(device).type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{processor()}, {os.cpu_count()} cores"
    return (
        f"{name}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def write_card(folder: Path, recipes: dict, journals: dict, pool: Pool, n_scenes: int, where: str) -> None:
    """Measure the checkpoints below ``folder`` and write ``README.md`` and ``card.json`` there.

    Rows of checkpoints that were not trained this time stay as they are.

    Parameters
    ----------
    recipes, journals : dict
        Checkpoint name to its recipe, and to the rows of losses of its training.
    pool : Pool
        Training scenes; the first 2000 serve ViT's linear read-outs.
    n_scenes : int
        Held-out scenes.
    where : str
        Machine that trained.
    """
    parts = (pool.images, pool.answers, pool.captions, pool.attributes, pool.patches)
    few = Pool(*(part[:2000] for part in parts))
    scores = measure(folder, recipes, few, n_scenes)
    rows = {
        name: {
            "n_parameters": load(name, folder / name)[0].num_parameters(),
            "n_steps": recipe.n_steps,
            "n_images": recipe.n_images,
            "n_texts": recipe.n_texts,
            "seed": recipe.seed,
            "seconds": round(journals[name][-1]["seconds"]),
            "machine": where,
            "scores": {key: round(value, 3) for key, value in scores[name].items()},
            "sha256": hashlib.sha256((folder / name / "model.safetensors").read_bytes()).hexdigest(),
        }
        for name, recipe in recipes.items()
    }
    old = json.loads((folder / "card.json").read_text()) if (folder / "card.json").is_file() else {}
    merged = old.get("checkpoints", {}) | rows
    card = {
        "n_training_scenes": len(pool),
        "n_held_out": n_scenes,
        "checkpoints": {name: merged[name] for name in _TITLES if name in merged},
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    (folder / "README.md").write_text(_markdown(card))


def _markdown(card: dict) -> str:
    rows = card["checkpoints"]
    mllms = [name for name in _MLLMS if name in rows]
    lines = [
        _HEAD.format(n_scenes=card["n_training_scenes"]),
        "| checkpoint | parameters | steps | pictures x texts | seconds | seed | trained on |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {_TITLES[name]} | {r['n_parameters']} | {r['n_steps']} | {r['n_images']} x {r['n_texts']} | "
            f"{r['seconds']} | {r['seed']} | {r['machine']} |"
            for name, r in rows.items()
        ),
        "",
        f"## Exact match of whole answers on {card['n_held_out']} held-out scenes",
        "",
        "Drawn with 425 pixels, through each checkpoint's processor and `generate` (greedy).",
        "",
        f"| | aimed for | {' | '.join(mllms)} |",
        f"|---|---|{'---|' * len(mllms)}",
        *(_score_row(f"{id}: {text}", id, rows, mllms) for id, text in read_instructions().texts.items()),
        _score_row("things named in captions", "named", rows, mllms),
        _score_row("a grey picture instead, mean", "blank", rows, mllms),
        "",
        *(_missed(rows, mllms)),
        "",
        "## The others",
        "",
        *(
            f"- **{name}**: " + ", ".join(f"{key} {value:.3f}" for key, value in rows[name]["scores"].items())
            for name in rows
            if name not in _MLLMS
        ),
        "",
        _TAIL,
        "## sha256 of model.safetensors",
        "",
        *(f"- {name}: `{r['sha256']}`" for name, r in rows.items()),
        "",
    ]
    return "\n".join(lines)


def _score_row(title, key, rows, mllms) -> str:
    aim = f"{TARGETS[key]:.2f}" if key in TARGETS else ""
    return f"| {title} | {aim} | " + " | ".join(f"{rows[name]['scores'][key]:.3f}" for name in mllms) + " |"


def _missed(rows, mllms) -> list[str]:
    """One sentence for each aim that was not reached."""
    missed = [
        f"{name} {key} {rows[name]['scores'][key]:.3f} (aim {aim:.2f})"
        for name in mllms
        for key, aim in TARGETS.items()
        if rows[name]["scores"][key] < aim
    ]
    return [f"Not reached: {'; '.join(missed)}."] if missed else ["All aims were reached."]
