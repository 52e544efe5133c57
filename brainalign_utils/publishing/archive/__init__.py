"""Published scores: an archive from which the book is rebuilt without the dataset and without a GPU.

A zip file with a manifest of checksums.  It holds what was derived (scores, resampled region means, nulls,
partitions, ceilings, tables, and the pages that cannot be rebuilt without raw data) and no responses, no
features and no pictures.  An archive that was altered or cut off is refused as a whole.

``manifest`` what an archive says it holds | ``contents`` what of a study goes in | ``packing`` zip files.
"""

from ...registry import read_notebooks
from .manifest import ArchiveError, Manifest, parse_manifest

PUBLISHED = {
    "voxels", "scores", "samples", "nulls", "partition", "ceilings", "choices", "concepts", "recovery",
    "ledger", "voxels_by_model", "voxels_by_instruction",
}  # fmt: skip
"""Artifacts that an archive holds."""


def rebuilt() -> list[str]:
    """Notebooks that run on published scores alone; of the others the executed copy is published."""
    return [name for name, n in read_notebooks().items() if n.reads and set(n.reads) <= PUBLISHED]


__all__ = ["PUBLISHED", "ArchiveError", "Manifest", "parse_manifest", "rebuilt"]
