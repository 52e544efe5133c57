"""Which modules of this package a notebook needs, read from its imports."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name


def module_file(module: str) -> Path | None:
    """Source of ``brainalign_utils.x.y``; None for anything that is not a module of the package."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported_modules(source: Path) -> set[str]:
    """Modules of the package that a file imports, at its top or inside functions."""
    package = [NAME, *source.relative_to(PACKAGE).parts[:-1]] if source.is_relative_to(PACKAGE) else []
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] == NAME and module_file(name)}


def sources_needed(notebook: Path) -> list[Path]:
    """Files of the package that a notebook depends on, through any number of imports."""
    found, todo = set(), [notebook]
    while todo:
        for module in imported_modules(todo.pop()):
            source = module_file(module)
            if source not in found:
                found.add(source)
                todo.append(source)
    return sorted(found)
