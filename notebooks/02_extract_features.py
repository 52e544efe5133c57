# ---
# jupyter:
#   brainalign:
#     over: model shard
#     reads: dataset
#     settings: features instructions extra_instructions checkpoints
#     writes: features answers
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Extracting features
#
# A model is shown every image together with every instruction, and answers. Its hidden states during the answer are the
# features. This notebook runs once per model (and per shard of the images, when the work is split over several
# GPUs); it continues where an interrupted run stopped.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study
model: str = "instructblip"  # row of the table of models
shard: int = 0  # which of the parts into which the images are split
n_shards: int = 1  # number of these parts

# %%
import matplotlib.pyplot as plt
import pandas as pd

from brainalign_utils import nsd
from brainalign_utils.features import extraction
from brainalign_utils.features.store import feature_spaces
from brainalign_utils.models import MODEL_BY_ID, ROLE_TITLES
from brainalign_utils.registry import check_parameters
from brainalign_utils.settings import load_settings
from brainalign_utils.style import STYLE, WordTable

# %matplotlib inline
plt.style.use(STYLE)  # matplotlib's own defaults and the book's, whatever a matplotlibrc says
settings = load_settings(settings_file)
check_parameters(settings, model=model, shard=shard, n_shards=n_shards)
paths = settings.paths
row = MODEL_BY_ID[model]

# %% [markdown]
# ## The model
#
# Every model of the study is one row of a table. In the phantom, a tiny checkpoint of the same class takes the place of the published one.

# %%
pd.Series(
    {
        "model": row.title,
        "stands for": ROLE_TITLES[row.role],
        "published checkpoint": row.checkpoint,
        "published parameters": f"{row.n_parameters / 1e9:.1f} billion",
        "here": "tiny checkpoint of the phantom" if settings.checkpoints == "phantom" else row.checkpoint,
        "prompt": row.prompt or "none",
    },
    name="",
).to_frame()

# %% [markdown]
# ## Extraction
#
# The image is encoded once and the states are shared by all instructions. Of each layer one vector per image is kept: by default the mean over the
# tokens of the answer. States of the vision tower do not depend on the instruction and are stored once.

# %%
extraction.extract(settings, model, shard=(shard, n_shards))
spaces = feature_spaces(paths.features(model))
spaces.groupby("component").agg(
    layers=("layer", "nunique"), instructions=("instruction", "nunique"), spaces=("layer", "size")
)

# %% [markdown]
# ## What the model sees, and what it says
#
# The answers are kept beside the features: they show whether the model did what it was asked.

# %%
answers = pd.read_parquet(paths.answers(model)) if paths.answers(model).is_file() else pd.DataFrame()
example = int(answers.nsd_id.iloc[0]) if len(answers) else int(nsd.read_stim_info(paths.nsd).query("shared1000").index[0])

# %% mystnb={"image": {"alt": "One of the images that the model was shown."}}
fig, ax = plt.subplots(figsize=(3, 3))
ax.imshow(nsd.StimulusBrick(paths.nsd)[example])
ax.set(xticks=[], yticks=[], title=f"image {example} ({settings.data})")
plt.show()

# %%
texts = {i.id: i.text for i in settings.instruction_rows()}
shown = answers[answers.nsd_id == example] if len(answers) else pd.DataFrame(columns=["instruction", "text"])
said = pd.DataFrame(
    {"id": shown.instruction, "instruction": shown.instruction.map(texts), "answer": shown.text}
)
WordTable(said) if len(said) else "This model takes no instruction."
