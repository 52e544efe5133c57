import numpy as np
import pandas as pd
import pytest
import xarray as xr

from brainalign_utils.results import multiverse
from brainalign_utils.results.multiverse import LEFT, RIGHT, UNDECIDED

N_VOXELS, N_LAYERS = 19, 3


def scores(seed):
    rng = np.random.default_rng(seed)
    mask = np.arange(N_VOXELS)[None] < np.array([[N_VOXELS], [7]])
    shape = (N_LAYERS, N_VOXELS)
    return xr.Dataset(
        {k: (("space", "voxel"), rng.uniform(0.1, 0.6, shape)) for k in ("r", "cv_score")},
        coords={
            "component": ("space", ["language"] * N_LAYERS),
            "instruction": ("space", ["IC"] * N_LAYERS),
            "layer": ("space", range(N_LAYERS)),
            "depth": ("space", np.linspace(0, 1, N_LAYERS)),
            "roi": ["nsdgeneral", "prf-visual"],
            "roi_mask": (("roi", "voxel"), mask),
        },
    )


def test_grid_holds_every_combination_once():
    ceiling = np.linspace(0.02, 0.7, N_VOXELS)
    label = np.r_[np.ones(4, int), np.zeros(N_VOXELS - 4, int)]
    data = scores(0)
    table = multiverse.alignment_grid(
        data,
        {"ncsnr": (ceiling, "variance"), "none": (None, "variance")},
        min_ceilings=(0.05, 0.2),
        authors=({"prf-visualrois": label}, {"prf-visualrois": 1}),
        subject=1,
        model="x",
    )
    default = table[(table.convention == "default") & (table.roi == "prf-visual")]
    assert (
        len(default) == 4 * 3
        and not default.duplicated(["layer_choice", "ceiling_name", "min_ceiling"]).any()
    )
    assert table[table.convention == "authors"]["mean"].item() == pytest.approx(
        data.r.values[:, :4].mean() * 4 / 5
    )
    strict = default[(default.min_ceiling == 0.2) & (default.layer_choice == "last")]
    assert strict.n_dropped.item() == (ceiling[:7] < 0.2).sum()


def table(shift):
    """Model a is above b under layer choice "best" and below it under "mean", by ``shift`` plus a spread."""
    rows = []
    for choice, sign in (("best", 1), ("mean", -1)):
        for pooling in ("generated", "prompt"):
            for subject in (1, 2, 5, 7):
                for model, value in (("a", 0.5 + sign * shift), ("b", 0.5), ("c", 0.5)):
                    for instruction, extra in (("IC", 0.1), ("VR", -0.1)):
                        rows.append(
                            {"subject": subject, "model": model, "instruction": instruction,
                             "roi": "prf-visual", "mean": value + extra + 0.01 * subject * (model == "a"),
                             "layer_choice": choice, "pooling": pooling, "convention": "default"}
                        )  # fmt: skip
    return pd.DataFrame(rows)


def test_contrast_under_every_analysis():
    contrasts = multiverse.contrast_table(table(0.2), ["a"], ["b", "c"], "prf-visual")
    assert list(contrasts.columns[:2]) == ["layer_choice", "pooling"] and len(contrasts) == 4
    assert contrasts.verdict.tolist() == [LEFT, LEFT, RIGHT, RIGHT]
    assert contrasts.estimate[0] == pytest.approx(0.2 + 0.01 * np.mean([1, 2, 5, 7]))
    assert (contrasts.n_subjects == 4).all()
    turned = multiverse.contrast_table(table(0.2), ["b", "c"], ["a"], "prf-visual")
    np.testing.assert_allclose(turned.estimate, -contrasts.estimate)


def test_which_choice_turns_the_verdict():
    contrasts = multiverse.contrast_table(table(0.2), ["a"], ["b"], "prf-visual")
    flips = multiverse.flips(contrasts).set_index("factor")
    assert flips.loc["layer_choice", ["n_pairs", "verdict_changes", "sign_changes"]].tolist() == [2, 1, 1]
    assert flips.loc["pooling", ["n_pairs", "verdict_changes", "sign_changes"]].tolist() == [2, 0, 0]
    assert flips.loc["layer_choice", "mean_shift"] == pytest.approx(0.4)
    assert flips.loc["pooling", "mean_shift"] == pytest.approx(0)


def test_interval_across_subjects_decides():
    noisy = table(0.0)
    noisy.loc[noisy.model == "a", "mean"] += noisy.subject.map({1: 0.3, 2: -0.3, 5: 0.3, 7: -0.3})
    contrasts = multiverse.contrast_table(noisy, ["a"], ["b"], "prf-visual")
    assert (contrasts.verdict == UNDECIDED).all()


def test_authors_regions_stand_for_groups_and_one_sided_analyses_are_left_out():
    both = pd.concat([table(0.2), table(0.2).assign(convention="authors", roi="prf-visualrois==1")])
    only_a = table(0.2).assign(pooling="last")
    both = pd.concat([both, only_a[only_a.model == "a"]])
    contrasts = multiverse.contrast_table(both, ["a"], ["b"], "prf-visual")
    assert len(contrasts) == 8 and set(contrasts.convention) == {"default", "authors"}
    assert "last" not in set(contrasts.pooling)


def test_nothing_to_compare():
    with pytest.raises(multiverse.MultiverseError, match=r"no analysis has a and z in roi 'prf-visual'.*a"):
        multiverse.contrast_table(table(0.1), ["a"], ["z"], "prf-visual")
