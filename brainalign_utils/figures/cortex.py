"""The cortex, flat and inflated: best instruction, best layer or another measure at every vertex.

A *cortex* is a Dataset of :func:`brainalign_utils.results.surface.load_cortex`: ``vertex_of_pixel``
(row, column), the vertex that each pixel of the flat map shows or -1; ``curvature`` (vertex), positive in
sulci; and the number of vertices of the left hemisphere, which come first, as the attribute ``n_left``.
"""

import numpy as np
from adjustText import adjust_text
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy import ndimage

from . import marks
from .instructions import instruction_label
from .style import WIDTH, in_level_order, instruction_colours, new_figure, styled

FULL_MARGIN = 0.05
"""Margin of the best instruction from which on its colour is opaque."""

_ALPHAS = (0.3, 0.65, 1.0)
_SULCUS, _GYRUS = 0.74, 0.86


def image(cortex, values, outside=np.nan) -> np.ndarray:
    """Vertex array of shape (n_vertices, ...) as a picture of shape (height, width, ...).

    Raises
    ------
    ValueError
        When the array has another number of vertices than the cortex.
    """
    values, vertex = np.asarray(values), cortex.vertex_of_pixel.values
    if len(values) != cortex.sizes["vertex"]:
        raise ValueError(
            f"values hold {len(values)} vertices but the cortex has {cortex.sizes['vertex']}; "
            "lay voxels on it with results.surface.to_vertices first"
        )
    inside = (vertex >= 0).reshape(*vertex.shape, *[1] * (values.ndim - 1))
    return np.where(inside, values[vertex], outside)


def cropped(cortex, shown, margin=12):
    """The part of the flat map around some vertices, ``margin`` pixels more; all of it where none is seen."""
    rows, columns = np.nonzero(image(cortex, shown, outside=False))
    if not len(rows):
        return cortex
    rows, columns = (slice(max(at.min() - margin, 0), at.max() + margin + 1) for at in (rows, columns))
    return cortex.isel(row=rows, column=columns)


def flatmap(ax, cortex, rgba) -> None:
    """Draw colours of vertices, float array of shape (n_vertices, 4) in 0..1, over the folds."""
    folds = np.where(cortex.curvature.values > 0, _SULCUS, _GYRUS)
    style = {"interpolation": "nearest"}
    ax.imshow(image(cortex, folds), cmap="gray", vmin=0, vmax=1, gid="folds", **style)
    ax.imshow(image(cortex, rgba, outside=0.0), gid="values", **style)
    ax.set_axis_off()


def outline(ax, cortex, areas: dict) -> list[tuple]:
    """Contours of areas.

    Parameters
    ----------
    areas : dict of title -> bool array of shape (n_vertices,)
        Those without visible vertices are skipped.

    Returns
    -------
    spots : list of (title, column, row)
        The innermost pixel of each area in each hemisphere: where its title may stand.
    """
    left = cortex.vertex_of_pixel.values < cortex.attrs["n_left"]
    shown = cortex.vertex_of_pixel.values[cortex.vertex_of_pixel.values >= 0]
    spacing = np.sqrt(len(shown) / len(np.unique(shown)))  # of neighbouring vertices, in pixels
    halo, spots = [withStroke(linewidth=1.9, foreground="white")], []
    for title, vertices in areas.items():
        area = _without_crumbs(image(cortex, vertices, outside=False), 3 * spacing**2)
        if not area.any():
            continue
        soft = ndimage.gaussian_filter(area.astype(float), 0.5 * spacing)
        contour = ax.contour(soft, [min(0.5, 0.6 * soft.max())], colors="black", linewidths=0.9)
        contour.set(gid=f"outline {title}", path_effects=halo)
        for part in (area & left, area & ~left):
            if part.any():
                depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
                row, column = np.unravel_index(depth.argmax(), depth.shape)
                spots.append((title, column, row))
    return spots


def _without_crumbs(area, n_pixels):
    """Drop pieces smaller than that, unless the area has nothing larger."""
    pieces, n_pieces = ndimage.label(area)
    sizes = ndimage.sum_labels(area, pieces, range(1, n_pieces + 1))
    large = 1 + np.flatnonzero(sizes >= n_pixels)
    return np.isin(pieces, large) if len(large) else area


def _label(ax, spots):
    """Titles at their spots, or beside them where titles would overlap, with a line to the spot."""
    halo = [withStroke(linewidth=2, foreground="white")]
    style = {"ha": "center", "va": "center", "fontsize": 8, "weight": "bold", "path_effects": halo}
    texts = [ax.text(x, y, title, **style) for title, x, y in spots]
    ax.figure.draw_without_rendering()  # places of panels, on which the size of letters in pixels depends
    line = {"arrowstyle": "-", "color": "black", "lw": 0.8}
    still = {"avoid_self": False, "force_static": (0, 0)}  # an area's own middle is the best place
    adjust_text(texts, ax=ax, iter_lim=300, arrowprops=line, **still)


