"""CONTRIBUTING's three things, followed literally in a copy of the checkout, to a built book."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(?:python|yaml)\n# (?P<head>[^\n]+)\n(?P<text>.*?)```", re.S)


def blocks() -> dict[str, str]:
    """Code blocks of CONTRIBUTING by the comment on top, which says where they go."""
    return {found["head"]: found["text"] for found in BLOCK.finditer((ROOT / "CONTRIBUTING.md").read_text())}


def follow(checkout: Path, head: str, text: str) -> None:
    """Put a block where its first line says: a new file, a row of a table, a line below a caption."""
    name, _, place = head.partition(", ")
    file = checkout / name
    if not place:
        assert not file.exists()
        file.write_text(text)
        return
    lines = file.read_text().splitlines(keepends=True)
    if place.startswith("in "):
        start = next(i for i, line in enumerate(lines) if line.startswith(f"{place.removeprefix('in ')} = ("))
        end = next(i for i in range(start, len(lines)) if lines[i].startswith(")"))
    else:
        caption = place.removeprefix("under ")
        start = next(i for i, line in enumerate(lines) if line.strip() == f"- caption: {caption}")
        end = next((i for i in range(start + 1, len(lines)) if "- caption:" in lines[i]), len(lines))
    file.write_text("".join([*lines[:end], text, *lines[end:]]))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder of the study that a copy of the checkout made after all three additions."""
    checkout = tmp_path_factory.mktemp("new user") / "checkout"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    ):
        if name and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    for name in ("requirements.lock", "pyproject.toml", *checkout.glob("packages/*/pyproject.toml")):
        os.utime(checkout / name, (0, 0))  # older than the environment: make has nothing to install
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    for head, text in blocks().items():
        follow(checkout, head, text)
    settings = yaml.safe_load((ROOT / "tests/robust/tiny.yml").read_text())
    settings["models"] = [*settings["models"], "clip-patch32"]
    (checkout / "mine.yml").write_text(yaml.safe_dump(settings | {"name": "mine"}))
    sources = [checkout, *checkout.glob("packages/*/src")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sources))}
    done = subprocess.run(
        ["make", "book", "SETTINGS=mine.yml"], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return checkout / "_build/mine"


@pytest.mark.slow
def test_every_block_says_where_it_goes():
    assert [head.partition(", ")[2] for head in blocks()] == ["in MODELS", "in ROIS", "", "under Results"]


@pytest.mark.slow
def test_a_new_figure_is_a_page_of_the_book(study):
    page = (study / "html/notebooks/17_count_voxels.html").read_text()
    assert "Number of voxels of each region" in page and 'id="fig-region-sizes"' in page
    assert "region_sizes" in page and "17_count_voxels" in (study / "html/index.html").read_text()
    assert json.loads((study / "figures/region_sizes.json").read_text())["caption"]


@pytest.mark.slow
def test_a_new_region_and_a_new_model_reach_tables_and_pages(study):
    assert "body-faces" in (study / "figures/region_sizes.csv").read_text()
    regions = (study / "html/notebooks/01_load_responses.html").read_text()
    assert "faces and bodies" in regions
    compared = next((study / "html/notebooks").glob("*_compare_models.html")).read_text()
    assert "CLIP ViT-B/32" in compared
