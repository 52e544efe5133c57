"""From feature spaces and responses to voxelwise scores.

For every feature space (component x layer x instruction) one ridge regression per voxel is fitted on
the subject's own images and scored on the shared ones.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from ..settings import EncodingSettings
from ..stats import scoring

SPACE_COORDS = ("component", "layer", "depth", "instruction")
MAX_MISSING = 0.1
"""A voxel that lacks more than this share of its stimuli is not fitted."""


@dataclass(frozen=True)
class Fit:
    """Result of one regression.

    Attributes
    ----------
    predictions : array of shape (n_test, n_voxels)
    best_alphas, cv_scores : arrays of shape (n_voxels,)
        ``cv_scores`` is the mean score over folds at the chosen alpha; training images only.
    """

    predictions: np.ndarray
    best_alphas: np.ndarray
    cv_scores: np.ndarray


def standardise(train, test, by: str = "train"):
    """Z-score both with the statistics of ``train``; constant columns become 0.

    Parameters
    ----------
    train, test : arrays of shape (n_train, n_columns) and (n_test, n_columns)
    by : {"train", "test"}
        "test" takes the test rows' own statistics for them, as the authors' code does.

    Returns
    -------
    train, test : float32 arrays of the same shapes

    Examples
    --------
    >>> import numpy as np
    >>> train, test = standardise(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[4.0, 5.0]]))
    >>> test  # two standard deviations above the training mean; a constant column becomes 0
    array([[2., 0.]], dtype=float32)
    """
    scaled = []
    for part, source in ((train, train), (test, train if by == "train" else test)):
        mean = source.mean(0, dtype=np.float64)
        sd = source.std(0, dtype=np.float64)
        scale = np.where(sd > 1e-6 * np.maximum(np.abs(mean), 1e-12), 1 / np.where(sd > 0, sd, 1), 0)
        scaled.append(((part - mean) * scale).astype(np.float32))
    return tuple(scaled)


def targets(responses: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Responses to fit and to predict: repeats averaged, z-scored by the training set.

    A voxel out of view in one session lacks the stimuli shown in that session alone.  Up to
    :data:`MAX_MISSING` of them are set to the training mean; with more the voxel is NaN throughout.

    Returns
    -------
    Y_train, Y_test : float32 arrays of shape (n_train, n_voxels) and (n_test, n_voxels)

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> responses = xr.Dataset(
    ...     {
    ...         "train": (("train_stimulus", "voxel"), rng.standard_normal((50, 4))),
    ...         "test": (("repeat", "test_stimulus", "voxel"), rng.standard_normal((3, 20, 4))),
    ...     }
    ... )
    >>> Y_train, Y_test = targets(responses)
    >>> Y_train.shape, Y_test.shape
    ((50, 4), (20, 4))
    """
    train = responses.train.values
    repeats = np.isfinite(responses.test.values)
    n_repeats = repeats.sum(0)
    test = np.where(repeats, responses.test.values, 0).sum(0) / np.maximum(n_repeats, 1)
    missing_train, missing_test = ~np.isfinite(train), n_repeats == 0
    n_seen = np.maximum((~missing_train).sum(0), 1)
    mean = np.where(missing_train, 0, train).sum(0, dtype=np.float64) / n_seen
    filled = (np.where(missing_train, mean, train), np.where(missing_test, mean, test))
    drop = np.maximum(missing_train.mean(0), missing_test.mean(0)) > MAX_MISSING
    return tuple(np.where(drop, np.float32(np.nan), part) for part in standardise(*filled))


def without_missing(Y_train, Y_test) -> tuple[np.ndarray, np.ndarray]:
    """Voxels that were dropped as missing become constant, so that solvers take them and scores are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> Y_train, Y_test = without_missing(np.array([[1.0, np.nan]]), np.array([[2.0, np.nan]]))
    >>> Y_train
    array([[1., 0.]])
    """
    return tuple(np.nan_to_num(part, nan=0.0) for part in (Y_train, Y_test))


def fit_brainalign(X_train, Y_train, X_test, alphas, settings: EncodingSettings) -> Fit:
    """The project's solver (:mod:`voxelridge`)."""
    import voxelridge  # torch: seconds that readers of stored scores need not wait

    model = voxelridge.RidgeCV(
        alphas,
        fit_intercept=settings.fit_intercept,
        cv=settings.n_folds,
        scoring=settings.selection,
        device=settings.device,
    ).fit(X_train, Y_train)
    return Fit(model.predict(X_test), model.best_alphas_, model.cv_scores_)


