"""Everything on disk that belongs to one phantom subject."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from . import writer
from .areas import FAMILIES, LOST_LABELS, ROI_LABELS
from .brain import Brain, make_brain, session_betas
from .channels import Channels
from .cortex import HEMISPHERES, load_mesh
from .experiment import N_TRIALS, Experiment, response_table, subject_name
from .grid import SPACES, Layout

N_SATURATED = 3
CONSTANTS = (0, 450)
"""Values, times 300, of the voxels of nsdgeneral that are constant in all sessions."""
COLOURED = ("Kastner2015",)
"""ROI files whose colour table has further columns."""


@dataclass(frozen=True)
class SubjectReport:
    """What the doctor should find, and what was planted; both ready for YAML."""

    expected: dict
    planted: dict


@dataclass(frozen=True)
class _Folders:
    """Where a subject's files go."""

    root: Path
    subject: int
    space: str
    version: str

    @property
    def func(self) -> Path:
        return self.root / "nsd/nsddata/ppdata" / subject_name(self.subject) / self.space

    @property
    def ppdata(self) -> Path:
        return self.func.parent

    @property
    def betas(self) -> Path:
        folder = self.root / "nsd/nsddata_betas/ppdata" / subject_name(self.subject)
        return folder / self.space / self.version

    @property
    def labels(self) -> Path:
        return self.root / "nsd/nsddata/freesurfer" / subject_name(self.subject) / "label"

    @property
    def truth(self) -> Path:
        return self.root / "truth" / subject_name(self.subject)


def write_subject(
    root: Path,
    layout: Layout,
    channels: Channels,
    experiment: Experiment,
    n_sessions: int,
    seed: int,
    version: str,
    speaks_of: Mapping[str, tuple[str, ...]],
) -> SubjectReport:
    """Simulate one subject and write all its files.

    Parameters
    ----------
    root : Path
        Holds ``nsd`` and ``truth``.
    layout : grid.Layout
    channels : Channels
        Of the subject's stimuli, sorted by nsd_id.
    experiment : Experiment
    n_sessions, seed : int
    version : str
        Of the betas.
    speaks_of : mapping of content family to tuple of str
        Instructions whose answers speak of it.
    """
    folders = _Folders(root, layout.subject, layout.space, version)
    planted = _plants(layout, n_sessions, seed)
    brain = make_brain(layout, channels, seed, version).silence(list(planted["constant"]))
    trials = experiment.trials(layout.subject, n_sessions).reshape(n_sessions, N_TRIALS)
    repeats = Repeats(len(brain.nsd_id), len(layout.ijk))
    total = np.zeros(len(layout.ijk))
    valid = np.zeros(len(layout.ijk), np.float32)
    for session, shown in enumerate(trials, 1):
        betas = writer.to_int16(session_betas(brain, shown, session, layout.subject, seed))
        _plant(betas, planted, session)
        writer.write_betas_hdf5(folders.betas / f"betas_session{session:02d}.hdf5", layout, betas)
        writer.write_betas_nifti(folders.betas / f"betas_session{session:02d}.nii.gz", layout, betas)
        in_view = betas.any(axis=0)
        writer.write_volume(
            folders.func / f"valid_session{session:02d}.nii.gz", layout, in_view.astype(np.int16)
        )
        valid += in_view / n_sessions
        total += betas.sum(axis=0)
        repeats.add(betas, np.searchsorted(brain.nsd_id, shown))
        if session == 1:
            first = _beta_check(layout, betas)
    ncsnr = _write_reliability(folders, layout, repeats, planted["nan_ncsnr"])
    mean_beta = (total / trials.size).astype(np.float32)
    writer.write_volume(folders.betas / "meanbeta.nii.gz", layout, mean_beta)
    _write_anatomy(folders, layout, brain, valid, seed)
    _write_rois(folders, layout)
    _write_surfaces(folders, layout, seed)
    behaviour = response_table(experiment, layout.subject, n_sessions, seed)
    writer.write_table(folders.ppdata / "behav/responses.tsv", behaviour, sep="\t", index=False, na_rep="NaN")
    _write_truth(folders, layout, brain, planted, speaks_of)
    return SubjectReport(_expected(layout, ncsnr, trials, first), _planted_table(layout, planted))


