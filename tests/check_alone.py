"""After a finished build: each notebook runs alone on what its header says, and writes what it says.

``python tests/check_alone.py SETTINGS`` executes each with the defaults of its parameters cell, in its own
folder as in JupyterLab, in a study that holds links to the artifacts it declares and nothing else.
"""

import sys
import tempfile
from pathlib import Path

import yaml

from brainalign_utils import registry
from brainalign_utils.running.execute import execute
from brainalign_utils.settings import load_settings

WHERE = {"dataset": ["dataset/nsd", "dataset/coco"], "truth": ["dataset/truth"]}
"""Artifacts that are no folder or table of the same name."""
SHARED = {"figures", "pycortex", "cortex.zarr", "cortex.lock", "poolings"}
"""Drawings, the flat map that the first notebook that needs it makes, and features behind ``choices``."""


def places(artifact: str) -> list[str]:
    """Where an artifact lies below the study's folder; a table where there is no such folder."""
    return WHERE.get(artifact, [artifact, f"tables/{artifact}.csv"])


def run_alone(notebook: registry.Notebook, settings, folder: Path) -> None:
    """Execute one notebook in a study of its own."""
    root = folder / settings.name
    for place in (place for artifact in notebook.reads for place in places(artifact)):
        if (source := settings.paths.root / place).exists():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).symlink_to(source.resolve())
    values = settings.model_dump(mode="json") | {"build_root": str(folder)}
    (folder / "settings.yml").write_text(yaml.safe_dump(values))
    target = folder / "executed" / f"{notebook.name}.ipynb"
    execute(notebook.path, target, {"settings_file": str(folder / "settings.yml")}, cwd=notebook.path.parent)
    declared = [root / place for artifact in notebook.writes for place in places(artifact)]
    written = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    hidden = [path for path in written if path.name.startswith(".")]
    undeclared = [
        path for path in written
        if path not in hidden and path.relative_to(root).parts[0] not in SHARED
        and not any(path.is_relative_to(place) for place in declared)
    ]  # fmt: skip
    assert not undeclared, f"{notebook.name} writes {undeclared[0].relative_to(root)}, undeclared"
    for artifact in notebook.writes:
        assert any((root / place).exists() for place in places(artifact)), f"{notebook.name}: no {artifact}"


def main(settings_file: str) -> None:
    settings = load_settings(settings_file)
    notebooks = registry.of_study(settings)
    for notebook in notebooks.values():
        with tempfile.TemporaryDirectory() as folder:
            run_alone(notebook, settings, Path(folder))
    print(f"run alone on what they declare: {', '.join(notebooks)}")


if __name__ == "__main__":
    main(sys.argv[1])
