# ---
# jupyter:
#   brainalign:
#     reads: truth responses features voxels scores predictions partition ceilings
#     settings: data subjects models partition encoding stats
#     writes: recovery
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does the method recover the ground truth?
#
# On real brains nobody knows the right answer. On the phantom we do: each voxel's tuning, signal and noise were planted. This
# page lays estimates beside what was planted and says, check by check, whether they agree. A check that failed
# here could not be trusted on real data; one that passes is necessary, not sufficient.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
import pandas as pd
from myst_nb import glue

from brainalign_utils import figures, store
from brainalign_utils.results import truth
from brainalign_utils.settings import load_settings
from brainalign_utils.titles import written

settings = load_settings(settings_file)
model = settings.lead_model()

# %% [markdown]
# ## The checks
#
# **Noise ceiling:** the planted median of each region is within the sampling error of its estimate. **Cross-subject ceiling:** responses
# are drawn, for four subjects and the study's number of shared images, of which a known part is common to all subjects; the
# extrapolated ceiling is within .1 of it. **Tuning:** across
# kinds of drawn content, the profile of an area's predictions follows the profile of its planted signal (early areas as the vision-only model
# predicts them, the others as the multimodal one does, each from the best layer of its region). **Best instruction:** voxels tuned to
# something are won by an instruction that asks for it, more often than other voxels are. **Layer choice:** the layer chosen on training folds scores, on test
# images, within .02 of the best one. **Shared variance:** responses are drawn from the model's own states so that two feature spaces share
# a known part; the partition finds that part within its interval, give or take what few training images cost (.05).

# %%
checks = [
    truth.ceiling_rows(settings),
    truth.cross_subject_rows(settings),
    truth.tuning_rows(settings, model, settings.caption_id()),
    truth.winner_rows(settings, model),
    truth.layer_rows(settings, model),
    truth.shared_rows(settings, model),
]
table = pd.concat(checks, ignore_index=True)
recovery_file = store.write_table(settings.paths.table("recovery"), table)

# %% tags=["figure:recovery"]
fig = figures.plot_recovery(table)
figures.save_figure(
    fig, table, "recovery", settings,
    caption="Estimate against planted value; filled circles passed their check, open crosses failed.",
    alt=figures.alt_recovery(table),
)  # fmt: skip

# %%
verdict = table.groupby(["check", "subject"], sort=False).passed.agg(["sum", "size"])
verdict = (verdict["sum"].astype(str) + " of " + verdict["size"].astype(str)).unstack().fillna("")
verdict.rename_axis(columns="passed, by subject")

# %%
passed = table.groupby("check").passed.agg(["sum", "size"])
passed.loc["all"] = passed.sum()
error = (table.estimated - table.planted).abs().groupby(table.check)
numbers = {
    "passed": (passed["sum"].astype(str) + " of " + passed["size"].astype(str)).to_dict(),
    "largest_error": error.max().map(written).to_dict(),
    "median_error": error.median().map(written, form="{:.3f}").to_dict(),
}
glue("recovery", numbers, display=False)

# %% [markdown]
# Points on the diagonal are recovered: in this build ({{ study.data }}) {{ recovery.passed.all }} checks pass. Where a check fails for one subject and passes for the others, look at how many voxels and images stand behind it: the
# phantom has a few hundred training images, not nine thousand.
