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
# # The phantom: a miniature with a known truth
#
# Neither the Natural Scenes Dataset nor the published checkpoints fit into a book that anyone can build.
# So this book runs, by default, on a *phantom*, as physicists call the object with known content that
# goes into a scanner before a patient does. Scenes are drawn by a program, so that every question about
# them has a true answer. Brains are simulated: each voxel follows the drawn content that its area is known for,
# and noise is added trial by trial. Everything is written in the dataset's own file formats, and read
# back by the same loader that reads the real data.
#
# Because the truth is known, the phantom can say whether the *method* recovers it. It says nothing about brains.

# %% tags=["parameters"]
settings_file = "workflow/config/phantom.yml"

# %%
import numpy as np
import pandas as pd

from brainalign_utils import config, figures, nsd
from brainalign_utils.phantom import writer

settings = config.load_settings(settings_file)
paths = settings.paths

# %% [markdown]
# ## Making the dataset
#
# The tree below `dataset/nsd` has NSD's names, keys, shapes and number types. What only the
# simulation knows (signals, tuning, planted noise ceilings) is kept apart from it, below `dataset/truth`.

# %%
writer.make_phantom(paths.root / "dataset", settings.phantom, settings.subjects)
files = [path for path in paths.nsd.rglob("*") if path.is_file()]
print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB")

# %% [markdown]
# ## What the scenes look like
#
# Indoor and outdoor backgrounds, people, animals, food, vehicles and written signs, in varied sizes, colours and
# positions, one partly in front of another. Twelve of the pictures that all subjects saw:

# %%
stim_info = nsd.read_stim_info(paths.nsd)
brick = nsd.StimulusBrick(paths.nsd)
shared = np.flatnonzero(stim_info.shared1000)
