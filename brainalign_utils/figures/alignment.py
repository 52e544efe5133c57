"""Alignment of models with regions: models side by side (figure 2), ablations, and layers (figure 5)."""

import numpy as np

from ..tables import PAPER_GROUPS
from ..titles import title_of
from . import marks
from .style import (
    ALL,
    GRID,
    INK,
    MUTED,
    ROLE_MARKS,
    line_styles,
    model_marks,
    new_figure,
    role_of,
    styled,
)

UNIT = "normalised alignment"
_ROLE_TITLES = {
    "mllm": "instruction-tuned MLLM",
    "vision": "vision only",
    "multimodal": "multimodal, not instruction-tuned",
    "baseline": "random initialisation",
    "ablation": "ablation",
}
_COMPONENTS = {"vision": "vision", "qformer": "Q-Former", "language": "language"}
_STEP = 1.2
"""From the start of one component to that of the next, in relative depths."""


@styled
def plot_models(table, rois=PAPER_GROUPS, marks_legend=None):
    """Alignment of models, one panel per region.

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
    rois : sequence of str
        A region without rows is shown as absent.
    marks_legend : dict of mark -> str, or None
        What each mark means, in words, written under the panels.

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("vit-h", "faces", 1, 0.3), ("idefics", "faces", 1, 0.4)]
    >>> table = pd.DataFrame(rows, columns=["model", "roi", "subject", "value"])
    >>> figure = plot_models(table, rois=["faces", "words"])
    >>> [ax.get_title("left") for ax in figure.axes]
    ['faces', 'words']
    """
    marks.require(table, "model", "roi", "subject", "value", of="plot_models")
    models = list(dict.fromkeys(table.model))
    height = 0.75 + 0.27 * len(models)
    figure, axes, bottom = marks.panels(rois, 2, height, extra=1.5, sharex=True, sharey=True)
    for ax, roi in zip(axes, rois, strict=True):
        _models_panel(ax, table[table.roi == roi], models)
    axes[0].set_yticks(range(len(models)), [marks.lines(title_of(m), 30) for m in models])
    axes[0].set_ylim(len(models) - 0.4, -0.6)
    for ax in bottom:
        ax.set_xlabel(UNIT)
        ax.tick_params(labelbottom=True)
    meanings = [marks.handle(f"{mark}  {meaning}") for mark, meaning in (marks_legend or {}).items()]
    marks.legend_below(figure, _models_legend(table, models) + meanings)
    return figure


def alt_models(table, rois=PAPER_GROUPS) -> str:
    """Alternative text of :func:`plot_models` and, by region, of :func:`plot_ablations`.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("vit-h", "faces", 1, 0.3), ("idefics", "faces", 1, 0.4)]
    >>> table = pd.DataFrame(rows, columns=["model", "roi", "subject", "value"])
    >>> alt_models(table, rois=["faces"])
    'Dot plot of normalised alignment of ViT-H/14 and IDEFICS, 1 subject. faces: highest IDEFICS 0.40, ...'
    """
    means = marks.means(table)
    said = [
        f"{title_of(r)}: {marks.extremes(marks.value_by(means[means.roi == r], 'model'), title_of)}"
        for r in rois
    ]
    models = marks.listed(map(title_of, dict.fromkeys(table.model)))
    return f"Dot plot of {UNIT} of {models}, {marks.n_subjects(table)}. {'; '.join(said)}."


def _models_panel(ax, table, models):
    if not np.isfinite(table.value).any():
        marks.note(ax)
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
            _significance(ax, row, at)
        marks.subject_points(ax, rows, at + 0.2)


def _context(ax, row, at):
    """Range under shuffled rows as a grey box, ceiling as a tick."""
    low, high, ceiling = (row.get(name, np.nan) for name in ("null_low", "null_high", "ceiling"))
    if np.isfinite(low) and np.isfinite(high):
        ax.barh(at, high - low, left=low, height=0.62, color=GRID, zorder=0.5, gid="null")
    if np.isfinite(ceiling):
        ax.plot([ceiling, ceiling], [at - 0.42, at + 0.42], color=INK, lw=1.3, ls=(0, (2, 1)), gid="ceiling")


def _significance(ax, row, at):
    """The mark of a mean, right of it and its interval; empty or missing marks draw nothing."""
    mark = row.get("mark", "")
    if isinstance(mark, str) and mark:
        spot = np.nanmax([row.value, row.get("high", np.nan)]), at
        ax.annotate(mark, spot, (4, 0), textcoords="offset points", va="center", fontsize=9, gid="mark")


