"""Artifacts on disk: Zarr v3 with checksums for arrays, parquet and CSV for tables, JSON for notes.

Every write goes to a temporary name and is renamed, so a killed job leaves a whole artifact or none.
Every read checks crc32c checksums and that no chunk is missing.  Nothing is pickled.
"""

from .datasets import SCHEMA_VERSION, StoreError, open_dataset, open_kept, write_dataset
from .features import FeatureStore, feature_spaces, read_feature_attrs, read_features
from .tables import read_json, read_table, write_json, write_table

__all__ = [
    "SCHEMA_VERSION",
    "FeatureStore",
    "StoreError",
    "feature_spaces",
    "open_dataset",
    "open_kept",
    "read_feature_attrs",
    "read_features",
    "read_json",
    "read_table",
    "write_dataset",
    "write_json",
    "write_table",
]
