"""Download what a study needs from NSD's public bucket: boto3's managed transfers, verified file by file."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from filelock import FileLock, Timeout
from s3transfer.exceptions import RetriesExceededError
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from .. import BrainalignError
from .files import tree_near, whats_there

BUCKET = "natural-scenes-dataset"
TERMS = (
    "The Natural Scenes Dataset is free, but only under its terms: read them and fill in the data access\n"
    "agreement at http://naturalscenesdataset.org, and cite Allen et al. (2022), Nature Neuroscience 25, 116."
)
RESERVE = 64 << 20  # bytes left free
N_CONNECTIONS = 8
TRANSFERS = TransferConfig(max_concurrency=N_CONNECTIONS)


class DownloadError(BrainalignError):
    """A download that cannot go on; the message says why, and what the next run will do."""


@dataclass(frozen=True)
class Remote:
    """A file in the bucket.

    Parameters
    ----------
    key : str
        Its name there, and below the tree's root.
    size : int
        Bytes.
    etag : str
        MD5 of the content; of a file uploaded in parts, MD5 of the parts' MD5s, then "-" and their number.
    modified : float
        Seconds since 1970; the local file gets this time once it is verified.
    """

    key: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True)
class DownloadPlan:
    """Files to fetch, and those that are there already."""

    root: Path
    todo: tuple[Remote, ...]
    done: tuple[Remote, ...]


def download(
    root: str | Path,
    keys: Sequence[str],
    bucket: str = BUCKET,
    endpoint_url: str | None = None,
    confirm: Callable[[DownloadPlan], bool] = lambda plan: True,
    progress_bar: bool = True,
) -> DownloadPlan:
    """Download files of a bucket below ``root``.

    A file gets its name once its size and checksum were verified, and with it the time of the bucket's file;
    a file with that size and time is taken for whole, any other of that size is verified.  An interrupted
    download goes on with the first file that is not whole.

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
    progress_bar : bool

    Returns
    -------
    plan : DownloadPlan
        What was fetched, and what was there before.

    Raises
    ------
    DownloadError
        A key that the bucket does not have, too little room, a corrupted object, a broken connection, or
        another download into ``root``.
    """
    root = Path(root).absolute()
    with _sentences(root, endpoint_url or "Amazon S3"):
        if near := tree_near(root):
            raise DownloadError(f"{root} is not the folder that holds nsddata: give {near}")
        s3 = _client(endpoint_url)
        head = partial(s3.head_object, Bucket=bucket)
        remotes = _describe(head, keys, bucket)
        looked_at = tqdm(remotes, "files that are there", disable=not progress_bar, leave=False)
        whole = [_is_whole(root / remote.key, remote, head) for remote in looked_at]
        done = tuple(remote for remote, is_whole in zip(remotes, whole, strict=True) if is_whole)
        plan = DownloadPlan(root, tuple(remote for remote in remotes if remote not in done), done)
        check_space(plan)
        if not confirm(plan):
            raise DownloadError("not confirmed; nothing was downloaded")
        if plan.todo:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / ".brainalign_download.lock", timeout=0):
                _fetch_all(s3, bucket, head, plan, progress_bar)
    return plan


def _client(endpoint_url):
    config = Config(
        signature_version=UNSIGNED,
        max_pool_connections=N_CONNECTIONS,
        retries={"max_attempts": 4, "mode": "standard"},
        connect_timeout=20,
        read_timeout=60,
        response_checksum_validation="when_required",  # files are verified whole
    )
    try:
        return boto3.client("s3", endpoint_url=endpoint_url, region_name="us-east-2", config=config)
    except ValueError as error:
        raise DownloadError(f"{error}; --endpoint-url looks like https://host:port") from error


def _describe(head, keys, bucket) -> list[Remote]:
    """Size, checksum and time of each key; those that the bucket does not have are named."""
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        found = list(pool.map(partial(_head_or_none, head), keys))
    if absent := [key for key, remote in zip(keys, found, strict=True) if remote is None]:
        listed = "\n  ".join(absent[:20]) + ("\n  ..." if len(absent) > 20 else "")
        raise DownloadError(
            f"bucket {bucket} does not have {len(absent)} of {len(keys)} files:\n  {listed}\n"
            "Leave n_sessions and --sessions out to take the sessions that there are, or correct --bucket"
        )
    return found


def _head_or_none(head, key):
    try:
        found = head(Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
            return None
        raise
    return Remote(key, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"].timestamp())


def _is_whole(path: Path, remote: Remote, head) -> bool:
    """Whether a file is there with the right content; a verified file gets the time of the bucket's."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    if path.stat().st_mtime == remote.modified:
        return True
    n_parts = remote.etag.partition("-")[2]
    part_size = head(Key=remote.key, PartNumber=1)["ContentLength"] if n_parts else None
    if etag_of(path, part_size) != remote.etag:
        return False
    with suppress(PermissionError):  # somebody else's file: it is verified again each time
        os.utime(path, (remote.modified, remote.modified))
    return True


