"""Checkpoints on disk: which files a model is loaded from, where they lie, how they are fetched."""

import contextlib
import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from .. import BrainalignError
from ..models import MODEL_BY_ID, Model

logger = logging.getLogger(__name__)

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""In the order in which transformers looks for them; each whole, or as shards that an index lists."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
IMAGE_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
SMALL_FILES = {
    "config.json", "generation_config.json", *TOKENIZERS, *IMAGE_PROCESSORS, "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "merges.txt", "chat_template.json", "chat_template.jinja",
}  # fmt: skip
"""Configurations, tokenizers and processors, at the top or in the folder of a further tokenizer."""


class ModelError(BrainalignError):
    """A checkpoint that is missing, damaged or does not fit, or a device that is not there."""


@dataclass(frozen=True)
class Listing:
    """The files of a folder or of a repository.

    Parameters
    ----------
    title, remedy : str
        Where they are and what to do when one is missing, for messages.
    names : frozenset of str
        Relative to the top, with ``/``.
    read : callable
        Text of a file by its name.
    """

    title: str
    names: frozenset[str]
    read: Callable[[str], str]
    remedy: str


def needed_files(row: Model, listing: Listing) -> list[str]:
    """The files of a checkpoint that a model is loaded from.

    These are the configuration, the tokenizer where the model reads text, the image processor where it
    sees images, and the weights unless they are drawn at random: safetensors where there are any, else
    PyTorch's .bin, in one file or as shards with their index.

    Parameters
    ----------
    row : Model
    listing : Listing

    Returns
    -------
    list of str
        Names in the listing.

    Raises
    ------
    ModelError
        When one is not there, with its name.
    """

    def require(what, alternatives, folder=""):
        if listing.names.isdisjoint(folder + name for name in alternatives):
            raise ModelError(f"{listing.title} has no {what} ({' or '.join(alternatives)}); {listing.remedy}")

    require("configuration", ["config.json"])
    folders = ["", "qformer_tokenizer/"] if row.family == "instructblip" else [""]
    if row.prompt:
        for folder in folders:
            require(folder.rstrip("/") or "tokenizer", TOKENIZERS, folder)
    if row.image != "none" and row.family != "mplug_owl":  # whose pixels follow from its configuration
        require("image processor", IMAGE_PROCESSORS)
    small = sorted(listing.names & {folder + name for folder in folders for name in SMALL_FILES})
    return small if row.init == "random" else small + _weight_files(listing)


