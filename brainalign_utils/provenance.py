"""Where a result came from: revision, environment, machine, time and memory."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "himalaya", "numpy", "xarray", "zarr", "nilearn", "pycortex")


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
