# ---
# jupyter:
#   brainalign:
#     over: subjects
#     reads: dataset
#     settings: data nsd_root n_sessions session_zscore betas space
#     writes: responses voxels
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Loading responses
#
# One subject's responses, from the dataset's own files to one clean artifact: single-trial betas become one
# number per image and voxel. One run loads one subject or several; tables and figures after the first show one of them.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study
subjects: list[int] = []  # NSD subjects of this run; empty: all of the study

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from brainalign_utils import nsd, store
from brainalign_utils.registry import check_parameters
from brainalign_utils.settings import load_settings
from brainalign_utils.style import STYLE
from brainalign_utils.tables import ROIS
from brainalign_utils.titles import title_of

# %matplotlib inline
plt.style.use(STYLE)  # matplotlib's own defaults and the book's, whatever a matplotlibrc says
settings = load_settings(settings_file)
check_parameters(settings, subjects=subjects)
subjects = subjects or list(settings.subjects)
paths = settings.paths

# %% [markdown]
# ## From trials to stimuli
#
# The loader reads the voxels of the `nsdgeneral` mask, one session at a time, z-scores every voxel within each session, and averages
# the repeats of each image. A voxel without variance in a session lay outside the field of view: its trials of that session count as
# missing. The shared images become the test set, with their repeats kept apart; the subject's own images become the training set.

# %%
loaded = {}
for subject in subjects:
    loaded[subject] = nsd.load_responses(
        paths.nsd,
        subject,
        n_sessions=settings.n_sessions,
        betas=settings.betas,
        space=settings.space,
        session_zscore=settings.session_zscore,
    )
    store.write_dataset(paths.responses(subject), loaded[subject])
    store.write_dataset(paths.voxels(subject), nsd.describe_voxels(paths.nsd, loaded[subject]))

# %%
sizes = {"voxels": "voxel", "training images": "train_stimulus", "test images": "test_stimulus"}
pd.DataFrame(
    {f"subject {s}": {title: data.sizes[dim] for title, dim in sizes.items()} for s, data in loaded.items()}
)

# %% [markdown]
# ## Repeats
#
# Each image is meant to be seen three times, but a subject whose sessions are not all there has images with fewer repeats. The
# noise ceiling below takes the mixture into account.

# %%
subject, responses = next(iter(loaded.items()))
n_repeats = np.isfinite(responses.test.values).any(axis=2).sum(axis=0)
pd.DataFrame(
    {
        "training images": pd.Series(responses.train_n_repeats.values).value_counts(),
        "test images": pd.Series(n_repeats).value_counts(),
    }
).rename_axis("repeats").fillna(0).astype(int)

# %% [markdown]
# ## Regions
#
# Regions are unions of labels of the dataset's region files inside the mask. A region that this subject lacks is listed with no voxels
# rather than left out.

# %%
regions = pd.DataFrame(
    {
        "region": [roi.title for roi in ROIS],
        "voxels": responses.roi_mask.sum("voxel").values,
        "median ceiling": [pd.Series(responses.noise_ceiling.values[m]).median() for m in responses.roi_mask.values],
    },
    index=[roi.id for roi in ROIS],
)
regions.round(2)

# %% [markdown]
# ## How reliable are the voxels?
#
# The noise ceiling is the fraction of a voxel's variance that any model could explain, given how much its responses to the same image differ.
# A voxel with a ceiling near 0 cannot be predicted by anything; scores are read against this limit.

# %% mystnb={"image": {"alt": "Histograms of the noise ceiling over voxels, one line each for early visual areas, places, faces, bodies and words."}}
groups = ["prf-visual", "places", "faces", "bodies", "words"]
masks = {title_of(roi): responses.roi_mask.sel(roi=roi).values for roi in groups}
ceilings = {title: pd.Series(responses.noise_ceiling.values[mask]) for title, mask in masks.items()}
table = pd.concat(ceilings, names=["region", "voxel"]).rename("noise ceiling").reset_index()
fig, ax = plt.subplots(figsize=(7, 3.2))
sns.histplot(table, x="noise ceiling", hue="region", bins=np.linspace(0, 1, 41), element="step", fill=False, ax=ax)
ax.set(ylabel="voxels", title=f"Subject {subject} ({settings.data})")
plt.show()

# %% [markdown]
# The histograms show the spread within each region: the same area holds voxels that are almost noise and voxels of which more than half
# of the variance repeats from trial to trial. Averages over a region therefore depend on which voxels are counted, which is why the
# threshold on the ceiling is a setting, and why the proportion of voxels it drops is always reported.
