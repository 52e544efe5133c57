"""Alternative texts, written from the tables that figures draw: every number comes from the data."""

import numpy as np

from ..tables import PAPER_GROUPS
from ..titles import title_of
from .style import ALL, require


def _listed(items) -> str:
    items = [str(item) for item in items]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def _means(table):
    """Rows of the mean over subjects; all rows where there are none."""
    means = table[table.subject.astype(str) == ALL]
    return means if len(means) else table


def _n_subjects(table) -> str:
    n = table.subject[table.subject.astype(str) != ALL].nunique()
    return f"{n} subject{'s' * (n != 1)}"


def _extremes(values, title=str, fmt="{:.2f}") -> str:
    """Highest and lowest of a Series whose index names what was measured."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "no data"
    high, low = values.idxmax(), values.idxmin()
    if high == low:
        return f"{title(high)} {fmt.format(values[high])}"
    return f"highest {title(high)} {fmt.format(values[high])}, lowest {title(low)} {fmt.format(values[low])}"


def _by(table, column):
    """Mean of ``value`` by a column, in the table's order."""
    return table.groupby(column, sort=False).value.mean()


def alt_models(table, rois=PAPER_GROUPS, unit="normalised alignment") -> str:
    """For :func:`plot_models` and, by region, :func:`plot_ablations`."""
    require(table, "model", "roi", "subject", "value", of="alt_models")
    means = _means(table)
    said = [f"{title_of(r)}: {_extremes(_by(means[means.roi == r], 'model'), title_of)}" for r in rois]
    models = _listed(map(title_of, dict.fromkeys(table.model)))
    return f"Dot plot of {unit} of {models}, {_n_subjects(table)}. {'; '.join(said)}."


def alt_instructions(table, unit="normalised alignment") -> str:
    """For :func:`plot_instructions`."""
    require(table, "panel", "instruction", "subject", "value", of="alt_instructions")
    means = _means(table)
    panels = dict.fromkeys(table.panel)
    said = [f"{title_of(p)}: {_extremes(_by(means[means.panel == p], 'instruction'))}" for p in panels]
    return f"Dot plot of {unit} by instruction, {_n_subjects(table)}. {'; '.join(said)}."


def alt_winner_shares(table, kind="Stacked bars") -> str:
    """For :func:`plot_winner_shares`; with ``kind="Flat maps"`` for :func:`plot_best_instruction`."""
    require(table, "roi", "instruction", "share", of="alt_winner_shares")
    said = []
    for roi, part in table.groupby("roi", sort=False):
        best = part.dropna(subset="share").sort_values("share", ascending=False).head(2)
        winners = [f"{row.instruction} {row.share:.0%}" for row in best.itertuples()]
        said.append(f"{title_of(roi)}: {_listed(winners) if winners else 'no voxels'}")
    return f"{kind} of the best instruction of each voxel; most frequent: {'; '.join(said)}."


def alt_winner_maps(maps, instructions) -> str:
    """For :func:`plot_best_instruction` of several models: the two most frequent winners of each map."""
    said = []
    for title, (best, _) in maps.items():
        counts = np.bincount(best[best >= 0], minlength=len(instructions)) / max((best >= 0).sum(), 1)
        winners = [f"{instructions[i]} {counts[i]:.0%}" for i in np.argsort(-counts)[:2] if counts[i]]
        said.append(f"{title}: {_listed(winners) if winners else 'no data'}")
    return f"Flat maps of the best instruction; share of vertices won: {'; '.join(said)}."


def alt_agreement(table) -> str:
    """For :func:`plot_agreement`."""
    require(table, "model_a", "model_b", "value", "chance", of="alt_agreement")
    pairs = [
        f"{title_of(row.model_a)} and {title_of(row.model_b)} {row.value:.0%} (chance {row.chance:.0%})"
        for row in table.itertuples()
    ]
    return f"Matrix of the share of voxels with the same best instruction: {_listed(pairs)}."


def alt_pair_tests(table, alpha=0.05) -> str:
    """For :func:`plot_pair_tests`."""
    require(table, "a", "b", "roi", "estimate", "q", of="alt_pair_tests")
    said = []
    for roi, part in table.groupby("roi", sort=False):
        named = part.set_index(part.a + " minus " + part.b).estimate
        sure = f"{int((part.q < alpha).sum())} of {len(part)} pairs differ at q < {alpha:g}"
        said.append(f"{title_of(roi)}: {sure}; {_extremes(named)}")
    return f"Matrices of differences between instructions. {'; '.join(said)}."


def alt_maps(maps, label) -> str:
    """For :func:`plot_maps`: the median and range of each map."""
    said = []
    for title, values in maps.items():
        known = np.asarray(values, float)[np.isfinite(values)]
        span = f"{known.min():.2f} to {known.max():.2f}" if len(known) else "no data"
        said.append(f"{title}: {f'median {np.median(known):.2f}, ' if len(known) else ''}{span}")
    return f"Flat maps of {label}. {'; '.join(said)}."


def alt_roi_locations(regions) -> str:
    """For :func:`plot_roi_locations`: vertices of each area."""
    said = []
    for title, areas in regions.items():
        sizes = {area: np.count_nonzero(vertices) or "absent" for area, vertices in areas.items()}
        said.append(
            f"{title}: {_listed(f'{area} {n}' if n else f'{area} absent' for area, n in sizes.items())}"
        )
    return f"Flat maps with the outlines of regions; sizes in vertices. {'; '.join(said)}."


