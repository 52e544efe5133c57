"""Tables of words are whole, safe and empty where undefined."""

import numpy as np
import pandas as pd

from brainalign_utils.show import WordTable


def test_long_text_is_whole_and_markup_is_escaped():
    text = "a long sentence " * 20 + "<b>"
    html = WordTable(pd.DataFrame({"claim": [text], "value": [0.12345]}))._repr_html_()
    assert "a long sentence " * 20 + "&lt;b&gt;" in html
    assert "0.123<" in html
    assert "dataframe words" in html


def test_undefined_cells_are_empty():
    table = WordTable(pd.DataFrame({"value": [np.nan, 1.0]}), digits=1)
    assert "NaN" not in table._repr_html_() + repr(table)
