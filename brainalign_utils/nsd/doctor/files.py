"""Are the files there, and whole?"""

import re
from collections.abc import Iterator
from pathlib import Path

from ... import nsd
from ...tables import subject_name
from .. import integrity, layout
from ..coco import ARCHIVE
from .findings import Finding


def check_file(root: Path, key: str, read, *arguments, remedy: str) -> Finding:
    """Whether a file is there and ``read(*arguments)`` can read it."""
    try:
        read(*arguments)
    except nsd.MissingFileError:
        return Finding("missing", key, "", remedy)
    except nsd.NsdError as error:
        return Finding("damaged", key, str(error).replace(f"{root}/", ""), remedy)
    return Finding("ok", key)


def subject_files(root: Path, subject: int, numbers: dict, n_sessions: int | None, deep: bool):
    """Findings about every file of a subject that a study reads."""
    remedy = f"brainalign download --subjects {subject}"
    whole = set()
    for key in layout.study_keys([subject], 0, stimuli=False):
        if key in (layout.EXPDESIGN, layout.STIM_INFO):
            continue
        if key.endswith(".ctab"):
            volume = Path(key).name.removesuffix(".mgz.ctab")
            readable = layout.roi_key(subject, volume) in whole
            yield _check_table(root, key, subject, volume, readable, remedy)
            continue
        finding = check_file(root, key, integrity.check_volume, root / key, deep, remedy=remedy)
        whole |= {key} if finding.status == "ok" else set()
        yield finding
    yield from _sessions(root, subject, numbers, n_sessions, deep)
    yield from _leftovers(root / layout.betas_folder(subject), root)


def _check_table(root, key, subject, volume, volume_is_readable, remedy) -> Finding:
    """A colour table may lie with the subject or with fsaverage, and must name the volume's labels."""
    if not any((root / place).is_file() for place in layout.ctab_keys(subject, volume)):
        return Finding("missing", key, "", remedy)
    if not volume_is_readable:
        return Finding("ok", key)
    return check_file(root, key, nsd.read_roi_labels, root, subject, volume, remedy=remedy)


def _sessions(root, subject, numbers, n_sessions, deep) -> Iterator[Finding]:
    found = {}
    for path in sorted((root / layout.betas_folder(subject)).glob("betas_session*")):
        if match := re.fullmatch(r"betas_session(\d\d)\.(hdf5|nii\.gz)", path.name):
            found.setdefault(int(match[1]), []).append(path)
    possible = numbers.get("n_sessions", 40)
    last = n_sessions or max(found, default=1)
    remedy = f"brainalign download --subjects {subject} --sessions {last}"
    for session in set(range(1, last + 1)) - found.keys():
        yield Finding("missing", layout.session_key(subject, session, "hdf5"), "nor as .nii.gz", remedy)
    for session, paths in found.items():
        for path in paths:
            key = str(path.relative_to(root))
            if session > possible:
                detail = f"{subject_name(subject)} has {possible} sessions"
                yield Finding("unexpected", key, detail, "delete it, or correct --expected")
            shape = numbers.get("shape")
            again = f"delete it, then {remedy}"
            yield check_file(root, key, integrity.check_session, path, shape, deep, remedy=again)


def _leftovers(folder, root) -> Iterator[Finding]:
    for path in sorted(folder.glob("*.part")):
        key = str(path.relative_to(root))
        yield Finding(
            "unexpected", key, "left by an interrupted download", "run the download again: it resumes"
        )


def coco_files(root: Path) -> Iterator[Finding]:
    """Findings about COCO's annotations: there, and with the end of a JSON file."""
    for kind in ("captions", "instances"):
        for split in ("train", "val"):
            path = root / "annotations" / f"{kind}_{split}2017.json"
            if not path.is_file():
                yield Finding("missing", str(path), "", f"download {ARCHIVE} and unpack it below {root}")
                continue
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 64))
                whole = file.read().rstrip().endswith(b"}")
            status, detail = ("ok", "") if whole else ("damaged", "it ends early")
            yield Finding(status, str(path), detail, "" if whole else f"unpack it again from {ARCHIVE}")
