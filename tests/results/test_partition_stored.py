"""Tables of stored partitions, on planted region means."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from brainalign_utils import store
from brainalign_utils.encoding.partitioning import partition_instructions
from brainalign_utils.encoding.regions import bootstrap_roi
from brainalign_utils.results import partitions as stored
from brainalign_utils.results import study
from brainalign_utils.settings import load_settings

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
        one_layer = xr.Dataset(data, coords)
        every = xr.concat([one_layer, one_layer + 1000], "layer").assign_coords(layer=[2, 4])
        every = every.assign_coords(layer_of_roi=("roi", [2, 2])).assign_attrs(layer=2)
        store.write_dataset(settings.paths.partition(subject, "instructblip"), every)
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


MASKS = {"prf-visual": np.arange(12) < 6, "higher": np.arange(12) >= 6}


def _fitted(tmp_path, layers):
    """A partition of two layers; layer 1 is best in early voxels, layer 2 elsewhere and overall."""
    settings = load_settings(
        build_root=tmp_path, subjects=[1], partition={"layers": layers, "triples": [NAMES]}
    )
    rng = np.random.default_rng(0)
    space = [(layer, name) for layer in (1, 2) for name in NAMES]
    cv_score = np.array(
        [np.where(MASKS["prf-visual"], 0.3, 0.1) if l == 1 else np.full(12, 0.25) for l, _ in space]
    )
    coords = {"layer": ("space", [l for l, _ in space]), "component": ("space", ["language"] * len(space))}
    scores = xr.Dataset({"cv_score": (("space", "voxel"), cv_score)}, coords)
    store.write_dataset(settings.paths.scores(1, "instructblip"), scores)
    component, layer_of_roi, fitted = study.partition_layers(settings, 1, "instructblip", MASKS)
    Y = rng.standard_normal((150, 12))
    by_layer = {}
    for layer in fitted:
        X = {name: rng.standard_normal((150, 4)) + Y[:, :4] * (layer == 2) for name in NAMES}
        features = {name: (values[:100], values[100:]) for name, values in X.items()}
        by_layer[layer] = partition_instructions(
            features, Y[:100], Y[100:], [1.0, 10.0, 100.0], roi_masks=MASKS, noise_ceiling=np.full(12, 0.5),
            triples=settings.partition.triples, n_bootstraps=20, n_ratios=3,
        )  # fmt: skip
    stored.write_partition(settings, 1, "instructblip", component, layer_of_roi, by_layer)
    return settings, layer_of_roi, by_layer


def test_one_layer_for_all_voxels(tmp_path):
    _, layer_of_roi, by_layer = _fitted(tmp_path, "common")
    assert list(by_layer) == [2] and set(layer_of_roi) == {2}


def test_each_region_at_its_best_layer_on_training_folds(tmp_path):
    settings, layer_of_roi, by_layer = _fitted(tmp_path, "roi")
    assert dict(layer_of_roi) == {"prf-visual": 1, "higher": 2}
    parts = stored.open_partition(settings, 1, "instructblip")
    assert parts.region_shared.dims == ("pair", "measure", "roi", "bound")
    np.testing.assert_allclose(parts.shared, by_layer[2].shared)
    for roi, layer in layer_of_roi.items():
        expected = by_layer[layer].roi_shared.sel(roi=roi)
        found = parts.region_shared.sel(roi=roi, bound="mean")
        np.testing.assert_allclose(found, expected.transpose(*found.dims), rtol=1e-6)


def test_a_region_without_scores_takes_the_common_layer(tmp_path):
    settings, _, _ = _fitted(tmp_path, "roi")
    masks = MASKS | {"lost": np.arange(12) < 2}
    scores = store.open_dataset(settings.paths.scores(1, "instructblip")).load()
    scores.cv_score[:, masks["lost"]] = np.nan
    store.write_dataset(settings.paths.scores(1, "instructblip"), scores)
    _, layer_of_roi, _ = study.partition_layers(settings, 1, "instructblip", masks)
    assert dict(layer_of_roi) == {"prf-visual": 1, "higher": 2, "lost": 2}


def test_a_region_without_responses_has_no_parts():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((150, 12))
    Y[:, :3] = 0  # as encoding.fitting.without_missing leaves voxels without data
    X = {name: rng.standard_normal((150, 4)) + Y[:, 4:8] for name in NAMES}
    parts = partition_instructions(
        {name: (values[:100], values[100:]) for name, values in X.items()}, Y[:100], Y[100:], [1.0, 10.0],
        roi_masks={"lost": np.arange(12) < 3, "all": np.ones(12, bool)},
        noise_ceiling=np.r_[np.full(3, np.nan), np.full(9, 0.5)], n_bootstraps=20, n_ratios=3,
    )  # fmt: skip
    regions = bootstrap_roi(parts)
    assert np.isnan(regions.shared.sel(roi="lost")).all() and np.isfinite(regions.shared.sel(roi="all")).all()


def test_every_layer_can_be_asked_for(tmp_path):
    settings, _, by_layer = _fitted(tmp_path, "all")
    assert list(by_layer) == [1, 2]
    np.testing.assert_allclose(
        stored.open_partition(settings, 1, "instructblip", layer=1).shared, by_layer[1].shared
    )
    with pytest.raises(KeyError, match="layer 7 was not partitioned, but 1, 2; set"):
        stored.open_partition(settings, 1, "instructblip", layer=7)


def test_seven_parts_of_a_triple_sum_to_its_model(tmp_path):
    settings, _, _ = _fitted(tmp_path, "common")
    parts = stored.open_partition(settings, 1, "instructblip")
    table = stored.triple_table(parts, "higher", "raw")
    assert list(table.part) == ["a", "b", "c", "ab", "ac", "bc", "abc"]
    joint = parts.region_r2_triple.sel(roi="higher", measure="raw", bound="mean")
    assert table.value.sum() == pytest.approx(float(joint.squeeze()))
    assert (table.low <= table.value).all() and (table.value <= table.high).all()
    assert {"split_a", "split_b"} <= set(parts)


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([["IC", "IC", "IU1"]], "names an instruction twice"),
        ([["IC", "IU1", "IU9"]], "IU9"),
    ],
)
def test_triples_are_checked_with_the_settings(triples, message):
    with pytest.raises((ValidationError, ValueError), match=message):
        load_settings(partition={"triples": triples})