def alt_concepts(table, unit="normalised alignment") -> str:
    """For :func:`plot_concepts`: the best instruction of each concept."""
    require(table, "concept", "instruction", "value", of="alt_concepts")
    table = table if "roi" in table else table.assign(roi="all voxels")
    said = []
    for roi, part in table.dropna(subset="value").groupby("roi", sort=False):
        best = part.loc[part.groupby("concept", sort=False).value.idxmax()]
        each = _listed(f"{row.concept} {row.instruction} {row.value:.2f}" for row in best.itertuples())
        said.append(f"{title_of(roi)}: {each}")
    n = table.instruction.nunique()
    return f"Heat map of {unit} of {n} instructions by visual concept; best instruction: {'; '.join(said)}."


def alt_layers(table, rois=PAPER_GROUPS, unit="normalised alignment") -> str:
    """For :func:`plot_layers`: model and depth of the highest mean in each component."""
    require(table, "model", "component", "depth", "roi", "subject", "value", of="alt_layers")
    said = []
    for roi in rois:
        part = _means(table[table.roi == roi]).dropna(subset="value")
        peaks = part.loc[part.groupby("component", sort=False).value.idxmax()]
        each = [
            f"{row.component} {title_of(row.model)} {row.value:.2f} at depth {row.depth:.2f}"
            for row in peaks.itertuples()
        ]
        said.append(f"{title_of(roi)}: {_listed(each) if each else 'no voxels'}")
    return f"Curves of {unit} over relative depth, {_n_subjects(table)}; peaks, {'; '.join(said)}."


def alt_venns(table, unit="R2") -> str:
    """For :func:`plot_venns`."""
    columns = ("panel", "instruction_a", "instruction_b", "unique_a", "unique_b", "shared")
    require(table, *columns, of="alt_venns")
    said = []
    for row in table.itertuples():
        alone = f"{row.instruction_a} alone {row.unique_a:.3f}, {row.instruction_b} alone {row.unique_b:.3f}"
        said.append(f"{row.panel}: {alone}, shared {row.shared:.3f}")
    return f"Venn diagrams of {unit}. {'; '.join(said)}."


def alt_pair_matrix(table, unit="R2") -> str:
    """For :func:`plot_pair_matrix`."""
    require(table, "instruction_a", "instruction_b", "shared", of="alt_pair_matrix")
    named = table.set_index(table.instruction_a + " with " + table.instruction_b).shared
    return (
        f"Matrix of {unit} shared by {len(table)} pairs of instructions: median {named.median():.3f}; "
        f"{_extremes(named, fmt='{:.3f}')}."
    )


def alt_early_higher(table, unit="shared fraction") -> str:
    """For :func:`plot_early_higher`."""
    require(table, "panel", "roi", "subject", "value", of="alt_early_higher")
    means, said = _means(table), []
    for panel, part in means.groupby("panel", sort=False):
        said.append(f"{panel}: " + _listed(f"{title_of(r)} {v:.2f}" for r, v in _by(part, "roi").items()))
    return f"Points of the {unit} in early and higher areas, {_n_subjects(table)}. {'; '.join(said)}."


def alt_ceilings(table, rois=PAPER_GROUPS, threshold=0.05) -> str:
    """For :func:`plot_ceilings` and :func:`plot_ceiling_scatter`."""
    require(table, "roi", "subject", "ncsnr", "cross_subject", of="alt_ceilings")
    said = []
    for roi in rois:
        part = table[table.roi == roi]
        if not part.ncsnr.notna().any():
            said.append(f"{title_of(roi)}: no voxels")
            continue
        repeats, cross = part.ncsnr.median(), part.cross_subject.median()
        below = f"{(~(part.ncsnr**2 >= threshold)).mean():.0%} below {threshold:g} of variance"
        said.append(
            f"{title_of(roi)}: median {repeats:.2f} from repeats ({below}), {cross:.2f} cross-subject"
        )
    return f"Noise ceilings of r, {_n_subjects(table)}. {'; '.join(said)}."


def alt_recovery(table) -> str:
    """For :func:`plot_recovery`."""
    require(table, "quantity", "planted", "estimated", "passed", of="alt_recovery")
    said = []
    for name, part in table.groupby("quantity", sort=False):
        error = (part.estimated - part.planted).abs().max()
        said.append(f"{name}: {int(part.passed.sum())} of {len(part)} pass, largest error {error:.3f}")
    return f"Estimates against planted values. {'; '.join(said)}."


def alt_benchmark(table) -> str:
    """For :func:`plot_benchmark`: seconds at the largest size."""
    require(table, "variable", "size", "engine", "seconds", of="alt_benchmark")
    said = []
    for variable, part in table.groupby("variable", sort=False):
        largest = part[part["size"] == part["size"].max()].dropna(subset="seconds")
        times = _listed(f"{row.engine} {row.seconds:.2g} s" for row in largest.itertuples())
        said.append(f"{part['size'].max():g} {variable}: {times}")
    return f"Time of ridge solvers. At {'; at '.join(said)}."


def alt_choices(table, unit="difference") -> str:
    """For :func:`plot_choices`."""
    require(table, "value", "verdict", of="alt_choices")
    counts = _listed(f"{verdict} in {n}" for verdict, n in table.verdict.value_counts().items())
    low, high = table.value.min(), table.value.max()
    return (
        f"{unit.capitalize()} under {len(table)} combinations of choices, {low:.3f} to {high:.3f}: {counts}."
    )


def alt_scenes(texts, titles=None) -> str:
    """For :func:`plot_scenes`: the answers, shortened."""
    said = []
    for k, answers in enumerate(texts):
        words = _listed(
            f"{label}: {str(answer).strip()[:60] or 'empty'}" for label, answer in answers.items()
        )
        said.append(f"{titles[k] if titles else f'picture {k + 1}'}: {words}")
    return f"{len(texts)} stimuli with the model's answers. {'; '.join(said)}."
