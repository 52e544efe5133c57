"""Pictures, answers and attributes on which the tiny checkpoints are trained and measured."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nsd_phantom.backdrops import INDOOR, OUTDOOR
from nsd_phantom.captions import captions
from nsd_phantom.content import CLOTHES, FOODS, FURNITURE, FURS, KINDS, RIDES, VEHICLES
from nsd_phantom.drawing import COLOURS
from nsd_phantom.instructions import read_instructions
from nsd_phantom.scenes import SIZE, Drawing, draw_scene

from .answers import answers

IMAGE_SIZE = 64
PATCH_SIZE = 8
N_PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
INSTRUCTION_IDS = tuple(read_instructions().texts)

_PEOPLE = tuple(f"{kind} {colour}" for kind in KINDS for colour in CLOTHES)
_THINGS = (
    *FURS,
    *FOODS,
    *dict.fromkeys((*VEHICLES, *FURNITURE, *RIDES, "couch")),
    "dining table",
    "stop sign",
    "sign",
)
CLASSES = (*_PEOPLE, *_THINGS)
"""Kinds of objects that the attribute heads tell apart; people by kind and clothing colour."""

ATTRIBUTES = (
    *CLASSES,
    *(f"front {name}" for name in ("person", *_THINGS)),
    *INDOOR,
    *OUTDOOR,
    *(f"dominant {name}" for name in COLOURS),
    *(f"{n} animals" for n in range(4)),
    *("holding", "riding", "sitting on"),
    *(f"acting {kind}" for kind in KINDS),
    *(f"held {food}" for food in FOODS),
)
"""Yes-or-no attributes of a whole scene."""

_CHUNK = 250


@dataclass(frozen=True)
class Pool:
    """Scenes ready for training.

    Parameters
    ----------
    images : array (n_scenes, 64, 64, 3) uint8
        The 425-pixel drawings, resized as the processors resize (bicubic).
    answers : list of dict
        Instruction id to answer.
    captions : list of list of str
    attributes : array (n_scenes, len(ATTRIBUTES)) bool
    patches : array (n_scenes, N_PATCHES, len(CLASSES) + 1) bool
        Which classes fill a tenth of a patch or more; the last column: an animal's centre lies here.
    """

    images: np.ndarray
    answers: list
    captions: list
    attributes: np.ndarray
    patches: np.ndarray

    def __len__(self):
        return len(self.images)


def make_pool(seeds: range, n_workers: int = 1) -> Pool:
    """Draw the scenes of ``seeds``; the result does not depend on ``n_workers``."""
    chunks = [seeds[k : k + _CHUNK] for k in range(0, len(seeds), _CHUNK)]
    if n_workers == 1:
        parts = [_make_chunk(chunk) for chunk in chunks]
    else:
        with ProcessPoolExecutor(n_workers) as workers:
            parts = list(workers.map(_make_chunk, chunks))
    return Pool(
        np.concatenate([p.images for p in parts]),
        [row for p in parts for row in p.answers],
        [row for p in parts for row in p.captions],
        np.concatenate([p.attributes for p in parts]),
        np.concatenate([p.patches for p in parts]),
    )


def _make_chunk(seeds) -> Pool:
    drawings = (draw_scene(seed, SIZE, with_maps=True) for seed in seeds)
    rows = [
        (shrink(d.image), answers(d.scene), captions(d.scene), _attributes(d), _patches(d)) for d in drawings
    ]
    images, texts, caps, attributes, patches = zip(*rows, strict=True)
    return Pool(np.stack(images), list(texts), list(caps), np.stack(attributes), np.stack(patches))


def shrink(image: np.ndarray) -> np.ndarray:
    """(size, size, 3) uint8 to (64, 64, 3) uint8, as the processors do."""
    return np.asarray(Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def _class_of(thing) -> int:
    name = f"{thing.kind} {thing.colour}" if thing.kind else thing.category
    return CLASSES.index(name)


def _attributes(drawing: Drawing) -> np.ndarray:
    scene = drawing.scene
    names = {CLASSES[_class_of(thing)] for thing in scene.objects}
    names |= {f"front {thing.category}" for thing in scene.objects if thing.foreground}
    names |= {scene.place, f"dominant {scene.dominant_colour}", f"{scene.content.n_animals} animals"}
    if scene.content.relation:
        kind, subject, category = scene.content.relation
        names |= {kind, f"held {category}"}
        names |= {f"acting {scene.content.people[subject][0]}"} if subject is not None else set()
    return np.array([name in names for name in ATTRIBUTES])


def _patches(drawing: Drawing) -> np.ndarray:
    n = IMAGE_SIZE // PATCH_SIZE
    small = np.asarray(
        Image.fromarray(drawing.object_map).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST)
    )
    blocks = small.reshape(n, PATCH_SIZE, n, PATCH_SIZE).transpose(0, 2, 1, 3).reshape(N_PATCHES, -1)
    filled = np.zeros((N_PATCHES, len(CLASSES) + 1), dtype=bool)
    for thing in drawing.scene.objects:
        filled[:, _class_of(thing)] |= (blocks == thing.number).mean(1) > 0.1
        if thing.supercategory == "animal":
            x, y, width, height = thing.bbox
            column, row = (int(n * (v + 0.5 * s) / drawing.scene.size) for v, s in ((x, width), (y, height)))
            filled[min(row, n - 1) * n + min(column, n - 1), -1] = True
    return filled
