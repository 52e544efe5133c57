"""The ledger: what the paper claims against what this study computed.

Claims, the paper's numbers and the authors' own scores are data (folder ``data``).  A rule per kind of claim
takes the tidy result tables and returns a :class:`Finding`: a number, its interval (Student t across
subjects) and a verdict, or raises :class:`NotTestable`.  On simulated data no claim gets a value or a
verdict, only whether the method recovers what was planted.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from types import MappingProxyType

import numpy as np
import pandas as pd
import scipy.stats
import yaml

from ..settings import Settings
from ..stats.tests import subject_interval
from ..tables import NO_INSTRUCTION

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
    ('mllm-above-vision-early-ncsnr', 0.143)
    """
    written = yaml.safe_load((DATA / "claims.yml").read_text(encoding="utf-8"))
    listed = (*map(parse_claim, written), *map(reported_claim, load_reported()))
    claims = tuple(each for claim in listed for each in _by_normaliser(claim))
    seen = set()
    for claim in claims:
        if claim.id in seen:
            raise ClaimError(f"claim id {claim.id!r} occurs twice; give each claim an id of its own")
        seen.add(claim.id)
    return claims


NORMALISERS = {"ncsnr": "ceiling from repeats", "cross-subject": "ceiling from other subjects"}
"""Names of the ceilings, and how claims call them.  Which one the paper divides by is not public."""


def _by_normaliser(claim: Claim) -> list[Claim]:
    """A claim about normalised scores once per normaliser; any other as it is."""
    if claim.scope.get("metric") != "normalised_r":
        return [claim]
    return [
        replace(
            claim,
            id=f"{claim.id}-{name}",
            text=f"{claim.text.removesuffix('.')} ({title}).",
            scope=MappingProxyType({**claim.scope, "ceiling_name": name}),
        )
        for name, title in NORMALISERS.items()
    ]


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
UNDECIDED, NOT_COMPARABLE, NOT_TESTED = "undecided", "not comparable", "not tested with this data"
VERDICTS = (REPRODUCED, DIRECTION, UNDECIDED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_TESTED)
LEVEL = 0.9
"""Of the intervals behind verdicts: each of their two sides is a test at 5 %."""
SMALLEST_EFFECT = 0.02
"""A directed claim is about a difference of at least this much (normalised r, or a proportion)."""
SHARED_MOST, MIDDLE = 0.5, (0.25, 0.75)
N_PERMUTATIONS = 999


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
    if "model" in wanted and (missing := sorted(set(wanted["model"]) - set(table.model))):
        raise NotTestable(f"Models not run: {', '.join(missing)}.")
    return table


def _scores(claim: Claim, tables, side="left", roi=None) -> pd.DataFrame:
    """(subject x instruction) alignment in one region, averaged over the models of one side."""
    scope = claim.scope
    wanted = {k: scope[k] for k in ("metric", "component", "instruction", "ceiling_name") if k in scope}
    wanted |= {"roi": roi or scope["roi"], "convention": scope.get("convention", "default")}
    table = _rows(tables, "alignment", **wanted, model=list(scope[side]))
    return table.pivot_table("mean", "subject", "instruction", aggfunc="mean", dropna=False)


def _interval(by_subject, n_tests: int = 1) -> tuple[float, float, float, int]:
    """Mean over subjects, its interval at :data:`LEVEL` (Bonferroni over ``n_tests``), and their number."""
    values = by_subject.dropna()
    if not len(values):
        raise NotTestable("No subject has a score there.")
    low, high = subject_interval(values, 1 - (1 - LEVEL) / n_tests)
    return float(values.mean()), low, high, len(values)


def _inside(by_subject, centre: float, tolerance: float) -> Finding:
    """Two one-sided tests: is the mean within the tolerance of a number, or outside it?"""
    computed, low, high, n = _interval(by_subject)
    if abs(low - centre) <= tolerance and abs(high - centre) <= tolerance:
        verdict = REPRODUCED
    elif low > centre + tolerance or high < centre - tolerance:
        verdict = NOT_REPRODUCED
    else:
        verdict = UNDECIDED
    return Finding(computed, low, high, n, verdict)


