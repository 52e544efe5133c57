"""True answers to the paper's ten instructions, from the content of a scene: what the tiny models learn.

Every answer follows one template and lists things in the order of captions: exactly one wording is right.
"""

from nsd_phantom.arrangement import table_foods
from nsd_phantom.backdrops import INDOOR, OUTDOOR
from nsd_phantom.captions import NUMBERS, PLACE_PHRASES, a, captions, counted, listed, person_phrase, things
from nsd_phantom.content import CLOTHES, FOODS, FURNITURE, FURS, KINDS, RIDES, VEHICLES
from nsd_phantom.drawing import COLOURS
from nsd_phantom.scenes import Scene

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


def _people_answer(scene: Scene) -> str:
    people = scene.content.people
    return f"yes, there is {listed(map(person_phrase, people))}" if people else "no, there are no people"


def _food_answer(scene: Scene) -> str:
    foods = scene.content.foods
    return f"there is {listed(map(a, foods))}" if foods else "there are no food items visible"


def _animal_answer(scene: Scene) -> str:
    count = scene.content.n_animals
    noun = "animal" if count == 1 else "animals"
    return f"there {'is' if count == 1 else 'are'} {NUMBERS[count]} {noun} in the image"


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
    order = things(scene)
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
        "VQ1": listed(things(scene)),
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
    places = [*PLACE_PHRASES.values(), *_BACKGROUNDS.values(), *_NATURAL_AREAS.values(), *INDOOR, *OUTDOOR]
    templates = (
        "a picture of, there is are, a drawing with a sign, an indoor outdoor environment, the foreground "
        "shows the background shows, snow landscape, yes there are no people, no food items visible, no "
        "interaction or animals here, the most dominant color is, one two three animals in the image, "
        "holding riding sitting "
        "on, no area shows show a natural outdoor scene, man in and"
    )
    return [*nouns, *plurals, *places, *COLOURS, *CLOTHES, templates]
