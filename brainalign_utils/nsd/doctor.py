"""Check an NSD tree: files that are missing or damaged, sessions, and a handful of known numbers.

Numbers to compare with are data: ``expected.yml`` beside this file for the real dataset, and the file that a
phantom writes beside itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from .. import BrainalignError
from ..tables import BETA_SCALE, ROI_VOLUMES, subject_name
from . import betas as sessions
from . import design, files, layout, reliability, stimuli, volumes
from .coco import ARCHIVE

STATUSES = ("missing", "damaged", "unexpected", "ok")
TOLERANCE = {"noise_ceiling_median": 0.15, "mean": 0.01, "std": 0.01}
"""Allowed differences: numbers that NSD reports rounded (percent; percent signal change)."""


@dataclass(frozen=True)
class Finding:
    """What was found about a file or a number.

    Parameters
    ----------
    status : {"missing", "damaged", "unexpected", "ok"}
    what : str
        Key of the file below the tree's root, or name of the check.
    detail : str
        Both values, found and expected, and the remedy where it is not to download.
    """

    status: str
    what: str
    detail: str = ""


def load_expected(root: str | Path, path: str | Path | None = None) -> dict:
    """Numbers to compare with: of ``path``, else of the phantom around ``root``, else of the real dataset.

    Raises
    ------
    BrainalignError
        If ``path`` does not exist or is not a YAML mapping.
    """
    beside = Path(root).parent / "truth" / "expected.yml"
    source = Path(path) if path else beside if beside.is_file() else Path(__file__).with_name("expected.yml")
    if not source.is_file():
        raise BrainalignError(f"{source} does not exist; --expected takes a YAML file of expected numbers")
    try:
        expected = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise BrainalignError(f"{source} is not valid YAML: {error}") from error
    if not isinstance(expected, dict):
        raise BrainalignError(
            f"{source} holds a {type(expected).__name__}; expected a mapping of checks to numbers"
        )
    return expected


def sessions_to_get(subjects: Sequence[int], n_sessions: int | None = None) -> dict[int, int]:
    """Sessions of each subject of the real dataset that a study uses.

    Raises
    ------
    BrainalignError
        If a subject has fewer than ``n_sessions``.

    Examples
    --------
    >>> sessions_to_get([1, 8])
    {1: 40, 8: 30}
    """
    real = load_expected("", Path(__file__).with_name("expected.yml"))["subjects"]
    existing = {subject: real[subject]["n_sessions"] for subject in subjects}
    for subject, n_existing in existing.items():
        if n_existing < (n_sessions or 1):
            raise BrainalignError(
                f"{subject_name(subject)} has {n_existing} sessions, but {n_sessions} are asked for; leave "
                "n_sessions and --sessions out to take all that each subject has"
            )
    return dict.fromkeys(subjects, n_sessions) if n_sessions else existing


def examine(
    root: str | Path,
    subjects: Sequence[int],
    n_sessions: int | None = None,
    betas: str = layout.BETAS,
    space: str = layout.SPACE,
    expected: dict | None = None,
    coco: str | Path | None = None,
) -> list[Finding]:
    """Check what a study needs of a tree.

    Parameters
    ----------
    root : path
        NSD's tree, the folder that holds ``nsddata``.
    subjects : sequence of int
    n_sessions : int or None
        First sessions that the study uses; None is all that exist.
    betas, space : str
        One of :data:`tables.BETA_VERSIONS`, one of :data:`tables.SPACES`.
    expected : dict or None
        Of :func:`load_expected`, which is asked if None.
    coco : path or None
        COCO's folder, checked too if given.

    Returns
    -------
    findings : list of Finding

    Raises
    ------
    MissingFileError
        If ``root`` lies inside an NSD tree, or around one.

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> findings = examine(root, subjects=[1, 4])
    >>> print(report(findings))
    ok          subj01: sessions
                3 of 3 that exist: 1 to 3
    ok          subj04: sessions
                2 of 2 that exist: 1 to 2
    0 missing, 0 damaged, 0 unexpected, ... ok
    """
    root = Path(root).absolute()
    if near := files.tree_near(root):
        raise layout.MissingFileError(f"{root} is not the folder that holds nsddata: give {near}")
    if not (root / "nsddata").is_dir():
        return [Finding("missing", "nsddata", files.whats_there(root / "nsddata"))]
    expected = load_expected(root) if expected is None else expected
    findings = [
        _check(root, layout.EXPDESIGN, files.read_design, root),
        _check(root, layout.STIM_INFO, stimuli.read_stim_info, root),
        _check(root, layout.STIMULI, lambda: stimuli.StimulusBrick(root).close()),
    ]
    arrays = files.read_design(root) if findings[0].status == "ok" else None
    if arrays is not None and "subjectim_first" in expected:
        first = arrays["subjectim"][0, :3].astype(int).tolist()
        findings.append(_compare("subjectim_first", first, expected["subjectim_first"]))
    described = expected.get("betas", layout.BETAS), expected.get("space", layout.SPACE)
    for subject in subjects:
        numbers = expected.get("subjects", {}).get(subject, {})
        findings += _small_files(root, subject, betas, space)
        findings += _sessions(root, subject, betas, space, n_sessions, numbers.get("n_sessions"))
        if described == (betas, space):
            findings += _numbers(root, subject, betas, space, numbers, arrays)
    if coco is not None:
        findings += _coco_files(Path(coco).absolute())
    return list(dict.fromkeys(findings))  # of a folder that is missing, every file in it told


def _check(root, key, read, *arguments) -> Finding:
    """Whether a file is there and ``read(*arguments)`` can read it; a missing folder is told as such."""
    if not (root / key).is_file():
        return Finding(
            "missing", str(files.first_missing(root / key).relative_to(root)), files.whats_there(root / key)
        )
    try:
        read(*arguments)
    except (layout.NsdError, design.DesignError) as error:
        return Finding("damaged", key, str(error).replace(f"{root}/", ""))
    return Finding("ok", key)


def _small_files(root, subject, betas, space) -> Iterator[Finding]:
    """Findings about every file of a subject that a study reads, but for the betas."""
    for volume in ROI_VOLUMES:
        tables = layout.ctab_keys(subject, volume)
        table = next((key for key in tables if (root / key).is_file()), tables[0])
        yield _check(root, table, (root / table).read_bytes)
        if (root / table).is_file():
            key = layout.roi_key(subject, volume, space)
            yield _check(root, key, volumes.read_roi_labels, root, subject, volume, space)
    transforms = [
        layout.transform_key(subject, h, t) for h in layout.HEMISPHERES for t in layout.TRANSFORMS[space]
    ]
    for key in (*transforms, layout.ncsnr_key(subject, betas, space)):
        yield _check(root, key, files.read_volume, root / key)


def _sessions(root, subject, betas, space, n_sessions, n_existing) -> Iterator[Finding]:
    """Sessions found, of those that exist and of those that the study uses; whether each file is whole."""
    what = f"{subject_name(subject)}: sessions"
    found = sessions.sessions_in(root / layout.betas_folder(subject, betas, space))
    n_existing = n_existing or max(found, default=0)
    n_used = n_sessions or n_existing
    if n_used > n_existing > 0:
        remedy = "leave n_sessions and --sessions out to use all that a subject has"
        yield Finding("unexpected", what, f"{n_existing} exist, but {n_used} are asked for; {remedy}")
    detail = f"{len(found)} of {n_existing or 'those'} that exist: {sessions.spans(found)}"
    detail += f"; the study uses {sessions.spans(range(1, n_used + 1))}" if n_used < n_existing else ""
    if missing := set(range(1, (min(n_used, n_existing) or 1) + 1)) - found.keys():
        others = sessions.others_sentence(root, subject, betas, space)
        detail += f"; missing: {sessions.spans(missing)}" + (f"; {others}" if others else "")
    yield Finding("missing" if missing else "ok", what, detail)
    with suppress(layout.NsdError):  # of the mask: it was reported
        grid = volumes.read_mask(root, subject, space)[1]
        for path in (path for session in found if session <= n_used for path in found[session].values()):
            yield _check(root, str(path.relative_to(root)), files.check_session, path, grid)


def _numbers(root, subject, betas, space, expected, arrays) -> Iterator[Finding]:
    """Known numbers of a subject; files that cannot be read were reported before."""
    found = {}
    with suppress(layout.NsdError, design.DesignError, IndexError):
        ijk, grid = volumes.read_mask(root, subject, space)
        found = {"shape": list(grid), "n_voxels": len(ijk), "first_voxels": ijk[:3].tolist()}
        if arrays is not None:
            ids = design.trial_nsd_ids(arrays["subjectim"], arrays["masterordering"], subject, 1)
            found["first_trials"] = ids[:3].tolist()
        ncsnr = volumes.read_ncsnr(root / layout.ncsnr_key(subject, betas, space), ijk, grid)
        ceiling = reliability.noise_ceiling(ncsnr, 3)
        found["noise_ceiling_median"] = round(100 * float(np.nanmedian(ceiling)), 2)
    for volume, counts in expected.get("roi_voxels", {}).items():
        with suppress(layout.NsdError):
            labels, names = volumes.read_roi_labels(root, subject, volume, space)
            present = {name: int((labels == label).sum()) for label, name in names.items() if name in counts}
            yield _compare(f"{subject_name(subject)}: voxels of {volume}", present, counts)
    if check := expected.get("betas"):
        with suppress(layout.NsdError):
            labels, names = volumes.read_roi_labels(root, subject, check["volume"], space)
            ijk = np.argwhere(np.isin(labels, [k for k, name in names.items() if name in check["labels"]]))
            path = sessions.session_files(root, subject, check["session"], betas, space)[-1]
            values = sessions.read_session(path, ijk, labels.shape) / BETA_SCALE
            for key, value in (("mean", values.mean()), ("std", values.std())):
                what = f"{subject_name(subject)}: betas of session {check['session']}: {key}"
                yield _compare(what, round(float(value), 4), check[key])
    for key in (key for key in found if key in expected):
        yield _compare(f"{subject_name(subject)}: {key}", found[key], expected[key])


def _compare(what, found, expected) -> Finding:
    tolerance = TOLERANCE.get(what.rpartition(": ")[2], 0)
    if abs(found - expected) <= tolerance if tolerance else found == expected:
        return Finding("ok", what)
    return Finding(
        "unexpected", what, f"found {found}, expected {expected}; is the tree what you think it is?"
    )


def _coco_files(root: Path) -> Iterator[Finding]:
    """Findings about COCO's annotations: there, and with the end of a JSON file."""
    for kind in ("captions", "instances"):
        for split in ("train", "val"):
            path = root / "annotations" / f"{kind}_{split}2017.json"
            if not path.is_file():
                remedy = f"download {ARCHIVE} and unpack it below {root}"
                yield Finding("missing", str(path), f"{files.whats_there(path)}; {remedy}")
                continue
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 64))
                whole = file.read().rstrip().endswith(b"}")
            remedy = f"it ends early; unpack it again from {ARCHIVE}"
            yield Finding("ok", str(path)) if whole else Finding("damaged", str(path), remedy)


def report(findings: list[Finding], verbose: bool = False) -> str:
    """Findings for readers: problems first, sessions always, of what else is fine only the number.

    Parameters
    ----------
    findings : list of Finding
    verbose : bool
        List what is fine too.
    """
    lines = []
    for finding in sorted(findings, key=lambda found: STATUSES.index(found.status)):
        if verbose or finding.status != "ok" or finding.detail:
            lines.append(f"{finding.status:<11} {finding.what}")
            lines += [f"{'':11} {finding.detail}"] * bool(finding.detail)
    counts = [f"{sum(f.status == status for f in findings)} {status}" for status in STATUSES]
    return "\n".join([*lines, ", ".join(counts)])
