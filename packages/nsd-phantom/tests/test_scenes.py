"""Scenes: the truth that is written down is the truth that is drawn."""

import gzip
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from nsd_phantom import drawing as drawing_module
from nsd_phantom import scenes
from nsd_phantom.captions import captions
from nsd_phantom.coco import coco_annotations, spoil
from nsd_phantom.drawing import COLOURS, colour_shares

SEEDS = range(40)


@pytest.fixture(scope="module")
def drawings():
    return [scenes.draw_scene(seed, 212, with_maps=True) for seed in SEEDS]


@pytest.fixture(scope="module")
def many_scenes():
    return [scenes.draw_scene(seed, 96)[1] for seed in range(700)]


def test_same_seed_same_bytes():
    first = scenes.draw_scene(7, 425, with_maps=True)
    again = scenes.draw_scene(7, 425, with_maps=True)
    assert first.image.shape == (425, 425, 3) and first.image.dtype == np.uint8
    assert first.object_map.shape == first.part_map.shape == (425, 425)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.object_map, again.object_map)
    assert first.scene == again.scene
    image, scene = scenes.draw_scene(7, 425)
    np.testing.assert_array_equal(image, first.image)
    assert scene == first.scene


def test_different_seeds_differ(drawings):
    assert len({d.image.tobytes() for d in drawings}) == len(drawings)


def test_seed_ranges_never_meet():
    ranges = (scenes.STIMULUS_SEEDS, scenes.HELD_OUT_SEEDS, scenes.TRAINING_SEEDS)
    for first, second in itertools.pairwise(ranges):
        assert first.stop <= second.start
    assert scenes.stimulus_seed(72_999, 3) in scenes.STIMULUS_SEEDS
    assert scenes.stimulus_seed(5, 0) != scenes.stimulus_seed(5, 1)


@pytest.mark.parametrize(
    "call, expectation",
    [
        (lambda: scenes.draw_scene(-1), "seed -1 and size 425"),
        (lambda: scenes.draw_scene(0, 8), "seed 0 and size 8"),
        (lambda: scenes.stimulus_seed(73_000), "nsd_id 73000 with seed 0 has no scene"),
        (lambda: scenes.stimulus_seed(0, 50), "with seed 50 has no scene; take 0 to 72999 and 0 to 12"),
    ],
)
def test_bad_arguments(call, expectation):
    with pytest.raises(ValueError, match=expectation):
        call()


def test_dominant_colour_is_the_most_frequent_one(drawings):
    shades = [(name, rgb) for name, rgb in COLOURS.items()]
    shades += [(name, rgb) for name, more in drawing_module._MORE_SHADES.items() for rgb in more]
    table = np.array([rgb for _, rgb in shades], dtype=float)
    for drawing in drawings:
        shares = colour_shares(drawing.image)
        assert sum(shares.values()) == pytest.approx(1)
        assert max(shares, key=shares.get) == drawing.scene.dominant_colour
        # each pixel value compared with each shade, without the table of colours that is cut to 5 bits
        values, counts = np.unique(drawing.image.reshape(-1, 3), axis=0, return_counts=True)
        nearest = ((values[:, None] - table) ** 2).sum(2).argmin(1)
        plain = Counter()
        for index, count in zip(nearest, counts, strict=True):
            plain[shades[index][0]] += count
        assert plain.most_common(1)[0][0] == drawing.scene.dominant_colour


def test_boxes_areas_and_outlines_are_those_of_the_map(drawings):
    for drawing in drawings:
        for thing in drawing.scene.objects:
            mask = drawing.object_map == thing.number
            x, y, width, height = thing.bbox
            assert thing.area == mask.sum() >= scenes.MIN_VISIBLE * mask.size
            assert mask[y : y + height, x : x + width].sum() == thing.area
            assert mask[y].any() and mask[y + height - 1].any()
            assert mask[:, x].any() and mask[:, x + width - 1].any()
            xs, ys = np.array(thing.outline[::2]), np.array(thing.outline[1::2])
            assert xs.min() >= x and xs.max() <= x + width and ys.min() >= y and ys.max() <= y + height


def test_clothing_colour_is_in_the_person(drawings):
    seen = 0
    for drawing in drawings:
        for thing in drawing.scene.objects:
            if thing.kind:
                pixels = drawing.image[drawing.object_map == thing.number]
                assert colour_shares(pixels[None])[thing.colour] > 0.1
                seen += 1
    assert seen > 10


