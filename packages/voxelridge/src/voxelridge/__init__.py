"""Voxelwise ridge regression: exact, with one cross-validated penalty per voxel.

:mod:`.solver` is the way in.  :mod:`.gram` holds folds and Gram matrices, :mod:`.folds` held-out
residuals, :mod:`.filters` what makes many penalties cheap, :mod:`.routes` the choice of the cheapest
exact way, :mod:`.voxels` blocks of voxels, :mod:`.scores` the choice of penalties and :mod:`.banded`
joint models of several feature spaces.
"""

from .gram import Grams, compute_grams, make_folds
from .solver import RidgeCV, RidgeResult, solve_ridge_cv

__all__ = ["Grams", "RidgeCV", "RidgeResult", "compute_grams", "make_folds", "solve_ridge_cv"]
