"""What the benchmarks measured against the limits that the project set itself, as a table of the book."""

import json
from dataclasses import dataclass
from functools import reduce
from pathlib import Path


@dataclass(frozen=True)
class Limit:
    """One measured figure and its limit.

    Parameters
    ----------
    what : str
        For readers.
    file, key : str
        JSON file of ``benchmarks/results``, and where in it the figure is, ``a/b`` for b inside a.
    form : str
        Format of figure and limit, with the unit.
    limit : float
    least : bool
        The limit is the least, not the most.
    """

    what: str
    file: str
    key: str
    form: str
    limit: float
    least: bool = False


LIMITS = (
    Limit("Peak memory while two sessions of a subject load", "loading", "peak_gigabytes", "{:.2f} GB", 4),
    Limit("The same, 40 sessions", "loading", "whole subject/ncsnr file/peak_gigabytes", "{:.2f} GB", 4),
    Limit("Loading time relative to a plain read of the same files", "loading", "ratio", "{:.2f}", 1.3),
    Limit("Speed of reading one stored layer, relative to a plain read of as many bytes that keeps nothing",
          "storage", "ratio", "{:.2f}", 0.5, True),
    Limit("The same, relative to a plain read of a file of 2.7 GB", "storage", "ratio_whole", "{:.2f}", 0.5,
          True),
    Limit("The same, relative to a plain read of as many bytes that keeps them in single precision",
          "storage", "ratio_kept", "{:.2f}", 0.5, True),
    Limit("Peak memory of one fit of a whole subject", "encoding_scale", "peak_gigabytes", "{:.2f} GB", 8),
    Limit("Artifacts that differ after a study was killed again and again", "robust",
          "differences_after_kills", "{:.0f}", 0),
    Limit("Artifacts that differ between one core and two", "robust", "differences_one_core", "{:.0f}", 0),
    Limit("Artifacts that differ between a local run and a Slurm cluster of one node", "slurm",
          "differences", "{:.0f}", 0),
    Limit("Largest difference after README's real-data section ran on a phantom, of the largest value",
          "real_data", "largest_difference", "{:.1g}", 1e-4),
    Limit("Largest factor between plan and records of three phantom studies", "plan", "largest_factor",
          "{:.2f}", 1.3),
    Limit("Largest difference between one and two threads, of the largest value", "robust",
          "largest_difference_two_threads", "{:.1g}", 1e-4),
)  # fmt: skip


def limits_table(results: Path, limits=LIMITS) -> str:
    """Markdown table of every limit, the figure that was measured, and whether it holds.

    Parameters
    ----------
    results : Path
        ``benchmarks/results``.
    limits : sequence of Limit
    """
    lines = ["| what | limit | measured | holds | where and when |", "|---|---|---|---|---|"]
    for limit in limits:
        path = results / f"{limit.file}.json"
        found = json.loads(path.read_text()) if path.is_file() else {}
        figure = reduce(lambda value, key: value.get(key, {}), limit.key.split("/"), found)
        bound = ("at least " if limit.least else "at most ") + limit.form.format(limit.limit)
        if isinstance(figure, dict):
            lines.append(f"| {limit.what} | {bound} | not measured yet | | |")
            continue
        holds = figure >= limit.limit if limit.least else figure <= limit.limit
        where = ", ".join(found[key] for key in ("machine", "date") if key in found)
        figure = limit.form.format(figure)
        lines.append(f"| {limit.what} | {bound} | {figure} | {'yes' if holds else '**no**'} | {where} |")
    return "\n".join(lines) + "\n"
