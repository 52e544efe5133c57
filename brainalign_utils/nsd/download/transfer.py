"""Fetch files in parallel into ``.part`` files, verify them, and give them their names."""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from .client import BROKEN, Client, with_retries
from .plan import DownloadError, DownloadPlan, Remote, check_space, describe, local_path, make_plan, part_path

MANIFEST = "brainalign_manifest.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 1 << 20


def checksum(path: Path, remote: Remote) -> str:
    """What the ETag of a file with this content would be.

    Parameters
    ----------
    path : Path
    remote : Remote
        Says whether, and in which parts, the file was uploaded.

    Returns
    -------
    etag : str
    """
    digests, size = [], remote.part_size or remote.size or 1
    with path.open("rb") as file:
        while True:
            digest, left = hashlib.md5(usedforsecurity=False), size
            while left and (content := file.read(min(left, BLOCK))):
                digest.update(content)
                left -= len(content)
            if left == size and digests:
                break
            digests.append(digest)
            if left:
                break
    if not remote.part_size:
        return digests[0].hexdigest()
    whole = hashlib.md5(b"".join(d.digest() for d in digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"


def read_manifest(root: Path) -> dict:
    """What earlier downloads verified: key to size, etag and time of change."""
    path = root / MANIFEST
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())["files"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{path} is damaged ({error!r}); delete it, files are then verified again"
        ) from error


def _write_manifest(root, bucket, entries):
    content = {"bucket": bucket, "files": dict(sorted(entries.items()))}
    temporary = root / f"{MANIFEST}.tmp"
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(root / MANIFEST)


def _entry(root, remote, verify):
    changed = local_path(root, remote.key).stat().st_mtime_ns
    return {"size": remote.size, "etag": remote.etag, "verified": verify, "mtime_ns": changed}


def is_done(root: Path, remote: Remote, entries: dict, verify: str = "checksum") -> bool:
    """Whether a file is there and whole; one that the manifest does not know is verified and added."""
    path = local_path(root, remote.key)
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    known = [_entry(root, remote, how) for how in ("checksum", verify)]
    if entries.get(remote.key) in known:
        return True
    if verify == "checksum" and checksum(path, remote) != remote.etag:
        return False
    entries[remote.key] = known[1]
    return True


def download(
    root: str | Path,
    keys: Sequence[str],
    bucket: str,
    endpoint_url: str | None = None,
    confirm: Callable[[DownloadPlan], bool] = lambda plan: True,
    n_workers: int = 8,
    verify: str = "checksum",
    progress_bar: bool = True,
) -> DownloadPlan:
    """Download files of a bucket below ``root``.

    Nothing appears under its name before its size and checksum were verified.  What was
    interrupted stays as ``.part`` and is continued by the next call; a second call after a
    complete one transfers nothing.

    Parameters
    ----------
    root : path
    keys : sequence of str
        Of :func:`brainalign_utils.nsd.layout.study_keys`.
    bucket : str
    endpoint_url : str or None
        None is Amazon's.
    confirm : callable
        Gets the plan before anything is written; returning False stops.
    n_workers : int
        Files at a time.
    verify : {"checksum", "size"}
        "size" only for buckets whose ETags are no MD5 sums (some kinds of encryption).
    progress_bar : bool

    Returns
    -------
    plan : DownloadPlan
        What was fetched, and what was there before.

    Raises
    ------
    DownloadError
        A key that the bucket does not have, a name that leads out of ``root``, too little
        room, a corrupted object, a broken connection, or another download into ``root``.
    """
    try:
        client = Client(endpoint_url, n_workers)
        return _download(Path(root), keys, bucket, client, confirm, n_workers, verify, progress_bar)
    except PermissionError as error:
        raise DownloadError(
            f"{error.filename or root} may not be read or written ({error.strerror}); change its permissions "
            "or choose another folder"
        ) from error


def _download(root, keys, bucket, client, confirm, n_workers, verify, progress_bar):
    for key in keys:
        local_path(root, key)
    remotes = describe(client, bucket, keys, n_workers)
    entries = read_manifest(root)
    known = dict(entries)
    plan = make_plan(root, remotes, lambda remote: is_done(root, remote, entries, verify))
    check_space(plan)
    if not confirm(plan):
        raise DownloadError("not confirmed; nothing was downloaded")
    if not plan.todo and entries == known:
        return plan
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / f".{MANIFEST}.lock", timeout=0):
            entries |= read_manifest(root)  # another run may have ended meanwhile
            plan = make_plan(root, remotes, lambda remote: is_done(root, remote, entries, verify))
            _Transfer(client, bucket, plan, entries, verify).run(n_workers, progress_bar)
    except Timeout:
        raise DownloadError(f"another download into {root} is running; wait for it") from None
    return plan


class _Transfer:
    """One run over the files of a plan.

    A file that fails does not keep the others from being fetched; a full disk stops all.
    """

    def __init__(self, client, bucket, plan, entries, verify):
        self._client, self._bucket, self._plan = client, bucket, plan
        self._entries, self._verify = entries, verify
        self._stop = threading.Event()
        self._bar = None

    def run(self, n_workers, progress_bar):
        total = sum(remote.size for remote in self._plan.todo)
        failures = []
        with (
            tqdm(
                total=total, unit="B", unit_scale=True, desc="download", disable=not progress_bar
            ) as self._bar,
            ThreadPoolExecutor(n_workers) as pool,
        ):
            jobs = {pool.submit(self._fetch, remote): remote for remote in self._plan.todo}
            try:
                for job in as_completed(jobs):
                    try:
                        job.result()
                    except DownloadError as error:
                        failures.append(str(error))
                    else:
                        self._record(jobs[job])
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                raise DownloadError(
                    f"the disk of {self._plan.root} is full ({error.strerror}); verified files and .part "
                    "files are kept: make room and run the same command, it resumes"
                ) from error
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        if failures:
            raise DownloadError("\n".join(failures))
        _write_manifest(self._plan.root, self._bucket, self._entries)

    def _record(self, remote):
        root = self._plan.root
        self._entries[remote.key] = _entry(root, remote, self._verify)
        _write_manifest(root, self._bucket, self._entries)

    def _fetch(self, remote):
        """One file; a wrong checksum is fetched afresh once, in case a part was damaged on this disk."""
        path, part = local_path(self._plan.root, remote.key), part_path(self._plan.root, remote)
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            self._bar.update(_size(part))
            try:
                with_retries(lambda: self._append(remote, part), lambda: _size(part))
            except BROKEN as error:
                raise DownloadError(
                    f"the connection broke while fetching {remote.key} ({error}); run the same command "
                    "again, it resumes"
                ) from error
            size = part.stat().st_size
            if self._stop.is_set() and size < remote.size:
                return
            found = checksum(part, remote) if self._verify == "checksum" else remote.etag
            if size == remote.size and found == remote.etag:
                os.replace(part, path)
                return
            part.unlink()
            self._bar.update(-size)
        raise DownloadError(
            f"{remote.key} is corrupted: {size} bytes with checksum {found}, expected {remote.size} bytes "
            f"with {remote.etag}, twice in a row; it was not kept. Try later, or ask those who run the bucket"
        )

    def _append(self, remote, part):
        """Write what is missing at the end of ``part``."""
        start = _size(part)
        with part.open("ab") as file:
            if start >= remote.size:
                return
            for content in self._client.stream(self._bucket, remote, start):
                file.write(content)
                self._bar.update(len(content))
                if self._stop.is_set():
                    return


def _size(path):
    return path.stat().st_size if path.is_file() else 0
