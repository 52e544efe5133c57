"""Published scores: an archive from which the book is rebuilt without the dataset and without a GPU.

A zip file with a manifest of checksums.  It holds what was derived (scores, resampled region means, nulls,
partitions, ceilings, tables, and the pages that cannot be rebuilt without raw data) and no responses, no
features and no images of the dataset.  An archive that was altered or cut off is refused as a whole.

``python -m brainalign_utils.publishing.archive create|unpack``
"""

import copy
import errno
import hashlib
import json
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import click
import nbformat
import pandas as pd
import xarray as xr

from .. import DEFAULT_SETTINGS, BrainalignError, store
from ..artifacts import file_hash, git_revision
from ..cli import run
from ..results import study, surface
from ..results.alignment import AUTHORS_VOLUMES
from ..settings import Settings, SettingsError, load_settings, project_root
from .contents import notebook_pages, rebuilt
from .pages import figure_names
from .staging import cost_table, shown_copy

MANIFEST = "manifest.json"
FORMAT, SCHEMA_VERSION = "brainalign-scores", 2
FOLDERS = (
    "ceilings",
    "choices",
    "cortex.zarr",
    "figures",
    "notebooks",
    "nulls",
    "partition",
    "samples",
    "scores",
)
FOLDERS += ("tables", "voxels")
FILES = ("cost.md", "settings.json")
PATH = re.compile(rf"({'|'.join(FILES)}|({'|'.join(FOLDERS)})(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)")
"""Paths that an archive may hold: none leads out of its folder, none is that of a built page."""

TABLES = ("concepts", "recovery", "ledger", "voxels_by_model", "voxels_by_instruction")
RAW_DIMS = {"trial", "repeat", "feature"}
REMOVED = "An image stood here. Published scores hold no images of the dataset."
METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
TEXT = {".json", ".csv", ".svg", ".ipynb", ".md"}
"""Kinds of files that are compressed; noise does not shrink."""


class ArchiveError(BrainalignError):
    """An archive that cannot be used or made; the message says why."""


def create(settings: Settings, target: Path) -> dict[str, str]:
    """Write the scores of a finished study into an archive.

    Returns
    -------
    files : dict of path in the archive to sha256

    Raises
    ------
    ArchiveError
        The study is itself unpacked from an archive, or would publish responses, features or single images.
    StoreError
        An artifact is missing or damaged.
    """
    with tempfile.TemporaryDirectory(prefix="brainalign-") as folder:
        return pack(collect(settings, Path(folder)), target)


def pack(files: dict[str, Path], target: Path) -> dict[str, str]:
    """Write files, by their names in the archive, behind a manifest; the same files give the same bytes."""
    if wrong := [name for name in files if not PATH.fullmatch(name)]:
        raise ArchiveError(f"an archive may not hold {wrong[0]!r}")
    root = project_root()
    sums = {name: file_hash(files[name], 64) for name in sorted(files)}
    made_by = {"git_revision": git_revision(root), "lock_hash": file_hash(root / "requirements.lock")}
    manifest = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **made_by, "files": sums}
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name in (MANIFEST, *sums):
            member = zipfile.ZipInfo(name)  # its date is a constant
            member.compress_type = METHODS[Path(name).suffix in TEXT]
            content = json.dumps(manifest, indent=1) if name == MANIFEST else files[name].read_bytes()
            archive.writestr(member, content)
    partial.replace(target)
    return sums


def unpack(source: Path, build_root: Path = Path("_build")) -> Path:
    """Check an archive to its last byte and put it where a study of its own lies.

    Parameters
    ----------
    source : Path
    build_root : Path
        Gets the folder ``<name>-scores``; one of the same archive is left as it is.

    Returns
    -------
    settings : Path
        Settings file of the study that was unpacked.

    Raises
    ------
    ArchiveError
        The archive is missing, altered, cut off, of another schema version, or names files outside its
        folder; nothing is left behind then.
    """
    if not Path(source).is_file():
        raise ArchiveError(f"{source} does not exist")
    try:
        with zipfile.ZipFile(source) as archive:
            return _unpack(archive, Path(build_root).resolve())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"{source} is no whole zip archive ({error}); get it again") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # an altered offset points before the file's beginning
        raise ArchiveError(f"{source} is no whole zip archive ({error}); get it again") from None


def _unpack(archive, build_root):
    sums = _read_manifest(archive)
    build_root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=build_root) as folder:
        partial = Path(folder) / "study"
        partial.mkdir()
        target = _write_settings(
            _verified(archive, "settings.json", sums), build_root, partial / "study.json"
        )
        manifest = archive.read(MANIFEST)
        if (target / MANIFEST).is_file() and (target / MANIFEST).read_bytes() == manifest:
            return target / "study.json"
        for name in sums:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(_verified(archive, name, sums))
        (partial / MANIFEST).write_bytes(manifest)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    return target / "study.json"


def _read_manifest(archive) -> dict[str, str]:
    """Checksums by path, after the list of members was compared with them."""
    for member in archive.infolist():  # other methods' decoders fail in ways of their own
        if member.compress_type not in METHODS:
            raise ArchiveError(f"{member.filename!r} is compressed in an unknown way; get the archive again")
    names = archive.namelist()
    if MANIFEST not in names:
        raise ArchiveError(f"this is not a score archive: it holds no {MANIFEST}")
    try:
        manifest = json.loads(archive.read(MANIFEST))
        found, version, sums = manifest["format"], manifest["schema_version"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"the manifest is damaged ({error!r}); get the archive again") from None
    if found != FORMAT:
        raise ArchiveError(f"this is not a score archive: its manifest has the format {found!r}")
    if version != SCHEMA_VERSION:
        raise ArchiveError(
            f"the archive has schema version {version!r}, this program reads {SCHEMA_VERSION}; "
            "use the version of brainalign that made it (git_revision in its manifest.json)"
        )
    for path in (*sums, *names):
        if path != MANIFEST and not PATH.fullmatch(path):
            raise ArchiveError(f"the archive names {path!r}; it may hold {', '.join((*FOLDERS, *FILES))}")
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ArchiveError(f"the archive holds {repeated!r} twice; get it again")
    if different := sorted({*names} ^ {MANIFEST, "settings.json", *sums}):
        what = "lacks" if different[0] not in names else "holds, unannounced,"
        raise ArchiveError(f"the archive {what} {different[0]!r}; get it again")
    return sums


