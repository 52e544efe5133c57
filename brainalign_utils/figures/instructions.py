"""Instructions compared: which one wins (figure 3), by visual concept (figure 4), and pair by pair."""

import textwrap

import numpy as np
from matplotlib.patches import Patch

from ..tables import INSTRUCTION_BY_ID
from ..titles import title_of
from . import marks
from .alignment import UNIT
from .style import ALL, INK, MUTED, in_level_order, ink_on, instruction_colours, new_figure, styled


def instruction_label(instruction: str) -> str:
    """Id and the beginning of the instruction."""
    row = INSTRUCTION_BY_ID.get(instruction)
    return f"{instruction}  {textwrap.shorten(row.text, 36, placeholder=' ...')}" if row else instruction


@styled
def plot_concepts(table):
    """Alignment of each instruction on the test images of each concept, one panel per region.

    Parameters
    ----------
    table : DataFrame
        One row per concept, instruction and region; columns

        - concept : str, in the order to show
        - instruction, roi : ids
        - value : float, NaN where undefined
        - group : str; "count-related", "recognition-related", ...; written above its concepts
        - n_images : int; written beside the concepts

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
    >>> table = pd.DataFrame({"instruction": ["IU2", "IC"], "value": [0.4, 0.3], "concept": "food"})
    >>> table = table.assign(group="recognition-related", n_images=12, roi="faces")
    >>> [label.get_text() for label in plot_concepts(table).axes[0].get_yticklabels()]
    ['recognition-related', 'food (12)']
    """
    marks.require(table, "concept", "group", "n_images", "roi", "instruction", "value", of="plot_concepts")
    rois, instructions = list(dict.fromkeys(table.roi)), in_level_order(table.instruction)
    groups = {group: list(dict.fromkeys(part.concept)) for group, part in table.groupby("group", sort=False)}
    lines = [line for group, concepts in groups.items() for line in (group, *concepts)]
    figure = new_figure(height=0.9 + len(rois) * (0.5 + 0.27 * len(lines)))
    axes = figure.subplots(len(rois), 1, squeeze=False)[:, 0]
    known = table.value[np.isfinite(table.value)]
    limits = (min(0.0, known.min()), known.max()) if len(known) else (0.0, 1.0)
    for ax, roi in zip(axes, rois, strict=True):
        part = table[table.roi == roi]
        values = np.full((len(lines), len(instructions)), np.nan)
        for row in part.itertuples():
            values[lines.index(row.concept), instructions.index(row.instruction)] = row.value
        counts = dict(zip(part.concept, part.n_images, strict=True))
        titles = [f"{line} ({counts[line]:.0f})" if line in counts else line for line in lines]
        image = marks.matrix(
            ax, values, [marks.lines(t, 40) for t in titles], instructions, "viridis", *limits
        )
        for label, line in zip(ax.get_yticklabels(), lines, strict=True):
            if line in groups:
                label.set(weight="bold", color=MUTED)
        ax.set_title(marks.lines(title_of(roi), 60), loc="left")
    figure.colorbar(image, ax=list(axes), label=UNIT, aspect=30)
    return figure


def alt_concepts(table) -> str:
    """Alternative text of :func:`plot_concepts`: the best instruction of each concept.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction": ["IU2", "IC"], "value": [0.4, 0.3], "concept": "food"})
    >>> alt_concepts(table.assign(roi="faces"))
    'Heat map of normalised alignment of 2 instructions ...; best instruction: faces: food IU2 0.40.'
    """
    said = []
    for roi, part in table.dropna(subset="value").groupby("roi", sort=False):
        best = part.loc[part.groupby("concept", sort=False).value.idxmax()]
        each = marks.listed(f"{row.concept} {row.instruction} {row.value:.2f}" for row in best.itertuples())
        said.append(f"{title_of(roi)}: {each}")
    n = table.instruction.nunique()
    best = "; ".join(said) or "no data"
    return f"Heat map of {UNIT} of {n} instructions by visual concept; best instruction: {best}."