def fit_himalaya(X_train, Y_train, X_test, alphas, settings: EncodingSettings) -> Fit:
    """himalaya's RidgeCV as the paper's authors call it (torch backend, per-voxel alpha)."""
    from himalaya.backend import get_backend, set_backend
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import correlation_score, r2_score

    before = get_backend().name
    set_backend("torch")
    try:
        model = RidgeCV(
            alphas=np.asarray(alphas),
            fit_intercept=settings.fit_intercept,
            cv=settings.n_folds,
            solver_params={
                "score_func": r2_score if settings.selection == "r2" else correlation_score,
                "n_targets_batch": 500,
                "n_alphas_batch": 10,
                "n_targets_batch_refit": 100,
            },
        )
        model.fit(X_train, Y_train)
        return Fit(*(np.asarray(a) for a in (model.predict(X_test), model.best_alphas_, model.cv_scores_)))
    finally:
        set_backend(before)


SOLVERS: dict[str, Callable[..., Fit]] = {"brainalign": fit_brainalign, "himalaya": fit_himalaya}


def fit_encoding(
    spaces: pd.DataFrame,
    read_space: Callable[[pd.Series, np.ndarray], np.ndarray],
    responses: xr.Dataset,
    alphas: Iterable[float],
    settings: EncodingSettings,
    keep_for: dict[str, np.ndarray] | None = None,
    keep_component: str | None = None,
    progress_bar: bool = True,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Score every feature space on the voxels of one subject.

    Parameters
    ----------
    spaces : DataFrame with columns component, instruction, layer, depth
    read_space : callable (row of ``spaces``, nsd_ids of shape (n_stimuli,)) -> (n_stimuli, n_features)
    responses : Dataset as :func:`brainalign_utils.nsd.load_responses` returns it
    alphas : ridge penalties
    keep_for : dict name -> bool array of shape (n_voxels,)
        Groups of voxels for which the best layer of each component and instruction, chosen on
        training folds, keeps its predictions.  None keeps those of the best layer over all voxels.
    keep_component : str, optional
        Keep predictions of this component only.

    Returns
    -------
    scores : Dataset with r, r2, cv_score, best_alpha of dims (space, voxel)
    predictions : Dataset with ``prediction`` of dims (space, test_stimulus, voxel), float16

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from brainalign_utils.settings import EncodingSettings
    >>> rng = np.random.default_rng(0)
    >>> states = rng.standard_normal((150, 10))  # one feature space of 10 features for 150 images
    >>> betas = states @ rng.standard_normal((10, 5)) + rng.standard_normal((150, 5))
    >>> responses = xr.Dataset(
    ...     {
    ...         "train": (("train_stimulus", "voxel"), betas[:100]),
    ...         "test": (("repeat", "test_stimulus", "voxel"), betas[None, 100:]),
    ...     },
    ...     coords={
    ...         "train_nsd_id": ("train_stimulus", np.arange(100)),
    ...         "test_nsd_id": ("test_stimulus", np.arange(100, 150)),
    ...     },
    ... )
    >>> spaces = pd.DataFrame(
    ...     {"component": ["vision"], "instruction": ["none"], "layer": [0], "depth": [0.0]}
    ... )
    >>> scores, predictions = fit_encoding(
    ...     spaces, lambda space, ids: states[ids], responses, [1.0, 10.0, 100.0], EncodingSettings(),
    ...     progress_bar=False,
    ... )
    >>> dict(scores.r.sizes), bool((scores.r > 0.8).all())
    ({'space': 1, 'voxel': 5}, True)
    """
    train_ids, test_ids = responses.train_nsd_id.values, responses.test_nsd_id.values
    Y_train, Y_test = targets(responses)
    alphas = list(alphas)
    rows, best, held = [], {}, {}
    groups = keep_for or {"all": np.ones(Y_train.shape[1], bool)}
    for i, space in tqdm(
        spaces.reset_index(drop=True).iterrows(), total=len(spaces), disable=not progress_bar
    ):
        X = read_space(space, np.concatenate([train_ids, test_ids]))
        fit = _fit_space(X[: len(train_ids)], X[len(train_ids) :], Y_train, alphas, settings)
        rows.append(
            {
                "r": scoring.correlation(Y_test, fit.predictions),
                "r2": scoring.r2(Y_test, fit.predictions),
                "cv_score": fit.cv_scores,
                "best_alpha": fit.best_alphas,
            }
        )
        wanted = keep_component in (None, space.component)
        if wanted and _is_best_of_a_group(best, groups, space, i, fit.cv_scores):
            held[i] = fit.predictions.astype(np.float16)
            held = {index: held[index] for _, index in best.values()}
    return _scores(rows, spaces, responses), _predictions(held, spaces, test_ids)


def shuffled_scores(
    space: pd.Series,
    read_space: Callable[[pd.Series, np.ndarray], np.ndarray],
    responses: xr.Dataset,
    alphas: Iterable[float],
    settings: EncodingSettings,
    n_shuffles: int,
    seed: int = 0,
) -> xr.Dataset:
    """Scores when every image gets the features of another one: what chance gives.

    Parameters
    ----------
    space : row of the table of feature spaces
    n_shuffles, seed : int
        Training and test images are shuffled apart from each other.

    Returns
    -------
    scores : Dataset with ``r`` of dims (shuffle, voxel)

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from brainalign_utils.settings import EncodingSettings
    >>> rng = np.random.default_rng(0)
    >>> states = rng.standard_normal((150, 10))  # one feature space of 10 features for 150 images
    >>> betas = states @ rng.standard_normal((10, 5)) + rng.standard_normal((150, 5))
    >>> responses = xr.Dataset(
    ...     {
    ...         "train": (("train_stimulus", "voxel"), betas[:100]),
    ...         "test": (("repeat", "test_stimulus", "voxel"), betas[None, 100:]),
    ...     },
    ...     coords={
    ...         "train_nsd_id": ("train_stimulus", np.arange(100)),
    ...         "test_nsd_id": ("test_stimulus", np.arange(100, 150)),
    ...     },
    ... )
    >>> spaces = pd.DataFrame(
    ...     {"component": ["vision"], "instruction": ["none"], "layer": [0], "depth": [0.0]}
    ... )
    >>> null = shuffled_scores(
    ...     spaces.iloc[0], lambda space, ids: states[ids], responses, [1.0, 10.0, 100.0], EncodingSettings(),
    ...     n_shuffles=3,
    ... )
    >>> dict(null.r.sizes), bool(abs(null.r.mean()) < 0.2)
    ({'shuffle': 3, 'voxel': 5}, True)
    """
    rng = np.random.default_rng(seed)
    train_ids, test_ids = responses.train_nsd_id.values, responses.test_nsd_id.values
    X = read_space(space, np.concatenate([train_ids, test_ids]))
    Y_train, Y_test = targets(responses)
    alphas, results = list(alphas), []
    for _ in range(n_shuffles):
        train = rng.permutation(len(train_ids))
        test = len(train_ids) + rng.permutation(len(test_ids))
        fit = _fit_space(X[train], X[test], Y_train, alphas, settings)
        results.append(scoring.correlation(Y_test, fit.predictions).astype(np.float32))
    return xr.Dataset({"r": (("shuffle", "voxel"), np.stack(results))}, coords=_voxel_coords(responses))


def _fit_space(X_train, X_test, Y_train, alphas, settings) -> Fit:
    """Fit one feature space; voxels without responses are NaN."""
    X_train, X_test = standardise(X_train, X_test, settings.test_zscore)
    fitted = np.isfinite(Y_train[0])
    fit = SOLVERS[settings.solver](X_train, Y_train[:, fitted], X_test, alphas, settings)
    arrays = []
    for values in (fit.predictions, fit.best_alphas, fit.cv_scores):
        full = np.full((*values.shape[:-1], len(fitted)), np.nan, np.float32)
        full[..., fitted] = values
        arrays.append(full)
    return Fit(*arrays)


def _is_best_of_a_group(best, groups, space, index, cv_scores):
    """Note in ``best`` the groups for which this layer beats the ones before it."""
    improved = False
    for name, mask in groups.items():
        key = (name, space.component, space.instruction)
        score = float(np.nanmean(cv_scores[mask])) if np.isfinite(cv_scores[mask]).any() else -np.inf
        if key not in best or score > best[key][0]:
            best[key] = (score, index)
            improved = True
    return improved


def _space_coords(spaces):
    return {name: ("space", spaces[name].to_numpy()) for name in SPACE_COORDS}


def _voxel_coords(responses):
    return {
        name: responses[name]
        for name in ("ijk", "roi_mask", "noise_ceiling", "ncsnr")
        if name in responses.coords
    }


def _scores(rows, spaces, responses):
    data = {k: (("space", "voxel"), np.stack([row[k] for row in rows]).astype(np.float32)) for k in rows[0]}
    return xr.Dataset(data, coords={**_space_coords(spaces), **_voxel_coords(responses)})


def _predictions(held, spaces, test_ids):
    order = sorted(held)
    data = {"prediction": (("space", "test_stimulus", "voxel"), np.stack([held[i] for i in order]))}
    coords = _space_coords(spaces.iloc[order]) | {"test_nsd_id": ("test_stimulus", test_ids)}
    return xr.Dataset(data, coords=coords)
