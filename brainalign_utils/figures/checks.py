"""Checks of the machinery: noise ceilings, planted values against estimates, and choices of analysis."""

import numpy as np

from ..tables import PAPER_GROUPS
from ..titles import title_of
from . import marks
from .style import BLUE, GREEN, GRID, INK, MUTED, RED, WARNING, line_styles, new_figure, styled

_CEILINGS = {
    "ncsnr": ("from repeats (ncsnr)", BLUE, "-"),
    "cross_subject": ("cross-subject", RED, "--"),
    "extrapolated": ("cross-subject, extrapolated", GREEN, (0, (1, 1))),
}
_N_BINS = 30


@styled
def plot_ceilings(table, threshold=0.05):
    """Histograms of the ceilings, one panel per region; voxels left of the threshold are dropped.

    Parameters
    ----------
    table : DataFrame
        One row per voxel, subject and region; columns roi, subject, ncsnr, cross_subject: ceilings of
        Pearson's r, NaN where undefined; extrapolated optional.  Regions of the paper that have no rows are
        shown as absent.
    threshold : float
        Smallest ceiling by which scores are divided: of variance (from repeats), of r (cross-subject).

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
    >>> table = pd.DataFrame({"ncsnr": [0.2, 0.6], "cross_subject": [0.1, None], "roi": "faces"})
    >>> figure = plot_ceilings(table.assign(subject=1))
    >>> figure.axes[3].get_title("left"), figure.axes[4].texts[0].get_text()
    ('faces', 'no voxels in this region')
    """
    marks.require(table, "roi", "subject", "ncsnr", "cross_subject", of="plot_ceilings")
    figure, axes, bottom = marks.panels(PAPER_GROUPS, 2, 1.5, extra=1.2, sharex=True)
    shown = {name: style for name, style in _CEILINGS.items() if name in table}
    every = table[list(shown)].to_numpy(float)
    known = every[np.isfinite(every)]
    edges = np.histogram_bin_edges(known, _N_BINS)
    for ax, roi in zip(axes, PAPER_GROUPS, strict=True):
        part = table[table.roi == roi]
        if not np.isfinite(part[list(shown)].to_numpy(float)).any():
            marks.note(ax)
        for name, (_, colour, line) in shown.items():
            values = part[name].dropna()
            if len(values):
                style = {"histtype": "step", "color": colour, "ls": line, "lw": 1.6, "gid": name}
                ax.hist(values, edges, weights=np.full(len(values), 1 / len(values)), **style)
                ax.axvline(values.median(), color=colour, ls=line, lw=0.9, gid=f"median {name}")
        for name, least in (("ncsnr", np.sqrt(threshold)), ("cross_subject", threshold)):
            ax.axvline(least, ymax=0.5, color=_CEILINGS[name][1], lw=2.6, alpha=0.5, gid="threshold")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_ylabel("share of voxels")
    for ax in bottom:
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
def plot_ceiling_scatter(table):
    """The cross-subject ceiling against the one from repeats, one panel per subject.

    Parameters
    ----------
    table : DataFrame
        One row per voxel and subject; columns subject, ncsnr, cross_subject.

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
    >>> table = pd.DataFrame({"subject": 1, "ncsnr": [0.2, 0.6], "cross_subject": [0.1, None]})
    >>> plot_ceiling_scatter(table).axes[0].get_title("left")
    'subject 1 (1 voxels)'
    """
    marks.require(table, "subject", "ncsnr", "cross_subject", of="plot_ceiling_scatter")
    parts = dict(list(table.dropna(subset=["ncsnr", "cross_subject"]).groupby("subject")))
    subjects = list(dict.fromkeys(table.subject))
    sizes = {s: len(parts.get(s, ())) for s in subjects}
    titles = {s: f"subject {s} ({sizes[s]} voxels)" for s in subjects}
    figure, axes, _ = marks.panels(subjects, 2, 2.9, extra=0.7, titles=titles.get, sharex=True, sharey=True)
    for ax, subject in zip(axes, subjects, strict=True):
        if sizes[subject]:
            style = {"s": 5, "alpha": 0.35, "color": BLUE, "lw": 0, "rasterized": True}
            ax.scatter(parts[subject].ncsnr, parts[subject].cross_subject, gid=f"subject {subject}", **style)
        else:
            marks.note(ax, "no voxel has both ceilings")
        ax.axline((0, 0), slope=1, color=INK, lw=0.8, ls="--")
        ax.grid(color=GRID, lw=0.7)
        ax.set(xlabel="ceiling from repeats", ylabel="cross-subject ceiling")
    return figure


def alt_ceilings(table, rois=PAPER_GROUPS, threshold=0.05) -> str:
    """Alternative text of :func:`plot_ceilings` and, of one region, of :func:`plot_ceiling_scatter`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"roi": "faces", "subject": 1, "ncsnr": [0.2, 0.6], "cross_subject": [0.1, 0.5]})
    >>> alt_ceilings(table, rois=["faces"])
    'Noise ceilings of r, 1 subject. faces: median 0.40 from repeats (50% below 0.05 of variance), ...'
    """
    said = []
    for roi in rois:
        part = table[table.roi == roi]
        if not part.ncsnr.notna().any():
            said.append(f"{title_of(roi)}: no voxels")
            continue
        below = f"{(~(part.ncsnr**2 >= threshold)).mean():.0%} below {threshold:g} of variance"
        other = part.cross_subject.median()
        other = f"{other:.2f} cross-subject" if np.isfinite(other) else "no cross-subject ceiling"
        said.append(f"{title_of(roi)}: median {part.ncsnr.median():.2f} from repeats ({below}), {other}")
    return f"Noise ceilings of r, {marks.n_subjects(table)}. {'; '.join(said)}."


