"""Fixtures shared by all tests."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from filelock import FileLock

PHANTOM = Path(__file__).parents[1] / "packages/nsd-phantom/src/nsd_phantom"


def pytest_addoption(parser):
    parser.addoption(
        "--settings", default="workflow/config/phantom.yml", help="study whose book tests/browser look at"
    )
    parser.addoption("--screenshots", type=Path, help="folder for pictures of every page (tests/browser)")
    parser.addoption("--record", help="JSON file for what tests/robust and tests/slurm measure")


@pytest.fixture(scope="session")
def phantom_tree(request) -> Path:
    """A small phantom dataset with ``nsd``, ``coco`` and ``truth``.  Read only: copy it to damage it.

    Subject 1 has two sessions (500 pictures three times: 370 shared, 130 own), subject 7 only the
    first of them.  It is kept between test runs until the phantom's source changes.
    """
    sources = [*sorted(PHANTOM.glob("*.py")), *sorted(PHANTOM.glob("*.yml")), Path(__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(request.config.cache.mkdir("phantom"))
    root = folder / digest
    with FileLock(folder / "lock"):
        if not root.exists():
            for stale in folder.iterdir():
                if stale.is_dir() and time.time() - stale.stat().st_mtime > 3600:  # another run may read it
                    shutil.rmtree(stale)
            words = f"{root} --subjects 1 7 --sessions 2 7=1 --voxels 200 --shared 370 --seed 3 --jobs 1"
            subprocess.run([sys.executable, "-m", "nsd_phantom", *words.split()], check=True)
    return root
