"""How each kind of claim is tested: from tidy result tables to a number, its interval and a verdict.

A rule takes a claim and the tables and returns a :class:`Finding`, or raises :class:`NotTestable`.  Intervals
are Student t across subjects.  A directed claim is reproduced where the interval excludes 0 and, if the paper
gives a number, the computed one is within the tolerance; "direction only" where the sign is right but one of
these fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..stats.tests import subject_interval
from .claim_table import Claim, ClaimError
from .multiverse import LEFT, RIGHT

REPRODUCED, DIRECTION, NOT_REPRODUCED = "reproduced", "direction only", "not reproduced"
NOT_TESTED = "not tested with this data"
VERDICTS = (REPRODUCED, DIRECTION, NOT_REPRODUCED, NOT_TESTED)
SHARED_MOST, MIDDLE = 0.5, (0.25, 0.75)


class NotTestable(Exception):
    """The tables lack what a claim is about; the message says what."""


@dataclass(frozen=True)
class Finding:
    """What a rule found: the number, its interval across subjects, and the verdict."""

    computed: float
    low: float
    high: float
    n_subjects: int
    verdict: str
    note: str = ""


def _rows(tables, name: str, **wanted) -> pd.DataFrame:
    """Rows of a table, refused when they mix several analyses."""
    if name not in tables:
        raise NotTestable(f"No {name} table.")
    table = tables[name]
    for column, value in wanted.items():
        if column not in table:
            raise NotTestable(f"The {name} table has no column {column}.")
        table = table[table[column].isin(value if isinstance(value, (list, tuple)) else [value])]
        if not len(table):
            raise NotTestable(f"Not among the results: {column} {value}.")
    for column in ("ceiling_name", "layer_choice", "pooling", "convention"):
        if column in table and table[column].nunique() > 1:
            found = ", ".join(map(str, table[column].unique()))
            raise ClaimError(f"the {name} table mixes {column} {found}; pass the rows of one analysis")
    if "component" in table and (table.groupby("model").component.nunique() > 1).any():
        raise ClaimError(f"the {name} table holds several components of a model; keep one for each model")
    return table


def _scores(claim: Claim, tables, side="left", roi=None) -> pd.DataFrame:
    """(subject x instruction) alignment in one region, averaged over the models of one side."""
    scope = claim.scope
    wanted = {k: scope[k] for k in ("metric", "component", "instruction") if k in scope}
    wanted |= {"roi": roi or scope["roi"], "convention": scope.get("convention", "default")}
    table = _rows(tables, "alignment", model=list(scope[side]), **wanted)
    if missing := sorted(set(scope[side]) - set(table.model)):
        raise NotTestable(f"Models not run: {', '.join(missing)}.")
    return table.pivot_table("mean", "subject", "instruction", aggfunc="mean", dropna=False)


def _difference_rule(claim, tables) -> Finding:
    left, right = (_scores(claim, tables, side).mean(axis=1) for side in ("left", "right"))
    return _directed(left - right, claim)


def _value_rule(claim, tables) -> Finding:
    return _near(_scores(claim, tables).mean(axis=1), claim)


def _equivalence_rule(claim, tables) -> Finding:
    left, right = (_scores(claim, tables, side).mean(axis=1) for side in ("left", "right"))
    computed, low, high, n = _mean(left - right)
    if abs(computed) <= claim.tolerance:
        return Finding(computed, low, high, n, REPRODUCED)
    verdict = DIRECTION if low <= 0 <= high else NOT_REPRODUCED
    return Finding(computed, low, high, n, verdict, f"Outside ±{claim.tolerance:g}.")


def _range_rule(claim, tables) -> Finding:
    scores = _scores(claim, tables).mean(axis=0)
    best, worst = scores.idxmax(), scores.idxmin()
    by_subject = _scores(claim, tables)
    computed, low, high, n = _mean(by_subject[best] - by_subject[worst])
    verdict = REPRODUCED if computed > claim.tolerance and low > 0 else NOT_REPRODUCED
    return Finding(computed, low, high, n, verdict, f"Best {best}, worst {worst}.")


def _best_rule(claim, tables) -> Finding:
    return _over_rois(claim, tables, lambda wanted, others: wanted.max(axis=1) - others.max(axis=1))


def _contrast_rule(claim, tables) -> Finding:
    return _over_rois(claim, tables, lambda wanted, others: wanted.mean(axis=1) - others.mean(axis=1))


def _over_rois(claim, tables, margin) -> Finding:
    """The claim must hold in each of its regions; the number is that of the weakest."""
    rois = claim.scope["roi"]
    found = {}
    for roi in [rois] if isinstance(rois, str) else rois:
        scores = _scores(claim, tables, roi=roi)
        instructions = [i for i in claim.scope["instructions"] if i in scores]
        others = scores.drop(columns=instructions)
        if len(instructions) < len(claim.scope["instructions"]) or others.empty:
            raise NotTestable(f"Needs instructions {', '.join(claim.scope['instructions'])} and others.")
        found[roi] = _directed(margin(scores[instructions], others), claim)
    weakest = min(found.values(), key=lambda f: f.computed)
    worst = max((f.verdict for f in found.values()), key=VERDICTS.index)
    note = "; ".join(f"{roi} {f.computed:+.3f}" for roi, f in found.items()) + "."
    return Finding(weakest.computed, weakest.low, weakest.high, weakest.n_subjects, worst, f"Margins: {note}")


def _concept_rule(claim, tables) -> Finding:
    sides = []
    for side in ("left", "right"):
        models = list(claim.scope[side])
        concept, roi = claim.scope["concept"], claim.scope["roi"]
        table = _rows(tables, "concepts", model=models, concept=concept, roi=roi)
        if missing := sorted(set(models) - set(table.model)):
            raise NotTestable(f"Models not run: {', '.join(missing)}.")
        sides.append(table.groupby("subject")["mean"].mean())
    return _directed(sides[0] - sides[1], claim)


def _parts(claim, tables, roi) -> pd.DataFrame:
    """Mean parts of the pairs with ``a`` (and ``b``), a row a subject; ``unique_a`` is that of ``a``."""
    table = _rows(tables, "partition", model=list(claim.scope["left"]), roi=roi)
    a, b = claim.scope["a"], claim.scope.get("b")
    swapped = table.rename(columns={"a": "b", "b": "a", "unique_a": "unique_b", "unique_b": "unique_a"})
    both = pd.concat([table, swapped])
    both = both[(both.a == a) & ((both.b == b) if b else (both.b != a))]
    if not len(both):
        raise NotTestable(f"No pair of {a} with {b or 'another instruction'} in {roi}.")
    return both.groupby("subject")[["unique_a", "unique_b", "shared"]].mean()


def _part_rule(claim, tables) -> Finding:
    return _near(_parts(claim, tables, claim.scope["roi"])[claim.scope["part"]], claim)


def _shared_share(claim, tables, roi):
    parts = _parts(claim, tables, roi)
    return parts.shared / parts.sum(axis=1)


def _shared_rule(claim, tables) -> Finding:
    computed, low, high, n = _mean(_shared_share(claim, tables, claim.scope["roi"]))
    if low > SHARED_MOST:
        return Finding(computed, low, high, n, REPRODUCED)
    return Finding(computed, low, high, n, DIRECTION if computed > SHARED_MOST else NOT_REPRODUCED)


def _shared_difference_rule(claim, tables) -> Finding:
    higher, early = (_shared_share(claim, tables, roi) for roi in claim.scope["roi"])
    return _directed(higher - early, claim)


def _depth_rule(claim, tables) -> Finding:
    scope = claim.scope
    table = _rows(tables, "alignment", model=list(scope["left"]), roi=scope["roi"], metric=scope["metric"])
    depth = table.groupby("model").depth.mean().dropna()
    if len(depth) < 2:
        raise NotTestable("Needs the best layer of at least two models.")
    middle, late = depth.between(*MIDDLE).any(), (depth > MIDDLE[1]).any()
    verdict = REPRODUCED if middle and late else DIRECTION if middle or late else NOT_REPRODUCED
    note = "Relative depth: " + "; ".join(f"{m} {d:.2f}" for m, d in depth.items()) + "."
    n = table.subject.nunique()
    return Finding(float(depth.mean()), float(depth.min()), float(depth.max()), n, verdict, note)


def _tension_rule(claim, tables) -> Finding:
    if "tension" not in tables:
        raise NotTestable("No tension table.")
    table, vision = tables["tension"], claim.scope["left"][0]
    table = table[table.roi == claim.scope["roi"]]
    turn = np.select([table.left == vision, table.right == vision], [1, -1], 0)
    table, turn = table[turn != 0], turn[turn != 0]
    if not len(table):
        raise NotTestable(f"No contrast of {vision} with the multimodal models.")
    above = int(((table.verdict == LEFT) & (turn > 0) | (table.verdict == RIGHT) & (turn < 0)).sum())
    below = int(table.verdict.isin((LEFT, RIGHT)).sum()) - above
    verdict = REPRODUCED if above and below else NOT_REPRODUCED
    rest = len(table) - above - below
    note = f"Vision-only above in {above}, below in {below}, undecided in {rest} analyses."
    e, n = (table.estimate * turn).dropna(), int(table.n_subjects.max())
    return Finding(e.mean(), e.min(), e.max(), n, verdict, note)


def _mean(by_subject):
    values = by_subject.dropna()
    if not len(values):
        raise NotTestable("No subject has a score there.")
    low, high = subject_interval(values)
    return float(values.mean()), low, high, len(values)


def _near(by_subject, claim) -> Finding:
    computed, low, high, n = _mean(by_subject)
    near = abs(computed - claim.reported) <= claim.tolerance
    return Finding(computed, low, high, n, REPRODUCED if near else NOT_REPRODUCED)


def _directed(by_subject, claim) -> Finding:
    """Above 0, and near the reported number where there is one."""
    computed, low, high, n = _mean(by_subject)
    if not computed > 0:
        return Finding(computed, low, high, n, NOT_REPRODUCED)
    if not low > 0:
        return Finding(computed, low, high, n, DIRECTION, "The interval across subjects includes 0.")
    if claim.reported is not None and abs(computed - claim.reported) > claim.tolerance:
        return Finding(computed, low, high, n, DIRECTION, "Size outside the tolerance.")
    return Finding(computed, low, high, n, REPRODUCED)


RULES: dict[str, Callable[[Claim, Mapping[str, pd.DataFrame]], Finding]] = {
    "value": _value_rule,
    "part_value": _part_rule,
    "difference": _difference_rule,
    "equivalence": _equivalence_rule,
    "instruction_range": _range_rule,
    "best_instruction": _best_rule,
    "instruction_contrast": _contrast_rule,
    "concept_difference": _concept_rule,
    "shared_share": _shared_rule,
    "shared_share_difference": _shared_difference_rule,
    "peak_depth": _depth_rule,
    "tension": _tension_rule,
}
