"""Figures carry the numbers of their tables, survive what is missing, and can be read by everyone."""

import doctest
import importlib
import pkgutil
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fixtures import figure_tables as simulated
from fixtures.figure_tables import by_gid, words

from brainalign_utils import figures
from brainalign_utils.figures import style
from brainalign_utils.tables import INSTRUCTIONS


def drawn(ax, gid, axis=0):
    """Data of the lines with a group id, along x (0) or y (1), in one array."""
    lines = [np.atleast_1d(np.asarray(line.get_data()[axis], float)) for line in by_gid(ax, gid)]
    return np.concatenate(lines) if lines else np.empty(0)


# --- every figure, and tables as studies have them ------------


def winner_maps():
    maps, cortex, areas = simulated.flat_maps()
    ids = list(simulated.INSTRUCTIONS)
    best = {
        t: (np.where(np.isfinite(v), 9 * np.nan_to_num(v), -1).astype(int), v / 9) for t, v in maps.items()
    }
    return best, cortex, ids, areas


def agreement_table(models=("instructblip", "idefics", "mplug-owl")):
    rows = [(a, b, 0.4, 0.13) for k, a in enumerate(models) for b in models[k + 1 :]]
    return pd.DataFrame(rows, columns=["model_a", "model_b", "value", "chance"])


FIGURES = {
    "models": (figures.plot_models, simulated.models_table, figures.alt_models),
    "ablations": (figures.plot_ablations, simulated.ablations_table, figures.alt_models),
    "concepts": (figures.plot_concepts, simulated.concepts_table, figures.alt_concepts),
    "instructions": (figures.plot_instructions, simulated.instructions_table, figures.alt_instructions),
    "layers": (figures.plot_layers, simulated.layers_table, figures.alt_layers),
    "winner_shares": (figures.plot_winner_shares, simulated.shares_table, figures.alt_winner_shares),
    "agreement": (figures.plot_agreement, agreement_table, figures.alt_agreement),
    "pairs": (figures.plot_pair_matrix, simulated.pairs_table, figures.alt_pair_matrix),
    "pair_tests": (figures.plot_pair_tests, simulated.pair_tests_table, figures.alt_pair_tests),
    "venns": (figures.plot_venns, simulated.venns_table, figures.alt_venns),
    "early_higher": (figures.plot_early_higher, simulated.early_higher_table, figures.alt_early_higher),
    "ceilings": (figures.plot_ceilings, simulated.ceilings_table, figures.alt_ceilings),
    "ceiling_scatter": (figures.plot_ceiling_scatter, simulated.ceilings_table, figures.alt_ceilings),
    "recovery": (figures.plot_recovery, simulated.recovery_table, figures.alt_recovery),
    "choices": (figures.plot_choices, simulated.choices_table, figures.alt_choices),
}
"""Of each figure: what draws it, a table, and what describes it."""

LONG = "a very long title of something that somebody named without thinking of the width of a panel " * 2
NUMBERS = ("value", "low", "high", "unique_a", "unique_b", "shared", "estimate", "q", "share", "ncsnr")
NUMBERS += ("cross_subject", "estimated", "ceiling", "null_low", "null_high", "chance")


def numbers(table):
    return [c for c in NUMBERS if c in table and pd.api.types.is_numeric_dtype(table[c])]


def keep(table, column, *values):
    return table[table[column].isin(values)] if column in table else None


def undefined(table, column, value):
    """The numbers of some rows are NaN."""
    if column not in table:
        return None
    table = table.astype(dict.fromkeys(numbers(table), float))
    table.loc[table[column] == value, numbers(table)] = np.nan
    return table


def renamed(table, *columns):
    """Long names; the order stays."""
    found = [c for c in columns if c in table]
    return table.assign(**{c: table[c].map(lambda v: f"{v} {LONG}") for c in found}) if found else None


def many_models(table):
    if "model_a" in table:
        return agreement_table([f"model-{k}" for k in range(30)])
    if "model" not in table:
        return None
    one = table[(table.model == table.model.iloc[0]) & (table.roi == table.roi.iloc[0])]
    return pd.concat([one.assign(model=f"model-{k}") for k in range(30)], ignore_index=True)


