"""Fixtures shared by all tests."""

import hashlib
import os
import shutil
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from filelock import FileLock

from brainalign_utils.registry import sources_needed

PACKAGE = Path(__file__).parents[1] / "brainalign_utils"
PHANTOM_SESSIONS = {1: 2, 7: 1}
"""Sessions of the subjects in ``phantom_tree``: subject 7 has fewer, hence pictures with 1 or 2 repeats."""


def pytest_addoption(parser):
    parser.addoption(
        "--settings", default="workflow/config/phantom.yml", help="study whose book tests/browser look at"
    )
    parser.addoption("--screenshots", type=Path, help="folder for pictures of every page (tests/browser)")
    parser.addoption("--record", help="JSON file for what tests/robust and tests/slurm measure")


def phantom_settings():
    """Size of ``phantom_tree``; subject 1 has about 226 nsdgeneral voxels, subject 7 about 182."""
    from brainalign_utils.settings import PhantomSettings

    return PhantomSettings(n_sessions=2, n_voxels=200, n_shared=370, seed=3)


@pytest.fixture(scope="session")
def phantom_tree(request) -> Path:
    """A small phantom dataset with ``nsd``, ``coco`` and ``truth``.  Read only: copy it to damage it.

    Subject 1 has two sessions (500 pictures three times: 370 shared, 130 own), subject 7 only the
    first of them.  It is kept between test runs until the phantom's source changes.
    """
    start = PACKAGE / "phantom/dataset.py"
    sources = [start, *sources_needed(start), Path(__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(request.config.cache.mkdir("phantom"))
    root = folder / digest
    with FileLock(folder / "lock"):
        if not root.exists():
            from brainalign_utils.phantom.dataset import make_phantom

            for stale in folder.iterdir():
                if stale.is_dir() and time.time() - stale.stat().st_mtime > 3600:  # another run may read it
                    shutil.rmtree(stale)
            make_phantom(
                root, phantom_settings(), tuple(PHANTOM_SESSIONS), sessions_by_subject=PHANTOM_SESSIONS,
                n_jobs=1, progress_bar=False,
            )  # fmt: skip
    return root
