"""What stands behind a map of winners: how often each instruction wins, and whether models agree."""

import textwrap

import numpy as np
from matplotlib.patches import Patch

from ..tables import INSTRUCTION_BY_ID
from ..titles import title_of
from . import marks
from .style import MUTED, in_level_order, ink_on, instruction_colours, new_figure, require, styled


def instruction_label(instruction: str, width: int = 36) -> str:
    """Id and the beginning of the instruction."""
    row = INSTRUCTION_BY_ID.get(instruction)
    return f"{instruction}  {textwrap.shorten(row.text, width, placeholder=' ...')}" if row else instruction


@styled
def plot_winner_shares(table, figure=None):
    """Share of voxels that each instruction wins, one bar a region: the distribution behind the flat maps.

    Parameters
    ----------
    table : DataFrame
        Columns roi, instruction, share (fraction of the region's voxels, mean over subjects).

    Returns
    -------
    figure : Figure
    """
    require(table, "roi", "instruction", "share", of="plot_winner_shares")
    rois = list(dict.fromkeys(table.roi))
    figure = figure or new_figure(height=1.9 + 0.36 * len(rois))
    ax = figure.subplots()
    colours = instruction_colours(in_level_order(table.instruction))
    shares = table.pivot_table(index="roi", columns="instruction", values="share", sort=False, dropna=False)
    for at, roi in enumerate(rois):
        left = 0.0
        for instruction, colour in colours.items():
            share = shares.loc[roi, instruction] if roi in shares.index else np.nan
            if not np.isfinite(share):
                continue
            ax.barh(at, share, left=left, color=colour, ec="white", lw=0.6, height=0.8, gid=instruction)
            if share >= 0.07:
                spot = (left + share / 2, at)
                ax.annotate(instruction, spot, ha="center", va="center", color=ink_on(colour), fontsize=8)
            left += share
        if left == 0:
            ax.text(0.01, at, "no voxels", va="center", color=MUTED, style="italic")
    ax.set(yticks=range(len(rois)), yticklabels=[title_of(r) for r in rois], xlim=(0, 1))
    ax.set_ylim(len(rois) - 0.5, -0.5)
    ax.set_xlabel("share of voxels")
    marks.legend_below(figure, [Patch(fc=c, label=instruction_label(i)) for i, c in colours.items()])
    return figure


@styled
def plot_agreement(table, figure=None):
    """Agreement between models' maps of the best instruction, beside what chance gives.

    Parameters
    ----------
    table : DataFrame
        Columns model_a, model_b, value (share of voxels with the same winner, mean over subjects),
        chance (the same after shuffling voxels); each pair once or twice.

    Returns
    -------
    figure : Figure
    """
    require(table, "model_a", "model_b", "value", "chance", of="plot_agreement")
    models = list(dict.fromkeys([*table.model_a, *table.model_b]))
    figure = figure or new_figure(height=1.6 + 0.62 * len(models))
    ax = figure.subplots()
    grid = {name: np.full((len(models),) * 2, np.nan) for name in ("value", "chance")}
    for row in table.itertuples():
        a, b = models.index(row.model_a), models.index(row.model_b)
        for name in grid:
            grid[name][a, b] = grid[name][b, a] = getattr(row, name)
    titles = [title_of(m) for m in models]
    image = marks.matrix(ax, grid["value"], titles, titles, vmin=0, vmax=1, fontsize=9)
    ax.tick_params(axis="x", rotation=30)
    for (i, j), chance in np.ndenumerate(grid["chance"]):
        if np.isfinite(chance):
            ink = ink_on(image.cmap(image.norm(grid["value"][i, j])))
            spot = {"xytext": (0, -11), "textcoords": "offset points", "ha": "center", "va": "center"}
            ax.annotate(f"chance {chance:.2f}", (j, i), color=ink, fontsize=8, **spot)
    figure.colorbar(image, ax=ax, label="share of voxels with the same winner")
    return figure


@styled
def plot_pair_tests(table, figure=None, alpha=0.05, unit="row minus column, normalised alignment"):
    """Every instruction against every other one, one matrix a region; a star marks what is sure.

    Parameters
    ----------
    table : DataFrame
        One row per pair and region; columns a, b, roi, estimate (a - b), q.
    alpha : float
        Pairs with q below it get a star.
    unit : str

    Returns
    -------
    figure : Figure
    """
    require(table, "a", "b", "roi", "estimate", "q", of="plot_pair_tests")
    rois, ids = list(dict.fromkeys(table.roi)), in_level_order([*table.a, *table.b])
    figure = figure or new_figure(height=0.8 + len(rois) * (0.6 + 0.3 * len(ids)))
    axes = figure.subplots(len(rois), 1, squeeze=False)[:, 0]
    reach = np.nanmax(np.abs(table.estimate)) if table.estimate.notna().any() else 1.0
    for ax, roi in zip(axes, rois, strict=True):
        values, q = (np.full((len(ids),) * 2, np.nan) for _ in range(2))
        for row in table[table.roi == roi].itertuples():
            a, b = ids.index(row.a), ids.index(row.b)
            values[a, b], values[b, a], q[a, b], q[b, a] = row.estimate, -row.estimate, row.q, row.q
        scale = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        image = marks.matrix(ax, values, ids, ids, fmt="{:+.2f}", fontsize=8, **scale)
        ax.tick_params(axis="x", rotation=0)
        for text in ax.texts:
            column, line = text.get_position()
            if q[line, column] < alpha:
                text.set_text(text.get_text() + "*")
        ax.set_title(title_of(roi), loc="left")
    figure.colorbar(image, ax=list(axes), label=unit, aspect=30)
    figure.supxlabel(f"* q < {alpha:g}, bootstrap over test pictures, all pairs and regions", fontsize=8.5)
    return figure
