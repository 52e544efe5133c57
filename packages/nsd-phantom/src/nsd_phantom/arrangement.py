"""Where things stand: two rows on the ground, the front row being the foreground."""

from dataclasses import dataclass
from random import Random

from .content import Content, shuffled

BACK, FRONT = 0, 1
_BASELINE = (0.61, 0.96)
_MAX_PERSON = (0.47, 0.62)
_N_CELLS = 4


@dataclass(frozen=True)
class Placed:
    """One thing with its place: feet at (x, y) in fractions of the picture from the upper left corner.

    ``role`` is "person", "animal", "food", "table", "big" or "sign"; ``index`` counts within it;
    ``scale`` is the length of a sprite's unit; ``pose`` is a person's.
    """

    role: str
    index: int
    name: str
    x: float
    y: float
    scale: float
    flip: int
    row: int
    pose: str = "standing"


@dataclass(frozen=True)
class _Group:
    name: str
    width: float


def _groups(content: Content) -> list[_Group]:
    """What stands together, with its width in cells; the table comes first because it must be in front."""
    kind = content.relation[0] if content.relation else None
    groups = []
    if table_foods(content):
        groups.append(_Group("table", 2.0))
    if content.people:
        groups.append(_Group("people", len(content.people) + (0.5 if kind in ("holding", "riding") else 0)))
    if content.n_animals and kind != "sitting on":
        groups.append(_Group("animals", content.n_animals))
    if content.big:
        groups.append(_Group("big", 1.0 if content.big[0] in ("chair", "potted plant") else 1.9))
    if content.sign:
        groups.append(_Group("sign", 1.0))
    return groups


def table_foods(content: Content) -> tuple[str, ...]:
    """Food that lies on the table: all but what is held."""
    held = content.relation[2] if content.relation and content.relation[0] == "holding" else None
    return tuple(food for food in content.foods if food != held)


def arrange(content: Content, random: Random) -> list[Placed] | None:
    """Places for all things of a scene, back row first; None when they do not fit."""
    groups = _groups(content)
    rows = ([], [])
    free = [float(_N_CELLS), float(_N_CELLS)]
    fixed = [g for g in groups if g.name == "table"]
    for group in fixed + sorted(
        shuffled(random, [g for g in groups if g not in fixed]), key=lambda g: -g.width
    ):
        row = FRONT if group in fixed or random.random() < 0.5 else BACK
        if free[row] < group.width and group not in fixed:
            row = 1 - row
        if free[row] < group.width:
            return None
        free[row] -= group.width
        rows[row].append(group)
    if not rows[FRONT]:
        rows = ([], rows[BACK])
    placed = []
    for row in (BACK, FRONT):
        placed += _place_row(content, random, row, shuffled(random, rows[row]))
    return placed


def _place_row(content, random, row, groups):
    used = sum(group.width for group in groups)
    pitch = 1 / max(used, 2.6 + 1.0 * random.random())
    gaps = [random.random() for _ in range(len(groups) + 1)]
    slack = (1 - used * pitch) / sum(gaps)
    left, placed = gaps[0] * slack, []
    for group, gap in zip(groups, gaps[1:], strict=True):
        y = _BASELINE[row] + 0.03 * (random.random() - 0.5)
        placed += _PLACERS[group.name](content, random, row, left, y, pitch, group.width)
        left += group.width * pitch + gap * slack
    return placed


def _flip(random):
    return 1 if random.random() < 0.5 else -1


def _place_people(content, random, row, left, y, pitch, width):
    kind, subject, category = content.relation or (None, None, None)
    height = min(1.85 * pitch, _MAX_PERSON[row]) * (0.92 + 0.08 * random.random())
    placed = []
    for index in shuffled(random, range(len(content.people))):
        acting = kind in ("holding", "riding") and index == subject
        cells = 1.5 if acting else 1.0
        x, flip = left + 0.5 * cells * pitch, _flip(random)
        if acting and kind == "riding":
            placed += _rider(index, category, x, y, height, pitch, flip, row)
        elif acting:
            placed.append(
                Placed("person", index, "person", x - flip * 0.2 * pitch, y, height, flip, row, "holding")
            )
            at = x + flip * (0.33 * height - 0.05 * pitch)
            food = content.foods.index(category)
            placed.append(Placed("food", food, category, at, y - 0.55 * height, 0.62 * pitch, 1, row))
        else:
            placed.append(Placed("person", index, "person", x, y, height, flip, row))
        left += cells * pitch
    return placed


def _rider(index, category, x, y, height, pitch, flip, row):
    width = (1.35 if category == "bicycle" else 1.2) * pitch
    lift = 0.2 * width
    person = Placed("person", index, "person", x, y - lift, min(height, 1.6 * pitch), flip, row, "riding")
    return [person, Placed("big", 0, category, x, y, width, flip, row)]


def _place_animals(content, random, row, left, y, pitch, width):
    placed = []
    for index in range(content.n_animals):
        scale = pitch * (0.84 + 0.1 * random.random())
        scale = min(scale, 0.26 + 0.06 * row) if content.animal == "giraffe" else scale
        dy = 0.02 * (random.random() - 0.5)
        placed.append(
            Placed(
                "animal",
                index,
                content.animal,
                left + (index + 0.5) * pitch,
                y + dy,
                scale,
                _flip(random),
                row,
            )
        )
    return placed


def _place_big(content, random, row, left, y, pitch, width):
    name = content.big[0]
    x, flip = left + 0.5 * width * pitch, _flip(random)
    scale = {"chair": 1.2, "potted plant": 1.15, "tv": 1.45, "bicycle": 1.6}.get(name, 1.78) * pitch
    placed = [Placed("big", 0, name, x, y, scale, flip, row)]
    if content.relation and content.relation[0] == "sitting on":
        lift = 0.24 * scale
        placed.append(Placed("animal", 0, content.animal, x, y - lift, 0.9 * pitch, _flip(random), row))
    return placed


def _place_sign(content, random, row, left, y, pitch, width):
    name = "stop sign" if content.sign == "STOP" else "sign"
    return [
        Placed(
            "sign", 0, name, left + 0.5 * pitch, y, (0.98 if name == "stop sign" else 0.92) * pitch, 1, row
        )
    ]


def _place_table(content, random, row, left, y, pitch, width):
    x, scale = left + pitch, 1.9 * pitch
    placed = [Placed("table", 0, "dining table", x, y, scale, 1, row)]
    foods = shuffled(random, table_foods(content))
    for k, food in enumerate(foods):
        at = x + (k - (len(foods) - 1) / 2) * 0.85 * pitch
        top = y - 0.24 * scale
        placed.append(Placed("food", content.foods.index(food), food, at, top, 0.74 * pitch, 1, row))
    return placed


_PLACERS = {
    "people": _place_people, "animals": _place_animals, "big": _place_big, "sign": _place_sign,
    "table": _place_table,
}  # fmt: skip
