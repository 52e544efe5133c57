"""From the files of a checkpoint to a model, its tokenizers and its image processor."""

import hashlib
import json
import re
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from ...models import Model
from ..checkpoints import ModelError

WEIGHT_STD = 0.02
"""Standard deviation of randomly drawn weights, that of BERT and LLaMA."""

IGNORED_KEYS = (r"rotary_emb\.inv_freq$", r"position_ids$", r"^pooler\.", r"^classifier\.")
"""Buffers that older transformers saved, and heads that nothing here reads: may be left over or missing."""

OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "could not create a primitive",
    "could not create a memory object",
    "could not execute a primitive",
)
"""oneDNN, which runs convolutions and products on CPUs, says no more than this when it gets no memory."""

INCIDENTAL = {
    "added_tokens_decoder", "auto_map", "backend", "dtype", "is_local", "local_files_only", "name_or_path",
    "processor_class", "special_tokens_map_file", "tokenizer_class", "tokenizer_file", "torch_dtype",
    "transformers_version", "vocab_file",
}  # fmt: skip
"""Entries of configurations that say where they come from or how they were saved, not what they do; so do
those that begin with an underscore."""
LONGEST_FACT = 100


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


def resolve_dtype(dtype: str, row: Model, device: torch.device) -> torch.dtype:
    """The type of weights and states; "auto" is the row's on a GPU and float32 elsewhere.

    Raises
    ------
    ModelError
        For any other than float32, bfloat16 and float16.
    """
    name = dtype
    if dtype == "auto":
        name = row.dtype if device.type == "cuda" else "float32"
    if name not in ("float32", "bfloat16", "float16"):
        where = f"the row of model {row.id!r}" if dtype == "auto" else "features.dtype"
        raise ModelError(f"dtype in {where} is {name!r}; expected float32, bfloat16 or float16")
    return getattr(torch, name)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out: on a GPU, or on a CPU in the words of torch or oneDNN."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


def read_config(folder: Path) -> dict:
    """The ``config.json`` of a checkpoint.

    Raises
    ------
    ModelError
        When it is missing or no JSON.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return config | {}
    except OSError as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'} is not a JSON mapping ({error})") from None


def load_model(auto_class, folder: Path, dtype: torch.dtype, device: torch.device, init: str = "pretrained"):
    """Load a model in evaluation mode, or draw its weights at random.

    Parameters
    ----------
    auto_class : class of transformers
    folder : Path
    dtype : torch.dtype
    device : torch.device
    init : {"pretrained", "random"}

    Raises
    ------
    ModelError
        When keys of the checkpoint are missing, left over or of another shape, or weights are not finite,
        with their names; when the model does not fit in memory.
    """
    try:
        if init == "random":
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            return draw_weights(auto_class.from_config(config, dtype=dtype), 0).eval().to(device)
        model, info = auto_class.from_pretrained(
            folder, dtype=dtype, local_files_only=True, weights_only=True, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
        _check_keys(model, info, folder)
        model.to(device)
    except ModelError:
        raise
    except Exception as error:
        remedy = "; use a larger device, or a smaller features.dtype" if is_out_of_memory(error) else ""
        raise ModelError(f"checkpoint {folder} cannot be loaded: {first_line(error)}{remedy}") from error
    _check_finite(model, folder)
    return model.eval()


def first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _check_keys(model, info, folder: Path):
    problems = {
        "missing": _that_matter(info["missing_keys"]),
        "left over": _that_matter(info["unexpected_keys"]),
        "of another shape": [
            f"{name} {tuple(found)} instead of {tuple(own)}" for name, found, own in info["mismatched_keys"]
        ],
    }
    named = [f"{what}: {', '.join(sorted(keys)[:5])}" for what, keys in problems.items() if keys]
    if named:
        raise ModelError(
            f"weights in {folder} do not fit the {type(model).__name__} of its config.json; keys "
            f"{'; '.join(named)}"
        )


def _that_matter(keys) -> list[str]:
    return [key for key in keys if not any(re.search(pattern, key) for pattern in IGNORED_KEYS)]


@torch.no_grad()
def _check_finite(model, folder: Path):
    for name, parameter in model.named_parameters():
        if parameter.numel() and not all(torch.isfinite(x) for x in torch.aminmax(parameter)):
            raise ModelError(
                f"weights in {folder} hold values that are not finite, the first in {name}; get the "
                "checkpoint again, or set features.dtype: float32"
            )


def load_tokenizer(folder: Path, subfolder: str = ""):
    """The tokenizer of a checkpoint, or one of several.

    Raises
    ------
    ModelError
        When it cannot be loaded.
    """
    return loaded(AutoTokenizer, "tokenizer", folder, subfolder=subfolder)


def load_image_processor(folder: Path):
    """The image processor of a checkpoint.

    It is that of the PIL backend, so that features do not depend on whether torchvision is installed.
    """
    return loaded(AutoImageProcessor, "image processor", folder, backend="pil")


def loaded(auto_class, what: str, folder: Path, **options):
    """``auto_class.from_pretrained`` of a folder; its errors as a :class:`ModelError`."""
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:
        raise ModelError(f"{what} of {folder} cannot be loaded: {first_line(error)}") from error


def facts(name: str, values: dict) -> dict:
    """A configuration as entries of a fingerprint: flat, JSON-able, long values as digests.

    Entries that are None are left out, because newer versions of a library add such; so is what
    :data:`INCIDENTAL` names.

    Parameters
    ----------
    name : str
        Precedes each key, with a dot.
    values : dict
        Mappings below keys that end in ``_config`` are taken apart too.
    """
    found = {}
    for key, value in values.items():
        if key in INCIDENTAL or key.startswith("_") or value is None:
            continue
        if isinstance(value, dict) and key.endswith("_config"):
            found |= facts(f"{name}.{key}", value)
            continue
        text = json.dumps(value, sort_keys=True, default=repr)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        found[f"{name}.{key}"] = json.loads(text) if len(text) <= LONGEST_FACT else digest
    return found


def tokenizer_facts(name: str, tokenizer) -> dict:
    """Everything that decides how a tokenizer turns text into ids, as entries of a fingerprint."""
    names = ("padding_side", "truncation_side", "model_max_length", "chat_template", "special_tokens_map")
    values = tokenizer.init_kwargs | {name: getattr(tokenizer, name) for name in names}
    values["added_tokens"] = {i: repr(token) for i, token in sorted(tokenizer.added_tokens_decoder.items())}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return facts(name, values | {"vocabulary": tokenizer.get_vocab()})
    # padding and truncation are set anew by each call
    parts = json.loads(backend.to_str())
    own = ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return facts(name, values | {part: parts[part] for part in own})


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
