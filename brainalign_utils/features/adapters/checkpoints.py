"""Where checkpoints lie, how they are fetched, loaded and drawn at random."""

import hashlib
import logging
import os
import re
import shutil
from pathlib import Path

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import nn
from transformers import AutoConfig

from ... import BrainalignError
from ...models import MODEL_BY_ID, Model

logger = logging.getLogger(__name__)

PHANTOM_FOLDER = Path(__file__).parents[2] / "phantom" / "checkpoints"
WEIGHT_STD = 0.02
"""Standard deviation of randomly drawn weights, that of BERT and LLaMA."""

HARMLESS_EXTRA_KEYS = (r"rotary_emb\.inv_freq$", r"position_ids$", r"^pooler\.", r"^classifier\.")
"""Buffers that older transformers saved, and heads that feature extraction leaves out."""


class ModelError(BrainalignError):
    """A checkpoint that is missing or does not fit, or a device that is not there."""


def checkpoint_folder(row: Model, checkpoints: str | Path = "hub") -> Path:
    """Folder of a row's checkpoint on this machine.

    Parameters
    ----------
    row : Model
    checkpoints : {"phantom", "hub"} or Path
        As in the settings.

    Raises
    ------
    ModelError
        When it is not there; says what to download and about how large it is.
    """
    if checkpoints == "phantom":
        if not row.phantom:
            raise ModelError(f"model {row.id!r} has no phantom checkpoint; set checkpoints: hub")
        return _existing(PHANTOM_FOLDER / row.phantom, row, "run `make phantom-models`")
    if checkpoints != "hub":
        folder = Path(checkpoints) / row.checkpoint.split("/")[-1]
        return _existing(folder, row, f"put {row.checkpoint} there, or set checkpoints: hub")
    try:
        return Path(snapshot_download(row.checkpoint, revision=row.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise ModelError(
            f"checkpoint {row.checkpoint} (revision {row.revision}, {_size(row)}) of model {row.id!r} is not "
            f"in the local cache; download it with `brainalign fetch-models {row.id}`"
        ) from None


def _existing(folder: Path, row: Model, remedy: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelError(f"no checkpoint for model {row.id!r} in {folder}; {remedy}")
    return folder


def _size(row: Model) -> str:
    gb = row.n_parameters / 1e9
    return f"{2 * gb:.0f} to {4 * gb:.0f} GB" if gb >= 1 else f"{2 * gb:.1f} to {4 * gb:.1f} GB"


def fetch(model_ids) -> dict[str, Path]:
    """Download the checkpoints of some rows at their pinned revisions.

    Weights come as safetensors where the repository has them, else as the .bin files.  A revision
    "main" is resolved to its present commit, which names the folder and enters the fingerprint of
    features.

    Parameters
    ----------
    model_ids : iterable of str

    Returns
    -------
    dict of str to Path
        Folder of each checkpoint, by its name on the hub.

    Raises
    ------
    ModelError
        For an unknown model, too little disk space, or when ``HF_HUB_OFFLINE`` forbids downloads.
    """
    unknown = [id for id in model_ids if id not in MODEL_BY_ID]
    if unknown:
        raise ModelError(f"unknown model {', '.join(unknown)}; `brainalign models` prints the table")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise ModelError("HF_HUB_OFFLINE is set, so nothing can be downloaded; unset it to fetch checkpoints")
    folders = {}
    for row in {MODEL_BY_ID[id].checkpoint: MODEL_BY_ID[id] for id in model_ids}.values():
        folders[row.checkpoint] = _fetch_one(row)
    return folders


def _fetch_one(row: Model) -> Path:
    info = HfApi().model_info(row.checkpoint, revision=row.revision, files_metadata=True)
    has_safetensors = any(file.rfilename.endswith(".safetensors") for file in info.siblings)
    ignore = ["*.h5", "*.msgpack", "*.onnx", "*.ot", *(["*.bin", "*.pth", "*.pt"] if has_safetensors else [])]
    wanted = [f for f in info.siblings if not any(Path(f.rfilename).match(pattern) for pattern in ignore)]
    n_bytes = sum(file.size or 0 for file in wanted)
    cache = Path(HF_HUB_CACHE)
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free
    if n_bytes > free:
        raise ModelError(
            f"{row.checkpoint} takes {n_bytes / 1e9:.1f} GB but {cache} has {free / 1e9:.1f} GB left; "
            "free some, or set HF_HOME to a larger disk"
        )
    logger.info("fetching %s at %s, %.1f GB", row.checkpoint, info.sha, n_bytes / 1e9)
    # the given name of the revision is kept, so that the cache remembers which commit "main" was
    return Path(snapshot_download(row.checkpoint, revision=row.revision, ignore_patterns=ignore))


def weights_revision(folder: Path, row: Model) -> str:
    """What identifies the weights: the hub's commit, else a hash of the files' sizes and beginnings."""
    if row.init == "random":
        return "random, seed 0"
    if folder.parent.name == "snapshots":
        return folder.name
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(f"{file.name} {file.stat().st_size}".encode() + stream.read(8 * 2**20))
    return digest.hexdigest()[:16]


def resolve_device(device: str) -> torch.device:
    """The device to run on; "auto" takes a GPU when there is one.

    Raises
    ------
    ModelError
        When a CUDA device is asked for that is not there.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if n_gpus else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ModelError(f"device is {device!r}; expected auto, cpu, cuda or cuda:N") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= n_gpus:
        raise ModelError(f"device is {device!r} but this machine has {n_gpus} CUDA devices; set device: auto")
    return chosen


def load_model(auto_class, folder: Path, dtype: torch.dtype, init: str = "pretrained", seed: int = 0):
    """Load a model in evaluation mode, or draw its weights at random.

    Raises
    ------
    ModelError
        When keys of the checkpoint are missing or left over, with their names.
    """
    if init == "random":
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return draw_weights(auto_class.from_config(config, dtype=dtype), seed).eval()
    try:
        model, info = auto_class.from_pretrained(
            folder, dtype=dtype, local_files_only=True, weights_only=True, output_loading_info=True
        )
    except (RuntimeError, OSError) as error:
        raise ModelError(f"checkpoint {folder} cannot be loaded: {error}") from error
    extra = [k for k in info["unexpected_keys"] if not any(re.search(p, k) for p in HARMLESS_EXTRA_KEYS)]
    problems = {"missing": info["missing_keys"], "left over": extra}
    named = [f"{what}: {', '.join(sorted(keys)[:5])}" for what, keys in problems.items() if keys]
    if named:
        raise ModelError(f"checkpoint {folder} does not fit {type(model).__name__}; keys {'; '.join(named)}")
    return model.eval()


@torch.no_grad()
def draw_weights(model: nn.Module, seed: int) -> nn.Module:
    """Replace every weight by a seeded draw; norms become identities and biases zero.

    The initialisers of the transformers classes will not do: some are 1e-10 or zero (vision towers of
    InstructBLIP, its query tokens, the gates of IDEFICS), which would leave states without any trace
    of the image.  Gates are drawn with standard deviation 1, all else with 0.02.
    """
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    for module in model.modules():
        is_norm = "norm" in type(module).__name__.lower()
        for name, parameter in module.named_parameters(recurse=False):
            if is_norm or name.endswith("bias"):
                parameter.fill_(float(is_norm and not name.endswith("bias")))
            elif parameter.ndim:
                std = 1.0 if name.startswith("alpha_") else WEIGHT_STD
                draw = torch.randn(parameter.shape, generator=generator, device=generator.device)
                parameter.copy_(draw * std)
    return model
