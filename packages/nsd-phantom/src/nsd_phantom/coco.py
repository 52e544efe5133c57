"""COCO-format annotations of drawn scenes, as ``pycocotools`` loads them."""

import numpy as np
from PIL import Image, ImageDraw

from .captions import captions
from .coco_categories import CATEGORIES
from .scenes import Scene

_INFO = {"description": "Phantom scenes: drawn pictures, no photographs", "version": "1", "year": 2025}
_LICENSES = [{"id": 0, "name": "MIT", "url": ""}]


def coco_annotations(scenes: list[Scene], image_ids: list[int], n_captions: int = 5) -> tuple[dict, dict]:
    """What COCO's ``instances_*.json`` and ``captions_*.json`` would hold for these pictures.

    Parameters
    ----------
    scenes : list of Scene
    image_ids : list of int
        COCO ids, one per scene and without repeats.
    n_captions : int
        Captions per picture, 1 to 5.

    Returns
    -------
    instances, captions : dict
        Boxes and areas are in pixels of the drawn picture and cover what is visible.  Written boards have no
        COCO category and do not appear.

    Raises
    ------
    ValueError
        If the lengths differ or an id appears twice.
    """
    if len(scenes) != len(image_ids) or len(set(image_ids)) != len(image_ids):
        raise ValueError(
            f"{len(scenes)} scenes with {len(image_ids)} image_ids of which {len(set(image_ids))} are "
            "distinct; give one id of its own to each scene"
        )
    images = [
        {"id": int(i), "file_name": f"{i:012d}.jpg", "width": s.size, "height": s.size, "license": 0}
        for i, s in zip(image_ids, scenes, strict=True)
    ]
    head = {"info": _INFO, "licenses": _LICENSES, "images": images}
    objects, texts = [], []
    for image_id, scene in zip(image_ids, scenes, strict=True):
        for thing in scene.objects:
            if thing.category_id is not None:
                objects.append(_instance(thing, int(image_id), len(objects) + 1))
        for caption in captions(scene)[:n_captions]:
            sentence = f"{caption[0].upper()}{caption[1:]}."
            texts.append({"id": len(texts) + 1, "image_id": int(image_id), "caption": sentence})
    instances = {**head, "annotations": objects, "categories": list(CATEGORIES)}
    return instances, {**head, "annotations": texts}


def _instance(thing, image_id: int, annotation_id: int) -> dict:
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": thing.category_id,
        "bbox": [float(v) for v in thing.bbox],
        "area": float(thing.area),
        "segmentation": [list(thing.outline)],
        "iscrowd": 0,
    }


def spoil(instances: dict) -> dict[str, list[int]]:
    """Give some pictures what COCO's own files hold: crowds, masks, objects without a usable outline.

    In every eighth picture with several objects of one category, these become one crowd with a run-length
    encoded mask.  Of all pictures, one in 24 each has a first object with such a mask, without polygons, with
    a polygon of two points, and without area.  One annotation belongs to a picture that is not there.

    Parameters
    ----------
    instances : dict
        From :func:`coco_annotations`; changed in place.

    Returns
    -------
    spoilt : dict of kind to list of int
        Ids of the annotations.
    """
    spoilt = {kind: [] for kind in ("crowd", *_DAMAGE.values(), "no_picture")}
    size = instances["images"][0]["width"]
    by_picture = {}
    for annotation in instances["annotations"]:
        by_picture.setdefault(annotation["image_id"], []).append(annotation)
    n_several, kept = 0, []
    for number, objects in enumerate(by_picture.values()):
        categories = [a["category_id"] for a in objects]
        several = [a for a in objects if a["category_id"] == max(categories, key=categories.count)]
        n_several += len(several) > 1
        if len(several) > 1 and n_several % 8 == 1:
            objects = [*(a for a in objects if a not in several), _crowd(several, size)]
            spoilt["crowd"].append(objects[-1]["id"])
        elif number % 24 in _DAMAGE:
            kind, polygon = _DAMAGE[number % 24], objects[0]["segmentation"][0]
            objects[0] |= {
                "mask": {"segmentation": _run_lengths([polygon], size)},
                "no_polygon": {"segmentation": []},
                "two_points": {"segmentation": [polygon[:4]]},
                "no_area": {"area": 0.0},
            }[kind]
            spoilt[kind].append(objects[0]["id"])
        kept += objects
    stray = {**kept[-1], "id": 1 + max(a["id"] for a in kept), "image_id": 999_999_999}
    spoilt["no_picture"].append(stray["id"])
    instances["annotations"] = [*kept, stray]
    return spoilt


_DAMAGE = {0: "mask", 6: "no_polygon", 12: "two_points", 18: "no_area"}
"""What happens to the first object of a picture, by the picture's number modulo 24."""


def _crowd(objects, size):
    left, top = (min(a["bbox"][k] for a in objects) for k in (0, 1))
    right, bottom = (max(a["bbox"][k] + a["bbox"][k + 2] for a in objects) for k in (0, 1))
    region = {"bbox": [left, top, right - left, bottom - top], "area": sum(a["area"] for a in objects)}
    outline = _run_lengths([a["segmentation"][0] for a in objects], size)
    return {**objects[0], **region, "segmentation": outline, "iscrowd": 1}


def _run_lengths(polygons, size):
    """Uncompressed run-length encoding: runs down the columns, the first of them outside."""
    image = Image.new("1", (size, size))
    for polygon in polygons:
        ImageDraw.Draw(image).polygon(polygon, fill=1)
    flat = np.concatenate([[False], np.asarray(image).ravel(order="F")])
    edges = np.flatnonzero(np.diff(flat, append=not flat[-1]))
    return {"size": [size, size], "counts": np.diff(edges, prepend=0).tolist()}
