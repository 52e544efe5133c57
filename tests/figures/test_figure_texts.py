"""Alternative texts say what the data say."""

import numpy as np
import pytest
from fixtures import figure_tables as simulated

from brainalign_utils import figures


def test_alternative_texts_carry_the_numbers():
    table = simulated.models_table()
    means = table[(table.subject == "all") & (table.roi == "faces")].set_index("model").value
    text = figures.alt_models(table)
    assert f"{means.max():.2f}" in text and f"{means.min():.2f}" in text
    assert "4 subjects" in text
    assert "words: no data" in figures.alt_models(table[table.roi != "words"])
    recovery = simulated.recovery_table()
    passed = recovery[recovery.quantity == "noise ceiling"].passed
    assert f"noise ceiling: {passed.sum()} of {len(passed)} pass" in figures.alt_recovery(recovery)
    pairs = simulated.pairs_table()
    assert f"{pairs.shared.max():.3f}" in figures.alt_pair_matrix(pairs)
    ceilings = simulated.ceilings_table()
    assert (
        f"median {ceilings.ncsnr[ceilings.roi == 'faces'].median():.2f} from repeats"
        in figures.alt_ceilings(ceilings)
    )


@pytest.mark.parametrize(
    ("write", "table"),
    [
        (figures.alt_instructions, simulated.instructions_table()),
        (figures.alt_concepts, simulated.concepts_table()),
        (figures.alt_layers, simulated.layers_table()),
        (figures.alt_venns, simulated.venns_table()),
        (figures.alt_early_higher, simulated.early_higher_table()),
        (figures.alt_choices, simulated.choices_table()),
    ],
)
def test_alternative_texts_follow_the_data(write, table):
    column = "seconds" if "seconds" in table else "shared" if "shared" in table else "value"
    changed = table.assign(**{column: table[column] * 3 + 1})
    assert write(changed) != write(table)
    assert "None" not in write(table)


def test_alternative_text_of_maps():
    text = figures.alt_maps(
        {"subject 1": np.array([0.0, 0.25, 1.0, np.nan]), "subject 2": np.full(4, np.nan)}, "depth"
    )
    assert text == "Flat maps of depth. subject 1: median 0.25, 0.00 to 1.00; subject 2: no data."
