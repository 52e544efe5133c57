"""Who may write where: locks that end with the process that holds them, however it ends."""

import logging
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from . import BrainalignError

LOG = logging.getLogger(__name__)


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
