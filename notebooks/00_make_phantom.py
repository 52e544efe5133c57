# ---
# jupyter:
#   brainalign:
#     settings: data phantom subjects betas space
#     writes: dataset truth
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The phantom: a miniature with known ground truth
#
# Neither the Natural Scenes Dataset nor the published checkpoints fit into a book that anyone can build.
# So this book runs, by default, on a *phantom*, as physicists call the object with known content that
# goes into a scanner before a patient does. Scenes are drawn by a program, so that every question about
# them has a true answer. Brains are simulated: each voxel follows the drawn content that its area is known for,
# and noise is added trial by trial. Everything is written in the dataset's own file formats, and read
# back by the same loader that reads the real data.
#
# Because the ground truth is known, the phantom can show whether the *method* recovers it. It says nothing about brains.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd

import nsd_phantom
from brainalign_utils import nsd
from brainalign_utils.settings import load_settings
from brainalign_utils.style import STYLE

# %matplotlib inline
plt.style.use(STYLE)  # matplotlib's own defaults and the book's, whatever a matplotlibrc says
settings = load_settings(settings_file)
paths = settings.paths

# %% [markdown]
# ## Making the dataset
#
# A command of its own, `nsd-phantom`, writes it; it can be used without this study. The tree below `dataset/nsd` has NSD's names, keys, shapes and number types. What only the
# simulation knows (signals, tuning, planted noise ceilings) is kept apart from it, below `dataset/truth`.

# %%
size = settings.phantom
command = [
    "-m", nsd_phantom.__name__, paths.root / "dataset", "--subjects", *settings.subjects,
    "--sessions", size.n_sessions, "--voxels", size.n_voxels, "--shared", size.n_shared, "--seed", size.seed,
    "--betas", settings.betas, "--space", settings.space,
]  # fmt: skip
run = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
if run.returncode:
    raise RuntimeError(run.stderr.strip())
files = [path for path in paths.nsd.rglob("*") if path.is_file()]
print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB")

# %% [markdown]
# ## What the scenes look like
#
# Indoor and outdoor backgrounds, people, animals, food, vehicles and written signs, in varied sizes, colours and
# positions, one partly in front of another. Twelve of the images that all subjects saw:

# %%
content = pd.read_parquet(paths.truth / "stimuli.parquet").set_index("nsd_id")
stim_info = nsd.read_stim_info(paths.nsd)
brick = nsd.StimulusBrick(paths.nsd)
shared = [i for i in content.index if stim_info.shared1000[i]][:12]

# %% mystnb={"image": {"alt": "Twelve drawn scenes: people, animals, food, vehicles and signs before indoor and outdoor backgrounds."}}
fig, axes = plt.subplots(3, 4, figsize=(7, 5.4), layout="constrained")
for ax, nsd_id in zip(axes.flat, shared, strict=True):
    ax.imshow(brick[nsd_id])
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{nsd_id} (phantom)", fontsize=8)
plt.show()

# %% [markdown]
# ## What the simulated brains follow
#
# Each voxel sits at a place on the cortical surface and belongs to the area that real brains have there. Voxels of early visual
# areas follow contrast energy and colour inside their receptive field; those of higher areas follow what the area is known for, with some of what
# their neighbours follow. None of it comes from any model's features. The table gives the mean share of each voxel's
# signal that each kind of content carries, for the first subject.

# %%
voxels = pd.read_parquet(paths.truth / f"subj{settings.subjects[0]:02d}" / "voxels.parquet")
voxels = voxels[voxels.label_nsdgeneral > 0]
shares = voxels.filter(like="fraction_").rename(columns=lambda name: name.removeprefix("fraction_"))
shares.groupby(voxels.family).mean().round(2).assign(voxels=voxels.family.value_counts())

# %% [markdown]
# Noise is drawn for each trial and voxel with a known standard deviation, so that the planted noise ceilings follow those published for
# the real subjects. Later pages compare estimates with this ground truth.
