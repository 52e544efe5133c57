"""What a check found, and how it is told."""

from dataclasses import dataclass

STATUSES = ("ok", "missing", "damaged", "unexpected")
TOLERANCE = {"noise_ceiling_median": 0.15, "mean": 0.01, "std": 0.01}
"""Allowed differences: numbers that NSD reports rounded (percent; percent signal change)."""


@dataclass(frozen=True)
class Finding:
    """What was found about a file or a number.

    Parameters
    ----------
    status : {"ok", "missing", "damaged", "unexpected"}
    what : str
        Key of the file below the tree's root, or name of the check.
    detail : str
        Both values, found and expected.
    remedy : str
    """

    status: str
    what: str
    detail: str = ""
    remedy: str = ""


def report(findings: list[Finding], name: str = "", verbose: bool = False) -> str:
    """Findings for readers: problems first, what is fine only counted.

    Parameters
    ----------
    findings : list of Finding
    name : str
        What the tree was compared with.
    verbose : bool
        List what is fine too.
    """
    lines = [f"compared with: {name}", ""] if name else []
    shown = [finding for finding in findings if verbose or finding.status != "ok"]
    for finding in sorted(shown, key=lambda f: STATUSES.index(f.status)):
        lines.append(f"{finding.status:<11} {finding.what}")
        lines += [
            f"{'':11} {text}" for text in (finding.detail, finding.remedy and f"-> {finding.remedy}") if text
        ]
    counts = [f"{sum(f.status == status for f in findings)} {status}" for status in STATUSES]
    return "\n".join([*lines, ", ".join(counts)])


def compare(what, found, expected) -> Finding:
    tolerance = TOLERANCE.get(what.rpartition(": ")[2], 0)
    same = abs(found - expected) <= tolerance if tolerance else found == expected
    if same:
        return Finding("ok", what, f"{found}")
    return Finding(
        "unexpected", what, f"found {found}, expected {expected}", "check that the tree is what you think"
    )
