"""From the same tables two users draw the same figures, byte for byte, whatever settings are theirs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import matplotlib
import pytest
from fontTools.ttLib import TTFont
from nbclient import NotebookClient

from brainalign_utils.settings import project_root

DRAW = """
import sys
from pathlib import Path

sys.path[:0] = [{project!r}, {tests!r}]
from fixtures import figure_tables as simulated

from brainalign_utils import figures
from brainalign_utils.results import surface
from brainalign_utils.settings import Settings

drawn = {{
    "models": figures.plot_models(simulated.models_table(), ["faces"], {{"*": "above"}}),
    "ceilings": figures.plot_ceilings(simulated.ceilings_table()),
    "pair_tests": figures.plot_pair_tests(simulated.pair_tests_table()),
    "venns": figures.plot_venns(simulated.venns_table()),
}}
maps, cortex, areas = simulated.flat_maps()
values = surface.fsaverage5().curvature.values.ravel()
drawn["maps"] = figures.plot_maps(maps, cortex, "depth", areas)
drawn["views"] = figures.plot_views(surface.fsaverage5(), values, "x")
settings = Settings(build_root=Path({build!r}), models=("instructblip",))
for name, figure in drawn.items():
    figures.save_figure(figure, simulated.venns_table(), name, settings, "c", "a")
"""

MATPLOTLIBRC = """
backend: TkAgg
text.usetex: True
font.family: serif
font.size: 20
mathtext.fontset: stix
figure.dpi: 37
figure.constrained_layout.use: True
savefig.dpi: 41
savefig.bbox: tight
savefig.transparent: True
svg.fonttype: none
svg.hashsalt: mine
axes.prop_cycle: cycler('color', ['r'])
axes.grid: True
axes.formatter.use_locale: True
axes.unicode_minus: False
lines.linewidth: 9
image.interpolation: bilinear
hist.bins: 3
path.simplify: False
agg.path.chunksize: 100
errorbar.capsize: 9
"""

STARTUP = """
import matplotlib.pyplot as plt, numpy as np, pandas as pd
plt.style.use("ggplot")
plt.rcParams["figure.dpi"] = 300
pd.set_option("display.precision", 1, "display.float_format", "{:.1f}".format, "display.max_rows", 2)
np.set_printoptions(precision=1, legacy="1.13", formatter={"float": "{:.1f}".format})
"""


def draw(folder: Path, python=("-P",), umask=0o022, **environment):
    """Draw the figures in a process of its own; bytes of every file but what records the run."""
    folder.mkdir(exist_ok=True)
    names = {"project": str(project_root()), "tests": str(project_root() / "tests")}
    script = folder / "draw.py"
    script.write_text(DRAW.format(**names, build=str(folder / "build")), encoding="utf-8")
    kept = {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS") if k in os.environ}
    run = subprocess.run(
        [sys.executable, *python, str(script)],
        cwd=folder, env=kept | environment, umask=umask, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    files = {
        file.name: file.read_bytes() for file in sorted((folder / "build").rglob("*.*")) if file.is_file()
    }
    for name in [name for name in files if name.endswith(".json")]:
        files[name] = {
            k: v for k, v in json.loads(files[name]).items() if k not in ("provenance", "settings")
        }
    return files


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    home = tmp_path_factory.mktemp("plain")
    files = draw(home / "work", HOME=str(home), LANG="C.UTF-8")
    assert len(files) == 4 * 6
    return files


def differences(files, reference):
    return sorted({*files} ^ {*reference}) or [name for name in reference if files[name] != reference[name]]


def write_fonts(folder: Path):
    """Fonts that call themselves DejaVu Sans, as an odd copy in a user's folder may."""
    folder.mkdir(parents=True)
    for style in ("", "-Bold", "-Italic", "-BoldItalic"):
        font = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSerif{style}.ttf")
        for record in font["name"].names:
            record.string = record.toUnicode().replace("Serif", "Sans")
        font.save(folder / f"mine{style}.ttf")


def test_a_user_with_settings_of_every_kind(reference, tmp_path):
    home, work = tmp_path / "home with ü", tmp_path / "work"
    for folder in (home / ".config" / "matplotlib", work):
        folder.mkdir(parents=True)
        (folder / "matplotlibrc").write_text(MATPLOTLIBRC)
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text(STARTUP)
    write_fonts(home / ".local" / "share" / "fonts")
    files = draw(
        work, python=("-m", "IPython", "--no-banner"), umask=0o077, HOME=str(home), PYTHONHASHSEED="7",
        LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="86400",
        MPLBACKEND="svg",
    )  # fmt: skip
    assert differences(files, reference) == []


def test_a_user_without_a_home(reference, tmp_path):
    nowhere = "/dev/null/home"  # nobody can make that folder, not even root
    folders = dict.fromkeys(("HOME", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), nowhere)
    files = draw(tmp_path / "work", PYTHONHASHSEED="1", TMPDIR=str(tmp_path), **folders)
    assert differences(files, reference) == []


INLINE = "# %matplotlib inline\nplt.style.use(STYLE)"
"""What a notebook that draws by pyplot says first."""


def test_notebooks_that_draw_by_pyplot_start_from_the_style():
    sources = {p.name: p.read_text() for p in (project_root() / "notebooks").glob("*.py")}
    drawing = {name for name, text in sources.items() if "matplotlib.pyplot" in text}
    assert drawing and drawing == {name for name, text in sources.items() if INLINE in text}


def test_a_notebook_shows_its_figures_whatever_the_user_set(tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC)
    for name, value in {"MPLBACKEND": "Agg", "IPYTHONDIR": str(tmp_path / "ipython")}.items():
        monkeypatch.setenv(name, value)
    cells = f"import matplotlib.pyplot as plt\nfrom brainalign_utils.style import STYLE\n{INLINE}\n"
    cells += "\n# %%\nplt.plot([1, 2])\nplt.title('alignment')\nplt.show()\n"
    notebook = jupytext.reads(f"# %%\n{cells}", fmt="py:percent")
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, kernel_name="python3").execute()
    assert [list(output.get("data", {})) for output in notebook.cells[1].outputs] == [
        ["text/plain", "image/png"]
    ]