def _above(contrasts: Mapping[str, pd.Series], bound: float, note: str = "") -> Finding:
    """All contrasts above a bound, or one surely below it; the number is that of the smallest.

    "All above" needs each interval above the bound (intersection-union test); "one below" is tested with
    Bonferroni's correction over the contrasts.
    """
    found = {name: _interval(values) for name, values in contrasts.items()}
    sure = [_interval(values, len(contrasts))[2] for values in contrasts.values()]
    computed, low, high, n = min(found.values(), key=lambda f: f[0])
    if all(f[1] > bound for f in found.values()):
        verdict = REPRODUCED
    elif any(upper < bound for upper in sure):
        verdict = NOT_REPRODUCED
    else:
        verdict = UNDECIDED
    return Finding(computed, low, high, n, verdict, note)


def _directed(by_subject, claim) -> Finding:
    """Above the smallest effect and, where a number is public, not surely of another size."""
    found = _above({"": by_subject}, SMALLEST_EFFECT)
    if found.verdict == REPRODUCED and claim.reported is not None:
        if _inside(by_subject, claim.reported, claim.tolerance).verdict == NOT_REPRODUCED:
            return replace(found, verdict=DIRECTION, note="Size outside the tolerance.")
    return found


def _sides(claim, tables) -> pd.Series:
    left, right = (_scores(claim, tables, side).mean(axis=1) for side in ("left", "right"))
    return left - right


def _difference_rule(claim, tables) -> Finding:
    return _directed(_sides(claim, tables), claim)


def _value_rule(claim, tables) -> Finding:
    return _inside(_scores(claim, tables).mean(axis=1), claim.reported, claim.tolerance)


def _equivalence_rule(claim, tables) -> Finding:
    return _inside(_sides(claim, tables), 0.0, claim.tolerance)


def _range_rule(claim, tables) -> Finding:
    """Best minus worst instruction, with Tukey's simultaneous interval of all differences within subjects.

    The best and the worst of ten are picked by their noise too; the studentized range accounts for that.
    """
    scores = _scores(claim, tables).dropna()
    (n, k), means = scores.shape, scores.mean()
    if n < 2 or k < 2:
        raise NotTestable("Needs two instructions and two subjects.")
    best, worst = means.idxmax(), means.idxmin()
    residual = scores.sub(scores.mean(axis=1), axis=0) - (means - means.mean())
    df = (n - 1) * (k - 1)
    sem = np.sqrt((residual**2).to_numpy().sum() / df / n)
    half = scipy.stats.studentized_range.ppf((1 + LEVEL) / 2, k, df) * sem
    computed = means[best] - means[worst]
    low, high = computed - half, computed + half
    verdict = REPRODUCED if low > claim.tolerance else NOT_REPRODUCED if high < claim.tolerance else UNDECIDED
    return Finding(computed, low, high, n, verdict, f"Best {best}, worst {worst}.")


def _best_rule(claim, tables) -> Finding:
    """The wanted instruction against every other one in every region."""
    return _over_rois(
        claim, tables, lambda wanted, others: {i: wanted.max(axis=1) - others[i] for i in others}
    )


def _contrast_rule(claim, tables) -> Finding:
    return _over_rois(
        claim, tables, lambda wanted, others: {"others": wanted.mean(axis=1) - others.mean(axis=1)}
    )


def _over_rois(claim, tables, contrasts) -> Finding:
    """The claim must hold in each of its regions; the number is the smallest margin."""
    rois, margins = claim.scope["roi"], {}
    for roi in [rois] if isinstance(rois, str) else rois:
        scores = _scores(claim, tables, roi=roi)
        instructions = [i for i in claim.scope["instructions"] if i in scores]
        others = scores.drop(columns=instructions)
        if len(instructions) < len(claim.scope["instructions"]) or others.empty:
            raise NotTestable(f"Needs instructions {', '.join(claim.scope['instructions'])} and others.")
        margins |= {(roi, name): value for name, value in contrasts(scores[instructions], others).items()}
    least = {}
    for (roi, name), values in margins.items():
        least[roi] = min(least.get(roi, (np.inf, "")), (values.mean(), name))
    note = "; ".join(f"{roi} {value:+.3f} ({name})" for roi, (value, name) in least.items())
    return _above(margins, SMALLEST_EFFECT, f"Smallest margins: {note}.")


def _concept_rule(claim, tables) -> Finding:
    """Alignment within a group of images above that within random groups of the same size."""
    scope = claim.scope
    wanted = {"concept": scope["concept"], "roi": scope["roi"], "model": list(scope["left"])}
    table = _rows(tables, "concepts", **wanted)
    return _directed((table["mean"] - table.chance).groupby(table.subject).mean(), claim)