def _models_legend(table, models):
    entries = [marks.handle(_ROLE_TITLES[r], *ROLE_MARKS[r]) for r in dict.fromkeys(map(role_of, models))]
    entries += marks.subject_entries(table)
    if marks.known(table, "ceiling"):
        entries.append(marks.handle("noise ceiling", INK, line=(0, (2, 1)), lw=1.3))
    if marks.known(table, "null_low", "null_high"):
        entries.append(marks.handle("range under shuffled rows", GRID, line="-", lw=7))
    return entries


@styled
def plot_ablations(table):
    """What instruction tuning, image, instruction and training each bring; parameters stand beside scores.

    Parameters
    ----------
    table : DataFrame
        Columns of :func:`plot_models`, for the regions "prf-visual" and "higher", and

        - contrast : str; the comparison a row belongs to ("instruction tuning: with and without")
        - n_parameters : float; parameters of the model

        A model may be in several contrasts.

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"model": ["instructblip", "blip-2"], "n_parameters": [7.9e9, 7.7e9]})
    >>> table = table.assign(contrast="instruction tuning", roi="higher", subject=1, value=0.4)
    >>> left, right = plot_ablations(table).axes
    >>> [label.get_text() for label in left.get_yticklabels()]
    ['InstructBLIP (7.9 B)', 'blip-2 (7.7 B)']
    """
    marks.require(table, "contrast", "model", "roi", "subject", "value", "n_parameters", of="plot_ablations")
    rois = ("prf-visual", "higher")
    contrasts = {
        name: list(dict.fromkeys(part.model)) for name, part in table.groupby("contrast", sort=False)
    }
    heights = [len(models) + 0.9 for models in contrasts.values()]
    figure = new_figure(height=1.7 + 0.32 * sum(heights))
    axes = figure.subplots(len(contrasts), len(rois), squeeze=False, sharex=True, height_ratios=heights)
    sizes = dict(zip(table.model, table.n_parameters, strict=True))
    for i, (line, (name, models)) in enumerate(zip(axes, contrasts.items(), strict=True)):
        for ax, roi in zip(line, rois, strict=True):
            _models_panel(ax, table[(table.contrast == name) & (table.roi == roi)], models)
            heading = (
                marks.lines(title_of(roi), 22) if i == 0 else " "
            )  # a blank keeps room for the contrast's name
            ax.set_title(heading, loc="left", pad=18 if i == 0 else 6)
            ax.set(yticks=range(len(models)), yticklabels=[], ylim=(len(models) - 0.4, -0.6))
        line[0].set_yticklabels([marks.lines(f"{title_of(m)} ({_parameters(sizes[m])})", 36) for m in models])
        title = line[0].annotate(
            name, (0, 1), (2, 3), "axes fraction", "offset points", style="oblique", fontsize=9
        )
        title.set_in_layout(False)  # a title longer than its panel must not push the other panel out
    for ax in axes[-1]:
        ax.set_xlabel(UNIT)
    marks.legend_below(figure, _models_legend(table, dict.fromkeys(table.model)))
    return figure


def _parameters(n_parameters: float) -> str:
    """Parameters in words: 7.9 B, 632 M, 51 k."""
    for unit, letter in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if n_parameters >= unit:
            return f"{n_parameters / unit:.3g}{letter}"
    return f"{n_parameters:.0f}"


def component_title(model: str, component: str) -> str:
    """Name of one part of a model shown to readers.

    Examples
    --------
    >>> component_title("instructblip", "qformer")
    'InstructBLIP, Q-Former'
    """
    return f"{title_of(model)}, {_COMPONENTS.get(component, component)}"


