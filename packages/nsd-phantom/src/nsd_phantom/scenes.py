"""Drawn scenes with known content: the stimuli of the phantom.

Seeds are kept apart by purpose, so that no model is ever trained on a stimulus: STIMULUS_SEEDS for
what simulated subjects see, HELD_OUT_SEEDS for measuring models, TRAINING_SEEDS for training them.
"""

from dataclasses import dataclass
from random import Random

import numpy as np

from .arrangement import FRONT, Placed, arrange
from .backdrops import draw_backdrop
from .coco_categories import CATEGORY_BY_NAME
from .content import FOODS, FURS, NATURAL, Content, sample_content
from .drawing import BODY, FACE, NO_PART, TEXT, Canvas, Pen, colour_shares
from .sprites import SPRITES, person

STIMULUS_SEEDS = range(0, 1_000_000)
HELD_OUT_SEEDS = range(1_000_000, 2_000_000)
TRAINING_SEEDS = range(2_000_000, 100_000_000)
MAX_SEED = len(STIMULUS_SEEDS) // 73_000 - 1
"""Of a dataset."""

SIZE = 425
"""Pixels along each side of NSD's pictures."""

MIN_VISIBLE = 0.006
"""Smallest visible area of an object, as a fraction of the picture."""
MIN_COLOUR_MARGIN = 0.05
"""How far the share of the dominant colour is ahead of the second, as a fraction of the picture."""
_MAX_ATTEMPTS = 64

PARTS = {"none": NO_PART, "face": FACE, "body": BODY, "text": TEXT}
"""Values of the part map.  Faces are people's; bodies are those of people and animals."""


@dataclass(frozen=True)
class SceneObject:
    """One thing in a scene.

    Parameters
    ----------
    number : int
        Its value in the object map, from 1.
    category, category_id, supercategory : str, int or None, str
        COCO's; the id is None for a written board, which COCO does not know.
    colour : str
        Main colour: clothing, fur or paint.
    bbox : (x, y, width, height)
        Of the visible part, in pixels.
    area : int
        Visible pixels.
    outline : tuple of float
        Polygon x1, y1, x2, y2, ... around the visible part, in pixels.
    foreground : bool
        Whether it stands in the front row.
    kind, pose : str or None
        Of people: man or woman; standing, holding or riding.
    """

    number: int
    category: str
    category_id: int | None
    supercategory: str
    colour: str
    bbox: tuple[int, int, int, int]
    area: int
    outline: tuple[float, ...]
    foreground: bool
    kind: str | None = None
    pose: str | None = None


@dataclass(frozen=True)
class Relation:
    """An interaction of two objects, given by number; kind is holding, riding or sitting on."""

    kind: str
    subject: int
    target: int


@dataclass(frozen=True)
class Scene:
    """What is truly in a picture.

    Parameters
    ----------
    seed, size : int
        ``draw_scene(seed, size)`` draws it again; size in pixels.
    place : str
        Kind of background, one of ``backdrops.INDOOR`` or ``backdrops.OUTDOOR``.
    indoor, natural : bool
        ``natural`` marks outdoor places other than the street.
    objects : tuple of SceneObject
        In drawing order: later ones cover earlier ones.
    dominant_colour : str
        Colour name with the most pixels.
    text : str or None
        Word on a sign or screen.
    relation : Relation or None
    content : Content
        What was asked for, in canonical order.
    """

    seed: int
    size: int
    place: str
    indoor: bool
    natural: bool
    objects: tuple[SceneObject, ...]
    dominant_colour: str
    text: str | None
    relation: Relation | None
    content: Content

    def count(self, category: str) -> int:
        """Number of objects of a category."""
        return sum(thing.category == category for thing in self.objects)


@dataclass(frozen=True)
class Drawing:
    """A picture with its truth.

    Parameters
    ----------
    image : array (size, size, 3) uint8
    scene : Scene
    object_map : array (size, size) uint8
        Number of the object visible at each pixel, 0 for the background.
    part_map : array (size, size) uint8
        Values of PARTS.
    """

    image: np.ndarray
    scene: Scene
    object_map: np.ndarray
    part_map: np.ndarray


def stimulus_seed(nsd_id: int, seed: int = 0) -> int:
    """Seed of the scene that stands for an NSD image in the dataset with seed ``seed`` (0 to MAX_SEED)."""
    if not 0 <= nsd_id < 73_000 or not 0 <= seed <= MAX_SEED:
        raise ValueError(
            f"nsd_id {nsd_id} with seed {seed} has no scene; take 0 to 72999 and 0 to {MAX_SEED}"
        )
    return 73_000 * seed + nsd_id


def draw_scene(seed: int, size: int = SIZE, with_maps: bool = False):
    """Draw the scene of a seed; the same seed and size give the same bytes.

    Parameters
    ----------
    seed : int
        Not negative; see STIMULUS_SEEDS, HELD_OUT_SEEDS and TRAINING_SEEDS.
    size : int
        Pixels along each side.
    with_maps : bool
        Return a :class:`Drawing` with object and part maps as well.

    Returns
    -------
    (image, scene) or Drawing
        ``image`` is (size, size, 3) uint8.

    Raises
    ------
    ValueError
        If the seed is negative or the size below 32 pixels.
    """
    if seed < 0 or size < 32:
        raise ValueError(f"seed {seed} and size {size} do not work; seed must be >= 0 and size >= 32 pixels")
    for attempt in range(_MAX_ATTEMPTS):
        drawing = _attempt(seed, size, Random(_MAX_ATTEMPTS * seed + attempt))
        if drawing is not None:
            return drawing if with_maps else (drawing.image, drawing.scene)
    raise RuntimeError(
        f"no scene with clear content found for seed {seed} in {_MAX_ATTEMPTS} attempts; take another"
    )


