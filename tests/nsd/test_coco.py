import json

import numpy as np
import pandas as pd
import pytest
import yaml
from fixtures.unprivileged import nobody, reachable_folder
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

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
        "crowd",
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


def rle(region):
    """Uncompressed run lengths, down the columns; the first run is of zeros."""
    flat = np.concatenate([[False], np.ravel(region, order="F")])
    edges = np.flatnonzero(np.diff(flat, append=not flat[-1]))
    return {"size": list(region.shape), "counts": np.diff(edges, prepend=0).tolist()}


def replace(coco_root, stem, **changes):
    """Change keys of the first annotation of a file."""
    path = coco_root / f"annotations/{stem}.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= changes
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_crowds_and_masks(coco_root, stim_info, compressed):
    """A region in run lengths, which begins outside the crop."""
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[10:20, :32] = True
    segmentation = rle(region)
    if compressed:
        coded = mask.frPyObjects(segmentation, HEIGHT, WIDTH)
        segmentation = {"size": coded["size"], "counts": coded["counts"].decode()}
    box, crowd = [0, 10, 32, 10], 1 if compressed else 0
    replace(coco_root, "instances_train2017", segmentation=segmentation, bbox=box, area=320.0, iscrowd=crowd)
    table = coco.read_objects(coco_root, stim_info, [0])
    assert table.crowd.tolist() == [compressed, False] and table.crowd.dtype == bool
    assert table.area_fraction[0] == pytest.approx(240 / 48**2)


@pytest.mark.parametrize(
    "changes",
    [
        {"segmentation": []},
        {"segmentation": [[]]},
        {"segmentation": [[10.0, 5.0, 22.0, 25.0]]},  # two points, which pycocotools would take for a box
        {"area": 0.0},
        {"area": 0.0, "bbox": [12.0, 5.0, 0.0, 0.0], "segmentation": [[12.0, 5.0] * 4]},
        {"segmentation": [[57.0, 5.0, 58.0, 5.0]], "bbox": [50.0, 5.0, 14.0, 5.0]},  # across the border
    ],
)
def test_objects_without_an_outline_are_left_out(coco_root, stim_info, changes):
    replace(coco_root, "instances_train2017", **changes)
    assert coco.read_objects(coco_root, stim_info, [0]).category.tolist() == ["dog"]


def test_degenerate_polygons_do_not_hide_a_good_one(coco_root, stim_info):
    polygons = [[1.0, 2.0], [], [0.0, 5.0, 20.0, 5.0, 20.0, 15.0, 0.0, 15.0]]
    replace(coco_root, "instances_train2017", segmentation=polygons, bbox=[0.0, 5.0, 20.0, 10.0])
    assert coco.read_objects(coco_root, stim_info, [0]).area_fraction[0] == pytest.approx(120 / 48**2)


def test_annotations_of_other_photographs_do_not_matter(coco_root, stim_info):
    replace(coco_root, "instances_train2017", image_id=123456, category_id=99)
    assert coco.read_objects(coco_root, stim_info, [0]).category.tolist() == ["dog"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"category_id": 99},
            "annotation 1 .*: its category_id is 99, and the file names 2 other categories",
        ),
        ({"bbox": [1, 2]}, r"annotation 1 \(image nsd_id 0\) cannot be read: not enough values"),
        ({"segmentation": {"counts": [5, 7]}}, "annotation 1 .*: it has no 'size'"),
        (
            {"segmentation": {"size": [10, 10], "counts": [100]}},
            "its mask is 10 x 10, the photograph 64 x 48",
        ),
        (
            {"segmentation": {"size": [48, 64], "counts": [5, 9999]}, "bbox": [0, 0, 20, 9]},
            "Invalid RLE mask",
        ),
        ({"area": None}, "annotation 1 .* cannot be read"),
    ],
)
def test_annotations_that_cannot_be_read(coco_root, stim_info, changes, message):
    path = replace(coco_root, "instances_train2017", **changes)
    with pytest.raises(coco.CocoError, match=f"{path}.*{message}.*; take the annotations of 2017 from"):
        coco.read_objects(coco_root, stim_info, [0])


def test_annotations_without_a_key_or_a_size(coco_root, stim_info):
    path = coco_root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    del content["annotations"][0]["area"]
    path.write_text(json.dumps(content))
    with pytest.raises(coco.CocoError, match=r"annotation 1 .*: it has no 'area'"):
        coco.read_objects(coco_root, stim_info, [0])
    del content["images"][0]["height"]
    path.write_text(json.dumps(content))
    with pytest.raises(coco.CocoError, match=r"photograph 500 .*: it has no 'height'"):
        coco.read_objects(coco_root, stim_info, [0])


@pytest.mark.parametrize("caption", ["", "  \n", None])
def test_a_picture_without_captions_is_named(coco_root, stim_info, caption):
    path = coco_root / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][5]["caption"] = caption
    if caption is None:
        del content["annotations"][5]
    path.write_text(json.dumps(content))
    message = f"nsd_id 1 is photograph 501, of which {path} holds no caption; take the annotations"
    with pytest.raises(coco.CocoError, match=message):
        coco.read_captions(coco_root, stim_info, [0, 1])
    assert len(coco.read_captions(coco_root, stim_info, [0])) == 5


def test_blank_captions_are_left_out(coco_root, stim_info):
    replace(coco_root, "captions_train2017", caption=" ")
    assert coco.read_captions(coco_root, stim_info, [0]).caption[0] == "train2017 1"


def test_objects_in_place_of_captions(coco_root, stim_info):
    folder = coco_root / "annotations"
    (folder / "captions_train2017.json").write_text((folder / "instances_train2017.json").read_text())
    with pytest.raises(coco.CocoError, match=r"captions_train2017\.json holds no caption"):
        coco.read_captions(coco_root, stim_info, [0])


def test_annotations_that_may_not_be_read(stim_info):
    with reachable_folder() as folder:
        path = folder / "annotations/captions_train2017.json"
        path.parent.mkdir(mode=0o755)
        path.write_text("{}")
        path.chmod(0)
        with nobody(), pytest.raises(coco.CocoError, match=r"may not be read.*change its permissions"):
            coco.read_captions(folder, stim_info, [0])


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
    ids = stimuli.nsd_id.to_numpy()
    captions = coco.read_captions(phantom_tree / "coco", info, ids)
    objects = coco.read_objects(phantom_tree / "coco", info, ids)
    assert captions.nsd_id.unique().tolist() == ids.tolist()
    assert objects.area_fraction.between(0, 1).all() and (objects.area_fraction > 0).all()
    people = objects[objects.category == "person"].groupby("nsd_id").size().reindex(ids, fill_value=0)
    assert people.sum() > 0 and objects.supercategory.nunique() > 2
    spoilt = yaml.safe_load((phantom_tree / "truth/planted.yml").read_text())["coco"]
    assert objects.crowd.sum() == sum(len(split["crowd"]) for split in spoilt.values()) > 10
    n_written = 0
    for split in spoilt:
        written = json.loads((phantom_tree / f"coco/annotations/instances_{split}.json").read_text())
        n_written += len(written["annotations"])
    gone = ("no_polygon", "two_points", "no_area", "no_picture")
    assert len(objects) == n_written - sum(len(split[kind]) for split in spoilt.values() for kind in gone)