def without(table, subject, roi):
    if not {"subject", "roi"} <= set(table):
        return None
    return table[(table.subject != subject) | (table.roi != roi)]


CASES = {
    "as it is": lambda t: t,
    "duplicate row labels": lambda t: pd.concat([t[::2], t[1::2]]).set_axis([0] * len(t)),
    "a region of NaN": lambda t: undefined(t, "roi", t.roi.iloc[0]) if "roi" in t else None,
    "a panel of NaN": lambda t: undefined(t, "panel", t.panel.iloc[0]) if "panel" in t else None,
    "all NaN": lambda t: undefined(t.assign(every=1), "every", 1).drop(columns="every"),
    "a subject lacks a region": lambda t: without(t, 2, "prf-visual"),
    "a region lacks": lambda t: t[t.roi != "prf-visual"] if "roi" in t else None,
    "one subject": lambda t: keep(t, "subject", 5),
    "one subject and its mean": lambda t: keep(t, "subject", 5, "all"),
    "one subject without intervals": lambda t: (
        undefined(keep(t, "subject", 5, "all").rename(columns={"value": "v"}), "subject", "all").rename(
            columns={"v": "value"}
        )
        if "subject" in t and "low" in t
        else None
    ),
    "one model": lambda t: t[t.model == t.model.iloc[0]] if "model" in t else None,
    "one instruction": lambda t: keep(t, "instruction", "IC"),
    "one row": lambda t: t[:1],
    "constant": lambda t: t.assign(**dict.fromkeys(numbers(t), 0.25)),
    "zero": lambda t: t.assign(**dict.fromkeys(numbers(t), 0.0)),
    "long titles": lambda t: renamed(t, "roi", "panel", "model", "quantity", "concept", "contrast"),
    "30 models": many_models,
}
"""Tables as studies have them; None where the table has no such column."""


FEW = {"models": ("instructblip", "idefics"), "rois": ("prf-visual", "faces")}
SMALL = {"models": FEW, "layers": FEW, "ceilings": {"rois": FEW["rois"]}}
"""What makes the larger tables small."""

TABLES = {
    f"{name}, {case}": (name, table)
    for name, (_, make, _) in FIGURES.items()
    for case, change in CASES.items()
    if (table := change(make(**SMALL.get(name, {})))) is not None and len(table)
}


@pytest.mark.parametrize("case", TABLES)
def test_figure_is_drawn_whatever_is_missing(case):
    name, table = TABLES[case]
    plot, _, describe = FIGURES[name]
    rois = {"rois": list(dict.fromkeys(table.roi))} if plot is figures.plot_models else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of matplotlib, when a layout collapses, and of NumPy
        figure = plot(table, **rois)
        figure.draw_without_rendering()
        text = describe(table)
    for ax in (ax for ax in figure.axes if ax.get_label() != "<colorbar>"):
        box = ax.get_window_extent()
        assert box.width > 0.1 * figure.bbox.width and box.height > 5, "a panel has no room left"
    assert text.endswith(".") and "None" not in text


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_is_refused(name):
    plot, make, _ = FIGURES[name]
    with pytest.raises(ValueError, match=f"table for {plot.__name__} has 0 rows; a figure needs the numbers"):
        plot(make()[:0])


@pytest.mark.parametrize("name", FIGURES)
def test_missing_columns_are_named(name):
    plot, make, _ = FIGURES[name]
    with pytest.raises(ValueError, match=f"table for {plot.__name__} lacks column .+; it has nothing"):
        plot(make().assign(nothing=0)[["nothing"]])


