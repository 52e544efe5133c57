"""Results that prose may state: read from the tables behind the figures, as MyST substitutions.

``{{ figure_2.best.early }}`` in a page becomes what the artifact holds.  A name that no artifact gives is an
error of the build, and :mod:`.prose` refuses numbers that are typed in instead.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ...models import MODEL_BY_ID
from ...settings import Settings
from ...titles import title_of

ABSENT = "(none in this study)"
"""Instead of the number of models that a study leaves out."""

SHORT = {"nsdgeneral": "everywhere", "prf-visual": "early"}
"""Names of regions in substitutions, where not their id."""


def substitutions(settings: Settings) -> dict:
    """All numbers of a study that prose may state, as text.

    Returns
    -------
    values : dict of figure or table -> dict of names -> str (or a further dict)
        Parts whose table does not exist are left out.
    """
    sources = {
        "figure_2": (settings.paths.figure("figure_2", "csv"), models),
        "figure_3": (settings.paths.figure("winner_shares", "csv"), winners),
        "agreement": (settings.paths.figure("agreement", "csv"), agreement),
        "figure_4": (settings.paths.figure("figure_4", "csv"), concepts),
        "figure_5": (settings.paths.figure("figure_5", "csv"), layers),
        "figure_6": (settings.paths.figure("figure_6", "csv"), shared),
        "unique": (settings.paths.figure("unique_all", "csv"), unique),
        "ceilings": (settings.paths.figure("noise_ceilings", "csv"), ceilings),
        "ablations": (settings.paths.figure("ablations", "csv"), ablations),
        "recovery": (settings.paths.table("recovery"), recovery),
        "tension": (settings.paths.figure("tension", "csv"), tension),
        "ledger": (settings.paths.table("ledger"), ledger),
    }
    values = {name: read(pd.read_csv(path)) for name, (path, read) in sources.items() if Path(path).is_file()}
    optional = {"agreement": {"observed": ABSENT, "expected": ABSENT}}  # needs two instructed models
    return {"study": study(settings), **optional, **values}


def study(settings: Settings) -> dict:
    """Sizes and thresholds of the settings, and the kind of data."""
    count = {"subjects": settings.subjects, "models": settings.models, "instructions": settings.instructions}
    sizes = {name: f"{len(items)}" for name, items in count.items()}
    thresholds = {name: f"{getattr(settings.stats, name):g}" for name in ("min_ceiling", "alpha")}
    data = {"phantom": "phantom", "nsd": "NSD"}[settings.data]
    return sizes | thresholds | {"name": settings.name, "data": data}


def number(value, digits: int = 2) -> str:
    """A number as prose states it; "undefined" where it is."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "undefined"


def percent(value) -> str:
    """A fraction as prose states it."""
    return f"{100 * value:.0f} %" if np.isfinite(value) else "undefined"


def _role(models) -> list[str]:
    return [MODEL_BY_ID[model].role if model in MODEL_BY_ID else "" for model in models]


def _means(table):
    return table[table.subject.astype(str) == "all"]


def _short(roi: str) -> str:
    return SHORT.get(roi, roi.replace("-", "_"))


def models(table: pd.DataFrame) -> dict:
    """Figure 2: best model and mean per role in each region; trained against random weights; chance."""
    means = _means(table).assign(role=lambda t: _role(t.model))
    found = {"best": {}, "null_high": number(means.null_high.max()), "null_low": number(means.null_low.min())}
    for role in ("mllm", "vision", "multimodal", "baseline"):
        each = means[means.role == role].groupby("roi").value.mean()
        found[role] = {_short(r): number(each[r]) if r in each else ABSENT for r in means.roi.unique()}
    for roi, part in means.dropna(subset="value").groupby("roi"):
        best = part.loc[part.value.idxmax()]
        found["best"][_short(roi)] = f"{title_of(best.model)} ({number(best.value)})"
    pairs = _trained_and_random(means)
    found["n_trained_above_random"] = f"{(pairs.trained > pairs.random).sum()} of {len(pairs)}"
    found["n_marked"] = f"{(means.mark.isin(['+', '-'])).sum()} of {means.difference.notna().sum()}"
    return found


def _trained_and_random(means):
    wide = means.pivot(index="roi", columns="model", values="value")
    names = [m for m in wide if f"{m}-random" in wide]
    pairs = [pd.DataFrame({"trained": wide[m], "random": wide[f"{m}-random"]}) for m in names]
    empty = pd.DataFrame({"trained": [], "random": []})
    return pd.concat([empty, *pairs]).dropna()


