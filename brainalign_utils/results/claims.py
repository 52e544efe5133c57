"""The ledger: what the paper claims against what this build computed.

Claims are data (:mod:`brainalign_utils.results.claim_table`); a rule per kind
(:mod:`brainalign_utils.results.claim_rules`) says how one is tested.  On simulated
data no claim gets a value or a verdict, only whether the method recovers what was planted.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .claim_rules import NOT_TESTED, RULES, VERDICTS, Finding, NotTestable
from .claim_table import Claim, ClaimError


def evaluate(
    claims: Sequence[Claim],
    tables: Mapping[str, pd.DataFrame],
    data: str,
    recovery: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Test every claim.

    Parameters
    ----------
    claims : sequence of Claim
    tables : mapping of name to DataFrame
        ``alignment``: from :mod:`alignment`, one analysis per convention (one ceiling, one layer choice, one
        component a model) with subject and model; ``partition``: subject, model, a, b, roi, unique_a,
        unique_b, shared; ``concepts``: from :func:`concepts.concept_alignment` with subject and model;
        ``tension``: from :func:`multiverse.contrast_table`.  Missing ones leave their claims untested.
    data : {"phantom", "nsd"}
        "phantom" gives no value and no verdict.
    recovery : DataFrame, optional
        check, passed: of the simulated data (:mod:`brainalign_utils.results.recovery`).

    Returns
    -------
    ledger : DataFrame
        id, number, text, source, kind, figure, reported, tolerance, why, scope, computed, low,
        high (95 %, t across subjects), n_subjects, verdict, note, recovery (which checks, passed or
        failed), recovered.

    Raises
    ------
    ClaimError
        If ``data`` is unknown, a kind has no rule, or a table mixes several analyses.
    """
    if data not in ("phantom", "nsd"):
        raise ClaimError(f"data is {data!r}; say 'phantom' or 'nsd'")
    rows = []
    for claim in claims:
        if claim.kind not in RULES:
            raise ClaimError(f"claim {claim.id!r} has kind {claim.kind!r}; known: {', '.join(RULES)}")
        finding = _phantom_finding() if data == "phantom" else _find(claim, tables)
        checks, recovered = _recovered(claim, recovery)
        fields = ("id", "number", "text", "source", "kind", "figure", "reported", "tolerance", "why")
        row = {name: getattr(claim, name) for name in fields} | {"scope": scope_text(claim)} | vars(finding)
        note = " ".join(filter(None, (finding.note, claim.deviation)))
        rows.append(row | {"note": note, "recovery": checks, "recovered": recovered})
    table = pd.DataFrame(rows)
    numbers = ["number", "reported", "tolerance", "computed", "low", "high"]
    return table.astype(dict.fromkeys(numbers, float))


def scope_text(claim: Claim) -> str:
    """The scope of a claim in words: ``roi: prf-visual; left: vit-h; ...``."""
    listed = {k: ", ".join(v) if isinstance(v, (list, tuple)) else str(v) for k, v in claim.scope.items()}
    return "; ".join(f"{name}: {value}" for name, value in listed.items())


def summary(ledger: pd.DataFrame) -> pd.Series:
    """Number of claims by verdict, every verdict listed."""
    return ledger.verdict.value_counts().reindex(list(VERDICTS), fill_value=0).rename("n_claims")


def _phantom_finding() -> Finding:
    return Finding(np.nan, np.nan, np.nan, 0, NOT_TESTED, "Simulated data say nothing about this number.")


def _find(claim: Claim, tables) -> Finding:
    try:
        return RULES[claim.kind](claim, tables)
    except NotTestable as reason:
        return Finding(np.nan, np.nan, np.nan, 0, NOT_TESTED, str(reason))


def _recovered(claim, recovery) -> tuple[str, bool | None]:
    if recovery is None:
        return "", None
    rows = recovery[recovery.check.isin(claim.recovery)]
    if not len(rows):
        return "", None
    states = rows.groupby("check", sort=False).passed.all()
    text = "; ".join(f"{check}: {'recovered' if ok else 'NOT recovered'}" for check, ok in states.items())
    return text, bool(states.all())
