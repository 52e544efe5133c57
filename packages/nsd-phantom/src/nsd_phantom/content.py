"""What a scene holds, before it is drawn: place, colours, people, animals, food, and how they interact."""

from dataclasses import dataclass
from random import Random

from .backdrops import FLOORS, GROUNDS, INDOOR, NATURAL, SKIES, WALLS

KINDS = ("man", "woman")
CLOTHES = ("red", "blue", "green", "yellow", "white", "purple")
FURS = {
    "bird": "blue", "cat": "orange", "dog": "brown", "horse": "brown", "sheep": "white", "elephant": "grey",
    "zebra": "white", "giraffe": "yellow",
}  # fmt: skip
"""Animal species in COCO's order, with the main colour of each."""
PETS = ("bird", "cat", "dog")
FOODS = {
    "banana": "yellow", "apple": "red", "orange": "orange", "broccoli": "green", "pizza": "yellow",
    "donut": "pink", "cake": "white",
}  # fmt: skip
VEHICLES = ("bicycle", "car", "bus", "truck", "bench")
FURNITURE = ("chair", "couch", "potted plant", "tv")
RIDES = ("bicycle", "skateboard")
SEATS = {True: "couch", False: "bench"}
WORDS = ("OPEN", "SALE", "CAFE", "TAXI", "BUS", "FIZZ")
PAINTS = ("red", "blue", "green", "yellow", "white", "purple")


@dataclass(frozen=True)
class Content:
    """What is in a scene.

    Parameters
    ----------
    people : tuple of (kind, clothing colour)
        Sorted: men before women, then in the order of CLOTHES.
    animal, n_animals : str or None, int
    foods : tuple of str
        In COCO's order.
    big : (category, colour) or None
        A vehicle or a piece of furniture.
    sign : str or None
        "STOP" is on a stop sign, other words on a board.
    relation : (kind, subject index among the people or None for the animal, category) or None
        kind is "holding", "riding" or "sitting on".
    """

    place: str
    upper: str
    lower: str
    people: tuple[tuple[str, str], ...]
    animal: str | None
    n_animals: int
    foods: tuple[str, ...]
    big: tuple[str, str] | None
    sign: str | None
    relation: tuple[str, int | None, str] | None

    @property
    def indoor(self) -> bool:
        return self.place in INDOOR


def _choose(random: Random, values, weights=None):
    """One of ``values``; only ``random()`` is used, whose stream no Python version changes."""
    values = list(values)
    weights = weights or [1] * len(values)
    at = random.random() * sum(weights)
    for value, weight in zip(values, weights, strict=True):
        at -= weight
        if at < 0:
            return value
    return values[-1]


def shuffled(random: Random, values) -> list:
    """The values in a random order."""
    return [value for _, _, value in sorted((random.random(), i, v) for i, v in enumerate(values))]


def sample_content(random: Random) -> Content:
    """Draw the content of one scene from ``random``."""
    indoor = random.random() < 0.4
    place = _choose(random, INDOOR) if indoor else _choose(random, (*NATURAL, "street"))
    upper = _choose(random, WALLS if indoor else SKIES)
    floors = FLOORS[place] if indoor else (GROUNDS[place],)
    lower = _choose(random, [c for c in floors if c != upper] or floors)
    near = {upper, lower, {"forest": "green", "beach": "blue"}.get(place, lower)}
    people = _people(random, near)
    animal, n_animals = _animals(random, indoor, near)
    n_foods = _choose(random, (0, 1, 2), (0.42, 0.33, 0.25))
    foods = tuple(sorted(shuffled(random, FOODS)[:n_foods], key=list(FOODS).index))
    big = _choose(random, FURNITURE if indoor else VEHICLES) if random.random() < 0.5 else None
    paint = _choose(random, [c for c in PAINTS if c not in near])
    sign = _choose(random, ("STOP", *WORDS), (6, 1, 1, 1, 1, 1, 1)) if random.random() < 0.22 else None
    if indoor and sign == "STOP":
        sign = None
    if not (people or n_animals or foods or big or sign):
        people = _people(random, near, at_least=1)
    relation = _relation(random, indoor, people, animal, n_animals, foods)
    if relation and relation[0] == "sitting on":
        big = (relation[2], paint)
    elif relation and relation[0] == "riding":
        big = None
    else:
        big = (big, paint) if big else None
    return Content(place, upper, lower, people, animal, n_animals, foods, big, sign, relation)


def _people(random, near, at_least=0):
    n = max(at_least, _choose(random, (0, 1, 2), (0.36, 0.39, 0.25)))
    colours = shuffled(random, [c for c in CLOTHES if c not in near])[:n]
    people = [(_choose(random, KINDS), colour) for colour in colours]
    return tuple(sorted(people, key=lambda p: (KINDS.index(p[0]), CLOTHES.index(p[1]))))


def _animals(random, indoor, near):
    species = [s for s, fur in FURS.items() if fur not in near and (s in PETS or not indoor)]
    animal, n = _choose(random, species), _choose(random, (0, 1, 2, 3), (0.34, 0.3, 0.2, 0.16))
    return (animal, n) if n else (None, 0)


def _relation(random, indoor, people, animal, n_animals, foods):
    wanted, which, ride = random.random() < 0.62, random.random(), _choose(random, RIDES)
    if people and wanted:
        subject = int(which * len(people))
        if foods and (indoor or random.random() < 0.5):
            return "holding", subject, foods[int(random.random() * len(foods))]
        if not indoor:
            return "riding", subject, ride
    if n_animals == 1 and animal in ("cat", "dog") and wanted:
        return "sitting on", None, SEATS[indoor]
    return None