@pytest.mark.parametrize("case", ["as they are", "all NaN", "one NaN", "constant", "long titles", "many"])
def test_maps_are_drawn_whatever_is_missing(case):
    (maps, cortex, areas), (winners, _, ids, _) = simulated.flat_maps(), winner_maps()
    if case in ("all NaN", "one NaN"):
        some = list(maps) if case == "all NaN" else ["group"]
        maps |= {title: np.full(800, np.nan) for title in some}
        winners |= {title: (np.full(800, -1), np.full(800, np.nan)) for title in some}
    if case == "constant":
        maps = dict.fromkeys(maps, np.full(800, 0.25))
        winners = dict.fromkeys(winners, (np.zeros(800, int), np.zeros(800)))
    if case in ("long titles", "many"):
        names = [f"model {k}" for k in range(9)] if case == "many" else [f"{t} {LONG}" for t in maps]
        maps, winners = dict.fromkeys(names, maps["group"]), dict.fromkeys(names, winners["group"])
    label = LONG if case == "long titles" else "depth"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.plot_maps(maps, cortex, label, areas, symmetric=True).draw_without_rendering()
        figures.plot_best_instruction(winners, cortex, ids, areas).draw_without_rendering()
        assert figures.alt_maps(maps, label).endswith(".")
        assert figures.alt_winner_maps(winners, ids).endswith(".")
    with pytest.raises(ValueError, match="plot_maps got no maps"):
        figures.plot_maps({}, cortex, "depth")


def test_more_instructions_than_colours_are_refused():
    table = simulated.instructions_table()
    many = pd.concat([table.assign(instruction=table.instruction + str(k)) for k in range(3)])
    with pytest.raises(ValueError, match="30 instructions are none of the paper's ten and figures have 24"):
        figures.plot_instructions(many)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_renders_inside_its_page_with_readable_type(name):
    settings_before = dict(mpl.rcParams)
    table = FIGURES[name][1]()
    before = table.copy()
    figure = FIGURES[name][0](table)
    pd.testing.assert_frame_equal(table, before)
    assert dict(mpl.rcParams) == settings_before
    assert "pyplot" not in type(figure.canvas).__module__
    figure.canvas = mpl.backends.backend_agg.FigureCanvasAgg(figure)
    figure.canvas.draw()
    texts = [t for t in figure.findobj(mpl.text.Text) if t.get_text().strip() and t.get_visible()]
    assert min(text.get_fontsize() for text in texts) * 7 / figure.get_figwidth() >= 8
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width
        assert box.y0 >= 0
        for ax in figure.axes:
            assert not box.overlaps(ax.get_window_extent())


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(figures.__path__)])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"brainalign_utils.figures.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_every_public_function_has_an_example():
    public = {
        n: f for n, f in vars(figures).items() if n.startswith(("plot_", "alt_", "save_", "component_"))
    }
    assert [n for n, f in public.items() if "Examples\n" not in f.__doc__] == []


# --- models ------------


def test_models_show_the_table():
    table = simulated.models_table()
    figure = figures.plot_models(table)
    assert [ax.get_title("left") for ax in figure.axes][1] == "early visual (pRF)"
    for ax, roi in zip(figure.axes, simulated.ROIS, strict=True):
        part = table[table.roi == roi]
        mean = part[part.subject == "all"]
        np.testing.assert_allclose(drawn(ax, "mean"), mean.value)
        np.testing.assert_allclose(drawn(ax, "subjects"), part[part.subject != "all"].value)
        np.testing.assert_allclose(drawn(ax, "interval").reshape(-1, 2), mean[["low", "high"]])
        np.testing.assert_allclose(drawn(ax, "ceiling")[::2], mean.ceiling)
        boxes = [(b.get_x(), b.get_x() + b.get_width()) for b in by_gid(ax, "null")]
        np.testing.assert_allclose(boxes, mean[["null_low", "null_high"]])
        assert len(by_gid(ax, "mark")) == (mean.mark == "*").sum()


def test_models_explain_their_marks():
    figure = figures.plot_models(simulated.models_table(), marks_legend={"*": "above ViT-H, FDR < .05"})
    legend = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    for phrase in ("above ViT-H, FDR < .05", "noise ceiling", "shuffled rows", "subjects 1, 2, 5, 7"):
        assert phrase in legend


def test_absent_region_is_said_to_be_absent():
    table = simulated.models_table()
    table.loc[table.roi == "faces", ["value", "low", "high"]] = np.nan
    figure = figures.plot_models(table[table.roi != "words"])
    said = {
        ax.get_title("left"): "no voxels" in " ".join(t.get_text() for t in ax.texts) for ax in figure.axes
    }
    assert said == {
        "nsdgeneral (all)": False,
        "early visual (pRF)": False,
        "bodies": False,
        "faces": True,
        "places": False,
        "words": True,
    }


