"""The cortical surface: meshes, the flat map's grid, and voxels laid on vertices.

The one place that reads surfaces.  Vertex arrays hold the left hemisphere first, then the right one, along
one axis of n_vertices; a surface map says which voxel each vertex shows.
"""

import io
import logging
import os
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import xarray as xr
from filelock import FileLock

from .. import store
from ..artifacts import file_hash
from ..settings import Settings

HEMISPHERES = ("lh", "rh")
_log = logging.getLogger(__name__)


class SurfaceError(ValueError):
    """A mesh, a surface map or a vertex array that does not fit; the message says which and how."""


def to_vertices(values, surface_map: dict) -> np.ndarray:
    """Values of voxels laid on the vertices.

    Parameters
    ----------
    values : array of shape (n_voxels,) or (n_voxels, n_columns)
        Float or bool.
    surface_map : dict of "lh", "rh" -> int array of shape (n_hemisphere_vertices,)
        Voxel that each vertex shows, -1 for none.

    Returns
    -------
    vertices : array of shape (n_vertices,) or (n_vertices, n_columns)
        NaN where there is no voxel; False for bool values.

    Raises
    ------
    SurfaceError
        When the map points to voxels that do not exist.

    Examples
    --------
    >>> to_vertices(np.array([0.5, 1.5]), {"lh": np.array([1, -1]), "rh": np.array([0])})
    array([1.5, nan, 0.5])
    """
    values = np.asarray(values)
    index = np.concatenate([np.asarray(surface_map[hemi]) for hemi in HEMISPHERES])
    if index.max() >= len(values):
        raise SurfaceError(
            f"surface_map points to voxel {index.max()} but values hold {len(values)} voxels; "
            "both must come from the same subject and mask"
        )
    out = np.full((len(index), *values.shape[1:]), values.dtype.type(0 if values.dtype == bool else np.nan))
    out[index >= 0] = values[index[index >= 0]]
    return out


def fsaverage5() -> xr.Dataset:
    """The inflated and the folded surface of fsaverage5, which come with nilearn.

    Returns
    -------
    mesh : Dataset
        ``inflated`` and ``pial`` (hemisphere, vertex, axis) in mm, ``faces`` (hemisphere, face, corner), and
        ``curvature`` (hemisphere, vertex), positive in sulci.

    Examples
    --------
    >>> fsaverage5().sizes["vertex"]
    10242
    """
    from nilearn.datasets import load_fsaverage, load_fsaverage_data

    meshes, sides = load_fsaverage("fsaverage5"), ("left", "right")
    folds = load_fsaverage_data(mesh="fsaverage5", data_type="curvature").data.parts
    points = {k: [meshes[k].parts[side].coordinates for side in sides] for k in ("inflated", "pial")}
    mesh = {k: (("hemisphere", "vertex", "axis"), v) for k, v in points.items()}
    mesh["faces"] = ("hemisphere", "face", "corner"), [meshes["pial"].parts[side].faces for side in sides]
    mesh["curvature"] = ("hemisphere", "vertex"), [folds[side] for side in sides]
    return xr.Dataset(mesh, {"hemisphere": list(HEMISPHERES)})


def load_cortex(settings: Settings) -> xr.Dataset:
    """The flat map for the study's data: NSD's own fsaverage where its surfaces are, else fsaverage5.

    Made once by pycortex's quickflat, and kept.

    Returns
    -------
    cortex : Dataset
        ``vertex_of_pixel`` (row, column), the vertex that each pixel shows, -1 outside, first row at the top;
        ``curvature`` (vertex), positive in sulci; attributes ``name``, and ``n_left``, the number of
        vertices of the left hemisphere.

    Raises
    ------
    SurfaceError
        When a surface of NSD's fsaverage is missing or damaged, naming it.
    """
    file = settings.paths.root / "cortex.zarr"
    if not settings.scores_only:
        with FileLock(file.with_suffix(".lock")):  # notebooks that run side by side wait for the first
            _keep(file, settings)
    return store.open_dataset(file).load()


def _keep(file: Path, settings: Settings) -> None:
    """Draw and write the flat map, unless it is there and this code made it."""
    folder = settings.paths.fsaverage
    made_by = f"{folder.name if folder else 'fsaverage5'}, {file_hash(Path(__file__))}"
    if file.exists() and store.open_dataset(file).attrs.get("made_by") == made_by:
        return
    if folder is None and settings.data == "nsd":
        _log.warning("no surfaces in nsddata/freesurfer/fsaverage/surf: maps are drawn on fsaverage5")
    store.write_dataset(file, draw_cortex(folder, settings.paths.root).assign_attrs(made_by=made_by))


