"""Tables of words and the ledger, for readers: nothing is cut off, and dark pages stay dark."""

from dataclasses import dataclass
from html import escape

import pandas as pd

from ..style import WordTable

__all__ = ["FIGURE_PAGES", "Ledger", "WordTable", "figure_link"]

FIGURE_PAGES = {
    "figure-2": "06_compare_models",
    "figure-3": "07_map_instructions",
    "figure-4": "09_group_concepts",
    "figure-5": "10_trace_layers",
    "figure-6": "11_show_partitions",
    "claims": "16_check_claims",
}
"""Notebook that holds each figure to which claims refer."""


@dataclass(frozen=True)
class Ledger:
    """Entries of the ledger, one below the other; shows itself in a notebook.

    Parameters
    ----------
    frame : DataFrame of :func:`brainalign_utils.results.claims.evaluate`

    Examples
    --------
    >>> claim = {"text": "It aligns.", "reported": 0.4, "computed": 0.5, "verdict": "reproduced"}
    >>> Ledger(pd.DataFrame([claim]))
          text  reported  computed    verdict
    It aligns.       0.4       0.5 reproduced
    """

    frame: pd.DataFrame

    def _repr_html_(self) -> str:
        return f'<div class="ledger">{"".join(map(_entry, self.frame.to_dict("records")))}</div>'

    def __repr__(self) -> str:
        return self.frame[["text", "reported", "computed", "verdict"]].to_string(index=False, na_rep="")


def _entry(row: dict) -> str:
    """One claim: what was said, what was found, and what stands between the two."""
    number = "" if pd.isna(row["number"]) else f"{row['number']:.0f}. "
    facts = {
        "verdict": f"<strong>{escape(row['verdict'])}</strong>",
        "reported": _reported(row),
        "computed": _computed(row),
        "source": escape(row["source"]),
        "scope": escape(row["scope"]),
        "tolerance": escape(row["why"]),
        "note": escape(row["note"]),
        "method on simulated data": escape(row["recovery"]),
        "shown in": figure_link(row["figure"]),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items() if text)
    return f'<section id="claim-{row["id"]}"><p>{number}{escape(row["text"])}</p><dl>{listed}</dl></section>'


def _reported(row: dict) -> str:
    if pd.isna(row["reported"]):
        return "no public number"
    within = "" if pd.isna(row["tolerance"]) else f" ± {row['tolerance']:g}"
    return f"{row['reported']:g}{within}"


def _computed(row: dict) -> str:
    if pd.isna(row["computed"]):
        return "none"
    return f"{row['computed']:.3f} [{row['low']:.3f}, {row['high']:.3f}], {row['n_subjects']:.0f} subjects"


def figure_link(figure: str) -> str:
    """Link to where the book has a figure of the paper, or its own of a tension."""
    page = FIGURE_PAGES[figure]
    anchor = "tension" if figure == "claims" else figure
    text = "the plot of the tension" if figure == "claims" else f"the paper's {figure.replace('-', ' ')}"
    return f'<a href="{page}.html#fig-{anchor}">{text}</a>'
