"""Maps: outlines of the group, tables of what is drawn, parts of a pair whichever way it is stored."""

import numpy as np
import pytest
import xarray as xr

from brainalign_utils import store
from brainalign_utils.results import maps, study, surface
from brainalign_utils.settings import load_settings


@pytest.fixture
def square():
    return xr.Dataset(attrs={"n_left": 2})


def test_group_outline_is_where_half_of_those_who_have_the_area_do():
    have = [[1, 1, 0, 1, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 0, 0]]
    lacking = [[0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    each = [{"V1": np.array(a, bool), "FBA-1": np.array(b, bool)} for a, b in zip(have, lacking, strict=True)]
    group = maps._group_outlines(each)
    assert group["V1"].tolist() == [True, True, False, False, False]
    assert group["FBA-1"].tolist() == [False, False, True, True, False], "three have it: two of them"
    assert maps._group_outlines(each[:1])["V1"].tolist() == each[0]["V1"].tolist()


def test_tables_hold_every_vertex_that_is_drawn(square):
    table = maps.map_table({"a": np.array([0.5, np.nan, 0.25, np.nan, 1.0])}, square)
    assert table.values.tolist() == [["a", "lh", 0, 0.5], ["a", "rh", 0, 0.25], ["a", "rh", 2, 1.0]]
    winners = {"b": (np.array([-1, 1, 0, -1, -1]), np.array([np.nan, 0.1, 0.2, np.nan, np.nan]))}
    table = maps.winner_table(winners, ["IU1", "IC"], square)
    assert table.values.tolist() == [["b", "lh", 1, "IC", 0.1], ["b", "rh", 0, "IU1", 0.2]]


def test_mean_over_subjects_takes_those_who_have_a_value():
    stack = [np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])]
    np.testing.assert_array_equal(maps._mean_known(stack), [2.0, 5.0, np.nan])


def test_parts_of_a_pair_stored_the_other_way_round():
    names = {"instruction_a": ("pair", ["IU2", "IU1"]), "instruction_b": ("pair", ["IC", "IC"])}
    values = {
        name: (("pair", "voxel"), np.arange(6.0).reshape(2, 3) + 10 * k)
        for k, name in enumerate(("shared", "unique_a", "unique_b"))
    }
    values["unique_vs_all"] = (("instruction", "voxel"), np.arange(9.0).reshape(3, 3))
    stored = xr.Dataset(values, {**names, "instruction": ["IU1", "IU2", "IC"]})
    straight, turned = (maps._voxel_parts(stored, *pair) for pair in (("IU2", "IC"), ("IC", "IU2")))
    np.testing.assert_array_equal(straight["shared"], [0, 1, 2])
    np.testing.assert_array_equal(straight["unique_a"], turned["unique_b"])
    np.testing.assert_array_equal(turned["unique_a"], [20, 21, 22])
    np.testing.assert_array_equal(turned["unique_vs_all"], [6, 7, 8])


def test_without_the_surfaces_of_fsaverage_maps_are_drawn_on_fsaverage5(tmp_path, caplog):
    tree = tmp_path / "nsd"
    settings = load_settings(build_root=tmp_path, data="nsd", nsd_root=tree, subjects=[1])
    vertices = {f"vertex_voxel_{h}": (f"vertex_{h}", np.arange(163_842)) for h in ("lh", "rh")}
    store.write_dataset(settings.paths.voxels(1), xr.Dataset(vertices))
    assert [len(found) for found in study.surface_map(settings, 1).values()] == [study.N_FSAVERAGE5] * 2
    cortex = surface.load_cortex(settings)
    assert cortex.attrs["name"] == "fsaverage5" and "drawn on fsaverage5" in caplog.text
    assert cortex.attrs["n_left"] == study.N_FSAVERAGE5
    white = tree / "nsddata" / "freesurfer" / "fsaverage" / "surf" / "lh.white"
    white.parent.mkdir(parents=True)
    white.touch()
    assert len(study.surface_map(settings, 1)["lh"]) == 163_842
