"""Models against regions: the comparison of figure 2, and the ablations."""

from textwrap import fill

import numpy as np

from ..models import MODEL_BY_ID
from ..tables import PAPER_GROUPS
from ..titles import title_of
from . import marks
from .style import ALL, GRID, INK, MUTED, ROLE_MARKS, model_marks, new_figure, require, styled

_ROLE_TITLES = {
    "mllm": "instruction-tuned MLLM",
    "vision": "vision only",
    "multimodal": "multimodal, not instruction-tuned",
    "baseline": "random initialisation",
    "ablation": "ablation",
}


@styled
def plot_models(table, figure=None, rois=PAPER_GROUPS, unit="normalised alignment", marks_legend=None):
    """Alignment of models, one panel a region.

    Parameters
    ----------
    table : DataFrame
        One row per model, region and subject; columns

        - model, roi : ids, in the order in which to show models
        - subject : number, or "all" for the mean over subjects
        - value : float, NaN where undefined
        - low, high : float, optional; interval of the mean (rows "all")
        - ceiling : float, optional; highest value a model could reach (rows "all")
        - null_low, null_high : float, optional; range under shuffled rows (rows "all")
        - mark : str, optional; significance mark (rows "all"), explained by ``marks_legend``
    figure : Figure or SubFigure or None
    rois : sequence of str
        A region without rows is shown as absent.
    unit : str
        Label of the value axis.
    marks_legend : dict of mark -> str, or None
        What each mark means, in words, written under the panels.

    Returns
    -------
    figure : Figure
    """
    require(table, "model", "roi", "subject", "value", of="plot_models")
    models = list(dict.fromkeys(table.model))
    n_rows = -(-len(rois) // 2)
    figure = figure or new_figure(height=1.5 + n_rows * (0.75 + 0.27 * len(models)))
    shared = dict(sharex=True, sharey=True)
    axes = marks.panels(figure, len(rois), min(2, len(rois)), **shared)
    for ax, roi in zip(axes, rois, strict=True):
        _models_panel(ax, table[table.roi == roi], models, roi)
    axes[0].set_yticks(range(len(models)), [title_of(m) for m in models])
    axes[0].set_ylim(len(models) - 0.4, -0.6)
    for ax in axes[-2:]:
        ax.set_xlabel(unit)
        ax.tick_params(labelbottom=True)
    marks.legend_below(figure, _legend(table, models, marks_legend or {}))
    return figure


def _models_panel(ax, table, models, roi):
    ax.set_title(title_of(roi), loc="left")
    if not np.isfinite(table.value).any():
        ax.text(0.5, 0.5, "no voxels in this region", transform=ax.transAxes, ha="center", color=MUTED)
        return
    marks.zero_line(ax)
    ax.use_sticky_edges = False  # bars of the null range keep off the frame
    for at, model in enumerate(models):
        rows = table[table.model == model]
        for _, row in rows[rows.subject.astype(str) == ALL].iterrows():
            if not np.isfinite(row.value):
                ax.text(0, at, " undefined", va="center", color=MUTED, fontsize=7.5)
                continue
            _context(ax, row, at)
            marks.mean_interval(ax, row, at, *model_marks(model))
            marks.significance(ax, row, at)
        marks.subject_points(ax, rows, at + 0.2)


def _context(ax, row, at):
    """Range under shuffled rows as a grey box, ceiling as a tick."""
    low, high, ceiling = (row.get(name, np.nan) for name in ("null_low", "null_high", "ceiling"))
    if np.isfinite(low) and np.isfinite(high):
        ax.barh(at, high - low, left=low, height=0.62, color=GRID, zorder=0.5, gid="null")
    if np.isfinite(ceiling):
        ax.plot([ceiling, ceiling], [at - 0.42, at + 0.42], color=INK, lw=1.3, ls=(0, (2, 1)), gid="ceiling")


def _legend(table, models, meanings):
    roles = list(dict.fromkeys(MODEL_BY_ID[m].role if m in MODEL_BY_ID else "ablation" for m in models))
    entries = [marks.handle(_ROLE_TITLES[r], ROLE_MARKS[r][0], ROLE_MARKS[r][1]) for r in roles]
    entries += marks.subject_entries(table)
    if marks.known(table, "ceiling"):
        entries.append(marks.handle("noise ceiling", INK, line=(0, (2, 1)), lw=1.3))
    if marks.known(table, "null_low", "null_high"):
        entries.append(marks.handle("range under shuffled rows", GRID, line="-", lw=7))
    return entries + marks.mark_entries(meanings)


@styled
def plot_ablations(table, figure=None, rois=("prf-visual", "higher"), unit="normalised alignment"):
    """What instruction tuning, image, instruction and training each bring; parameters stand beside scores.

    Parameters
    ----------
    table : DataFrame
        Columns of :func:`plot_models`, and

        - contrast : str; the comparison a row belongs to ("instruction tuning: with and without")
        - n_parameters : float; parameters of the model

        A model may be in several contrasts.
    figure, rois, unit
        As for :func:`plot_models`.

    Returns
    -------
    figure : Figure
    """
    require(table, "contrast", "model", "roi", "subject", "value", "n_parameters", of="plot_ablations")
    contrasts = {
        name: list(dict.fromkeys(part.model)) for name, part in table.groupby("contrast", sort=False)
    }
    heights = [len(models) + 0.9 for models in contrasts.values()]
    figure = figure or new_figure(height=1.7 + 0.32 * sum(heights))
    axes = figure.subplots(len(contrasts), len(rois), squeeze=False, sharex=True, height_ratios=heights)
    sizes = dict(zip(table.model, table.n_parameters, strict=True))
    for i, (line, (name, models)) in enumerate(zip(axes, contrasts.items(), strict=True)):
        for ax, roi in zip(line, rois, strict=True):
            part = table[(table.contrast == name) & (table.roi == roi)]
            _models_panel(ax, part, models, roi)
            heading = fill(title_of(roi), 22) if i == 0 else " "  # a blank keeps room for the contrast's name
            ax.set_title(heading, loc="left", pad=18 if i == 0 else 6)
            ax.set(yticks=range(len(models)), yticklabels=[], ylim=(len(models) - 0.4, -0.6))
        line[0].set_yticklabels([f"{title_of(m)} ({parameter_count(sizes[m])})" for m in models])
        title = line[0].annotate(
            name, (0, 1), (2, 3), "axes fraction", "offset points", style="italic", fontsize=9
        )
        title.set_in_layout(False)  # a title longer than its panel must not push the other panel out
    for ax in axes[-1]:
        ax.set_xlabel(unit)
    everyone = list(dict.fromkeys(table.model))
    marks.legend_below(figure, _legend(table, everyone, {}))
    return figure


def parameter_count(n_parameters: float) -> str:
    """Parameters in words: 7.9 B, 632 M, 51 k."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n_parameters >= unit:
            return f"{n_parameters / unit:.3g} {letter}"
    return f"{n_parameters:.0f}"
