"""Flat maps: a picture grid of vertices, drawn on given axes.  Arrays in, marks out."""

from dataclasses import dataclass, replace

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import KDTree

HEMISPHERES = ("lh", "rh")
SULCUS, GYRUS = 0.74, 0.86


class SurfaceError(ValueError):
    """A mesh, a surface map or a vertex array that does not fit; the message says which and how."""


@dataclass(frozen=True)
class Cortex:
    """Grid of a flat map of both hemispheres.

    Parameters
    ----------
    name : str
    vertex_of_pixel : int32 array of shape (height, width)
        Vertex shown by each pixel, -1 outside the cortex; first row at the top.
    curvature : float array of shape (n_vertices,)
        Positive in sulci; left hemisphere first.
    n_left : int
        Vertices of the left hemisphere.
    """

    name: str
    vertex_of_pixel: np.ndarray
    curvature: np.ndarray
    n_left: int

    @property
    def n_vertices(self) -> int:
        return len(self.curvature)

    @property
    def pixels_per_vertex(self) -> float:
        """Distance of neighbouring vertices in pixels, about."""
        shown = self.vertex_of_pixel[self.vertex_of_pixel >= 0]
        return float(np.sqrt(len(shown) / len(np.unique(shown))))

    def image(self, values, outside=np.nan) -> np.ndarray:
        """Vertex array of shape (n_vertices, ...) as a picture of shape (height, width, ...)."""
        values = np.asarray(values)
        if len(values) != self.n_vertices:
            raise SurfaceError(
                f"values hold {len(values)} vertices but {self.name} has {self.n_vertices}; "
                "lay voxels on it with surface.to_vertices first"
            )
        inside = self.vertex_of_pixel >= 0
        image = np.full(
            (*inside.shape, *values.shape[1:]), outside, np.result_type(values.dtype, type(outside))
        )
        image[inside] = values[self.vertex_of_pixel[inside]]
        return image

    def crop(self, vertices, margin: int = 12, gap: int = 10) -> "Cortex":
        """The part of the grid around some vertices, each hemisphere by itself, side by side.

        Parameters
        ----------
        vertices : bool array of shape (n_vertices,)
            What must stay in view; a hemisphere without any is left out.
        margin, gap : int
            Pixels around the vertices, and between the hemispheres.
        """
        shown = self.image(np.asarray(vertices, bool), outside=False)
        if not shown.any():
            raise SurfaceError("vertices to crop to hold none that the flat map shows; give some")
        height, width = shown.shape
        rows = _span(shown.any(1), margin, height)
        parts = []
        for side in (self.vertex_of_pixel < self.n_left, self.vertex_of_pixel >= self.n_left):
            mine = np.where(side, self.vertex_of_pixel, -1)
            if (shown & side).any():
                parts += [mine[rows, _span((shown & side).any(0), margin, width)]]
                parts += [np.full((rows.stop - rows.start, gap), -1, np.int32)]
        return replace(self, vertex_of_pixel=np.hstack(parts[:-1]).astype(np.int32))


def _span(used, margin, size):
    index = np.flatnonzero(used)
    return slice(max(index[0] - margin, 0), min(index[-1] + margin + 1, size))


def rasterise(points, faces, height: int) -> np.ndarray:
    """Nearest vertex of each pixel inside a flat mesh.

    Parameters
    ----------
    points : float array of shape (n_vertices, 2)
    faces : int array of shape (n_faces, 3)
    height : int
        Of the picture in pixels; the width follows.

    Returns
    -------
    vertex_of_pixel : int32 array of shape (height, width), -1 outside
    """
    used = np.unique(faces)
    low, high = points[used].min(0), points[used].max(0)
    scale = (height - 1) / (high - low)[1]
    width = int((high - low)[0] * scale) + 1
    pixels = (points - low) * scale
    mask = Image.new("1", (width, height))
    draw = ImageDraw.Draw(mask)
    for triangle in pixels[faces].reshape(-1, 6).tolist():
        draw.polygon(triangle, fill=1)
    rows, columns = np.nonzero(np.asarray(mask))
    grid = np.full((height, width), -1, np.int32)
    grid[rows, columns] = used[KDTree(pixels[used]).query(np.stack([columns, rows], 1))[1]]
    return grid[::-1]


def to_vertices(values, surface_map: dict) -> np.ndarray:
    """Values of voxels laid on the vertices.

    Parameters
    ----------
    values : array of shape (n_voxels,) or (n_voxels, n_columns)
        Float, bool or int.
    surface_map : dict of "lh", "rh" -> int array of shape (n_hemisphere_vertices,)
        Voxel that each vertex shows, -1 for none.

    Returns
    -------
    vertices : array of shape (n_vertices,) or (n_vertices, n_columns)
        NaN where there is no voxel; False for bool values, -1 for int values.

    Raises
    ------
    SurfaceError
        When the map points to voxels that do not exist.
    """
    values = np.asarray(values)
    index = np.concatenate([np.asarray(surface_map[hemi]) for hemi in HEMISPHERES])
    if index.max() >= len(values):
        raise SurfaceError(
            f"surface_map points to voxel {index.max()} but values hold {len(values)} voxels; "
            "both must come from the same subject and mask"
        )
    empty = {"b": False, "i": -1, "u": -1}.get(values.dtype.kind, np.nan)
    dtype = np.int64 if values.dtype.kind == "u" else values.dtype
    out = np.full((len(index), *values.shape[1:]), empty, dtype)
    out[index >= 0] = values[index[index >= 0]]
    return out


