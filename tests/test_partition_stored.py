"""Tables of stored partitions, on planted region means."""

import numpy as np
import pytest
import xarray as xr

from brainalign_utils import store
from brainalign_utils.config import load_settings
from brainalign_utils.partition import stored

NAMES = ["IU1", "IU2", "IC"]
PAIRS = [("IU1", "IU2"), ("IU1", "IC"), ("IU2", "IC")]
ROIS = ["prf-visual", "higher"]


@pytest.fixture
def settings(tmp_path):
    settings = load_settings(build_root=tmp_path, subjects=[1, 5])
    for k, subject in enumerate(settings.subjects):
        shape = (len(PAIRS), 2, len(ROIS), 3)
        values = np.arange(np.prod(shape), dtype=float).reshape(shape) / 100 + k
        dims = ("pair", "measure", "roi", "bound")
        data = {f"region_{part}": (dims, values + i) for i, part in enumerate(stored.PARTS)}
        unique = np.arange(len(NAMES) * 12, dtype=float).reshape(len(NAMES), 2, len(ROIS), 3) + 100 * k
        data["region_unique_vs_all"] = (("instruction", "measure", "roi", "bound"), unique)
        coords = {
            "instruction": NAMES,
            "roi": ROIS,
            "measure": ["raw", "normalised"],
            "bound": ["mean", "low", "high"],
            "instruction_a": ("pair", [a for a, _ in PAIRS]),
            "instruction_b": ("pair", [b for _, b in PAIRS]),
        }
        store.write_dataset(settings.paths.partition(subject, "instructblip"), xr.Dataset(data, coords))
    return settings


def test_pairs_keep_their_numbers(settings):
    table = stored.pair_table(settings, ["instructblip"], ROIS)
    assert len(table) == 2 * len(ROIS) * len(PAIRS)
    row = table[(table.subject == 5) & (table.roi == "higher") & (table.instruction_b == "IU2")].iloc[0]
    expected = np.arange(36).reshape(3, 2, 2, 3)[0, 1, 1, 0] / 100 + 1
    assert row.unique_a == pytest.approx(expected)
    assert row.shared == pytest.approx(expected + 2)
    assert row.shared_fraction == pytest.approx((expected + 2) / (3 * expected + 3))


def test_regions_that_are_absent_are_left_out(settings):
    assert set(stored.pair_table(settings, ["instructblip"], ["higher", "faces"]).roi) == {"higher"}


def test_unique_table_has_subjects_and_their_range(settings):
    table = stored.unique_table(settings, ["instructblip"], ["higher"])
    everyone = table[table.subject == "all"].set_index("instruction")
    each = table[table.subject != "all"].set_index(["subject", "instruction"]).value
    for name in NAMES:
        assert everyone.value[name] == pytest.approx((each[1, name] + each[5, name]) / 2)
        assert (everyone.low[name], everyone.high[name]) == (each[1, name], each[5, name])


def test_early_comes_before_higher(settings):
    pairs = stored.pair_table(settings, ["instructblip"], ROIS)
    table = stored.early_higher_table(pairs, "IC")
    assert set(table.panel) == {"IU1", "IU2"}
    assert list(dict.fromkeys(table.roi)) == ["prf-visual", "higher"]
    mean = table[(table.subject == "all") & (table.panel == "IU1") & (table.roi == "higher")].value.iloc[0]
    own = pairs[(pairs.roi == "higher") & (pairs.instruction_a == "IU1") & (pairs.instruction_b == "IC")]
    assert mean == pytest.approx(own.shared_fraction.mean())
