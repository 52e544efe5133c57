"""Which files of a study are published, and in what form."""

import copy
import json
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pandas as pd
import xarray as xr

from ... import store
from ...results import study, surface
from ...results.alignment import AUTHORS_VOLUMES
from ...settings import Settings, project_root
from ..book.contents import pages
from ..book.generated import cost_table
from ..book.staging import shown_copy
from . import rebuilt
from .manifest import ArchiveError

TABLES = ("concepts", "recovery", "ledger", "voxels_by_model", "voxels_by_instruction")
RAW_DIMS = {"trial", "repeat", "feature"}
REMOVED = "A picture stood here. Published scores hold no pictures of the dataset."


def collect(settings: Settings, folder: Path) -> dict[str, Path]:
    """Files of an archive by their name in it; those that have to be written first go to ``folder``.

    Raises
    ------
    ArchiveError
        The study is itself unpacked from an archive, or would publish responses, features or single pictures.
    StoreError
        An artifact is missing or damaged.
    """
    if settings.scores_only:
        raise ArchiveError(f"study {settings.name!r} was itself unpacked from an archive; pass that one on")
    root = settings.paths.root
    for subject in settings.subjects:
        path = folder / settings.paths.voxels(subject).relative_to(root)
        store.write_dataset(path, published_voxels(study.open_voxels(settings, subject)))
    store.write_dataset(folder / "cortex.zarr", surface.load_cortex(settings))
    figures = list(_write_copies(settings, folder))
    texts = {
        "settings.json": json.dumps(published_settings(settings), indent=1, sort_keys=True),
        "cost.md": cost_table(settings.paths.executed("x").parents[1]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    datasets = list(_derived_datasets(settings))
    for path in [*datasets, *folder.glob("**/*.zarr")]:
        refuse_raw(path)
    tables = [path for name in TABLES if (path := settings.paths.table(name)).is_file()]
    for path in [*tables, *(path for path in figures if path.suffix == ".csv")]:
        refuse_single_pictures(path)
    stored = [file for path in datasets for file in _files(path)]
    known = {path.relative_to(root).as_posix(): path for path in [*stored, *figures, *tables]}
    return known | {path.relative_to(folder).as_posix(): path for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    """Files below a folder; hidden ones are locks and leftovers."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)]


def _derived_datasets(settings: Settings) -> Iterable[Path]:
    paths = settings.paths
    for subject in settings.subjects:
        yield paths.cross_subject(subject)
        for model in settings.models:
            yield from (kind(subject, model) for kind in (paths.scores, paths.samples, paths.nulls))
            if paths.variants(subject, model).exists():
                yield paths.variants(subject, model)
        for model in settings.partition.models:
            if model in settings.models:
                yield paths.partition(subject, model)


def refuse_raw(path: Path) -> None:
    """Refuse a dataset that has an axis of pictures, trials, repeats or features.

    Raises
    ------
    ArchiveError
    """
    dims = map(str, store.open_dataset(path).dims)
    if raw := sorted(dim for dim in dims if dim in RAW_DIMS or "stimulus" in dim):
        raise ArchiveError(f"{path} has the axis {raw[0]!r}: responses and features are not published")


def refuse_single_pictures(path: Path) -> None:
    """Refuse a table with a row for each picture.

    Raises
    ------
    ArchiveError
    """
    if "nsd_id" in pd.read_csv(path, nrows=0).columns:
        raise ArchiveError(f"{path} has a column nsd_id: values of single pictures are not published")


def published_voxels(voxels: xr.Dataset) -> xr.Dataset:
    """What results need of voxels: regions, ceilings and vertices; no grid positions."""
    keep = {"noise_ceiling", "roi", "roi_mask", "volume", *(f"label_{v}" for v in AUTHORS_VOLUMES)}
    return voxels.drop_vars([name for name in voxels.coords if name not in keep])


def published_settings(settings: Settings) -> dict:
    """The settings without this machine's folders."""
    values = settings.model_dump(mode="json", exclude={"build_root", "nsd_root", "coco_root", "scores_only"})
    return values | ({"checkpoints": "hub"} if isinstance(settings.checkpoints, Path) else {})


def _write_copies(settings: Settings, folder: Path) -> Iterable[Path]:
    """Write the pages that scores alone cannot rebuild, and yield the files of their figures."""
    names = [
        page.removeprefix("notebooks/")
        for page in pages(project_root(), settings.data)
        if "notebooks/" in page
    ]
    for name in names:
        if name in rebuilt():
            continue
        notebook = nbformat.read(shown_copy(settings, name), as_version=4)
        target = folder / "notebooks" / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(published_copy(notebook), target)
        for figure in figure_names(notebook):
            yield from (settings.paths.figure(figure, kind) for kind in ("svg", "png", "csv", "json"))


def figure_names(notebook) -> list[str]:
    """Figures that a notebook draws from tidy tables, by the tags of its cells."""
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    return [tag.removeprefix("figure:") for tag in tags if tag.startswith("figure:")]


def published_copy(notebook):
    """Copy of an executed notebook without this machine's folders, and without any picture that was not drawn
    from a tidy table: it may show a picture of the dataset."""
    published = copy.deepcopy(notebook)
    published.cells = [c for c in published.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    published.metadata.get("brainalign", {}).get("parameters", {}).pop("settings_file", None)
    for cell in published.cells:
        drawn = any(tag.startswith("figure:") for tag in cell.metadata.get("tags", []))
        if cell.cell_type != "code":
            continue
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        if not drawn and any(_shows_picture(out) for out in cell.outputs):
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=REMOVED)]
            cell.metadata.pop("mystnb", None)
    return published


def _shows_picture(output) -> bool:
    kinds = output.get("data", {})
    html = "".join(
        str(kinds[kind]) for kind in kinds if not kind.startswith("image/") and kind != "text/plain"
    )
    return any(kind.startswith("image/") for kind in kinds) or any(
        mark in html.lower() for mark in ("<img", "<svg", "<canvas", "data:image", "url(")
    )
