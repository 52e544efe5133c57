"""Captions and objects of NSD's pictures, from COCO's annotation files.

An NSD picture is a square crop of a COCO photograph; what lies outside the crop is not in
the picture and is left out here.  No photograph is opened.  The real ``instances_train2017.json``
(450 MB) is parsed whole: pass all pictures in one call.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools.coco import COCO

from .. import BrainalignError
from .layout import parse_crop_box

ARCHIVE = "http://images.cocodataset.org/annotations/annotations_trainval2017.zip"
"""Where COCO's annotation files come from."""


class CocoError(BrainalignError):
    """Annotations that are missing or do not belong to these pictures; the message has the remedy."""


def read_captions(coco_root: str | Path, stim_info: pd.DataFrame, nsd_ids) -> pd.DataFrame:
    """Captions that people wrote for the photographs.

    Parameters
    ----------
    coco_root : path
        Folder with ``annotations/captions_{train,val}2017.json``.
    stim_info : DataFrame
        Of :func:`brainalign_utils.nsd.read_stim_info`.
    nsd_ids : int array of shape (n_stimuli,)

    Returns
    -------
    captions : DataFrame
        Columns nsd_id, caption; usually five rows a picture, pictures in the order given.  Blank captions are
        left out.

    Raises
    ------
    CocoError
        If a file is missing or unreadable, or a picture is not in it or has no caption there.
    """
    rows = []
    for nsd_id, coco, coco_id, _, path in _pictures(coco_root, "captions", stim_info, nsd_ids):
        texts = [str(annotation.get("caption", "")).strip() for annotation in coco.imgToAnns.get(coco_id, ())]
        if not any(texts):
            raise CocoError(
                f"image nsd_id {nsd_id} is photograph {coco_id}, of which {path} holds no caption; "
                f"take the annotations of 2017 from {ARCHIVE}"
            )
        rows += [(nsd_id, text) for text in texts if text]
    return pd.DataFrame(rows, columns=["nsd_id", "caption"]).astype({"nsd_id": np.int32})


def read_objects(coco_root: str | Path, stim_info: pd.DataFrame, nsd_ids) -> pd.DataFrame:
    """Objects inside the pictures.

    Polygons of fewer than three points enclose nothing; an object that has no others, or an area of 0, is
    left out.  A crowd, which COCO outlines as one region where a category has more than about ten members, is
    one row that says so.

    Parameters
    ----------
    coco_root : path
        Folder with ``annotations/instances_{train,val}2017.json``.
    stim_info : DataFrame
        Of :func:`brainalign_utils.nsd.read_stim_info`; its cropBox says which part of the
        photograph is the picture.
    nsd_ids : int array of shape (n_stimuli,)

    Returns
    -------
    objects : DataFrame
        Columns nsd_id, category, supercategory, area_fraction (of the picture, 0 to 1), crowd (bool); a row
        for each object or crowd of which something is inside.  A picture without objects has no row.

    Raises
    ------
    CocoError
        If a file is missing or unreadable, a picture is not in it, or an annotation cannot be read or has a
        category that the file does not name.
    """
    rows = []
    for nsd_id, coco, coco_id, crop_box, path in _pictures(coco_root, "instances", stim_info, nsd_ids):
        number = None
        try:
            size = coco.imgs[coco_id]["width"], coco.imgs[coco_id]["height"]
            crop = crop_pixels(crop_box, *size)
            for annotation in coco.imgToAnns.get(coco_id, ()):
                number = annotation.get("id")
                if fraction := _area_inside(coco, annotation, crop, size):
                    category = coco.cats[annotation["category_id"]]
                    names = category["name"], category["supercategory"]
                    rows.append((nsd_id, *names, fraction, annotation.get("iscrowd") == 1))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            what = f"photograph {coco_id}" if number is None else f"annotation {number}"
            raise CocoError(
                f"{path}: {what} (image nsd_id {nsd_id}) cannot be read: {_fault(error, coco)}; "
                f"take the annotations of 2017 from {ARCHIVE}"
            ) from error
    columns = ["nsd_id", "category", "supercategory", "area_fraction", "crowd"]
    types = {"nsd_id": np.int32, "area_fraction": np.float64, "crowd": bool}
    return pd.DataFrame(rows, columns=columns).astype(types)


