# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
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
settings_file = "workflow/config/phantom.yml"

# %%
import pandas as pd

from brainalign_utils import claim_table, claims, config, figures, ledger, show, store, study
from brainalign_utils.partition.stored import pair_table

settings = config.load_settings(settings_file)

# %% [markdown]
# ## Verdicts

# %%
multimodal = [model for model in settings.partition.models if model in settings.models]
contrasts, flips = ledger.tension(settings, multimodal, ["vit-h"])
pairs = pair_table(settings, multimodal, ["prf-visual", "higher"])
tables = {
    "alignment": study.alignment_table(settings),
    "concepts": store.read_table(settings.paths.table("concepts")),
    "partition": pairs.rename(columns={"instruction_a": "a", "instruction_b": "b"}),
}
if settings.paths.table("recovery").is_file():
    recovery = store.read_table(settings.paths.table("recovery"))
else:
    recovery = None
verdicts = claims.evaluate(claim_table.load_claims(), tables, settings.data, recovery)
ledger_file = store.write_table(settings.paths.table("ledger"), verdicts)
claims.summary(verdicts).to_frame("claims")

# %% tags=["full-width"]
numbered = verdicts[verdicts.number.notna()]
shown = pd.DataFrame(
    {
        "claim": [f"{row.number:.0f}. {row.text}" for row in numbered.itertuples()],
        "source": numbered.source,
        "reported": numbered.reported,
        "computed": numbered.computed,
        "verdict": numbered.verdict,
        "method recovers truth": numbered.recovered.map({True: "yes", False: "no"}),
    }
)
show.WordTable(shown)

# %% [markdown]
# ## Every public number
#
# Digitised from slides or printed in the authors' notebook, each with its own tolerance.

# %% tags=["full-width"]
bare = verdicts[verdicts.number.isna()][["text", "reported", "tolerance", "computed", "verdict"]]
show.WordTable(bare)

# %% [markdown]
# ## A tension inside the public material
#
# In the authors' notebook, the vision-only model is *above* the language states of the multimodal models in early visual
# cortex; in figure 2 it is *below*. The two differ in layer choice, normalisation and regions. Each point below is the same
# contrast under one combination of choices; the dots say which. If its sign depends on a choice, the claim does too.

# %% tags=["figure:tension"]
fig = figures.plot_choices(contrasts, unit="multimodal minus vision-only, early visual")
figures.save_figure(
    fig, contrasts, "tension", settings,
    caption="Multimodal language models minus ViT-H in early visual cortex, under each combination of choices.",
    alt=figures.alt_choices(contrasts),
    command="make figure NOTEBOOK=12_check_claims",
)  # fmt: skip

# %% [markdown]
# Which choice changes the answer? For each factor: the share of pairs of analyses, different in that choice alone, whose sign or verdict differs.

# %%
show.WordTable(flips)