def _plants(layout: Layout, n_sessions: int, seed: int) -> dict:
    """What is not clean in real data.

    Voxels and trials that are saturated; a voxel outside the field of view in the last session; voxels
    without signal in all sessions; voxels with betas but NaN ncsnr in the file, in a localiser and in V1.
    """
    rng = np.random.default_rng([seed, layout.subject, 51])
    voxels = rng.permutation(np.flatnonzero(layout.nsdgeneral))[: N_SATURATED + 1]
    trials = rng.integers(0, N_TRIALS, N_SATURATED)
    values = np.resize([32767, -32768], N_SATURATED)
    saturated = [(1, int(t), int(v), int(x)) for t, v, x in zip(trials, voxels[1:], values, strict=True)]
    clean = layout.nsdgeneral.copy()
    clean[voxels] = False
    rng = np.random.default_rng([seed, layout.subject, 54])
    constant = dict(zip(rng.choice(np.flatnonzero(clean), len(CONSTANTS), False), CONSTANTS, strict=True))
    if layout.subject in LOST_LABELS:
        volume, name = LOST_LABELS[layout.subject]
        lost = layout.labels[volume] == 1 + ROI_LABELS[volume].index(name)
        constant |= dict.fromkeys(np.flatnonzero(lost & clean | lost & ~layout.nsdgeneral), 0)
    clean[list(constant)] = False
    localised = np.any([layout.labels[v] > 0 for v in layout.labels if v.startswith("floc-")], axis=0)
    v1 = np.isin(layout.labels["prf-visualrois"], (1, 2))
    nan_ncsnr = [rng.choice(np.flatnonzero(clean & region)) for region in (localised & ~v1, v1)]
    zero = (n_sessions, int(voxels[0])) if n_sessions > 1 else None
    return {"saturated": saturated, "zero": zero, "constant": constant, "nan_ncsnr": nan_ncsnr}


def _plant(betas, planted, session):
    for where, trial, voxel, value in planted["saturated"]:
        if where == session:
            betas[trial, voxel] = value
    if planted["zero"] and planted["zero"][0] == session:
        betas[:, planted["zero"][1]] = 0
    betas[:, list(planted["constant"])] = list(planted["constant"].values())


def _planted_table(layout: Layout, planted) -> dict:
    ijk = layout.ijk.tolist()
    saturated = [
        {"session": session, "trial": trial, "ijk": ijk[voxel], "value": value}
        for session, trial, voxel, value in planted["saturated"]
    ]
    zero = [{"session": planted["zero"][0], "ijk": ijk[planted["zero"][1]]}] if planted["zero"] else []
    empty, outside = {}, {}
    for volume, names in ROI_LABELS.items():
        labels = layout.labels[volume]
        empty[volume] = [name for code, name in enumerate(names, 1) if not (labels == code).any()]
        outside[volume] = int(((labels > 0) & ~layout.nsdgeneral).sum())
    return {
        "saturated": saturated,
        "zero_in_session": zero,
        "constant": [{"ijk": ijk[voxel], "value": value} for voxel, value in planted["constant"].items()],
        "nan_ncsnr": [ijk[voxel] for voxel in planted["nan_ncsnr"]],
        "empty_labels": {volume: names for volume, names in empty.items() if names},
        "roi_voxels_outside_nsdgeneral": outside,
    }


class Repeats:
    """Sums over the trials of each picture, from which NSD's ncsnr follows."""

    def __init__(self, n_stimuli: int, n_voxels: int):
        self.n, self.total, self.squares = np.zeros((3, n_stimuli, n_voxels))

    def add(self, betas, rows) -> None:
        """Add a session; ``rows`` says which picture each trial shows."""
        z = betas - betas.mean(axis=0)
        sd = z.std(axis=0, ddof=1)
        z /= np.where(sd > 0, sd, 1)
        np.add.at(self.n, rows, np.broadcast_to(sd > 0, z.shape))  # a constant voxel has no data
        np.add.at(self.total, rows, z)
        np.add.at(self.squares, rows, z**2)

    def ncsnr(self, pictures=slice(None)) -> np.ndarray:
        """Signal sd over noise sd, from pictures with three trials; NaN for voxels without any."""
        n, total, squares = self.n[pictures], self.total[pictures], self.squares[pictures]
        variance = (squares - total**2 / np.maximum(n, 1)) / np.maximum(n - 1, 1)
        three = n == 3
        with np.errstate(invalid="ignore"):
            noise = (variance * three).sum(axis=0) / three.sum(axis=0)
            return np.sqrt(np.maximum(0, 1 - noise) / noise).astype(np.float32)


