"""Noise ceilings: distributions per region, and one ceiling against the other."""

import numpy as np

from ..tables import PAPER_GROUPS
from ..titles import title_of
from . import marks
from .style import GRID, INK, MUTED, new_figure, require, styled

_CEILINGS = {
    "ncsnr": ("from repeats (ncsnr)", "#1f4fd1", "-"),
    "cross_subject": ("cross-subject", "#b93c0a", "--"),
    "extrapolated": ("cross-subject, extrapolated", "#0b7a67", (0, (1, 1))),
}


@styled
def plot_ceilings(table, figure=None, rois=PAPER_GROUPS, threshold=0.05, n_bins=30):
    """Histograms of the ceilings, one panel a region; voxels left of the threshold are dropped.

    Parameters
    ----------
    table : DataFrame
        One row per voxel, subject and region; columns roi, subject, ncsnr, cross_subject: ceilings of
        Pearson's r, NaN where undefined; extrapolated optional.
    threshold : float
        Smallest ceiling by which scores are divided: of variance (from repeats), of r (cross-subject).
    n_bins : int
        Between the smallest and the largest ceiling of the table.

    Returns
    -------
    figure : Figure
    """
    require(table, "roi", "subject", "ncsnr", "cross_subject", of="plot_ceilings")
    n_columns = min(2, len(rois))
    figure = figure or new_figure(height=1.2 + 1.5 * -(-len(rois) // n_columns))
    axes = marks.panels(figure, len(rois), n_columns, sharex=True)
    shown = {name: style for name, style in _CEILINGS.items() if name in table}
    every = table[list(shown)].to_numpy(float)
    edges = (
        np.linspace(*np.nanpercentile(every, [0, 100]), n_bins + 1) if np.isfinite(every).any() else [0, 1]
    )
    for ax, roi in zip(axes, rois, strict=True):
        part = table[table.roi == roi]
        ax.set_title(title_of(roi), loc="left")
        if not np.isfinite(part[list(shown)].to_numpy(float)).any():
            ax.text(0.5, 0.5, "no voxels in this region", transform=ax.transAxes, ha="center", color=MUTED)
        for name, (_, colour, line) in shown.items():
            values = part[name].dropna()
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                ax.hist(
                    values, edges, weights=weights, histtype="step", color=colour, ls=line, lw=1.6, gid=name
                )
                ax.axvline(values.median(), color=colour, ls=line, lw=0.9, gid=f"median {name}")
        for name, least in (("ncsnr", np.sqrt(threshold)), ("cross_subject", threshold)):
            ax.axvline(least, ymax=0.5, color=_CEILINGS[name][1], lw=2.6, alpha=0.5, gid="threshold")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_ylabel("share of voxels")
    for ax in axes[-n_columns:]:
        ax.set_xlabel("ceiling of r")
        ax.tick_params(labelbottom=True)
    entries = [marks.handle(title, colour, line=line) for title, colour, line in shown.values()]
    entries += [
        marks.handle("thin: median", MUTED, line="-", lw=0.9),
        marks.handle("half-high: threshold of each", MUTED, line="-", lw=2.6, alpha=0.5),
    ]
    marks.legend_below(figure, entries)
    return figure


@styled
def plot_ceiling_scatter(table, figure=None):
    """The cross-subject ceiling against the one from repeats, one panel a subject.

    Parameters
    ----------
    table : DataFrame
        One row per voxel and subject; columns subject, ncsnr, cross_subject.

    Returns
    -------
    figure : Figure
    """
    require(table, "subject", "ncsnr", "cross_subject", of="plot_ceiling_scatter")
    subjects = list(dict.fromkeys(table.subject))
    n_columns = min(2, len(subjects))
    figure = figure or new_figure(height=0.7 + 2.9 * -(-len(subjects) // n_columns))
    axes = marks.panels(figure, len(subjects), n_columns, sharex=True, sharey=True)
    for ax, subject in zip(axes, subjects, strict=True):
        part = table[table.subject == subject].dropna(subset=["ncsnr", "cross_subject"])
        options = {"s": 5, "alpha": 0.35, "color": "#1f4fd1", "lw": 0, "rasterized": True}
        ax.scatter(part.ncsnr, part.cross_subject, gid=f"subject {subject}", **options)
        ax.axline((0, 0), slope=1, color=INK, lw=0.8, ls="--")
        ax.grid(color=GRID, lw=0.7)
        ax.set_title(f"subject {subject} ({len(part)} voxels)", loc="left")
        ax.set(xlabel="ceiling from repeats", ylabel="cross-subject ceiling")
    return figure
