"""What a notebook depends on: modules of this checkout, read from its imports, and parts of the settings."""

import ast
from functools import cache
from pathlib import Path

from .provenance import file_hash
from .settings import Settings, fingerprint

PACKAGE = Path(__file__).parent
ROOTS = {folder.name: folder for folder in (PACKAGE, *PACKAGE.parent.glob("packages/*/src/*"))}
"""Folders of importable packages of the checkout: this one, and the libraries under ``packages``."""

SETTINGS_PARTS = {
    "dataset": ("data", "nsd_root", "coco_root", "phantom", "subjects", "betas", "space", "name"),
    "responses": ("n_sessions", "session_zscore"),
    "features": ("features", "instructions", "extra_instructions", "checkpoints"),
    "encoding": ("encoding",),
    "partition": ("partition", "encoding"),
    "study": ("models", "subjects", "stats", "name", "data", "multiverse"),
}
"""Keys of the settings that concern a kind of job; other keys do not make it run again."""

PLACES = ("name", "nsd_root", "coco_root")
"""Keys that say where files are, not what is computed: they differ where published scores are unpacked."""

PARTS_OF_NOTEBOOK = {
    "00_make_phantom": ("dataset",),
    "01_load_responses": ("dataset", "responses"),
    "02_extract_features": ("features",),
    "03_fit_encoding": ("encoding",),
    "04_partition_variance": ("partition",),
}
"""Parts that a notebook reads; those that are not listed summarise a study and read ``study``."""


def module_file(module: str) -> Path | None:
    """Source of ``brainalign_utils.x.y``; None for anything that is not a module of the checkout."""
    name, *inside = module.split(".")
    if name not in ROOTS:
        return None
    path = ROOTS[name].joinpath(*inside)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported_modules(source: Path) -> frozenset[str]:
    """Modules of the checkout that a file imports, at its top or inside functions."""
    return _imported_modules(source, source.stat().st_mtime_ns)


@cache
def _imported_modules(source, _changed):
    package = []
    for name, root in ROOTS.items():
        if source.is_relative_to(root):
            package = [name, *source.relative_to(root).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if module_file(name))


def sources_needed(notebook: Path) -> list[Path]:
    """Files of the checkout that a notebook depends on, through any number of imports."""
    found, todo = set(), [notebook]
    while todo:
        for module in imported_modules(todo.pop()):
            source = module_file(module)
            if source not in found:
                found.add(source)
                todo.append(source)
    return sorted(found)


def settings_part(settings: Settings, part: str) -> dict:
    """The keys of one part of the settings, JSON-able."""
    values = settings.model_dump(mode="json")
    return {key: values[key] for key in SETTINGS_PARTS[part]}


def input_hashes(notebook: Path, settings: Settings | None = None) -> dict[str, str]:
    """Hashes of what a notebook was, or would be, made from; stored with its executed copy.

    Parameters
    ----------
    notebook : Path
        The py:percent source.
    settings : Settings, optional
        Left out where the notebook reads none.

    Returns
    -------
    hashes : dict
        File name of the notebook, modules relative to the checkout, and ``settings: <part>``.
    """
    hashes = {notebook.name: file_hash(notebook)}
    hashes |= {str(p.relative_to(PACKAGE.parent)): file_hash(p) for p in sources_needed(notebook.resolve())}
    for part in PARTS_OF_NOTEBOOK.get(notebook.stem, ("study",)) if settings else ():
        values = settings_part(settings, part)
        hashes[f"settings: {part}"] = fingerprint({k: v for k, v in values.items() if k not in PLACES})
    return hashes
