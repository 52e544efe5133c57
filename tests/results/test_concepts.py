import numpy as np
import pandas as pd
import pytest

from brainalign_utils.results import concepts
from brainalign_utils.stats import scoring
from brainalign_utils.tables import INSTRUCTION_BY_ID

COLUMNS = ["nsd_id", "category", "supercategory", "area_fraction"]


@pytest.fixture
def objects():
    rows = [
        (40, "person", "person", 0.30), (40, "couch", "furniture", 0.10),
        (10, "sheep", "animal", 0.05), (10, "sheep", "animal", 0.05), (10, "sheep", "animal", 0.06),
        (20, "banana", "food", 0.02), (20, "pizza", "food", 0.20), (20, "car", "vehicle", 0.10),
        (20, "tv", "electronic", 0.10),
        (99, "dog", "animal", 0.9),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS).assign(crowd=False)


def test_a_crowd_is_many_objects_and_never_one_dominant_object(objects):
    """A crowd of people over most of image 7; a crowd beside a couch in image 40."""
    rows = [(7, "person", "person", 0.8, True), (40, "dog", "animal", 0.1, True)]
    crowds = pd.DataFrame(rows, columns=[*COLUMNS, "crowd"])
    groups = concepts.concept_groups(pd.concat([objects, crowds], ignore_index=True), [7, 40, 30])
    assert groups["n-7+"].tolist() == groups["count"].tolist() == [True, True, False]
    assert groups["people"].tolist() == [True, True, False] and not groups["recognition"].any()
    assert groups["n-0-1"].tolist() == [False, False, True]


def test_groups_follow_their_definitions(objects):
    groups = concepts.concept_groups(objects, [40, 10, 20, 30])
    assert list(groups.index) == [40, 10, 20, 30] and list(groups) == [c.id for c in concepts.CONCEPTS]
    expected = {
        "people": [1, 0, 0, 0], "no-people": [0, 1, 1, 1], "has-animal": [0, 1, 0, 0],
        "count": [0, 1, 0, 0], "recognition": [1, 0, 1, 0], "food-2": [0, 0, 1, 0],
        "n-0-1": [0, 0, 0, 1], "n-2-3": [1, 1, 0, 0], "n-4-6": [0, 0, 1, 0], "n-7+": [0, 0, 0, 0],
        "indoor": [1, 0, 0, 0], "outdoor": [0, 1, 0, 0],
    }  # fmt: skip
    for name, members in expected.items():
        assert groups[name].tolist() == list(map(bool, members)), name


def test_count_bands_partition_the_images(objects):
    groups = concepts.concept_groups(objects, [20, 99, 10, 40, 1])
    assert (groups[[c for c in groups if c.startswith("n-")]].sum(axis=1) == 1).all()


def test_thresholds_and_known_setting(objects):
    setting = pd.Series(["outdoor", "indoor"], index=[30, 10])
    groups = concepts.concept_groups(
        objects, [40, 10, 20, 30], setting=setting, min_count=4, dominant_area=0.25
    )
    assert not groups["count"].any() and groups.recognition.tolist() == [True, False, False, False]
    assert groups.outdoor.tolist() == [False, False, False, True]
    assert groups.indoor.tolist() == [False, True, False, False]


def test_every_concept_is_defined_and_instruction_kinds_exist():
    assert all(c.definition and c.title for c in concepts.CONCEPTS)
    named = [i for kind in concepts.INSTRUCTION_KINDS.values() for i in kind]
    assert set(named) <= set(INSTRUCTION_BY_ID) and len(named) == len(set(named))


def planted(seed=0, n=180, n_voxels=14):
    """The model knows the voxels only in images of group ``good``."""
    rng = np.random.default_rng(seed)
    groups = pd.DataFrame(
        {"good": np.arange(n) % 3 == 0, "other": np.arange(n) % 3 == 1, "rare": np.arange(n) < 5}
    )
    y = rng.normal(size=(n, n_voxels))
    p = rng.normal(size=y.shape) + 1.5 * y * groups.good.to_numpy()[:, None]
    return y, p, groups


def test_within_group_correlation_and_chance():
    y, p, groups = planted()
    masks = np.array([np.arange(14) < 5, np.arange(14) >= 5, np.zeros(14)])
    table = concepts.concept_alignment(
        y, p, groups, scoring.roi_weights(masks), ["a", "b", "absent"], subject=5
    )
    cell = table.set_index(["concept", "roi"])
    members = groups.good.to_numpy()
    expected = scoring.correlation(y[members], p[members])
    assert cell.loc[("good", "a"), "mean"] == pytest.approx(expected[:5].mean(), abs=1e-5)
    assert cell.loc[("good", "b"), "mean"] == pytest.approx(expected[5:].mean(), abs=1e-5)
    assert cell.loc[("good", "a"), "q"] < 0.05 and cell.loc[("good", "b"), "q"] < 0.05
    assert cell.loc[("other", "b"), "difference"] < 0
    assert cell.loc["rare", "mean"].isna().all() and cell.loc["rare", "p"].isna().all()
    assert cell.loc[("good", "absent"), ["mean", "p"]].isna().all()
    assert cell.loc[("good", "a"), "n_images"] == 60 and (table.subject == 5).all()


def test_groups_without_content_are_found_at_the_nominal_rate():
    rng = np.random.default_rng(1)
    n, n_groups = 150, 400
    y = rng.normal(size=(n, 9))
    p = 0.6 * y + rng.normal(size=y.shape)
    members = rng.random((n, n_groups)).argsort(0) < 40
    groups = pd.DataFrame(members, columns=[f"g{i}" for i in range(n_groups)])
    table = concepts.concept_alignment(
        y, p, groups, scoring.roi_weights(np.ones((1, 9))), ["all"], n_random=999
    )
    assert abs((table.p < 0.05).mean() - 0.05) < 0.03  # standard error 1.1 %
    assert abs(table.difference.mean()) < 0.01


def test_a_voxel_constant_within_a_group_is_left_out():
    y, p, groups = planted()
    members = groups.good.to_numpy()
    y[members, 0] = 0.7
    table = concepts.concept_alignment(
        y, p, groups, scoring.roi_weights(np.ones((1, 14))), ["all"], random_for=()
    )
    expected = scoring.correlation(y[members], p[members])
    assert np.isnan(expected[0])
    assert table["mean"][0] == pytest.approx(np.nanmean(expected), abs=1e-5)
    assert table.p.isna().all()


def test_bad_input(objects):
    with pytest.raises(concepts.ConceptError, match=r"lacks supercategory; it has nsd_id, category"):
        concepts.concept_groups(objects.drop(columns="supercategory"), [1])
    y, p, groups = planted()
    with pytest.raises(concepts.ConceptError, match="7 images and y_true 180"):
        concepts.concept_alignment(y, p, groups[:7], scoring.roi_weights(np.ones((1, 14))), ["all"])


def test_means_by_kind_of_concept_and_instruction():
    table = pd.DataFrame(
        {
            "kind": ["count", "count", "count", "scene"],
            "instruction": ["IU3", "VQ1", "CR", "IC"],
            "mean": [0.5, 0.1, 0.3, 0.7],
        }
    )
    means = concepts.by_kind(table)
    assert means.loc["count", "count-related"] == 0.5
    assert means.loc["count", "recognition-related"] == pytest.approx(0.2)
    assert means.loc["scene", "other"] == 0.7 and np.isnan(means.loc["scene", "count-related"])
