"""Which pages the book has, which files it is made of, and which notebooks need published scores alone."""

from pathlib import Path

import yaml

from .. import BrainalignError

PHANTOM_ONLY = ("notebooks/00_make_phantom", "notebooks/14_recover_truth")
REBUILT = (
    "05_estimate_ceilings",
    "06_compare_models",
    "07_map_instructions",
    "10_trace_layers",
    "11_show_partitions",
    "12_view_cortex",
    "13_compare_ablations",
    "16_check_claims",
)
"""Notebooks that run on published scores alone; of the others the executed copy is published."""


class BookError(BrainalignError):
    """The book could not be built, or what was built is not whole."""


def contents(root: Path, data: str = "phantom") -> dict:
    """``_toc.yml`` as it is staged: the first page at the top, and without the pages of simulated data where
    the data are real."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    toc["root"] = "index"
    for part in toc.get("parts", []):
        part["chapters"] = [c for c in part["chapters"] if data == "phantom" or c["file"] not in PHANTOM_ONLY]
    return toc


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
    found = [root / name for name in names]
    found += [path for path in (root / "book").rglob("*") if path.is_file()]
    for package in ("brainalign_utils", "packages/voxelridge/src"):  # the API reference quotes them
        found += (root / package).rglob("*.py")
    return sorted(str(path.relative_to(root)) for path in found if "__pycache__" not in path.parts)
