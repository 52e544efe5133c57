"""True answers to the paper's ten instructions, and captions, from the content of a scene.

Every answer follows one template and lists things in one order (people, animals, vehicles or furniture,
food with its table, signs), so that exactly one wording is right.
"""

from .arrangement import table_foods
from .backdrops import INDOOR, OUTDOOR
from .content import CLOTHES, FOODS, FURNITURE, FURS, KINDS, RIDES, VEHICLES
from .drawing import COLOURS
from .scenes import Scene

_NUMBERS = ("no", "one", "two", "three", "four")
_PLURALS = {"man": "men", "woman": "women", "person": "people", "sheep": "sheep"}
_PLACE_PHRASES = {
    "kitchen": "in a kitchen", "living room": "in a living room", "office": "in an office",
    "bedroom": "in a bedroom", "field": "in a green field", "beach": "on a beach",
    "street": "on a city street",
    "forest": "in a forest", "snow": "in the snow",
}  # fmt: skip
_BACKGROUNDS = {
    "kitchen": "kitchen cupboards", "living room": "a living room wall", "office": "an office wall",
    "bedroom": "a bedroom window", "field": "green hills", "beach": "the sea", "street": "buildings",
    "forest": "trees", "snow": "snowy mountains",
}  # fmt: skip
_NATURAL_AREAS = {
    "field": "the green field and the hills", "beach": "the sand and the sea",
    "forest": "the trees of the forest",
    "snow": "the snow and the mountains",
}  # fmt: skip


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def counted(noun: str, count: int) -> str:
    """ "a dog", "two dogs"."""
    return a(noun) if count == 1 else f"{_NUMBERS[count]} {_PLURALS.get(noun, noun + 's')}"


def listed(phrases) -> str:
    """Phrases joined by commas and a last "and"."""
    phrases = list(phrases)
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _person(person: tuple[str, str]) -> str:
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


def _things(scene: Scene) -> list[str]:
    people = [counted("person", len(scene.content.people))] if scene.content.people else []
    foods = [a(food) for food in scene.content.foods]
    return [*people, *_animals(scene), *_machine(scene), *foods, *_table(scene), *_sign(scene)]


def _caption_phrases(scene: Scene) -> list[str]:
    """People with what they do, animals with what they sit on, then all the rest."""
    content = scene.content
    kind, subject, category = content.relation or (None, None, None)
    people = [_person(p) for p in content.people]
    if subject is not None:
        people[subject] += f" {kind} {a(category)}"
    animals = _animals(scene)
    if kind == "sitting on":
        animals = [f"{animals[0]} sitting on {a(category)}"]
    machine = [a(content.big[0])] if content.big and kind not in ("sitting on", "riding") else []
    on_table = table_foods(content)
    foods = [f"{listed(a(f) for f in on_table)} on a dining table"] if on_table else []
    return [*people, *animals, *machine, *foods, *_sign(scene)]


def _people_answer(scene: Scene) -> str:
    people = scene.content.people
    return f"yes, there is {listed(map(_person, people))}" if people else "no, there are no people"


def _food_answer(scene: Scene) -> str:
    foods = scene.content.foods
    return f"there is {listed(map(a, foods))}" if foods else "there are no food items visible"


def _animal_answer(scene: Scene) -> str:
    count = scene.content.n_animals
    noun = "animal" if count == 1 else "animals"
    return f"there {'is' if count == 1 else 'are'} {_NUMBERS[count]} {noun} in the image"


def _foreground(scene: Scene) -> list[str]:
    front = [thing for thing in scene.objects if thing.foreground]
    on_table = {f for f in table_foods(scene.content)}
    people = sum(thing.kind is not None for thing in front)
    phrases = [counted("person", people)] if people else []
    held = [] if people == 0 else [f for f in scene.content.foods if f not in on_table]
    for thing in front:
        name = thing.category
        if name in ("person", *on_table, *held):
            continue
        phrase = counted(name, sum(other.category == name for other in front))
        if phrase not in phrases:
            phrases.append(phrase)
    order = _things(scene)
    return sorted(phrases, key=lambda p: order.index(p) if p in order else -1)


def _relation_answer(scene: Scene) -> str:
    content = scene.content
    if content.relation is None:
        alive = content.people or content.n_animals
        return "there is no interaction" if alive else "there are no people or animals here"
    kind, subject, category = content.relation
    actor = content.animal if subject is None else content.people[subject][0]
    return f"{a(actor)} is {kind} {a(category)}"


def answers(scene: Scene) -> dict[str, str]:
    """One true answer to each of the paper's ten instructions.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    dict
        Instruction id (``tables.INSTRUCTIONS``) to answer, in lower case and without a full stop.
    """
    place = scene.place
    where = "an indoor" if scene.indoor else "an outdoor"
    noun = {"snow": "snow landscape", "street": "city street"}.get(place, place)
    area = _NATURAL_AREAS.get(place)
    front, back = listed(_foreground(scene)), _BACKGROUNDS[place]
    return {
        "IC": captions(scene)[0],
        "VQ1": listed(_things(scene)),
        "VQ2": _people_answer(scene),
        "VQ3": f"the foreground shows {front}, the background shows {back}",
        "VR": _relation_answer(scene),
        "CR": f"{where} environment, {a(noun)}"
        if place != "snow"
        else f"{where} environment, a snow landscape",
        "IU1": f"the most dominant color is {scene.dominant_colour}",
        "IU2": _food_answer(scene),
        "IU3": _animal_answer(scene),
        "SR": f"{area} show a natural outdoor scene" if area else "no area shows a natural outdoor scene",
    }


def captions(scene: Scene) -> list[str]:
    """Five captions in the manner of COCO's; the first is the one that models learn.

    All are true; the first names everything that is drawn, the last two name only a part.
    """
    phrases, place = _caption_phrases(scene), _PLACE_PHRASES[scene.place]
    full = listed(phrases)
    return [
        f"{full} {place}",
        f"a picture of {full} {place}",
        f"{place}, there {'is' if not full.startswith(_NUMBERS[2:]) else 'are'} {full}",
        f"{phrases[0]} {place}",
        f"a drawing with {listed(_things(scene))}",
    ]


def vocabulary() -> list[str]:
    """Phrases that hold every word of which answers and captions are made."""
    nouns = [
        *KINDS,
        "person",
        *FURS,
        *FOODS,
        *VEHICLES,
        *FURNITURE,
        *RIDES,
        "couch",
        "dining table",
        "stop sign",
    ]
    plurals = [counted(noun, 2) for noun in nouns]
    places = [*_PLACE_PHRASES.values(), *_BACKGROUNDS.values(), *_NATURAL_AREAS.values(), *INDOOR, *OUTDOOR]
    templates = (
        "a picture of, there is are, a drawing with a sign, an indoor outdoor environment, the foreground "
        "shows the background shows, snow landscape, yes there are no people, no food items visible, no "
        "interaction or animals here, the most dominant color is, one two three animals in the image, "
        "holding riding sitting "
        "on, no area shows show a natural outdoor scene, man in and"
    )
    return [*nouns, *plurals, *places, *COLOURS, *CLOTHES, templates]
