"""Which pages the book has, which files it is made of, and which notebooks need published scores alone."""

from pathlib import Path

import yaml

from .. import BrainalignError
from ..registry import read_notebooks

PUBLISHED = {
    "voxels", "scores", "samples", "nulls", "partition", "ceilings", "choices", "concepts", "recovery",
    "ledger", "voxels_by_model", "voxels_by_instruction",
}  # fmt: skip
"""Artifacts that an archive holds."""


class BookError(BrainalignError):
    """The book could not be built, or what was built is not whole."""


def contents(root: Path, data: str = "phantom") -> dict:
    """``_toc.yml`` as it is staged: the first page at the top, and without the pages of simulated data where
    the data are real."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    toc["root"] = "index"
    for part in toc.get("parts", []):
        known = part["chapters"]
        part["chapters"] = [c for c in known if data == "phantom" or not _is_simulation(root, c["file"])]
    return toc


def _is_simulation(root: Path, page: str) -> bool:
    name = page.removeprefix("notebooks/")
    return name != page and read_notebooks(root / "notebooks")[name].is_simulation


def rebuilt() -> list[str]:
    """Notebooks that run on published scores alone; of the others the executed copy is published."""
    return [name for name, n in read_notebooks().items() if n.reads and set(n.reads) <= PUBLISHED]


def pages(root: Path, data: str = "phantom") -> list[str]:
    """Pages of the book without suffix, in reading order."""
    toc = contents(root, data)
    return [toc["root"], *(c["file"] for part in toc.get("parts", []) for c in part["chapters"])]


def notebook_pages(root: Path, data: str = "phantom") -> list[str]:
    """Stems of the notebooks that are pages, in reading order."""
    return [p.removeprefix("notebooks/") for p in pages(root, data) if p.startswith("notebooks/")]


def book_sources(root: Path) -> list[str]:
    """Files outside the notebooks on which the built book depends, relative to ``root``."""
    names = ("_toc.yml", "_config.yml", "CHANGELOG.md", "workflow/config/nsd.yml")
    names += ("brainalign_utils/running/unit_costs.csv",)
    found = [root / name for name in names]
    found += [path for path in (root / "book").rglob("*") if path.is_file()]
    for package in ("brainalign_utils", "packages/voxelridge/src"):  # the API reference quotes them
        found += (root / package).rglob("*.py")
    return sorted(str(path.relative_to(root)) for path in found if "__pycache__" not in path.parts)
