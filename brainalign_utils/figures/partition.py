"""Variance partitions: the matrix of pairs and early against higher areas (figure 6)."""

import numpy as np

from ..titles import title_of
from . import marks
from .style import ALL, MUTED, in_level_order, new_figure, require, styled

MEASURES = {
    "shared": "shared by row and column",
    "unique": "unique to the row, beside the column",
    "shared_fraction": "shared fraction of the pair's variance",
}


@styled
def plot_pair_matrix(table, figure=None, measures=("shared", "unique"), unit="R2"):
    """Matrices of instruction pairs: what they share, and what the row explains beyond the column.

    Parameters
    ----------
    table : DataFrame
        One row per pair; columns instruction_a, instruction_b and the parts

        - shared : float, drawn on both sides of the diagonal
        - unique_a, unique_b : float, needed for the measure "unique"
        - shared_fraction : float, needed for the measure of that name

        Values may be negative; NaN stays blank.
    measures : sequence of {"shared", "unique", "shared_fraction"}
        One matrix each.

    Returns
    -------
    figure : Figure
    """
    needed = {
        "shared": ["shared"],
        "unique": ["unique_a", "unique_b"],
        "shared_fraction": ["shared_fraction"],
    }
    columns = [column for measure in measures for column in needed[measure]]
    require(table, "instruction_a", "instruction_b", *columns, of="plot_pair_matrix")
    instructions = in_level_order([*table.instruction_a, *table.instruction_b])
    figure = figure or new_figure(height=0.4 + len(measures) * (0.7 + 0.3 * len(instructions)))
    axes = figure.subplots(len(measures), 1, squeeze=False)[:, 0]
    for ax, measure in zip(axes, measures, strict=True):
        values = pair_values(table, instructions, measure)
        known = values[np.isfinite(values)]
        reach = np.abs(known).max() if len(known) else 1.0
        if (known < 0).any():
            options = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        else:
            options = {"cmap": "viridis", "vmin": 0, "vmax": reach}
        image = marks.matrix(ax, values, instructions, instructions, fmt="{:.3f}", fontsize=8, **options)
        ax.tick_params(axis="x", rotation=0)
        ax.set_title(MEASURES[measure], loc="left")
        figure.colorbar(image, ax=ax, label="fraction" if measure == "shared_fraction" else unit, aspect=25)
    return figure


def pair_values(table, instructions, measure) -> np.ndarray:
    """Matrix of a measure, of shape (n_instructions, n_instructions); the diagonal is NaN."""
    index = {instruction: k for k, instruction in enumerate(instructions)}
    values = np.full((len(index),) * 2, np.nan)
    for row in table.itertuples():
        a, b = index[row.instruction_a], index[row.instruction_b]
        if measure == "unique":
            values[a, b], values[b, a] = row.unique_a, row.unique_b
        else:
            values[a, b] = values[b, a] = getattr(row, measure)
    return values


@styled
def plot_early_higher(table, figure=None, unit="shared fraction"):
    """A measure in early against higher visual areas; one line a subject, one panel a title.

    Parameters
    ----------
    table : DataFrame
        Columns panel, roi (two regions, early first), subject (number, or "all" for the mean), value;
        low, high optional (rows "all").

    Returns
    -------
    figure : Figure
    """
    require(table, "panel", "roi", "subject", "value", of="plot_early_higher")
    names, rois = list(dict.fromkeys(table.panel)), list(dict.fromkeys(table.roi))
    n_columns = min(3, len(names))
    figure = figure or new_figure(height=0.8 + 2.3 * -(-len(names) // n_columns))
    axes = marks.panels(figure, len(names), n_columns, sharey=True)
    for ax, name in zip(axes, names, strict=True):
        part = table[table.panel == name]
        for subject, rows in part.groupby("subject", sort=False):
            values = [rows.value[rows.roi == roi].mean() for roi in rois]
            if str(subject) != ALL:
                ax.plot(range(len(rois)), values, color=MUTED, lw=0.9, marker="o", ms=3, gid="subject")
        for at, roi in enumerate(rois):
            for _, row in part[(part.roi == roi) & (part.subject.astype(str) == ALL)].iterrows():
                marks.mean_interval(ax, row, at, "#b93c0a", horizontal=False)
        marks.zero_line(ax, horizontal=False)
        ax.set_title(name, loc="left")
        titles = [title_of(r).replace(" (", "\n(") for r in rois]
        ax.set(xticks=range(len(rois)), xticklabels=titles, xlim=(-0.4, len(rois) - 0.6))
    axes[0].set_ylabel(unit)
    subjects = [str(s) for s in dict.fromkeys(table.subject) if str(s) != ALL]
    entries = [marks.handle(f"subjects {', '.join(subjects)}", MUTED, "o", "-", ms=4)] if subjects else []
    marks.legend_below(figure, [*entries, marks.handle("mean and interval", "#b93c0a", "o", "-", lw=2)])
    return figure