def etag_of(path: Path, part_size: int | None = None) -> str:
    """The ETag that S3 gives to a file's content; ``part_size`` in bytes, if it was uploaded in parts."""
    with path.open("rb") as file:
        if not part_size:
            return hashlib.file_digest(file, "md5").hexdigest()
        digests = [
            hashlib.md5(part, usedforsecurity=False).digest()
            for part in iter(partial(file.read, part_size), b"")
        ]
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def _fetch_all(s3, bucket, head, plan, progress_bar):
    corrupted = []
    total = sum(remote.size for remote in plan.todo)
    with tqdm(total=total, unit="B", unit_scale=True, desc="download", disable=not progress_bar) as bar:
        for remote in plan.todo:
            path = plan.root / remote.key
            part = path.with_name(f"{path.name}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    s3.download_fileobj(bucket, remote.key, file, Callback=bar.update, Config=TRANSFERS)
                if _is_whole(part, remote, head):
                    part.replace(path)
                else:
                    corrupted.append(f"{remote.key} ({part.stat().st_size} of {remote.size} bytes)")
            finally:
                part.unlink(missing_ok=True)
    if corrupted:
        raise DownloadError(
            f"corrupted on the way, or in bucket {bucket}, and not kept (size or checksum differ from the "
            f"bucket's): {', '.join(corrupted)}; run the same command again, or ask those who run the bucket"
        )


@contextmanager
def _sentences(root, server):
    """Errors of boto3 and of the system as one sentence with a remedy."""
    again = "whole files are kept: run the same command again, it goes on with the others"
    try:
        yield
    except Timeout:
        raise DownloadError(f"another download into {root} is running; wait for it") from None
    except ClientError as error:
        raise DownloadError(f"{server} refuses: {error}; correct --bucket or --endpoint-url") from error
    except (BotoCoreError, RetriesExceededError, HTTPError, ConnectionError) as error:
        raise DownloadError(
            f"{server} cannot be reached, or the connection broke ({error}); check the network and "
            f"--endpoint-url; {again}"
        ) from error
    except PermissionError as error:
        raise DownloadError(
            f"{error.filename or root} may not be read or written ({error.strerror}); change its permissions "
            "or choose another folder"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DownloadError(
                f"the disk of {root} is full ({error.strerror}); make room; {again}"
            ) from error
        where = Path(error.filename or root)
        sentence = f"{where} cannot be written ({error.strerror}): {whats_there(where / 'nsddata')}"
        raise DownloadError(sentence) from error


def check_space(plan: DownloadPlan) -> None:
    """Raise DownloadError before anything is written if a disk cannot hold what goes there."""
    needed = {}
    for remote in plan.todo:
        path = plan.root / remote.key
        folder = next(parent for parent in path.parents if parent.is_dir())
        needed.setdefault(folder.stat().st_dev, [folder, 0])[1] += remote.size
    for folder, size in needed.values():
        free = shutil.disk_usage(folder).free
        if size + RESERVE > free:
            raise DownloadError(
                f"{gigabytes(size)} are needed in {folder}, {gigabytes(free)} are free; make room, choose "
                "another --to folder, or fewer --sessions, --subjects or --no-stimuli"
            )


def gigabytes(n_bytes: int) -> str:
    """Readable size."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.2f} MB"


def summary(plan: DownloadPlan) -> str:
    """Sizes by kind of file, for the reader who is asked whether to go on."""
    kinds = {}
    for remote in plan.todo:
        name = PurePosixPath(remote.key)
        kind = "betas" if name.name.startswith("betas_session") else name.parts[0]
        kinds.setdefault(kind, []).append(remote.size)
    rows = [f"  {kind:18}{len(sizes):5} files  {gigabytes(sum(sizes)):>12}" for kind, sizes in kinds.items()]
    done = gigabytes(sum(remote.size for remote in plan.done))
    folder = next(p for p in (plan.root, *plan.root.parents) if p.is_dir())
    return "\n".join([
        f"to download into {plan.root}:",
        *(rows or ["  nothing"]),
        f"  already there     {len(plan.done):5} files  {done:>12}",
        f"  free in {folder}: {gigabytes(shutil.disk_usage(folder).free)}",
    ])  # fmt: skip
