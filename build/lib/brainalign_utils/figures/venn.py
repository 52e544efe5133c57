"""Venn diagrams of variance, areas in proportion; negative parts are stated, not drawn."""

import numpy as np
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from scipy.optimize import brentq, minimize

from . import marks
from .style import INK, WARNING, instruction_colours, new_figure, require, styled


def lens_area(distance: float, radius_a: float, radius_b: float) -> float:
    """Area that two circles share at a distance of their centres."""
    if distance >= radius_a + radius_b:
        return 0.0
    if distance <= abs(radius_a - radius_b):
        return np.pi * min(radius_a, radius_b) ** 2
    d, a, b = distance, radius_a, radius_b
    alpha = np.arccos(np.clip((d * d + a * a - b * b) / (2 * d * a), -1, 1))
    beta = np.arccos(np.clip((d * d + b * b - a * a) / (2 * d * b), -1, 1))
    return a * a * (alpha - np.sin(2 * alpha) / 2) + b * b * (beta - np.sin(2 * beta) / 2)


def centre_distance(radius_a: float, radius_b: float, shared: float) -> float:
    """Distance at which two circles share an area; the nearest possible one outside the reachable range."""
    low, high = abs(radius_a - radius_b), radius_a + radius_b
    if shared <= 0 or high == low:
        return high
    if shared >= lens_area(low, radius_a, radius_b):
        return low
    return brentq(lambda d: lens_area(d, radius_a, radius_b) - shared, low, high)


def draw_venn2(ax, unique_a, unique_b, shared, name_a, name_b, colours=("#137efa", "#e8590c"), fmt="{:.3f}"):
    """Two circles whose parts have areas in proportion to the numbers.

    Parameters
    ----------
    ax : Axes
    unique_a, unique_b, shared : float
        Variance; a negative part is drawn as zero and said to be negative under the diagram.
    name_a, name_b : str
    fmt : str
        Of the numbers.
    """
    parts = {name_a: unique_a, name_b: unique_b, "shared": shared}
    a, b, both = (max(float(x), 0.0) if np.isfinite(x) else 0.0 for x in (unique_a, unique_b, shared))
    if a + b + both == 0:
        marks.absent(ax, "nothing to draw: no part above 0")
        state_negative(ax, parts, fmt)
        _frame(ax, -0.95, 0.95, -0.7, 0.8)
        return
    scale = 1 / np.sqrt(a + b + both)
    radii = [np.sqrt((x + both) / np.pi) * scale for x in (a, b)]
    distance = centre_distance(*radii, both * scale**2)
    for x, radius, colour, name in zip((0, distance), radii, colours, (name_a, name_b), strict=True):
        circle = Circle((x, 0), radius, fc=colour, alpha=0.42, ec=INK, lw=1.0, gid=f"circle {name}")
        ax.add_patch(circle)
    left, right, top = -radii[0], distance + radii[1], max(radii)
    edge_a, edge_b = max(left, distance - radii[1]), min(radii[0], right)  # the lens, left to right
    spots = ((left + edge_a) / 2, (edge_b + right) / 2, (edge_a + edge_b) / 2)
    for x, number, shown in zip(spots, parts.values(), (a, b, both), strict=True):
        if shown > 0:
            _number(ax, (x, 0), fmt.format(number))
    ax.text(left, top * 1.08, name_a, ha="left", va="bottom", weight="bold")
    ax.text(right, top * 1.08, name_b, ha="right", va="bottom", weight="bold")
    state_negative(ax, parts, fmt)
    middle = (left + right) / 2
    _frame(ax, middle - 0.95, middle + 0.95, -0.7, 0.8)


def _number(ax, spot, text):
    halo = [withStroke(linewidth=2.5, foreground="white", alpha=0.75)]
    ax.text(*spot, text, ha="center", va="center", fontsize=8.5, path_effects=halo, gid="number")


