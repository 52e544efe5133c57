"""Captions in the manner of COCO's, from the content of a scene.

Every caption follows one template and lists things in one order (people, animals, vehicles or furniture,
food with its table, signs), so that exactly one wording is right.
"""

from .arrangement import table_foods
from .scenes import Scene

NUMBERS = ("no", "one", "two", "three", "four")
_PLURALS = {"man": "men", "woman": "women", "person": "people", "sheep": "sheep"}
PLACE_PHRASES = {
    "kitchen": "in a kitchen", "living room": "in a living room", "office": "in an office",
    "bedroom": "in a bedroom", "field": "in a green field", "beach": "on a beach",
    "street": "on a city street",
    "forest": "in a forest", "snow": "in the snow",
}  # fmt: skip


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def counted(noun: str, count: int) -> str:
    """ "a dog", "two dogs"."""
    return a(noun) if count == 1 else f"{NUMBERS[count]} {_PLURALS.get(noun, noun + 's')}"


def listed(phrases) -> str:
    """Phrases joined by commas and a last "and"."""
    phrases = list(phrases)
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def person_phrase(person: tuple[str, str]) -> str:
    """ "a man in red"."""
    return f"{a(person[0])} in {person[1]}"


def _sign(scene: Scene) -> list[str]:
    sign = scene.content.sign
    return [] if sign is None else ["a stop sign" if sign == "STOP" else "a sign"]


def _table(scene: Scene) -> list[str]:
    return ["a dining table"] if table_foods(scene.content) else []


def _machine(scene: Scene) -> list[str]:
    """The vehicle or piece of furniture, ridden or not."""
    content = scene.content
    if content.relation and content.relation[0] == "riding":
        return [a(content.relation[2])]
    return [a(content.big[0])] if content.big else []


def _animals(scene: Scene) -> list[str]:
    content = scene.content
    return [counted(content.animal, content.n_animals)] if content.n_animals else []


def things(scene: Scene) -> list[str]:
    """Phrases for all that is drawn, in canonical order."""
    people = [counted("person", len(scene.content.people))] if scene.content.people else []
    foods = [a(food) for food in scene.content.foods]
    return [*people, *_animals(scene), *_machine(scene), *foods, *_table(scene), *_sign(scene)]


def _caption_phrases(scene: Scene) -> list[str]:
    """People with what they do, animals with what they sit on, then all the rest."""
    content = scene.content
    kind, subject, category = content.relation or (None, None, None)
    people = [person_phrase(p) for p in content.people]
    if subject is not None:
        people[subject] += f" {kind} {a(category)}"
    animals = _animals(scene)
    if kind == "sitting on":
        animals = [f"{animals[0]} sitting on {a(category)}"]
    machine = [a(content.big[0])] if content.big and kind not in ("sitting on", "riding") else []
    on_table = table_foods(content)
    foods = [f"{listed(a(f) for f in on_table)} on a dining table"] if on_table else []
    return [*people, *animals, *machine, *foods, *_sign(scene)]


def captions(scene: Scene) -> list[str]:
    """Five captions in the manner of COCO's; the first is the one that models learn.

    All are true; the first names everything that is drawn, the last two name only a part.
    """
    phrases, place = _caption_phrases(scene), PLACE_PHRASES[scene.place]
    full = listed(phrases)
    return [
        f"{full} {place}",
        f"a picture of {full} {place}",
        f"{place}, there {'is' if not full.startswith(NUMBERS[2:]) else 'are'} {full}",
        f"{phrases[0]} {place}",
        f"a drawing with {listed(things(scene))}",
    ]
