"""Make the miniature: NSD's tree, COCO's annotations and the ground truth behind them.

The simulated brains stand on fsaverage5 (10242 vertices a hemisphere) where NSD has fsaverage (163842);
everything else follows NSD's layout.
"""

import json
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import writer
from .areas import BETA_VERSIONS, FAMILIES, REAL_SESSIONS, ROI_LABELS
from .channels import COUNTS, Channels, picture_channels, stack_channels
from .coco import coco_annotations, spoil
from .cortex import HEMISPHERES
from .errors import PhantomError
from .experiment import (
    N_SESSIONS,
    N_STIMULI,
    N_TRIALS,
    Experiment,
    coco_split,
    make_experiment,
    stimulus_table,
    subject_name,
)
from .grid import MAX_VOXELS, MIN_VOXELS, SPACES, Layout, make_layout
from .instructions import Instructions, read_instructions
from .scenes import MAX_SEED, Scene, draw_scene, stimulus_seed
from .subject_files import COLOURED, write_subject

IMAGES_A_JOB = 24
BYTES_AN_IMAGE = 20_000
FIXED_BYTES = 30_000_000
"""For the space check: compressed images, and tables that do not depend on the size."""

README = """Truth of a phantom dataset. Nothing here is a measurement of a brain.

expected.yml               numbers that ../nsd holds, for a check of readers
planted.yml                what is not clean: saturated betas, voxels constant in one session or in all,
                           NaN ncsnr in the file, empty labels, ROI voxels outside nsdgeneral; under coco,
                           ids of annotations that are crowds, masks, without outline, area or picture
stimuli.parquet            what each picture holds, by nsd_id (0-based)
families.yml               content families, their scene channels and the instructions that ask for them
subjAA/voxels.parquet      a row a voxel of the brain mask, C order: position, labels, ncsnr, receptive field
                           (degrees; x to the right, y up), weight_, fraction_ and unique_ of each family
subjAA/signal.npz          nsd_id, ijk, ncsnr, signal (stimulus, voxel; mean 0, sd 1 over the stimuli)

A single trial is mean + gain * (ncsnr * signal + standard normal noise), gain and mean drifting by session.
fraction_ is the covariance of a family's part with the signal; fractions sum to 1 and can be below 0.
unique_ is the share that no other family of the same voxel explains linearly.
Surfaces: NSD's "fsaverage" (163842 vertices) is fsaverage5 (10242 vertices a hemisphere) here; each subject's
own white surface is a shuffled fsaverage5 with some vertices missing. Heads are shrunk so that NSD's 1.8 mm
voxels make a small grid.
"""


@dataclass(frozen=True)
class Plan:
    """What is going to be written; the arguments of :func:`make_phantom`, checked."""

    sessions: dict[int, int]
    n_sessions: int
    voxels: int
    shared: int
    seed: int
    betas: str
    space: str
    instructions: Instructions


def make_phantom(
    root: str | Path,
    subjects: Sequence[int] = (1, 2, 5, 7),
    sessions: int = 3,
    sessions_of: Mapping[int, int] | None = None,
    voxels: int = 1500,
    shared: int = 150,
    seed: int = 0,
    betas: str = "betas_fithrf_GLMdenoise_RR",
    space: str = "func1pt8mm",
    instructions: str | Path | None = None,
    jobs: int | None = None,
) -> Path:
    """Write a simulated Natural Scenes Dataset with known ground truth.

    The tree appears under its name only when it is complete.  The same arguments give the same bytes, in one
    process or in several.

    Parameters
    ----------
    root : path
        Gets ``nsd``, ``coco`` and ``truth``; a new or empty folder, or an older miniature, which is replaced.
    subjects : sequence of int
        NSD subjects to simulate, 1 to 8.
    sessions : int
        Of subjects who completed all 40 sessions; the others have fewer, in proportion.
    sessions_of : mapping of subject to int, optional
        Sessions of single subjects, where they are to have fewer.
    voxels : int
        Of nsdgeneral in an average subject; subjects differ as NSD's do.
    shared : int
        Shared images among those of the sessions.
    seed : int
    betas : {"betas_assumehrf", "betas_fithrf", "betas_fithrf_GLMdenoise_RR"}
    space : {"func1pt8mm", "func1mm"}
    instructions : path, optional
        See :func:`.instructions.read_instructions`.
    jobs : int, optional
        Processes; all cores by default.

    Returns
    -------
    root : Path

    Raises
    ------
    PhantomError
        With the argument that is wrong, or where there is no room on the disk; nothing is written then.
    OSError
        Where the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> root = make_phantom(tempfile.mkdtemp(), subjects=[1], sessions=1, voxels=100, shared=20, jobs=1)
    >>> sorted(path.name for path in root.iterdir())
    ['coco', 'nsd', 'truth']
    """
    root, n_jobs = Path(root).resolve(), len(os.sched_getaffinity(0)) if jobs is None else jobs
    plan = _checked(subjects, sessions, sessions_of or {}, voxels, shared, seed, betas, space, instructions)
    if n_jobs < 1:
        raise PhantomError(f"jobs is {jobs}; give at least 1")
    _check_root(root)
    experiment = make_experiment(plan.n_sessions, plan.shared, plan.seed)
    layouts = {s: make_layout(s, plan.voxels, plan.seed, plan.space) for s in plan.sessions}
    nsd_ids = np.unique(np.concatenate([experiment.trials(s, n) for s, n in plan.sessions.items()]))
    _check_space(root, expected_bytes(layouts, plan.sessions, len(nsd_ids)))
    with _whole_or_nothing(root) as partial, threadpool_limits(1), _workers(n_jobs) as run:
        channels, spoilt = _write_stimuli(partial, nsd_ids, experiment, plan.seed, run)
        tasks = [
            (partial, layouts[s], channels.take(np.unique(experiment.trials(s, n))), experiment, n, plan.seed,
             plan.betas, plan.instructions.speaks_of)
            for s, n in plan.sessions.items()
        ]  # fmt: skip
        reports = list(_track(run(_subject_job, tasks), len(tasks), "subjects"))
        _write_shared_tables(
            partial, plan, layouts, experiment, dict(zip(plan.sessions, reports, strict=True)), spoilt
        )
    return root