def draw_cortex(freesurfer: Path | None, folder: Path, height: int = 640) -> xr.Dataset:
    """The flat map of a FreeSurfer subject, as :func:`load_cortex` returns it.

    Parameters
    ----------
    freesurfer : path or None
        Folder of a FreeSurfer subject (``nsddata/freesurfer/fsaverage``) whose ``surf`` holds white, curv and
        a flattened patch; None takes fsaverage5, which needs no download.
    folder : path
        Where pycortex may work; it leaves nothing behind.
    height : int
        Of the grid, in pixels.
    """
    flat, curvature = (
        _fsaverage5_flat() if freesurfer is None else _freesurfer_flat(Path(freesurfer) / "surf")
    )
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".pycortex-", dir=folder) as filestore:
        vertex_of_pixel = _quickflat(flat, Path(filestore), height)
    cortex = {
        "vertex_of_pixel": (("row", "column"), vertex_of_pixel),
        "curvature": ("vertex", np.concatenate(curvature).astype(np.float32)),
    }
    name = "fsaverage5" if freesurfer is None else Path(freesurfer).name
    return xr.Dataset(cortex, attrs={"name": name, "n_left": len(curvature[0])})


def _fsaverage5_flat():
    """(points, faces) of each hemisphere's flat map, and the curvature of its vertices."""
    from nilearn.datasets import load_fsaverage

    meshes = load_fsaverage("fsaverage5")["flat"].parts
    flat = [_planar(meshes[side].coordinates, meshes[side].faces) for side in ("left", "right")]
    return flat, fsaverage5().curvature.values


def _planar(points, faces):
    """Flat points; vertices that were cut away lie at 0, so that extents are those of the map."""
    planar, used = np.zeros_like(points), np.unique(faces)
    planar[used, :2] = points[used, :2]
    return planar, faces


def _freesurfer_flat(folder: Path):
    """As :func:`_fsaverage5_flat`, of a FreeSurfer subject."""
    from nilearn import surface

    flat, curvature = [], []
    for hemi in HEMISPHERES:
        for name in ("white", "curv"):
            if not (folder / f"{hemi}.{name}").is_file():
                raise SurfaceError(
                    f"{folder / f'{hemi}.{name}'} does not exist; download it, or remove the folder"
                )
        patches = sorted({*folder.glob(f"{hemi}.*patch.flat"), *folder.glob(f"{hemi}.*flat.patch.3d")})
        if not patches:
            raise SurfaceError(
                f"{folder} has no flattened patch of {hemi} (looked for {hemi}.*patch.flat and "
                f"{hemi}.*flat.patch.3d); copy one from a FreeSurfer installation or use fsaverage5"
            )
        white = surface.load_surf_mesh(str(folder / f"{hemi}.white"))
        curvature.append(surface.load_surf_data(str(folder / f"{hemi}.curv")))
        vertices, points = _read_patch(patches[0])
        flat_points = np.zeros_like(white.coordinates)
        flat_points[vertices, 0], flat_points[vertices, 1] = points[:, 1], -points[:, 0]
        faces = white.faces[np.isin(white.faces, vertices).all(1)]
        flat.append((flat_points, faces))
    return flat, curvature


def _read_patch(path: Path):
    """Vertices of a patch and where they lie; in the file 1-based, and negative at the border."""
    with path.open("rb") as file:
        _, n_patch = np.frombuffer(file.read(8), ">i4")
        patch = np.frombuffer(file.read(), [("vertex", ">i4"), ("xyz", ">f4", 3)])
    if len(patch) != n_patch:
        raise SurfaceError(f"{path} announces {n_patch} vertices and holds {len(patch)}; the file is cut off")
    return np.abs(patch["vertex"]) - 1, patch["xyz"]


def _quickflat(flat, filestore: Path, height: int) -> np.ndarray:
    """Vertex under each pixel of pycortex's flat map, -1 outside; int32 array of shape (height, width)."""
    subject = filestore.name.strip(".")  # pycortex remembers the surfaces of a name
    for part in ("surfaces", "transforms", "anatomicals", "cache", "surface-info", "views"):
        (filestore / subject / part).mkdir(parents=True)
    # pycortex writes settings to the user's folder when it is imported, and prints
    with mock.patch.dict(os.environ, XDG_CONFIG_HOME=str(filestore)), redirect_stdout(io.StringIO()):
        import cortex
    for hemi, (points, faces) in zip(HEMISPHERES, flat, strict=True):
        file = filestore / subject / "surfaces" / f"flat_{hemi}.gii"
        cortex.formats.write_gii(str(file), points, faces.astype(np.int32))
    before, cortex.db.filestore = cortex.db.filestore, str(filestore)
    try:
        with redirect_stdout(io.StringIO()):
            cortex.db.reload_subjects()
            mask, _ = cortex.quickflat.utils.get_flatmask(subject, height=height)
            nearest = cortex.quickflat.utils.get_flatcache(subject, None, height=height)
    finally:
        cortex.db.filestore = before
    grid = np.full(mask.shape, -1, np.int32)
    grid[mask] = nearest.tocsr().indices  # one vertex for each pixel in mask
    return np.ascontiguousarray(grid.T[::-1])