@styled
def plot_instructions(table, unit=UNIT):
    """Instructions against a measure, one panel per region: subjects, mean, interval.

    Parameters
    ----------
    table : DataFrame
        One row per panel, instruction and subject; columns

        - panel : str; region id or any title
        - instruction : id
        - subject : number, or "all" for the mean over subjects
        - value : float; low, high : float, optional (rows "all")
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
    >>> table = pd.DataFrame({"instruction": ["IC", "IU1"], "value": [0.2, 0.1], "panel": "faces"})
    >>> figure = plot_instructions(table.assign(subject="all"), unit="unique variance")
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]  # from low to high level
    ['IU1', 'IC']
    """
    marks.require(table, "panel", "instruction", "subject", "value", of="plot_instructions")
    names, instructions = list(dict.fromkeys(table.panel)), in_level_order(table.instruction)
    height = 0.6 + 0.24 * len(instructions)
    figure, axes, bottom = marks.panels(names, 2, height, extra=0.9, sharex=True, sharey=True)
    colours = instruction_colours(instructions)
    for ax, name in zip(axes, names, strict=True):
        part = table[table.panel == name]
        marks.zero_line(ax)
        if not np.isfinite(part.value).any():
            marks.note(ax)
        for at, instruction in enumerate(instructions):
            rows = part[part.instruction == instruction]
            for _, row in rows[rows.subject.astype(str) == ALL].iterrows():
                marks.mean_interval(ax, row, at, colours[instruction], mec=INK)
            marks.subject_points(ax, rows, at + 0.2)
    axes[0].set_yticks(range(len(instructions)), instructions)
    axes[0].set_ylim(len(instructions) - 0.4, -0.6)
    for ax in bottom:
        ax.set_xlabel(unit)
        ax.tick_params(labelbottom=True)
        ax.locator_params(axis="x", nbins=5)
    marks.legend_below(figure, marks.subject_entries(table))
    return figure


def alt_instructions(table, unit=UNIT) -> str:
    """Alternative text of :func:`plot_instructions`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction": ["IC", "IU1"], "value": [0.2, 0.1], "panel": "faces"})
    >>> alt_instructions(table.assign(subject=1), unit="unique variance")
    'Dot plot of unique variance by instruction, 1 subject. faces: highest IC 0.20, lowest IU1 0.10.'
    """
    means = marks.means(table)
    said = [
        f"{title_of(p)}: {marks.extremes(marks.value_by(means[means.panel == p], 'instruction'))}"
        for p in dict.fromkeys(table.panel)
    ]
    return f"Dot plot of {unit} by instruction, {marks.n_subjects(table)}. {'; '.join(said)}."


@styled
def plot_winner_shares(table):
    """Fraction of voxels that each instruction wins, one bar per region: what stands behind the flat maps.

    Parameters
    ----------
    table : DataFrame
        Columns roi, instruction, share (fraction of the region's voxels, mean over subjects).

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
    >>> table = pd.DataFrame({"roi": "faces", "instruction": ["IC", "IU1"], "share": [0.75, 0.25]})
    >>> [float(bar.get_width()) for bar in plot_winner_shares(table).axes[0].patches]
    [0.25, 0.75]
    """
    marks.require(table, "roi", "instruction", "share", of="plot_winner_shares")
    rois, shares = list(dict.fromkeys(table.roi)), table.set_index(["roi", "instruction"]).share
    figure = new_figure(height=1.9 + 0.36 * len(rois))
    ax = figure.subplots()
    colours = instruction_colours(in_level_order(table.instruction))
    for at, roi in enumerate(rois):
        left = 0.0
        for instruction, colour in colours.items():
            share = shares.get((roi, instruction), np.nan)
            if not np.isfinite(share):
                continue
            ax.barh(at, share, left=left, color=colour, ec="white", lw=0.6, height=0.8, gid=instruction)
            if share >= 0.07:
                spot = (left + share / 2, at)
                ax.annotate(instruction, spot, ha="center", va="center", color=ink_on(colour), fontsize=8)
            left += share
        if left == 0:
            ax.text(0.01, at, "no voxels", va="center", color=MUTED, style="oblique")
    ax.set(yticks=range(len(rois)), yticklabels=[marks.lines(title_of(r), 30) for r in rois], xlim=(0, 1))
    ax.set_ylim(len(rois) - 0.5, -0.5)
    ax.set_xlabel("share of voxels")
    marks.legend_below(figure, [Patch(fc=c, label=instruction_label(i)) for i, c in colours.items()])
    return figure


def alt_winner_shares(table, kind="Stacked bars") -> str:
    """Alternative text of :func:`plot_winner_shares`; with ``kind="Flat maps"`` of the maps behind it.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"roi": "faces", "instruction": ["IC", "IU1"], "share": [0.75, 0.25]})
    >>> alt_winner_shares(table)
    'Stacked bars of the best instruction of each voxel; most frequent: faces: IC 75% and IU1 25%.'
    """
    said = []
    for roi, part in table.groupby("roi", sort=False):
        best = part.dropna(subset="share").sort_values("share", ascending=False, kind="stable").head(2)
        winners = [f"{row.instruction} {row.share:.0%}" for row in best.itertuples()]
        said.append(f"{title_of(roi)}: {marks.listed(winners) if winners else 'no voxels'}")
    return f"{kind} of the best instruction of each voxel; most frequent: {'; '.join(said)}."


