# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which instruction suits which voxel?
#
# The paper's figure 3. Each voxel is given to the instruction under which the model predicts it best. A map of winners looks decisive even
# where the race was a tie, so the opacity of a colour is the margin before the second best.

# %% tags=["parameters"]
settings_file = "workflow/config/phantom.yml"

# %%
from brainalign_utils import config, figures, results
from brainalign_utils.tables import PAPER_GROUPS

settings = config.load_settings(settings_file)
models = [model for model in settings.partition.models if model in settings.models]
instructions = [row.id for row in settings.instruction_rows()]
cortex = results.load_cortex(settings)

# %% [markdown]
# ## Maps
#
# For each voxel and instruction the layer is chosen by cross-validation on training pictures; the map shows the test score,
# divided by the ceiling. The group map averages the normalised scores of all subjects on the common surface before
# choosing the winner. Colours are ordered from low-level (cold) to high-level instructions.

# %% tags=["figure:figure_3"]
maps = results.winner_maps(settings, models[0])
outlines = results.all_outlines(settings)
fig = figures.plot_best_instruction(maps, cortex, instructions, outlines=outlines, unit="normalised r")
shares, agreement = results.winner_tables(settings, models)
mean = shares[shares.roi.isin(PAPER_GROUPS)].groupby(["roi", "instruction"], sort=False).share.mean().reset_index()
figures.save_figure(
    fig, shares, "figure_3", settings,
    caption=f"Best instruction of each voxel ({models[0]}); opacity is the margin before the second best.",
    alt=figures.alt_winner_shares(mean, kind="Flat maps"),
    command="make figure NOTEBOOK=07_map_instructions",
)  # fmt: skip

# %% [markdown]
# Pale areas are ties: there, which instruction was given hardly matters, and the colour should not be read. The
# distribution behind the maps says how often each instruction wins in each region.

# %% tags=["figure:winner_shares"]
fig = figures.plot_winner_shares(mean)
figures.save_figure(
    fig, mean, "winner_shares", settings,
    caption="Share of each region's voxels that each instruction wins, mean over models and subjects.",
    alt=figures.alt_winner_shares(mean),
    command="make figure NOTEBOOK=07_map_instructions",
)  # fmt: skip

# %% [markdown]
# ## Do models agree?
#
# If the maps say something about the brain and not about one model, different models should give similar ones. Agreement is the
# share of voxels with the same winner, beside the share expected from how often each instruction wins at all.

# %% tags=["figure:agreement"]
pairs = agreement.groupby(["a", "b"], sort=False)[["observed", "expected", "adjusted"]].mean().reset_index()
table = pairs.rename(columns={"a": "model_a", "b": "model_b", "observed": "value", "expected": "chance"})
fig = figures.plot_agreement(table)
figures.save_figure(
    fig, agreement, "agreement", settings,
    caption="Agreement between the models' maps of the best instruction, beside what chance gives.",
    alt=figures.alt_agreement(table),
    command="make figure NOTEBOOK=07_map_instructions",
)  # fmt: skip
