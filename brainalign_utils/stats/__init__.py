"""Arrays in, arrays out: scores, ceilings, resampling, permutation, tests."""
