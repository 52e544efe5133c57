"""How much fits at once, in which order, and reading ahead."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..adapters.rows import PART_TOKENS

CPU_BYTES = 256 * 2**20
"""Working memory aimed at on a CPU: more gains nothing in speed."""

GPU_SHARE = 0.6
"""Share of a GPU's free memory that is planned for; the rest is for what the estimate leaves out."""

MAX_IMAGES = 256

OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "could not create a primitive",
    "could not create a memory object",
    "could not execute a primitive",
)
"""oneDNN, which runs convolutions and products on CPUs, says no more than this when it gets no memory."""


def planned_rows(adapter, n_tokens: int, n_new: int) -> int:
    """Rows (an image with an instruction each) that fit in memory.

    Depends on the machine and the model alone, not on what else runs, so that a resumed job makes
    the same batches.

    Parameters
    ----------
    adapter : Adapter
    n_tokens, n_new : int
        Prompt positions and generated tokens of a row.
    """
    config = adapter.model.config.get_text_config()
    size = torch.empty((), dtype=adapter.dtype).element_size()
    width, n_layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or getattr(config, "d_ff", 4 * width)
    cache = 2 * n_layers * width * size * (n_tokens + n_new)
    embeddings = 2 * n_tokens * width * size
    states = 3 * (n_layers + 1) * width * 4
    activations = max(n_tokens, PART_TOKENS) * (8 * width + 3 * inner) * size
    one_row = cache + embeddings + states + 4 * config.vocab_size
    return max(1, int((_budget(adapter) - activations) / one_row))


def planned_images(adapter) -> int:
    """Images that a vision tower takes at once."""
    config = adapter.model.config
    config = getattr(config, "vision_config", config)
    width = getattr(config, "hidden_size", None) or config.embed_dim
    n_tokens = (config.image_size // config.patch_size) ** 2 + 1
    size = torch.empty((), dtype=adapter.dtype).element_size()
    return int(np.clip(_budget(adapter) / (n_tokens * 24 * width * size), 1, MAX_IMAGES))


def _budget(adapter) -> float:
    if adapter.device.type != "cuda":
        return CPU_BYTES
    total = torch.cuda.get_device_properties(adapter.device).total_memory
    weights = sum(p.numel() * p.element_size() for p in adapter.model.parameters())
    return max(GPU_SHARE * (total - weights), CPU_BYTES)


def length_sorted(lengths, n_rows: int) -> list[np.ndarray]:
    """Row numbers in batches of ``n_rows``, rows of like prompt length together.

    Parameters
    ----------
    lengths : (n,) int sequence
    n_rows : int
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    return [order[i : i + n_rows] for i in range(0, len(order), n_rows)]


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out: on a GPU, or on a CPU in the words of torch or oneDNN."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


def read_ahead(read, items):
    """Yield ``read(item)`` for each item, reading the next one in a thread meanwhile."""
    items = list(items)
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(read, item) for item in items[:1]]
        for i in range(len(items)):
            result = pending.pop().result()
            if i + 1 < len(items):
                pending.append(pool.submit(read, items[i + 1]))
            yield result
