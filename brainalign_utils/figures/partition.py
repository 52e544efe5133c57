"""Variance partitions (figure 6): Venn diagrams, the matrix of pairs, early against higher areas."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke
from matplotlib_venn import venn2

from ..titles import title_of
from . import marks
from .style import ALL, INK, MUTED, RED, WARNING, in_level_order, instruction_colours, new_figure, styled


@styled
def plot_venns(table, unit="R2"):
    """Venn diagrams of instruction pairs: areas in proportion; negative parts are stated, not drawn.

    Parameters
    ----------
    table : DataFrame
        One row per diagram; columns panel (title), instruction_a, instruction_b, unique_a, unique_b, shared.
        Values may be negative or NaN.
    unit : str
        Of the numbers.

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"panel": ["faces"], "instruction_a": "IC", "instruction_b": "IU1",
    ...                       "unique_a": 0.1, "unique_b": -0.02, "shared": 0.2})
    >>> plot_venns(table).axes[0].texts[-1].get_text()
    'negative, drawn as 0: IU1 -0.020'
    """
    columns = ("panel", "instruction_a", "instruction_b", "unique_a", "unique_b", "shared")
    marks.require(table, *columns, of="plot_venns")
    figure, axes, _ = marks.panels(range(len(table)), 2, 2.2, extra=0.5, titles=table.panel.iloc.__getitem__)
    for ax, row in zip(axes, table.itertuples(), strict=True):
        ax.set_title(ax.get_title("left"), loc="left", pad=18)  # names of the circles stand below
        _venn(ax, row)
    figure.supxlabel(f"areas in proportion within a diagram; numbers: {unit}", fontsize=8.5)
    return figure


def _venn(ax, row):
    names = row.instruction_a, row.instruction_b
    parts = {names[0]: row.unique_a, names[1]: row.unique_b, "shared": row.shared}
    areas = [max(value, 0.0) if np.isfinite(value) else 0.0 for value in parts.values()]
    ax.set_axis_off()
    if sum(areas) > 0:
        colours = list(instruction_colours(names).values())
        venn = venn2(areas, names, colours, alpha=0.42, ax=ax, subset_label_formatter="{:.3f}".format)
        colours.append(np.mean([to_rgb(colour) for colour in colours], axis=0))
        for part, area, colour in zip(("10", "01", "11"), areas, colours, strict=True):
            if patch := venn.get_patch_by_id(part):
                patch.set(fc=colour, ec=INK, lw=1.0, gid=f"part {part}")
            if number := venn.get_label_by_id(part):
                halo = [withStroke(linewidth=2.5, foreground="white", alpha=0.75)]
                number.set(fontsize=8.5, path_effects=halo, visible=area > 0)
        (a, b), (radius_a, radius_b) = (centre.x for centre in venn.centers), venn.radii
        ends = min(a - radius_a, b - radius_b), max(a + radius_a, b + radius_b)
        for name, x, side in zip(venn.set_labels, ends, ("left", "right"), strict=True):
            spot = x, 1.08 * max(venn.radii)
            name.set(position=spot, ha=side, va="bottom", fontsize=9.5, weight="bold")
    else:
        marks.note(ax, "nothing to draw: no part above 0")
    negative = [f"{name} {value:.3f}" for name, value in parts.items() if value < 0]
    undefined = [name for name, value in parts.items() if not np.isfinite(value)]
    lines = [f"negative, drawn as 0: {', '.join(negative)}"] * bool(negative)
    lines += [f"undefined: {', '.join(undefined)}"] * bool(undefined)
    if lines:
        style = {"ha": "center", "va": "top", "fontsize": 8, "color": WARNING, "gid": "negative"}
        ax.text(0.5, -0.01, "\n".join(lines), transform=ax.transAxes, **style)


def alt_venns(table, unit="R2") -> str:
    """Alternative text of :func:`plot_venns`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"panel": ["faces"], "instruction_a": "IC", "instruction_b": "IU1",
    ...                       "unique_a": 0.1, "unique_b": -0.02, "shared": 0.2})
    >>> alt_venns(table)
    'Venn diagrams of R2. faces: IC alone 0.100, IU1 alone -0.020, shared 0.200.'
    """
    said = []
    for row in table.itertuples():
        alone = f"{row.instruction_a} alone {row.unique_a:.3f}, {row.instruction_b} alone {row.unique_b:.3f}"
        said.append(f"{row.panel}: {alone}, shared {row.shared:.3f}")
    return f"Venn diagrams of {unit}. {'; '.join(said)}."


@styled
def plot_pair_matrix(table, unit="R2"):
    """Matrices of instruction pairs: what they share, and what the row explains beyond the column.

    Parameters
    ----------
    table : DataFrame
        One row per pair; columns instruction_a, instruction_b, shared (drawn on both sides of the diagonal),
        unique_a, unique_b.  Values may be negative; NaN stays blank.
    unit : str
        Of the values.

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_a": ["IC"], "instruction_b": ["IU1"], "shared": 0.2})
    >>> shared, unique, *_ = plot_pair_matrix(table.assign(unique_a=0.1, unique_b=0.02)).axes
    >>> [text.get_text() for text in unique.texts]  # rows IU1, IC
    ['0.020', '0.100']
    """
    columns = ("instruction_a", "instruction_b", "shared", "unique_a", "unique_b")
    marks.require(table, *columns, of="plot_pair_matrix")
    instructions = in_level_order([*table.instruction_a, *table.instruction_b])
    shared, unique = np.full((2, len(instructions), len(instructions)), np.nan)
    for row in table.itertuples():
        a, b = instructions.index(row.instruction_a), instructions.index(row.instruction_b)
        shared[a, b] = shared[b, a] = row.shared
        unique[a, b], unique[b, a] = row.unique_a, row.unique_b
    matrices = {"shared by row and column": shared, "unique to the row, beside the column": unique}
    figure = new_figure(height=0.4 + 2 * (0.7 + 0.3 * len(instructions)))
    for ax, (title, values) in zip(figure.subplots(2, 1), matrices.items(), strict=True):
        known = values[np.isfinite(values)]
        reach = np.abs(known).max(initial=0) or 1.0
        signed = bool((known < 0).any())
        scale = {"cmap": "RdBu_r" if signed else "viridis", "vmin": -reach if signed else 0, "vmax": reach}
        image = marks.matrix(ax, values, instructions, instructions, fmt="{:.3f}", **scale)
        ax.tick_params(axis="x", rotation=0)
        ax.set_title(title, loc="left")
        figure.colorbar(image, ax=ax, label=unit, aspect=25)
    return figure


def alt_pair_matrix(table, unit="R2") -> str:
    """Alternative text of :func:`plot_pair_matrix`.

    Examples
    --------
    >>> import pandas as pd
    >>> alt_pair_matrix(pd.DataFrame({"instruction_a": ["IC"], "instruction_b": ["IU1"], "shared": [0.2]}))
    'Matrix of R2 shared by 1 pairs of instructions: median 0.200; IC with IU1 0.200.'
    """
    named = table.set_index(table.instruction_a + " with " + table.instruction_b).shared
    return (
        f"Matrix of {unit} shared by {len(table)} pairs of instructions: median {named.median():.3f}; "
        f"{marks.extremes(named, fmt='{:.3f}')}."
    )


@styled
def plot_early_higher(table):
    """The shared fraction in early against higher visual areas; one line per subject, one panel per title.

    Parameters
    ----------
    table : DataFrame
        Columns panel, roi (two regions, early first), subject (number, or "all" for the mean), value;
        low, high optional (rows "all").

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"roi": ["V1", "higher"], "value": [0.3, 0.6], "subject": 1, "panel": "IC, IU1"})
    >>> [label.get_text() for label in plot_early_higher(table).axes[0].get_xticklabels()]
    ['V1', 'higher visual\\n(all localisers)']
    """
    marks.require(table, "panel", "roi", "subject", "value", of="plot_early_higher")
    names, rois = list(dict.fromkeys(table.panel)), list(dict.fromkeys(table.roi))
    figure, axes, _ = marks.panels(names, 3, 2.3, extra=0.8, sharey=True)
    for ax, name in zip(axes, names, strict=True):
        part = table[table.panel == name]
        for subject, rows in part.groupby("subject", sort=False):
            values = [rows.value[rows.roi == roi].mean() for roi in rois]
            if str(subject) != ALL:
                ax.plot(range(len(rois)), values, color=MUTED, lw=0.9, marker="o", ms=3, gid="subject")
        for at, roi in enumerate(rois):
            for _, row in part[(part.roi == roi) & (part.subject.astype(str) == ALL)].iterrows():
                marks.mean_interval(ax, row, at, RED, horizontal=False)
        marks.zero_line(ax, horizontal=False)
        titles = ["\n(".join(marks.lines(t, 18) for t in title_of(r).split(" (")) for r in rois]
        ax.set(xticks=range(len(rois)), xticklabels=titles, xlim=(-0.4, len(rois) - 0.6))
    axes[0].set_ylabel("shared fraction")
    subjects = ", ".join(marks.subject_names(table))
    entries = [marks.handle(f"subjects {subjects}", MUTED, "o", "-", ms=4)] if subjects else []
    marks.legend_below(figure, [*entries, marks.handle("mean and interval", RED, "o", "-", lw=2)])
    return figure


def alt_early_higher(table) -> str:
    """Alternative text of :func:`plot_early_higher`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"panel": "IC with IU1", "roi": ["V1", "V2"], "subject": 1, "value": [0.3, 0.6]})
    >>> alt_early_higher(table)
    'Points of the shared fraction in early and higher areas, 1 subject. IC with IU1: V1 0.30 and V2 0.60.'
    """
    said = []
    for panel, part in marks.means(table).groupby("panel", sort=False):
        values = marks.value_by(part, "roi").items()
        said.append(f"{panel}: " + marks.listed(f"{title_of(r)} {v:.2f}" for r, v in values))
    return (
        f"Points of the shared fraction in early and higher areas, {marks.n_subjects(table)}. "
        f"{'; '.join(said)}."
    )