def _attempt(seed, size, random):
    content = sample_content(random)
    placed = arrange(content, random)
    if placed is None:
        return None
    canvas = Canvas.blank(size)
    draw_backdrop(
        canvas, content.place, content.upper, content.lower, 0.4 + 0.2 * random.random(), random.random()
    )
    looks = [(int(3 * random.random()), int(3 * random.random())) for _ in content.people]
    for number, thing in enumerate(placed, 1):
        _draw_thing(canvas, content, thing, number, looks)
    image, object_map, part_map = (np.asarray(i) for i in (canvas.image, canvas.objects, canvas.parts))
    dominant = _dominant(image)
    objects = _objects(content, placed, object_map)
    if dominant is None or objects is None:
        return None
    text = content.sign or ("NEWS" if content.big and content.big[0] == "tv" else None)
    natural = content.place in NATURAL
    relation = _relation(content, objects)
    scene = Scene(
        seed, size, content.place, content.indoor, natural, objects, dominant, text, relation, content
    )
    return Drawing(image, scene, object_map, part_map)


def _draw_thing(canvas: Canvas, content: Content, thing: Placed, number: int, looks) -> None:
    pen = Pen(canvas, thing.x, thing.y, thing.scale, thing.flip, number)
    if thing.role == "person":
        kind, colour = content.people[thing.index]
        person(pen, kind, colour, *looks[thing.index], thing.pose)
    else:
        SPRITES[thing.name](pen, content.sign if thing.name == "sign" else _colour(content, thing))


def _colour(content: Content, thing: Placed) -> str:
    if thing.role == "person":
        return content.people[thing.index][1]
    if thing.role == "big":
        return {"bench": "brown", "potted plant": "green", "tv": "black"}.get(thing.name, _paint(content))
    fixed = {**FURS, **FOODS, "stop sign": "red", "sign": "white", "dining table": "brown"}
    return fixed[thing.name]


def _paint(content: Content) -> str:
    """Colour of the vehicle or piece of furniture; what is ridden takes the first free one."""
    if content.big:
        return content.big[1]
    return next(c for c in ("red", "blue", "yellow") if c not in (content.upper, content.lower))


def _dominant(image: np.ndarray) -> str | None:
    shares = sorted(((share, name) for name, share in colour_shares(image[::2, ::2]).items()), reverse=True)
    return shares[0][1] if shares[0][0] - shares[1][0] >= MIN_COLOUR_MARGIN else None


def _objects(content, placed, object_map) -> tuple[SceneObject, ...] | None:
    objects = []
    for number, thing in enumerate(placed, 1):
        bbox, area, outline = _extent(object_map == number)
        if area < MIN_VISIBLE * object_map.size:
            return None
        row = CATEGORY_BY_NAME.get(thing.name, {"id": None, "supercategory": "outdoor"})
        kind = content.people[thing.index][0] if thing.role == "person" else None
        objects.append(
            SceneObject(
                number, thing.name, row["id"], row["supercategory"], _colour(content, thing), bbox, area,
                outline,
                thing.row == FRONT, kind, thing.pose if kind else None,
            )
        )  # fmt: skip
    return tuple(objects)


def _extent(mask: np.ndarray, n_levels: int = 16):
    """Bounding box (x, y, width, height), area in pixels and outline polygon of a mask."""
    rows = np.flatnonzero(mask.any(1))
    if rows.size == 0:
        return (0, 0, 0, 0), 0, ()
    top, bottom = int(rows[0]), int(rows[-1])
    part = mask[top : bottom + 1]
    columns = np.flatnonzero(part.any(0))
    left, right = int(columns[0]), int(columns[-1])
    part = part[:, left : right + 1]
    levels = rows[np.linspace(0, rows.size - 1, min(n_levels, rows.size)).astype(int)]
    lines = part[levels - top]
    first = left + lines.argmax(1)
    last = left + part.shape[1] - lines[:, ::-1].argmax(1)
    heights = np.where(levels == bottom, levels + 1, levels)
    down = [v for x, y in zip(first, heights, strict=True) for v in (float(x), float(y))]
    up = [v for x, y in zip(last[::-1], heights[::-1], strict=True) for v in (float(x), float(y))]
    return (left, top, right - left + 1, bottom - top + 1), int(part.sum()), tuple(down + up)


def _relation(content: Content, objects) -> Relation | None:
    if content.relation is None:
        return None
    kind, _, category = content.relation
    target = next(o.number for o in objects if o.category == category)
    if kind == "sitting on":
        return Relation(kind, next(o.number for o in objects if o.category == content.animal), target)
    actor = next(o.number for o in objects if o.pose == kind)
    return Relation(kind, actor, target)
