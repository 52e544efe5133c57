"""Maps on the cortex: every vertex in its place and colour, outlines around their areas, labels apart."""

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from fixtures.figure_tables import by_gid, words
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from brainalign_utils import figures
from brainalign_utils.figures import cortex as drawing
from brainalign_utils.figures.style import INSTRUCTION_COLOURS
from brainalign_utils.results import surface


def flat(vertex_of_pixel, curvature, n_left):
    """A made-up flat map."""
    arrays = {"vertex_of_pixel": (("row", "column"), np.array(vertex_of_pixel, np.int32))}
    return xr.Dataset(arrays | {"curvature": ("vertex", curvature)}, attrs={"n_left": n_left})


@pytest.fixture
def square():
    """3 x 4 pixels, two left and three right vertices, one pixel outside."""
    return flat([[0, 0, 2, 3], [1, 1, 2, 3], [1, -1, 4, 4]], [1.0, -1.0, 1.0, -1.0, 1.0], 2)


@pytest.fixture
def wide(square):
    """The same, 20 times as large."""
    grid = np.kron(square.vertex_of_pixel, np.ones((20, 20), np.int32))
    return flat(grid, square.curvature.values, 2)


@pytest.fixture(scope="module")
def points():
    return surface.fsaverage5().inflated.values.reshape(-1, 3)


@pytest.fixture(scope="module")
def cortex(tmp_path_factory):
    return surface.draw_cortex(None, tmp_path_factory.mktemp("pycortex"), height=160)


def pixels(ax):
    return by_gid(ax, "values")[0].get_array()


