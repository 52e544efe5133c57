import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign_utils import nsd
from brainalign_utils.nsd import coco

WIDTH, HEIGHT = 64, 48
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
]


def rectangle(annotation_id, image_id, category_id, x, y, w, h):
    return {
        "id": annotation_id, "image_id": image_id, "category_id": category_id, "bbox": [x, y, w, h],
        "area": float(w * h), "iscrowd": 0, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
    }  # fmt: skip


@pytest.fixture
def coco_root(tmp_path):
    """Photographs 64 x 48; the middle 48 x 48 is the picture (cut: 8 left, 8 right)."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    objects = {
        "train2017": [
            rectangle(1, 500, 1, 10, 5, 12, 20),  # inside
            rectangle(2, 500, 18, 0, 10, 20, 10),  # 12 of its 20 columns inside
            rectangle(3, 500, 18, 57, 0, 7, 48),  # outside
        ],
        "val2017": [rectangle(4, 500, 18, 8, 0, 48, 48)],  # same cocoId in the other split
    }
    for split, rows in objects.items():
        images = [{"id": i, "width": WIDTH, "height": HEIGHT} for i in (500, 501)]
        captions = [{"id": k, "image_id": 500, "caption": f"{split} {k} "} for k in range(5)]
        captions.append({"id": 9, "image_id": 501, "caption": "empty road"})
        head = {"images": images, "categories": CATEGORIES}
        (folder / f"instances_{split}.json").write_text(json.dumps({**head, "annotations": rows}))
        (folder / f"captions_{split}.json").write_text(
            json.dumps({"images": images, "annotations": captions})
        )
    return tmp_path


@pytest.fixture
def stim_info():
    table = pd.DataFrame({
        "cocoId": [500, 501, 500, 777],
        "cocoSplit": ["train2017", "train2017", "val2017", "train2017"],
        "cropBox": "(0, 0, 0.125, 0.125)",
    })  # fmt: skip
    return table.rename_axis("nsd_id")


def test_objects_are_cut_to_the_picture(coco_root, stim_info):
    table = coco.read_objects(coco_root, stim_info, [2, 1, 0])
    assert table.nsd_id.tolist() == [2, 0, 0]
    assert table.category.tolist() == ["dog", "person", "dog"]
    assert table.supercategory.tolist() == ["animal", "person", "animal"]
    np.testing.assert_allclose(table.area_fraction, [1, 240 / 48**2, 120 / 48**2])


def test_without_crop_everything_is_there(coco_root, stim_info):
    table = coco.read_objects(coco_root, stim_info.assign(cropBox="(0, 0, 0, 0)"), [0])
    np.testing.assert_allclose(table.area_fraction, np.array([240, 200, 7 * 48]) / (WIDTH * HEIGHT))


def test_captions_follow_the_split(coco_root, stim_info):
    table = coco.read_captions(coco_root, stim_info, [2, 0, 1])
    assert table.nsd_id.tolist() == [2] * 5 + [0] * 5 + [1]
    assert table.caption[0] == "val2017 0" and table.caption[5] == "train2017 0"


def test_nothing_asked_nothing_opened(tmp_path, stim_info):
    table = coco.read_objects(tmp_path, stim_info, [])
    assert len(table) == 0 and table.columns.tolist() == [
        "nsd_id",
        "category",
        "supercategory",
        "area_fraction",
    ]


def test_quiet(coco_root, stim_info, capsys):
    coco.read_captions(coco_root, stim_info, [0])
    assert capsys.readouterr() == ("", "")


def test_missing_file_is_named(coco_root, stim_info):
    (coco_root / "annotations/captions_val2017.json").unlink()
    message = r"captions_val2017.json does not exist; download http://.*zip and unpack"
    with pytest.raises(coco.CocoError, match=message):
        coco.read_captions(coco_root, stim_info, [0, 2])
    assert len(coco.read_captions(coco_root, stim_info, [0])) == 5  # not needed, not asked for


def test_truncated_file(coco_root, stim_info):
    path = coco_root / "annotations/instances_train2017.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(coco.CocoError, match=r"instances_train2017.json is truncated or damaged"):
        coco.read_objects(coco_root, stim_info, [0])


@pytest.mark.parametrize(
    ("nsd_id", "message"),
    [
        (3, "nsd_id 3 is photograph 777 of train2017, which"),
        (4, "nsd_id 4 is not in stim_info, which has 0 to 3"),
    ],
)
def test_picture_that_is_not_there(coco_root, stim_info, nsd_id, message):
    with pytest.raises(coco.CocoError, match=message):
        coco.read_objects(coco_root, stim_info, [nsd_id])


sizes = st.integers(32, 640)


@given(sizes, sizes, st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3))
def test_crop_lies_inside(width, height, top, bottom, left, right):
    x0, y0, x1, y1 = coco.crop_pixels(str((top, bottom, left, right)), width, height)
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height


def test_crop_of_a_landscape_photograph():
    """640 x 480 with 0.125 cut left and right is the 480 x 480 square in the middle."""
    assert coco.crop_pixels("(0, 0, 0.125, 0.125)", 640, 480) == (80, 0, 560, 480)


def test_phantom_files_are_read_by_the_same_code(phantom_tree):
    info = nsd.read_stim_info(phantom_tree / "nsd")
    stimuli = pd.read_parquet(phantom_tree / "truth" / "stimuli.parquet")
    ids = stimuli.nsd_id.to_numpy()[:60]
    captions = coco.read_captions(phantom_tree / "coco", info, ids)
    objects = coco.read_objects(phantom_tree / "coco", info, ids)
    assert captions.nsd_id.unique().tolist() == ids.tolist()
    assert objects.area_fraction.between(0, 1).all() and (objects.area_fraction > 0).all()
    people = objects[objects.category == "person"].groupby("nsd_id").size().reindex(ids, fill_value=0)
    assert people.sum() > 0 and objects.supercategory.nunique() > 2