def noise_ceiling(ncsnr) -> np.ndarray:
    """Explainable fraction of variance of the mean of three trials."""
    power = np.square(np.asarray(ncsnr, np.float64))
    return (power / (power + 1 / 3)).astype(np.float32)


def _write_reliability(folders, layout, repeats: Repeats, nan_ncsnr):
    """ncsnr by NSD's recipe from the betas as written; NaN outside the brain mask and where planted."""
    pictures = {"ncsnr": slice(None), "ncsnr_split1": slice(0, None, 2), "ncsnr_split2": slice(1, None, 2)}
    estimates = {name: repeats.ncsnr(which) for name, which in pictures.items()}
    for name, values in estimates.items():
        values[nan_ncsnr] = np.nan
        writer.write_volume(folders.betas / f"{name}.nii.gz", layout, values, np.float32(np.nan))
    return estimates["ncsnr"]


def _write_anatomy(folders, layout: Layout, brain: Brain, valid, seed):
    rng = np.random.default_rng([seed, layout.subject, 52])
    ones = np.ones(len(layout.ijk), np.int16)
    writer.write_volume(folders.func / "brainmask.nii.gz", layout, ones)
    writer.write_volume(folders.func / "valid.nii.gz", layout, valid)
    intensity = rng.normal(1000, 120, len(layout.ijk)).astype(np.float32)
    writer.write_volume(folders.func / "mean.nii.gz", layout, intensity)
    explained = (100 * brain.ncsnr**2 / (1 + brain.ncsnr**2)).astype(np.float32)
    writer.write_volume(folders.func / "R2.nii.gz", layout, explained)
    writer.write_volume(folders.betas / "R2.nii.gz", layout, explained)


def _write_rois(folders, layout: Layout):
    """Volumes of both hemispheres and of each, float64; -1 is not cortex, or the other hemisphere."""
    for volume, labels in layout.labels.items():
        for prefix, sides in (("", (0, 1)), ("lh.", (0,)), ("rh.", (1,))):
            shown = np.where(np.isin(layout.side, sides), labels, -1).astype(np.float64)
            writer.write_volume(folders.func / f"roi/{prefix}{volume}.nii.gz", layout, shown, -1)
        writer.write_ctab(folders.labels / f"{volume}.mgz.ctab", ROI_LABELS[volume], volume in COLOURED)