def _fault(error, coco) -> str:
    """What is wrong with an annotation, in words."""
    if isinstance(error, KeyError):
        key = error.args[0]
        if isinstance(key, str):
            return f"it has no {key!r}"
        return f"its category_id is {key}, and the file names {len(coco.cats)} other categories"
    return str(error)


def crop_pixels(crop_box: str, width: int, height: int) -> tuple[int, int, int, int]:
    """The crop in pixels of the photograph.

    Parameters
    ----------
    crop_box : str
        ``"(top, bottom, left, right)"``, fractions cut off at each side.
    width, height : int

    Returns
    -------
    x0, y0, x1, y1 : int
        The picture is ``photograph[y0:y1, x0:x1]``.
    """
    top, bottom, left, right = parse_crop_box(crop_box)
    return (
        round(left * width),
        round(top * height),
        round((1 - right) * width),
        round((1 - bottom) * height),
    )


def _area_inside(coco, annotation, crop, size):
    """Part of the picture that an object covers; 0 if its box lies outside or it has no outline."""
    x0, y0, x1, y1 = crop
    outline = _outline(annotation["segmentation"], size)
    if not outline or annotation["area"] <= 0:
        return 0.0
    left, top, width, height = annotation["bbox"]
    overlap_x = min(left + width, x1) - max(left, x0)
    overlap_y = min(top + height, y1) - max(top, y0)
    picture = (x1 - x0) * (y1 - y0)
    if min(overlap_x, overlap_y) <= 0:
        return 0.0
    if left >= x0 and top >= y0 and left + width <= x1 and top + height <= y1:
        return annotation["area"] / picture
    mask = coco.annToMask({**annotation, "segmentation": outline})
    return int(mask[y0:y1, x0:x1].sum()) / picture


def _outline(segmentation, size):
    """Polygons that enclose something, or a run-length encoded mask (whose size must be the photograph's)."""
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if len(polygon) >= 6]
    height, width = segmentation["size"]
    if (width, height) != size:
        raise ValueError(f"its mask is {width} x {height}, the photograph {size[0]} x {size[1]}")
    return segmentation


def _pictures(coco_root, kind, stim_info, nsd_ids):
    """Yield nsd_id, the COCO file with its photograph, cocoId, cropBox and path; each file is opened once."""
    files = {}
    nsd_ids = np.asarray(nsd_ids, dtype=int)
    if len(unknown := np.setdiff1d(nsd_ids, stim_info.index)):
        raise CocoError(f"nsd_id {unknown[0]} is not in stim_info, which has 0 to {stim_info.index.max()}")
    for row in stim_info.loc[nsd_ids, ["cocoId", "cocoSplit", "cropBox"]].itertuples():
        split, coco_id = row.cocoSplit, int(row.cocoId)
        path = Path(coco_root) / "annotations" / f"{kind}_{split}.json"
        if split not in files:
            files[split] = _open(path)
        if coco_id not in files[split].imgs:
            raise CocoError(
                f"image nsd_id {row.Index} is photograph {coco_id} of {split}, which {path} does not hold; "
                f"take the annotations of 2017 from {ARCHIVE}"
            )
        yield int(row.Index), files[split], coco_id, row.cropBox, path


def _open(path):
    if not path.is_file():
        raise CocoError(
            f"{path} does not exist; download {ARCHIVE} and unpack annotations/{path.name} below "
            f"{path.parent.parent}, or set coco_root to the folder that holds annotations"
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            return COCO(path)
    except PermissionError as error:
        raise CocoError(f"{path} may not be read: {error.strerror}; change its permissions") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AssertionError) as error:
        raise CocoError(
            f"{path} is truncated or damaged ({error!r}); unpack it again from {ARCHIVE}"
        ) from error