@styled
def plot_recovery(table):
    """Estimate against planted value, or against chance, one panel per quantity.

    Parameters
    ----------
    table : DataFrame
        One row per check; columns

        - quantity : str; panel title
        - planted, estimated : float
        - low, high : float, optional; interval of the estimate
        - passed : bool; verdict of the check
        - chance : float, optional; a quantity that has one is drawn against it, not against the planted value

    Returns
    -------
    figure : Figure
        Filled circles pass, open crosses fail; the title counts them.

    Raises
    ------
    ValueError
        When the table has no rows or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"quantity": "ceiling", "planted": [0.2, 0.4], "estimated": [0.2, 0.7]})
    >>> plot_recovery(table.assign(passed=[True, False])).axes[0].get_title("left")
    'ceiling\\n1 of 2 pass'
    """
    marks.require(table, "quantity", "planted", "estimated", "passed", of="plot_recovery")
    parts = dict(list(table.groupby("quantity", sort=False)))
    figure, axes, _ = marks.panels(parts, 3, 2.1, extra=0.9)
    for ax, (name, part) in zip(axes, parts.items(), strict=True):
        against = "chance" if marks.known(part, "chance") else "planted"
        part = part.assign(planted=part[against])
        passed = part.passed.astype(bool)
        if {"low", "high"} <= set(part.columns):
            ax.vlines(part.planted, part.low, part.high, color=GRID, lw=1.6, zorder=1, gid="interval")
        good, bad = part[passed], part[~passed]
        ax.plot(good.planted, good.estimated, "o", ms=5, mfc=GREEN, mec="white", mew=0.5, gid="passed")
        ax.plot(bad.planted, bad.estimated, "x", ms=7, mec=WARNING, mew=1.8, gid="failed")
        ax.axline((0, 0), slope=1, color=INK, lw=0.8, ls="--", zorder=0.5)
        ax.set_title(f"{marks.lines(name, 24)}\n{passed.sum()} of {len(part)} pass", loc="left", fontsize=9.5)
        ax.set(xlabel="by chance" if against == "chance" else "planted", ylabel="estimated")
        ax.locator_params(nbins=4)
    entries = [
        marks.handle("pass", GREEN, "o"),
        marks.handle("fail", WARNING, "x", mec=WARNING, mew=1.8),
        marks.handle("both equal", INK, line="--", lw=0.8),
    ]
    marks.legend_below(figure, entries, n_columns=3)
    return figure


def alt_recovery(table) -> str:
    """Alternative text of :func:`plot_recovery`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"quantity": "ceiling", "planted": [0.2, 0.4], "estimated": [0.2, 0.7]})
    >>> alt_recovery(table.assign(passed=[True, False]))
    'Estimates against planted values. ceiling: 1 of 2 pass, largest error 0.300.'
    """
    said = []
    for name, part in table.groupby("quantity", sort=False):
        error = (part.estimated - part.planted).abs().max()
        said.append(f"{name}: {int(part.passed.sum())} of {len(part)} pass, largest error {error:.3f}")
    return f"Estimates against planted values. {'; '.join(said)}."


@styled
def plot_choices(table, unit="difference"):
    """One outcome under many choices of analysis, sorted; dots below say which choices were taken.

    Parameters
    ----------
    table : DataFrame
        One row per combination; columns value, low and high (optional), verdict (str; decides the colour),
        and one column of str per choice.
    unit : str
        Of the values.

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
    >>> table = pd.DataFrame({"layer": ["best", "last"], "value": [0.1, -0.2], "verdict": ["above", "below"]})
    >>> top, below = plot_choices(table).axes
    >>> [label.get_text() for label in below.get_yticklabels()]
    ['layer: last', 'layer: best']
    """
    marks.require(table, "value", "verdict", of="plot_choices")
    table = table.sort_values("value", kind="stable").reset_index(drop=True)
    choices = [c for c in table.columns if c not in ("value", "low", "high", "verdict")]
    levels = [(c, level) for c in choices for level in dict.fromkeys(table[c])]
    rows = max(len(levels), 1)
    figure = new_figure(height=2.6 + 0.21 * rows)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 0.21 * rows])
    verdicts = line_styles(table.verdict)
    for at, row in table.iterrows():
        colour, _, marker = verdicts[row.verdict]
        marks.mean_interval(top, row, at, colour, marker, horizontal=False, ms=5)
        for k, (choice, level) in enumerate(levels):
            if row[choice] == level:
                below.plot(at, k, "s", ms=3.5, color=colour, gid="choice")
    marks.zero_line(top, horizontal=False)
    top.set_ylabel(marks.lines(unit, 26))
    below.set_yticks(range(len(levels)), [marks.lines(f"{choice}: {level}", 40) for choice, level in levels])
    below.set_ylim(rows - 0.4, -0.6)
    below.set_xlabel("combinations, from smallest to largest")
    below.tick_params(axis="x", labelbottom=False, length=0)
    below.grid(axis="y", color=GRID, lw=0.6)
    below.spines[:].set_color(MUTED)
    marks.legend_below(figure, [marks.handle(v, c, marker) for v, (c, _, marker) in verdicts.items()])
    return figure


def alt_choices(table, unit="difference") -> str:
    """Alternative text of :func:`plot_choices`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"layer": ["best", "last"], "value": [0.1, -0.2], "verdict": ["above", "below"]})
    >>> alt_choices(table)
    'Difference under 2 combinations of choices, -0.200 to 0.100: above in 1 and below in 1.'
    """
    counts = marks.listed(f"{verdict} in {n}" for verdict, n in table.verdict.value_counts().items())
    low, high = table.value.min(), table.value.max()
    return (
        f"{unit.capitalize()} under {len(table)} combinations of choices, {low:.3f} to {high:.3f}: {counts}."
    )
