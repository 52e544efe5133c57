# ---
# jupyter:
#   brainalign:
#     reads: responses scores predictions voxels
#     settings: data subjects models partition stats
#     writes: voxels_by_model voxels_by_instruction
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Voxel by voxel
#
# A star on a region mean says nothing about single voxels. Here every voxel is tested within its subject, on test images, with the false discovery
# rate controlled over the voxels.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from brainalign_utils import store
from brainalign_utils.results import voxel_tests
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import title_of, titled

settings = load_settings(settings_file)
reference = "vit-h" if "vit-h" in settings.models else settings.models[0]
print(f"{settings.stats.n_permutations} permutations, q < {settings.stats.alpha:g}")

# %% [markdown]
# ## Which voxels are predicted at all?
#
# Predictions are paired with the responses to shuffled images. The table holds the proportion of voxels that are predicted better than that, mean over
# subjects, for the captioning instruction where a model takes one.

# %%
shares, regions = voxel_tests.model_table(settings, settings.models, reference, PAPER_GROUPS)
model_file = store.write_table(settings.paths.table("voxels_by_model"), shares)
predicted = shares.groupby(["model", "roi"], sort=False).predicted.mean().unstack("roi")[list(PAPER_GROUPS)]
titled(predicted, "{:.0%}")

# %% [markdown]
# ## Model against model
#
# Which voxels does a model predict *better / worse* than the reference? The two predictions of randomly chosen images are swapped. A star:
# the mean of the region differs as well, all subjects together, under the same swaps.

# %%
print(f"reference: {title_of(reference)}")
voxel_tests.compared(shares, regions, "model", settings.stats.alpha)

# %% [markdown]
# A model with random weights can be worse than the reference in most voxels and still predict many of them better than chance. A region
# without a star may hold many voxels that differ, in both directions.
#
# ## Instruction against instruction
#
# The same for each instruction against captioning, in one of the multimodal models.

# %%
multimodal = [m for m in settings.partition.models if m in settings.models]
groups = ["prf-visual", "bodies", "faces", "places", "words"]
shares, regions = voxel_tests.instruction_table(settings, multimodal[0], groups)
instruction_file = store.write_table(settings.paths.table("voxels_by_instruction"), shares)
print(f"model: {title_of(multimodal[0])}; reference: {settings.caption_id()}")
voxel_tests.compared(shares, regions, "instruction", settings.stats.alpha)

# %% [markdown]
# ## Winner consistency
#
# The best instruction of a voxel, in resampled test images: how often the most frequent winner wins, and in what proportion of voxels it wins in
# at least 95 % of the samples. Everything else on a map of winners is a near tie.

# %%
again = voxel_tests.stability_table(settings, multimodal[0], groups)
means = again.groupby("roi", sort=False)[["again", "sure", "chance"]].mean().map("{:.0%}".format)
titled(means).rename(columns={"again": "winner consistency", "sure": "in 95 % or more"})
