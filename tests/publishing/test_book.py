"""Whole books: a small one from staging to its last page, and the one of ``jupyter-book build .``."""

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import yaml
from nbformat import read

from brainalign_utils.publishing import publish
from brainalign_utils.publishing.pages import glued
from brainalign_utils.running import execute
from brainalign_utils.settings import load_settings, project_root

ROOT = project_root()
JUPYTER_BOOK = Path(sys.executable).with_name("jupyter-book")
NOTEBOOK = """# %% [markdown]
# # Which models predict which regions?
# %% tags=["parameters"]
settings_file = "workflow/config/phantom.yml"
# %% tags=["figure:figure_2"]
import matplotlib.pyplot as plt
import pandas as pd
from myst_nb import glue
from brainalign_utils import figures
from brainalign_utils.settings import load_settings
settings = load_settings(settings_file)
figure, axes = plt.subplots()
plt.close(figure)
axes.plot([1, 2])
glue("models", {"best": {"prf-visual": "ViT-H/14 (0.61)"}, "count": "7 of 8"}, display=False)
figures.save_figure(
    figure, pd.DataFrame({"x": [1, 2]}), "figure_2", settings,
    caption="What is drawn.", alt="A line that rises from one to two.",
)
# %% [markdown]
# The best model is {{ models.best["prf-visual"] }}, in this build ({{ study.data }}).
"""
INDEX = """# A small book

```{include} /book/generated/notice.md
```
```{include} /book/generated/answer.md
```
```{include} /book/generated/front_figure.md
```
"""
TOC = {
    "format": "jb-book",
    "root": "book/index",
    "parts": [{"chapters": [{"file": "notebooks/06_compare_models"}, {"file": "book/glossary"}]}],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Settings and checkout of a study of one notebook; folders have spaces, accents, and are links."""
    home = tmp_path_factory.mktemp("livre d'été") / "le dépôt  n°1"
    (home / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "book", home / "book")
    shutil.copytree(ROOT / "workflow/config", home / "workflow/config")
    for name in ("_config.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, home)
    (home / "_toc.yml").write_text(yaml.safe_dump(TOC))
    (home / "book/index.md").write_text(INDEX)
    (home / "book/notice-phantom.md").write_text("Simulated.\n")
    (home / "book/answer-phantom.md").write_text("Trained models win {{ models.count }} comparisons.\n")
    (home / "notebooks/06_compare_models.py").write_text(NOTEBOOK)
    (home.parent / "disk").mkdir()
    (home / "bâti ment").symlink_to(home.parent / "disk", target_is_directory=True)
    file = home / "réglages.yml"
    file.write_text(yaml.safe_dump({"name": "small", "build_root": str(home / "bâti ment")}))
    settings = load_settings(file)
    (settings.paths.root / "viewer").mkdir(parents=True)
    target = settings.paths.executed("06_compare_models")
    execute.execute(home / "notebooks/06_compare_models.py", target, {"settings_file": str(file)}, cwd=home)
    return settings, home


def words(page: Path) -> str:
    """Text of a page without markup."""
    return " ".join(re.sub(r"<[^>]*>", "", unescape(page.read_text())).split())


def test_a_notebook_hands_its_numbers_to_prose(small):
    settings, _ = small
    notebook = read(settings.paths.executed("06_compare_models"), as_version=4)
    assert glued(notebook) == {"models": {"best": {"prf-visual": "ViT-H/14 (0.61)"}, "count": "7 of 8"}}


def test_numbers_and_figures_reach_the_pages(small):
    settings, home = small
    first = publish.build(settings, home)
    assert first == settings.paths.root / "html/index.html"
    assert "Simulated." in words(first) and "Trained models win 7 of 8 comparisons." in words(first)
    file = first.parent / "notebooks/06_compare_models.html"
    page, text = file.read_text(), words(file)
    assert "The best model is ViT-H/14 (0.61), in this build (phantom)." in text and "{{ " not in text
    assert 'alt="A line that rises from one to two. Phantom data' in page and "What is drawn." in text
    assert len(re.findall(r'download="" href="\.\./_downloads/[^"]+/figure_2\.(?:csv|svg|png)"', page)) == 3
    assert (first.parent / "viewer").is_dir()


@pytest.mark.parametrize("builder", ["text", "xml", "latex"])
def test_numbers_reach_other_forms_of_the_book(small, builder, tmp_path):
    settings, home = small
    source = publish.stage(settings, home)
    command = [JUPYTER_BOOK, "build", source, "--path-output", tmp_path, "--builder", "custom"]
    done = subprocess.run([*command, "--custom-builder", builder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    written = [p.read_text() for p in tmp_path.rglob("*") if p.suffix in (".txt", ".xml", ".tex")]
    text = " ".join(" ".join(written).split())
    assert "win 7 of 8 comparisons" in text and "ViT" in text and "(0.61)" in text and "{{ " not in text


def test_a_number_that_no_notebook_glued_stops_the_build(small):
    settings, home = small
    answer = home / "book/answer-phantom.md"
    before = answer.read_text()
    answer.write_text("Trained models win {{ models.gone }} comparisons.\n")
    try:
        with pytest.raises(publish.BookError, match="has no attribute 'gone'"):
            publish.build(settings, home)
    finally:
        answer.write_text(before)


@pytest.mark.slow
def test_jupyter_book_build_at_the_root(tmp_path):
    """The first command that a Jupyter Book user types, in a checkout with its environment and a study."""
    home = tmp_path / "mon dépôt"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in tracked:
        if (
            name.startswith(("_", "book/", "notebooks/", "CHANGELOG", "brainalign_utils/"))
            and (ROOT / name).is_file()
        ):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / name)
    (home / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    for name in (
        "_build/phantom/book_source/book/index.md",
        "venv/lib/page.md",
        "_build/phantom/notebooks/x/x.ipynb",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("# Not ours\n\n```{nonsense}\n```\n")
    done = subprocess.run(
        [JUPYTER_BOOK, "build", ".", "--warningiserror", "--keep-going"],
        cwd=home, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    html = home / "_build/html"
    pages = [*publish.pages(ROOT)[1:], "book/index"]
    assert {str(p.relative_to(html)) for p in html.rglob("*.html")} >= {f"{page}.html" for page in pages}
    for page in pages:
        text = words(html / f"{page}.html")
        assert "{{ " not in text and "generated/" not in text
        lacks = page.startswith("notebooks/") or page in ("book/index", "book/models", "book/cost")
        assert ("make book runs the study and builds the book" in text) == lacks, page
    assert "encoding model" in words(html / "notebooks/03_fit_encoding.html").lower()
    assert "brainalign_utils.store.write_dataset" in (html / "book/api.html").read_text()
