"""Artifacts of a study: where they are, where they came from, and who may write them."""

import hashlib
import logging
import os
import platform
import resource
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

from . import BrainalignError
from .tables import subject_name

LOG = logging.getLogger(__name__)
PACKAGES = ("torch", "transformers", "himalaya", "numpy", "xarray", "zarr", "nilearn", "pycortex")
"""Whose versions are recorded."""


class Paths:
    """Where a study keeps its files; the one place that knows."""

    def __init__(self, settings):
        self._settings = settings
        self.root = settings.build_root / settings.name

    @property
    def nsd(self) -> Path:
        """Root of the NSD tree, real or phantom."""
        return self._settings.nsd_root or self.root / "dataset" / "nsd"

    @property
    def fsaverage(self) -> Path | None:
        """NSD's average FreeSurfer subject, where its surfaces are on disk; the phantom has fsaverage5."""
        folder = self.nsd / "nsddata" / "freesurfer" / "fsaverage"
        is_there = self._settings.data == "nsd" and (folder / "surf" / "lh.white").is_file()
        return folder if is_there else None

    @property
    def coco(self) -> Path:
        return self._settings.coco_root or self.root / "dataset" / "coco"

    @property
    def truth(self) -> Path:
        """What the phantom knows about itself; not part of NSD's layout."""
        return self.root / "dataset" / "truth"

    def responses(self, subject: int) -> Path:
        return self.root / "responses" / f"{subject_name(subject)}.zarr"

    def voxels(self, subject: int) -> Path:
        """Regions, ceilings and places of voxels, without responses."""
        return self.root / "voxels" / f"{subject_name(subject)}.zarr"

    def features(self, model: str) -> Path:
        return self.root / "features" / model

    def answers(self, model: str) -> Path:
        return self.root / "answers" / f"{model}.parquet"

    def scores(self, subject: int, model: str) -> Path:
        return self.root / "scores" / subject_name(subject) / f"{model}.zarr"

    def predictions(self, subject: int, model: str) -> Path:
        return self.root / "predictions" / subject_name(subject) / f"{model}.zarr"

    def partition(self, subject: int, model: str) -> Path:
        return self.root / "partition" / subject_name(subject) / f"{model}.zarr"

    def nulls(self, subject: int, model: str) -> Path:
        """Scores of regressions on shuffled rows."""
        return self.root / "nulls" / subject_name(subject) / f"{model}.zarr"

    def samples(self, subject: int, model: str) -> Path:
        """Region means over resampled test images."""
        return self.root / "samples" / subject_name(subject) / f"{model}.zarr"

    def variants(self, subject: int, model: str) -> Path:
        """Scores of one instruction under other poolings, with and without session z-score."""
        return self.root / "choices" / subject_name(subject) / f"{model}.zarr"

    def cross_subject(self, subject: int) -> Path:
        """Cross-subject prediction accuracy, the second ceiling."""
        return self.root / "ceilings" / f"{subject_name(subject)}.zarr"

    def figure(self, name: str, suffix: str) -> Path:
        return self.root / "figures" / f"{name}.{suffix}"

    def table(self, name: str) -> Path:
        return self.root / "tables" / f"{name}.csv"

    def executed(self, notebook: str, *wildcards) -> Path:
        """Executed copy of a notebook, one per combination of its parameters."""
        stem = "_".join(map(str, wildcards)) or notebook
        return self.root / "notebooks" / notebook / f"{stem}.ipynb"


def git_revision(root: Path) -> str:
    """Commit of the checkout, with ``+changes`` when tracked files differ from it; "unknown" outside git."""
    try:
        commit = _git(root, "rev-parse", "--short=10", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root, *arguments):
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def file_hash(path: Path, n_digits: int = 12) -> str:
    """First digits of the sha256 of a file; "missing" when there is none."""
    if not path.is_file():
        return "missing"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:n_digits]


def processor() -> str:
    """Name of the processor's model, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def hardware() -> str:
    """Processor, cores and memory in words.  No host name: books are public."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{processor()}, {cores} cores, {memory:.0f} GiB, {system}"


def peak_memory(children: bool = False) -> int:
    """Largest resident size so far in bytes, of this process or of its largest ended child."""
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


def package_versions(packages=PACKAGES) -> dict[str, str]:
    """Installed versions; packages that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def record(root: Path) -> dict:
    """Facts to store beside an artifact or a page (JSON-able)."""
    return {
        "git_revision": git_revision(root),
        "lock_hash": file_hash(root / "requirements.lock"),
        "python": platform.python_version(),
        "versions": package_versions(),
        "hardware": hardware(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class RunningError(BrainalignError):
    """Another run of the same study is at work."""


def hold_study(folder: Path) -> FileLock:
    """Take a study's folder for this process, or refuse at once.

    Parameters
    ----------
    folder : Path
        ``settings.paths.root``.

    Returns
    -------
    lock : FileLock
        Keep it: the folder is free again when it is released or the process is gone.

    Raises
    ------
    RunningError
        When another process works in the folder; nothing was changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunningError(
            f"another run is at work in {folder}; wait for it to end, or give this study another name: "
            "in its settings file (the lock goes with that run's process; there is nothing to delete)"
        ) from None
    return lock


@contextmanager
def alone(target: Path):
    """Be the only process that makes a file; wait, and say so, while another one does.

    A job outlives a workflow that was killed.  The job that replaces it waits here, so that the two never
    write the same artifacts.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOG.warning("waiting for another job, of an earlier run, that makes %s", target)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