@styled
def plot_agreement(table):
    """Agreement between models' maps of the best instruction, beside what chance gives.

    Parameters
    ----------
    table : DataFrame
        Columns model_a, model_b, value (fraction of voxels with the same winner, mean over subjects),
        chance (the same after shuffling voxels); each pair once or twice.

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
    >>> pair = {"model_a": ["instructblip"], "model_b": ["idefics"], "value": [0.4], "chance": [0.1]}
    >>> float(plot_agreement(pd.DataFrame(pair)).axes[0].images[0].get_array()[0, 1])
    0.4
    """
    marks.require(table, "model_a", "model_b", "value", "chance", of="plot_agreement")
    models = list(dict.fromkeys([*table.model_a, *table.model_b]))
    figure = new_figure(height=1.6 + 0.62 * len(models))
    ax = figure.subplots()
    values, chance = np.full((2, len(models), len(models)), np.nan)
    for row in table.itertuples():
        a, b = models.index(row.model_a), models.index(row.model_b)
        values[a, b] = values[b, a] = row.value
        chance[a, b] = chance[b, a] = row.chance
    titles = [marks.lines(title_of(m), 30) for m in models]
    image = marks.matrix(ax, values, titles, titles, vmin=0, vmax=1, fontsize=9)
    ax.tick_params(axis="x", rotation=30)
    for text in list(ax.texts):
        j, i = text.get_position()
        if np.isfinite(chance[i, j]):
            spot = {"xytext": (0, -11), "textcoords": "offset points", "ha": "center", "va": "center"}
            ax.annotate(f"chance {chance[i, j]:.2f}", (j, i), color=text.get_color(), fontsize=8, **spot)
    figure.colorbar(image, ax=ax, label="share of voxels with the same winner")
    return figure


def alt_agreement(table) -> str:
    """Alternative text of :func:`plot_agreement`.

    Examples
    --------
    >>> import pandas as pd
    >>> pair = {"model_a": ["instructblip"], "model_b": ["idefics"], "value": [0.4], "chance": [0.1]}
    >>> alt_agreement(pd.DataFrame(pair))
    'Matrix of the share of voxels with ... best instruction: InstructBLIP and IDEFICS 40% (chance 10%).'
    """
    pairs = [
        f"{title_of(row.model_a)} and {title_of(row.model_b)} {row.value:.0%} (chance {row.chance:.0%})"
        for row in table.itertuples()
    ]
    return f"Matrix of the share of voxels with the same best instruction: {marks.listed(pairs)}."


@styled
def plot_pair_tests(table, alpha=0.05):
    """Every instruction against every other one, one matrix per region; a star marks what is significant.

    Parameters
    ----------
    table : DataFrame
        One row per pair and region; columns a, b, roi, estimate (a - b), q.
    alpha : float
        Pairs with q below it get a star.

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
    >>> table = pd.DataFrame({"a": ["IC"], "b": ["IU1"], "roi": "faces", "estimate": [0.2], "q": [0.01]})
    >>> [text.get_text() for text in plot_pair_tests(table).axes[0].texts]
    ['-0.20*', '+0.20*']
    """
    marks.require(table, "a", "b", "roi", "estimate", "q", of="plot_pair_tests")
    rois, ids = list(dict.fromkeys(table.roi)), in_level_order([*table.a, *table.b])
    figure = new_figure(height=0.8 + len(rois) * (0.6 + 0.3 * len(ids)))
    axes = figure.subplots(len(rois), 1, squeeze=False)[:, 0]
    reach = np.nanmax(np.abs(table.estimate)) if table.estimate.notna().any() else 1.0
    for ax, roi in zip(axes, rois, strict=True):
        values, q = np.full((2, len(ids), len(ids)), np.nan)
        for row in table[table.roi == roi].itertuples():
            a, b = ids.index(row.a), ids.index(row.b)
            values[a, b], values[b, a], q[a, b], q[b, a] = row.estimate, -row.estimate, row.q, row.q
        scale = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        image = marks.matrix(ax, values, ids, ids, fmt="{:+.2f}", **scale)
        ax.tick_params(axis="x", rotation=0)
        for text in ax.texts:
            column, line = text.get_position()
            if q[line, column] < alpha:
                text.set_text(text.get_text() + "*")
        ax.set_title(marks.lines(title_of(roi), 60), loc="left")
    figure.colorbar(image, ax=list(axes), label=f"row minus column, {UNIT}", aspect=30)
    figure.supxlabel(f"* q < {alpha:g}, bootstrap over test pictures, all pairs and regions", fontsize=8.5)
    return figure


def alt_pair_tests(table, alpha=0.05) -> str:
    """Alternative text of :func:`plot_pair_tests`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"a": ["IC"], "b": ["IU1"], "roi": "faces", "estimate": [0.2], "q": [0.01]})
    >>> alt_pair_tests(table)
    'Matrices of ... instructions. faces: 1 of 1 pairs differ at q < 0.05; IC minus IU1 0.20.'
    """
    said = []
    for roi, part in table.groupby("roi", sort=False):
        named = part.set_index(part.a + " minus " + part.b).estimate
        sure = f"{int((part.q < alpha).sum())} of {len(part)} pairs differ at q < {alpha:g}"
        said.append(f"{title_of(roi)}: {sure}; {marks.extremes(named)}")
    return f"Matrices of differences between instructions. {'; '.join(said)}."
