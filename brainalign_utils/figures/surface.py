"""The cortical surface: meshes, flat maps on given axes, and viewers.

The only module that imports pycortex and nilearn.  Vertex arrays hold the left hemisphere first, then the
right one, along one axis of n_vertices; a surface map says which voxel each vertex shows.
"""

import io
import logging
import os
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from nilearn import plotting, surface
from nilearn.datasets import fetch_surf_fsaverage

from .flat import HEMISPHERES, Cortex, SurfaceError, draw_outlines, flatmap, rasterise, to_vertices

__all__ = ("Cortex", "Meshes", "SurfaceError", "build_subject", "draw_outlines", "export_viewer", "flatmap")
__all__ += ("load_cortex", "load_meshes", "plot_views", "to_vertices")
_SURFACES = {"wm": "white", "pia": "pial", "inflated": "inflated", "flat": "flat"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Meshes:
    """Surfaces of both hemispheres.

    Parameters
    ----------
    name : str
        ``fsaverage5`` or the FreeSurfer subject; names the pycortex subject.
    points : dict of (surface, hemisphere) -> float array of shape (n_hemisphere_vertices, 3), in mm
        Surfaces ``white``, ``pial``, ``inflated`` and ``flat``.
    faces : dict of (surface, hemisphere) -> int32 array of shape (n_faces, 3)
    curvature : dict of hemisphere -> float array of shape (n_hemisphere_vertices,)
        Positive in sulci.
    """

    name: str
    points: dict
    faces: dict
    curvature: dict

    def n_vertices(self, hemisphere: str) -> int:
        return len(self.curvature[hemisphere])


def load_meshes(freesurfer: str | Path | None = None) -> Meshes:
    """Read fsaverage5 as nilearn ships it, or a FreeSurfer subject such as NSD's fsaverage.

    Parameters
    ----------
    freesurfer : path or None
        Folder of a FreeSurfer subject (``nsddata/freesurfer/fsaverage``) whose ``surf`` holds white, pial,
        inflated, curv and a flattened patch; None gives fsaverage5, which needs no download.

    Raises
    ------
    SurfaceError
        When the folder lacks a file, naming it.
    """
    if freesurfer is None:
        return _fsaverage5()
    folder = Path(freesurfer) / "surf"
    points, faces, curvature = {}, {}, {}
    for hemi in HEMISPHERES:
        for kind in ("white", "pial", "inflated"):
            mesh = surface.load_surf_mesh(_existing(folder / f"{hemi}.{kind}"))
            points[kind, hemi], faces[kind, hemi] = mesh.coordinates, mesh.faces.astype(np.int32)
        curvature[hemi] = surface.load_surf_data(_existing(folder / f"{hemi}.curv")).astype(np.float32)
        patches = sorted({*folder.glob(f"{hemi}.*patch.flat"), *folder.glob(f"{hemi}.*flat.patch.3d")})
        if not patches:
            raise SurfaceError(
                f"{folder} has no flattened patch of {hemi} (looked for {hemi}.*patch.flat and "
                f"{hemi}.*flat.patch.3d); copy one from a FreeSurfer installation or use fsaverage5"
            )
        white = points["white", hemi], faces["white", hemi]
        points["flat", hemi], faces["flat", hemi] = _read_patch(patches[0], *white)
    return Meshes(Path(freesurfer).name, points, faces, curvature)


def _existing(path: Path) -> str:
    if not path.is_file():
        raise SurfaceError(f"{path} does not exist; give a FreeSurfer subject, or None for fsaverage5")
    return str(path)


def _fsaverage5() -> Meshes:
    files = fetch_surf_fsaverage("fsaverage5")
    points, faces, curvature = {}, {}, {}
    for hemi, side in zip(HEMISPHERES, ("left", "right"), strict=True):
        for kind, key in {"white": "white", "pial": "pial", "inflated": "infl", "flat": "flat"}.items():
            mesh = surface.load_surf_mesh(files[f"{key}_{side}"])
            points[kind, hemi], faces[kind, hemi] = mesh.coordinates, mesh.faces.astype(np.int32)
        points["flat", hemi] = _planar(points["flat", hemi], faces["flat", hemi])
        curvature[hemi] = surface.load_surf_data(files[f"curv_{side}"]).astype(np.float32)
    return Meshes("fsaverage5", points, faces, curvature)


def _planar(points, faces):
    """Flat points with z and the vertices that were cut away set to zero, so that extents are right."""
    planar = np.zeros_like(points)
    used = np.unique(faces)
    planar[used, :2] = points[used, :2]
    return planar


def _read_patch(path: Path, points, faces):
    """Patch file: big-endian header, count, then (vertex, x, y, z); 1-based, negative on the border."""
    dtype = np.dtype([("vertex", ">i4"), ("xyz", ">f4", 3)])
    with path.open("rb") as file:
        _, n_patch = np.frombuffer(file.read(8), ">i4")
        patch = np.frombuffer(file.read(), dtype)
    if len(patch) != n_patch:
        raise SurfaceError(f"{path} announces {n_patch} vertices and holds {len(patch)}; the file is cut off")
    vertices = np.abs(patch["vertex"]) - 1
    inside = np.zeros(len(points), bool)
    inside[vertices] = True
    flat = np.zeros_like(points)
    flat[vertices, 0], flat[vertices, 1] = patch["xyz"][:, 1], -patch["xyz"][:, 0]
    return flat, faces[inside[faces].all(1)]


@contextmanager
def _variable(name, value):
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.__setitem__(name, before)


@contextmanager
def _quiet():
    """What pycortex prints goes to the log."""
    with redirect_stdout(io.StringIO()) as printed:
        yield
    if printed.getvalue():
        _log.debug("pycortex: %s", printed.getvalue().strip())


def _pycortex(filestore: Path):
    """Import pycortex with its settings beside the filestore: it would write them to the user's folder."""
    with _variable("XDG_CONFIG_HOME", str(filestore.resolve() / ".config")), _quiet():
        import cortex
    cortex.db.filestore = str(filestore.resolve())
    cortex.db.reload_subjects()
    return cortex


def build_subject(filestore: str | Path, meshes: Meshes) -> str:
    """Write a pycortex subject from meshes, unless it is there.

    Parameters
    ----------
    filestore : path
        Folder for pycortex subjects, under the study's build folder.

    Returns
    -------
    name : str
        Of the pycortex subject.
    """
    filestore = Path(filestore)
    filestore.mkdir(parents=True, exist_ok=True)
    with FileLock(filestore / ".build.lock"):
        cortex, folder = _pycortex(filestore), filestore / meshes.name
        complete = folder / "complete.txt"
        if complete.is_file():
            return meshes.name
        for part in ("transforms", "anatomicals", "cache", "surfaces", "surface-info", "views"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for target, kind in _SURFACES.items():
            for hemi in HEMISPHERES:
                file = folder / "surfaces" / f"{target}_{hemi}.gii"
                cortex.formats.write_gii(str(file), meshes.points[kind, hemi], meshes.faces[kind, hemi])
        curvature = dict(zip(("left", "right"), map(meshes.curvature.get, HEMISPHERES), strict=True))
        for name in ("curvature", "sulcaldepth", "thickness"):
            np.savez(folder / "surface-info" / f"{name}.npz", **curvature)
        complete.write_text("surfaces and curvature are written\n")
        cortex.db.reload_subjects()
    return meshes.name


def load_cortex(
    filestore: str | Path, meshes: Meshes | None = None, height: int = 640, engine="pycortex"
) -> Cortex:
    """The picture grid of a flat map: which vertex each pixel shows.

    Parameters
    ----------
    filestore : path
        Folder for pycortex subjects, under the study's build folder; made when missing.
    meshes : Meshes or None
        None takes fsaverage5.
    height : int
        Of the grid, in pixels.
    engine : {"pycortex", "nilearn"}
        Who draws the grid; "nilearn" works from nilearn's mesh alone where pycortex cannot be installed.
    """
    meshes = meshes or load_meshes()
    if engine == "nilearn":
        vertex_of_pixel = rasterise(*_flat_pair(meshes), height)
    elif engine == "pycortex":
        name = build_subject(filestore, meshes)
        with FileLock(Path(filestore) / ".build.lock"):  # pycortex writes its caches in place
            vertex_of_pixel = _pycortex_grid(_pycortex(Path(filestore)), name, height)
    else:
        raise SurfaceError(f"engine is {engine!r}; choose 'pycortex' or 'nilearn'")
    curvature = np.concatenate([meshes.curvature[hemi] for hemi in HEMISPHERES])
    return Cortex(meshes.name, vertex_of_pixel, curvature, meshes.n_vertices("lh"))


def _pycortex_grid(cortex, name, height):
    with _quiet():
        mask, _ = cortex.quickflat.utils.get_flatmask(name, height=height)
        nearest = cortex.quickflat.utils.get_flatcache(name, None, height=height)
    grid = np.full(mask.shape, -1, np.int32)
    grid[mask] = nearest.tocsr().indices  # one vertex for each pixel in mask
    return np.ascontiguousarray(grid.T[::-1])


def _flat_pair(meshes: Meshes):
    """Flat points and faces of both hemispheres side by side: left of x = 0, and right of it."""
    left, right = (meshes.points["flat", hemi][:, :2].copy() for hemi in HEMISPHERES)
    left[:, 0] -= left[:, 0].max()
    right[:, 0] -= right[:, 0].min()
    faces = [meshes.faces["flat", hemi] for hemi in HEMISPHERES]
    return np.concatenate([left, right]), np.concatenate([faces[0], faces[1] + len(left)])


def plot_views(figure, meshes: Meshes, values, label="", cmap="viridis", vmin=None, vmax=None):
    """Inflated surface seen from outside and from inside: nilearn's view of the same vertex array.

    Parameters
    ----------
    figure : matplotlib Figure
        Gets four three-dimensional axes.
    values : float array of shape (n_vertices,)
        NaN shows the cortex.
    label : str
        Of the colour scale, which all views share.
    """
    parts = np.split(np.asarray(values, float), [meshes.n_vertices("lh")])
    vmin = np.nanmin(values) if vmin is None else vmin
    vmax = np.nanmax(values) if vmax is None else vmax
    for row, view in enumerate(("lateral", "medial")):
        for column, (hemi, part) in enumerate(zip(HEMISPHERES, parts, strict=True)):
            ax = figure.add_subplot(2, 2, 2 * row + column + 1, projection="3d")
            mesh = surface.InMemoryMesh(meshes.points["inflated", hemi], meshes.faces["inflated", hemi])
            side = {"lh": "left", "rh": "right"}[hemi]
            options = {"colorbar": False, "cmap": cmap, "vmin": vmin, "vmax": vmax, "bg_on_data": False}
            plotting.plot_surf(
                mesh, part, meshes.curvature[hemi], side, view, axes=ax, figure=figure, **options
            )
            ax.set_title(f"{side}, {view}")
    scale = ScalarMappable(Normalize(vmin, vmax), cmap)
    figure.colorbar(scale, ax=figure.axes, orientation="horizontal", shrink=0.4, aspect=30, label=label)


def export_viewer(path, meshes: Meshes, values, title="", engine="view_surf", filestore=None, cmap="viridis"):
    """Write a viewer that turns in the browser and asks nothing of the network.

    Parameters
    ----------
    path : path
        ``.html`` file for "view_surf" (opens from disk), folder for "webgl" (needs a web server).
    values : float array of shape (n_vertices,)
        NaN shows the cortex.
    engine : {"view_surf", "webgl"}
        nilearn with plotly, or pycortex.
    filestore : path or None
        Needed by "webgl".
    """
    path, values = Path(path), np.asarray(values, float)
    path.parent.mkdir(parents=True, exist_ok=True)
    if engine == "view_surf":
        points, faces = (
            {k: table["inflated", h] for k, h in zip(("left", "right"), HEMISPHERES, strict=True)}
            for table in (meshes.points, meshes.faces)
        )
        mesh = surface.PolyMesh(**{k: surface.InMemoryMesh(points[k], faces[k]) for k in points})
        data, background = (
            surface.PolyData(*np.split(a, [meshes.n_vertices("lh")])) for a in (values, _curvature(meshes))
        )
        image, background = (surface.SurfaceImage(mesh, part) for part in (data, background))
        options = {"title": title, "cmap": cmap, "symmetric_cmap": False, "hemi": "both"}
        plotting.view_surf(surf_map=image, bg_map=background, **options).save_as_html(str(path))
    elif engine == "webgl":
        if filestore is None:
            raise SurfaceError("engine 'webgl' needs filestore; give the folder used for load_cortex")
        name, cortex = build_subject(filestore, meshes), _pycortex(Path(filestore))
        data = {title or "values": cortex.Vertex(values, name, cmap=cmap)}
        with _quiet():
            cortex.webgl.make_static(str(path), data, html_embed=True, overlays_visible=())
    else:
        raise SurfaceError(f"engine is {engine!r}; choose 'view_surf' or 'webgl'")


def _curvature(meshes):
    return np.concatenate([meshes.curvature[hemi] for hemi in HEMISPHERES])
