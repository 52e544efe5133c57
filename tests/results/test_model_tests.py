"""Tests behind figure 2: interaction with regions, and agreement of subjects."""

import numpy as np
import pytest
import xarray as xr

from brainalign_utils.results import model_tests


@pytest.fixture
def samples():
    """Four subjects; "alike" leads everywhere by the same amount, "early" in one region only."""
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.02, size=(4, 501, 4, 3))
    noise[:, 0] = rng.normal(scale=0.002, size=(4, 4, 3))
    values = 0.5 + noise
    values[:, :, 1] += 0.1
    values[:, :, 2, 0] += 0.1
    values[:, :, 3] = np.nan
    coords = {
        "subject": [1, 2, 5, 7],
        "model": ["vit", "alike", "early", "blind"],
        "roi": ["v1", "faces", "absent"],
    }
    array = xr.DataArray(values, dims=("subject", "sample", "model", "roi"), coords=coords)
    return array.where(array.roi != "absent")


def test_interaction_tells_a_local_lead_from_one_everywhere(samples):
    table = model_tests.interaction_table(samples, "vit", ["v1", "faces", "absent"]).set_index("model")
    assert table.p["alike"] > 0.05 and table.p["early"] < 1e-3
    assert table.df["early"] == 1, "an absent region takes no part"
    assert np.isnan(table.p["blind"]) and np.isnan(table.q["blind"])


def test_subjects_agree_but_four_cannot_reach_significance(samples):
    table = model_tests.subject_table(samples, "vit", ["v1", "faces", "absent"])
    assert set(table.roi) == {"v1", "faces"} and "blind" not in set(table.model)
    row = table[(table.model == "alike") & (table.roi == "v1")].iloc[0]
    assert row.n_positive == row.n_subjects == 4
    assert row.p == row.smallest_p == 0.125
