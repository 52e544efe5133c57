# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fitting encoding models
#
# How well does a model's state predict each voxel? For every layer of every component, under every
# instruction, one ridge regression per voxel is fitted to the subject's own pictures and tested on the shared ones. This
# notebook runs once per subject and model.

# %% tags=["parameters"]
settings_file = "workflow/config/phantom.yml"
subject = 1
model = "instructblip"

# %%
import matplotlib.pyplot as plt
import pandas as pd

from brainalign_utils import figures, store
from brainalign_utils.encoding import fitting
from brainalign_utils.features.store import feature_spaces
from brainalign_utils.results import alignment, intervals, study
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS, ROI_BY_ID
from brainalign_utils.titles import title_of

# %matplotlib inline
plt.style.use(figures.STYLE)  # matplotlib's own defaults and the book's, whatever a matplotlibrc says
settings = load_settings(settings_file)
paths = settings.paths
responses = store.open_dataset(paths.responses(subject)).load()
spaces = feature_spaces(paths.features(model))
print(f"{responses.sizes['voxel']} voxels, {responses.sizes['train_stimulus']} training pictures, "
      f"{responses.sizes['test_stimulus']} test pictures, {len(spaces)} feature spaces")

# %% [markdown]
# ## The regressions
#
# The penalty is chosen for each voxel by cross-validation on training pictures. Scores of all layers are kept. Predictions are
# kept for the layer that is best, on training folds, for each region: the tests on later pages need them.

# %%
main = study.main_component(model)
masks = {roi: responses.roi_mask.sel(roi=roi).values for roi in ROI_BY_ID if ROI_BY_ID[roi].kind == "group"}
reader = study.feature_reader(settings, model)
scores, predictions = fitting.fit_encoding(
    spaces, reader, responses, settings.alphas(), settings.encoding, keep_for=masks, keep_component=main
)
stored = store.write_dataset(paths.scores(subject, model), scores)
stored = store.write_dataset(paths.predictions(subject, model), predictions)

# %% [markdown]
# ## How sure, and against what chance?
#
# Region means over resampled test pictures give the intervals of later pages. The pictures are drawn alike for all models and
# subjects, so that differences can be tested. And the same regressions with shuffled rows, each picture paired with the features of another, say what chance alone gives.

# %%
samples = intervals.region_samples(
    predictions,
    scores.isel(space=scores.component.values == main),
    fitting.targets(responses)[1],
    list(masks),
    settings.stats.min_ceiling,
    settings.stats.n_bootstraps,
    settings.stats.seed,
)
stored = store.write_dataset(paths.samples(subject, model), samples.to_dataset(name="alignment"))

# %%
cv_score = scores.cv_score.mean("voxel").where(scores.component == main).fillna(float("-inf"))
best = spaces.iloc[cv_score.values.argmax()]
null = fitting.shuffled_scores(
    best, reader, responses, settings.alphas(), settings.encoding,
    settings.stats.n_shuffles, settings.stats.seed,
)  # fmt: skip
store.write_dataset(paths.nulls(subject, model), null)
pd.Series(null.r.mean("voxel").values, name="mean correlation on shuffled rows").describe().round(4).to_frame()

# %% [markdown]
# ## Scores over layers
#
# The mean correlation over the voxels of a region, raw, layer by layer.

# %% mystnb={"image": {"alt": "Lines of mean correlation over relative depth of the layers, one per region, for each component of the model."}}
table = alignment.layer_table(scores, subject=subject, model=model).dropna(subset=["mean"])
table = table[table.roi.isin(PAPER_GROUPS)].assign(region=lambda t: t.roi.map(title_of))
if table.empty:
    print("No layer has a defined score: this model's states do not differ between pictures.")
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
