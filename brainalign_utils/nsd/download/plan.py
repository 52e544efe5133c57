"""What to download: keys, their sizes and checksums, and whether there is room."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ... import BrainalignError

TERMS = (
    "The Natural Scenes Dataset is free, but only under its terms: read them and fill in the data access\n"
    "agreement at http://naturalscenesdataset.org, and cite Allen et al. (2022), Nature Neuroscience 25, 116."
)
RESERVE = 64 << 20  # bytes left free


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
        MD5 of the content; of a file uploaded in parts, MD5 of the parts' MD5s, then "-" and
        their number.
    part_size : int
        Bytes of the first part; 0 if uploaded in one.
    """

    key: str
    size: int
    etag: str
    part_size: int = 0


@dataclass(frozen=True)
class DownloadPlan:
    """Files to fetch, and those that are there already."""

    root: Path
    todo: tuple[Remote, ...]
    done: tuple[Remote, ...]


def local_path(root: Path, key: str) -> Path:
    """Where a key lies below ``root``.

    Raises
    ------
    DownloadError
        If the name would lead out of ``root``.
    """
    parts = PurePosixPath(key).parts
    path = root.joinpath(*parts)
    plain = bool(parts) and not key.startswith("/") and "\\" not in key and "\0" not in key
    if not plain or ".." in parts or not path.resolve().is_relative_to(root.resolve()):
        raise DownloadError(f"the name {key!r} leads out of {root}; nothing is written there")
    return path


def describe(client, bucket: str, keys: Sequence[str], n_workers: int) -> list[Remote]:
    """Size and checksum of each key.

    Raises
    ------
    DownloadError
        Naming every key that the bucket does not have.
    """
    with ThreadPoolExecutor(n_workers) as pool:
        heads = list(pool.map(lambda key: client.head(bucket, key), keys))
    absent = [key for key, head in zip(keys, heads, strict=True) if head is None]
    if absent:
        listed = "\n  ".join(absent[:20]) + ("\n  ..." if len(absent) > 20 else "")
        raise DownloadError(
            f"bucket {bucket} does not have {len(absent)} of {len(keys)} files:\n  {listed}\n"
            "Ask for fewer sessions (subjects 3 and 6 have 32, 4 and 8 have 30), or correct --bucket"
        )
    return heads


def make_plan(root: Path, remotes: Sequence[Remote], is_done) -> DownloadPlan:
    """Sort files into those to fetch and those that ``is_done(remote)`` finds whole."""
    done = tuple(remote for remote in remotes if is_done(remote))
    todo = tuple(remote for remote in remotes if remote not in done)
    return DownloadPlan(Path(root), todo, done)


def needed_space(plan: DownloadPlan) -> tuple[int, int]:
    """Bytes still to be written, and bytes free where they go."""
    partial = sum(part.stat().st_size for r in plan.todo if (part := part_path(plan.root, r)).is_file())
    folder = next(p for p in (plan.root.absolute(), *plan.root.absolute().parents) if p.is_dir())
    return sum(r.size for r in plan.todo) - partial, shutil.disk_usage(folder).free


def check_space(plan: DownloadPlan) -> None:
    """Raise DownloadError before anything is written if the disk cannot hold the plan."""
    needed, free = needed_space(plan)
    if plan.todo and needed + RESERVE > free:
        raise DownloadError(
            f"{gigabytes(needed)} are needed in {plan.root}, {gigabytes(free)} are free; make room, choose "
            "another --to folder, or fewer --sessions, --subjects or --no-stimuli"
        )


def part_path(root: Path, remote: Remote) -> Path:
    """Unfinished file; its name holds the checksum, so that parts of an older version are not mixed in."""
    path = local_path(root, remote.key)
    return path.with_name(f"{path.name}.{remote.etag[:8]}.part")


def gigabytes(n_bytes: int) -> str:
    """Readable size."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.2f} MB"


def summary(plan: DownloadPlan) -> str:
    """Sizes by kind of file, and the space there is."""
    kinds = {}
    for remote in plan.todo:
        name = PurePosixPath(remote.key)
        kind = "betas" if name.name.startswith("betas_session") else name.parts[0]
        kinds.setdefault(kind, []).append(remote.size)
    rows = [f"  {kind:18}{len(sizes):5} files  {gigabytes(sum(sizes)):>12}" for kind, sizes in kinds.items()]
    needed, free = needed_space(plan)
    return "\n".join([
        f"to download into {plan.root}:",
        *(rows or ["  nothing"]),
        f"  already there     {len(plan.done):5} files  {gigabytes(sum(r.size for r in plan.done)):>12}",
        f"  space: {gigabytes(needed)} needed, {gigabytes(free)} free",
    ])  # fmt: skip
