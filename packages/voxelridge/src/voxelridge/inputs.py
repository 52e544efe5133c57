"""What comes in: arrays of any library as tensors, penalties, and cross-validation splits."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import PredefinedSplit, check_cv

SCORINGS = ("mse", "r2", "r")


class Fold(NamedTuple):
    """Samples of one split, as sorted indices; ``left_out`` is all that ``train`` lacks."""

    train: np.ndarray
    test: np.ndarray
    left_out: np.ndarray


def as_tensor(name, values, dtype=None) -> torch.Tensor:
    """Finite real numbers as a tensor; half precision becomes single, all but single becomes double.

    Parameters
    ----------
    name : str
        For messages.
    values : array-like
        NumPy of any dtype, byte order and strides, pandas, xarray, or torch on any device; not modified.
    dtype : torch.dtype or None
        Instead of the own precision of the values.

    Raises
    ------
    ValueError
        If values are sparse, complex, not numbers, or not finite.
    """
    if hasattr(values, "toarray"):
        raise ValueError(f"{name} is a sparse matrix, which is not supported; pass {name}.toarray()")
    given, values = values, values.detach() if torch.is_tensor(values) else np.asarray(values)
    if values.dtype.is_complex if torch.is_tensor(values) else np.iscomplexobj(values):
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}; pass its real part")
    single = values.dtype in (torch.float16, torch.bfloat16, torch.float32, np.float16, np.float32)
    if torch.is_tensor(values):
        tensor = values.to(torch.float32 if single else torch.float64)
    else:
        try:
            if values.dtype == object and hasattr(given, "to_numpy"):  # pandas' own missing values
                values = given.to_numpy(dtype=np.float64, na_value=np.nan)
            numbers = np.ascontiguousarray(values, dtype=np.float32 if single else np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{name} has dtype {values.dtype} and holds what is no number ({error}); encode or drop it"
            ) from error
        tensor = torch.from_numpy(numbers if numbers.flags.writeable else numbers.copy()).reshape(
            values.shape
        )
    if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():  # sums may overflow
        columns = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(0)
        raise ValueError(
            f"{name} holds NaN or infinity in {int(columns.sum())} of {len(columns)} columns; drop or fill it"
        )
    return tensor if dtype is None else tensor.to(dtype)


def as_matrix(name, values, dtype=None) -> torch.Tensor:
    """As :func:`as_tensor`, of shape (n_samples, n_columns) with at least one of each."""
    tensor = as_tensor(name, values, dtype)
    shape = tuple(tensor.shape)
    if len(shape) != 2:
        raise ValueError(
            f"{name} has shape {shape} but must be (n_samples, n_columns). Reshape your data: "
            f"{name}.reshape(-1, 1) if it is one column, {name}.reshape(1, -1) if it is one sample"
        )
    for size, what in zip(shape, ("sample(s)", "feature(s)" if name == "X" else "target(s)"), strict=True):
        if size == 0:
            raise ValueError(
                f"{name} has 0 {what} (shape={shape}) while a minimum of 1 is required; select some"
            )
    return tensor


def check_alphas(alphas) -> np.ndarray:
    """Penalties, ascending and each once."""
    grid = np.unique(np.atleast_1d(np.asarray(alphas, dtype=np.float64)))
    if not (grid.size and np.isfinite(grid).all() and grid[0] > 0):
        low = f"{grid[0]:g} to {grid[-1]:g}" if grid.size else "empty"
        raise ValueError(
            f"alphas are {low} but must be positive and finite; use a small positive alpha for none"
        )
    return grid


def make_folds(cv, n_samples, y=None, groups=None, scoring="mse") -> list[Fold]:
    """Training and test samples of every split.

    Parameters
    ----------
    cv : int, splitter of scikit-learn, int array of shape (n_samples, ), or list of (train, test)
        A number of consecutive folds without shuffling, anything with ``split(X, y, groups)``, the fold of
        every sample (-1 is never tested), or indices.
    n_samples : int
    y : array or None
        For splitters that stratify.
    groups : array of shape (n_samples, ) or None
        Handed to the splitter, e.g. ``GroupKFold(5)``.
    scoring : {"mse", "r2", "r"}

    Raises
    ------
    ValueError
        If a split is empty, out of range, trains on what it tests, or too small for the score.
    """
    if isinstance(cv, (int, np.integer)):
        if not 2 <= cv <= n_samples:
            raise ValueError(f"cv is {cv} but must lie between 2 and n_samples = {n_samples}; change cv")
        if groups is not None:
            raise ValueError(f"groups are given but cv is {cv}, which ignores them; pass cv=GroupKFold({cv})")
    elif isinstance(cv, Iterable) and not isinstance(cv, str):
        cv = list(cv)
    if isinstance(cv, list) and cv and not hasattr(cv[0], "__len__"):
        labels = np.asarray(cv)
        if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"cv has shape {labels.shape} and dtype {labels.dtype} but fold labels must be {n_samples} "
                "integers, one per sample; number the folds"
            )
        cv = PredefinedSplit(labels)
    splits = check_cv(cv).split(np.empty((n_samples, 0)), y, groups)
    folds = [_fold(k, train, test, n_samples, scoring) for k, (train, test) in enumerate(splits)]
    if not folds:
        raise ValueError("cv gives no split but at least 1 is needed; add folds")
    return folds


def _fold(k, train, test, n_samples, scoring):
    rows = []
    for name, indices in (("train", train), ("test", test)):
        indices = np.asarray(indices)
        indices = np.flatnonzero(indices) if indices.dtype == bool else np.unique(indices.astype(np.int64))
        if not len(indices) or indices[0] < 0 or indices[-1] >= n_samples:
            held = f"{indices[0]} to {indices[-1]}" if len(indices) else "no sample"
            raise ValueError(
                f"split {k} of cv has {held} to {name} on but needs some of 0 to {n_samples - 1}; fix cv"
            )
        rows.append(indices)
    train, test = rows
    if len(both := np.intersect1d(train, test)):
        raise ValueError(
            f"split {k} of cv trains on {len(both)} of the {len(test)} samples it tests; separate them"
        )
    if len(test) < 2 and scoring != "mse":
        raise ValueError(
            f"split {k} of cv tests 1 sample but scoring={scoring!r} needs 2; use fewer folds, or 'mse'"
        )
    return Fold(train, test, np.setdiff1d(np.arange(n_samples), train))


def take_rows(array, rows):
    """Rows of a tensor; a view where they are consecutive."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return array[rows[0] : rows[-1] + 1]
    return array[torch.as_tensor(rows, device=array.device)]
