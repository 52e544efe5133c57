"""Variance partitions: what feature spaces share and what is theirs alone.

:mod:`.algebra` takes R2 apart, :mod:`.fit` makes the regressions, :mod:`.regions` averages and
resamples, and :mod:`.stored` reads partitions of a finished study.
"""
