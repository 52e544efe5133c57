"""Alignment over the depth of models: figure 5."""

import numpy as np

from ..tables import PAPER_GROUPS
from ..titles import title_of
from . import marks
from .style import ALL, GRID, INK, MUTED, new_figure, require, styled

COMPONENTS = ("vision", "qformer", "language")
_STEP = 1.2
_TITLES = {"vision": "vision", "qformer": "Q-Former", "language": "language"}
_LINES = (
    ("#b93c0a", "-", "o"),
    ("#1f4fd1", (0, (4, 1.5)), "s"),
    ("#0b7a67", (0, (1, 1)), "D"),
    ("#7a1fa2", (0, (6, 1, 1, 1)), "^"),
    ("#57606a", (0, (3, 1, 1, 1, 1, 1)), "v"),
)


def component_title(model: str, component: str) -> str:
    """Name of one part of a model shown to readers: ``InstructBLIP, Q-Former``."""
    return f"{title_of(model)}, {_TITLES.get(component, component)}"


@styled
def plot_layers(table, figure=None, rois=PAPER_GROUPS, unit="normalised alignment", components=COMPONENTS):
    """Alignment over relative depth, one panel a region; components stand side by side, never on one axis.

    Parameters
    ----------
    table : DataFrame
        One row per model, component, layer, region and subject; columns

        - model : id; component : "vision", "qformer" or "language"
        - depth : float, layer / last layer of the component, 0 to 1
        - roi : id
        - subject : number, or "all" for the mean over subjects; subjects are drawn thin, the mean thick
        - value : float; low, high : float, optional (rows "all"), a band

    Returns
    -------
    figure : Figure
        The best layer of each mean curve carries a marker.
    """
    require(table, "model", "component", "depth", "roi", "subject", "value", of="plot_layers")
    models = list(dict.fromkeys(table.model))
    lines = dict(zip(models, _LINES * (1 + len(models) // len(_LINES)), strict=False))
    components = [c for c in components if c in set(table.component)]
    n_columns = min(2, len(rois))
    figure = figure or new_figure(height=1.1 + 2.0 * -(-len(rois) // n_columns))
    axes = marks.panels(figure, len(rois), n_columns, sharex=True, sharey=True)
    for ax, roi in zip(axes, rois, strict=True):
        part = table[table.roi == roi]
        ax.set_title(title_of(roi), loc="left", pad=18)
        _segments(ax, components)
        if not np.isfinite(part.value).any():
            ax.text(0.5, 0.5, "no voxels in this region", transform=ax.transAxes, ha="center", color=MUTED)
        for model, line in lines.items():
            for k, component in enumerate(components):
                rows = part[(part.model == model) & (part.component == component)]
                _curve(ax, rows.sort_values("depth"), _STEP * k, *line, label=f"{model} {component}")
    for ax in axes[-n_columns:]:
        ax.set_xlabel("relative depth in each component")
        ax.tick_params(labelbottom=True)
    for ax in axes[::n_columns]:
        ax.set_ylabel(unit)
    entries = [marks.handle(title_of(m), c, marker, line) for m, (c, line, marker) in lines.items()]
    banded = "; band: interval" if marks.known(table, "low", "high") else ""
    entries.append(marks.handle(f"marker: best layer; thin: subjects{banded}"))
    marks.legend_below(figure, entries)
    return figure


def _segments(ax, components):
    """One stretch of the x axis for each component, 0 to 1, with its name above."""
    ax.axhline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", color=GRID, lw=0.7)
    for k, component in enumerate(components):
        start = _STEP * k
        if k:
            ax.axvline(start - 0.1, color=MUTED, lw=0.8, ls=":")
        ax.annotate(
            _TITLES.get(component, component),
            (start + 0.5, 1),
            (0, 3),
            ("data", "axes fraction"),
            "offset points",
            ha="center",
            fontsize=8.5,
            color=MUTED,
        )
    starts = _STEP * np.arange(len(components))
    ax.set_xticks(np.ravel(starts[:, None] + [0, 0.5, 1]), ["0", ".5", "1"] * len(components))
    ax.set_xlim(-0.05, starts[-1] + 1.05 if len(starts) else 1.05)


def _curve(ax, rows, start, colour, line, marker, label):
    mean = rows[rows.subject.astype(str) == ALL]
    for _, one in rows[rows.subject.astype(str) != ALL].groupby("subject", sort=False):
        ax.plot(start + one.depth, one.value, color=colour, lw=0.6, alpha=0.35, gid=f"subject {label}")
    if {"low", "high"} <= set(mean.columns) and mean.low.notna().any():
        x = (start + mean.depth).to_numpy(float)
        low, high = mean.low.to_numpy(float), mean.high.to_numpy(float)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    ax.plot(start + mean.depth, mean.value, color=colour, ls=line, lw=1.8, gid=f"mean {label}")
    if np.isfinite(mean.value).any():
        best = mean.loc[mean.value.idxmax()]
        ax.plot(
            start + best.depth, best.value, marker=marker, ms=7, mfc=colour, mec="white", gid=f"best {label}"
        )