def winners(table: pd.DataFrame) -> dict:
    """Figure 3: the instruction that wins most voxels in each region, mean over models and subjects."""
    mean = table.groupby(["roi", "instruction"], sort=False).share.mean().dropna().reset_index()
    best = mean.loc[mean.groupby("roi", sort=False).share.idxmax()]
    return {_short(row.roi): f"{row.instruction} ({percent(row.share)})" for row in best.itertuples()}


def agreement(table: pd.DataFrame) -> dict:
    """Share of voxels with the same winner in two models, and by chance; mean over pairs and subjects."""
    names = {"observed": table.observed, "expected": table.expected}
    if "observed" not in table:
        names = {"observed": table.value, "expected": table.chance}
    return {name: percent(values.mean()) for name, values in names.items()}


def concepts(table: pd.DataFrame) -> dict:
    """Figure 4: how far apart the best and the worst instruction are within a group of pictures."""
    mean = table.groupby(["title", "instruction"], sort=False)["mean"].mean().dropna()
    spread = mean.groupby("title", sort=False).agg(lambda v: v.max() - v.min())
    within, between = spread.median(), mean.groupby("title").mean()
    return {
        "spread": number(within, 3),
        "widest": f"{spread.idxmax()} ({number(spread.max(), 3)})",
        "groups": f"{number(between.min())} to {number(between.max())}",
    }


def layers(table: pd.DataFrame) -> dict:
    """Figure 5: depth of the peak of the last component in early and higher areas, over models."""
    found = {}
    means = _means(table).dropna(subset="value")
    for roi, part in means.groupby("roi"):
        peaks = part.loc[part.groupby(["model", "component"], sort=False).value.idxmax()]
        last = peaks.groupby("model", sort=False).tail(1)
        found[_short(roi)] = ", ".join(
            f"{title_of(row.model)} {number(row.depth)}" for row in last.itertuples()
        )
    return found


def shared(table: pd.DataFrame) -> dict:
    """Figure 6: shared part of what two instructions explain, median over pairs, models and subjects."""
    median = table.groupby("roi").shared_fraction.median()
    return {_short(roi): percent(value) for roi, value in median.items()}


def unique(table: pd.DataFrame) -> dict:
    """What an instruction explains beyond all others: the largest mean and the range of all."""
    means = _means(table).dropna(subset="value")
    best = means.loc[means.value.idxmax()]
    title = title_of(best.panel)
    return {
        "largest": f"{best.instruction} in {title} ({number(best.value, 3)})",
        "median": number(means.value.median(), 3),
    }


def ceilings(table: pd.DataFrame) -> dict:
    """Median ceilings of r per region: from repeats and from other subjects."""
    median = table.groupby("roi")[["ncsnr", "cross_subject"]].median()
    return {
        _short(roi): {"repeats": number(row.ncsnr), "others": number(row.cross_subject)}
        for roi, row in median.iterrows()
    }


def ablations(table: pd.DataFrame) -> dict:
    """Difference to InstructBLIP over all voxels, per model."""
    means = _means(table)
    means = means[means.roi == "nsdgeneral"].drop_duplicates("model").set_index("model")
    return {_short(model): number(value, 3) for model, value in means.difference.items()}


def recovery(table: pd.DataFrame) -> dict:
    """How many planted values were recovered, by check, and the largest error."""
    checks = {}
    for name, part in table.groupby("check", sort=False):
        error = (part.estimated - part.planted).abs()
        counts = {"passed": f"{part.passed.sum()} of {len(part)}", "error": number(error.max())}
        checks[name.replace("-", "_")] = counts | {"median_error": number(error.median(), 3)}
    return checks | {"all": {"passed": f"{table.passed.sum()} of {len(table)}"}}


def tension(table: pd.DataFrame) -> dict:
    """Verdicts of the multiverse of analyses."""
    counts = table.verdict.value_counts()
    said = ", ".join(f"{verdict} in {n}" for verdict, n in counts.items())
    return {"n": f"{len(table)}", "verdicts": said}


def ledger(table: pd.DataFrame) -> dict:
    """Claims by verdict."""
    counts = table.verdict.value_counts()
    said = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    numbered = table[table.number.notna()]
    method = numbered.recovered.dropna().astype(str) == "True"
    recovered = f"{method.sum()} of {len(method)}"
    return {"n": f"{len(table)}", "verdicts": said, "method_recovers": recovered}
