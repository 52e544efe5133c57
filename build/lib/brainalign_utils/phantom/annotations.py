"""COCO-format annotations of drawn scenes, as ``pycocotools`` loads them."""

from .answers import captions
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
