"""Features of one model: one Zarr array per component, one shard per block of stimuli.

Layout of ``features/<model>``::

    <component>.zarr            features (instruction, layer, stimulus, feature), coordinates
    blocks/<block>.json         written last: the block is whole; file sizes, seconds, memory
    blocks/<block>.parquet      answers of the block

A block is a run of consecutive stimuli in the order of ``nsd_id``.  Blocks are independent, so jobs
can write disjoint sets of them into the same arrays and nothing has to be merged afterwards.
"""

import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from zarr.codecs import Crc32cCodec

from ..store import (
    SCHEMA_VERSION,
    StoreError,
    locked,
    named_damage,
    open_group,
    read_json,
    read_table,
    stamp,
    write_json,
    write_table,
)  # fmt: skip

DIMS = ("instruction", "layer", "stimulus", "feature")


@dataclass(frozen=True)
class FeatureStore:
    """Features of one model being written.

    Parameters
    ----------
    folder : Path
    components : dict of str to (instruction ids, n_layers, n_features)
        ``n_layers`` counts hidden states, embeddings included.
    nsd_ids : (n_stimuli,) int array, ascending
    stimuli_per_block : int
    fingerprint : dict
        Everything the numbers depend on; flat and JSON-able.
    dtype : {"float32", "float16"}
    """

    folder: Path
    components: dict
    nsd_ids: np.ndarray
    stimuli_per_block: int
    fingerprint: dict
    dtype: str = "float32"

    def create(self, replace_stale: bool = False):
        """Make the arrays, or check that those on disk belong to the same fingerprint.

        Raises
        ------
        StoreError
            When stored features were made with other settings and ``replace_stale`` is False;
            the message names each field that differs, with both values.
        """
        if np.any(np.diff(self.nsd_ids) <= 0):
            raise ValueError("nsd_ids must ascend without repeats; sort them with np.unique")
        # who finds the lock taken is another shard of the same model at its start, and waits
        with locked(self.folder, "creating", timeout=60):
            differences = self._differences()
            if differences and not replace_stale:
                raise StoreError(
                    f"{self.folder} holds features made with other settings: {'; '.join(differences)}. "
                    "Restore those settings, set features.replace_stale: true, or delete the folder"
                )
            if differences:
                shutil.rmtree(self.folder)
            for component in self.components:
                if not self._array_path(component).exists():
                    self._create_component(component)

    def _differences(self) -> list[str]:
        expected = self._attrs()
        differences = []
        for path in sorted(self.folder.glob("*.zarr")):
            found = dict(open_group(path).attrs)
            differences += [
                f"{key} was {found.get(key)!r}, now {expected.get(key)!r}"
                for key in sorted(expected.keys() | found.keys())
                if found.get(key) != expected.get(key)
            ]
        return list(dict.fromkeys(differences))

    def _attrs(self) -> dict:
        ids = hashlib.sha256(np.asarray(self.nsd_ids, np.int64).tobytes()).hexdigest()[:16]
        own = {"schema_version": SCHEMA_VERSION, "stimuli_per_block": self.stimuli_per_block}
        own |= {"components": list(self.components), "storage_dtype": self.dtype, "nsd_ids": ids}
        return json.loads(json.dumps(own | {"n_stimuli": len(self.nsd_ids)} | self.fingerprint))

    def _create_component(self, component: str):
        instructions, n_layers, n_features = self.components[component]
        partial = self.folder / f".{component}.zarr.partial"
        shutil.rmtree(partial, ignore_errors=True)
        group = zarr.open_group(partial, mode="w", zarr_format=3)
        block = (self.stimuli_per_block, n_features)
        features = group.create_array(
            "features", shape=(len(instructions), n_layers, len(self.nsd_ids), n_features), dtype=self.dtype,
            chunks=(1, 1, *block), shards=(len(instructions), n_layers, *block), filters=None,
            compressors=[Crc32cCodec()], fill_value=np.nan, dimension_names=DIMS,
        )  # fmt: skip
        features.attrs["coordinates"] = "nsd_id"
        coords = {
            "instruction": ("instruction", np.array(instructions, object)),
            "layer": ("layer", np.arange(n_layers, dtype=np.int32)),
            "nsd_id": ("stimulus", np.asarray(self.nsd_ids, np.int32)),
        }
        for name, (dim, values) in coords.items():
            dtype = str if values.dtype == object else values.dtype
            array = group.create_array(
                name, shape=values.shape, dtype=dtype, compressors=[Crc32cCodec()], dimension_names=(dim,)
            )
            array[:] = values
        group.attrs.update(self._attrs())
        partial.rename(self._array_path(component))

    def _array_path(self, component: str) -> Path:
        return self.folder / f"{component}.zarr"

    @property
    def n_blocks(self) -> int:
        return -(-len(self.nsd_ids) // self.stimuli_per_block)

    def block_ids(self, block: int) -> np.ndarray:
        """Ids of the stimuli of a block."""
        return self.nsd_ids[block * self.stimuli_per_block : (block + 1) * self.stimuli_per_block]

    def missing_blocks(self, shard: tuple[int, int] = (0, 1)) -> list[int]:
        """Blocks still to be made by shard k of n: every n-th block from the k-th on."""
        k, n = shard
        if not 0 <= k < n:
            raise ValueError(f"shard is {k}/{n}; expected k/n with 0 <= k < n")
        return [block for block in range(k, self.n_blocks, n) if not self.is_complete(block)]

    def is_complete(self, block: int) -> bool:
        """Whether a block was written to its end and its files still have the sizes they had then."""
        note = self._note(block)
        return note.is_file() and read_json(note)["bytes"] == self._block_bytes(block)

    def _note(self, block: int, suffix: str = "json") -> Path:
        return self.folder / "blocks" / f"{block:05d}.{suffix}"

    def _block_folder(self, component: str, block: int) -> Path:
        return self._array_path(component) / f"features/c/0/0/{block}"

    def _block_bytes(self, block: int) -> dict:
        paths = {c: self._block_folder(c, block) / "0" for c in self.components}
        paths["answers"] = self._note(block, "parquet")
        return {name: path.stat().st_size if path.is_file() else 0 for name, path in paths.items()}

    @contextmanager
    def shard_lock(self, shard: tuple[int, int]):
        """Refuse a second job on the same shard."""
        name = f"{self.folder.name}-shard-{shard[0]}-of-{shard[1]}"
        with locked(self.folder.with_name(name), "extracting"):
            yield

    def write_block(self, block: int, arrays: dict, answers: pd.DataFrame | None, facts: dict):
        """Write one block; the note that makes it count comes last.

        Parameters
        ----------
        block : int
        arrays : dict of str to (n_instructions, n_layers, n_block_stimuli, n_features) array
        answers : DataFrame or None
            nsd_id, instruction, text, n_tokens.
        facts : dict
            Seconds, memory and the like, for the note.

        Raises
        ------
        StoreError
            When a value is not finite in the stored type.
        """
        if set(arrays) != set(self.components):
            raise ValueError(f"arrays has {sorted(arrays)}; expected {sorted(self.components)}")
        start = block * self.stimuli_per_block
        for component, values in arrays.items():
            largest = np.abs(values).max(initial=0)
            if not largest <= np.finfo(self.dtype).max:  # NaN is not
                raise StoreError(
                    f"{component} states reach {largest:.3g}, outside of {self.dtype}; "
                    "set features.storage: float32"
                )
            # left by a killed job: zarr would read the shard of the last, shorter block before it writes
            shutil.rmtree(self._block_folder(component, block), ignore_errors=True)
            features = open_group(self._array_path(component), "r+")["features"]
            features[:, :, start : start + values.shape[2]] = values
        if answers is not None:
            write_table(self._note(block, "parquet"), answers)
        write_json(self._note(block), {"bytes": self._block_bytes(block), **facts})

    def collect_answers(self, path: Path) -> bool:
        """Once all blocks are whole, write their answers as one table; False while some are missing."""
        if any(not self.is_complete(block) for block in range(self.n_blocks)):
            return False
        parts = [self._note(block, "parquet") for block in range(self.n_blocks)]
        tables = [read_table(part) for part in parts if part.is_file()]
        if tables:
            write_table(path, pd.concat(tables, ignore_index=True))
        return True


KEPT_BYTES, N_KEPT = 64 * 2**20, 4
"""Features of a component up to this size stay in memory once they were read, of so many components."""


def _component_paths(folder: Path) -> list[Path]:
    paths = sorted(Path(folder).glob("*.zarr"))
    if not paths:
        raise StoreError(f"no features in {folder}; run the features stage of this model first")
    order = open_group(paths[0]).attrs["components"]
    return [Path(folder) / f"{component}.zarr" for component in order]


def feature_spaces(folder: Path) -> pd.DataFrame:
    """Every stored combination of component, instruction and layer of one model.

    Returns
    -------
    DataFrame
        component, instruction, layer and depth = layer / last layer of the component, 0 to 1; a
        component of one layer has depth 1.
    """
    rows = []
    for path in _component_paths(folder):
        group = open_group(path)
        layers = group["layer"][:]
        rows += [
            (path.stem, str(instruction), int(layer), float(layer / layers.max()) if layers.max() else 1.0)
            for instruction in group["instruction"][:]
            for layer in layers
        ]
    return pd.DataFrame(rows, columns=["component", "instruction", "layer", "depth"])


def read_features(folder: Path, component: str, instruction: str, layer: int, nsd_ids) -> np.ndarray:
    """Features of one space, in the order of ``nsd_ids``.

    Parameters
    ----------
    folder : Path
        ``settings.paths.features(model)``.
    component, instruction, layer
        As listed by :func:`feature_spaces`.
    nsd_ids : (n_stimuli,) int array
        0-based; may repeat.

    Returns
    -------
    (n_stimuli, n_features) float32 array

    Raises
    ------
    StoreError
        When the space or a stimulus is not stored, a block is missing, or a checksum fails.
    """
    path = Path(folder) / f"{component}.zarr"
    known = [p.stem for p in _component_paths(folder)]
    if component not in known:
        raise StoreError(f"{folder} has no component {component!r}; stored: {', '.join(known)}")
    stored, instructions, features = _opened(path, stamp(path))
    if instruction not in instructions:
        raise StoreError(f"{path} has no instruction {instruction!r}; stored: {', '.join(instructions)}")
    n_layers = features.shape[1]
    if not 0 <= layer < n_layers:
        raise StoreError(f"{path} has no layer {layer}; stored: 0 to {n_layers - 1}")
    rows = _find(stored, np.asarray(nsd_ids), path)
    space = instructions.index(instruction), layer
    with named_damage(path):
        if features.nbytes <= KEPT_BYTES:
            features = _whole(path, stamp(path), len(list(Path(folder).glob("blocks/*.json"))))
        values = features[space][rows].astype(np.float32)
    undefined = np.isnan(values[:, 0])  # blocks are written whole and finite, so one feature tells
    if undefined.any():
        raise StoreError(
            f"{path}: no features yet for {undefined.sum()} of {len(rows)} stimuli, first nsd_id "
            f"{np.asarray(nsd_ids)[undefined][0]}; run the features stage again, it resumes there"
        )
    return values


@lru_cache(maxsize=16)
def _opened(path: Path, made: int | None):
    """Stimuli, instructions and the array of a component, opened once while its file is the same."""
    group = open_group(path)
    with named_damage(path):
        stored = group["nsd_id"][:]
        return stored, [str(value) for value in group["instruction"][:]], group["features"]


@lru_cache(maxsize=N_KEPT)
def _whole(path: Path, made: int | None, n_blocks: int) -> np.ndarray:
    """All features of a small component, read once for all its spaces and all subjects."""
    return _opened(path, made)[2][:]


def _find(stored: np.ndarray, wanted: np.ndarray, path: Path) -> np.ndarray:
    """Rows of ``wanted`` in the ascending ``stored``."""
    rows = np.searchsorted(stored, wanted)
    found = rows < len(stored)
    found[found] = stored[rows[found]] == wanted[found]
    if not found.all():
        raise StoreError(
            f"{path} holds {len(stored)} stimuli but not {(~found).sum()} of those asked for, "
            f"first nsd_id {wanted[~found][0]}; extract features for all subjects of the study"
        )
    return rows
