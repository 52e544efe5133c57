"""What the claims page needs from a whole study: alignment under every choice, and the contrasts on it."""

import pandas as pd

from ..features import store
from ..settings import Settings
from . import alignment, claims, figure_tables, multiverse, partitions, study

CONVENTIONS = {
    "raw r": {"convention": "default", "ceiling_name": "none", "layer_choice": "best"},
    "÷ ceiling from repeats": {"convention": "default", "ceiling_name": "ncsnr", "layer_choice": "best"},
    "÷ cross-subject ceiling": {
        "convention": "default",
        "ceiling_name": "cross-subject",
        "layer_choice": "best",
    },
    "authors: raw r": {"convention": "authors"},
}
"""Columns of :func:`convention_table`, and the rows of the choices that each of them shows."""


SIDES = {multiverse.LEFT: "multimodal above", multiverse.RIGHT: "vision-only above"}
"""Verdicts of :func:`tension` in words."""


NAMES = {"layer_choice": "layer", "ceiling_name": "ceiling", "session_zscore": "session z-score"}
"""Choices as figures and tables name them."""


def authors_regions(voxels) -> tuple[dict, dict]:
    """Labels inside nsdgeneral, and the number of voxels with label 1 outside it, per ROI volume."""
    volumes = [v for v in alignment.AUTHORS_VOLUMES if f"label_{v}" in voxels.coords]
    inside = {v: voxels[f"label_{v}"].values for v in volumes}
    return inside, {v: int(voxels.n_first_label_outside.sel(volume=v)) for v in volumes}


