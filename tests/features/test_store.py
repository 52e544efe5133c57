"""Artifacts: what is written comes back, and damage is refused."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from brainalign_utils.features import store
from brainalign_utils.features.store import StoreError, datasets, shards
from brainalign_utils.features.store import features as feature_store

N_VOXELS, N_STIMULI, N_REPEATS = 7, 11, 3


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N_REPEATS, N_STIMULI, N_VOXELS)).astype(np.float32)
    values[1, 2] = np.nan
    return xr.Dataset(
        {
            "test": (("repeat", "test_stimulus", "voxel"), values),
            "roi_mask": (("roi", "voxel"), rng.random((2, N_VOXELS)) > 0.5),
            "n_sessions": ((), 3),
        },
        coords={
            "test_nsd_id": ("test_stimulus", np.arange(N_STIMULI, dtype=np.int32)),
            "roi": ["EBA", "prf-visual"],
            "area": ("voxel", np.array(["a"] * (N_VOXELS - 1) + ["café"])),
        },
    )


def _chunk(path, array):
    return next(p for p in sorted((path / array / "c").rglob("*")) if p.is_file())


def test_dataset_round_trip(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset, {"subject": 1})
    back = store.open_dataset(path, expected={"subject": 1})
    xr.testing.assert_equal(back, dataset)
    for name in ("test", "roi_mask", "test_nsd_id"):
        assert back[name].dtype == dataset[name].dtype
    assert "subject" not in dataset.attrs and not list(tmp_path.glob(".*.partial"))


def test_dataset_is_replaced(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset)
    store.write_dataset(path, dataset + 1)
    xr.testing.assert_equal(store.open_dataset(path)["test"], dataset["test"] + 1)


def test_lazy_reading_reads_the_same(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset, chunks={"voxel": 3})
    lazy = store.open_dataset(path, load=False)
    np.testing.assert_array_equal(lazy["test"][:, :, 4:].values, dataset["test"].values[:, :, 4:])


@pytest.mark.parametrize("array", ["test", "test_nsd_id", "roi", "roi_mask"])
def test_altered_byte_is_refused(tmp_path, dataset, array):
    path = store.write_dataset(tmp_path / "a.zarr", dataset)
    chunk = _chunk(path, array)
    data = bytearray(chunk.read_bytes())
    data[len(data) // 3] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"a\.zarr is damaged"):
        store.open_dataset(path)


def test_cut_off_chunk_is_refused(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset)
    chunk = _chunk(path, "test")
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(StoreError, match=r"a\.zarr is damaged"):
        store.open_dataset(path)


def test_missing_chunk_is_refused(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset, chunks={"repeat": 1})
    _chunk(path, "test").unlink()
    with pytest.raises(StoreError, match="'test' has 2 of 3 chunks"):
        store.open_dataset(path)


def test_chunks_of_one_value_are_written_too(tmp_path):
    path = store.write_dataset(tmp_path / "a.zarr", xr.Dataset({"x": ("voxel", np.full(5, np.nan))}))
    assert np.isnan(store.open_dataset(path)["x"]).all()


def test_other_settings_are_refused(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset, {"subject": 1, "seed": 0})
    with pytest.raises(StoreError, match=r"subject is 1, expected 2"):
        store.open_dataset(path, expected={"subject": 2, "seed": 0})


def test_absent_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        store.open_dataset(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(StoreError, match="not a readable Zarr"):
        store.open_dataset(tmp_path / "empty.zarr")


def test_second_writer_is_refused(tmp_path, dataset):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from brainalign_utils.features.store.datasets import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a.zarr"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=r"another job is writing .*a\.zarr"):
            store.write_dataset(tmp_path / "a.zarr", dataset)
    finally:
        holder.kill()
        holder.wait()
    store.write_dataset(tmp_path / "a.zarr", dataset)  # a killed job leaves no lock behind


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_table_round_trip(tmp_path, suffix):
    table = pd.DataFrame({"text": ["a dog, two cats", "", 'say "no"'], "n_tokens": [3, 0, 5]})
    path = store.write_table(tmp_path / "sub" / f"t.{suffix}", table)
    pd.testing.assert_frame_equal(store.read_table(path).fillna(""), table, check_dtype=False)
    with pytest.raises(ValueError, match=r"expected \.parquet or \.csv"):
        store.write_table(tmp_path / "t.pkl", table)


def test_damaged_table_and_note_are_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(StoreError, match="damaged"):
        store.read_table(tmp_path / "t.parquet")
    (tmp_path / "n.json").write_text('{"a": ')
    with pytest.raises(StoreError, match="not valid JSON"):
        store.read_json(tmp_path / "n.json")


INSTRUCTIONS = ("IC", "VQ1")
NSD_IDS = np.array([2, 3, 5, 7, 11, 13, 17], dtype=np.int32)


def _store(folder, **changes):
    values = {
        "folder": folder / "model",
        "components": {"vision": (("none",), 3, 5), "language": (INSTRUCTIONS, 4, 6)},
        "nsd_ids": NSD_IDS,
        "stimuli_per_block": 3,
        "fingerprint": {"pooling": "generated", "revision": "abc"},
    }
    return store.FeatureStore(**(values | changes))


def _arrays():
    rng = np.random.default_rng(1)
    return {
        "vision": rng.standard_normal((1, 3, 7, 5)).astype(np.float32),
        "language": rng.standard_normal((2, 4, 7, 6)).astype(np.float32),
    }


def _write(features, arrays, blocks):
    for block in blocks:
        ids = features.block_ids(block)
        part = slice(block * 3, block * 3 + 3)
        answers = pd.DataFrame({"nsd_id": ids, "instruction": "IC", "text": "a dog", "n_tokens": 2})
        features.write_block(block, {c: a[:, :, part] for c, a in arrays.items()}, answers, {"seconds": 1})


@pytest.fixture
def written(tmp_path):
    features, arrays = _store(tmp_path), _arrays()
    features.create()
    _write(features, arrays, range(3))
    return features, arrays


def test_features_round_trip(written):
    features, arrays = written
    wanted = np.array([13, 2, 5, 13])
    rows = np.searchsorted(NSD_IDS, wanted)
    for layer in range(4):
        for i, instruction in enumerate(INSTRUCTIONS):
            values = store.read_features(features.folder, "language", instruction, layer, wanted)
            np.testing.assert_array_equal(values, arrays["language"][i, layer][rows])
    assert store.read_features(features.folder, "vision", "none", 0, []).shape == (0, 5)


def test_features_open_with_xarray(written):
    features, arrays = written
    array = xr.open_zarr(features.folder / "language.zarr", consolidated=False, chunks=None)["features"]
    assert array.dims == ("instruction", "layer", "stimulus", "feature")
    assert list(array["instruction"].values) == list(INSTRUCTIONS)
    np.testing.assert_array_equal(array["nsd_id"], NSD_IDS)
    np.testing.assert_array_equal(array.sel(instruction="VQ1", layer=2), arrays["language"][1, 2])


def test_feature_spaces(written):
    table = store.feature_spaces(written[0].folder)
    assert list(table.columns) == ["component", "instruction", "layer", "depth"]
    assert len(table) == 3 + 2 * 4
    assert list(table["component"].unique()) == ["vision", "language"]
    np.testing.assert_allclose(table[table["component"] == "vision"]["depth"], [0, 0.5, 1])


def test_component_of_one_layer_is_at_depth_one(tmp_path):
    features = _store(tmp_path, components={"projection": (("none",), 1, 5)})
    features.create()
    assert store.feature_spaces(features.folder)["depth"].tolist() == [1.0]


def test_blocks_resume_and_shard(tmp_path):
    features, arrays = _store(tmp_path), _arrays()
    features.create()
    assert features.missing_blocks() == [0, 1, 2]
    assert features.missing_blocks((0, 2)) == [0, 2] and features.missing_blocks((1, 2)) == [1]
    _write(features, arrays, [1])
    assert features.missing_blocks() == [0, 2]
    assert not features.collect_answers(tmp_path / "answers.parquet")
    with pytest.raises(StoreError, match=r"no features yet for 1 of 2 stimuli, first nsd_id 2"):
        store.read_features(features.folder, "language", "IC", 1, [7, 2])
    _write(features, arrays, [0, 2])
    assert features.collect_answers(tmp_path / "answers.parquet")
    assert list(store.read_table(tmp_path / "answers.parquet")["nsd_id"]) == list(NSD_IDS)
    with pytest.raises(ValueError, match="shard is 2/2"):
        features.missing_blocks((2, 2))


@pytest.mark.parametrize("ids", [NSD_IDS, [13, 2, 5, 13]])
def test_small_features_stay_in_memory_and_read_the_same(written, monkeypatch, ids):
    features, arrays = written
    path = features.folder / "language.zarr"
    kept = store.read_features(features.folder, "language", "IC", 1, ids)
    kept[:] = -1  # whoever reads may alter what was read
    kept = store.read_features(features.folder, "language", "IC", 1, ids)
    shutil.rmtree(path / "features/c")
    np.testing.assert_array_equal(store.read_features(features.folder, "language", "IC", 1, ids), kept)
    monkeypatch.setattr(feature_store, "KEPT_BYTES", 0)
    _write(features, arrays, range(3))
    np.testing.assert_array_equal(store.read_features(features.folder, "language", "IC", 1, ids), kept)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_from_shards_are_what_zarr_reads(tmp_path, dtype):
    features = _store(tmp_path, dtype=dtype)
    features.create()
    _write(features, _arrays(), [0, 2])
    path = features.folder / "language.zarr"
    array = zarr.open_group(path, mode="r")["features"]
    for rows in (np.arange(7), np.array([6, 0, 4, 2, 0, 1]), np.array([2, 3]), np.array([], int)):
        found = shards.read_rows(path / "features", array, 1, 2, rows)
        assert found.dtype == np.float32 and found.shape == (len(rows), 6)
        np.testing.assert_array_equal(found, array[1, 2][rows].astype(np.float32))
    missing = shards.read_rows(path / "features", array, 0, 0, np.array([4]))
    assert np.isnan(missing).all(), "the second block was not written"
    shard = path / "features/c/0/0/0/0"
    shard.write_bytes(shard.read_bytes()[7:])
    with pytest.raises(ValueError, match="do not match their checksum"):
        shards.read_rows(path / "features", array, 1, 2, np.array([1]))


def test_a_damaged_block_leaves_the_others_readable(written):
    features, arrays = written
    shard = features.folder / "language.zarr/features/c/0/0/2/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    values = store.read_features(features.folder, "language", "IC", 0, NSD_IDS[:3])
    np.testing.assert_array_equal(values, arrays["language"][0, 0, :3])


@pytest.mark.parametrize("block", [1, 2])  # the last is shorter
def test_damaged_block_is_made_again_and_refused_when_read(written, block):
    features, arrays = written
    shard = features.folder / f"language.zarr/features/c/0/0/{block}/0"
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"language\.zarr is damaged"):
        store.read_features(features.folder, "language", "IC", 0, NSD_IDS)
    shard.write_bytes(bytes(data[: len(data) // 2]))
    (shard.parent / "0.killed.partial").write_bytes(b"left by a killed job")
    assert features.missing_blocks() == [block]
    _write(features, arrays, [block])
    assert features.missing_blocks() == [] and len(list(shard.parent.iterdir())) == 1
    values = store.read_features(features.folder, "language", "IC", 0, NSD_IDS)
    np.testing.assert_array_equal(values, arrays["language"][0, 0])


def test_other_fingerprint_is_refused_by_field(written, tmp_path):
    changed = _store(tmp_path, fingerprint={"pooling": "prompt", "revision": "abc"})
    with pytest.raises(StoreError, match=r"other settings: pooling was 'generated', now 'prompt'\. Restore"):
        changed.create()
    fewer = _store(tmp_path, nsd_ids=NSD_IDS[:-1])
    with pytest.raises(StoreError, match=r"n_stimuli was 7, now 6; nsd_ids was"):
        fewer.create()
    changed.create(replace_stale=True)
    assert changed.missing_blocks() == [0, 1, 2]
    _store(tmp_path, fingerprint=changed.fingerprint).create()


@pytest.mark.parametrize(
    ("component", "instruction", "layer", "ids", "expectation"),
    [
        ("qformer", "IC", 0, [2], r"no component 'qformer'; stored: vision, language"),
        ("language", "none", 0, [2], r"no instruction 'none'; stored: IC, VQ1"),
        ("vision", "none", 3, [2], r"no layer 3; stored: 0 to 2"),
        ("vision", "none", 0, [2, 4, 99], r"not 2 of those asked for, first nsd_id 4"),
    ],
)
def test_unknown_space_or_stimulus(written, component, instruction, layer, ids, expectation):
    with pytest.raises(StoreError, match=expectation):
        store.read_features(written[0].folder, component, instruction, layer, ids)


def test_second_job_on_a_shard_is_refused(tmp_path):
    features = _store(tmp_path)
    with features.shard_lock((0, 2)), features.shard_lock((1, 2)):
        with pytest.raises(StoreError, match="another job is extracting"):
            with _store(tmp_path).shard_lock((0, 2)):
                pass


@pytest.mark.parametrize(("value", "named"), [(1e5, r"1e\+05"), (-1e5, r"1e\+05"), (np.nan, "nan")])
def test_values_that_float16_cannot_hold_are_refused(tmp_path, value, named):
    features, arrays = _store(tmp_path, dtype="float16"), _arrays()
    features.create()
    arrays["language"][0, 1, 2, 3] = value
    with pytest.raises(StoreError, match=f"language states reach {named}, outside of float16"):
        _write(features, arrays, [0])
    assert features.missing_blocks() == [0, 1, 2]


def test_kept_datasets_are_read_once_and_again_when_replaced(tmp_path, monkeypatch):
    path = tmp_path / "scores.zarr"
    store.write_dataset(path, xr.Dataset({"r": ("voxel", np.arange(4.0))}))
    first = store.open_kept(path)
    first.attrs["note"] = "mine"
    first["more"] = first.r + 1
    monkeypatch.setattr(datasets, "open_dataset", lambda path: pytest.fail("read a second time"))
    again = store.open_kept(path)
    assert set(again) == {"r"} and "note" not in again.attrs
    with pytest.raises(ValueError, match="read-only"):
        again.r.values[0] = 7
    monkeypatch.undo()
    store.write_dataset(path, xr.Dataset({"r": ("voxel", np.arange(4.0) + 10)}))
    assert store.open_kept(path).r.values.tolist() == [10, 11, 12, 13]
    shutil.rmtree(path)
    with pytest.raises(StoreError):
        store.open_kept(path)


def test_no_more_is_kept_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "KEPT_BYTES", 100)
    monkeypatch.setattr(datasets, "_kept", {})
    for name, n in (("a", 8), ("b", 8), ("large", 50)):
        store.write_dataset(tmp_path / f"{name}.zarr", xr.Dataset({"r": ("voxel", np.zeros(n))}))
        store.open_kept(tmp_path / f"{name}.zarr")
    assert [path.stem for path in datasets._kept] == ["b"]
