# ---
# jupyter:
#   brainalign:
#     over: subjects model
#     reads: features responses
#     settings: encoding stats
#     writes: scores predictions samples nulls
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fitting encoding models
#
# How well does a model's internal state predict the response of each voxel? For every layer of every component, and every
# instruction, one ridge regression per voxel is fitted to the subject's own images and tested on the shared ones. This
# notebook runs once per model, for one subject or several.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study
subjects: list[int] = []  # NSD subjects of this run; empty: all of the study
model: str = "instructblip"  # row of the table of models

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from voxelridge import RidgeCV

from brainalign_utils import store
from brainalign_utils.encoding import fitting
from brainalign_utils.features.store import feature_spaces
from brainalign_utils.results import alignment, intervals, study
from brainalign_utils.registry import check_parameters
from brainalign_utils.settings import load_settings
from brainalign_utils.stats import scoring
from brainalign_utils.style import STYLE
from brainalign_utils.tables import PAPER_GROUPS, ROIS
from brainalign_utils.titles import title_of

# %%
# %matplotlib inline
plt.style.use(STYLE)  # matplotlib's own defaults and the book's, whatever a matplotlibrc says
settings = load_settings(settings_file)
check_parameters(settings, subjects=subjects, model=model)
subjects = subjects or list(settings.subjects)
paths = settings.paths

# %%
responses = {subject: store.open_dataset(paths.responses(subject)).load() for subject in subjects}
spaces = feature_spaces(paths.features(model))
sizes = {"voxels": "voxel", "training images": "train_stimulus", "test images": "test_stimulus"}
print(f"{len(spaces)} feature spaces")
pd.DataFrame(
    {f"subject {s}": {title: data.sizes[dim] for title, dim in sizes.items()} for s, data in responses.items()}
)

# %% [markdown]
# ## One regression in full
#
# *X* holds one state vector per image, *Y* one response per image and voxel. Columns of both are z-scored with the statistics of the training
# images. Cross-validation over the training images chooses one penalty per voxel; the test images enter only the prediction.

# %%
main, subject = study.main_component(model), subjects[0]
reader = study.feature_reader(settings, model)
space = spaces[spaces.component == main].iloc[-1]
n_train = responses[subject].sizes["train_stimulus"]
ids = np.concatenate([responses[subject].train_nsd_id, responses[subject].test_nsd_id])
X = reader(space, ids)
X_train, X_test = fitting.standardise(X[:n_train], X[n_train:], settings.encoding.test_zscore)
Y_train, Y_test = fitting.without_missing(*fitting.targets(responses[subject]))
print(f"X: {X_train.shape} for training, {X_test.shape} for testing\nY: {Y_train.shape} and {Y_test.shape}")

# %%
ridge = RidgeCV(settings.alphas(), cv=settings.encoding.n_folds, fit_intercept=False, scoring=settings.encoding.selection)
ridge.fit(X_train, Y_train)
r = scoring.correlation(Y_test, ridge.predict(X_test))
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6))
sns.histplot(x=r, ax=left)
left.set(xlabel="r on test images", ylabel="voxels", title=f"{main}, layer {space.layer}, {space.instruction}")
sns.histplot(x=np.log10(ridge.best_alphas_), ax=right)
right.set(xlabel="log10 of the chosen penalty", ylabel="voxels", title=f"subject {subject} ({settings.data})")
plt.show()

# %% [markdown]
# Left, voxels to the right of 0 are predicted; how far to the right a voxel *could* lie depends on its noise ceiling. Right, the penalty that
# each voxel chose: a pile at an edge of the grid would mean that the grid is too narrow for these features, except for voxels without
# signal, whose best penalty is the largest of any grid.
#
# ## All regressions
#
# The same for every layer, component and instruction.
#
# Scores of all layers are kept. Predictions are
# kept for the layer that is best, on training folds, for each region: the tests on later pages need them.

# %%
groups = [roi.id for roi in ROIS if roi.kind == "group"]
fits = {}
for subject, data in responses.items():
    masks = {roi: data.roi_mask.sel(roi=roi).values for roi in groups}
    fits[subject] = fitting.fit_encoding(
        spaces, reader, data, settings.alphas(), settings.encoding, keep_for=masks, keep_component=main
    )
    scores, predictions = fits[subject]
    store.write_dataset(paths.scores(subject, model), scores)
    store.write_dataset(paths.predictions(subject, model), predictions)

# %% [markdown]
# ## Uncertainty and chance level
#
# Region means over resampled test images give the intervals of later pages. The same images are drawn for all models and
# subjects, so that differences between them can be tested. The same regressions with shuffled rows, in which each image is paired with the
# features of another, estimate the chance level.

# %%
for subject, (scores, predictions) in fits.items():
    samples = intervals.region_samples(
        predictions,
        scores.isel(space=scores.component.values == main),
        fitting.targets(responses[subject])[1],
        groups,
        settings.stats.min_ceiling,
        settings.stats.n_bootstraps,
        settings.stats.seed,
    )
    store.write_dataset(paths.samples(subject, model), samples.to_dataset(name="alignment"))

# %%
shuffled = {}
for subject, (scores, _) in fits.items():
    cv_score = scores.cv_score.mean("voxel").where(scores.component == main).fillna(float("-inf"))
    best = spaces.iloc[cv_score.values.argmax()]
    null = fitting.shuffled_scores(
        best, reader, responses[subject], settings.alphas(), settings.encoding,
        settings.stats.n_shuffles, settings.stats.seed,
    )  # fmt: skip
    store.write_dataset(paths.nulls(subject, model), null)
    shuffled[f"subject {subject}"] = null.r.mean("voxel").values
pd.DataFrame(shuffled).describe().round(4).rename_axis("mean correlation on shuffled rows")

# %% [markdown]
# ## Scores over layers
#
# The mean correlation over the voxels of a region, raw, layer by layer, in the first subject of this run.

# %% mystnb={"image": {"alt": "Lines of mean correlation over relative depth of the layers, one per region, for each component of the model."}}
subject, (scores, predictions) = next(iter(fits.items()))
table = alignment.layer_table(scores, subject=subject, model=model).dropna(subset=["mean"])
table = table[table.roi.isin(PAPER_GROUPS)].assign(region=lambda t: t.roi.map(title_of))
if table.empty:
    print("No layer has a defined score: this model's states do not differ between images.")
else:
    curves = table.pivot_table("mean", ["component", "depth"], "region", sort=False)
    components = curves.index.unique("component")
    figure, axes = plt.subplots(1, len(components), sharey=True, squeeze=False, figsize=(2.4 * len(components) + 1, 2.6))
    for ax, component in zip(axes[0], components, strict=True):
        ax.plot(curves.loc[component], marker="o", label=curves.columns)
        ax.set(title=component, xlabel="relative depth")
    axes[0, 0].set_ylabel(f"correlation ({settings.data})")
    axes[0, -1].legend(bbox_to_anchor=(1.02, 1.05), loc="upper left", frameon=False)
    plt.show()

# %% [markdown]
# Depth 0 is the embedding, depth 1 the last layer. A line averages over instructions. The curves are raw: regions differ
# in how reliable their voxels are, so compare shapes here, and heights only after division by the noise ceiling.

# %%
best = scores.cv_score.mean("voxel").to_series()
chosen = spaces.assign(cv_score=best.to_numpy()).sort_values("cv_score", ascending=False)
chosen.groupby(["component", "instruction"], sort=False).head(1).head(12).set_index("component").round(3)