def draw_venn3(ax, parts: dict, names, colours=("#137efa", "#e8590c", "#0b7a67"), fmt="{:.3f}"):
    """Three circles: totals and pairwise overlaps in proportion; the seven parts as nearly as circles allow.

    Parameters
    ----------
    ax : Axes
    parts : dict
        Keys "a", "b", "c", "ab", "ac", "bc", "abc": variance of exactly these sets.
    names : sequence of three str
    """
    clipped = {key: max(float(value), 0.0) if np.isfinite(value) else 0.0 for key, value in parts.items()}
    totals = [sum(v for key, v in clipped.items() if letter in key) for letter in "abc"]
    if max(totals) == 0:
        marks.absent(ax, "nothing to draw: no part above 0")
        return
    scale = 1 / np.sqrt(max(totals))
    radii = np.sqrt(np.array(totals) / np.pi) * scale
    wanted = {}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = clipped["abc"] + clipped["abc"[i] + "abc"[j]]
        wanted[i, j] = centre_distance(radii[i], radii[j], both * scale**2)
    centres = _place(wanted)
    for centre, radius, colour, name in zip(centres, radii, colours, names, strict=True):
        ax.add_patch(Circle(centre, radius, fc=colour, alpha=0.36, ec=INK, lw=1.0, gid=f"circle {name}"))
        away = centre - centres.mean(0)
        away = away / (np.linalg.norm(away) or 1.0)
        ax.text(*(centre + away * radius * 1.12), name, ha="center", va="center", weight="bold")
    for key, spot in _part_spots(centres, radii).items():
        if clipped[key] > 0:
            _number(ax, spot, fmt.format(parts[key]))
    titles = {key: " and ".join(names["abc".index(letter)] for letter in key) for key in parts}
    state_negative(ax, {titles[key]: value for key, value in parts.items()}, fmt)
    low, high = (centres - radii[:, None]).min(0), (centres + radii[:, None]).max(0)
    _frame(ax, low[0] - 0.15, high[0] + 0.15, low[1] - 0.25, high[1] + 0.2)


def _place(distances) -> np.ndarray:
    """Three centres with the wanted distances, or as near as a plane allows."""
    ab, ac, bc = distances[0, 1], distances[0, 2], distances[1, 2]

    def misfit(p):
        points = np.array([[0, 0], [p[0], 0], [p[1], p[2]]])
        found = [np.linalg.norm(points[i] - points[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        return np.sum((np.array(found) - [ab, ac, bc]) ** 2)

    x, c_x, c_y = minimize(misfit, [ab, ab / 2, -max(ac, bc, 0.1)], method="Nelder-Mead", tol=1e-8).x
    return np.array([[0, 0], [x, 0], [c_x, c_y]])


def _part_spots(centres, radii) -> dict:
    """Middle of each of the seven parts that exist, on a grid of points."""
    low, high = (centres - radii[:, None]).min(0), (centres + radii[:, None]).max(0)
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 160).T), -1).reshape(-1, 2)
    inside = np.linalg.norm(grid[:, None] - centres, axis=-1) <= radii
    spots = {}
    for key in ("a", "b", "c", "ab", "ac", "bc", "abc"):
        mine = (inside == [letter in key for letter in "abc"]).all(1)
        if mine.any():
            border = np.abs(np.linalg.norm(grid[mine][:, None] - centres, axis=-1) - radii).min(1)
            spots[key] = grid[mine][border.argmax()]
    return spots


def state_negative(ax, parts: dict, fmt="{:.3f}") -> None:
    """Write the negative and undefined parts under a diagram: they cannot be drawn."""
    said = [f"{name} {fmt.format(v)}" for name, v in parts.items() if v < 0]
    undefined = [name for name, v in parts.items() if not np.isfinite(v)]
    lines = [f"negative, drawn as 0: {', '.join(said)}"] * bool(said)
    lines += [f"undefined: {', '.join(undefined)}"] * bool(undefined)
    if lines:
        style = {"ha": "center", "va": "top", "fontsize": 8, "color": WARNING, "gid": "negative"}
        ax.text(0.5, -0.01, "\n".join(lines), transform=ax.transAxes, **style)


def _frame(ax, left, right, bottom, top):
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()


@styled
def plot_venns(table, figure=None, n_columns=3, unit="R2"):
    """Venn diagrams of instruction pairs.

    Parameters
    ----------
    table : DataFrame
        One row per diagram; columns panel (title), instruction_a, instruction_b, unique_a, unique_b, shared.
        Values may be negative or NaN.

    Returns
    -------
    figure : Figure
    """
    columns = ("panel", "instruction_a", "instruction_b", "unique_a", "unique_b", "shared")
    require(table, *columns, of="plot_venns")
    n_columns = min(n_columns, len(table))
    figure = figure or new_figure(height=0.5 + 1.9 * -(-len(table) // n_columns))
    axes = marks.panels(figure, len(table), n_columns)
    for ax, row in zip(axes, table.itertuples(), strict=True):
        colours = list(instruction_colours([row.instruction_a, row.instruction_b]).values())
        values = (row.unique_a, row.unique_b, row.shared)
        draw_venn2(ax, *values, row.instruction_a, row.instruction_b, colours)
        ax.set_title(row.panel, loc="left")
    figure.supxlabel(f"areas in proportion within a diagram; numbers: {unit}", fontsize=8.5)
    return figure