def _parts(claim, tables, roi) -> pd.DataFrame:
    """Mean parts of the pairs with ``a`` (and ``b``), a row per subject; ``unique_a`` is that of ``a``."""
    table = _rows(tables, "partition", roi=roi, model=list(claim.scope["left"]))
    a, b = claim.scope["a"], claim.scope.get("b")
    swapped = table.rename(columns={"a": "b", "b": "a", "unique_a": "unique_b", "unique_b": "unique_a"})
    both = pd.concat([table, swapped])
    both = both[(both.a == a) & ((both.b == b) if b else (both.b != a))]
    if not len(both):
        raise NotTestable(f"No pair of {a} with {b or 'another instruction'} in {roi}.")
    return both.groupby("subject")[["unique_a", "unique_b", "shared"]].mean()


def _part_rule(claim, tables) -> Finding:
    """The unit of the published diagrams is unknown: our number stands beside theirs, without a verdict."""
    computed, low, high, n = _interval(_parts(claim, tables, claim.scope["roi"])[claim.scope["part"]])
    return Finding(computed, low, high, n, NOT_COMPARABLE)


def _shared_fraction(claim, tables, roi) -> pd.Series:
    parts = _parts(claim, tables, roi)
    return parts.shared / parts.sum(axis=1)


def _shared_rule(claim, tables) -> Finding:
    return _above({"": _shared_fraction(claim, tables, claim.scope["roi"])}, SHARED_MOST)


def _shared_difference_rule(claim, tables) -> Finding:
    higher, early = (_shared_fraction(claim, tables, roi) for roi in claim.scope["roi"])
    return _directed(higher - early, claim)


def _depth_rule(claim, tables) -> Finding:
    """One model surely peaks in the middle and another surely late.

    A model counts if its profile over layers is more alike between subjects than profiles of permuted layers
    are, and if the interval of its peak, at least half a layer to either side, lies within the class.
    """
    scope = claim.scope
    table = _rows(tables, "layers", roi=scope["roi"], model=list(scope["left"]))
    places, noted, peaks = [], [], []
    for i, (model, rows) in enumerate(table.groupby("model")):
        profile = rows.pivot_table("value", "subject", "depth").dropna()
        if len(profile) < 2:
            raise NotTestable("Needs the layers of at least two subjects.")
        peak = profile.idxmax(axis=1)
        computed, low, high, n = _interval(peak, table.model.nunique())
        step = np.diff(profile.columns).max() / 2
        low, high = min(low, computed - step), max(high, computed + step)
        p = _profile_p(profile.to_numpy(), seed=i)
        middle = MIDDLE[0] <= low and high <= MIDDLE[1]
        late = low > MIDDLE[1]
        alike = p < (1 - LEVEL) / 2 / table.model.nunique()
        places.append((middle and alike, late and alike, high < MIDDLE[0] or late, high < MIDDLE[1]))
        noted.append(f"{model} {computed:.2f} [{low:.2f}, {high:.2f}], p = {p:.3f}")
        peaks.append((computed, low, high, n))
    middle, late, never_middle, never_late = np.array(places).T
    if middle.any() and late.any():
        verdict = REPRODUCED
    elif never_middle.all() or never_late.all():
        verdict = NOT_REPRODUCED
    else:
        verdict = UNDECIDED
    mean, low, high, n = np.mean(peaks, axis=0)
    return Finding(mean, low, high, int(n), verdict, f"Relative depth of the peak: {'; '.join(noted)}.")


def _profile_p(profile, seed: int) -> float:
    """Are profiles of shape (n_subjects, n_layers) alike?  Permutation of each subject's layers."""
    rng = np.random.default_rng(seed)
    ranks = profile.argsort(axis=1).argsort(axis=1).astype(float)
    shuffled = rng.permuted(np.broadcast_to(ranks, (N_PERMUTATIONS, *ranks.shape)), axis=2)
    observed, null = ranks.mean(0).var(), shuffled.mean(1).var(1)
    return float(((null >= observed - 1e-9).sum() + 1) / (N_PERMUTATIONS + 1))


