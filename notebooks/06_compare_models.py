# ---
# jupyter:
#   brainalign:
#     reads: scores samples nulls voxels ceilings
#     settings: data subjects models stats
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which models predict which regions?
#
# The central comparison, the paper's figure 2: instruction-tuned multimodal models beside a vision-only model, CLIP, and the same
# architectures with random weights, in early visual cortex and in regions for bodies, faces, places and words.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
import pandas as pd
from myst_nb import glue

from brainalign_utils import figures
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.results import ledger, model_tests, study
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import title_of, titled, written

settings = load_settings(settings_file)

# %% [markdown]
# ## From scores to one number per model and region
#
# The table takes, for each region, the layer of the model's answer-giving component with the best cross-validated score on training images; averages over the
# instructions; divides by the noise ceiling; and averages over the region's voxels whose ceiling reaches the threshold.

# %%
reference = "vit-h" if "vit-h" in settings.models else settings.models[0]
table = study.comparison_table(settings, reference=reference)
everyone = table[table.subject == "all"]
mean = everyone.pivot(index="model", columns="roi", values="value")
titled(mean.reindex(index=settings.models, columns=PAPER_GROUPS), "{:.2f}")

# %% tags=["figure:figure_2"]
legend = {
    "+": f"above {title_of(reference)}, q < {settings.stats.alpha:g}",
    "-": f"below {title_of(reference)}, q < {settings.stats.alpha:g}",
}
fig = figures.plot_models(table[table.roi.isin(PAPER_GROUPS)], rois=PAPER_GROUPS, marks_legend=legend)
figures.save_figure(
    fig, table, "figure_2", settings,
    caption="Ceiling-normalised alignment of each model with six groups of regions. Small points: single subjects; "
    "marker and bar: mean and 95 % interval over resampled test images, which also give q; grey: range under shuffled rows.",
    alt=figures.alt_models(table),
)  # fmt: skip

# %% [markdown]
# Read each panel from left to right: a point at 1 would predict all that can be predicted in that region, given its noise;
# the grey band is what a regression on shuffled images reaches. The small points are the single subjects. With four of them, agreement
# between points says more than any test across subjects could.

# %%
roles = mean.groupby(lambda model: MODEL_BY_ID[model].role).mean().reindex(["mllm", "vision", "multimodal", "baseline"])
trained = mean[[f"{model}-random" in mean.index for model in mean.index]]
gain = (trained - mean.loc[trained.index + "-random"].values).stack().dropna()
numbers = roles.map(written).T.to_dict() | {
    "best": {roi: f"{title_of(mean[roi].idxmax())} ({mean[roi].max():.2f})" for roi in ("prf-visual", "higher")},
    "trained_above_random": f"{(gain > 0).sum()} of {len(gain)}",
    "chance": {"low": written(everyone.null_low.min()), "high": written(everyone.null_high.max())},
}
glue("models", numbers, display=False)

# %% [markdown]
# In this build ({{ study.data }}) the highest mean is that of {{ models.best["prf-visual"] }} in early visual areas and of {{ models.best.higher }} in higher ones.
# Trained models lie above the same architectures with random weights in {{ models.trained_above_random }} comparisons of a model and
# a region; shuffled rows reach from {{ models.chance.low }} to {{ models.chance.high }}.
#
# What the threshold on the ceiling drops is part of the result: a mean over a few good voxels is not a mean over the region.

# %%
known = study.alignment_table(settings).dropna(subset="mean")  # without models that predict nothing anywhere
dropped = known.groupby("roi").share_dropped.mean()
share = f"voxels with a ceiling below {settings.stats.min_ceiling:g}"
titled(dropped.reindex(PAPER_GROUPS).to_frame(share), "{:.0%}")

# %% [markdown]
# ## The same under the other ceiling, under none, and as the authors take it
#
# The two ceilings answer different questions (see the page on noise ceilings), and the authors' notebook divides by neither. Its regions are
# label 1 of each region file alone, so that V1v stands for all early areas; voxels of that label outside the mask count as 0; layers are
# averaged. Early visual areas:

# %%
choices = ledger.choice_table(settings, settings.models)
titled(ledger.convention_table(choices, "prf-visual"), "{:.2f}")

# %% [markdown]
# And places, for which the authors' label 1 is OPA:

# %%
titled(ledger.convention_table(choices, "places"), "{:.2f}")

# %% [markdown]
# ## Does the lead depend on the region?
#
# Two bar charts, one a region, do not show that a model's lead is larger in one of them: the difference of the differences needs a test of
# its own. For each model against the reference, one test over all six groups: a small *q* says that its lead is not the same everywhere. The
# test rests on resampled test images, which all models and regions share. Single voxels are tested on [a page of their own](08_test_voxels).

# %%
samples = model_tests.model_samples(settings, settings.models)
interaction = model_tests.interaction_table(samples, reference, PAPER_GROUPS).set_index("model")
titled(interaction, {"statistic": "{:.1f}", "df": "{:.0f}", "p": "{:.2g}", "q": "{:.2g}"})

# %% [markdown]
# ## Do the subjects agree?
#
# A Wilcoxon signed-rank test across subjects cannot get below the *p* in the last column, however large the effect. So read how many subjects
# lie on the same side of the reference, and do not take a missing star for a missing effect.

# %%
agree = model_tests.subject_table(samples, reference, PAPER_GROUPS)
count = agree.n_positive.astype(str) + " of " + agree.n_subjects.astype(str)
wide = agree.assign(above=count).pivot(index="model", columns="roi", values="above").reindex(columns=PAPER_GROUPS)
titled(wide.assign(**{"smallest p": agree.groupby("model").smallest_p.min()}).reindex(pd.unique(agree.model)))
