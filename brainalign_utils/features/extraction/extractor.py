"""From images and instructions to stored features, block by block."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ...artifacts import hardware, peak_memory
from ...models import marker_in
from ...tables import NO_INSTRUCTION, Instruction
from ..adapters import Adapter, ModelError, Prompt
from ..adapters.inputs import PART_TOKENS
from ..adapters.loading import is_out_of_memory
from ..store import FeatureStore
from .pooling import Greedy, TopK, generate_pooled, pooling_rule, row_uniforms
from .reading import Batch, ExtractionError, Reader

logger = logging.getLogger(__name__)

CPU_BYTES = 256 * 2**20
"""Working memory aimed at on a CPU: more gains nothing in speed."""

GPU_SHARE = 0.6
"""Share of a GPU's free memory that is planned for; the rest is for what the estimate leaves out."""

MAX_IMAGES = 256

CAPTION_TOKENS = 32
"""Of captions on average, at most; batches are planned for these."""


class Extractor:
    """Runs one model over blocks of stimuli.

    Parameters
    ----------
    adapter : Adapter
    images : mapping of nsd_id to (height, width, 3) uint8 array
        Read lazily; may be None for models that see no image.
    instructions : sequence of Instruction
    captions : mapping of nsd_id to str, optional
        For models that read captions.
    pooling : str
    max_new_tokens : int
    batch_size : "auto" or int
        Rows (an image with an instruction each) decoded together.
    seed : int
        Of sampled answers.

    Raises
    ------
    ExtractionError
        For an instruction that is empty, contains a marker of the model, or does not fit the context.

    Examples
    --------
    >>> import numpy as np
    >>> from brainalign_utils.features.adapters import checkpoint_folder, load_adapter, model_row
    >>> row = model_row("vit-h")
    >>> adapter = load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu")
    >>> images = {7: np.zeros((425, 425, 3), np.uint8), 9: np.full((425, 425, 3), 255, np.uint8)}
    >>> arrays, answers = Extractor(adapter, images, instructions=[]).block([7, 9])
    >>> arrays["vision"].shape  # (n_instructions, n_states, n_stimuli, n_features)
    (1, 4, 2, 96)
    """

    def __init__(
        self, adapter: Adapter, images, instructions, captions=None, pooling="generated", max_new_tokens=30,
        batch_size="auto", seed=0,
    ):  # fmt: skip
        self.adapter, self.seed = adapter, seed
        self.reader = Reader(adapter, images, captions)
        self.rule = pooling_rule(pooling)
        if self.rule.span != adapter.span:
            raise ValueError(
                f"adapter pools span {adapter.span!r}, pooling {pooling!r} needs {self.rule.span!r}"
            )
        if adapter.takes_caption and captions is None:
            raise ExtractionError(f"model {adapter.row.id!r} reads captions; set coco_root to COCO's folder")
        self.instructions = self._used(instructions)
        self._check_markers(captions if adapter.takes_caption else {})
        self.fixed = not adapter.takes_caption and [adapter.prompt(i.text) for i in self.instructions]
        self.is_constant = adapter.row.image == "blank"
        self._constant_block = None
        # rows of one instruction run together, whatever their captions: their answers are of like length
        self.lengths = [len(adapter.prompt(i.text).ids) for i in self.instructions]
        n_prompt = max(self.lengths, default=0) + (CAPTION_TOKENS if adapter.takes_caption else 0)
        self.n_new = self._answer_length(max_new_tokens, n_prompt)
        self._check_instructions()
        self.n_rows, self.n_images = self._plan(batch_size, n_prompt)

    def _used(self, instructions) -> list[Instruction]:
        if self.adapter.decoder is None:
            return []
        if not self.adapter.row.instructed:
            return [Instruction(NO_INSTRUCTION, "none", "", 0)]
        for instruction in instructions:
            if not instruction.text.strip():
                raise ExtractionError(f"instruction {instruction.id!r} is empty; give it a text")
        return list(instructions)

    def _check_markers(self, captions):
        markers = self.adapter.markers()
        texts = {f"instruction {row.id!r}": row.text for row in self.instructions}
        texts |= {f"the caption of nsd_id {nsd_id}": caption for nsd_id, caption in captions.items()}
        for what, text in texts.items():
            if marker := marker_in(text, markers):
                raise ExtractionError(
                    f"{what} contains {marker!r}, which model {self.adapter.row.id!r} does not read as text "
                    "but as a marker; reword it"
                )

    def _answer_length(self, max_new_tokens: int, n_prompt: int) -> int:
        limit = self.adapter.max_tokens
        if not self.rule.generates:
            return 0
        if not self.rule.max_length:
            return max_new_tokens
        return max(1, min(self.rule.max_length, limit or self.rule.max_length) - n_prompt)

    def _check_instructions(self):
        for prompt, instruction in zip(self.fixed or [], self.instructions, strict=False):
            self._check_length(prompt, f"instruction {instruction.id!r}")

    def _check_length(self, prompt: Prompt, what: str):
        limit, query_limit = self.adapter.max_tokens, self.adapter.max_qformer_tokens
        if limit is not None and len(prompt.ids) + self.n_new > limit:
            raise ExtractionError(
                f"{what} makes a prompt of {len(prompt.ids)} tokens; with {self.n_new} new tokens it does "
                f"not fit the {limit} of model {self.adapter.row.id!r}; shorten it, or lower "
                "features.max_new_tokens"
            )
        if query_limit is not None and len(prompt.qformer_ids) > query_limit:
            raise ExtractionError(
                f"{what} has {len(prompt.qformer_ids)} tokens for the Q-Former of model "
                f"{self.adapter.row.id!r}, which reads {query_limit}; shorten it"
            )

    def _plan(self, batch_size, n_prompt: int) -> tuple[int, int]:
        n_instructions = max(len(self.instructions), 1)
        n_images = planned_images(self.adapter) if self.adapter.takes_image else 256
        if batch_size != "auto":
            return batch_size, max(1, min(n_images, batch_size // n_instructions))
        if not self.instructions:
            return n_images, n_images
        n_rows = planned_rows(self.adapter, n_prompt, self.n_new)
        return n_rows, max(1, min(n_images, -(-n_rows // n_instructions)))

    @property
    def instruction_ids(self) -> tuple[str, ...]:
        return tuple(i.id for i in self.instructions) or (NO_INSTRUCTION,)

    def components(self) -> dict:
        """Instruction ids, number of states and width of each component, for the store."""
        return {
            name: (self.instruction_ids if c.per_instruction else (NO_INSTRUCTION,), c.n_states, c.width)
            for name, c in self.adapter.components.items()
        }

    def block(self, nsd_ids: np.ndarray, advance=lambda n: None):
        """Features and answers of some stimuli.

        Parameters
        ----------
        nsd_ids : (n_stimuli,) int array
        advance : callable
            Told the number of images done.

        Returns
        -------
        arrays : dict of str to (n_instructions, n_states, n_stimuli, width) float32 array
        answers : DataFrame or None
            nsd_id, instruction, text, n_tokens.

        Raises
        ------
        ExtractionError
            When an image cannot be read or a state is not finite, with its nsd_id and layer.
        """
        nsd_ids = np.asarray(nsd_ids)
        if self.is_constant:
            return self._constant(nsd_ids, advance)
        arrays = {
            name: np.full((len(ids), n_states, len(nsd_ids), width), np.nan, np.float32)
            for name, (ids, n_states, width) in self.components().items()
        }
        texts = np.full((len(nsd_ids), len(self.instructions)), "", object)
        lengths = np.zeros(texts.shape, int)
        groups = np.split(np.arange(len(nsd_ids)), range(self.n_images, len(nsd_ids), self.n_images))
        for batch in read_ahead(lambda group: self.reader.batch(group, nsd_ids[group]), groups):
            self._run(batch, arrays, texts, lengths)
            advance(len(batch.positions))
        self._check_finite(arrays, nsd_ids)
        return arrays, self._table(nsd_ids, texts, lengths)

    def _constant(self, nsd_ids, advance):
        """A blank picture is the same for every stimulus: run once, repeat."""
        if self._constant_block is None:
            self.is_constant = False
            self._constant_block = self.block(nsd_ids[:1])
            self.is_constant = True
        arrays, answers = self._constant_block
        advance(len(nsd_ids))
        arrays = {name: np.repeat(values, len(nsd_ids), axis=2) for name, values in arrays.items()}
        if answers is not None:
            repeated = pd.concat([answers] * len(nsd_ids), ignore_index=True)
            answers = repeated.assign(nsd_id=np.repeat(nsd_ids, len(answers)))
        return arrays, answers

    def _run(self, batch: Batch, arrays, texts, lengths):
        """One encoding batch; on out-of-memory, again with half the rows."""
        try:
            return self._encode(batch, arrays, texts, lengths)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self.n_rows == 1 and len(batch.positions) == 1:
                raise ModelError(
                    f"one image of model {self.adapter.row.id!r} does not fit in the memory of "
                    f"{self.adapter.device}; use a larger device or a smaller dtype"
                ) from None
        # out of the except block, whose error holds the tensors that filled the memory
        self.n_rows = max(1, self.n_rows // 2)
        self.n_images = max(1, min(self.n_images, len(batch.positions)) // 2)
        if self.adapter.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning("out of memory: batches are now %d rows, %d images", self.n_rows, self.n_images)
        for part in batch.parts(self.n_images):
            self._run(part, arrays, texts, lengths)

    @torch.inference_mode()
    def _encode(self, batch: Batch, arrays, texts, lengths):
        adapter, n_images = self.adapter, len(batch.positions)
        pixels = batch.pixels
        if pixels is not None:
            pixels = pixels.to(adapter.device, adapter.dtype, non_blocking=True)
        prompts = self._prompts(batch) if self.instructions else []
        encoded, pooled = adapter.encode(pixels, batch.captions)
        for name, states in pooled.items():
            arrays[name][0][:, batch.positions] = states.cpu().numpy()
        if not prompts:
            return
        for chosen in length_sorted(np.repeat(self.lengths, n_images), self.n_rows):
            # prompts lie instruction by instruction, images within
            number, image = np.divmod(chosen, n_images)
            row_image = torch.tensor(image, device=adapter.device)
            rows, pooled = adapter.rows(encoded, row_image, [prompts[i] for i in chosen])
            states, answers = self._pool(rows, batch.nsd_ids[image], number)
            where = batch.positions[image]
            for name, values in {**pooled, "language": states}.items():
                arrays[name][number, :, where] = values.transpose(0, 1).cpu().numpy()
            said = {answer: adapter.decode(answer) for answer in set(map(tuple, answers))}
            for i, n, answer in zip(where, number, answers, strict=True):
                texts[i, n], lengths[i, n] = said[tuple(answer)], len(answer)

    def _prompts(self, batch: Batch):
        n_images = len(batch.positions)
        if self.fixed:
            return [prompt for prompt in self.fixed for _ in range(n_images)]
        read = list(zip(batch.captions, batch.nsd_ids, strict=True))
        prompts = []
        for instruction in self.instructions:
            for caption, nsd_id in read:
                prompts.append(self.adapter.prompt(instruction.text, caption))
                self._check_length(prompts[-1], f"the caption of nsd_id {nsd_id}")
        return prompts

    def _pool(self, rows, nsd_ids, number):
        adapter, rule = self.adapter, self.rule
        if not rule.generates:
            return adapter.decoder.start(rows, 0, rule.span)[1], [[]] * len(nsd_ids)
        choose = Greedy()
        if rule.top_k:
            uniforms = row_uniforms(self.seed, nsd_ids, number, self.n_new)
            choose = TopK(rule.top_k, uniforms.to(adapter.device))
        return generate_pooled(adapter.decoder, rows, self.n_new, adapter.eos_ids, adapter.banned_ids, choose)

    def _check_finite(self, arrays, nsd_ids):
        for name, values in arrays.items():
            if np.isfinite(values).all():
                continue
            instruction, layer, stimulus, _ = np.argwhere(~np.isfinite(values))[0]
            where = self.components()[name][0][instruction]
            raise ExtractionError(
                f"{name} state of layer {layer} is not finite for nsd_id {nsd_ids[stimulus]}, instruction "
                f"{where!r}; try features.dtype: float32, or look at the checkpoint"
            )

    def _table(self, nsd_ids, texts, lengths) -> pd.DataFrame | None:
        if not self.instructions or not self.rule.generates:
            return None
        n = len(self.instructions)
        return pd.DataFrame(
            {
                "nsd_id": np.repeat(nsd_ids, n),
                "instruction": np.tile(self.instruction_ids, len(nsd_ids)),
                "text": texts.ravel(),
                "n_tokens": lengths.ravel(),
            }
        )


def extract_features(extractor: Extractor, store: FeatureStore, shard=(0, 1), progress_bar: bool = False):
    """Make the missing blocks of one shard.

    Blocks are independent and each is written whole, so a killed job goes on where it was, and
    shards write disjoint blocks of the same arrays.

    Parameters
    ----------
    extractor : Extractor
    store : FeatureStore
        Created, with the components of the extractor.
    shard : (k, n)
        This job makes every n-th block from the k-th on.
    progress_bar : bool

    Raises
    ------
    StoreError
        When another job works on the same shard.
    """
    with store.shard_lock(shard):
        missing = store.missing_blocks(shard)
        total = sum(len(store.block_ids(block)) for block in missing)
        with tqdm(total=total, unit="image", desc=extractor.adapter.row.id, disable=not progress_bar) as bar:
            for block in missing:
                start = time.perf_counter()
                arrays, answers = extractor.block(store.block_ids(block), bar.update)
                seconds = time.perf_counter() - start
                facts = {"seconds": round(seconds, 3), "peak_bytes": peak_memory(), "rows": extractor.n_rows}
                store.write_block(block, arrays, answers, facts | {"hardware": hardware()})


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
