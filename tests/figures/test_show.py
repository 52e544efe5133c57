"""Tables of words are whole, safe and empty where undefined; the ledger says everything about a claim."""

import re

import numpy as np
import pandas as pd
import pytest

from brainalign_utils.figures.show import FIGURE_PAGES, Ledger, WordTable
from brainalign_utils.results import claims
from brainalign_utils.settings import project_root


def test_long_text_is_whole_and_markup_is_escaped():
    text = "a long sentence " * 20 + "<b>"
    html = WordTable(pd.DataFrame({"claim": [text], "value": [0.12345]}))._repr_html_()
    assert "a long sentence " * 20 + "&lt;b&gt;" in html
    assert "0.123<" in html
    assert "dataframe words" in html


def test_undefined_cells_are_empty():
    table = WordTable(pd.DataFrame({"value": [np.nan, 1.0]}))
    assert "NaN" not in table._repr_html_() + repr(table)


@pytest.fixture(scope="module")
def verdicts():
    return claims.evaluate(claims.load_claims(), {}, "phantom")


def test_an_entry_says_everything_about_its_claim(verdicts):
    html = Ledger(verdicts)._repr_html_()
    assert html.count("<section") == len(verdicts)
    assert html.count("<strong>not tested with this data</strong>") == len(verdicts)
    entry = html[html.index('id="claim-mllm-on-par-with-clip-early-ncsnr"') :]
    entry = entry[: entry.index("</section>")]
    for said in (
        "-0.037 ± 0.05", "<dt>computed</dt><dd>none", "figure 2 (slides)", "&quot;on par&quot;",
        "roi: prf-visual",
        "How the paper pools CLIP", 'href="06_compare_models.html#fig-figure-2"',
    ):  # fmt: skip
        assert said in entry


def test_a_computed_value_stands_with_its_interval(verdicts):
    row = verdicts.iloc[[0]].assign(computed=0.1234, low=0.1, high=0.15, n_subjects=4, verdict="reproduced")
    assert "0.123 [0.100, 0.150], 4 subjects" in Ledger(row)._repr_html_()


def test_links_lead_to_pages_that_hold_the_figure(verdicts):
    assert set(verdicts.figure) <= set(FIGURE_PAGES)
    for figure, page in FIGURE_PAGES.items():
        name = "tension" if figure == "claims" else figure.replace("-", "_")
        source = (project_root() / "notebooks" / f"{page}.py").read_text()
        assert re.search(rf'tags=\[[^\]]*"figure:{name}"', source)
