"""What the book shows of the measurements in ``benchmarks/results``."""

from pathlib import Path

import pandas as pd

from ... import figures
from ...titles import title_of
from .generated import markdown_table

SOLVERS = {
    "ours": "**ours**",
    "himalaya": "himalaya RidgeCV, the authors' settings",
    "himalaya-tuned": "himalaya RidgeCV, larger batches",
    "himalaya-kernel": "himalaya KernelRidgeCV",
    "himalaya-fold": "himalaya RidgeCV, 5 x one fold, no refit",
    "sklearn-gcv": "scikit-learn RidgeCV (GCV)",
}
"""Titles of the solvers that ``benchmarks/ridge.py`` measures."""


GROWTH_CAPTION = (
    "Seconds of one fit with its cross-validation against the number of voxels, features and penalties, "
    "both axes logarithmic; what does not grow stays small, so that the peer can be measured in minutes."
)


def growth(results: Path, folder: Path) -> str:
    """Markdown of the plot of time against sizes; its picture is written into ``folder``."""
    if not results.is_file():
        return "Growth is not measured yet: `make benchmark`.\n"
    table = pd.read_csv(results)
    figures.plot_benchmark(table).savefig(folder / "ridge_growth.png", dpi=160, facecolor="white")
    text = f"```{{figure}} /book/{folder.name}/ridge_growth.png\n:alt: {figures.alt_benchmark(table)}\n"
    text += ":class: study-figure dark-light\n:name: fig-ridge-growth\n\n"
    return text + f"{GROWTH_CAPTION} {table.machine.iloc[0]}; {table.date.iloc[0]}.\n```\n"


def ridge_table(results: Path) -> str:
    """Markdown table of the ridge benchmark, from the file that ``benchmarks/ridge.py`` writes."""
    columns = "pictures, features, voxels, penalties | solver | seconds | ours is faster by | target"
    columns += " | extra memory MB | same penalty | share of roofline | runs | load"
    rows = []
    for row in _measured(results):
        shape = f"{row.n_stimuli}, {row.n_features}, {row.n_voxels}, {row.n_alphas}"
        shape += ", decaying spectrum" if row.row == "decaying" else ""
        ratio = "" if pd.isna(row.ratio) else f"{row.ratio:.1f}x (processor {row.cpu_ratio:.1f}x)"
        same = "" if pd.isna(row.same_alpha) else f"{100 * row.same_alpha:.2f} %"
        share = "" if pd.isna(row.share_of_gemm_roofline) else f"{row.share_of_gemm_roofline:.2f}"
        cells = (shape, SOLVERS[row.solver], f"{row.seconds:.1f}", ratio, _target(row), f"{row.extra_mb:.0f}")
        rows.append((*cells, same, share, row.n_runs, f"{row.load:.1f}"))
    return _measured_table(results, columns, rows)


def partition_table(results: Path) -> str:
    """Markdown table of the partition benchmark, from the file that ``benchmarks/partition.py`` writes."""
    columns = "pictures, features each, voxels, penalties | what | seconds | processor seconds"
    columns += " | measured on | ours is faster by | target | load"
    rows = []
    for row in _measured(results):
        shape = f"{row.n_stimuli}, {row.n_features}, {row.n_voxels}, {row.n_alphas}"
        seconds = (f"{row.seconds:.1f}", f"{row.cpu_seconds:.1f}")
        sample = "the whole" if pd.isna(row.sample) else row.sample
        ratio = "" if pd.isna(row.ratio) else f"{row.ratio:.1f}x (processor {row.cpu_ratio:.1f}x)"
        target = f"{row.target:g} s" if row.row == "phantom" and pd.notna(row.target) else _target(row)
        rows.append((shape, row.what, *seconds, sample, ratio, target, f"{row.load:.1f}"))
    return _measured_table(results, columns, rows)


def extraction_table(results: Path) -> str:
    """Markdown table of the extraction benchmark, from a file that ``benchmarks/extraction.py`` writes."""
    columns = (
        "model | rows together | seconds, ours (plain) | ours to plain (limit) | images/s | new tokens/s"
    )
    columns += " | share of peak rate | memory GB, ours (plain) | load"
    rows = []
    for row in _measured(results):
        tokens = "" if pd.isna(row.new_tokens_per_second) else f"{row.new_tokens_per_second:.0f}"
        share = "" if pd.isna(row.utilisation) else f"{100 * row.utilisation:.1f} %"
        limit = "" if pd.isna(row.target) else f" ({row.target:g}x)"
        times = (f"{row.ours_wall:.1f} ({row.plain_wall:.1f})", f"{row.ratio_wall:.2f}x{limit}")
        memory = f"{row.ours_peak_gb:.2g} ({row.plain_peak_gb:.2g})"
        millions = row.parameters_millions
        size = f"{millions / 1e3:.1f} billion" if millions >= 1000 else f"{millions} million"
        name = "ViT" if row.model == "vit" else title_of(row.model)  # a mid-size one, no row of the table
        cells = (f"{name}, {size}", row.rows, *times, f"{row.images_per_second:.2f}")
        rows.append((*cells, tokens, share, memory, f"{row.load:.1f}"))
    return _measured_table(results, columns, rows)


def _measured(results):
    return pd.read_csv(results).itertuples() if results.is_file() else ()


def _target(row):
    return "" if pd.isna(row.target) else f"{row.target:g}x"


def _measured_table(results, columns, rows):
    """Markdown table with machine, versions and dates below it."""
    if not results.is_file():
        return "Not measured yet: `make benchmark`.\n"
    table = pd.read_csv(results)
    dates = sorted(table.date)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    machine = table["machine"] if "machine" in table else table["hardware"]
    facts = "; ".join([*dict.fromkeys(machine), *dict.fromkeys(table.versions)])
    return f"{markdown_table(columns.split(' | '), rows)}\n\nMachine: {facts}; {when}.\n"
