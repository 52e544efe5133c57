"""How the short runs of a phantom study are dealt out to kernels."""

from collections.abc import Callable, Sequence

from .models import MODEL_BY_ID


def deal(names: Sequence, n_kernels: int, weight: Callable = lambda name: 1) -> list[list]:
    """Names dealt out to kernels: the heaviest first, each to the kernel that has least.

    Parameters
    ----------
    names : sequence
    n_kernels : int
    weight : callable

    Returns
    -------
    shares : list of list
        In each the order in which a kernel runs them.
    """
    shares = [[] for _ in range(min(n_kernels, len(names)))]
    for name in sorted(names, key=weight, reverse=True):
        min(shares, key=lambda share: sum(map(weight, share))).append(name)
    return shares


def model_weight(model: str, n_instructions: int) -> int:
    """About how many feature spaces a layer of a model has."""
    row = MODEL_BY_ID[model]
    answers = row.instructed and "language" in dict(row.components)
    return len(row.components) * (n_instructions if answers else 1)
