"""GPU time: measured rates where there are any, else operations over an assumed speed."""

from ..models import MODEL_BY_ID
from ..settings import Settings


def extraction_seconds(
    model: str, n_images: float, n_rows: float, settings: Settings, costs: dict
) -> tuple[float, str]:
    """Seconds that a model needs for pictures, prompts and answers, loading of weights included.

    Parameters
    ----------
    model : str
    n_images, n_rows : float
        Pictures, and answers (or passes of a model that gives none).
    settings : Settings
    costs : dict
        Of :func:`brainalign_utils.plan.load_costs`.

    Returns
    -------
    seconds : float
    basis : str
        Of :data:`brainalign_utils.plan.counts.BASES`.
    """
    row = MODEL_BY_ID[model]
    rates = costs["units"].get(("full", "gpu_seconds", row.checkpoint)) or assumed_rates(model, costs)
    n_seen = n_images if row.image == "stimulus" else 0
    n_tokens = n_rows * settings.features.max_new_tokens
    seconds = n_seen * rates["picture"] + n_rows * rates["prompt"] + n_tokens * rates["token"]
    basis = costs["basis"].get(("gpu_seconds", row.checkpoint, "token"), "assumed")
    return seconds + costs["gpu"]["seconds to load"], basis


def ridge_seconds(gigaoperations: float, n_reads: float, costs: dict) -> tuple[float, str]:
    """Seconds that regressions keep a GPU, which waits while features are read from disk.

    Parameters
    ----------
    gigaoperations : float
        As :func:`brainalign_utils.plan.counts.ridge_operations` counts them.
    n_reads : float
        Feature spaces that are read.
    costs : dict
    """
    measured = costs["units"].get(("full", "gpu_seconds", "ridge"))
    rate = measured["gigaoperation"] if measured else 2e9 / (1e12 * costs["gpu"]["ridge teraflops"])
    read = costs["units"].get(("full", "seconds", "03_fit_encoding"), {}).get("fit", 0.0)
    basis = costs["basis"].get(("gpu_seconds", "ridge", "gigaoperation"), "assumed")
    return gigaoperations * rate + n_reads * read, basis


def assumed_rates(model: str, costs: dict) -> dict[str, float]:
    """Seconds a picture, a prompt and a new token, from parameters over an assumed speed."""
    row, assumed = MODEL_BY_ID[model], costs["gpu"]
    size, answers = assumed["models"][row.checkpoint], row.components[-1][0] == "language"
    at_once = 1e12 * assumed["peak teraflops"] * assumed["share reached, prompt"]
    in_turn = 1e12 * assumed["peak teraflops"] * assumed["share reached, answer"]
    positions = size["image positions"] + assumed["prompt tokens"]
    return {
        "picture": 2 * size["vision parameters"] * size["vision tokens"] / at_once,
        "prompt": 2 * size["language parameters"] * positions / at_once,
        "token": 2 * answers * size["language parameters"] / in_turn,
    }