def _panels(colours: dict, cortex, outlines, extra):
    """Coloured vertices with outlines, a panel per title; ``extra`` inches are for legends.

    Parameters
    ----------
    colours : dict of title -> float array of shape (n_vertices, 4)
    outlines : dict of area -> bool array of shape (n_vertices,), or dict of title -> such a dict, or None

    Returns
    -------
    figure : Figure
    axes : array of Axes
    spots : list
        Of :func:`outline`, for the first panel, the one that names the areas.
    """
    height, width = cortex.vertex_of_pixel.shape
    each = WIDTH / min(2, len(colours)) * height / width + 0.25
    figure, axes, _ = marks.panels(colours, 2, each, extra=0.3 + extra, titles=str)
    own = any(isinstance(areas, dict) for areas in (outlines or {}).values())
    spots = []
    for ax, (title, rgba) in zip(axes, colours.items(), strict=True):
        flatmap(ax, cortex, rgba)
        spots.append(outline(ax, cortex, (outlines.get(title) if own else outlines) or {}))
    return figure, axes, spots[0]


@styled
def plot_maps(maps, cortex, label, outlines=None, symmetric=False):
    """Flat maps of one measure with a common colour scale: best layer, shared or unique variance.

    Parameters
    ----------
    maps : dict of title -> float array of shape (n_vertices,)
        NaN where there is nothing.
    cortex : Dataset
        Of :func:`brainalign_utils.results.surface.load_cortex`.
    label : str
        Of the colour bar ("best layer, relative depth").
    outlines : dict of area -> bool array of shape (n_vertices,), or dict of title -> such a dict, or None
    symmetric : bool
        Red above and blue below 0, up to the 99th percentile of the absolute values; otherwise the scale goes
        from 0 to 1.

    Returns
    -------
    figure : Figure
        The part of the cortex that has values.

    Raises
    ------
    ValueError
        When there is no map, or one with another number of vertices than the cortex.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> vertex = np.arange(400).reshape(20, 20)  # 200 vertices of each hemisphere
    >>> cortex = {"vertex_of_pixel": (("row", "column"), vertex), "curvature": ("vertex", np.ones(400))}
    >>> cortex = xr.Dataset(cortex, attrs={"n_left": 200})
    >>> figure = plot_maps({"subject 1": np.linspace(0, 1, 400)}, cortex, "depth")
    >>> [ax.get_title("left") for ax in figure.axes]
    ['subject 1', '']
    """
    _require_maps(maps, "plot_maps")
    maps = {title: np.asarray(values, float) for title, values in maps.items()}
    known = np.concatenate([values[np.isfinite(values)] for values in maps.values()])
    high = (np.percentile(np.abs(known), 99) if symmetric and len(known) else 1.0) or 1.0
    scale = ScalarMappable(Normalize(-high if symmetric else 0, high), "RdBu_r" if symmetric else "viridis")
    colours = {}
    for title, values in maps.items():
        colours[title] = scale.to_rgba(values)
        colours[title][:, 3] = np.isfinite(values)
    cortex = cropped(cortex, np.any([np.isfinite(values) for values in maps.values()], axis=0))
    figure, axes, spots = _panels(colours, cortex, outlines, extra=0.6)
    style = {"orientation": "horizontal", "shrink": 0.5, "aspect": 30, "pad": 0.02}
    figure.colorbar(scale, ax=list(axes), label=marks.lines(label, 80), **style)
    _label(axes[0], spots)
    return figure


def alt_maps(maps, label) -> str:
    """Alternative text of :func:`plot_maps`: the median and range of each map.

    Examples
    --------
    >>> import numpy as np
    >>> alt_maps({"subject 1": np.array([0, 0.25, 1, np.nan]), "subject 2": np.full(4, np.nan)}, "depth")
    'Flat maps of depth. subject 1: median 0.25, 0.00 to 1.00; subject 2: no data.'
    """
    said = []
    for title, values in maps.items():
        known = np.asarray(values, float)[np.isfinite(values)]
        span = f"{known.min():.2f} to {known.max():.2f}" if len(known) else "no data"
        said.append(f"{title}: {f'median {np.median(known):.2f}, ' if len(known) else ''}{span}")
    return f"Flat maps of {label}. {'; '.join(said)}."


