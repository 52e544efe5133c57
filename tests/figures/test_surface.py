"""Meshes, vertex maps and flat maps, on nilearn's fsaverage5."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from brainalign_utils.figures import surface
from brainalign_utils.figures.flat import Cortex, flatmap, rasterise


@pytest.fixture(scope="module")
def meshes():
    return surface.load_meshes()


@pytest.fixture(scope="module")
def filestore(tmp_path_factory):
    return tmp_path_factory.mktemp("pycortex")


@pytest.fixture(scope="module")
def cortex(filestore, meshes):
    return surface.load_cortex(filestore, meshes, height=160)


@pytest.fixture
def square():
    """A made-up flat map: 3 x 4 pixels, two left and three right vertices, one pixel outside."""
    grid = np.array([[0, 0, 2, 3], [1, 1, 2, 3], [1, -1, 4, 4]], np.int32)
    return Cortex("square", grid, np.array([1.0, -1.0, 1.0, -1.0, 1.0]), 2)


def test_meshes_fit_together(meshes):
    for hemi in surface.HEMISPHERES:
        n_vertices = meshes.n_vertices(hemi)
        assert n_vertices == 10242
        for kind in ("white", "pial", "inflated", "flat"):
            assert meshes.points[kind, hemi].shape == (n_vertices, 3)
            assert meshes.faces[kind, hemi].max() < n_vertices
        flat = meshes.points["flat", hemi]
        assert np.all(flat[:, 2] == 0)
        assert len(meshes.faces["flat", hemi]) < len(meshes.faces["white", hemi])  # cut open


def test_engines_draw_the_same_cortex(cortex, filestore, meshes):
    other = surface.load_cortex(filestore, meshes, height=160, engine="nilearn")
    width = min(cortex.vertex_of_pixel.shape[1], other.vertex_of_pixel.shape[1])
    a, b = (c.vertex_of_pixel[:, :width] for c in (cortex, other))
    assert np.mean((a >= 0) == (b >= 0)) > 0.97
    both = (a >= 0) & (b >= 0)
    points = np.concatenate([meshes.points["inflated", h] for h in surface.HEMISPHERES])
    apart = np.linalg.norm(points[a[both]] - points[b[both]], axis=1)
    assert np.median(apart) < 4  # one vertex apart at most: pixel centres differ by half a pixel
    assert np.mean((a < cortex.n_left)[both] == (b < cortex.n_left)[both]) > 0.999


def test_left_is_left_and_up_is_up(cortex, meshes):
    points = np.concatenate([meshes.points["inflated", h] for h in surface.HEMISPHERES])
    height = cortex.image(points[:, 2])
    n_rows, n_columns = height.shape
    assert np.nanmean(height[: n_rows // 2]) > np.nanmean(height[n_rows // 2 :])
    left = cortex.vertex_of_pixel[:, : n_columns // 2]
    assert np.mean(left[left >= 0] < cortex.n_left) > 0.99


def test_pycortex_leaves_the_users_folder_alone(tmp_path):
    code = "from brainalign_utils.figures import surface; surface.load_cortex('store', height=40)"
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CONFIG_HOME"} | {"HOME": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(surface.__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert (tmp_path / "store" / "fsaverage5" / "complete.txt").is_file()
    assert not list(tmp_path.glob(".config/pycortex*"))


def test_second_load_reads_what_the_first_wrote(cortex, filestore, meshes):
    written = (filestore / "fsaverage5" / "surfaces" / "flat_lh.gii").stat().st_mtime_ns
    again = surface.load_cortex(filestore, meshes, height=160)
    np.testing.assert_array_equal(again.vertex_of_pixel, cortex.vertex_of_pixel)
    assert (filestore / "fsaverage5" / "surfaces" / "flat_lh.gii").stat().st_mtime_ns == written


def test_unknown_engine(filestore, meshes):
    with pytest.raises(surface.SurfaceError, match="'freeview'; choose 'pycortex' or 'nilearn'"):
        surface.load_cortex(filestore, meshes, engine="freeview")


@pytest.mark.parametrize(
    ("values", "expectation"),
    [
        (np.array([0.5, 1.5, 2.5]), [2.5, np.nan, 0.5, np.nan, 1.5]),
        (np.array([True, False, True]), [True, False, True, False, False]),
        (np.array([7, 8, 9]), [9, -1, 7, -1, 8]),
        (np.array([7, 8, 9], np.uint8), [9, -1, 7, -1, 8]),
    ],
)
def test_to_vertices(values, expectation):
    surface_map = {"lh": np.array([2, -1]), "rh": np.array([0, -1, 1])}
    np.testing.assert_array_equal(surface.to_vertices(values, surface_map), expectation)


def test_to_vertices_keeps_columns():
    surface_map = {"lh": np.array([1, -1]), "rh": np.array([0])}
    vertices = surface.to_vertices(np.arange(8.0).reshape(2, 4), surface_map)
    np.testing.assert_array_equal(vertices[:, 3], [7, np.nan, 3])


def test_to_vertices_refuses_a_map_of_another_subject():
    surface_map = {"lh": np.array([0, 5]), "rh": np.array([-1])}
    with pytest.raises(surface.SurfaceError, match="voxel 5 but values hold 3 voxels"):
        surface.to_vertices(np.zeros(3), surface_map)


def test_image_shows_each_vertex(square):
    image = square.image(np.array([10.0, 11, 12, 13, 14]))
    np.testing.assert_array_equal(image, [[10, 10, 12, 13], [11, 11, 12, 13], [11, np.nan, 14, 14]])
    with pytest.raises(surface.SurfaceError, match="hold 4 vertices but square has 5"):
        square.image(np.zeros(4))


def test_crop_keeps_the_vertices_and_both_hemispheres(square):
    part = square.crop(np.array([True, False, True, False, False]), margin=0, gap=1)
    np.testing.assert_array_equal(part.vertex_of_pixel, [[0, 0, -1, 2], [1, 1, -1, 2]])
    one = square.crop(np.array([False, False, False, False, True]), margin=0, gap=1)
    np.testing.assert_array_equal(one.vertex_of_pixel, [[4, 4]])
    with pytest.raises(surface.SurfaceError, match="none that the flat map shows"):
        square.crop(np.zeros(5, bool))


def test_rasterise_a_square():
    points = np.array([[0, 0], [10, 0], [10, 10], [0, 10], [99, 99]], float)
    grid = rasterise(points, np.array([[0, 1, 2], [0, 2, 3]]), height=11)
    assert grid.shape == (11, 11)
    assert [grid[-1, 0], grid[-1, -1], grid[0, -1], grid[0, 0]] == [0, 1, 2, 3]  # first row at the top
    assert 4 not in grid


def test_flatmap_shows_values_and_hides_nan(square):
    ax = Figure().subplots()
    shown = flatmap(ax, square, np.array([0.0, 1.0, np.nan, 0.5, 1.0]), cmap="gray")
    pixels = np.asarray(shown.get_array())
    assert shown.get_clim() == (0, 1)
    np.testing.assert_allclose(pixels[0, 0], [0, 0, 0, 1])
    np.testing.assert_allclose(pixels[1, 0], [1, 1, 1, 1])
    assert pixels[0, 2, 3] == 0
    assert pixels[2, 1, 3] == 0


def test_flatmap_takes_rgba_and_opacity(square):
    ax = Figure().subplots()
    rgba = np.full((5, 4), 0.25)
    np.testing.assert_array_equal(np.asarray(flatmap(ax, square, rgba).get_array())[0, 0], rgba[0])
    shown = flatmap(ax, square, np.arange(5.0), alpha=np.array([0.5, 2.0, np.nan, 1.0, 1.0]))
    assert [np.asarray(shown.get_array())[spot][3] for spot in ((0, 0), (1, 0), (0, 2))] == [0.5, 1, 0]


def test_flatmap_of_nothing(square):
    shown = flatmap(Figure().subplots(), square, np.full(5, np.nan))
    assert np.all(np.asarray(shown.get_array())[..., 3] == 0)


def test_outlines_surround_their_area(cortex, meshes):
    points = np.concatenate([meshes.points["inflated", h] for h in surface.HEMISPHERES])
    area = np.linalg.norm(points - points[500], axis=1) < 15
    ax = Figure().subplots()
    flatmap(
        ax, cortex, np.full(cortex.n_vertices, np.nan), outlines={"EBA": area, "FBA-1": np.zeros_like(area)}
    )
    contours = {c.get_gid(): c for c in ax.collections}
    assert list(contours) == ["outline EBA"]  # the empty area is left out
    rows, columns = np.nonzero(cortex.image(area, outside=False))
    (x, y), margin = contours["outline EBA"].get_paths()[0].vertices.T, 3
    assert columns.min() - margin <= x.min() and x.max() <= columns.max() + margin
    assert rows.min() - margin <= y.min() and y.max() <= rows.max() + margin
    assert [text.get_text() for text in ax.texts] == ["EBA"]
    x, y = map(round, ax.texts[0].get_position())
    assert area[cortex.vertex_of_pixel[y, x]]


def test_labels_do_not_lie_on_each_other(cortex, meshes):
    points = np.concatenate([meshes.points["inflated", h] for h in surface.HEMISPHERES])
    near = {f"area {k}": np.linalg.norm(points - points[500], axis=1) < 9 + k for k in range(4)}
    part = cortex.crop(near["area 3"], margin=30)
    height, width = part.vertex_of_pixel.shape
    figure = Figure(figsize=(3.2, 3.2 * height / width))  # a panel of half a page
    ax = figure.add_axes((0, 0, 1, 1))
    flatmap(ax, part, np.full(cortex.n_vertices, np.nan), outlines=near)
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_crumbs_are_not_outlined(cortex, meshes):
    points = np.concatenate([meshes.points["inflated", h] for h in surface.HEMISPHERES])
    area = np.linalg.norm(points - points[500], axis=1) < 15
    crumb = area.copy()
    crumb[5000] = True
    paths = []
    for vertices in (area, crumb):
        ax = Figure().subplots()
        flatmap(ax, cortex, np.full(cortex.n_vertices, np.nan), outlines={"EBA": vertices})
        paths.append(ax.collections[0].get_paths()[0].vertices)
    np.testing.assert_array_equal(*paths)


def test_viewer_is_self_contained(tmp_path, meshes):
    values = np.where(np.arange(20484) % 3, np.nan, 1.0 * np.arange(20484))
    surface.export_viewer(tmp_path / "viewer.html", meshes, values, title="phantom")
    page = (tmp_path / "viewer.html").read_text()
    assert "phantom" in page
    assert len(page) > 1e6  # plotly and the mesh are inside
    assert 'src="http' not in page


def test_viewer_asks_for_what_it_needs(tmp_path, meshes):
    with pytest.raises(surface.SurfaceError, match="needs filestore"):
        surface.export_viewer(tmp_path / "v", meshes, np.zeros(20484), engine="webgl")
    with pytest.raises(surface.SurfaceError, match="'blender'; choose"):
        surface.export_viewer(tmp_path / "v", meshes, np.zeros(20484), engine="blender")


def test_views_show_both_hemispheres(meshes):
    figure = Figure(figsize=(3, 3))
    surface.plot_views(figure, meshes, np.linspace(0, 1, 20484), "alignment", vmax=2)
    *views, scale = figure.axes
    titles = [ax.get_title() for ax in views]
    assert titles == ["left, lateral", "right, lateral", "left, medial", "right, medial"]
    assert scale.get_xlabel() == "alignment" and scale.get_xlim() == (0, 2), "one scale for both hemispheres"


def _write_freesurfer(folder, meshes, n_patch_announced=None):
    """A FreeSurfer subject made of fsaverage5, written with nibabel and by hand (the patch)."""
    from nibabel import freesurfer

    folder.joinpath("surf").mkdir(parents=True)
    for hemi in surface.HEMISPHERES:
        for kind in ("white", "pial", "inflated"):
            mesh = meshes.points[kind, hemi], meshes.faces[kind, hemi]
            freesurfer.write_geometry(folder / "surf" / f"{hemi}.{kind}", *mesh)
        freesurfer.write_morph_data(folder / "surf" / f"{hemi}.curv", meshes.curvature[hemi])
        used = np.unique(meshes.faces["flat", hemi])
        patch = np.zeros(len(used), [("vertex", ">i4"), ("xyz", ">f4", 3)])
        patch["vertex"] = used + 1
        patch["vertex"][::50] *= -1  # border vertices are negative
        flat = meshes.points["flat", hemi][used]
        patch["xyz"] = np.column_stack([-flat[:, 1], flat[:, 0], np.zeros(len(used))])
        header = np.array([-1, n_patch_announced or len(used)], ">i4")
        (folder / "surf" / f"{hemi}.full.flat.patch.3d").write_bytes(header.tobytes() + patch.tobytes())
    return folder


def test_freesurfer_subject_equals_its_source(tmp_path, meshes):
    read = surface.load_meshes(_write_freesurfer(tmp_path / "fsaverage", meshes))
    assert read.name == "fsaverage"
    for hemi in surface.HEMISPHERES:
        np.testing.assert_allclose(read.curvature[hemi], meshes.curvature[hemi], atol=1e-6)
        np.testing.assert_allclose(read.points["flat", hemi], meshes.points["flat", hemi], atol=1e-4)
        for kind in ("white", "pial"):
            np.testing.assert_allclose(read.points[kind, hemi], meshes.points[kind, hemi], atol=1e-4)
        faces = {tuple(sorted(face)) for face in read.faces["flat", hemi].tolist()}
        assert {tuple(sorted(face)) for face in meshes.faces["flat", hemi].tolist()} <= faces


def test_freesurfer_subject_with_missing_or_cut_files(tmp_path, meshes):
    with pytest.raises(surface.SurfaceError, match=r"lh\.white does not exist"):
        surface.load_meshes(tmp_path / "nobody")
    folder = _write_freesurfer(tmp_path / "short", meshes, n_patch_announced=99999)
    with pytest.raises(surface.SurfaceError, match="announces 99999 vertices and holds 9465"):
        surface.load_meshes(folder)
    for patch in folder.glob("surf/*patch.3d"):
        patch.unlink()
    with pytest.raises(surface.SurfaceError, match="no flattened patch of lh"):
        surface.load_meshes(folder)
