"""Which pages the book has, and which files it is made of."""

from pathlib import Path

import yaml

from ... import BrainalignError
from ...registry import module_file, read_notebooks

ROOT_PAGE = "index"
DOCUMENTED = (
    *(
        "tables",
        "models",
        "settings",
        "nsd",
        "nsd.design",
        "nsd.reliability",
        "nsd.coco",
        "store",
        "features.store",
    ),
    *(
        f"stats.{name}"
        for name in ("scoring", "resampling", "tests", "paired", "similarity", "cross_subject")
    ),
    *(f"encoding.{name}" for name in ("fitting", "partitioning", "algebra", "regions")),
    *("results.study", "results.alignment", "results.intervals", "results.concepts"),
    *(
        "results.figure_tables",
        "results.partitions",
        "results.multiverse",
        "results.claims",
        "results.recovery",
    ),
    "figures",
)
DOCUMENTED = (*(f"brainalign_utils.{name}" for name in DOCUMENTED), "voxelridge")
"""Modules in the API reference, from tables over arrays to files."""


class BookError(BrainalignError):
    """The book could not be built, or what was built is not whole."""


def contents(root: Path, data: str = "phantom") -> dict:
    """``_toc.yml`` as it is staged: the first page at the top, and without the pages of simulated data where
    the data are real."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    toc["root"] = ROOT_PAGE
    for part in toc.get("parts", []):
        part["chapters"] = [
            c for c in part["chapters"] if data == "phantom" or not _is_simulation(root, c["file"])
        ]
    return toc


def _is_simulation(root: Path, page: str) -> bool:
    notebooks = read_notebooks(root / "notebooks")
    return page.startswith("notebooks/") and notebooks[page.removeprefix("notebooks/")].is_simulation


def pages(root: Path, data: str = "phantom") -> list[str]:
    """Pages of the book without suffix, in reading order."""
    toc = contents(root, data)
    chapters = [chapter for part in toc.get("parts", [toc]) for chapter in part.get("chapters", [])]
    sections = [
        c["file"] for chapter in chapters for c in (chapter, *chapter.get("sections", [])) if "file" in c
    ]
    return [toc["root"], *sections]


def notebook_pages(root: Path, data: str = "phantom") -> list[str]:
    """Stems of the notebooks that are pages, in reading order."""
    return [p.removeprefix("notebooks/") for p in pages(root, data) if p.startswith("notebooks/")]


def book_sources(root: Path) -> list[str]:
    """Files outside the notebooks on which the built book depends, relative to ``root``."""
    package = root / "brainalign_utils"
    code = [*package.glob("publishing/**/*.py"), *package.glob("running/*"), *package.glob("*.py")]
    for name in DOCUMENTED:
        source = module_file(name)
        code += source.parent.glob("*.py") if source.name == "__init__.py" else [source]
    texts = [root / name for name in ("_toc.yml", "_config.yml", "CITATION.cff", "CHANGELOG.md")]
    texts += [
        root / "workflow/config/nsd.yml",
    ]
    texts += [path for name in ("book", "benchmarks/results") for path in (root / name).rglob("*")]
    found = {p.relative_to(root) for p in [*texts, *code] if p.is_file() and "__pycache__" not in p.parts}
    return sorted(map(str, found))