def flatmap(
    ax, cortex: Cortex, values, cmap="viridis", vmin=None, vmax=None, alpha=None, outlines=None, labels=True
):
    """Draw a vertex array over the folds.

    Parameters
    ----------
    ax : matplotlib Axes
    cortex : Cortex
    values : float array of shape (n_vertices,), NaN transparent; or RGBA of shape (n_vertices, 4) in 0..1
    alpha : float array of shape (n_vertices,) or None
        Opacity in 0..1 for values through ``cmap``.
    outlines : dict of title -> bool array of shape (n_vertices,), or None
        Areas to outline; those without vertices are skipped.
    labels : bool
        Write the titles of the outlined areas.

    Returns
    -------
    mappable : the image, with ``cmap`` and limits for a colour bar (RGBA: a plain image)
    """
    values = np.asarray(values, float)
    folds = np.where(cortex.curvature > 0, SULCUS, GYRUS)
    ax.imshow(cortex.image(folds), cmap="gray", vmin=0, vmax=1, interpolation="nearest", gid="folds")
    if values.ndim == 1:
        finite = values[np.isfinite(values)]
        low = np.min(finite, initial=np.inf) if vmin is None else vmin
        high = np.max(finite, initial=-np.inf) if vmax is None else vmax
        norm = Normalize(low, high) if low <= high else Normalize(0, 1)
        rgba = colormaps[cmap](norm(values))
        rgba[:, 3] = np.isfinite(values) * (1.0 if alpha is None else np.clip(np.nan_to_num(alpha), 0, 1))
        shown = ax.imshow(cortex.image(rgba, outside=0.0), interpolation="nearest", gid="values")
        shown.set(cmap=cmap, norm=norm)
    else:
        rgba = np.where(np.isfinite(values).all(1, keepdims=True), values, 0.0)
        shown = ax.imshow(cortex.image(rgba, outside=0.0), interpolation="nearest", gid="values")
    draw_outlines(ax, cortex, outlines or {}, labels)
    ax.set_axis_off()
    return shown


def draw_outlines(ax, cortex: Cortex, outlines: dict, labels: bool = True, colour="black", fontsize=8):
    """Contours of areas and their titles; arguments as in :func:`flatmap`.  Returns the texts."""
    spots = []
    for title, vertices in outlines.items():
        area = _without_crumbs(cortex.image(np.asarray(vertices, bool), outside=False), cortex)
        if area.any():
            _outline(ax, title, area, cortex.pixels_per_vertex, colour)
            spots += [(depth, title, x, y) for depth, x, y in _label_spots(cortex, area)]
    placed, texts = [], []
    for _, title, x, y in sorted(spots) if labels else []:  # the smallest areas have the least room
        texts.append(_label(ax, title, x, y, placed, fontsize))
    return texts


def _without_crumbs(area, cortex, n_vertices=3):
    """Drop pieces of fewer than three vertices, unless the area has nothing larger."""
    pieces, n_pieces = ndimage.label(area)
    sizes = ndimage.sum_labels(area, pieces, range(1, n_pieces + 1))
    large = 1 + np.flatnonzero(sizes >= n_vertices * cortex.pixels_per_vertex**2)
    return np.isin(pieces, large) if len(large) else area


def _outline(ax, title, area, spacing, colour):
    """Contour of a picture mask, smoothed over half the distance between vertices."""
    margin = int(3 * spacing)
    rows, columns = (_span(area.any(axis), margin, area.shape[1 - axis]) for axis in (1, 0))
    soft = ndimage.gaussian_filter(area[rows, columns].astype(float), 0.5 * spacing)
    y, x = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    contour = ax.contour(x, y, soft, [min(0.5, 0.6 * soft.max())], colors=colour, linewidths=0.9)
    contour.set(gid=f"outline {title}", path_effects=[withStroke(linewidth=1.9, foreground="white")])


def _label_spots(cortex, area):
    """The innermost pixel of the area in each hemisphere, as (distance to the border, x, y)."""
    left = cortex.vertex_of_pixel < cortex.n_left
    for side in (left, ~left):
        part = area & side
        if part.any():
            rows, columns = (_span(part.any(axis), 0, part.shape[1 - axis]) for axis in (1, 0))
            depth = ndimage.distance_transform_edt(np.pad(part[rows, columns], 1))[1:-1, 1:-1]
            row, column = np.unravel_index(depth.argmax(), depth.shape)
            yield depth.max(), column + columns.start, row + rows.start


def _label(ax, title, x, y, placed, fontsize):
    """Write a title at (x, y), or at the nearest place where no other title stands, with a line to (x, y).

    ``placed`` holds (x, y, half width) of earlier titles and gains this one.  Letters are taken to be as
    large as in a panel of half a page.
    """
    width = abs(np.subtract(*ax.get_xlim()))
    half, line = 0.012 * width * len(title), 0.042 * width
    moves = [(dx * half, dy * line / 2) for dx in (0, -0.5, 0.5, -1, 1, -2, 2) for dy in range(-6, 7)]
    for dx, dy in sorted(moves, key=lambda move: np.hypot(*move)):
        at = (x + dx, y + dy)
        if all(abs(at[0] - px) > half + p_half or abs(at[1] - py) >= line for px, py, p_half in placed):
            break
    placed.append((*at, half))
    if np.hypot(dx, dy) > 1.2 * line:
        halo = [withStroke(linewidth=2, foreground="white")]
        ax.plot([x, at[0]], [y, at[1]], color="black", lw=0.8, gid="leader", path_effects=halo)
    halo = [withStroke(linewidth=2, foreground="white")]
    style = {"ha": "center", "va": "center", "fontsize": fontsize, "path_effects": halo, "weight": "bold"}
    return ax.text(*at, title, zorder=5, **style)
