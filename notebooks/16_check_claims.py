# ---
# jupyter:
#   brainalign:
#     reads: scores samples voxels partition ceilings choices concepts recovery
#     settings: data subjects models partition multiverse stats
#     writes: ledger
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The ledger: what was claimed, what was found
#
# Every claim of the paper and every number that is public, with its source, how close a reproduction would have to come and
# why, what this study computed, and a verdict. On simulated data there is no verdict on values, by construction: the
# ledger then says "not tested with this data", and reports whether the method behind the claim passes its checks.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from myst_nb import glue

from brainalign_utils import figures, store
from brainalign_utils.figures import show
from brainalign_utils.results import claims, ledger
from brainalign_utils.settings import load_settings

settings = load_settings(settings_file)

# %% [markdown]
# ## Verdicts

# %%
multimodal = [model for model in settings.partition.models if model in settings.models]
contrasts, flips = ledger.tension(settings, multimodal, ["vit-h"])

# %%
tables = ledger.claim_tables(settings, contrasts)
if settings.paths.table("recovery").is_file():
    recovery = store.read_table(settings.paths.table("recovery"))
else:
    recovery = None
verdicts = claims.evaluate(claims.load_claims(), tables, settings.data, recovery)
ledger_file = store.write_table(settings.paths.table("ledger"), verdicts)
counts = verdicts.verdict.value_counts()
said = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
glue("ledger", {"n_claims": f"{len(verdicts)}", "verdicts": said}, display=False)
claims.summary(verdicts).to_frame("claims")

# %% [markdown]
# A claim about scores divided by a noise ceiling appears twice, because the paper's choice of ceiling is not public. A directed claim is
# *reproduced* where the 90 % interval across subjects lies above the smallest effect of interest (.02), and *not reproduced* where it lies below;
# "on par" and single numbers need the whole interval within the tolerance. In between the verdict is *undecided*: with four subjects
# an equivalence within .05 often cannot be shown. Numbers whose unit is not public are *not comparable*.
#
# ## How often the rules are wrong
#
# Each rule was given 500 simulated studies in which its claim is true, and 500 that lie on the boundary of the claim. With four subjects and
# the between-subject spread of the authors' own scores, the table counts boundary studies that were called reproduced, true ones that were
# rejected, and true ones that were decided.

# %%
rates = claims.load_verdict_rates()
rates.set_index(["rule", "case"])[["n_subjects", "spread", "false_reproduced", "true_rejected", "decided"]]

# %% [markdown]
# The second case, eight subjects with a spread of .02, shows that an undecided verdict is a matter of the number of subjects: there
# nearly every true claim is decided.

# %% [markdown]
# ## Claims
#
# Numbered as in the abstract.

# %% tags=["full-width"]
show.Ledger(verdicts[verdicts.number.notna()])

# %% [markdown]
# ## A specification-curve contrast
#
# In the authors' notebook, the vision-only model is *above* the language states of the multimodal models in early visual
# cortex; in figure 2 it is *below*. The two differ in layer choice, normalisation, regions and more. Each point below is the same
# contrast under one combination of choices; the dots say which. If its sign depends on a choice, the claim does too.

# %% tags=["figure:tension"]
early = ledger.drawn(contrasts, "prf-visual")
fig = figures.plot_choices(early, unit="multimodal minus vision-only, early visual")
figures.save_figure(
    fig, early, "tension", settings,
    caption="Multimodal language models minus ViT-H in early visual cortex, under each combination of choices.",
    alt=figures.alt_choices(early, unit="multimodal minus vision-only in early visual cortex"),
)  # fmt: skip

# %% [markdown]
# How many combinations put which side above, where the interval across subjects leaves no doubt:

# %%
named = contrasts.assign(verdict=contrasts.verdict.replace(ledger.SIDES))
named.groupby("roi", sort=False).verdict.value_counts().unstack(fill_value=0)

# %% [markdown]
# Which choice changes the answer? For each: the proportion of pairs of analyses, different in that choice alone, whose sign or verdict differs.

# %%
show.WordTable(flips.replace({"factor": ledger.NAMES}).rename(columns=lambda name: name.replace("_", " ")))

# %% [markdown]
# ## Every public number
#
# Digitised from slides or printed in the authors' notebook, each with its own tolerance.

# %% tags=["full-width"]
show.Ledger(verdicts[verdicts.number.isna()])
