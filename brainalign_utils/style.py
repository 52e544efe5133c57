"""How pages look, for notebooks that draw by themselves: matplotlib's settings, and tables of words.

It stands apart from the room of figures, so that an edit of a drawing does not run extraction again.
"""

from dataclasses import dataclass

import pandas as pd

INK, MUTED, GRID, PAPER, WARNING = "#1f2328", "#57606a", "#d0d7de", "#ffffff", "#a33b00"

STYLE = [
    "default",
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib; as "sans-serif" it could be any font
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.labelsize": 9.5,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "figure.constrained_layout.w_pad": 0.07,
        "figure.constrained_layout.h_pad": 0.06,
        "svg.hashsalt": "brainalign",
        "svg.fonttype": "path",
        "image.cmap": "viridis",
    },
]
"""For ``pyplot.style.use``: matplotlib's own defaults, whatever a matplotlibrc says, and then the book's."""


@dataclass(frozen=True)
class WordTable:
    """A table whose cells hold sentences; shows itself in a notebook.

    Parameters
    ----------
    frame : DataFrame
        Undefined cells stay empty; numbers have three decimals.

    Examples
    --------
    >>> WordTable(pd.DataFrame({"answer": ["a red dog"], "share": [0.25]}))
       answer  share
    a red dog  0.250
    """

    frame: pd.DataFrame

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return self.frame.to_html(
                index=False, classes="words", border=0, na_rep="", float_format="{:.3f}".format
            )

    def __repr__(self) -> str:
        return self.frame.to_string(index=False, na_rep="", float_format="{:.3f}".format)