@styled
def plot_layers(table):
    """Alignment over relative depth, one panel per region; components stand side by side, never on one axis.

    Parameters
    ----------
    table : DataFrame
        One row per model, component, layer, region and subject; columns

        - model : id; component : "vision", "qformer" or "language"
        - depth : float, layer / last layer of the component, 0 to 1
        - roi : id; regions of the paper that have no rows are shown as absent
        - subject : number, or "all" for the mean over subjects; subjects are drawn thin, the mean thick
        - value : float; low, high : float, optional (rows "all"), a band

    Returns
    -------
    figure : Figure
        The best layer of each mean curve carries a marker.

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"depth": [0, 0.5, 1], "value": [0.1, 0.3, 0.2]})
    >>> table = table.assign(model="idefics", component="language", roi="faces", subject="all")
    >>> figure = plot_layers(table)
    >>> figure.axes[0].get_ylabel()
    'normalised alignment'
    """
    marks.require(table, "model", "component", "depth", "roi", "subject", "value", of="plot_layers")
    lines = line_styles(table.model)
    components = sorted(dict.fromkeys(table.component), key=[*_COMPONENTS, *table.component].index)
    figure, axes, bottom = marks.panels(PAPER_GROUPS, 2, 2.0, extra=1.1, sharex=True, sharey=True)
    for ax, roi in zip(axes, PAPER_GROUPS, strict=True):
        part = table[table.roi == roi]
        ax.set_title(title_of(roi), loc="left", pad=18)
        _segments(ax, components)
        if not np.isfinite(part.value).any():
            marks.note(ax)
        for model, line in lines.items():
            for k, component in enumerate(components):
                rows = part[(part.model == model) & (part.component == component)]
                _curve(
                    ax,
                    rows.sort_values("depth", kind="stable"),
                    _STEP * k,
                    *line,
                    label=f"{model} {component}",
                )
    for ax in bottom:
        ax.set_xlabel("relative depth in each component")
        ax.tick_params(labelbottom=True)
    for ax in axes[::2]:
        ax.set_ylabel(UNIT)
    entries = [
        marks.handle(marks.lines(title_of(m), 40), c, marker, line) for m, (c, line, marker) in lines.items()
    ]
    banded = "; band: interval" if marks.known(table, "low", "high") else ""
    entries.append(marks.handle(f"marker: best layer; thin: subjects{banded}"))
    marks.legend_below(figure, entries)
    return figure


def alt_layers(table) -> str:
    """Alternative text of :func:`plot_layers`: model and depth of the highest mean in each component.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"depth": [0, 0.5, 1], "value": [0.1, 0.3, 0.2]})
    >>> table = table.assign(model="idefics", component="language", roi="faces", subject="all")
    >>> "faces: language IDEFICS 0.30 at depth 0.50" in alt_layers(table)
    True
    """
    said = []
    for roi in PAPER_GROUPS:
        part = marks.means(table[table.roi == roi]).dropna(subset="value")
        peaks = part.loc[part.groupby("component", sort=False).value.idxmax()]
        each = [
            f"{row.component} {title_of(row.model)} {row.value:.2f} at depth {row.depth:.2f}"
            for row in peaks.itertuples()
        ]
        said.append(f"{title_of(roi)}: {marks.listed(each) if each else 'no voxels'}")
    return f"Curves of {UNIT} over relative depth, {marks.n_subjects(table)}; peaks, {'; '.join(said)}."


def _segments(ax, components):
    """One stretch of the horizontal axis for each component, 0 to 1, with its name above."""
    ax.axhline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", color=GRID, lw=0.7)
    for k, component in enumerate(components):
        if k:
            ax.axvline(_STEP * k - 0.1, color=MUTED, lw=0.8, ls=":")
        spot = (_STEP * k + 0.5, 1), (0, 3), ("data", "axes fraction"), "offset points"
        ax.annotate(_COMPONENTS.get(component, component), *spot, ha="center", fontsize=8.5, color=MUTED)
    starts = _STEP * np.arange(len(components))
    ax.set_xticks(np.ravel(starts[:, None] + [0, 0.5, 1]), ["0", ".5", "1"] * len(components))
    ax.set_xlim(-0.05, starts[-1] + 1.05 if len(starts) else 1.05)


def _curve(ax, rows, start, colour, line, marker, label):
    mean = rows[rows.subject.astype(str) == ALL]
    for _, one in rows[rows.subject.astype(str) != ALL].groupby("subject", sort=False):
        ax.plot(start + one.depth, one.value, color=colour, lw=0.6, alpha=0.35, gid=f"subject {label}")
    if marks.known(mean, "low", "high"):
        ax.fill_between(start + mean.depth, mean.low, mean.high, color=colour, alpha=0.15, lw=0)
    ax.plot(start + mean.depth, mean.value, color=colour, ls=line, lw=1.8, gid=f"mean {label}")
    if np.isfinite(mean.value).any():
        best = mean.loc[mean.value.idxmax()]
        style = {"marker": marker, "ms": 7, "mfc": colour, "mec": "white"}
        ax.plot(start + best.depth, best.value, **style, gid=f"best {label}")
