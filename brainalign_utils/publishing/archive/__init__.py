"""Published scores: an archive from which the book is rebuilt without the dataset and without a GPU.

A zip file with a manifest of checksums.  It holds what was derived (scores, resampled region means, nulls,
partitions, ceilings, tables, and the pages that cannot be rebuilt without raw data) and no responses, no
features and no pictures.  An archive that was altered or cut off is refused as a whole.

``manifest`` what an archive says it holds | ``contents`` what of a study goes in | ``packing`` zip files.
"""

from .manifest import ArchiveError, Manifest, parse_manifest

REBUILT = (
    "06_compare_models",
    "05_estimate_ceilings",
    "07_map_instructions",
    "10_trace_layers",
    "11_show_partitions",
    "13_compare_ablations",
    "16_check_claims",
    "12_view_cortex",
)
"""Notebooks that run on published scores alone; of the others the executed copy is published."""

__all__ = ["REBUILT", "ArchiveError", "Manifest", "parse_manifest"]
