"""Surfaces: the grid of the flat map, voxels laid on vertices, FreeSurfer subjects; nothing left at home."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nibabel import freesurfer
from nilearn.datasets import load_fsaverage

from brainalign_utils import store
from brainalign_utils.results import study, surface
from brainalign_utils.settings import load_settings, project_root


def test_examples_in_docstrings():
    assert doctest.testmod(surface).failed == 0


def test_mesh_fits_together():
    mesh = surface.fsaverage5()
    assert mesh.inflated.shape == mesh.pial.shape == (2, study.N_FSAVERAGE5, 3)
    assert mesh.faces.values.max() == study.N_FSAVERAGE5 - 1
    left, right = mesh.pial.values[:, :, 0].mean(1)
    assert left < 0 < right


def test_the_grid_shows_the_flat_mesh(tmp_path):
    cortex = surface.draw_cortex(None, tmp_path, height=160)
    assert cortex.attrs == {"name": "fsaverage5", "n_left": 10242}
    vertex = cortex.vertex_of_pixel.values
    assert vertex.shape[0] == 160
    np.testing.assert_array_equal(cortex.curvature, surface.fsaverage5().curvature.values.ravel())
    points = load_fsaverage("fsaverage5")["flat"].parts["left"].coordinates
    rows, columns = np.nonzero((vertex >= 0) & (vertex < 10242))
    shown = points[vertex[rows, columns]]
    # a straight line from where a pixel is to where its vertex is: within a vertex's distance
    for at, where, sign in ((columns, 0, 1), (rows, 1, -1)):
        line = np.polyfit(at, shown[:, where], 1)
        assert np.sign(line[0]) == sign
        assert np.abs(np.polyval(line, at) - shown[:, where]).max() < 8


def test_nothing_is_left_anywhere(tmp_path):
    """Neither in the user's folder nor in the study's, and twice in a process gives the same."""
    code = (
        "from pathlib import Path; from brainalign_utils.results import surface;"
        "a, b = (surface.draw_cortex(None, Path('study'), height=h) for h in (40, 60));"
        "assert (a.sizes['row'], b.sizes['row']) == (40, 60)"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CONFIG_HOME"}
    environment |= {
        "HOME": str(home),
        "PYTHONPATH": str(project_root()),
        "MPLCONFIGDIR": str(tmp_path / "mpl"),
    }
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert not list(home.rglob("*")) and not list((tmp_path / "study").rglob("*"))
    assert run.stdout == ""


def test_a_kept_flat_map_is_the_one_that_was_drawn(tmp_path):
    settings = load_settings(build_root=tmp_path)
    first = surface.load_cortex(settings)
    file = settings.paths.root / "cortex.zarr"
    written = file.stat().st_mtime_ns
    assert surface.load_cortex(settings).identical(first)
    assert file.stat().st_mtime_ns == written, "the second one is read"
    store.write_dataset(file, first.assign_attrs(made_by="other code").isel(row=slice(9)))
    assert surface.load_cortex(settings).identical(first), "made by other code, it is drawn anew"
    assert str(tmp_path) not in first.attrs["made_by"], "an archive publishes it"


@pytest.mark.parametrize(
    ("values", "expectation"),
    [
        (np.array([0.5, 1.5, 2.5]), [2.5, np.nan, 0.5, np.nan, 1.5]),
        (np.array([0.5, 1.5, 2.5], np.float32), [2.5, np.nan, 0.5, np.nan, 1.5]),
        (np.array([True, False, True]), [True, False, True, False, False]),
    ],
)
def test_to_vertices(values, expectation):
    surface_map = {"lh": np.array([2, -1]), "rh": np.array([0, -1, 1])}
    vertices = surface.to_vertices(values, surface_map)
    np.testing.assert_array_equal(vertices, expectation)
    assert vertices.dtype == values.dtype


def test_to_vertices_keeps_columns():
    surface_map = {"lh": np.array([1, -1]), "rh": np.array([0])}
    vertices = surface.to_vertices(np.arange(8.0).reshape(2, 4), surface_map)
    np.testing.assert_array_equal(vertices[:, 3], [7, np.nan, 3])


def test_to_vertices_refuses_a_map_of_another_subject():
    surface_map = {"lh": np.array([0, 5]), "rh": np.array([-1])}
    with pytest.raises(surface.SurfaceError, match="voxel 5 but values hold 3 voxels"):
        surface.to_vertices(np.zeros(3), surface_map)


def _write_freesurfer(folder: Path, n_patch_announced=None) -> Path:
    """A FreeSurfer subject made of fsaverage5, written with nibabel and by hand (the patch)."""
    folder.joinpath("surf").mkdir(parents=True)
    mesh, flats = surface.fsaverage5(), load_fsaverage("fsaverage5")["flat"].parts
    for k, (hemi, side) in enumerate((("lh", "left"), ("rh", "right"))):
        freesurfer.write_geometry(
            folder / "surf" / f"{hemi}.white", mesh.pial.values[k], mesh.faces.values[k]
        )
        freesurfer.write_morph_data(folder / "surf" / f"{hemi}.curv", mesh.curvature.values[k])
        used = np.unique(flats[side].faces)
        patch = np.zeros(len(used), [("vertex", ">i4"), ("xyz", ">f4", 3)])
        patch["vertex"] = used + 1
        patch["vertex"][::50] *= -1  # border vertices are negative
        flat = flats[side].coordinates[used]
        patch["xyz"] = np.column_stack([-flat[:, 1], flat[:, 0], np.zeros(len(used))])
        header = np.array([-1, n_patch_announced or len(used)], ">i4")
        (folder / "surf" / f"{hemi}.full.flat.patch.3d").write_bytes(header.tobytes() + patch.tobytes())
    return folder


def test_freesurfer_subject_is_drawn_like_its_source(tmp_path):
    read = surface.draw_cortex(_write_freesurfer(tmp_path / "fsaverage"), tmp_path, height=160)
    source = surface.draw_cortex(None, tmp_path, height=160)
    assert read.attrs == {"name": "fsaverage", "n_left": 10242}
    np.testing.assert_allclose(read.curvature, source.curvature, atol=1e-6)
    a, b = read.vertex_of_pixel.values, source.vertex_of_pixel.values
    assert np.mean((a >= 0) == (b >= 0)) > 0.9  # a few faces more close the cuts of the patch
    np.testing.assert_array_equal(a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)])


def test_freesurfer_subject_with_missing_or_cut_files(tmp_path):
    with pytest.raises(surface.SurfaceError, match=r"lh\.white does not exist"):
        surface.draw_cortex(tmp_path / "nobody", tmp_path)
    folder = _write_freesurfer(tmp_path / "short", n_patch_announced=99999)
    with pytest.raises(surface.SurfaceError, match="announces 99999 vertices and holds 9465"):
        surface.draw_cortex(folder, tmp_path)
    for patch in folder.glob("surf/*patch.3d"):
        patch.unlink()
    with pytest.raises(surface.SurfaceError, match="no flattened patch of lh"):
        surface.draw_cortex(folder, tmp_path)