def choice_table(settings: Settings, models, layer_choices=("best",)) -> pd.DataFrame:
    """Alignment of models under each ceiling and convention, from the study's own fits.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = choice_table(settings, ["vit-h"])
    >>> sorted(table.ceiling_name.unique())
    ['cross-subject', 'ncsnr', 'none']
    """
    tables = []
    for subject in settings.subjects:
        ceilings, authors = _of_subject(settings, subject)
        for model in models:
            scores = study.open_scores(settings, subject, model)
            scores = scores.isel(space=scores.component.values == study.main_component(model))
            tables.append(
                multiverse.alignment_grid(
                    scores, ceilings, layer_choices, (settings.stats.min_ceiling,), authors,
                    subject=subject, model=model,
                )
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def claim_alignment(settings: Settings) -> pd.DataFrame:
    """Alignment as claims take it: ours for the answering component, the authors' for all components.

    Ours is divided by each of the two ceilings (``ceiling_name``), the authors' by none.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = claim_alignment(settings)
    >>> sorted(table.convention.unique()), sorted(table.ceiling_name.unique())
    (['authors', 'default'], ['cross-subject', 'ncsnr', 'none'])
    """
    tables = [study.alignment_table(settings, ceiling) for ceiling in claims.NORMALISERS]
    for subject in settings.subjects:
        authors = authors_regions(study.open_voxels(settings, subject))
        for model in settings.models:
            scores = study.open_scores(settings, subject, model)
            table = alignment.authors_table(scores, *authors, subject=subject, model=model)
            tables.append(table.assign(ceiling_name="none"))
    return pd.concat(tables, ignore_index=True)


def claim_tables(settings: Settings, specifications: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables that claims are tested on (:func:`brainalign_utils.results.claims.evaluate`).

    Parameters
    ----------
    specifications : DataFrame of :func:`multiverse.contrast_table`

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> contrasts, _ = tension(settings, ["instructblip", "mplug-owl"], ["vit-h"])
    >>> sorted(claim_tables(settings, contrasts))
    ['alignment', 'concepts', 'layers', 'partition', 'specifications']
    """
    multimodal = [model for model in settings.partition.models if model in settings.models]
    listed = claims.load_claims()
    regions = {kind: _regions(listed, kind) for kind in ("peak_depth", "part_value", "shared_fraction")}
    pairs = [*regions["part_value"], *regions["shared_fraction"]]
    partition = partitions.pair_table(settings, multimodal, list(dict.fromkeys(pairs)))
    layers = figure_tables.layer_table(settings, multimodal, regions["peak_depth"])
    mains = {model: study.main_component(model) for model in multimodal}
    layers = layers[(layers.subject != "all") & (layers.component == layers.model.map(mains))]
    return {
        "alignment": claim_alignment(settings),
        "concepts": store.read_table(settings.paths.table("concepts")),
        "layers": layers,
        "partition": partition.rename(columns={"instruction_a": "a", "instruction_b": "b"}),
        "specifications": specifications,
    }


def _regions(listed, kind: str) -> list[str]:
    """Regions of the claims of a kind, and of its variants."""
    found = [c.scope["roi"] for c in listed if c.kind.startswith(kind)]
    return list(dict.fromkeys(r for roi in found for r in ([roi] if isinstance(roi, str) else roi)))


def multiverse_table(settings: Settings, models, rois) -> pd.DataFrame:
    """Alignment of models under each layer choice, pooling, ceiling, session z-score and convention.

    From the fits of :mod:`variants`: one instruction, the component that gives the answer.  The authors'
    convention is one bundle: no session z-score, test data z-scored by themselves, scores averaged over
    layers, label 1 of each region's file, voxels outside nsdgeneral as 0, no ceiling.
    """
    tables, least = [], (settings.stats.min_ceiling,)
    for subject in settings.subjects:
        ceilings, authors = _of_subject(settings, subject)
        for model in models:
            for pooling, analysis, scores in study.open_variants(settings, subject, model):
                scores = scores.sel(roi=list(rois))
                tags = {"subject": subject, "model": model, "pooling": pooling}
                if analysis == "authors":
                    table = alignment.authors_table(scores, *authors, **tags)
                    table = table.assign(ceiling_name="none", session_zscore="no")
                else:
                    table = multiverse.alignment_grid(scores, ceilings, min_ceilings=least, **tags)
                    table = table.assign(session_zscore="yes" if analysis == "default" else "no")
                tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    return table.assign(instruction=settings.caption_id()).drop(columns="min_ceiling")


def _of_subject(settings: Settings, subject: int):
    """Ceilings by name, and the authors' regions."""
    voxels = study.open_voxels(settings, subject)
    names = ["ncsnr", None]
    if settings.paths.cross_subject(subject).exists():
        names.insert(1, "cross-subject")
    ceilings = {n or "none": study.ceiling_of(settings, subject, voxels, n) for n in names}
    return ceilings, authors_regions(voxels)


def convention_table(choices: pd.DataFrame, roi: str) -> pd.DataFrame:
    """One region under both ceilings, under none, and as the authors take it: a row a model.

    Parameters
    ----------
    choices : DataFrame of :func:`choice_table`
    roi : str
        A region that the authors' volumes stand for.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> convention_table(choice_table(settings, ["vit-h"]), "prf-visual").shape
    (1, 4)
    """
    volume = next(v for v, name in alignment.AUTHORS_VOLUMES.items() if name == roi)
    part = choices[choices.roi.isin([roi, f"{volume}==1"])]
    columns = {}
    for title, wanted in CONVENTIONS.items():
        rows = part
        for name, value in wanted.items():
            rows = rows[rows[name] == value]
        columns[title] = rows.groupby(["model", "subject"], sort=False)["mean"].mean().groupby("model").mean()
    return pd.DataFrame(columns).reindex(list(dict.fromkeys(choices.model)))


def tension(
    settings: Settings, left, right, rois=("prf-visual", "places", "higher")
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Left models minus right ones under every choice, and which choices change the answer.

    Returns
    -------
    contrasts : DataFrame
        As :func:`multiverse.contrast_table`: one row per region and combination of choices.
    flips : DataFrame of :func:`multiverse.flips`, with ``roi`` in front
    """
    left, right = ([m for m in side if m in settings.models] for side in (left, right))
    table = multiverse_table(settings, [*left, *right], rois)
    contrasts = pd.concat(
        [multiverse.contrast_table(table, left, right, roi) for roi in rois], ignore_index=True
    )
    changes = [multiverse.flips(part).assign(roi=roi) for roi, part in contrasts.groupby("roi", sort=False)]
    changes = pd.concat(changes, ignore_index=True)
    return contrasts, changes[["roi", *(c for c in changes if c != "roi")]]


def drawn(contrasts: pd.DataFrame, roi: str) -> pd.DataFrame:
    """One region's contrasts as :func:`figures.plot_choices` takes them."""
    part = contrasts[contrasts.roi == roi].rename(columns={"estimate": "value"})
    part = part.assign(verdict=part.verdict.replace(SIDES))
    factors = [f for f in multiverse.FACTORS if f in part]
    part = part[["value", "low", "high", "verdict", *factors]].astype(dict.fromkeys(factors, str))
    return part.rename(columns=NAMES)
