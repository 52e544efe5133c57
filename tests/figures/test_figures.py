"""Figures carry the numbers of their tables, survive what is missing, and can be read by everyone."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fixtures import figure_tables as simulated
from fixtures.figure_tables import words
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from brainalign_utils import figures
from brainalign_utils.figures import marks, style
from brainalign_utils.figures.flat import Cortex
from brainalign_utils.figures.venn import centre_distance, lens_area
from brainalign_utils.settings import Settings
from brainalign_utils.tables import INSTRUCTIONS


def by_gid(ax, gid):
    """Artists of an Axes with a group id."""
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def drawn(ax, gid, axis=0):
    """Data of the lines with a group id, along x (0) or y (1), in one array."""
    lines = [np.atleast_1d(np.asarray(line.get_data()[axis], float)) for line in by_gid(ax, gid)]
    return np.concatenate(lines) if lines else np.empty(0)


@pytest.fixture
def settings(tmp_path):
    return Settings(build_root=tmp_path, models=("instructblip",))


@pytest.fixture
def square():
    grid = np.array([[0, 0, 2, 3], [1, 1, 2, 3], [1, -1, 4, 4]], np.int32)
    return Cortex("square", grid, np.array([1.0, -1.0, 1.0, -1.0, 1.0]), 2)


# --- every figure: draws, and leaves no trace in pyplot or matplotlib's settings ------------


def every_figure():
    t = simulated
    return {
        "models": lambda: figures.plot_models(t.models_table()),
        "ablations": lambda: figures.plot_ablations(t.ablations_table()),
        "concepts": lambda: figures.plot_concepts(t.concepts_table()),
        "instructions": lambda: figures.plot_instructions(t.instructions_table()),
        "layers": lambda: figures.plot_layers(t.layers_table()),
        "pairs": lambda: figures.plot_pair_matrix(t.pairs_table()),
        "pair_tests": lambda: figures.plot_pair_tests(t.pair_tests_table()),
        "venns": lambda: figures.plot_venns(t.venns_table()),
        "early_higher": lambda: figures.plot_early_higher(t.early_higher_table()),
        "ceilings": lambda: figures.plot_ceilings(t.ceilings_table()),
        "ceiling_scatter": lambda: figures.plot_ceiling_scatter(t.ceilings_table()),
        "recovery": lambda: figures.plot_recovery(t.recovery_table()),
        "choices": lambda: figures.plot_choices(t.choices_table()),
        "scenes": lambda: figures.plot_scenes(*t.scenes()),
    }


@pytest.mark.parametrize("name", every_figure())
def test_figure_renders_inside_its_page_with_readable_type(name):
    settings_before = dict(mpl.rcParams)
    figure = every_figure()[name]()
    assert isinstance(figure, Figure)
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


@pytest.mark.parametrize(
    ("plot", "table"),
    [
        (figures.plot_models, simulated.models_table()),
        (figures.plot_layers, simulated.layers_table()),
        (figures.plot_ceilings, simulated.ceilings_table()),
        (figures.plot_recovery, simulated.recovery_table()),
        (figures.plot_concepts, simulated.concepts_table()),
    ],
)
def test_missing_column_is_named(plot, table):
    column = {"plot_recovery": "planted", "plot_concepts": "concept"}.get(plot.__name__, "roi")
    with pytest.raises(ValueError, match=f"{plot.__name__} lacks column {column}; it has "):
        plot(table.drop(columns=column))


def test_table_is_not_changed():
    table = simulated.models_table()
    before = table.copy()
    figures.plot_models(table)
    pd.testing.assert_frame_equal(table, before)


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


@pytest.mark.parametrize(
    ("n", "expectation"), [(7.9e9, "7.9 B"), (632e6, "632 M"), (51_200, "51.2 k"), (7, "7")]
)
def test_parameter_count(n, expectation):
    from brainalign_utils.figures.models import parameter_count

    assert parameter_count(n) == expectation


# --- maps ------------


def test_winner_colour_and_opacity():
    best, margin = np.array([0, 1, 1, -1, 0]), np.array([0.0, 0.05, 0.2, 0.1, np.nan])
    rgba = figures.winner_rgba(best, margin, ["#ff0000", "#0000ff"], full_margin=0.1)
    np.testing.assert_allclose(rgba[:3, :3], [[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(rgba[:, 3], [0.15, 0.15 + 0.85 / 2, 1, 0, 0])


def test_best_instruction_map_uses_the_palette(square):
    ids = ["IU1", "IC", "VR"]
    maps = dict.fromkeys(("subject 1", "group"), (np.array([0, 1, 2, -1, 1]), np.full(5, 9.0)))
    figure = figures.plot_best_instruction(maps, square, ids, focus=False)
    pixels = by_gid(figure.axes[1], "values")[0].get_array()
    np.testing.assert_allclose(pixels[0, 0, :3], to_rgb(figures.INSTRUCTION_COLOURS["IU1"]))
    np.testing.assert_allclose(pixels[0, 2, :3], to_rgb(figures.INSTRUCTION_COLOURS["VR"]))
    assert pixels[0, 3, 3] == 0
    entries = [text.get_text().split()[0] for text in figure.legends[0].get_texts()]
    assert entries == ["IU1", "VR", "IC"]  # low to high level


def test_maps_share_one_scale(square):
    maps = {"vision": np.array([0.0, 0.5, np.nan, 1.0, 0.2]), "language": np.array([0.4, 2.0, 0.5, 0.5, 0.5])}
    figure = figures.plot_maps(maps, square, "best layer")
    limits = [by_gid(ax, "values")[0].get_clim() for ax in figure.axes[:2]]
    assert limits == [(0, 2), (0, 2)]
    assert "best layer" in words(figure)
    assert figures.plot_maps({"none": np.full(5, np.nan)}, square, "nothing")


def test_symmetric_maps_put_zero_in_the_middle(square):
    values = {"a": np.array([-0.1, 0.4, np.nan, 0.2, 0.0])}
    figure = figures.plot_maps(values, square, "unique", cmap="RdBu_r", symmetric=True)
    norm = by_gid(figure.axes[0], "values")[0].norm
    assert norm.vmin == -norm.vmax and norm.vmax == pytest.approx(0.4, abs=0.02)


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


def test_maps_focus_on_data(square):
    values = np.array([np.nan, np.nan, np.nan, np.nan, 1.0])
    wide = Cortex("wide", np.kron(square.vertex_of_pixel, np.ones((20, 20), np.int32)), square.curvature, 2)
    for focus, expectation in ((True, True), (False, False)):
        ax = figures.plot_maps({"a": values}, wide, "x", focus=focus).axes[0]
        assert (by_gid(ax, "values")[0].get_array().shape[1] < 80) is expectation


def test_each_panel_may_have_its_own_outlines(square):
    wide = Cortex("wide", np.kron(square.vertex_of_pixel, np.ones((20, 20), np.int32)), square.curvature, 2)
    areas = {"a": {"V1": np.arange(5) == 0}, "b": {"V2": np.arange(5) == 3}}
    maps = dict.fromkeys(areas, np.arange(5.0))
    own = figures.plot_maps(maps, wide, "x", outlines=areas)
    shared = figures.plot_maps(maps, wide, "x", outlines=areas["a"])
    outlined = [[c.get_gid() for ax in f.axes[:2] for c in ax.collections] for f in (own, shared)]
    assert outlined == [["outline V1", "outline V2"], ["outline V1", "outline V1"]]


def test_roi_locations_name_areas_and_skip_empty_ones(square):
    areas = {"V1": np.array([1, 1, 0, 0, 0], bool), "FBA-1": np.zeros(5, bool)}
    figure = figures.plot_roi_locations({"subject 2": areas}, square)
    assert [text.get_text() for text in figure.axes[0].texts] == ["V1"]
    assert "FBA-1 absent" in figures.alt_roi_locations({"subject 2": areas})


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


# --- concepts, instructions, layers ------------


def test_concepts_show_the_table_with_groups_and_marks():
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
    assert sum("*" in text.get_text() for text in ax.texts) == (part.mark == "*").sum()


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


@pytest.mark.parametrize(("a", "b", "shared"), [(1.0, 1.0, 0.5), (2.0, 0.7, 0.3), (1.5, 1.0, 0.999)])
def test_lens_has_the_wanted_area(a, b, shared):
    radii = np.sqrt(np.array([a, b]) / np.pi)
    assert lens_area(centre_distance(*radii, shared), *radii) == pytest.approx(shared)


def test_lens_of_circles_apart_and_inside():
    assert lens_area(3.0, 1.0, 2.0) == 0
    assert lens_area(0.5, 1.0, 2.0) == pytest.approx(np.pi)
    assert centre_distance(1.0, 2.0, 0.0) == 3
    assert centre_distance(1.0, 2.0, 99.0) == 1


@pytest.mark.parametrize("parts", [(0.031, 0.052, 0.084), (0.2, 0.01, 0.05), (0.05, 0.05, 0.0)])
def test_venn_areas_are_in_proportion(parts):
    ax = Figure().subplots()
    figures.draw_venn2(ax, *parts, "IC", "IU1")
    circles = [by_gid(ax, f"circle {name}")[0] for name in ("IC", "IU1")]
    areas = [np.pi * c.radius**2 for c in circles]
    lens = lens_area(abs(circles[0].center[0] - circles[1].center[0]), *(c.radius for c in circles))
    drawn_parts = np.array([areas[0] - lens, areas[1] - lens, lens])
    np.testing.assert_allclose(drawn_parts / drawn_parts.sum(), np.array(parts) / sum(parts), atol=1e-6)


def test_venn_states_negative_and_undefined_parts():
    ax = Figure().subplots()
    figures.draw_venn2(ax, 0.05, -0.004, 0.17, "IC", "VQ2")
    assert by_gid(ax, "negative")[0].get_text() == "negative, drawn as 0: VQ2 -0.004"
    ax = Figure().subplots()
    figures.draw_venn2(ax, np.nan, np.nan, np.nan, "IC", "CR")
    assert by_gid(ax, "negative")[0].get_text() == "undefined: IC, CR, shared"
    assert not ax.patches


def test_three_sets_are_in_proportion_and_labelled():
    ax = Figure().subplots()
    parts = {"a": 0.05, "b": 0.04, "c": 0.06, "ab": 0.02, "ac": 0.015, "bc": 0.01, "abc": 0.08}
    figures.draw_venn3(ax, parts, ("IC", "VQ1", "IU1"))
    circles = [by_gid(ax, f"circle {name}")[0] for name in ("IC", "VQ1", "IU1")]
    areas = np.array([c.radius**2 for c in circles])
    np.testing.assert_allclose(areas / areas[0], np.array([0.165, 0.15, 0.165]) / 0.165)
    distance = np.linalg.norm(np.subtract(circles[0].center, circles[1].center))
    lens = lens_area(distance, circles[0].radius, circles[1].radius) / (np.pi * areas[0])
    assert lens == pytest.approx(0.1 / 0.165, rel=0.02)
    numbers = {text.get_text() for text in by_gid(ax, "number")}
    assert numbers == {"0.050", "0.040", "0.060", "0.020", "0.015", "0.010", "0.080"}


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


# --- ceilings, recovery, choices, scenes ------------


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


def test_scenes_show_pictures_and_answers():
    images, texts = simulated.scenes()
    figure = figures.plot_scenes(images, texts, ["nsd_id 5", "nsd_id 2950", "nsd_id 7"])
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), images[1])
    said = words(figure)
    assert "there are 3 animals" in said
    assert "(empty answer)" in said
    assert "nsd_id 2950" in said
    with pytest.raises(ValueError, match="images hold 3 pictures and texts 2 dicts"):
        figures.plot_scenes(images, texts[:2])


def test_marks_of_nothing():
    ax = Figure().subplots()
    marks.mean_interval(ax, pd.Series({"value": np.nan, "low": 0.0, "high": 1.0}), 0, "red")
    assert not ax.lines
    marks.absent(ax)
    assert ax.texts[0].get_text() == "no voxels in this region"
