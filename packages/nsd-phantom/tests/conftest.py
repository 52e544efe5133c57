"""A small miniature for all tests, kept between runs until the package changes."""

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

SOURCES = Path(__file__).parents[1] / "src/nsd_phantom"
SIZE = {"subjects": (1, 7), "sessions": 2, "sessions_of": {7: 1}, "voxels": 200, "shared": 370, "seed": 3}
"""Subject 1 has about 226 voxels in nsdgeneral; subject 7 fewer sessions, hence images of 1 or 2 trials."""


@pytest.fixture(scope="session")
def size() -> dict:
    """Arguments with which ``tree`` was made."""
    return SIZE


@pytest.fixture(scope="session")
def tree(request, tmp_path_factory) -> Path:
    """A miniature with ``nsd``, ``coco`` and ``truth``.  Read only."""
    from nsd_phantom import make_phantom

    sources = [*sorted(SOURCES.glob("*.py")), *sorted(SOURCES.glob("*.yml")), Path(__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(request.config.cache.mkdir("nsd-phantom"))
    root = folder / digest
    if not root.exists():
        for old in folder.iterdir():
            if time.time() - old.stat().st_mtime > 3600:  # another run may read it
                shutil.rmtree(old, ignore_errors=True)
        made = make_phantom(tmp_path_factory.mktemp("phantom") / "tree", **SIZE, jobs=1)
        shutil.copytree(made, folder / f"{digest}.{os.getpid()}")
        try:
            (folder / f"{digest}.{os.getpid()}").rename(root)
        except OSError:  # another process was faster
            shutil.rmtree(folder / f"{digest}.{os.getpid()}")
    return root