def _specification_rule(claim, tables) -> Finding:
    """Both signs occur among the analyses, each surely (Bonferroni over analyses)."""
    if "specifications" not in tables:
        raise NotTestable("No table of specifications.")
    table, vision = tables["specifications"], claim.scope["left"][0]
    table = table[table.roi == claim.scope["roi"]]
    turn = np.select([table.left == vision, table.right == vision], [1, -1], 0)
    table, turn = table[turn != 0], turn[turn != 0]
    if not len(table):
        raise NotTestable(f"No contrast of {vision} with the multimodal models.")
    estimate = table.estimate * turn
    p = scipy.stats.t.sf(abs(estimate / table.se), table.n_subjects - 1) * 2 * len(table)
    sure = p < 1 - LEVEL
    above, below = int((sure & (estimate > 0)).sum()), int((sure & (estimate < 0)).sum())
    if above and below:
        verdict = REPRODUCED
    else:
        verdict = NOT_REPRODUCED if above == len(table) or below == len(table) else UNDECIDED
    rest = len(table) - above - below
    note = f"Vision-only above in {above}, below in {below}, undecided in {rest} analyses."
    n = int(table.n_subjects.max())
    return Finding(estimate.mean(), estimate.min(), estimate.max(), n, verdict, note)


RULES: dict[str, Callable[[Claim, Mapping[str, pd.DataFrame]], Finding]] = {
    "value": _value_rule,
    "part_value": _part_rule,
    "difference": _difference_rule,
    "equivalence": _equivalence_rule,
    "instruction_range": _range_rule,
    "best_instruction": _best_rule,
    "instruction_contrast": _contrast_rule,
    "concept": _concept_rule,
    "shared_fraction": _shared_rule,
    "shared_fraction_difference": _shared_difference_rule,
    "peak_depth": _depth_rule,
    "specification": _specification_rule,
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
        As :func:`.ledger.claim_tables` gives them.  ``alignment``: one layer choice and one component per
        model, with subject, model, convention and ceiling_name; ``layers``: subject, model,
        roi, depth, value; ``partition``: subject, model, a, b, roi, unique_a, unique_b, shared; ``concepts``:
        from :func:`concepts.concept_alignment` with subject and model; ``specifications``: from
        :func:`multiverse.contrast_table`.  Missing ones leave their claims untested.
    data : {"phantom", "nsd"}
        "phantom" gives no value and no verdict.
    recovery : DataFrame, optional
        check, passed: of the simulated data (:mod:`brainalign_utils.results.recovery`).

    Returns
    -------
    ledger : DataFrame
        id, number, text, source, kind, figure, reported, tolerance, why, scope, computed, low,
        high (90 %, t across subjects), n_subjects, verdict, note, recovery (which checks, passed or
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


def load_verdict_rates() -> pd.DataFrame:
    """How often each rule is wrong in simulated studies (``benchmarks/verdict_rates.py``).

    Returns
    -------
    rates : DataFrame
        rule, case ("paper": four subjects with the spread of the authors' scores; "easier": eight subjects
        with a spread of .02), n_subjects, spread, n_studies (true ones, and as many on the boundary),
        false_reproduced, true_rejected, decided.

    Examples
    --------
    >>> load_verdict_rates().groupby("case").rule.size().to_dict()
    {'easier': 11, 'paper': 11}
    """
    with resources.as_file(DATA / "verdict_rates.csv") as path:
        return pd.read_csv(path)


def load_untestable() -> dict[str, str]:
    """Claims that the settings of the real study cannot test, with the reason of each."""
    return yaml.safe_load((DATA / "untestable.yml").read_text(encoding="utf-8"))


def why_untestable(claim: Claim, settings: Settings) -> str:
    """What a study lacks that a claim needs, from its settings alone; empty where nothing is lacking.

    Examples
    --------
    >>> from brainalign_utils.settings import Settings
    >>> claim = {c.id: c for c in load_claims()}["mllm-on-par-with-clip-early-ncsnr"]
    >>> why_untestable(claim, Settings(models=("instructblip", "vit-h")))
    'models not in the study: clip-text, idefics, mplug-owl'
    """
    scope = claim.scope
    models = {*scope["left"], *scope.get("right", ())} - set(settings.models)
    needed = {*scope.get("instructions", ()), *(scope[k] for k in ("instruction", "a", "b") if k in scope)}
    instructions = needed - {*settings.instructions, NO_INSTRUCTION}
    if models:
        return f"models not in the study: {', '.join(sorted(models))}"
    if instructions:
        return f"instructions not in the study: {', '.join(sorted(instructions))}"
    if scope.get("ceiling_name") == "cross-subject" and len(settings.subjects) < 2:
        return "one subject: no other to predict from"
    return ""


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
