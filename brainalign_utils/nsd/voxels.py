"""What is known of each voxel apart from its responses: all that results need from NSD's tree."""

from pathlib import Path

import xarray as xr

from .surface_map import read_surface_map
from .volumes import read_roi_labels


def describe_voxels(root: str | Path, responses: xr.Dataset) -> xr.Dataset:
    """Regions, ceilings and places on the cortical surface of one subject's voxels, without responses.

    Parameters
    ----------
    root : path
        NSD's tree.
    responses : Dataset of :func:`load_responses`

    Returns
    -------
    voxels : Dataset
        Coordinates over ``voxel`` as in ``responses``; ``vertex_voxel_lh`` and ``vertex_voxel_rh``, the voxel
        under each fsaverage vertex or -1; and, over ``volume``, ``n_first_label_outside``: how many voxels
        outside the mask carry label 1 of that region file.

    Raises
    ------
    MissingFileError, DamagedFileError, UnknownLabelError
    """
    subject, space = responses.attrs["subject"], responses.attrs["space"]
    stimuli = [
        name for name, coord in responses.coords.items() if "stimulus" in "".join(map(str, coord.dims))
    ]
    voxels = responses.drop_vars([*responses.data_vars, *stimuli])
    volumes = [name.removeprefix("label_") for name in voxels.coords if name.startswith("label_")]
    mask = read_roi_labels(root, subject, "nsdgeneral", space)[0] > 0
    outside = [int(((read_roi_labels(root, subject, v, space)[0] == 1) & ~mask).sum()) for v in volumes]
    maps = read_surface_map(root, subject, space)
    return voxels.assign(
        n_first_label_outside=("volume", outside),
        **{f"vertex_voxel_{hemi}": (f"vertex_{hemi}", values) for hemi, values in maps.items()},
    ).assign_coords(volume=volumes)
