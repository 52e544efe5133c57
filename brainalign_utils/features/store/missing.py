"""Which notebook writes an artifact that is not there, and the command that runs it."""

from pathlib import Path

from ... import BrainalignError

WRITERS = {
    "responses": "01_load_responses",
    "voxels": "01_load_responses",
    "features": "02_extract_features",
    "answers": "02_extract_features",
    **dict.fromkeys(("scores", "predictions", "samples", "nulls"), "03_fit_encoding"),
    "partition": "04_partition_variance",
    "choices": "15_vary_choices",
    "ceilings": "05_estimate_ceilings",
    "concepts.csv": "09_group_concepts",
    "ledger.csv": "16_check_claims",
    "recovery.csv": "14_recover_truth",
}
"""Notebook by folder or file of a study."""

ONCE_A_STUDY = ("05", "09", "14", "15", "16")


class StoreError(BrainalignError):
    """An artifact that is missing, damaged, locked or made with other settings."""


def missing(path: Path) -> StoreError:
    """Error for an artifact that does not exist; it names the command that makes it."""
    notebook = next((WRITERS[part] for part in reversed(Path(path).parts) if part in WRITERS), None)
    command = f"make figure NOTEBOOK={notebook}" if str(notebook)[:2] in ONCE_A_STUDY else "make study"
    written = f"notebook {notebook} writes it" if notebook else "no notebook has written it"
    return StoreError(f"{path} does not exist; {written}: run `{command}` with your SETTINGS")
