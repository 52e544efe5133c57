"""Flat maps: best instruction, best layer or another measure, and where the regions lie."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch

from . import marks
from .flat import draw_outlines, flatmap
from .style import WIDTH, in_level_order, instruction_colours, new_figure, styled
from .winners import instruction_label

_ALPHAS = (0.3, 0.65, 1.0)
_ROI_COLOURS = (
    *("#137efa", "#e8590c", "#0b7a67", "#b5179e", "#8a6d00", "#5f3dc4", "#c92a2a"),
    *("#2b8a3e", "#e64980", "#0c8599", "#a9771a", "#495057", "#6741d9", "#d9480f"),
)


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


def _outlines_of(outlines, title):
    """Outlines of one panel: the same for all, or those under its title."""
    nested = any(isinstance(value, dict) for value in (outlines or {}).values())
    return outlines.get(title) if nested else outlines


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
        Of :func:`brainalign_utils.figures.surface.load_cortex`.
    instructions : sequence of str
        Ids.
    outlines : dict of area -> bool array of shape (n_vertices,), or dict of title -> such a dict, or None
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
    figure, axes = _map_axes(figure, list(maps), cortex, n_columns, 0.45 + 0.17 * -(-len(instructions) // 2))
    colours = instruction_colours(instructions)
    for ax, (title, (best, margin)) in zip(axes, maps.items(), strict=True):
        rgba = winner_rgba(best, margin, list(colours.values()), full_margin)
        flatmap(ax, cortex, rgba, outlines=_outlines_of(outlines, title), labels=ax is axes[0])
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
    symmetric=False,
):
    """Flat maps of one measure with a common colour scale: best layer, ceiling, alignment, shared variance.

    Parameters
    ----------
    maps : dict of title -> float array of shape (n_vertices,)
        NaN where there is nothing.
    cortex : Cortex
    label : str
        Of the colour bar ("best layer, relative depth").
    outlines : dict of area -> bool array of shape (n_vertices,), or dict of title -> such a dict, or None
    cmap, vmin, vmax
        None takes the smallest and largest value of all maps.
    focus : bool
        Show only the part of the cortex that has data.
    symmetric : bool
        Put 0 in the middle of the scale, which then reaches to the 99th percentile of the absolute values.

    Returns
    -------
    figure : Figure
    """
    cortex = focused(cortex, [np.isfinite(values) for values in maps.values()], focus)
    figure, axes = _map_axes(figure, list(maps), cortex, n_columns, extra=0.6)
    pooled = np.concatenate([np.asarray(m, float)[np.isfinite(m)] for m in maps.values()])
    low = (pooled.min() if len(pooled) else 0.0) if vmin is None else vmin
    high = (pooled.max() if len(pooled) else 1.0) if vmax is None else vmax
    if symmetric and len(pooled):
        high = float(np.percentile(np.abs(pooled), 99)) or 1.0
        low = -high
    for ax, (title, values) in zip(axes, maps.items(), strict=True):
        options = {"cmap": cmap, "vmin": low, "vmax": high, "labels": ax is axes[0]}
        flatmap(ax, cortex, values, outlines=_outlines_of(outlines, title), **options)
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
