# ---
# jupyter:
#   brainalign:
#     reads: dataset responses features
#     settings: data subjects models partition multiverse encoding features
#     writes: choices
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Other choices of analysis
#
# Some choices need a new fit: how states are pooled, whether responses are z-scored within sessions, and whose statistics z-score the test
# data. This notebook makes those fits for the models of one question, *does the vision-only model lie below the multimodal ones?*, for the
# captioning instruction and the component that gives the answer. The ledger combines them with the choices that need no fit: layer, ceiling, regions.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from brainalign_utils.results import variants
from brainalign_utils.settings import load_settings

settings = load_settings(settings_file)
models = [m for m in (*settings.partition.models, "vit-h") if m in settings.models]

# %% [markdown]
# ## Poolings
#
# The study averages the states of generated tokens. The settings name others to compare it with: the tokens of the prompt, its last token, the
# tokens of the image, or all of them, as one of the authors' scripts does.

# %%
for model in models:
    variants.extract_variants(settings, model)

# %% [markdown]
# ## Fits
#
# One regression serves three analyses: the study's own; betas that were not z-scored within sessions; and, besides, test features z-scored by
# themselves, as in the authors' code.

# %%
variants.fit_variants(settings, models)

# %% [markdown]
# The mean correlation over layers and voxels of the first subject, raw. A model without instructions has one vector per layer, whatever the
# pooling. What these differences do to the question is on the page of the ledger.

# %%
variants.as_table(settings, models).set_index(["model", "pooling"]).round(3)
