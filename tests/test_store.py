"""Artifacts: what is written comes back, and damage is refused."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from brainalign_utils import store
from brainalign_utils.store import StoreError

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
    back = store.open_dataset(path)
    assert back.attrs["subject"] == 1
    xr.testing.assert_equal(back, dataset)
    for name in ("test", "roi_mask", "test_nsd_id"):
        assert back[name].dtype == dataset[name].dtype
    assert "subject" not in dataset.attrs and not list(tmp_path.glob(".*.partial"))


def test_dataset_is_replaced(tmp_path, dataset):
    path = store.write_dataset(tmp_path / "a.zarr", dataset)
    store.write_dataset(path, dataset + 1)
    xr.testing.assert_equal(store.open_dataset(path)["test"], dataset["test"] + 1)


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


def test_missing_chunk_is_refused(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(store, "MAX_CHUNK_BYTES", N_STIMULI * N_VOXELS * 4)  # one repeat
    path = store.write_dataset(tmp_path / "a.zarr", dataset)
    xr.testing.assert_equal(store.open_dataset(path), dataset)
    _chunk(path, "test").unlink()
    with pytest.raises(StoreError, match="'test' has 2 of 3 chunks"):
        store.open_dataset(path)


def test_chunks_of_one_value_are_written_too(tmp_path):
    path = store.write_dataset(tmp_path / "a.zarr", xr.Dataset({"x": ("voxel", np.full(5, np.nan))}))
    assert np.isnan(store.open_dataset(path)["x"]).all()


def test_other_schemas_are_refused(tmp_path, dataset, monkeypatch):
    path = store.write_dataset(tmp_path / "a.zarr", dataset)
    monkeypatch.setattr(store, "SCHEMA_VERSION", 7)
    with pytest.raises(StoreError, match="schema version 1, this program reads 7"):
        store.open_dataset(path)


def test_absent_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        store.open_dataset(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(StoreError, match="not a readable Zarr"):
        store.open_dataset(tmp_path / "empty.zarr")


def test_second_writer_is_refused(tmp_path, dataset):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from brainalign_utils.store import locked\n"
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
    with pytest.raises(StoreError, match=r"n\.json is damaged"):
        store.read_json(tmp_path / "n.json")


def test_kept_datasets_are_read_once_and_again_when_replaced(tmp_path, monkeypatch):
    path = tmp_path / "scores.zarr"
    store.write_dataset(path, xr.Dataset({"r": ("voxel", np.arange(4.0))}))
    first = store.open_kept(path)
    first.attrs["note"] = "mine"
    first["more"] = first.r + 1
    monkeypatch.setattr(store, "open_dataset", lambda path: pytest.fail("read a second time"))
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


def test_large_datasets_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BYTES", 100)
    monkeypatch.setattr(store, "_kept", {})
    for name, n in (("small", 8), ("large", 50)):
        store.write_dataset(tmp_path / f"{name}.zarr", xr.Dataset({"r": ("voxel", np.zeros(n))}))
        store.open_kept(tmp_path / f"{name}.zarr")
    assert [path.stem for path, _ in store._kept] == ["small"]


def test_files_without_permission_are_not_called_damaged(tmp_path, monkeypatch):
    note = store.write_json(tmp_path / "n.json", {"a": 1})

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(note))

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(PermissionError):
        store.read_json(note)
