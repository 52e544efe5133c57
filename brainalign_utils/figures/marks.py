"""What figures share: points with intervals, matrices, legends, and the words of alternative texts.

Marks never compute.
"""

from textwrap import wrap

import numpy as np
from matplotlib.lines import Line2D

from ..titles import title_of
from .style import ALL, GRID, INK, MUTED, WIDTH, ink_on, new_figure


def require(table, *columns, of: str) -> None:
    """Check that a table has rows, and the columns that a figure draws.

    Raises
    ------
    ValueError
        Naming the missing columns and those present.
    """
    if missing := [column for column in columns if column not in table.columns]:
        raise ValueError(
            f"table for {of} lacks column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    if not len(table):
        raise ValueError(f"table for {of} has 0 rows; a figure needs the numbers it shows")


def panels(names, n_columns: int, height: float, extra: float = 1.0, titles=title_of, **options):
    """Figure with one titled panel per name.

    Parameters
    ----------
    names : sequence of str
    n_columns : int
        At most; fewer where there are fewer names.
    height, extra : float
        Inches for each row of panels, and for legends and labels of the axes.
    titles : callable of a name -> str
        Longer titles than their panels are broken into lines.

    Returns
    -------
    figure : Figure
    axes : array of Axes of shape (n_panels,)
    bottom : list of Axes
        Those of the lowest row that have nothing below.
    """
    names = list(names)
    n_columns = min(n_columns, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = new_figure(height=extra + height * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, **options).ravel()
    for ax in axes[len(names) :]:
        ax.remove()
    for ax, name in zip(axes, names, strict=False):
        ax.set_title(lines(titles(name), int(11 * WIDTH / n_columns)), loc="left")
    return figure, axes[: len(names)], axes[: len(names)][-n_columns:]


def lines(text, n_letters: int) -> str:
    """Text in at most three lines; what is longer ends with an ellipsis."""
    return "\n".join(wrap(text, n_letters, max_lines=3, placeholder=" ..."))


def note(ax, text="no voxels in this region") -> None:
    """Say in an otherwise empty panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=MUTED)


def subject_points(ax, table, at, span=0.2) -> None:
    """One small point per subject, each on a lane of its own, in the order of the table.

    Parameters
    ----------
    table : DataFrame
        Columns subject, value; rows of the mean are left out.
    at : float
        Position of the first lane on the vertical axis.
    span : float
        Distance from the first lane to the last.
    """
    rows = table[table.subject.astype(str) != ALL]
    lanes = at + span * np.arange(len(rows)) / max(len(rows) - 1, 1)
    ax.plot(rows.value, lanes, marker="o", ms=3, mec="none", mfc=MUTED, alpha=0.85, ls="none", gid="subjects")


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


def matrix(ax, values, rows, columns, cmap="viridis", vmin=None, vmax=None, fmt="{:.2f}", fontsize=8):
    """Heat map with its numbers in the cells, where they have room; NaN stays blank.

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
        if np.isfinite(value) and len(columns) <= 14:
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


def subject_names(table) -> list[str]:
    """Subjects of a table as text, without the mean over them."""
    return [str(s) for s in dict.fromkeys(table.subject) if str(s) != ALL]


def subject_entries(table) -> list[Line2D]:
    """Legend entries for the points of subjects and the interval of the mean."""
    names = ", ".join(subject_names(table))
    entries = [handle(f"subjects {names}, from above", MUTED, "o", ms=3.5, mec="none")] if names else []
    return entries + ([handle("interval of the mean", line="-", lw=2)] if known(table, "low", "high") else [])


def legend_below(figure, handles, n_columns=2):
    """Legend under all panels."""
    return figure.legend(handles=handles, loc="outside lower left", ncols=n_columns, borderaxespad=0.2)


def listed(items) -> str:
    """Words of a list: ``a, b and c``."""
    items = [str(item) for item in items]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def means(table):
    """Rows of the mean over subjects; all rows where there are none."""
    found = table[table.subject.astype(str) == ALL]
    return found if len(found) else table


def n_subjects(table) -> str:
    """Number of subjects of a table, in words."""
    n = len(subject_names(table))
    return f"{n} subject{'s' * (n != 1)}"


def extremes(values, title=str, fmt="{:.2f}") -> str:
    """Highest and lowest of a Series whose index names what was measured."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "no data"
    high, low = values.idxmax(), values.idxmin()
    if values[high] == values[low]:
        return f"{'everywhere' if len(values) > 1 else title(high)} {fmt.format(values[high])}"
    return f"highest {title(high)} {fmt.format(values[high])}, lowest {title(low)} {fmt.format(values[low])}"


def value_by(table, column):
    """Mean of ``value`` by a column, in the table's order."""
    return table.groupby(column, sort=False).value.mean()