def test_undefined_model_leaves_its_row_empty():
    table = simulated.models_table()
    table.loc[(table.roi == "faces") & (table.model == "idefics"), ["value", "low", "high"]] = np.nan
    ax = figures.plot_models(table).axes[3]
    rows = drawn(ax, "mean", axis=1)
    np.testing.assert_array_equal(rows, [0, 1, 2, 4, 5])


def test_undefined_model_is_said_to_be_undefined():
    table = simulated.models_table()
    model = table.model.iloc[0]
    table.loc[table.model == model, ["value", "low", "high"]] = np.nan
    figure = figures.plot_models(table)
    for ax in figure.axes:
        assert [text.get_text().strip() for text in ax.texts].count("undefined") == 1
        assert len(drawn(ax, "mean")) == table.model.nunique() - 1


def test_one_subject_without_intervals():
    table = simulated.models_table(subjects=(5,))[["model", "roi", "subject", "value"]]
    figure = figures.plot_models(table)
    assert len(drawn(figure.axes[0], "subjects")) == len(simulated.MODELS)
    assert "subjects 5," in words(figure)
    assert "interval" not in words(figure)


def test_ablations_write_parameters_beside_models():
    figure = figures.plot_ablations(simulated.ablations_table())
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "InstructBLIP (7.9 B)"
    assert labels[1].endswith("(7.7 B)")
    assert "early visual" in words(figure)
    figure.draw_without_rendering()
    right = max(ax.get_tightbbox().x1 for ax in figure.axes)
    assert right <= figure.bbox.x1 + 1, "the right panel is cut off"
    assert min(ax.get_position().width for ax in figure.axes) > 0.2


# --- instructions, layers ------------


def test_pair_tests_are_antisymmetric_and_starred():
    table = simulated.pair_tests_table()
    figure = figures.plot_pair_tests(table, alpha=0.05)
    values = figure.axes[0].images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(values, -values.T)
    row = table[(table.roi == "prf-visual") & (table.q < 0.05)].iloc[0]
    ids = style.in_level_order([*table.a, *table.b])
    spot = ids.index(row.b), ids.index(row.a)
    text = next(t for t in figure.axes[0].texts if t.get_position() == spot)
    assert text.get_text() == f"{row.estimate:+.2f}*"
    n_sure = (table[table.roi == "prf-visual"].q < 0.05).sum()
    assert sum(t.get_text().endswith("*") for t in figure.axes[0].texts) == 2 * n_sure
    said = figures.alt_pair_tests(table)
    assert f"{n_sure} of 45 pairs differ at q < 0.05" in said


def test_winner_shares_are_bar_lengths():
    rows = [("faces", "IC", 0.5), ("faces", "IU1", 0.3), ("faces", "VR", 0.2), ("words", "IC", np.nan)]
    table = pd.DataFrame(rows, columns=["roi", "instruction", "share"])
    ax = figures.plot_winner_shares(table).axes[0]
    assert [by_gid(ax, i)[0].get_width() for i in ("IU1", "VR", "IC")] == [0.3, 0.2, 0.5]
    assert [by_gid(ax, i)[0].get_x() for i in ("IU1", "VR", "IC")] == [0, 0.3, 0.5]
    assert "no voxels" in " ".join(text.get_text() for text in ax.texts)


def test_agreement_is_symmetric_and_states_chance():
    table = pd.DataFrame(
        {"model_a": ["instructblip"], "model_b": ["idefics"], "value": [0.42], "chance": [0.13]}
    )
    figure = figures.plot_agreement(table)
    values = figure.axes[0].images[0].get_array()
    assert values[0, 1] == values[1, 0] == 0.42
    assert values.mask[0, 0]
    assert words(figure).count("chance 0.13") == 2


def test_concepts_show_the_table_with_groups():
    table = simulated.concepts_table()
    figure = figures.plot_concepts(table)
    ax = figure.axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "count-related"
    assert labels[1] == "one object (20)"
    values = ax.images[0].get_array()
    part = table[table.roi == "prf-visual"]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    expected = part.pivot(index="concept", columns="instruction", values="value")[columns]
    np.testing.assert_allclose(values[labels.index("person (20)")], expected.loc["person"])
    assert values.mask[1, columns.index("VQ2")]  # the NaN


