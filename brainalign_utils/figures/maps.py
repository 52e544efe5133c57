"""Flat maps: best instruction, best layer, a measure, the regions; and what stands behind a winner."""

import textwrap

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch

from ..flat import draw_outlines, flatmap
from ..tables import INSTRUCTION_BY_ID
from . import marks
from .style import (
    MUTED,
    WIDTH,
    in_level_order,
    ink_on,
    instruction_colours,
    model_title,
    new_figure,
    require,
    roi_title,
    styled,
)

_ALPHAS = (0.3, 0.65, 1.0)
_ROI_COLOURS = ("#137efa", "#e8590c", "#0b7a67", "#b5179e", "#8a6d00", "#5f3dc4", "#c92a2a", "#2b8a3e")


def _map_axes(figure, titles, cortex, n_columns, extra=0.0):
    """Figure of the right height, ``extra`` inches for legends included, and one titled Axes a map."""
    n_columns = min(n_columns, len(titles))
    height, width = cortex.vertex_of_pixel.shape
    each = WIDTH / n_columns * height / width + 0.25
    n_rows = -(-len(titles) // n_columns)
    if figure is None:
        figure = new_figure(height=0.3 + extra + n_rows * each)
    axes = marks.panels(figure, len(titles), n_columns)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, loc="left")
    return figure, axes


def focused(cortex, shown, focus=True):
    """The part of the flat map around what is shown; all of it when nothing is, or without ``focus``.

    Parameters
    ----------
    shown : sequence of bool arrays of shape (n_vertices,)
    """
    vertices = np.any(list(shown), axis=0)
    visible = focus and cortex.image(vertices, outside=False).any()
    return cortex.crop(vertices) if visible else cortex


def winner_rgba(best, margin, colours, full_margin: float) -> np.ndarray:
    """Colour of the winner, as opaque as its margin is wide.

    Parameters
    ----------
    best : int array of shape (n_vertices,)
        Index into ``colours``, -1 for none.
    margin : float array of shape (n_vertices,)
        Score of the winner minus that of the second; NaN is transparent.
    colours : sequence of colours
    full_margin : float
        Margin from which on a colour is opaque.

    Returns
    -------
    rgba : float array of shape (n_vertices, 4)
    """
    best, margin = np.asarray(best), np.asarray(margin, float)
    rgba = np.zeros((len(best), 4))
    known = (best >= 0) & np.isfinite(margin)
    rgba[known, :3] = np.array([to_rgb(c) for c in colours])[best[known]]
    rgba[known, 3] = 0.15 + 0.85 * np.clip(margin[known] / full_margin, 0, 1)
    return rgba


@styled
def plot_best_instruction(
    maps,
    cortex,
    instructions,
    figure=None,
    outlines=None,
    full_margin=0.05,
    n_columns=2,
    unit="r",
    focus=True,
):
    """Flat maps of the best instruction of each voxel; opacity is the margin before the second best.

    Parameters
    ----------
    maps : dict of title -> (best, margin)
        One panel each ("subject 1", ..., "group"): arrays of shape (n_vertices,), ``best`` an index into
        ``instructions`` or -1, ``margin`` in the unit of the score.
    cortex : Cortex
        Of :func:`brainalign_utils.surface.load_cortex`.
    instructions : sequence of str
        Ids.
    outlines : dict of title -> bool array of shape (n_vertices,), or None
    full_margin : float
        Margin from which on a colour is opaque.
    n_columns : int
    unit : str
        Of the margin.
    focus : bool
        Show only the part of the cortex that has data.

    Returns
    -------
    figure : Figure
    """
    cortex = focused(cortex, [best >= 0 for best, _ in maps.values()], focus)
    figure, axes = _map_axes(figure, list(maps), cortex, n_columns, extra=1.5)
    colours = instruction_colours(instructions)
    for ax, (best, margin) in zip(axes, maps.values(), strict=True):
        rgba = winner_rgba(best, margin, list(colours.values()), full_margin)
        flatmap(ax, cortex, rgba, outlines=outlines, labels=ax is axes[0])
    _winner_legend(figure, colours, full_margin, unit)
    return figure


def _winner_legend(figure, colours, full_margin, unit):
    ordered = in_level_order(colours)
    entries = [tuple(Patch(fc=colours[i], alpha=a, ec="none") for a in _ALPHAS) for i in ordered]
    title = f"low to high level, down the columns; opaque: {unit} {full_margin:g} or more above the second"
    figure.legend(
        entries,
        [instruction_label(i) for i in ordered],
        loc="outside lower left",
        ncols=2,
        title=title,
        alignment="left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        handlelength=3,
        fontsize=8.5,
    )


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
    ax.set(yticks=range(len(rois)), yticklabels=[roi_title(r) for r in rois], xlim=(0, 1))
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
    titles = [model_title(m) for m in models]
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
def plot_maps(
    maps,
    cortex,
    label,
    figure=None,
    outlines=None,
    cmap="viridis",
    vmin=None,
    vmax=None,
    n_columns=2,
    focus=True,
):
    """Flat maps of one measure with a common colour scale: best layer, ceiling, alignment, shared variance.

    Parameters
    ----------
    maps : dict of title -> float array of shape (n_vertices,)
        NaN where there is nothing.
    cortex : Cortex
    label : str
        Of the colour bar ("best layer, relative depth").
    outlines : dict of title -> bool array of shape (n_vertices,), or None
    cmap, vmin, vmax
        None takes the smallest and largest value of all maps.
    focus : bool
        Show only the part of the cortex that has data.

    Returns
    -------
    figure : Figure
    """
    cortex = focused(cortex, [np.isfinite(values) for values in maps.values()], focus)
    figure, axes = _map_axes(figure, list(maps), cortex, n_columns, extra=0.6)
    pooled = np.concatenate([np.asarray(m, float)[np.isfinite(m)] for m in maps.values()])
    low = (pooled.min() if len(pooled) else 0.0) if vmin is None else vmin
    high = (pooled.max() if len(pooled) else 1.0) if vmax is None else vmax
    for ax, values in zip(axes, maps.values(), strict=True):
        flatmap(ax, cortex, values, cmap=cmap, vmin=low, vmax=high, outlines=outlines, labels=ax is axes[0])
    scale = ScalarMappable(Normalize(low, high), cmap)
    figure.colorbar(
        scale, ax=list(axes), label=label, orientation="horizontal", shrink=0.5, aspect=30, pad=0.02
    )
    return figure


@styled
def plot_roi_locations(regions, cortex, figure=None, focus=True):
    """Where the regions lie.

    Parameters
    ----------
    regions : dict of title -> dict of area -> bool array of shape (n_vertices,)
        One panel a title ("subject 1"); areas may be empty, and may overlap: later ones lie on top.
    cortex : Cortex
    focus : bool
        Show only the part of the cortex that holds regions.

    Returns
    -------
    figure : Figure
    """
    every = [np.asarray(v, bool) for areas in regions.values() for v in areas.values()]
    cortex = focused(cortex, every, focus)
    figure, axes = _map_axes(figure, list(regions), cortex, 2)
    for ax, areas in zip(axes, regions.values(), strict=True):
        rgba = np.zeros((cortex.n_vertices, 4))
        for k, vertices in enumerate(areas.values()):
            rgba[np.asarray(vertices, bool)] = (*to_rgb(_ROI_COLOURS[k % len(_ROI_COLOURS)]), 0.55)
        flatmap(ax, cortex, rgba)
        draw_outlines(ax, cortex, areas)
    return figure
