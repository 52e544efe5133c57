"""Ridge regression of many targets, each with its own cross-validated penalty.

:class:`RidgeCV` fits one feature space, :class:`BandedRidgeCV` several.  Inside, :mod:`.inputs` checks what
comes in, :mod:`.decomposition` holds the eigenbasis of all training data, :mod:`.folds` held-out residuals,
:mod:`.filters` what makes many penalties cheap, :mod:`.scores` their scores, and :mod:`.solver` goes
through blocks of targets.
"""

from .estimators import BandedRidgeCV, RidgeCV

__all__ = ["BandedRidgeCV", "RidgeCV"]
