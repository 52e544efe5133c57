# ---
# jupyter:
#   brainalign:
#     reads: scores voxels
#     settings: data subjects models partition stats
#   kernelspec:
#     display_name: Python 3 (ipykernel)
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
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from myst_nb import glue

from brainalign_utils import figures
from brainalign_utils.results import figure_tables, maps, study, surface
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import title_of, written

settings = load_settings(settings_file)
models = [model for model in settings.partition.models if model in settings.models]

# %% tags=["figure:figure_5", "widget:layers"]
table = figure_tables.layer_table(settings, models, PAPER_GROUPS)
fig = figures.plot_layers(table)
figures.save_figure(
    fig, table, "figure_5", settings,
    caption="Ceiling-normalised alignment over relative depth; thin lines are subjects, the marker is the peak.",
    alt=figures.alt_layers(table),
)  # fmt: skip

# %%
last = table[(table.subject.astype(str) == "all") & (table.component == table.model.map(study.main_component))]
last = last.dropna(subset="value")
peaks = last.loc[last.groupby(["roi", "model"], sort=False).value.idxmax()]
depths = peaks.model.map(title_of) + " " + peaks.depth.map(written)
glue("depths", depths.groupby(peaks.roi).agg(", ".join).to_dict(), display=False)

# %% [markdown]
# A curve that falls toward the end says that the last layers have turned from the image to the next word. A flat
# curve says that depth hardly matters for that region, which is also what a regression with enough features can make of any layer; the
# random-weights baseline of figure 2 is the yardstick. In this build ({{ study.data }}) the part that gives the answer is best, in early visual areas, at depth
# {{ depths["prf-visual"] }}; for places at {{ depths.places }}. Move through the layers one by one with the slider above.

# %% [markdown]
# ## The best layer of each voxel
#
# Chosen on training folds, mean over instructions. Vision tower, Q-Former and language model have maps of their own, because half the
# depth of one is not half the depth of another.

# %% tags=["figure:best_layers"]
cortex, outlines = surface.load_cortex(settings), maps.all_outlines(settings)
depths = {model: maps.best_layer_maps(settings, model) for model in models}
group = maps.group_title(settings)
panels = {
    figures.component_title(m, c): each[group] for m, parts in depths.items() for c, each in parts.items()
}
label = "relative depth of the best layer, mean over subjects"
fig = figures.plot_maps(panels, cortex, label, outlines=outlines[group])
figures.save_figure(
    fig, maps.map_table(panels, cortex), "best_layers", settings,
    caption="Relative depth of the best layer of each voxel, per model and component, mean over subjects.",
    alt=figures.alt_maps(panels, label),
)  # fmt: skip

# %% [markdown]
# The same for each subject: do people agree about where in a model their areas lie? The component is the one that gives the answer.

# %% tags=["figure:best_layers_subjects"]
component = study.main_component(models[0])
label = f"relative depth of the best layer of {title_of(models[0])} ({component})"
panels = depths[models[0]][component]
fig = figures.plot_maps(panels, cortex, label, outlines=outlines)
figures.save_figure(
    fig, maps.map_table(panels, cortex), "best_layers_subjects", settings,
    caption=f"Relative depth of the best layer of each voxel ({title_of(models[0])}, {component}), per subject and for the group.",
    alt=figures.alt_maps(panels, label),
)  # fmt: skip
