"""What the paper and its public traces report: claims, numbers, and the authors' own scores, as data."""

import csv
import json
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType

import yaml

DATA = resources.files("brainalign_utils") / "data"
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
        How it is tested, a key of :data:`claims.RULES`.
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
