# ---
# jupyter:
#   brainalign:
#     models: partition.models
#     over: subjects model
#     reads: features responses scores
#     settings: encoding partition stats
#     writes: partition
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Partitioning variance between instructions
#
# Two instructions may predict a voxel equally well and yet explain different parts of its response, or the same part
# twice. Variance partitioning tells which: what one explains alone, what the other explains alone, and what both do, from the
# scores of separate and joint regressions. This notebook runs once per model, for one subject or several.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study
subjects: list[int] = []  # NSD subjects of this run; empty: all of the study
model: str = "instructblip"  # row of the table of models

# %%
import pandas as pd

from brainalign_utils.encoding import fitting
from brainalign_utils.encoding.partitioning import partition_instructions
from brainalign_utils.results import study
from brainalign_utils.results import partitions as stored
from brainalign_utils.registry import check_parameters
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import ROIS
from brainalign_utils.titles import titled

settings = load_settings(settings_file)
check_parameters(settings, subjects=subjects, model=model)
subjects = subjects or list(settings.subjects)
responses = {subject: study.open_responses(settings, subject) for subject in subjects}

# %% [markdown]
# ## Which layers
#
# Instructions are compared at the same layer of the component that gives the answer. The setting `partition.layers` chooses: `common` takes the layer
# with the best cross-validated score on training images, over all voxels and instructions; `roi` takes the best one of each region; `all` fits every
# layer. Test images play no part in the choice.

# %%
masks, chosen = {}, {}
for subject, data in responses.items():
    groups = {roi.id: data.roi_mask.sel(roi=roi.id).values for roi in ROIS if roi.kind == "group"}
    masks[subject] = {name: mask for name, mask in groups.items() if mask.any()}
    chosen[subject] = study.partition_layers(settings, subject, model, masks[subject])
    component, _, layers = chosen[subject]
    print(f"subject {subject}: {component}, layer {', '.join(map(str, layers))} of {settings.partition.layers!r}")

# %% [markdown]
# ## The regressions
#
# With plain ridge on concatenated features, adding a useless feature space to a good one can lower the score, which
# shows up as negative unique variance. Banded ridge weighs each space by itself: candidate weightings of
# a pair are averaged per voxel by how well they predict held-out training images. All pairs, and every instruction against all others, come from one set of Gram matrices. Negative
# parts that remain are kept and shown: they are the noise of the estimate. With few training images for the number of features, the joint
# model overfits a little more than the single ones, which makes shared variance look slightly smaller than it is.

# %%
for subject, (component, layer_of_roi, layers) in chosen.items():
    Y_train, Y_test = fitting.without_missing(*fitting.targets(responses[subject]))
    by_layer = {}
    for layer in layers:
        features = study.instruction_features(settings, subject, model, component, layer)
        by_layer[layer] = partition_instructions(
            features, Y_train, Y_test, settings.alphas(),
            estimator=settings.partition.estimator, n_ratios=settings.partition.n_ratios,
            triples=settings.partition.triples, cv=settings.encoding.n_folds, roi_masks=masks[subject],
            noise_ceiling=responses[subject].noise_ceiling.values, min_ceiling=settings.stats.min_ceiling,
            n_bootstraps=settings.stats.n_bootstraps, seed=settings.stats.seed,
        )  # fmt: skip
    stored.write_partition(settings, subject, model, component, layer_of_roi, by_layer)

# %% [markdown]
# ## Unique variance of each instruction
#
# What each instruction explains that none of the other nine does, as a fraction of the explainable variance, mean over the voxels of early and
# higher visual areas, in the first subject of this run.

# %%
parts = stored.open_partition(settings, subjects[0], model)
unique = parts.region_unique_vs_all.sel(measure="normalised", roi=["prf-visual", "higher"], bound="mean")
titled(pd.DataFrame(unique.values, index=unique.instruction.values, columns=unique.roi.values), "{:.3f}")

# %% [markdown]
# ## Three instructions at a time
#
# For the triples in the setting `partition.triples`: what each of three instructions explains alone (a, b, c), what two of them share and the
# third lacks (ab, ac, bc), and what all three share (abc), in higher visual areas, as a fraction of the explainable variance, with 95 % intervals over
# test images.

# %%
triples = stored.triple_table(parts, "higher") if "triple" in parts.dims else pd.DataFrame(columns=["triple", "part"])
triples.set_index(["triple", "part"]).round(3)
