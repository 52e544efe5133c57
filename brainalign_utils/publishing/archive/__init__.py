"""Published scores: an archive from which the book is rebuilt without the dataset and without a GPU.

A zip file with a manifest of checksums.  It holds what was derived (scores, resampled region means, nulls,
partitions, ceilings, tables, and the pages that cannot be rebuilt without raw data) and no responses, no
features and no pictures.  An archive that was altered or cut off is refused as a whole.

``manifest`` what an archive says it holds | ``contents`` what of a study goes in | ``packing`` zip files.
"""

from .manifest import ArchiveError, Manifest, parse_manifest

REBUILT = (
    "04_compare_models",
    "06_estimate_ceilings",
    "07_map_instructions",
    "09_trace_layers",
    "10_show_partitions",
    "11_compare_ablations",
    "12_check_claims",
    "17_view_cortex",
)
"""Notebooks that run on published scores alone; of the others the executed copy is published."""

__all__ = ["REBUILT", "ArchiveError", "Manifest", "parse_manifest"]
