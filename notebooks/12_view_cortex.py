# ---
# jupyter:
#   brainalign:
#     reads: scores voxels
#     settings: data subjects models partition stats
#     writes: viewer
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Interactive cortical surface
#
# Every score of the study, on a cortex that can be turned: choose a subject, a model or the difference of two, an
# instruction, a layer and a region. The values are the correlation of each voxel divided by its noise ceiling; voxels below the threshold on the ceiling stay grey. Nothing is
# computed while you look: this notebook writes the numbers, and the page fetches those that you ask for.

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
from brainalign_utils import figures
from brainalign_utils.publishing import viewer
from brainalign_utils.results import surface
from brainalign_utils.results.study import main_component
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import PAPER_GROUPS
from brainalign_utils.titles import title_of

settings = load_settings(settings_file)
model = settings.lead_model()
instruction = settings.instruction_rows()[-1].id

# %% tags=["widget:cortex"]
manifest = viewer.write_viewer(settings, settings.paths.root / "viewer")
size = sum(file.stat().st_size for file in (settings.paths.root / "viewer").iterdir())
print(f"{len(manifest['models'])} models, {len(manifest['subjects'])} choices of subject, {size / 2**20:.1f} MiB")

# %% [markdown]
# ## Four views
#
# The same surface without a script: one model and instruction, mean over subjects, at the layer with the highest median.

# %%
maps = viewer.vertex_maps(settings)
spaces, values = viewer.vertex_scores(settings, model, maps)
bits = viewer.region_bits(settings, maps)["mean"]
table = viewer.space_table(spaces, values["mean"], bits, PAPER_GROUPS)
chosen = table[(table.component == main_component(model)) & table.instruction.isin([instruction, "none"])]
best = int(chosen[chosen.roi == "nsdgeneral"].set_index("space")["median"].idxmax())

# %% tags=["figure:cortex"]
title = title_of(model)
fig = figures.plot_views(surface.fsaverage5(), values["mean"][best], "normalised alignment")
regions = {title_of(roi): values["mean"][best][viewer.in_region(bits, roi)] for roi in PAPER_GROUPS}
figures.save_figure(
    fig, table, "cortex", settings,
    caption=f"Normalised alignment of {title} under {instruction} on the inflated cortex, mean over subjects.",
    alt=figures.alt_maps(regions, f"normalised alignment of {title} under {instruction}"),
)  # fmt: skip

# %% [markdown]
# ## The same in numbers
#
# Median over the vertices of each region. Vertices are not voxels: a voxel that the surface cuts often counts often, so these numbers are
# near those of the other pages and not equal to them.

# %%
wide = table[table.space == best].assign(region=lambda t: t.roi.map(title_of))
wide = wide.rename(columns={"n_vertices": "vertices"}).set_index("region")
wide[["vertices", "median", "lowest", "highest"]].round(2)
