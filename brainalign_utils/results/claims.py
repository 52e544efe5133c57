"""The ledger: what the paper claims against what this study computed.

Claims, the paper's numbers and the authors' own scores are data (folder ``data``).  A rule per kind of claim
takes the tidy result tables and returns a :class:`Finding`: a number, its interval (Student t across
subjects) and a verdict, or raises :class:`NotTestable`.  On simulated data no claim gets a value or a
verdict, only whether the method recovers what was planted.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType

import numpy as np
import pandas as pd
import yaml

from ..stats.tests import subject_interval
from .multiverse import LEFT, RIGHT

DATA = resources.files("brainalign_utils") / "results" / "data"
MLLMS = ("instructblip", "idefics", "mplug-owl")
RANDOM = tuple(f"{model}-random" for model in MLLMS)
AUTHORS_PROMPT = "In this task, you will look at the image and briefly describe the image."
AUTHORS_INSTRUCTION = "authors-1"
"""Add :data:`AUTHORS_PROMPT` to ``extra_instructions`` under this id to test the notebook's numbers."""


class ClaimError(ValueError):
    """A claim that cannot be read or tested; the message names it and says what is wrong."""


@dataclass(frozen=True)
class Claim:
    """One statement of the paper.

    Parameters
    ----------
    id, text, source : str
    kind : str
        How it is tested, a key of :data:`RULES`.
    scope : mapping
        Which rows of the result tables it is about.
    reported, tolerance : float or None
        The public number, and how far the computed one may be from it.
    why : str
        Why that tolerance, or what stands in for a number.
    figure : str
        The figure that shows it.
    number : int or None
        Claim in the order of the abstract; None for a bare number.
    deviation : str
        What is done otherwise than in the paper, and why.
    recovery : tuple of str
        Checks on simulated data that say whether the method can answer it.
    """

    id: str
    text: str
    source: str
    kind: str
    why: str
    figure: str
    scope: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    reported: float | None = None
    tolerance: float | None = None
    number: int | None = None
    deviation: str = ""
    recovery: tuple[str, ...] = ()


def load_claims() -> tuple[Claim, ...]:
    """The paper's claims, then every row of ``reported.csv``.

    Raises
    ------
    ClaimError
        If a claim lacks a field, has an unknown one, or an id occurs twice.

    Examples
    --------
    >>> claims = load_claims()
    >>> claims[0].id, claims[0].reported
    ('mllm-above-vision-early', 0.143)
    """
    written = yaml.safe_load((DATA / "claims.yml").read_text(encoding="utf-8"))
    claims = (*map(parse_claim, written), *map(reported_claim, load_reported()))
    seen = set()
    for claim in claims:
        if claim.id in seen:
            raise ClaimError(f"claim id {claim.id!r} occurs twice; give each claim an id of its own")
        seen.add(claim.id)
    return claims


def parse_claim(values: dict) -> Claim:
    """One entry of ``claims.yml`` as a :class:`Claim`."""
    known = set(Claim.__dataclass_fields__)
    if unknown := sorted(set(values) - known):
        raise ClaimError(f"claim {values.get('id')!r} has unknown fields {unknown}; known: {sorted(known)}")
    needed = {"id", "text", "source", "kind", "why", "figure"}
    if missing := sorted(needed - set(values)):
        raise ClaimError(f"claim {values.get('id')!r} lacks {', '.join(missing)}")
    extra = {
        "scope": MappingProxyType(values.get("scope", {})),
        "recovery": tuple(values.get("recovery", ())),
    }
    return Claim(**values | extra)


