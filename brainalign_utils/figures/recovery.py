"""Planted truth against estimate, and the cost of solving: checks of the machinery."""

from textwrap import fill

from . import marks
from .style import GRID, INK, MUTED, WARNING, new_figure, require, styled

_PASS = "#0b7a67"
_ENGINES = (
    ("#b93c0a", "-", "o"),
    ("#1f4fd1", "--", "s"),
    ("#0b7a67", ":", "D"),
    ("#7a1fa2", "-.", "^"),
    ("#57606a", (0, (5, 1)), "v"),
)


@styled
def plot_recovery(table, figure=None, n_columns=3):
    """Estimate against planted value, or against chance, one panel a quantity.

    Parameters
    ----------
    table : DataFrame
        One row per check; columns

        - quantity : str; panel title
        - planted, estimated : float
        - low, high : float, optional; interval of the estimate
        - passed : bool; verdict of the check
        - chance : float, optional; a quantity that has one is drawn against it, not against the planted value

    Returns
    -------
    figure : Figure
        Filled circles pass, open crosses fail; the title counts them.
    """
    require(table, "quantity", "planted", "estimated", "passed", of="plot_recovery")
    names = list(dict.fromkeys(table.quantity))
    n_columns = min(n_columns, len(names))
    figure = figure or new_figure(height=0.9 + 2.1 * -(-len(names) // n_columns))
    for ax, name in zip(marks.panels(figure, len(names), n_columns), names, strict=True):
        part = table[table.quantity == name]
        against = "chance" if marks.known(part, "chance") else "planted"
        part = part.assign(planted=part[against])
        passed = part.passed.astype(bool)
        if {"low", "high"} <= set(part.columns):
            ax.vlines(part.planted, part.low, part.high, color=GRID, lw=1.6, zorder=1, gid="interval")
        good, bad = part[passed], part[~passed]
        ax.plot(good.planted, good.estimated, "o", ms=5, mfc=_PASS, mec="white", mew=0.5, gid="passed")
        ax.plot(bad.planted, bad.estimated, "x", ms=7, mec=WARNING, mew=1.8, gid="failed")
        ax.axline((0, 0), slope=1, color=INK, lw=0.8, ls="--", zorder=0.5)
        ax.set_title(f"{fill(name, 24)}\n{passed.sum()} of {len(part)} pass", loc="left", fontsize=9.5)
        ax.set(xlabel="by chance" if against == "chance" else "planted", ylabel="estimated")
        ax.locator_params(nbins=4)
    entries = [
        marks.handle("pass", _PASS, "o"),
        marks.handle("fail", WARNING, "x", mec=WARNING, mew=1.8),
        marks.handle("both equal", INK, line="--", lw=0.8),
    ]
    marks.legend_below(figure, entries, n_columns=3)
    return figure


@styled
def plot_choices(table, figure=None, unit="difference"):
    """One outcome under many choices of analysis, sorted; dots below say which choices were taken.

    Parameters
    ----------
    table : DataFrame
        One row per combination; columns value, low and high (optional), verdict (str; decides the colour),
        and one column of str per choice.

    Returns
    -------
    figure : Figure
    """
    require(table, "value", "verdict", of="plot_choices")
    table = table.sort_values("value").reset_index(drop=True)
    choices = [c for c in table.columns if c not in ("value", "low", "high", "verdict")]
    levels = [(c, level) for c in choices for level in dict.fromkeys(table[c])]
    figure = figure or new_figure(height=2.6 + 0.21 * len(levels))
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 0.21 * len(levels)])
    verdicts = dict(zip(dict.fromkeys(table.verdict), _ENGINES * (1 + len(table)), strict=False))
    for at, row in table.iterrows():
        colour, _, marker = verdicts[row.verdict]
        marks.mean_interval(top, row, at, colour, marker, horizontal=False, ms=5)
        for k, (choice, level) in enumerate(levels):
            if row[choice] == level:
                below.plot(at, k, "s", ms=3.5, color=colour, gid="choice")
    marks.zero_line(top, horizontal=False)
    top.set_ylabel(fill(unit, 26))
    below.set_yticks(range(len(levels)), [f"{choice}: {level}" for choice, level in levels])
    below.set_ylim(len(levels) - 0.4, -0.6)
    below.set_xlabel("combinations, from smallest to largest")
    below.tick_params(axis="x", labelbottom=False, length=0)
    below.grid(axis="y", color=GRID, lw=0.6)
    below.spines[:].set_color(MUTED)
    marks.legend_below(figure, [marks.handle(v, c, marker) for v, (c, _, marker) in verdicts.items()])
    return figure