def test_instructions_come_in_level_order_with_their_values():
    table = simulated.instructions_table().sample(frac=1, random_state=0)
    figure = figures.plot_instructions(table)
    for ax, name in zip(figure.axes, dict.fromkeys(table.panel), strict=True):
        mean = table[(table.panel == name) & (table.subject == "all")].set_index("instruction").value
        np.testing.assert_allclose(drawn(ax, "mean"), mean[[row.id for row in INSTRUCTIONS]])


def test_layers_keep_components_apart():
    table = simulated.layers_table()
    ax = figures.plot_layers(table).axes[2]
    part = table[(table.roi == "bodies") & (table.model == "instructblip") & (table.subject == "all")]
    ends = {}
    for component in ("vision", "qformer", "language"):
        rows = part[part.component == component].sort_values("depth")
        np.testing.assert_allclose(drawn(ax, f"mean instructblip {component}", 1), rows.value)
        x = drawn(ax, f"mean instructblip {component}", 0)
        np.testing.assert_allclose(x - x[0], rows.depth)
        ends[component] = (x[0], x[-1])
        assert drawn(ax, f"best instructblip {component}", 1) == pytest.approx(rows.value.max())
    assert ends["vision"][1] < ends["qformer"][0] and ends["qformer"][1] < ends["language"][0]
    assert not by_gid(ax, "mean idefics qformer")[0].get_xdata().size  # IDEFICS has none


# --- variance partitions ------------


def part_areas(ax):
    """Area of each part of a Venn diagram, from its outline."""
    areas = {}
    for patch in ax.patches:
        outline = patch.get_path().interpolated(1).to_polygons(closed_only=True)
        x, y = np.concatenate(outline).T
        areas[patch.get_gid()] = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    return [areas.get(f"part {part}", 0.0) for part in ("10", "01", "11")]


@pytest.mark.parametrize(
    "parts", [(0.031, 0.052, 0.084), (0.2, 0.01, 0.05), (0.05, 0.05, 0.0), (0, 0.1, 0.2)]
)
def test_venn_areas_are_in_proportion(parts):
    columns = ["unique_a", "unique_b", "shared"]
    table = pd.DataFrame([parts], columns=columns).assign(instruction_a="IC", instruction_b="IU1", panel="V1")
    ax = figures.plot_venns(table).axes[0]
    areas = np.array(part_areas(ax))
    np.testing.assert_allclose(areas / areas.sum(), np.array(parts) / sum(parts), atol=0.01)
    shown = {t.get_text() for t in ax.texts if t.get_visible() and t.get_text()}
    assert shown == {"IC", "IU1", *(f"{p:.3f}" for p in parts if p > 0)}


def test_venn_states_negative_and_undefined_parts():
    figure = figures.plot_venns(simulated.venns_table())
    said = [ax.texts[-1].get_text() for ax in figure.axes[1:]]
    assert said == [
        "negative, drawn as 0: VQ2 -0.004",
        "negative, drawn as 0: IC -0.010",
        "negative, drawn as 0: shared -0.010",
        "undefined: IC, CR, shared",
    ]
    assert "nothing to draw" in words(figure) and not figure.axes[4].patches


def test_pair_matrix_puts_parts_where_they_belong():
    table = simulated.pairs_table()
    figure = figures.plot_pair_matrix(table)
    shared, unique = (ax.images[0].get_array() for ax in figure.axes[:2])
    index = {row.id: k for k, row in enumerate(INSTRUCTIONS)}
    for row in table.itertuples():
        a, b = index[row.instruction_a], index[row.instruction_b]
        assert shared[a, b] == shared[b, a] == row.shared
        assert (unique[a, b], unique[b, a]) == (row.unique_a, row.unique_b)
    assert shared.mask.diagonal().all()
    low, high = figure.axes[1].images[0].get_clim()
    assert low == -high  # negative unique variance: zero in the middle


def test_early_and_higher():
    table = simulated.early_higher_table()
    ax = figures.plot_early_higher(table).axes[1]
    mean = table[(table.panel == "IC with VQ1") & (table.subject == "all")]
    np.testing.assert_allclose(drawn(ax, "mean", 1), mean.value)
    assert len(by_gid(ax, "subject")) == len(simulated.SUBJECTS)


