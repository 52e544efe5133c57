import numpy as np
import pytest
import xarray as xr

from brainalign_utils.results import alignment
from brainalign_utils.stats import scoring

N_VOXELS = 23
SPACES = [("vision", "none", layer) for layer in range(3)]
SPACES += [("language", i, layer) for i in ("IC", "IU1") for layer in range(5)]
DEPTH = {"vision": 2, "language": 4}


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    n = len(SPACES)
    mask = np.zeros((4, N_VOXELS), bool)
    mask[0] = True
    mask[1, :9], mask[2, 9:14] = True, True
    return xr.Dataset(
        {
            "r": (("space", "voxel"), rng.uniform(0, 0.8, (n, N_VOXELS))),
            "cv_score": (("space", "voxel"), rng.uniform(0, 0.5, (n, N_VOXELS))),
        },
        coords={
            "component": ("space", [c for c, _, _ in SPACES]),
            "instruction": ("space", [i for _, i, _ in SPACES]),
            "layer": ("space", [k for _, _, k in SPACES]),
            "depth": ("space", [k / DEPTH[c] for c, _, k in SPACES]),
            "roi": ["all", "early", "faces", "FBA-1"],
            "roi_mask": (("roi", "voxel"), mask),
            "noise_ceiling": ("voxel", np.r_[np.nan, 0.01, rng.uniform(0.1, 0.9, N_VOXELS - 2)]),
        },
    )


def test_best_layer_is_chosen_on_training_scores_per_region(scores):
    scores.cv_score[:, 9:14] = 0.0
    scores.cv_score[6, 9:14] = 1.0  # language, IC, layer 3 wins in faces
    scores.r[6, 9:14] = -0.5  # and is bad on the test images, which must not matter
    table = alignment.best_layers(scores).set_index(["component", "instruction", "roi"])
    assert table.loc[("language", "IC", "faces"), "layer"] == 3
    assert table.loc[("language", "IC", "faces"), "depth"] == 0.75
    assert table.loc[("language", "IC", "faces"), "space"] == 6
    assert "FBA-1" not in table.index.get_level_values("roi")
    means = alignment.alignment_table(scores).set_index(["component", "instruction", "roi"])
    assert means.loc[("language", "IC", "faces"), "mean"] == pytest.approx(-0.5)
    assert means.loc[("language", "IC", "faces"), "layer"] == 3


def test_layer_choices(scores):
    r, early = scores.r.values, slice(0, 9)
    rows = {c: alignment.alignment_table(scores, layer_choice=c) for c in alignment.LAYER_CHOICES}

    def get(choice):
        table = rows[choice]
        return table[(table.component == "vision") & (table.roi == "early")]["mean"].item()

    assert get("mean") == pytest.approx(r[:3, early].mean())
    assert get("last") == pytest.approx(r[2, early].mean())
    winner = scores.cv_score.values[:3, early].argmax(0)
    assert get("best-voxel") == pytest.approx(r[winner, np.arange(9)].mean())
    assert get("best") == pytest.approx(r[scores.cv_score.values[:3, early].mean(1).argmax(), early].mean())


def test_table_reports_ceiling_losses_and_absent_regions(scores):
    table = alignment.alignment_table(scores, scores.noise_ceiling.values, subject=7, model="x")
    early = table[(table.roi == "early") & (table.instruction == "IU1")].iloc[0]
    assert (early.n_voxels, early.n_dropped) == (9, 2) and early.share_dropped == pytest.approx(2 / 9)
    index = int(early.layer) + 8
    expected = scoring.normalised_alignment(scores.r.values[index], scores.noise_ceiling.values)[2:9].mean()
    assert early["mean"] == pytest.approx(expected)
    absent = table[table.roi == "FBA-1"]
    assert absent.absent.all() and absent["mean"].isna().all() and len(absent) == 3
    assert (table.metric == "normalised_r").all() and (table.subject == 7).all()


def test_layer_table_has_every_layer(scores):
    table = alignment.layer_table(scores, model="x")
    assert len(table) == len(SPACES) * 4
    row = table[(table.component == "language") & (table.instruction == "IU1") & (table.layer == 2)]
    assert row.set_index("roi").loc["faces", "mean"] == pytest.approx(scores.r.values[10, 9:14].mean())


def test_authors_convention_counts_voxels_outside_the_mask_as_zero(scores):
    label = np.zeros(N_VOXELS, int)
    label[:6], label[6:9] = 1, 2
    table = alignment.authors_table(scores, {"floc-places": label}, {"floc-places": 2}, subject=1)
    row = table[table.component == "vision"].iloc[0]
    assert row["mean"] == pytest.approx(scores.r.values[:3, :6].mean() * 6 / 8)
    assert (row.roi, row.n_voxels, row.n_outside) == ("floc-places==1", 8, 2)
    assert (table.convention == "authors").all() and set(table.metric) == {"pearson_r"}
    with pytest.raises(alignment.AlignmentError, match="lacks floc-places"):
        alignment.authors_table(scores, {"floc-places": label}, {})


def test_unknown_layer_choice(scores):
    with pytest.raises(alignment.AlignmentError, match="'middle'; choose one of best"):
        alignment.alignment_table(scores, layer_choice="middle")
