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
# # Which layers match which regions?
#
# The paper's figure 5. Where in a model is the information that a region carries? Layers of different architectures cannot be matched by number, so
# the axis is relative depth: 0 is the embedding, 1 the last layer. Vision tower, Q-Former and language model
# are shown side by side, never on one axis.

# %% tags=["parameters"]
settings_file = "workflow/config/phantom.yml"

# %%
from brainalign_utils import config, figures, results, study
from brainalign_utils.tables import PAPER_GROUPS

settings = config.load_settings(settings_file)
models = [model for model in settings.partition.models if model in settings.models]

# %% tags=["figure:figure_5"]
table = results.layer_table(settings, models, PAPER_GROUPS)
fig = figures.plot_layers(table)
figures.save_figure(
    fig, table, "figure_5", settings,
    caption="Ceiling-normalised alignment over relative depth; thin lines are subjects, the marker is the peak.",
    alt=figures.alt_layers(table),
    command="make figure NOTEBOOK=09_trace_layers",
)  # fmt: skip

# %% [markdown]
# A curve that falls toward the end says that the last layers have turned from the picture to the next word. A flat
# curve says that depth hardly matters for that region, which is also what a regression with enough features can make of any layer; the
# random-weights baseline of figure 2 is the yardstick.

# %% [markdown]
# ## The best layer of each voxel
#
# Chosen on training folds, mean over instructions, for the component that gives the answer.

# %% tags=["figure:best_layers"]
component = study.main_component(models[0])
maps = {f"subject {s}": results.best_layer_map(settings, s, models[0], component) for s in settings.subjects}
fig = figures.plot_maps(
    maps, results.load_cortex(settings), f"best layer of {models[0]} ({component}), relative depth",
    outlines=results.all_outlines(settings), vmin=0, vmax=1,
)  # fmt: skip
best = table[(table.model == models[0]) & (table.component == component) & (table.subject == "all")]
peak = best.loc[best.groupby("roi", sort=False).value.idxmax(), ["roi", "depth", "value"]]
figures.save_figure(
    fig, peak, "best_layers", settings,
    caption=f"Relative depth of the best layer of each voxel ({models[0]}, {component}).",
    alt=figures.alt_maps(maps, "relative depth of the best layer"),
    command="make figure NOTEBOOK=09_trace_layers",
)  # fmt: skip