# --- checks ------------


def test_ceiling_histograms_count_voxels():
    table = simulated.ceilings_table()
    ax = figures.plot_ceilings(table, threshold=0.1).axes[4]
    part = table[table.roi == "places"]
    assert drawn(ax, "median ncsnr")[0] == pytest.approx(part.ncsnr.median())
    assert drawn(ax, "median cross_subject")[0] == pytest.approx(part.cross_subject.median())
    assert drawn(ax, "threshold")[::2] == pytest.approx([np.sqrt(0.1), 0.1]), "of variance; of r"
    outline = by_gid(ax, "ncsnr")[0].get_xy()
    values = table[["ncsnr", "cross_subject"]].to_numpy()
    edges = np.linspace(np.nanmin(values), np.nanmax(values), 31)
    expected = np.histogram(part.ncsnr, edges)[0] / len(part)
    np.testing.assert_allclose(outline[1:-1:2, 1], expected)
    more = table.assign(extrapolated=1.05 * table.cross_subject)
    ax = figures.plot_ceilings(more).axes[4]
    median = 1.05 * part.cross_subject.median()
    assert drawn(ax, "median extrapolated")[0] == pytest.approx(median)


def test_ceiling_scatter_leaves_undefined_voxels_out():
    table = simulated.ceilings_table()
    ax = figures.plot_ceiling_scatter(table).axes[3]
    part = table[(table.subject == 7)].dropna()
    np.testing.assert_allclose(by_gid(ax, "subject 7")[0].get_offsets(), part[["ncsnr", "cross_subject"]])


def test_recovery_separates_pass_and_fail():
    table = simulated.recovery_table()
    for ax, (name, part) in zip(
        figures.plot_recovery(table).axes, table.groupby("quantity", sort=False), strict=True
    ):
        np.testing.assert_allclose(drawn(ax, "passed", 1), part.estimated[part.passed])
        np.testing.assert_allclose(drawn(ax, "failed", 0), part.planted[~part.passed])
        said = " ".join(ax.get_title("left").split())
        assert said == f"{name} {part.passed.sum()} of {len(part)} pass"
    name = table.quantity.iloc[0]
    chance = table.assign(chance=np.where(table.quantity == name, 0.3, np.nan))
    first, second = figures.plot_recovery(chance).axes[:2]
    assert first.get_xlabel() == "by chance" and second.get_xlabel() == "planted"
    assert (drawn(first, "passed", 0) == 0.3).all()


def test_choices_are_sorted_and_say_what_was_chosen():
    table = simulated.choices_table()
    top, below = figures.plot_choices(table).axes
    np.testing.assert_allclose(drawn(top, "mean", 1), np.sort(table.value))
    assert len(drawn(below, "choice")) == 3 * len(table)
    rows = [label.get_text() for label in below.get_yticklabels()]
    smallest = table.loc[table.value.idxmin()]
    chosen = {
        rows[int(y)] for x, y in zip(drawn(below, "choice"), drawn(below, "choice", 1), strict=True) if x == 0
    }
    assert chosen == {f"{c}: {smallest[c]}" for c in ("layer", "ceiling", "session z-score")}


# --- alternative texts ------------


def test_alternative_texts_carry_the_numbers():
    table = simulated.models_table()
    means = table[(table.subject == "all") & (table.roi == "faces")].set_index("model").value
    text = figures.alt_models(table)
    assert f"{means.max():.2f}" in text and f"{means.min():.2f}" in text
    assert "4 subjects" in text
    assert "words: no data" in figures.alt_models(table[table.roi != "words"])
    constant = figures.alt_models(table.assign(value=0.25))
    assert "words: everywhere 0.25" in constant, "no model is called the best"


@pytest.mark.parametrize("name", FIGURES)
def test_alternative_texts_follow_the_data(name):
    _, make, describe = FIGURES[name]
    table = make()
    changed = table.assign(**{c: table[c] * 3 + 1 for c in numbers(table) if c not in ("low", "high")})
    assert describe(changed) != describe(table)
