"""Features on disk: what is written comes back, blocks resume, and damage is refused."""

import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from brainalign_utils.features import store
from brainalign_utils.store import StoreError, read_table

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
    assert list(read_table(tmp_path / "answers.parquet")["nsd_id"]) == list(NSD_IDS)
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
    monkeypatch.setattr(store, "KEPT_BYTES", 0)
    _write(features, arrays, range(3))
    np.testing.assert_array_equal(store.read_features(features.folder, "language", "IC", 1, ids), kept)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kept", [0, store.KEPT_BYTES])
def test_rows_are_those_of_the_array_in_any_order(tmp_path, monkeypatch, dtype, kept):
    monkeypatch.setattr(store, "KEPT_BYTES", kept)
    features = _store(tmp_path, dtype=dtype)
    features.create()
    _write(features, _arrays(), [0, 2])
    array = zarr.open_group(features.folder / "language.zarr", mode="r")["features"]
    for ids in ([2, 3, 5], [17, 3, 2, 17], []):
        found = store.read_features(features.folder, "language", "VQ1", 2, ids)
        assert found.dtype == np.float32 and found.shape == (len(ids), 6)
        np.testing.assert_array_equal(found, array[1, 2][np.searchsorted(NSD_IDS, ids)].astype(np.float32))
    with pytest.raises(StoreError, match="no features yet for 1 of 2 stimuli, first nsd_id 11"):
        store.read_features(features.folder, "language", "VQ1", 2, [2, 11])
    _write(features, _arrays(), [1])  # what was kept is not what is there now
    assert np.isfinite(store.read_features(features.folder, "language", "VQ1", 2, [2, 11])).all()


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
