# ---
# jupyter:
#   brainalign:
#     reads: scores samples voxels
#     settings: data subjects models partition stats
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which instruction suits which voxel?
#
# The paper's figure 3. Each voxel is given to the instruction under which the model predicts it best. A map of winners looks decisive even
# where the race was a tie, so the opacity of a colour is the margin before the second best.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from myst_nb import glue

from brainalign_utils import figures
from brainalign_utils.results import figure_tables, maps, model_tests, surface
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import title_of, written

settings = load_settings(settings_file)
models = [model for model in settings.partition.models if model in settings.models]
instructions = [row.id for row in settings.instruction_rows()]
cortex, outlines = surface.load_cortex(settings), maps.all_outlines(settings)
scores = {
    m: {s: figure_tables.normalised_instruction_scores(settings, s, m) for s in settings.subjects} for m in models
}

# %% [markdown]
# ## Maps
#
# For each voxel and instruction the layer is chosen by cross-validation on training images; the map shows the test score,
# divided by the ceiling. The group map averages the normalised scores of all subjects on the common surface before
# choosing the winner; its outlines are where at least half of the subjects have the area. Colours are ordered from low-level (cold) to high-level instructions.

# %% tags=["figure:figure_3"]
winners = maps.winner_maps(settings, scores[models[0]])
fig = figures.plot_best_instruction(winners, cortex, instructions, outlines=outlines, unit="normalised r")
shares, agreement = figure_tables.winner_tables(settings, scores)
shares = shares[shares.roi.isin(PAPER_GROUPS)].groupby(["model", "roi", "instruction"], sort=False).share.mean()
mapped = shares[models[0]].reset_index()
mean = shares.groupby(["roi", "instruction"], sort=False).mean().reset_index()
figures.save_figure(
    fig, maps.winner_table(winners, instructions, cortex), "figure_3", settings,
    caption=f"Best instruction of each voxel ({title_of(models[0])}); opacity is the margin before the second best.",
    alt=figures.alt_winner_shares(mapped, kind="Flat maps"),
)  # fmt: skip

# %%
best = mean.loc[mean.dropna().groupby("roi").share.idxmax()].set_index("roi")
glue("winners", (best.instruction + " (" + best.share.map(written, form="{:.0%}") + ")").to_dict(), display=False)
same = agreement.reindex(columns=["observed", "expected"]).mean()
glue("agreement", same.map(written, form="{:.0%}").to_dict(), display=False)

# %% [markdown]
# Pale areas are ties: there, which instruction was given hardly matters, and the colour should not be read. The
# distribution behind the maps says how often each instruction wins in each region. In this build ({{ study.data }}) the most frequent winner is
# {{ winners["prf-visual"] }} in early visual areas, {{ winners.faces }} for faces and {{ winners.places }} for places.

# %% tags=["figure:winner_shares"]
fig = figures.plot_winner_shares(mean)
figures.save_figure(
    fig, mean, "winner_shares", settings,
    caption="Proportion of each region's voxels that each instruction wins, mean over models and subjects.",
    alt=figures.alt_winner_shares(mean),
)  # fmt: skip

# %% [markdown]
# ## Which differences between instructions are sure?
#
# A winner always exists. Whether it beats the others is a question for a test: each pair of instructions in a region, on the same
# resampled test images for all subjects. Single voxels are tested on [a page of their own](08_test_voxels).

# %% tags=["figure:instruction_tests"]
tests = model_tests.instruction_pairs(settings, models[0], ["prf-visual", "higher"])
fig = figures.plot_pair_tests(tests, alpha=settings.stats.alpha)
figures.save_figure(
    fig, tests, "instruction_tests", settings,
    caption=f"Difference between every two instructions ({title_of(models[0])}), mean over subjects, in early and higher visual areas.",
    alt=figures.alt_pair_tests(tests, alpha=settings.stats.alpha),
)  # fmt: skip

# %% [markdown]
# ## Do models agree?
#
# The group's map once more, for each of the multimodal models.

# %% tags=["figure:winner_models"]
groups = maps.group_maps(settings, scores)
drawn = outlines[maps.group_title(settings)]
fig = figures.plot_best_instruction(groups, cortex, instructions, outlines=drawn, unit="normalised r")
figures.save_figure(
    fig, maps.winner_table(groups, instructions, cortex), "winner_models", settings,
    caption="Best instruction of each voxel in the mean over subjects, for each model; opacity is the margin.",
    alt=figures.alt_winner_maps(groups, instructions),
)  # fmt: skip

# %% [markdown]
# If the maps say something about the brain and not about one model, different models should give similar ones. Agreement is the
# proportion of voxels with the same winner, beside the proportion expected from how often each instruction wins at all: {{ agreement.observed }} and
# {{ agreement.expected }} on average in this build ({{ study.data }}).

# %% tags=["figure:agreement"]
shown = None
if agreement.empty:
    print("This study has one instructed model: there is no second map to compare.")
else:
    pairs = agreement.groupby(["a", "b"], sort=False)[["observed", "expected", "adjusted"]].mean().reset_index()
    table = pairs.rename(columns={"a": "model_a", "b": "model_b", "observed": "value", "expected": "chance"})
    fig = figures.plot_agreement(table)
    shown = figures.save_figure(
        fig, agreement, "agreement", settings,
        caption="Agreement between the models' maps of the best instruction, beside what chance gives.",
        alt=figures.alt_agreement(table),
    )  # fmt: skip
shown