@styled
def plot_best_instruction(maps, cortex, instructions, outlines=None, unit="r"):
    """Flat maps of the best instruction of each voxel; opacity is the margin before the second best.

    Parameters
    ----------
    maps : dict of title -> (best, margin)
        One panel each ("subject 1", ..., "group"): arrays of shape (n_vertices,), ``best`` an index into
        ``instructions`` or -1, ``margin`` in the unit of the score; NaN is transparent.
    cortex : Dataset
        Of :func:`brainalign_utils.results.surface.load_cortex`.
    instructions : sequence of str
        Ids.
    outlines : dict of area -> bool array of shape (n_vertices,), or dict of title -> such a dict, or None
    unit : str
        Of the margin.

    Returns
    -------
    figure : Figure
        The part of the cortex that has values.

    Raises
    ------
    ValueError
        When there is no map, or one with another number of vertices than the cortex.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> vertex = np.arange(400).reshape(20, 20)  # 200 vertices of each hemisphere
    >>> cortex = {"vertex_of_pixel": (("row", "column"), vertex), "curvature": ("vertex", np.ones(400))}
    >>> cortex = xr.Dataset(cortex, attrs={"n_left": 200})
    >>> best, margin = np.arange(400) % 2, np.full(400, 0.1)
    >>> figure = plot_best_instruction({"group": (best, margin)}, cortex, ["IU1", "IC"])
    >>> [text.get_text()[:8] for text in figure.legends[0].get_texts()]
    ['IU1  Des', 'IC  Gene']
    """
    _require_maps(maps, "plot_best_instruction")
    colours = instruction_colours(instructions)
    painted = {title: winner_rgba(*values, list(colours.values())) for title, values in maps.items()}
    cortex = cropped(cortex, np.any([best >= 0 for best, _ in maps.values()], axis=0))
    figure, axes, spots = _panels(painted, cortex, outlines, extra=0.45 + 0.17 * -(-len(colours) // 2))
    ordered = in_level_order(colours)
    figure.legend(
        [tuple(Patch(fc=colours[i], alpha=a, ec="none") for a in _ALPHAS) for i in ordered],
        [instruction_label(i) for i in ordered],
        loc="outside lower left",
        ncols=2,
        title=f"low to high level, down the columns; opaque: {unit} {FULL_MARGIN:g} or more above the second",
        alignment="left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        handlelength=3,
        fontsize=8.5,
    )
    _label(axes[0], spots)
    return figure


def winner_rgba(best, margin, colours) -> np.ndarray:
    """Colour of the winner, as opaque as its margin is wide; float array of shape (n_vertices, 4)."""
    best, margin = np.asarray(best), np.asarray(margin, float)
    rgba = np.zeros((len(best), 4))
    known = (best >= 0) & np.isfinite(margin)
    rgba[known, :3] = np.array([to_rgb(c) for c in colours])[best[known]]
    rgba[known, 3] = 0.15 + 0.85 * np.clip(margin[known] / FULL_MARGIN, 0, 1)
    return rgba


def alt_winner_maps(maps, instructions) -> str:
    """Alternative text of :func:`plot_best_instruction`: the two most frequent winners of each map.

    Examples
    --------
    >>> import numpy as np
    >>> alt_winner_maps({"group": (np.array([0, 1, 1, -1]), np.ones(4))}, ["IU1", "IC"])
    'Flat maps of the best instruction; share of vertices won: group: IC 67% and IU1 33%.'
    """
    said = []
    for title, (best, _) in maps.items():
        counts = np.bincount(best[best >= 0], minlength=len(instructions)) / max((best >= 0).sum(), 1)
        ordered = np.argsort(-counts, kind="stable")
        winners = [f"{instructions[i]} {counts[i]:.0%}" for i in ordered[:2] if counts[i]]
        said.append(f"{title}: {marks.listed(winners) if winners else 'no data'}")
    return f"Flat maps of the best instruction; share of vertices won: {'; '.join(said)}."


def _require_maps(maps, of):
    if not maps:
        raise ValueError(f"{of} got no maps; a figure needs the numbers it shows")


@styled
def plot_views(mesh, values, label):
    """The inflated surface from outside and from inside: nilearn's view of a vertex array.

    Parameters
    ----------
    mesh : Dataset
        Of :func:`brainalign_utils.results.surface.fsaverage5`.
    values : float array of shape (n_vertices,), the left hemisphere first
        NaN shows the cortex.
    label : str
        Of the colour scale, which goes from 0 to the highest value.

    Returns
    -------
    figure : Figure

    Examples
    --------
    >>> from brainalign_utils.results import surface
    >>> figure = plot_views(surface.fsaverage5(), np.linspace(0, 1, 20484), "alignment")
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['left, lateral', 'right, lateral']
    """
    from nilearn import plotting
    from nilearn.surface import InMemoryMesh

    figure, sides = new_figure(height=5.2), ("left", "right")
    values = np.asarray(values, float)
    high = np.max(values, initial=0, where=np.isfinite(values)) or 1.0
    for row, view in enumerate(("lateral", "medial")):
        for k, part in enumerate(np.split(values, 2)):
            ax = figure.add_subplot(2, 2, 2 * row + k + 1, projection="3d")
            side = mesh.isel(hemisphere=k)
            surface = InMemoryMesh(side.inflated.values, side.faces.values)
            style = {"colorbar": False, "cmap": "viridis", "vmin": 0, "vmax": high, "bg_on_data": False}
            plotting.plot_surf(
                surface, part, side.curvature.values, sides[k], view, axes=ax, figure=figure, **style
            )
            ax.set_title(f"{sides[k]}, {view}")
    scale = ScalarMappable(Normalize(0, high), "viridis")
    figure.colorbar(scale, ax=figure.axes, orientation="horizontal", shrink=0.4, aspect=30, label=label)
    return figure
