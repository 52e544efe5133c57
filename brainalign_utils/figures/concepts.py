"""Visual concepts and other comparisons of instructions: figure 4."""

import numpy as np

from ..titles import title_of
from . import marks
from .style import ALL, INK, MUTED, in_level_order, instruction_colours, new_figure, require, styled


@styled
def plot_concepts(table, figure=None, unit="normalised alignment", cmap="viridis"):
    """Alignment of each instruction on the test images of each concept, one panel a region.

    Parameters
    ----------
    table : DataFrame
        One row per concept, instruction and region; columns

        - concept : str, in the order to show
        - instruction : id
        - value : float, NaN where undefined
        - roi : id, optional; one panel each
        - group : str, optional; "count-related", "recognition-related", ...; written beside the concepts
        - n_images : int, optional; written beside the concepts
        - mark : str, optional; significance mark, printed behind the number

    Returns
    -------
    figure : Figure
    """
    require(table, "concept", "instruction", "value", of="plot_concepts")
    table = table if "roi" in table else table.assign(roi="")
    concepts, rois = (list(dict.fromkeys(table[name])) for name in ("concept", "roi"))
    instructions = in_level_order(table.instruction)
    n_groups = table.group.nunique() if "group" in table else 0
    figure = figure or new_figure(height=0.9 + len(rois) * (0.5 + 0.27 * (len(concepts) + n_groups)))
    axes = figure.subplots(len(rois), 1, squeeze=False)[:, 0]
    known = table.value[np.isfinite(table.value)]
    limits = (min(0.0, known.min()), known.max()) if len(known) else (0.0, 1.0)
    for ax, roi in zip(axes, rois, strict=True):
        part = table[table.roi == roi]
        lines = concepts_in_groups(part, concepts)
        values = np.full((len(lines), len(instructions)), np.nan)
        for row in part.itertuples():
            values[lines.index(row.concept), instructions.index(row.instruction)] = row.value
        titles = [_concept_title(part, line) for line in lines]
        image = marks.matrix(ax, values, titles, instructions, cmap, *limits)
        _concept_marks(ax, part, lines, instructions)
        _bold_groups(ax, part, lines)
        ax.set_title(title_of(roi), loc="left")
    figure.colorbar(image, ax=list(axes), label=unit, aspect=30)
    return figure


def concepts_in_groups(table, concepts) -> list[str]:
    """Concepts with the title of their group above them, groups in their first order."""
    if "group" not in table:
        return concepts
    group_of = dict(zip(table.concept, table.group, strict=True))
    groups = dict.fromkeys(group_of[c] for c in concepts if c in group_of)
    return [x for g in groups for x in (g, *(c for c in concepts if group_of.get(c) == g))]


def _concept_title(table, concept):
    counts = table.n_images[table.concept == concept] if "n_images" in table else []
    return f"{concept} ({int(counts.iloc[0])})" if len(counts) else str(concept)


def _bold_groups(ax, table, lines):
    groups = set(table.group) if "group" in table else set()
    for label, line in zip(ax.get_yticklabels(), lines, strict=True):
        if line in groups and line not in set(table.concept):
            label.set(weight="bold", color=MUTED)


def _concept_marks(ax, table, lines, instructions):
    if "mark" not in table:
        return
    at = {(lines.index(r.concept), instructions.index(r.instruction)): r.mark for r in table.itertuples()}
    for text in ax.texts:
        j, i = text.get_position()
        mark = at.get((i, j))
        if isinstance(mark, str) and mark:
            text.set_text(text.get_text() + mark)


@styled
def plot_instructions(table, figure=None, unit="normalised alignment", n_columns=2, marks_legend=None):
    """Instructions against a measure, one panel a region or concept group: points, mean, interval.

    Serves alignment per instruction, unique variance against all others, and concept groups.

    Parameters
    ----------
    table : DataFrame
        One row per panel, instruction and subject; columns

        - panel : str; region id or any title
        - instruction : id
        - subject : number, or "all" for the mean over subjects
        - value : float; low, high : float, optional (rows "all")
        - mark : str, optional (rows "all"), explained by ``marks_legend``
    unit : str
    marks_legend : dict of mark -> str, or None

    Returns
    -------
    figure : Figure
    """
    require(table, "panel", "instruction", "subject", "value", of="plot_instructions")
    names, instructions = list(dict.fromkeys(table.panel)), in_level_order(table.instruction)
    n_columns = min(n_columns, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = figure or new_figure(height=0.9 + n_rows * (0.6 + 0.24 * len(instructions)))
    axes = marks.panels(figure, len(names), n_columns, sharex=True, sharey=True)
    colours = instruction_colours(instructions)
    for ax, name in zip(axes, names, strict=True):
        part = table[table.panel == name]
        ax.set_title(title_of(name), loc="left")
        marks.zero_line(ax)
        if not np.isfinite(part.value).any():
            ax.text(0.5, 0.5, "no voxels in this region", transform=ax.transAxes, ha="center", color=MUTED)
        for at, instruction in enumerate(instructions):
            rows = part[part.instruction == instruction]
            for _, row in rows[rows.subject.astype(str) == ALL].iterrows():
                marks.mean_interval(ax, row, at, colours[instruction], mec=INK)
                marks.significance(ax, row, at)
            marks.subject_points(ax, rows, at + 0.2)
    axes[0].set_yticks(range(len(instructions)), instructions)
    axes[0].set_ylim(len(instructions) - 0.4, -0.6)
    for ax in axes[-n_columns:]:
        ax.set_xlabel(unit)
        ax.tick_params(labelbottom=True)
        ax.locator_params(axis="x", nbins=5)
    marks.legend_below(figure, [*marks.subject_entries(table), *marks.mark_entries(marks_legend)])
    return figure
