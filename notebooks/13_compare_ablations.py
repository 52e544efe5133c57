# ---
# jupyter:
#   brainalign:
#     reads: scores samples nulls voxels
#     settings: data subjects models stats
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ablations: what does instruction tuning bring?
#
# A multimodal model that was tuned to follow instructions differs from a vision model in many ways at once: language, scale, training
# data, tuning. Reviewers of the paper asked for comparisons that change one thing at a time.
#
# - **Instruction tuning removed:** BLIP-2 is InstructBLIP's architecture trained to describe images, without the tuning.
# - **Image only:** the empty instruction. What does the image alone bring?
# - **Instruction only:** a blank image. Whatever this predicts cannot come from the image.
# - **Language only:** the language model reads a caption of the image and never sees it.
# - **Random weights:** the same architecture, untrained.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
import pandas as pd

from brainalign_utils import figures
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.results import study
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import titled

settings = load_settings(settings_file)

# %% [markdown]
# ## The contrasts
#
# Parameters of the published checkpoints stand beside the scores, because a larger model gives the regression more to choose from.

# %%
contrasts = {
    "instruction tuning: with, without": ["instructblip", "instructblip-flan-t5", "blip2"],
    "input: both, image only, instruction only, caption only": [
        "instructblip", "instructblip-image-only", "instructblip-instruction-only", "language-only"],
    "training: trained, random weights": [
        "instructblip", "instructblip-random", "idefics", "idefics-random", "mplug-owl", "mplug-owl-random"],
}  # fmt: skip
members = [m for models in contrasts.values() for m in models if m in settings.models]
table = study.comparison_table(settings, models=list(dict.fromkeys(members)), reference="instructblip")
rows = pd.concat(
    table[table.model.isin(models)].assign(contrast=title) for title, models in contrasts.items()
).assign(n_parameters=lambda t: t.model.map(lambda m: MODEL_BY_ID[m].n_parameters))

# %% tags=["figure:ablations"]
fig = figures.plot_ablations(rows)
figures.save_figure(
    fig, rows, "ablations", settings,
    caption="What changes when one thing is taken away: instruction tuning, the image, the instruction, training.",
    alt=figures.alt_models(table, rois=["prf-visual", "higher"]),
)  # fmt: skip

# %% [markdown]
# A model whose score does not drop when the instruction is taken away owes it to the image. With a blank image all
# states are the same, and no correlation is defined: a number there would be a leak.

# %%
everyone = table[(table.subject == "all") & table.roi.isin(PAPER_GROUPS)]
titled(everyone.pivot(index="model", columns="roi", values="difference")[list(PAPER_GROUPS)], "{:.3f}")

# %% [markdown]
# The table holds the difference to InstructBLIP; the tests behind it resample the test images, which all models share.
