"""Marks shared by figures: points with intervals, matrices, empty panels, legends.  Marks never compute."""

import numpy as np
from matplotlib.lines import Line2D

from .style import ALL, GRID, INK, MUTED, ink_on


def absent(ax, text="no voxels in this region") -> None:
    """Say in an otherwise empty panel why it is empty."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=MUTED, style="italic")


def subject_points(ax, table, at, horizontal=True, span=0.2) -> None:
    """One small point per subject, each on a lane of its own, in the order of the table.

    Parameters
    ----------
    table : DataFrame
        Columns subject, value; rows of the mean are left out.
    at : float
        Position of the first lane on the other axis.
    span : float
        Distance from the first lane to the last.
    """
    rows = table[table.subject.astype(str) != ALL]
    lanes = at + span * np.arange(len(rows)) / max(len(rows) - 1, 1)
    xy = (rows.value, lanes) if horizontal else (lanes, rows.value)
    ax.plot(*xy, marker="o", ms=3, mec="none", mfc=MUTED, alpha=0.85, ls="none", gid="subjects")


def mean_interval(ax, row, at, colour, marker="o", horizontal=True, **options) -> None:
    """Mean with its interval.

    Parameters
    ----------
    row : Series
        value, and low and high where there is an interval; NaN draws nothing.
    at : float
        Position on the other axis.
    """
    if not np.isfinite(row.value):
        return
    low, high = row.get("low", np.nan), row.get("high", np.nan)
    if np.isfinite(low) and np.isfinite(high):
        ends = ([low, high], [at, at]) if horizontal else ([at, at], [low, high])
        ax.plot(*ends, color=colour, lw=2.2, solid_capstyle="butt", gid="interval", zorder=3)
    xy = (row.value, at) if horizontal else (at, row.value)
    style = {"marker": marker, "ms": 6.5, "mfc": colour, "mec": "white", "mew": 0.7, "ls": "none"} | options
    ax.plot(*xy, gid="mean", zorder=4, **style)


def significance(ax, row, at) -> None:
    """Write ``row.mark`` right of a mean and its interval; empty or missing marks draw nothing."""
    mark = row.get("mark", "")
    if isinstance(mark, str) and mark and np.isfinite(row.value):
        right = np.nanmax([row.value, row.get("high", np.nan)])
        ax.annotate(
            mark, (right, at), (4, 0), textcoords="offset points", va="center", fontsize=9, gid="mark"
        )


def matrix(ax, values, rows, columns, cmap="viridis", vmin=None, vmax=None, fmt="{:.2f}", fontsize=8):
    """Heat map with its numbers in the cells; NaN stays blank.

    Parameters
    ----------
    values : float array of shape (n_rows, n_columns)
    rows, columns : lists of str

    Returns
    -------
    image : for a colour bar
    """
    values = np.asarray(values, float)
    image = ax.imshow(np.ma.masked_invalid(values), cmap=cmap, vmin=vmin, vmax=vmax, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 5 else 0)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = ink_on(image.cmap(image.norm(value)))
            ax.text(j, i, fmt.format(value), ha="center", va="center", color=ink, fontsize=fontsize)
    return image


def zero_line(ax, horizontal=True) -> None:
    """Thin line at zero of the value axis, and a grid along it."""
    (ax.axvline if horizontal else ax.axhline)(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="x" if horizontal else "y", color=GRID, lw=0.7)
    ax.set_axisbelow(True)


def handle(label, colour=INK, marker="none", line="none", **options) -> Line2D:
    """Entry of a legend."""
    style = {"color": colour, "marker": marker, "ls": line, "ms": 7, "mec": "white"} | options
    return Line2D([], [], label=label, **style)


def known(table, *columns) -> bool:
    """Whether some row has numbers in all of these columns."""
    return set(columns) <= set(table.columns) and bool(table[list(columns)].notna().all(axis=1).any())


def subject_entries(table) -> list[Line2D]:
    """Legend entries for the points of subjects and the interval of the mean."""
    names = [str(s) for s in dict.fromkeys(table.subject) if str(s) != ALL]
    entries = (
        [handle(f"subjects {', '.join(names)}, from above", MUTED, "o", ms=3.5, mec="none")] if names else []
    )
    return entries + ([handle("interval of the mean", line="-", lw=2)] if known(table, "low", "high") else [])


def mark_entries(meanings) -> list[Line2D]:
    """Legend entries that explain significance marks; ``meanings`` maps marks to words, or is None."""
    return [handle(f"{mark}  {meaning}") for mark, meaning in (meanings or {}).items()]


def legend_below(figure, handles, n_columns=2):
    """Legend under all panels."""
    if handles:
        return figure.legend(handles=handles, loc="outside lower left", ncols=n_columns, borderaxespad=0.2)
    return None


def panels(figure, n_panels: int, n_columns: int, **options) -> np.ndarray:
    """Axes of shape (n_panels,) in a grid of n_columns; left-over cells are removed."""
    n_rows = -(-n_panels // n_columns)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, **options).ravel()
    for ax in axes[n_panels:]:
        ax.remove()
    return axes[:n_panels]