def load_reported() -> list[dict]:
    """Rows of ``reported.csv``: source, subject, roi, model, instruction, metric, value, tolerance, note."""
    with (DATA / "reported.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {"value": float(row["value"]), "tolerance": float(row["tolerance"])} for row in rows]


def load_authors_scores() -> list[dict]:
    """Scores printed in the authors' notebook.

    Returns
    -------
    rows : list of dict
        metric ("r2" or "pearson_r"), model, component, roi ("<volume>==1"), value, sem (across subjects).
    """
    stored = json.loads((DATA / "authors_prompt1_scores.json").read_text(encoding="utf-8"))
    rows = []
    for title, models in stored.items():
        metric = "pearson_r" if title.endswith("pearson") else "r2"
        for name, scores in models.items():
            model, component = _AUTHORS_MODELS[name]
            head = {"metric": metric, "model": model, "component": component}
            columns = zip(scores["x"], scores["y"], scores["sem"], strict=True)
            rows += [head | {"roi": f"{x}==1", "value": y, "sem": sem} for x, y, sem in columns]
    return rows


_AUTHORS_MODELS = {
    "google/vit-huge-patch14-224-in21k : hidden_states": ("vit-h", "vision"),
    "Salesforce/instructblip-vicuna-13b : qformer_hidden_states": ("instructblip-13b", "qformer"),
    "Salesforce/instructblip-vicuna-13b : vision_hidden_states": ("instructblip-13b", "vision"),
    "HuggingFaceM4/idefics-9b-instruct : hidden_states": ("idefics", "language"),
    "llava-hf/llava-1.5-13b-hf : hidden_states": ("llava-13b", "language"),
    "MAGAer13/mplug-owl-llama-7b : vision_hidden_states": ("mplug-owl", "vision"),
    "MAGAer13/mplug-owl-llama-7b : language_hidden_states": ("mplug-owl", "language"),
    "openflamingo/OpenFlamingo-9B-vitl-mpt7b : hidden_states": ("openflamingo", "language"),
}


def reported_claim(row: dict) -> Claim:
    """A row of ``reported.csv`` as a claim about one number."""
    make = {"fig2-slides": _figure_2, "venn-slides": _venn, "authors-notebook": _notebook}[row["source"]]
    return make(row)


def _figure_2(row):
    roi = {"pRF-visual": "prf-visual", "floc-places": "places"}[row["roi"]]
    models = list(RANDOM) if row["model"] == "random-init" else [row["model"]]
    return Claim(
        id=f"figure-2-{roi}-{row['model']}",
        text=f"Normalised alignment of {row['model']} in {roi} is {row['value']:g}.",
        source=f"figure 2 (slides), {row['note']}",
        kind="value",
        scope=MappingProxyType({"roi": roi, "left": models, "metric": "normalised_r"}),
        reported=row["value"],
        tolerance=0.05,
        why=f"Read off a slide to {row['tolerance']:g}; .05 for choices that are not public "
        "(layers, pooling, ceiling).",
        figure="figure-2",
        recovery=("noise-ceiling", "cross-subject-ceiling"),
    )


def _venn(row):
    roi = "prf-visual" if row["roi"].startswith("early") else "higher"
    what = row["metric"].replace("_", " ").capitalize()
    part = {"IC": "unique_a", "IU2": "unique_b", "IC+IU2": "shared"}[row["instruction"]]
    return Claim(
        id=f"venn-{roi}-{row['instruction']}",
        text=f"{what} of {row['instruction']} in {roi} is {row['value']:g}.",
        source=f"Venn diagram (slides), {row['note']}",
        kind="part_value",
        scope=MappingProxyType({"roi": roi, "left": list(MLLMS), "a": "IC", "b": "IU2", "part": part}),
        reported=row["value"],
        tolerance=0.05,
        why="Subject, model, estimator and normaliser of the diagram are unknown.",
        deviation="Mean over models and subjects, where the diagram shows one of each.",
        figure="figure-6",
        recovery=("shared-variance",),
    )


def _notebook(row):
    model, _, component = row["model"].partition("/")
    component = component or ("vision" if model == "vit-h" else "language")
    scope = {"roi": row["roi"], "left": [model], "component": component, "convention": "authors"}
    sem = next(
        s["sem"] for s in load_authors_scores()
        if (s["metric"], s["model"], s["component"], s["roi"]) == ("pearson_r", model, component, row["roi"])
    )  # fmt: skip
    return Claim(
        id=f"notebook-{row['roi'].partition('=')[0]}-{model}-{component}",
        text=f"Raw r of {model} ({component}) in {row['roi']}, mean over layers, is {row['value']:g}.",
        source=f"the authors' notebook, prompt 1, {row['note']}",
        kind="value",
        scope=MappingProxyType(scope | {"instruction": "none" if model == "vit-h" else AUTHORS_INSTRUCTION}),
        reported=row["value"],
        tolerance=0.02,
        why=f"Same subjects and images, so less than the standard error across subjects ({sem:.3f}); "
        "room for library versions and for what the code leaves unsaid.",
        deviation="Needs the authors' first prompt among the instructions. Regions and mean over layers are "
        "theirs; for their preparation of the data too, set convention: authors.",
        figure="claims",
        recovery=("layer-choice",),
    )


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

    Examples
    --------
    >>> ledger = evaluate(load_claims(), {}, "nsd")  # without tables nothing can be tested
    >>> set(ledger.verdict)
    {'not tested with this data'}
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
    """Number of claims by verdict, every verdict listed.

    Examples
    --------
    >>> summary(evaluate(load_claims(), {}, "nsd"))["reproduced"]
    np.int64(0)
    """
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
