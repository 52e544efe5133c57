"""Tables (parquet, CSV) and JSON notes, written atomically."""

import json
import os
from pathlib import Path

import pandas as pd

from .missing import StoreError, missing


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as parquet or CSV, after the suffix of ``path``; the index is not kept."""
    path = Path(path)
    partial = _partial(path)
    if path.suffix == ".parquet":
        table.to_parquet(partial, index=False)
    elif path.suffix == ".csv":
        table.to_csv(partial, index=False)
    else:
        raise ValueError(f"path ends in {path.suffix!r}; expected .parquet or .csv ({path})")
    partial.replace(path)
    return path


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote."""
    path = Path(path)
    if not path.is_file():
        raise missing(path)
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it and run its stage again") from error


def write_json(path: Path, values: dict) -> Path:
    """Write a JSON note."""
    path = Path(path)
    partial = _partial(path)
    partial.write_text(json.dumps(values, indent=1, default=str) + "\n")
    partial.replace(path)
    return path


def read_json(path: Path) -> dict:
    """Read a JSON note."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise StoreError(f"{path} is not valid JSON ({error}); delete it and run its stage again") from error


def _partial(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