def test_parts_lie_on_their_objects(drawings):
    faces = texts = 0
    for drawing in drawings:
        by_number = {o.number: o for o in drawing.scene.objects}
        for part, category in ((scenes.PARTS["face"], {"person"}), (scenes.PARTS["text"], None)):
            numbers = set(np.unique(drawing.object_map[drawing.part_map == part]))
            names = {by_number[n].category for n in numbers}
            assert names <= (category or {"stop sign", "sign", "tv"})
            faces += part == scenes.PARTS["face"] and bool(numbers)
            texts += part == scenes.PARTS["text"] and bool(numbers)
        assert (drawing.scene.text is not None) == (scenes.PARTS["text"] in drawing.part_map)
    assert faces > 10 and texts > 3


def test_first_caption_names_everything(many_scenes):
    for scene in many_scenes:
        caption = captions(scene)[0]
        for thing in scene.objects:
            assert (thing.kind or thing.category) in caption
        assert len(captions(scene)) == 5


def test_relation_joins_the_right_things(many_scenes):
    kinds = Counter()
    for scene in many_scenes:
        if scene.relation is None:
            continue
        by_number = {o.number: o for o in scene.objects}
        subject, target = by_number[scene.relation.subject], by_number[scene.relation.target]
        kind, _, category = scene.content.relation
        assert (kind, category) == (scene.relation.kind, target.category)
        assert subject.pose == kind if subject.kind else kind == "sitting on"
        kinds[kind] += 1
    assert min(kinds.values()) > 10 and set(kinds) == {"holding", "riding", "sitting on"}


def test_everything_in_a_scene_is_visible(drawings):
    for drawing in drawings:
        visible = set(np.unique(drawing.object_map)) - {0}
        assert visible == {o.number for o in drawing.scene.objects}


def test_annotations_load_in_pycocotools(drawings, tmp_path, capsys):
    pictures = [d.scene for d in drawings]
    ids = [9_000 + 3 * i for i in range(len(pictures))]
    instances, texts = coco_annotations(pictures, ids, n_captions=4)
    for name, content in (("instances", instances), ("captions", texts)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    coco, captioned = COCO(tmp_path / "instances.json"), COCO(tmp_path / "captions.json")
    capsys.readouterr()
    assert len(coco.getCatIds()) == 80
    assert coco.getCatIds(catNms=["zebra"]) == [24] and coco.getCatIds(catNms=["toothbrush"]) == [90]
    for image_id, drawing in zip(ids, drawings, strict=True):
        expected = sorted(o.category_id for o in drawing.scene.objects if o.category_id)
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert sorted(r["category_id"] for r in rows) == expected
        assert len(captioned.getAnnIds(imgIds=[image_id])) == 4
        for row in rows:
            mask = coco.annToMask(row)
            assert mask.shape == drawing.object_map.shape
            assert mask.sum() > 0.5 * row["area"]


def test_some_annotations_are_not_clean(drawings):
    pictures = [d.scene for d in drawings]
    clean, _ = coco_annotations(pictures, list(range(1, len(pictures) + 1)))
    instances, _ = coco_annotations(pictures, list(range(1, len(pictures) + 1)))
    spoilt = spoil(instances)
    rows = {row["id"]: row for row in instances["annotations"]}
    was = {row["id"]: row for row in clean["annotations"]}
    assert all(spoilt.values()) and len(rows) == len(instances["annotations"])
    for kind in ("mask", "crowd"):
        for row in (rows[number] for number in spoilt[kind]):
            coded = coco_mask.frPyObjects(row["segmentation"], *row["segmentation"]["size"])
            region = coco_mask.decode(coded)
            assert row["iscrowd"] == (kind == "crowd") and 0.5 * row["area"] < region.sum() < 2 * row["area"]
    assert all(rows[number]["segmentation"] == [] for number in spoilt["no_polygon"])
    assert all(len(rows[number]["segmentation"][0]) == 4 for number in spoilt["two_points"])
    assert all(rows[number]["area"] == 0 for number in spoilt["no_area"])
    assert rows[spoilt["no_picture"][0]]["image_id"] not in range(len(pictures) + 1)
    touched = {number for numbers in spoilt.values() for number in numbers}
    assert all(row == was[number] for number, row in rows.items() if number not in touched)


def test_annotations_refuse_repeated_ids(many_scenes):
    with pytest.raises(ValueError, match="2 scenes with 2 image_ids of which 1 are distinct"):
        coco_annotations(many_scenes[:2], [5, 5])


def test_pictures_compress_well():
    sizes = [len(gzip.compress(scenes.draw_scene(seed)[0].tobytes(), 4)) for seed in range(8)]
    assert np.mean(sizes) < 40_000
