# ---
# jupyter:
#   brainalign:
#     reads: responses voxels
#     settings: data subjects encoding stats
#     writes: ceilings
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Noise ceilings
#
# No model can predict what does not repeat. How much *can* be predicted is estimated in two ways that fail differently: from repeats of the
# same image in the same brain, and from other brains that saw the same images.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from brainalign_utils import figures, store
from brainalign_utils.results import figure_tables, study
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import titled, written

settings = load_settings(settings_file)

# %% [markdown]
# ## From other brains
#
# Each subject is predicted, with the same ridge regression as the models use, from the voxels of every combination of the
# others. Only the shared images link subjects; the regression is fitted on some of them and scored on the rest, over
# repeated splits, because a ceiling that was fitted on the images it is scored on would be a leak. Next to the
# plain value (all others together) stands the extrapolation to infinitely many subjects, $v_0 (1 - e^{-x/\tau_0})$.

# %%
for subject, ceiling in figure_tables.cross_subject_ceilings(settings, progress_bar=False).items():
    store.write_dataset(settings.paths.cross_subject(subject), ceiling)

# %%
rows = []
for subject in settings.subjects:
    known = study.open_voxels(settings, subject)
    other = store.open_dataset(settings.paths.cross_subject(subject))
    values = {"subject": subject, "ncsnr": np.sqrt(known.noise_ceiling.values), "cross_subject": other.ceiling.values}
    voxels = pd.DataFrame(values | ({"extrapolated": other.v0.values} if "v0" in other else {}))
    rows += [voxels[known.roi_mask.sel(roi=roi).values].assign(roi=roi) for roi in PAPER_GROUPS]
table = pd.concat(rows, ignore_index=True)

# %% tags=["figure:noise_ceilings"]
fig = figures.plot_ceilings(table, threshold=settings.stats.min_ceiling)
figures.save_figure(
    fig, table, "noise_ceilings", settings,
    caption="Ceilings of Pearson's r over voxels, per region: from repeats (ncsnr), and from other subjects, plain and extrapolated.",
    alt=figures.alt_ceilings(table, threshold=settings.stats.min_ceiling),
)  # fmt: skip

# %% [markdown]
# The ceiling from repeats is an upper limit for any model: it counts everything that repeats in this brain. The one from other
# brains counts only what is shared between people and linearly readable from so few of them; it
# is lower wherever brains differ or the shared images are too few to fit the regression. Dividing by it therefore gives larger numbers, and they may exceed 1.
#
# The medians, and the proportion of voxels for which three points did not determine the extrapolation (they rise in a straight line; often a voxel
# without signal). Those have no extrapolated ceiling:

# %%
names = [name for name in ("ncsnr", "cross_subject", "extrapolated") if name in table]
medians = table.groupby("roi")[names].median().reindex(PAPER_GROUPS)
medians["not extrapolated"] = table[names[-1]].isna().groupby(table.roi).mean()
glue("ceilings", medians[["ncsnr", "cross_subject"]].map(written).T.to_dict(), display=False)
titled(medians, dict.fromkeys(names, "{:.2f}") | {"not extrapolated": "{:.0%}"})

# %% [markdown]
# In this build ({{ study.data }}) the median ceiling over all voxels is {{ ceilings["nsdgeneral"].ncsnr }} from repeats and {{ ceilings["nsdgeneral"].cross_subject }} from other
# brains; in early visual areas {{ ceilings["prf-visual"].ncsnr }} and {{ ceilings["prf-visual"].cross_subject }}. Voxel by voxel:

# %% tags=["figure:ceiling_scatter"]
fig = figures.plot_ceiling_scatter(table[table.roi == "nsdgeneral"])
figures.save_figure(
    fig, table[table.roi == "nsdgeneral"], "ceiling_scatter", settings,
    caption="The two ceilings voxel by voxel, one panel a subject.",
    alt="Scatter, one panel a subject. " + figures.alt_ceilings(table, rois=["nsdgeneral"]),
)  # fmt: skip

# %% [markdown]
# ## How much does the threshold drop?
#
# Alignment is averaged over voxels whose ceiling reaches the threshold of the settings: a fraction of variance for the ceiling from
# repeats, a correlation for the other.

# %%
threshold = settings.stats.min_ceiling
shares = table.assign(
    repeats=~(table.ncsnr**2 >= threshold), others=~(table.cross_subject >= threshold)
).groupby("roi")[["repeats", "others"]].mean()
titled(shares.reindex(PAPER_GROUPS), "{:.0%}")