def _verified(archive, name, sums) -> bytes:
    content = archive.read(name)
    if hashlib.sha256(content).hexdigest() != sums[name]:
        raise ArchiveError(f"{name} in the archive was altered: its checksum differs; get the archive again")
    return content


def _write_settings(content: bytes, build_root: Path, file: Path) -> Path:
    """Write the archive's settings with the place where it lies now; return that place."""
    try:
        values = json.loads(content)
        values |= {"name": f"{values['name']}-scores", "build_root": str(build_root), "scores_only": True}
        file.write_text(json.dumps(values, indent=1))
        return load_settings(file).paths.root
    except (ValueError, KeyError, TypeError) as error:
        known = isinstance(error, SettingsError)
        raise ArchiveError(
            f"the archive's settings cannot be used: {error if known else repr(error)}"
        ) from None


def collect(settings: Settings, folder: Path) -> dict[str, Path]:
    """Files of an archive by their name in it; those that have to be written first go to ``folder``."""
    if settings.scores_only:
        raise ArchiveError(f"study {settings.name!r} was itself unpacked from an archive; pass that one on")
    root = settings.paths.root
    for subject in settings.subjects:
        path = folder / settings.paths.voxels(subject).relative_to(root)
        store.write_dataset(path, published_voxels(study.open_voxels(settings, subject)))
    store.write_dataset(folder / "cortex.zarr", surface.load_cortex(settings))
    figures = list(_write_copies(settings, folder))
    (folder / "settings.json").write_text(json.dumps(published_settings(settings), indent=1, sort_keys=True))
    (folder / "cost.md").write_text(cost_table(settings))
    datasets = list(_derived_datasets(settings))
    for path in [*datasets, *folder.glob("**/*.zarr")]:
        refuse_raw(path)
    tables = [path for name in TABLES if (path := settings.paths.table(name)).is_file()]
    for path in [*tables, *(path for path in figures if path.suffix == ".csv")]:
        refuse_single_images(path)
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
    """Refuse a dataset that has an axis of images, trials, repeats or features."""
    dims = map(str, store.open_dataset(path).dims)
    if raw := sorted(dim for dim in dims if dim in RAW_DIMS or "stimulus" in dim):
        raise ArchiveError(f"{path} has the axis {raw[0]!r}: responses and features are not published")


def refuse_single_images(path: Path) -> None:
    """Refuse a table with a row for each image."""
    if "nsd_id" in pd.read_csv(path, nrows=0).columns:
        raise ArchiveError(f"{path} has a column nsd_id: values of single images are not published")


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
    for name in notebook_pages(project_root(), settings.data):
        if name in rebuilt():
            continue
        shown = shown_copy(settings, name)
        notebook = nbformat.read(shown, as_version=4)
        target = folder / shown.relative_to(settings.paths.root)
        target.parent.mkdir(parents=True)
        nbformat.write(published_copy(notebook), target)
        for figure in (figure for cell in notebook.cells for figure in figure_names(cell)):
            yield from (settings.paths.figure(figure, kind) for kind in ("svg", "png", "csv", "json"))


def published_copy(notebook):
    """Copy of an executed notebook without this machine's folders, and without any image that was not drawn
    from a tidy table: it may show an image of the dataset."""
    published = copy.deepcopy(notebook)
    published.cells = [c for c in published.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    published.metadata.get("brainalign", {}).get("parameters", {}).pop("settings_file", None)
    for cell in published.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        drawn = any(tag.startswith("figure:") for tag in cell.metadata.get("tags", []))
        if not drawn and any(_shows_image(out) for out in cell.outputs):
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=REMOVED)]
            cell.metadata.pop("mystnb", None)
    return published


def _shows_image(output) -> bool:
    kinds = output.get("data", {})
    html = "".join(str(kinds[k]) for k in kinds if not k.startswith("image/") and k != "text/plain").lower()
    marks = ("<img", "<svg", "<canvas", "data:image", "url(")
    return any(kind.startswith("image/") for kind in kinds) or any(mark in html for mark in marks)


@click.group(name="archive")
def command():
    """Published scores of a study: write an archive of them, or check one and unpack it."""


@command.command(name="create")
@click.option("--settings", default=DEFAULT_SETTINGS, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="_build/<name>/<name>-scores.zip by default")
def create_command(settings, output):
    """Write the scores of a finished study."""
    settings = load_settings(settings)
    target = output or settings.paths.root / f"{settings.name}-scores.zip"
    n_files, size = len(create(settings, target)), target.stat().st_size / 2**20
    print(f"{target}: {n_files} files, {size:.1f} MiB, sha256 {file_hash(target, 64)}")


@command.command(name="unpack")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--build-root", type=click.Path(path_type=Path), default="_build", show_default=True)
def unpack_command(archive, build_root):
    """Check an archive and unpack it; print the settings file of its study, and nothing else."""
    print(unpack(archive, build_root))


def main(arguments=None) -> int:
    """Command line."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
