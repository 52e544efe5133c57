"""Training of the tiny checkpoints: vision first, then each model end to end.

``python -m training.train --out FOLDER``, at the root of the project, trains all of them.  Steps are counted,
never timed, and every random number comes from a seed: the same command gives the same weights on the
same machine and number of threads.  ``--device cuda`` rounds otherwise.
"""

import argparse
import logging
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nsd_phantom.scenes import TRAINING_SEEDS

from .checkpoint_shapes import make_model, save_checkpoint
from .families import to_pixels, vision_states
from .measuring import load
from .model_card import machine, write_card
from .objectives import AttributeHeads, text_loss
from .towers import origin_weights, tower_weights
from .training_data import N_PATCHES, Pool, make_pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint is trained.

    Parameters
    ----------
    n_steps : int
        Optimisation steps.
    n_images : int
        Pictures a step.
    n_texts : int
        Instructions a picture and step; blip2 and clip always take one caption.
    learning_rate : float
        Peak; linear warm-up over ``n_warmup`` steps, then a cosine to zero.
    heads_weight : float
        Weight of the attribute heads' loss.
    tune_vision : bool
        Whether the vision tower and its heads learn too; otherwise it stays as it was taken over.
    seed : int
    """

    n_steps: int
    n_images: int = 64
    n_texts: int = 1
    learning_rate: float = 2e-3
    n_warmup: int = 100
    heads_weight: float = 0.3
    tune_vision: bool = True
    seed: int = 0


_TUNED = Recipe(3000, n_images=32, n_texts=4, n_warmup=50, learning_rate=1.5e-3)
RECIPES = {
    "vit": Recipe(2400, n_images=48, n_warmup=60, heads_weight=1.0),
    "clip": Recipe(400, n_images=96, n_warmup=40, learning_rate=1e-3),
    "blip2": Recipe(700, n_images=64, tune_vision=False),
    "instructblip": Recipe(2400, n_images=32, n_texts=4, tune_vision=False),
    "idefics": _TUNED,
    "mplug-owl": replace(_TUNED, n_steps=4000),
}
"""In the order of training: vision, then what builds on it."""

SHORT = {
    name: replace(recipe, n_steps=12, n_images=8, n_texts=min(2, recipe.n_texts), n_warmup=3)
    for name, recipe in RECIPES.items()
}
"""Runs of seconds that show that everything works; their weights are of no use."""

ORIGINS = {"instructblip": "blip2", "idefics": "instructblip", "mplug-owl": "instructblip"}
"""What starts from which checkpoint: InstructBLIP from all of BLIP-2, the others from its language model."""


def train(
    name: str, pool: Pool, recipe: Recipe, tower: dict | None = None, origin: dict | None = None, device="cpu"
):
    """Train one checkpoint.

    Parameters
    ----------
    name : str
        One of NAMES.
    pool : Pool
        Scenes of TRAINING_SEEDS.
    recipe : Recipe
    tower : dict or None
        State dict of a trained "vit" to start the vision tower from.
    origin : dict or None
        State dict of the trained checkpoint that ORIGINS names, to start from.
    device : str
        Where to train.

    Returns
    -------
    model, log
        The model in evaluation mode on the CPU, and one row of losses a hundredth of the run.
    """
    model, heads = make_model(name, recipe.seed), AttributeHeads()
    _take_over(name, model, pool, tower, origin)
    model.to(device).train()
    parameters = _trained_parameters(name, model, heads.to(device), recipe)
    optimiser = torch.optim.AdamW(parameters, recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    random = np.random.default_rng(recipe.seed)
    journal = _Journal(name, recipe.n_steps)
    own_loss = text_loss(name, model, recipe)
    with torch.device(device):
        for step in range(recipe.n_steps):
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, recipe)
            losses = _losses(name, model, heads, own_loss, pool, recipe, random)
            optimiser.zero_grad(set_to_none=True)
            (losses[0] + recipe.heads_weight * losses[1]).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            journal.add(step, *losses)
    return model.eval().cpu(), journal.rows


def _losses(name, model, heads, own_loss, pool, recipe, random):
    """Loss of the model's own task and of the attribute heads on a random batch."""
    rows = random.choice(len(pool), recipe.n_images, replace=len(pool) < recipe.n_images)
    images, patches = _mirrored(pool, rows, random)
    with torch.set_grad_enabled(recipe.tune_vision):
        states = vision_states(name, model, to_pixels(images))
    attributes = torch.as_tensor(pool.attributes[rows]).float()
    targets = torch.as_tensor(patches).float()
    head_loss = heads.loss(states, attributes, targets) if recipe.tune_vision else 0.0
    return own_loss(states, pool, rows, random), head_loss


