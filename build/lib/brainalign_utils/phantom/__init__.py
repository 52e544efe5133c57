"""A miniature of the study with known truth: drawn scenes, simulated brains, tiny checkpoints.

Scenes: ``content`` decides, ``layout`` places, ``backdrops`` and ``sprites`` draw, ``scenes`` puts together.
Brains: ``areas`` and ``retinotopy`` are tables, ``cortex`` and ``grid`` place voxels, ``channels`` reads the
pictures, ``brain`` simulates.  Files: ``experiment``, ``writer``, ``subject_files``, and ``dataset`` for all.
"""
