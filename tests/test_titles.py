"""Tables show titles, and say where a number is undefined."""

import numpy as np
import pandas as pd

from brainalign_utils.titles import titled


def test_ids_become_titles_and_numbers_text():
    table = pd.DataFrame({"prf-visual": [0.126, np.nan], "n": [3, 4]}, index=["vit-h", "else"])
    shown = titled(table, {"prf-visual": "{:.0%}", "n": "{:d}"})
    assert list(shown.index) == ["ViT-H/14", "else"] and list(shown.columns) == ["early visual (pRF)", "n"]
    assert shown.to_numpy().tolist() == [["13%", "3"], ["undefined", "4"]]
    assert titled(table["n"], None).to_dict() == {"ViT-H/14": 3, "else": 4}
