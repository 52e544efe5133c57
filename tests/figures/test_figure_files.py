"""A figure is saved whole: picture, table, description; with its words, or not at all."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from fixtures import figure_tables as simulated
from fixtures.figure_tables import words
from matplotlib.figure import Figure
from PIL import Image

from brainalign_utils import figures
from brainalign_utils.figures import style
from brainalign_utils.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(build_root=tmp_path, models=("instructblip",))


def small():
    """A quick figure with its table."""
    table = simulated.models_table(("instructblip", "idefics"), ("faces",))
    return figures.plot_models(table, rois=("faces",)), table


def saved(settings, **options):
    figure, table = small()
    texts = {"caption": "Models.", "alt": figures.alt_models(table, ("faces",))}
    return figures.save_figure(figure, table, "models", settings, **(texts | options))


def test_saved_files_hold_the_figure_the_table_and_the_description(settings):
    result = saved(settings)
    assert result.png == settings.paths.figure("models", "png")
    assert Image.open(result.png).size[0] == pytest.approx(160 * style.WIDTH, abs=1)
    assert result.svg.read_text().startswith("<?xml")
    back = pd.read_csv(result.csv, dtype={"subject": str})
    np.testing.assert_allclose(back.value, small()[1].value, rtol=1e-5)
    about = json.loads(result.json.read_text())
    assert about["caption"] == "Models." and about["data"] == "phantom"
    assert set(about["sha256"]) == {"svg", "png", "csv"}
    assert "git_revision" in about["provenance"]
    assert not list(result.png.parent.glob("*.tmp"))


def test_phantom_is_written_on_the_figure_and_in_the_text(settings):
    figure, table = small()
    result = figures.save_figure(figure, table, "m", settings, "c", "Dots.")
    assert "PHANTOM" in figure.get_suptitle()
    assert result.alt == "Dots. Phantom data, not a finding about brains."
    assert json.loads(result.json.read_text())["alt"] == result.alt


def test_real_data_is_not_called_phantom(tmp_path):
    real = Settings(build_root=tmp_path, models=("instructblip",), data="nsd", nsd_root=tmp_path)
    figure, table = small()
    result = figures.save_figure(figure, table, "m", real, "c", "Dots.")
    assert "phantom" not in (words(figure) + result.alt + result.svg.read_text()).lower()


def test_same_figure_same_bytes(settings):
    first = saved(settings)
    bytes_before = {kind: getattr(first, kind).read_bytes() for kind in ("svg", "png", "csv")}
    again = saved(settings)
    assert {kind: getattr(again, kind).read_bytes() for kind in bytes_before} == bytes_before


def test_a_failed_write_leaves_the_old_file(settings, monkeypatch):
    result = saved(settings)
    before = result.svg.read_bytes()

    def fail(self, file, **options):
        file.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        saved(settings)
    assert result.svg.read_bytes() == before
    assert not list(result.png.parent.glob(".*"))


@pytest.mark.parametrize("what", ["caption", "alt"])
def test_every_figure_needs_its_words(settings, what):
    with pytest.raises(ValueError, match=f"{what} of figure 'models' is ' '"):
        saved(settings, **{what: " "})


def test_a_figure_needs_numbers(settings):
    figure = style.new_figure(2)
    with pytest.raises(ValueError, match="has 0 rows"):
        figures.save_figure(figure, pd.DataFrame(), "empty", settings, "c", "a")


def test_notebook_shows_the_picture_with_its_alternative_text(settings):
    result = saved(settings, alt='Dots of "A" & B')
    bundle = result._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", "text/html"}
    assert 'alt="Dots of &quot;A&quot; &amp; B Phantom data' in bundle["text/html"]
    assert bundle["image/png"] in bundle["text/html"]
    assert re.search(r"background:#fff", bundle["text/html"])  # a card, whatever the page
