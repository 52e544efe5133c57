"""Which notebook writes an artifact that is not there, and the command that runs it."""

from pathlib import Path

from ...registry import writer


class StoreError(RuntimeError):
    """An artifact that is missing, damaged, locked or made with other settings."""


def missing(path: Path) -> StoreError:
    """Error for an artifact that does not exist; it names the command that makes it."""
    names = (part.partition(".")[0] for part in reversed(Path(path).parts))
    notebook = next((found for name in names if (found := writer(name))), None)
    if notebook is None:
        return StoreError(f"{path} does not exist; no notebook writes it")
    command = "make study" if notebook.over else f"make figure NOTEBOOK={notebook.name}"
    return StoreError(
        f"{path} does not exist; notebook {notebook.name} writes it: run `{command}` with your SETTINGS"
    )
