# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Partitioning variance between instructions
#
# Two instructions may predict a voxel equally well and yet explain different parts of its response, or the same part
# twice. Variance partitioning tells which: what one explains alone, what the other explains alone, and what both do, from the
# scores of separate and joint regressions. This notebook runs once per subject and model.

# %% tags=["parameters"]
settings_file = "workflow/config/phantom.yml"
subject = 1
model = "instructblip"

# %%
import pandas as pd

from brainalign_utils import config, encoding, store, study
from brainalign_utils.partition.fit import bootstrap_roi, partition_instructions
from brainalign_utils.tables import ROI_BY_ID

settings = config.load_settings(settings_file)
paths = settings.paths
responses = study.open_responses(settings, subject)

# %% [markdown]
# ## One layer for all instructions
#
# Instructions are compared at the same layer of the component that gives the answer: the one with the best cross-validated score on
# training pictures, over all voxels and instructions.

# %%
component, layer = study.best_common_layer(settings, subject, model)
features = study.instruction_features(settings, subject, model, component, layer)
Y_train, Y_test = encoding.targets(responses)
print(f"{component}, layer {layer}; {len(features)} instructions, "
      f"{next(iter(features.values()))[0].shape[1]} features each")

# %% [markdown]
# ## The regressions
#
# With plain ridge on concatenated features, adding a useless feature space to a good one can lower the score, which
# shows up as negative unique variance. Banded ridge weighs each space by itself: the weights of a pair are chosen
# per voxel on training folds. All pairs, and every instruction against all others, come from one set of Gram matrices. Negative
# parts that remain are kept and shown: they are the noise of the estimate. With few training pictures for the number of features, the joint
# model overfits a little more than the single ones, which makes shared variance look slightly smaller than it is.

# %%
masks = {i: responses.roi_mask.sel(roi=i).values for i, roi in ROI_BY_ID.items() if roi.kind == "group"}
masks = {name: mask for name, mask in masks.items() if mask.any()}
parts = partition_instructions(
    features, *encoding.without_missing(Y_train, Y_test), settings.alphas(),
    estimator=settings.partition.estimator, n_ratios=settings.partition.n_ratios,
    cv=settings.encoding.n_folds, roi_masks=masks, noise_ceiling=responses.noise_ceiling.values,
    min_ceiling=settings.stats.min_ceiling, n_bootstraps=settings.stats.n_bootstraps,
    seed=settings.stats.seed,
)  # fmt: skip
regions = bootstrap_roi(parts)
stored = parts[["r2_single", "r2_all", "r2_without", "unique_vs_all", "unique_a", "unique_b", "shared", "r2_pair"]]
merged = stored.merge(regions.rename({name: f"region_{name}" for name in regions.data_vars}))
file = store.write_dataset(
    paths.partition(subject, model), merged.assign_attrs(component=component, layer=layer)
)

# %% [markdown]
# ## Unique share of each instruction
#
# What each instruction explains that none of the other nine does, as a share of the explainable variance, mean over the voxels of early and
# higher visual areas.

# %%
unique = regions.unique_vs_all.sel(measure="normalised", roi=["prf-visual", "higher"], bound="mean")
pd.DataFrame(unique.values, index=unique.instruction.values, columns=unique.roi.values).round(3)