def _weight_files(listing: Listing) -> list[str]:
    for whole in WEIGHTS:
        if whole in listing.names:
            return [whole]
        index = f"{whole}.index.json"
        if index not in listing.names:
            continue
        try:
            shards = sorted(set(json.loads(listing.read(index))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{index} of {listing.title} lists no shards; {listing.remedy}") from None
        for shard in shards:
            if shard not in listing.names:
                raise ModelError(f"{listing.title} has no {shard}, a shard of {index}; {listing.remedy}")
        return [index, *shards]
    raise ModelError(f"{listing.title} has no weights ({' or '.join(WEIGHTS)}); {listing.remedy}")


def phantom_folder() -> Path:
    """Folder of the tiny checkpoints, which come with the package nsd-phantom.

    Raises
    ------
    ModelError
        Where that package, which real data do without, is not installed.
    """
    try:
        from nsd_phantom import CHECKPOINTS
    except ImportError:
        raise ModelError(
            "checkpoints is 'phantom', but the package nsd-phantom, which brings them, is not installed; "
            "run `pip install packages/nsd-phantom` in the checkout, or set checkpoints: hub"
        ) from None
    return CHECKPOINTS


def checkpoint_folder(row: Model, checkpoints: str | Path = "hub") -> Path:
    """Folder of a row's checkpoint on this machine; nothing is downloaded.

    Parameters
    ----------
    row : Model
    checkpoints : {"phantom", "hub"} or Path
        As in the settings.

    Raises
    ------
    ModelError
        When it is not there, or a file that the model needs is missing or damaged; names the file and
        says what to do.

    Examples
    --------
    >>> from brainalign_utils.models import MODEL_BY_ID
    >>> checkpoint_folder(MODEL_BY_ID["instructblip"], "phantom").name
    'instructblip'
    """
    if checkpoints == "phantom":
        if not row.phantom:
            raise ModelError(f"model {row.id!r} has no phantom checkpoint; set checkpoints: hub")
        folder, remedy = phantom_folder() / row.phantom, "run `make phantom-models`"
    elif checkpoints == "hub":
        remedy = f"run `brainalign fetch-models {row.id}`"
        folder = _snapshot(row)
        if folder is None:
            raise ModelError(
                f"checkpoint {row.checkpoint} (revision {row.revision}, {_size(row)}) of model {row.id!r} is "
                f"not in {constants.HF_HUB_CACHE}; {remedy}"
            )
    else:
        folder = Path(checkpoints) / row.checkpoint.split("/")[-1]
        remedy = f"put the files of {row.checkpoint} there, or set checkpoints: hub"
    return _checked(row, folder, remedy)


def _checked(row: Model, folder: Path, remedy: str) -> Path:
    try:
        listing = _folder_listing(folder, remedy)
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        raise ModelError(f"no checkpoint for model {row.id!r} in {folder} ({reason}); {remedy}") from None
    for name in needed_files(row, listing):
        if damage := _damage(folder / name):
            raise ModelError(f"{folder / name} {damage}; {remedy}")
    return folder


def _snapshot(row: Model) -> Path | None:
    """Folder of the hub's cache with the row's commit, or with the one that its branch was when fetched."""
    config = try_to_load_from_cache(row.checkpoint, "config.json", constants.HF_HUB_CACHE, row.revision)
    return Path(config).parent if isinstance(config, str) else None


def _folder_listing(folder: Path, remedy: str = "") -> Listing:
    inside = [path for path in folder.iterdir() if path.is_dir()]
    files = [path for where in (folder, *inside) for path in where.iterdir() if path.is_file()]
    names = frozenset(path.relative_to(folder).as_posix() for path in files)
    return Listing(f"checkpoint {folder}", names, lambda name: (folder / name).read_text("utf-8"), remedy)


def _size(row: Model) -> str:
    gb = row.n_parameters / 1e9
    return f"{2 * gb:.0f} to {4 * gb:.0f} GB" if gb >= 1 else f"{2 * gb:.1f} to {4 * gb:.1f} GB"


def _damage(path: Path) -> str | None:
    """What is wrong with a file, as far as its size, beginning and end tell; None when nothing is."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size == 0:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer in place of the file (in a clone, `git lfs pull` gets it)"
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "is an HTML page"
    if path.suffix == ".json":
        return _damage_of_json(path)
    if path.suffix == ".safetensors":
        return _damage_of_safetensors(path, size)
    if path.suffix == ".bin" and not head.startswith(b"\x80") and not zipfile.is_zipfile(path):
        return "is no file of PyTorch, or is cut off"
    return None


def _damage_of_json(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        return f"is not valid JSON ({error})"
    return None if isinstance(content, dict) else "holds no mapping of names to values"


def _damage_of_safetensors(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        n_header = int.from_bytes(stream.read(8), "little")
        header = stream.read(n_header) if n_header < size else b""
    try:
        tensors = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
        expected = 8 + n_header + max(ends)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is no safetensors file, or is cut off"
    return None if size == expected else f"has {size} bytes instead of {expected}"


def fetch(model_ids, checkpoints: str | Path = "hub") -> list[tuple[Model, Path]]:
    """Download the checkpoints of some rows, each at its revision, and check their files.

    A checkpoint that is there already is left alone, so a branch such as "main" stays at the commit that
    it was when it was fetched.  The cache remembers this commit; it names the folder, and features are
    stored with it.  Checkpoints that come from elsewhere are only checked.

    Parameters
    ----------
    model_ids : iterable of str
    checkpoints : {"hub", "phantom"} or Path
        As in the settings.

    Returns
    -------
    list of (Model, Path)
        Each row with its folder; the name of one from the hub is its commit.

    Raises
    ------
    ModelError
        For an unknown model, too little disk space, a file that is missing or damaged, or a download that
        fails.

    Examples
    --------
    >>> [(row, folder)] = fetch(["vit-h"], checkpoints="phantom")
    >>> row.checkpoint
    'google/vit-huge-patch14-224-in21k'
    """
    model_ids = list(dict.fromkeys(model_ids))
    if unknown := [id for id in model_ids if id not in MODEL_BY_ID]:
        raise ModelError(f"unknown model {', '.join(unknown)}; `brainalign models` prints the table")
    rows = [MODEL_BY_ID[id] for id in model_ids]
    if checkpoints != "hub":
        return [(row, checkpoint_folder(row, checkpoints)) for row in rows]
    return [(row, _fetch_one(row)) for row in rows]


def _fetch_one(row: Model) -> Path:
    with contextlib.suppress(ModelError):
        return checkpoint_folder(row)
    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"HF_HUB_OFFLINE is set, so {row.checkpoint} cannot be downloaded; unset it to fetch checkpoints"
        )
    try:
        _download(row)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_download_failed(row, error)) from error
    return _checked(row, _snapshot(row), "so it is on the hub: give the row another checkpoint or revision")


def _download(row: Model):
    info = HfApi().model_info(row.checkpoint, revision=row.revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings}

    def read(name):
        return Path(hf_hub_download(row.checkpoint, name, revision=info.sha)).read_text("utf-8")

    title = f"repository {row.checkpoint} at {info.sha[:12]}"
    remedy = "give the row another checkpoint or revision"
    files = needed_files(row, Listing(title, frozenset(sizes), read, remedy))
    folder = _snapshot(row)
    if folder is not None:
        _forget_damaged(folder, files)
        files = [name for name in files if not (folder / name).is_file()]
    _check_disk(row, sum(sizes[name] for name in files))
    # by the row's name of the revision, so that the cache remembers which commit a branch was
    snapshot_download(row.checkpoint, revision=row.revision, allow_patterns=files)


def _forget_damaged(folder: Path, names):
    """Delete damaged files, which the cache would take for whole."""
    for path in (folder / name for name in names):
        if path.exists() and _damage(path):
            logger.warning("%s is damaged: downloading it again", path)
            path.resolve().unlink()
            path.unlink(missing_ok=True)


def _check_disk(row: Model, n_bytes: int):
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free
    if n_bytes > free:
        raise ModelError(
            f"{row.checkpoint} takes {n_bytes / 1e9:.1f} GB but {cache} has {free / 1e9:.1f} GB left; "
            "free some, or set HF_HOME to a larger disk"
        )
    logger.info("fetching %s, %.1f GB", row.checkpoint, n_bytes / 1e9)


def _download_failed(row: Model, error: Exception) -> str:
    again = f"`brainalign fetch-models {row.id}`"
    if isinstance(error, GatedRepoError):
        return (
            f"{row.checkpoint} is only given to those who accept its terms: do so on "
            f"{constants.ENDPOINT}/{row.checkpoint}, set HF_TOKEN to your token, and run {again} again"
        )
    if isinstance(error, RepositoryNotFoundError):
        return f"{constants.ENDPOINT} has no repository {row.checkpoint}, or it is private: then set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{row.checkpoint} has no revision {row.revision}; correct it in the table of models"
    if isinstance(error, OSError) and error.filename:
        reason = f"{error.strerror}: {error.filename}"
        return f"{row.checkpoint} cannot be stored ({reason}); set HF_HOME to a folder that it fits in"
    if isinstance(error, json.JSONDecodeError):
        error = "the answer is no JSON, as from a login page or a proxy"
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return (
        f"{row.checkpoint} cannot be downloaded from {constants.ENDPOINT} ({reason}); look at the network "
        f"and HF_ENDPOINT, and run {again} again: it goes on where it stopped"
    )


def weights_identity(row: Model, folder: Path) -> str:
    """What tells the weights of a row from others: the hub's commit, else a hash of the files.

    Parameters
    ----------
    row : Model
    folder : Path
        Of :func:`checkpoint_folder`.
    """
    if row.init == "random":
        return "random, seed 0"
    if folder.parent.name == "snapshots":
        return folder.name
    digest = hashlib.sha256()
    for name in _weight_files(_folder_listing(folder)):
        with (folder / name).open("rb") as stream:
            digest.update(name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
