# ---
# jupyter:
#   brainalign:
#     reads: partition voxels
#     settings: data subjects models partition stats
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What instructions share, and what each adds
#
# The paper's figure 6. It reports that most explained variance is shared between captioning and the other instructions, and more so in higher than in early
# visual areas. Reviewers asked for more than pairs: what does each instruction add that *none* of the others has?

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from myst_nb import glue

from brainalign_utils import figures
from brainalign_utils.results import maps, surface
from brainalign_utils.results.partitions import early_higher_table, pair_table, unique_table
from brainalign_utils.settings import load_settings
from brainalign_utils.titles import title_of, written

settings = load_settings(settings_file)
models = [model for model in settings.partition.models if model in settings.models]
instructions = [row.id for row in settings.instruction_rows()]
reference = settings.caption_id()
partner = "IU2" if "IU2" in instructions else instructions[0]
pairs = pair_table(settings, models, ["prf-visual", "higher", "nsdgeneral"])
unit = "fraction of explainable variance"

# %% [markdown]
# ## The paper's diagrams
#
# Captioning and food listing, in early and in higher visual areas: mean over models and subjects, as fractions of the explainable variance.

# %% tags=["figure:figure_6"]
keys = ["roi", "instruction_a", "instruction_b"]
mean = pairs.groupby(keys, sort=False)[["unique_a", "unique_b", "shared", "shared_fraction"]].mean().reset_index()
venns = mean[mean.instruction_a.isin([reference, partner]) & mean.instruction_b.isin([reference, partner])]
venns = venns[venns.roi != "nsdgeneral"].assign(panel=lambda t: t.roi.map(title_of))
fig = figures.plot_venns(venns, unit=unit)
figures.save_figure(
    fig, pairs, "figure_6", settings,
    caption=f"Variance explained by {reference} and {partner}: alone, and shared. Negative parts are stated below.",
    alt=figures.alt_venns(venns, unit=unit),
)  # fmt: skip

# %% [markdown]
# ## Where on the cortex?
#
# What the two share, voxel by voxel, in each subject and in the mean over subjects.

# %% tags=["figure:shared_maps"]
cortex, outlines = surface.load_cortex(settings), maps.all_outlines(settings)
parts = maps.partition_maps(settings, models, reference, partner)
label = f"shared by {reference} and {partner}, {unit}"
fig = figures.plot_maps(parts["shared"], cortex, label, outlines=outlines)
figures.save_figure(
    fig, maps.map_table(parts["shared"], cortex), "shared_maps", settings,
    caption=f"Variance that {reference} and {partner} both explain, voxel by voxel; mean over models.",
    alt=figures.alt_maps(parts["shared"], label),
)  # fmt: skip

# %% [markdown]
# And what they do not share, in the mean over subjects: each beyond the other, and the first beyond all others.

# %% tags=["figure:unique_maps"]
group = maps.group_title(settings)
titles = {
    "unique_a": f"{reference} beyond {partner}", "unique_b": f"{partner} beyond {reference}",
    "unique_vs_all": f"{reference} beyond all others",
}  # fmt: skip
panels = {title: parts[name][group] for name, title in titles.items()}
label = f"unique, {unit}"
fig = figures.plot_maps(panels, cortex, label, outlines=outlines[group], symmetric=True)
figures.save_figure(
    fig, maps.map_table(panels, cortex), "unique_maps", settings,
    caption="Variance that one instruction explains beyond the other, and beyond all others; mean over models and subjects.",
    alt=figures.alt_maps(panels, label),
)  # fmt: skip

# %% [markdown]
# Red is more with the instruction than without it; blue is less, which is noise of the estimate, and a measure of how far red can be trusted.
#
# ## All pairs

# %% tags=["figure:pair_matrix", "widget:pairs"]
everywhere = mean[mean.roi == "nsdgeneral"]
fig = figures.plot_pair_matrix(everywhere, unit=unit)
figures.save_figure(
    fig, everywhere, "pair_matrix", settings,
    caption="Every pair of instructions: what both explain, and what the row explains beyond the column.",
    alt=figures.alt_pair_matrix(everywhere, unit=unit),
)  # fmt: skip

# %%
shared = pairs.groupby("roi").shared_fraction.median()
glue("shared", shared.map(written, form="{:.0%}").to_dict(), display=False)

# %% [markdown]
# In this build ({{ study.data }}) two instructions share, in the median pair, {{ shared["prf-visual"] }} of what they explain together in early and {{ shared.higher }}
# in higher visual areas.
#
# ## Each instruction against all others
#
# A pair can share much because both instructions carry the image's general content. Against all nine others, only what is specific
# to an instruction remains. Values around 0, on either side, mean: nothing specific that this much data can show.

# %% tags=["figure:unique_all"]
unique = unique_table(settings, models, ["prf-visual", "faces", "places", "words"])
fig = figures.plot_instructions(unique, unit=f"unique {unit}")
figures.save_figure(
    fig, unique, "unique_all", settings,
    caption="Variance that each instruction explains and none of the others does; small points are subjects, bars their range.",
    alt=figures.alt_instructions(unique, unit=f"unique {unit}"),
)  # fmt: skip

# %%
means = unique[unique.subject.astype(str) == "all"].dropna(subset="value")
largest = means.loc[means.value.idxmax()]
numbers = {
    "largest": f"{largest.instruction} in {title_of(largest.panel)} ({largest.value:.3f})",
    "median": written(means.value.median(), "{:.3f}"),
}
glue("unique", numbers, display=False)

# %% [markdown]
# The largest mean in this build ({{ study.data }}) is that of {{ unique.largest }}; the median over instructions and regions is {{ unique.median }}.
#
# ## Early against higher areas

# %% tags=["figure:early_higher"]
shared = early_higher_table(pairs, reference)
fig = figures.plot_early_higher(shared)
figures.save_figure(
    fig, shared, "early_higher", settings,
    caption=f"Share of the jointly explained variance that {reference} and another instruction have in common.",
    alt=figures.alt_early_higher(shared),
)  # fmt: skip

# %% [markdown]
# A line that rises from early to higher areas is what the paper describes. The fraction is a ratio of noisy parts: where little is
# explained at all, it is wild, and where the sum of the parts is not positive it is left out.
