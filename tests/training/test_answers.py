"""The answers that the tiny models learn are true of what is drawn."""

from collections import Counter

import numpy as np
import pytest

from nsd_phantom import scenes
from nsd_phantom.instructions import read_instructions
from training.answers import answers


@pytest.fixture(scope="module")
def drawings():
    return [scenes.draw_scene(seed, 212, with_maps=True) for seed in range(40)]


@pytest.fixture(scope="module")
def many_scenes():
    return [scenes.draw_scene(seed, 96)[1] for seed in range(700)]


def test_counts_agree_with_the_object_map(drawings):
    words = ("no", "one", "two", "three")
    for drawing in drawings:
        visible = set(np.unique(drawing.object_map)) - {0}
        scene = drawing.scene
        assert visible == {o.number for o in scene.objects}
        animals = sum(o.supercategory == "animal" for o in scene.objects if o.number in visible)
        assert answers(scene)["IU3"].split()[2] == words[animals]
        people = [o for o in scene.objects if o.category == "person"]
        assert answers(scene)["VQ2"].startswith("yes" if people else "no")
        for o in people:
            assert f"{o.kind} in {o.colour}" in answers(scene)["VQ2"]
        foods = {o.category for o in scene.objects if o.supercategory == "food"}
        for food in foods:
            assert food in answers(scene)["IU2"]
        assert bool(foods) == ("no food" not in answers(scene)["IU2"])


def test_relation_joins_the_right_things(many_scenes):
    kinds = Counter()
    for scene in many_scenes:
        if scene.relation is None:
            continue
        by_number = {o.number: o for o in scene.objects}
        subject, target = by_number[scene.relation.subject], by_number[scene.relation.target]
        answer = answers(scene)["VR"]
        assert answer.endswith(target.category) and scene.relation.kind in answer
        assert (subject.kind or subject.category) in answer
        kinds[scene.relation.kind] += 1
    assert min(kinds.values()) > 10 and set(kinds) == {"holding", "riding", "sitting on"}


def test_no_answer_dominates(many_scenes):
    table = {id: Counter() for id in read_instructions().texts}
    for scene in many_scenes:
        for instruction, answer in answers(scene).items():
            table[instruction][answer] += 1
    for instruction, counts in table.items():
        assert counts.most_common(1)[0][1] < 0.6 * len(many_scenes), instruction
        assert len(counts) >= 4
