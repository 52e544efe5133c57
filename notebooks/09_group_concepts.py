# ---
# jupyter:
#   brainalign:
#     reads: dataset responses scores predictions voxels
#     settings: data coco_root subjects models partition stats
#     writes: concepts
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Visual concepts
#
# The paper's figure 4. Test images are grouped by what COCO's annotations say is in them: people, animals, food, vehicles; few or many objects;
# indoors or outdoors. Within a group, does the instruction that asks for it predict the brain better than others?

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
import pandas as pd
from myst_nb import glue

from brainalign_utils import figures, nsd, store
from brainalign_utils.figures import show
from brainalign_utils.nsd import coco
from brainalign_utils.results import concepts, figure_tables, study
from brainalign_utils.settings import load_settings

settings = load_settings(settings_file)
models = [model for model in settings.partition.models if model in settings.models]
ids = study.test_image_ids(settings)
objects = coco.read_objects(settings.paths.coco, nsd.read_stim_info(settings.paths.nsd), ids)

# %% [markdown]
# ## Groups
#
# The groups overlap. "Count-related" groups are defined by how many objects there are, "recognition-related" ones by
# what they are; the table says how each is decided and how many test images it has. COCO outlines a crowd as one region:
# it counts as ten objects of its kind, so an image with a crowd is never one of few objects or of one dominant object. Objects
# without a usable outline (fewer than three points, or no area) are left out, as are those that lie outside the crop.

# %%
groups = concepts.concept_groups(objects, ids)
rows = [
    {"group": c.title, "kind": c.kind, "an image counts if": c.definition, "images": groups[c.id].sum()}
    for c in concepts.CONCEPTS
]
show.WordTable(pd.DataFrame(rows))

# %%
rois = ["nsdgeneral"]
random = [f"{model}-random" for model in models if f"{model}-random" in settings.models]
table = figure_tables.concept_table(settings, models + random, objects, rois)
concept_file = store.write_table(settings.paths.table("concepts"), table)
trained = table[table.model.isin(models)]
mean = trained.groupby(["concept", "title", "kind", "instruction", "roi"], sort=False).agg(
    value=("mean", "mean"), n_images=("n_images", "first")
).reset_index().dropna(subset=["value"])

# %% tags=["figure:figure_4"]
shown = mean.assign(concept=mean.title, group=mean.kind)
order = {row.id: i for i, row in enumerate(settings.instruction_rows())}
shown = shown.sort_values("instruction", key=lambda c: c.map(order), kind="stable")
fig = figures.plot_concepts(shown)
figures.save_figure(
    fig, trained, "figure_4", settings,
    caption="Normalised alignment within groups of test images, by instruction; mean over models and subjects.",
    alt=figures.alt_concepts(shown),
)  # fmt: skip

# %%
of_group = trained.groupby(["title", "instruction"])["mean"].mean().unstack()
spread = of_group.max(axis=1) - of_group.min(axis=1)
numbers = {
    "spread": f"{spread.median():.3f}",
    "widest": f"{spread.idxmax()} ({spread.max():.3f})",
    "groups": f"{of_group.mean(axis=1).min():.2f} to {of_group.mean(axis=1).max():.2f}",
}
glue("concepts", numbers, display=False)

# %% [markdown]
# Compare along a row, not down a column: groups differ in how much their images vary, and a group of similar images gives low
# correlations to every model. Small groups are noisy; groups with too few images are left out. In this build ({{ study.data }}) the best and the worst
# instruction of a group differ by {{ concepts.spread }} in the median group, and most in the group *{{ concepts.widest }}*; the groups themselves
# differ more, from {{ concepts.groups }}.

# %% [markdown]
# Count-related instructions ask for a number (IU3), recognition-related ones to name what is there (VQ1, VQ2, IU2, SR, CR); the others ask for colour, layout,
# interaction or free description. This division is ours: the paper gives none.

# %%
concepts.by_kind(trained).round(3)
