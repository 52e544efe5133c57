"""Check an NSD tree: what is missing, truncated or not what it should be, and what to download.

Numbers to compare with are data: ``data/nsd_expected.yml`` for the real dataset, and the file
that a phantom writes beside itself.
"""

from importlib import resources
from pathlib import Path

import yaml

from ... import BrainalignError
from ...tables import subject_name
from .files import coco_files, subject_files
from .findings import Finding, report
from .numbers import experiment, subject_numbers

__all__ = ["Finding", "examine", "load_expected", "report"]


def load_expected(root: str | Path, path: str | Path | None = None) -> dict:
    """Numbers to compare with: of ``path``, else of the phantom around ``root``, else of the real dataset.

    Raises
    ------
    FileNotFoundError, ValueError
        If ``path`` is not a YAML mapping.
    """
    beside = Path(root).parent / "truth" / "expected.yml"
    source = Path(path) if path else beside if beside.is_file() else None
    if source is None:
        source = resources.files("brainalign_utils") / "data" / "nsd_expected.yml"
    elif not source.is_file():
        raise FileNotFoundError(f"{source} does not exist; --expected takes a YAML file of expected numbers")
    try:
        expected = yaml.safe_load(source.read_text())
    except yaml.YAMLError as error:
        raise BrainalignError(f"{source} is not valid YAML: {error}") from error
    if not isinstance(expected, dict):
        raise BrainalignError(
            f"{source} holds a {type(expected).__name__}; expected a mapping of checks to numbers"
        )
    return expected


def examine(
    root: str | Path,
    expected: dict,
    subjects=None,
    n_sessions: int | None = None,
    coco: str | Path | None = None,
    deep: bool = False,
) -> list[Finding]:
    """Check a tree.

    Parameters
    ----------
    root : path
        NSD's tree, the folder that holds ``nsddata``.
    expected : dict
        Of :func:`load_expected`; every key is optional.
    subjects : sequence of int or None
        Subjects that must be there; None takes those that are.
    n_sessions : int or None
        Sessions that must be there; None takes those that are, without gaps.
    coco : path or None
        COCO's folder, checked too if given.
    deep : bool
        Decompress every beta file to its end (minutes per subject for the real dataset).

    Returns
    -------
    findings : list of Finding
    """
    root = Path(root)
    if not root.is_dir():
        return [Finding("missing", str(root), "the folder does not exist", "correct --nsd")]
    findings = list(experiment(root, expected))
    known = expected.get("subjects", {})
    present = [s for s in range(1, 9) if (root / "nsddata/ppdata" / subject_name(s)).is_dir()]
    if not present and subjects is None:
        remedy = "brainalign download --subjects 1"
        findings.append(Finding("missing", "nsddata/ppdata/subjAA", "no subject at all", remedy))
    for subject in subjects or present:
        numbers = known.get(subject, {})
        findings += subject_files(root, subject, numbers, n_sessions, deep)
        findings += subject_numbers(root, subject, numbers)
    if coco is not None:
        findings += coco_files(Path(coco))
    return findings