def _checked(subjects, sessions, sessions_of, voxels, shared, seed, betas, space, instructions) -> Plan:
    unknown = [s for s in (*subjects, *sessions_of) if s not in REAL_SESSIONS]
    if unknown or not subjects:
        raise PhantomError(
            f"subject {unknown[0]} does not exist; choose from 1 to 8"
            if unknown
            else "name at least one subject"
        )
    if others := set(sessions_of) - set(subjects):
        raise PhantomError(f"sessions are given for subject {min(others)}, which is not among the subjects")
    for n, most in ((sessions, N_SESSIONS), *((n, sessions) for n in sessions_of.values())):
        if not 1 <= n <= most:
            raise PhantomError(f"{n} sessions are not possible; choose from 1 to {most}")
    for name, value, low, high in (("voxels", voxels, MIN_VOXELS, MAX_VOXELS), ("seed", seed, 0, MAX_SEED)):
        if not low <= value <= high:
            raise PhantomError(f"{name} is {value}; choose from {low} to {high}")
    for name, value, known in (("betas", betas, BETA_VERSIONS), ("space", space, SPACES)):
        if value not in known:
            raise PhantomError(f"{name} is {value!r}; choose from {', '.join(known)}")
    each = {s: max(1, sessions * REAL_SESSIONS[s] // N_SESSIONS) for s in sorted(set(subjects))} | sessions_of
    return Plan(each, sessions, voxels, shared, seed, betas, space, read_instructions(instructions))


def _check_root(root: Path) -> None:
    """Refuse what would be overwritten: only an older miniature is replaced."""
    if not root.exists():
        return
    if not root.is_dir():
        raise PhantomError(f"{root} is a file; name a new or empty folder")
    found = sorted(path.name for path in root.iterdir())
    ours = (root / "truth/README.txt").is_file() and set(found) <= {"nsd", "coco", "truth"}
    if found and not ours:
        raise PhantomError(
            f"{root} holds {', '.join(found[:3])}, not a miniature; name a new or empty folder"
        )


def expected_bytes(layouts: Mapping[int, Layout], sessions: Mapping[int, int], n_images: int) -> int:
    """About how much room the tree takes."""
    betas = sum(
        sessions[s] * N_TRIALS * (2 * len(layout.ijk) * 1.9 + np.prod(layout.shape) * 0.02)
        for s, layout in layouts.items()
    )
    signals = sum(250 * sessions[s] * len(layout.ijk) * 2 for s, layout in layouts.items())
    return int(FIXED_BYTES + BYTES_AN_IMAGE * n_images + betas + signals)


def _check_space(root, needed):
    folder = next(parent for parent in root.parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PhantomError(
            f"the miniature needs about {needed / 1e6:.0f} MB but {folder} has {free / 1e6:.0f} MB free; "
            "free some space, choose another folder, or fewer sessions or voxels"
        )


@contextmanager
def _whole_or_nothing(root):
    """A folder beside ``root`` that takes its place at the end; removed if anything fails."""
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if root.exists():
        shutil.rmtree(root)
    partial.rename(root)


@contextmanager
def _workers(n_jobs):
    """A lazy ``map`` over argument tuples, in this process or in several."""
    if n_jobs == 1:
        yield lambda job, arguments: map(job, arguments)
        return
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), _end_with_parent) as pool:
        yield pool.map


def _end_with_parent():
    """Workers of a killed process would wait for ever, and finish writing files that another run makes."""

    def wait():
        connection.wait([parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _track(results, n, what):
    return tqdm(results, total=n, desc=what, disable=None)  # no bar where nobody watches


def _picture_job(arguments):
    nsd_ids, seed = arguments
    drawings = [draw_scene(stimulus_seed(int(i), seed), with_maps=True) for i in nsd_ids]
    with threadpool_limits(1):
        return [(writer.compress_image(d.image), picture_channels(d), d.scene) for d in drawings]


def _subject_job(arguments):
    with threadpool_limits(1):
        return write_subject(*arguments)


def _write_stimuli(root, nsd_ids, experiment: Experiment, seed, run) -> tuple[Channels, dict]:
    blocks = np.array_split(nsd_ids, max(1, len(nsd_ids) // IMAGES_A_JOB))
    rows, scenes = [], []
    with writer.ImageBrick(root / "nsd/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", N_STIMULI) as brick:
        results = run(_picture_job, [(block, seed) for block in blocks])
        pictures = _track(results, len(blocks), "images")
        for block, drawn in zip(blocks, pictures, strict=True):
            for nsd_id, (chunk, channels, scene) in zip(block, drawn, strict=True):
                brick.put(nsd_id, chunk)
                rows.append(channels)
                scenes.append(scene)
    coco_ids = 1 + np.random.default_rng([seed, 61]).permutation(581_929)[:N_STIMULI]
    experiments = root / "nsd/nsddata/experiments/nsd"
    table = stimulus_table(experiment, coco_ids, seed)
    writer.write_table(experiments / "nsd_stim_info_merged.csv", table, index_label="")
    spoilt = _write_coco(root / "coco/annotations", nsd_ids, coco_ids, scenes)
    channels = stack_channels(nsd_ids, rows)
    _write_stimulus_truth(root / "truth", channels, coco_ids, scenes)
    return channels, spoilt


def _write_coco(folder, nsd_ids, coco_ids, scenes: Sequence[Scene]) -> dict[str, dict]:
    """Annotations of both splits; returns what is not clean in them."""
    spoilt = {}
    for split in ("train2017", "val2017"):
        chosen = np.flatnonzero(coco_split(nsd_ids) == split)
        pictures = [scenes[i] for i in chosen]
        instances, captions = coco_annotations(pictures, coco_ids[nsd_ids[chosen]].tolist())
        spoilt[split] = spoil(instances)
        for name, content in (("instances", instances), ("captions", captions)):
            text = json.dumps(content, separators=(",", ":"))
            writer.write_bytes(folder / f"{name}_{split}.json", text.encode())
    return spoilt


def _write_stimulus_truth(folder, channels: Channels, coco_ids, scenes: Sequence[Scene]):
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"nsd_id": channels.nsd_id, "coco_id": coco_ids[channels.nsd_id]})
    table["place"] = [scene.place for scene in scenes]
    table["dominant_colour"] = [scene.dominant_colour for scene in scenes]
    table["text"] = [scene.text for scene in scenes]
    for family in FAMILIES:
        for name, values in zip(COUNTS[family], channels.counts[family].T, strict=True):
            table[f"{family}: {name}"] = values
    table.to_parquet(folder / "stimuli.parquet", index=False)


def _write_shared_tables(root, plan: Plan, layouts, experiment: Experiment, reports, spoilt):
    variables = {
        "basiccnt": experiment.basiccnt(),
        "masterordering": experiment.masterordering[None],
        "sharedix": experiment.sharedix[None],
        "stimpattern": experiment.stimpattern,
        "subjectim": experiment.subjectim,
    }
    writer.write_mat(root / "nsd/nsddata/experiments/nsd/nsd_expdesign.mat", variables)
    labels = root / "nsd/nsddata/freesurfer/fsaverage/label"
    any_layout = next(iter(layouts.values()))
    for volume in ("nsdgeneral", "streams", "Kastner2015"):
        writer.write_ctab(labels / f"{volume}.mgz.ctab", ROI_LABELS[volume], volume in COLOURED)
        for side in HEMISPHERES:
            writer.write_surface(labels / f"{side}.{volume}.mgz", any_layout.surface_labels[side, volume])
    shared = (experiment.sharedix - 1).tolist()
    expected = {
        "name": "phantom (simulated)",
        "betas": plan.betas,
        "space": plan.space,
        "stimuli_shape": [N_STIMULI, *writer.IMAGE_SHAPE],
        "stim_info_rows": N_STIMULI,
        "subjectim_first": experiment.subjectim[0, :3].tolist(),
        "shared_first": shared[:5],
        "shared_last": shared[-3:],
        "first_trial": int(experiment.trials(1, 1)[0]),
        "subjects": {subject: report.expected for subject, report in reports.items()},
    }
    families = {
        family: {
            "scene_channels": list(COUNTS[family]),
            "best_instructions": list(plan.instructions.speaks_of[family]),
        }
        for family in FAMILIES
    }
    planted = {subject_name(subject): report.planted for subject, report in reports.items()} | {
        "coco": spoilt
    }
    for name, content in (("expected", expected), ("families", families), ("planted", planted)):
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110)
        writer.write_bytes(root / f"truth/{name}.yml", text.encode())
    writer.write_bytes(root / "truth/README.txt", README.encode())
