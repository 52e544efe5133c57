"""A miniature Natural Scenes Dataset with known ground truth, in NSD's own file formats.

Scenes: ``content`` decides, ``arrangement`` places, ``backdrops`` and ``sprites`` draw; ``scenes`` for all.
Brains: ``areas`` are tables, ``cortex`` and ``grid`` place voxels, ``channels`` reads images; ``brain`` for
all.
Files: ``experiment``, ``coco``, ``writer``, ``subject_files``, and ``dataset`` for all.
"""

from pathlib import Path

from .errors import PhantomError

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Folder with the weights of tiny models that were trained on drawn scenes; its README.md is their card."""


def make_phantom(*arguments, **options):
    """Write a miniature; see :func:`nsd_phantom.dataset.make_phantom`."""
    from .dataset import make_phantom  # takes a second, which users of CHECKPOINTS need not wait

    return make_phantom(*arguments, **options)


__all__ = ["CHECKPOINTS", "PhantomError", "make_phantom"]