def _take_over(name, model, pool, tower, origin) -> None:
    """Weights from earlier stages."""
    if tower is not None:
        weights = tower_weights(name, tower, 3, _embedding_scale(tower, pool))
        model.load_state_dict(model.state_dict() | weights)
    if origin is not None:
        state = model.state_dict()
        model.load_state_dict(state | origin_weights(name, origin, state))


def _trained_parameters(name, model, heads, recipe) -> list:
    """All parameters, or those outside the vision tower."""
    if recipe.tune_vision:
        return [*model.parameters(), *heads.parameters()]
    return [p for key, p in model.named_parameters() if "vision_model" not in key]


class _Journal:
    """Means of the losses over each hundredth of a run."""

    def __init__(self, name: str, n_steps: int):
        self.name, self.n_steps, self.rows = name, n_steps, []
        self._recent, self._started = [], time.perf_counter()

    def add(self, step: int, text_loss, head_loss) -> None:
        self._recent.append([float(torch.as_tensor(x).detach()) for x in (text_loss, head_loss)])
        if len(self._recent) < max(1, self.n_steps // 100) and step + 1 < self.n_steps:
            return
        text, head = np.mean(self._recent, 0)
        seconds = time.perf_counter() - self._started
        self.rows.append({"step": step + 1, "text_loss": text, "heads_loss": head, "seconds": seconds})
        logger.info("%s step %d: text %.4f heads %.4f (%.0f s)", self.name, step + 1, text, head, seconds)
        self._recent = []


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.n_warmup:
        return (step + 1) / recipe.n_warmup
    done = (step - recipe.n_warmup) / max(1, recipe.n_steps - recipe.n_warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def _mirrored(pool: Pool, rows, random):
    """Pictures and patch targets, each pair mirrored with probability one half."""
    flip = random.random(len(rows)) < 0.5
    images = np.where(flip[:, None, None, None], pool.images[rows][:, :, ::-1], pool.images[rows])
    side = int(N_PATCHES**0.5)
    patches = pool.patches[rows].reshape(len(rows), side, side, -1)
    patches = np.where(flip[:, None, None, None], patches[:, :, ::-1], patches)
    return images, patches.reshape(len(rows), N_PATCHES, -1)


@torch.no_grad()
def _embedding_scale(vit: dict, pool: Pool) -> float:
    model = make_model("vit")
    model.load_state_dict(vit)
    return float(model.embeddings(to_pixels(pool.images[:64])).std(-1).mean())


def train_all(folder: Path, pool: Pool, recipes: dict[str, Recipe], device="cpu") -> dict[str, list[dict]]:
    """Train and save checkpoints below ``folder``.

    A stage starts from the *saved* weights of the stages before it, so that training some checkpoints
    anew beside the others gives the same weights as training all of them.

    Returns
    -------
    dict
        Checkpoint name to its rows of losses.
    """
    journals = {}
    for name, recipe in recipes.items():
        tower = _saved(folder, "vit") if name != "vit" else None
        origin = _saved(folder, ORIGINS[name]) if name in ORIGINS else None
        model, journals[name] = train(name, pool, recipe, tower, origin, device)
        save_checkpoint(name, model, folder / name)
    return journals


def _saved(folder: Path, name: str) -> dict:
    """Weights of an earlier stage."""
    return load(name, folder / name)[0].state_dict()


def main(arguments=None) -> None:
    """Command line: draw scenes, train, measure on held-out scenes, write the model card."""
    parser = argparse.ArgumentParser(description="Train the tiny checkpoints of the phantom.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints and their card")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="CHECKPOINT",
                        help="train these anew beside the others, which must be there")  # fmt: skip
    parser.add_argument("--steps", choices=("full", "short"), default="full")
    parser.add_argument("--scenes", type=int, default=40_000, help="training scenes to draw")
    parser.add_argument("--measure", type=int, default=400, help="held-out scenes to measure on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(options.threads)
    recipes = SHORT if options.steps == "short" else RECIPES
    recipes = {
        name: replace(recipe, seed=options.seed) for name, recipe in recipes.items() if name in options.only
    }
    where = machine(options.device)  # an unknown device is refused before hours of work
    pool = make_pool(TRAINING_SEEDS[: options.scenes], os.cpu_count() if options.scenes > 1000 else 1)
    journals = train_all(options.out, pool, recipes, options.device)
    write_card(options.out, recipes, journals, pool, options.measure, where)


if __name__ == "__main__":
    main()