def test_image_puts_vertices_in_their_pixels(square):
    image = drawing.image(square, np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(image, [[0, 0, 2, 3], [1, 1, 2, 3], [1, np.nan, 4, 4]])
    colours = drawing.image(square, np.arange(10.0).reshape(5, 2), outside=-1.0)
    assert colours.shape == (3, 4, 2) and colours[2, 1].tolist() == [-1, -1]
    with pytest.raises(ValueError, match="values hold 4 vertices but the cortex has 5; lay voxels"):
        drawing.image(square, np.zeros(4))


def test_left_is_left_and_up_is_up(cortex, points):
    height = drawing.image(cortex, points[:, 2])
    n_rows, n_columns = height.shape
    assert np.nanmean(height[: n_rows // 2]) > np.nanmean(height[n_rows // 2 :])
    left = cortex.vertex_of_pixel.values[:, : n_columns // 2]
    assert np.mean(left[left >= 0] < cortex.attrs["n_left"]) > 0.99


def test_maps_colour_vertices_by_one_scale_and_leave_gaps(square):
    maps = {"vision": [0.0, 0.5, np.nan, 1.0, 0.2], "language": [0.4, 2.0, 0.5, 0.5, 0.5]}
    figure = figures.plot_maps(maps, square, "best layer")
    first, second = (pixels(ax) for ax in figure.axes[:2])
    np.testing.assert_allclose(first[0, 0], to_rgba("viridis", 0.0))
    assert first[0, 2, 3] == 0 and first[2, 1, 3] == 0, "a vertex without a value, a pixel outside"
    np.testing.assert_allclose(second[1, 0], to_rgba("viridis", 1.0))
    scale = figure.axes[2]
    assert scale.get_xlim() == (0, 1) and scale.get_xlabel() == "best layer"


def to_rgba(cmap, value):
    from matplotlib import colormaps

    return colormaps[cmap](value)


def test_symmetric_maps_put_zero_in_the_middle(square):
    figure = figures.plot_maps({"a": [-0.1, 0.4, np.nan, 0.0, 0.0]}, square, "unique", symmetric=True)
    low, high = figure.axes[1].get_xlim()
    assert low == -high and high == pytest.approx(0.4, abs=0.02)
    np.testing.assert_allclose(pixels(figure.axes[0])[0, 3], to_rgba("RdBu_r", 0.5))


def test_winner_colour_and_opacity():
    best, margin = np.array([0, 1, 1, -1, 0]), np.array([0.0, 0.025, 0.2, 0.1, np.nan])
    rgba = drawing.winner_rgba(best, margin, ["#ff0000", "#0000ff"])
    np.testing.assert_allclose(rgba[:3, :3], [[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(rgba[:, 3], [0.15, 0.15 + 0.85 / 2, 1, 0, 0])


def test_best_instruction_map_uses_the_palette(square):
    ids = ["IU1", "IC", "VR"]
    maps = dict.fromkeys(("subject 1", "group"), (np.array([0, 1, 2, -1, 1]), np.full(5, 9.0)))
    figure = figures.plot_best_instruction(maps, square, ids)
    shown = pixels(figure.axes[1])
    np.testing.assert_allclose(shown[0, 0, :3], to_rgb(INSTRUCTION_COLOURS["IU1"]))
    np.testing.assert_allclose(shown[0, 2, :3], to_rgb(INSTRUCTION_COLOURS["VR"]))
    assert shown[0, 3, 3] == 0
    entries = [text.get_text().split()[0] for text in figure.legends[0].get_texts()]
    assert entries == ["IU1", "VR", "IC"]  # low to high level


def test_maps_show_the_part_with_data(wide):
    only = np.where(np.arange(5) == 4, 1.0, np.nan)
    assert pixels(figures.plot_maps({"a": only}, wide, "x").axes[0]).shape[1] < 80
    nothing = figures.plot_maps({"a": np.full(5, np.nan)}, wide, "x")
    assert pixels(nothing.axes[0]).shape[:2] == (60, 80), "all of it where nothing has a value"


def test_each_panel_may_have_its_own_outlines(wide):
    areas = {"a": {"V1": np.arange(5) == 0}, "b": {"V2": np.arange(5) == 3}}
    maps = dict.fromkeys(areas, np.linspace(0, 1, 5))
    own = figures.plot_maps(maps, wide, "x", outlines=areas)
    shared = figures.plot_maps(maps, wide, "x", outlines=areas["a"])
    outlined = [[c.get_gid() for ax in f.axes[:2] for c in ax.collections] for f in (own, shared)]
    assert outlined == [["outline V1", "outline V2"], ["outline V1", "outline V1"]]
    assert words(shared).split().count("V1") == 1, "the first panel names the areas"


def test_outlines_surround_their_area(cortex, points):
    area = np.linalg.norm(points - points[500], axis=1) < 15
    ax = Figure().subplots()
    spots = drawing.outline(ax, cortex, {"EBA": area, "FBA-1": np.zeros_like(area)})
    assert [c.get_gid() for c in ax.collections] == ["outline EBA"]  # the empty area is left out
    rows, columns = np.nonzero(drawing.image(cortex, area, outside=False))
    (x, y), margin = ax.collections[0].get_paths()[0].vertices.T, 3
    assert columns.min() - margin <= x.min() and x.max() <= columns.max() + margin
    assert rows.min() - margin <= y.min() and y.max() <= rows.max() + margin
    [(title, x, y)] = spots
    assert title == "EBA" and area[cortex.vertex_of_pixel.values[y, x]]


def test_crumbs_are_not_outlined(cortex, points):
    area = np.linalg.norm(points - points[500], axis=1) < 15
    crumb = area.copy()
    crumb[5000] = True
    paths = []
    for vertices in (area, crumb):
        ax = Figure().subplots()
        drawing.outline(ax, cortex, {"EBA": vertices})
        paths.append(ax.collections[0].get_paths()[0].vertices)
    np.testing.assert_array_equal(*paths)


def test_labels_do_not_lie_on_each_other(cortex, points):
    near = {f"area {k}": np.linalg.norm(points - points[500], axis=1) < 9 + k for k in range(4)}
    value = np.where(np.linalg.norm(points - points[500], axis=1) < 40, 0.5, np.nan)
    figure = figures.plot_maps(dict.fromkeys("ab", value), cortex, "x", outlines=near)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_views_show_both_hemispheres():
    figure = figures.plot_views(surface.fsaverage5(), np.linspace(-1, 2, 20484), "alignment")
    *views, scale = figure.axes
    titles = [ax.get_title() for ax in views]
    assert titles == ["left, lateral", "right, lateral", "left, medial", "right, medial"]
    assert scale.get_xlabel() == "alignment" and scale.get_xlim() == (0, 2), "one scale for both hemispheres"
    assert figures.plot_views(surface.fsaverage5(), np.full(20484, np.nan), "nothing").axes