def native_mesh(side: str, subject: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The subject's own white surface: fsaverage5 shuffled, with a few vertices less.

    Returns
    -------
    to_fsaverage : int array of shape (n_native,)
        Vertex of fsaverage5 that each native vertex is.
    from_fsaverage : int array of shape (10242,)
        Native vertex nearest to each vertex of fsaverage5, on the sphere.
    """
    rng = np.random.default_rng([seed, subject, 53 + HEMISPHERES.index(side)])
    sphere = load_mesh(side)["sphere"]
    n_native = len(sphere) - int(rng.integers(20, 200))
    to_fsaverage = rng.permutation(len(sphere))[:n_native]
    return to_fsaverage, cKDTree(sphere[to_fsaverage]).query(sphere)[1]


def _write_surfaces(folders, layout: Layout, seed):
    """Labels on the native surface, and where its vertices lie in the volume and on fsaverage5."""
    transforms = folders.ppdata / "transforms"
    for side in HEMISPHERES:
        to_fsaverage, from_fsaverage = native_mesh(side, layout.subject, seed)
        writer.write_surface(transforms / f"{side}.white-to-fsaverage.mgz", from_fsaverage + 1)
        writer.write_surface(transforms / f"{side}.fsaverage-to-white.mgz", to_fsaverage + 1)
        for (hemisphere, surface), ijk in layout.vertex_ijk.items():
            if hemisphere == side:
                voxel = np.round(ijk)
                inside = ((voxel >= 0) & (voxel < layout.shape)).all(axis=1, keepdims=True)
                coordinates = np.where(inside, ijk + 1, writer.INVALID)[to_fsaverage]
                writer.write_surface(
                    transforms / f"{side}.{SPACES[layout.space][0]}-to-{surface}.mgz",
                    coordinates.astype(np.float32),
                )
        for (hemisphere, volume), labels in layout.surface_labels.items():
            if hemisphere == side:
                writer.write_surface(folders.labels / f"{side}.{volume}.mgz", labels[to_fsaverage])


def _write_truth(folders, layout: Layout, brain: Brain, planted, speaks_of):
    """Signals as ``signal.npz``, everything per voxel as ``voxels.parquet``."""
    folders.truth.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folders.truth / "signal.npz",
        nsd_id=brain.nsd_id.astype(np.int32),
        ijk=layout.ijk.astype(np.int16),
        signal=brain.signal.astype(np.float16),
        ncsnr=brain.ncsnr,
    )
    table = pd.DataFrame(layout.ijk.astype(np.int16), columns=["i", "j", "k"])
    table["hemisphere"] = np.array([*HEMISPHERES, "none"])[layout.side]
    table["fsaverage5_vertex"] = layout.vertex
    for volume, labels in layout.labels.items():
        table[f"label_{volume}"] = labels
    table["ncsnr"] = brain.ncsnr
    table["noise_ceiling_3"] = noise_ceiling(brain.ncsnr)
    table[["prf_x", "prf_y", "prf_size"]] = layout.prf.astype(np.float32)
    table["prf_eccentricity"] = np.hypot(table["prf_x"], table["prf_y"])
    for name in ("weight", "fraction", "unique"):
        for family, values in zip(FAMILIES, getattr(brain, name).T, strict=True):
            table[f"{name}_{family}"] = values
    best = np.array(FAMILIES)[brain.fraction.argmax(axis=1)]
    table["family"] = np.where(brain.ncsnr > 0, best, "none")
    table["best_instructions"] = [" ".join(speaks_of.get(family, ())) for family in table["family"]]
    table["saturated"] = np.isin(np.arange(len(table)), [voxel for *_, voxel, _ in planted["saturated"]])
    table["constant"] = np.isin(np.arange(len(table)), list(planted["constant"]))
    table["nan_ncsnr"] = np.isin(np.arange(len(table)), planted["nan_ncsnr"])
    table["zero_in_session"] = 0
    if planted["zero"]:
        session, voxel = planted["zero"]
        table.loc[voxel, "zero_in_session"] = session
    table.to_parquet(folders.truth / "voxels.parquet", index=False)


def _beta_check(layout: Layout, betas):
    """Mean and sd of the first session's betas in V1, percent signal change."""
    v1 = betas[:, np.isin(layout.labels["prf-visualrois"], (1, 2))] / writer.BETA_SCALE
    return {
        "session": 1,
        "volume": "prf-visualrois",
        "labels": ["V1v", "V1d"],
        "mean": round(float(v1.mean()), 4),
        "std": round(float(v1.std()), 4),
    }


def _expected(layout: Layout, ncsnr, trials, first) -> dict:
    visual = layout.labels["prf-visualrois"]
    count = {
        volume: {name: int((layout.labels[volume] == code).sum()) for code, name in enumerate(names, 1)}
        for volume, names in ROI_LABELS.items()
    }
    ceiling = 100 * np.nanmedian(noise_ceiling(ncsnr[layout.nsdgeneral]))
    return {
        "shape": list(layout.shape),
        "n_sessions": len(trials),
        "n_voxels": int(layout.nsdgeneral.sum()),
        "first_trials": trials[0, :3].tolist(),
        "first_voxels": layout.ijk[layout.nsdgeneral][:3].tolist(),
        "roi_voxels": count,
        "area_voxels": {
            area: int(np.isin(visual, codes).sum())
            for area, codes in {"V1": (1, 2), "V2": (3, 4), "V3": (5, 6), "hV4": (7,)}.items()
        },
        "noise_ceiling_median": round(float(ceiling), 1),
        "betas": first,
    }
