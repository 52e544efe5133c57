"""Fits under other choices: pooling, session z-score, and the conventions of the authors' code.

Layer choice and ceiling need no new fit; these do.  One instruction and the component that gives the answer
are enough to see whether a choice matters, and keep it affordable.
"""

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from .. import nsd, store
from ..encoding import fitting as encoding
from ..features import extraction
from ..features.store import feature_spaces
from ..models import MODEL_BY_ID
from ..settings import Settings
from ..stats import scoring
from ..tables import NO_INSTRUCTION
from ..titles import title_of
from . import study


def pooled_settings(settings: Settings, pooling: str) -> Settings:
    """The same study with another pooling and one instruction, its features in a folder of their own."""
    return settings.model_copy(
        update={
            "build_root": settings.paths.root / "poolings",
            "name": pooling,
            "nsd_root": settings.paths.nsd,
            "coco_root": settings.paths.coco,
            "instructions": (settings.caption_id(),),
            "features": settings.features.model_copy(update={"pooling": pooling}),
        }
    )


def poolings_of(settings: Settings, model: str) -> list[str]:
    """Poolings to compare: the study's first.  A model without instructions has one vector a layer anyway."""
    own = settings.features.pooling
    if not MODEL_BY_ID[model].prompt:
        return [own]
    return list(dict.fromkeys([own, *settings.multiverse.poolings]))


def extract_variants(settings: Settings, model: str, progress_bar: bool = True) -> None:
    """Extract, or go on extracting, a model's features under every other pooling."""
    for pooling in poolings_of(settings, model)[1:]:
        extraction.extract(pooled_settings(settings, pooling), model, progress_bar=progress_bar)


def fit_variants(settings: Settings, models, progress_bar: bool = True) -> None:
    """Fit models under every pooling and analysis, and write their scores."""
    for subject in tqdm(settings.subjects, disable=not progress_bar, desc="other choices", unit="subject"):
        responses = study.open_responses(settings, subject)
        unscaled = nsd.load_responses(
            settings.paths.nsd,
            subject,
            settings.n_sessions,
            settings.betas,
            settings.space,
            session_zscore=False,
            progress_bar=False,
        )
        targets = encoding.targets(responses), encoding.targets(unscaled)
        for model in models:
            poolings = poolings_of(settings, model)
            fits = [_fit(settings, model, pooling, responses, targets) for pooling in poolings]
            scores = xr.concat(fits, dim="pooling").assign_coords(pooling=poolings)
            store.write_dataset(settings.paths.variants(subject, model), scores)


def _fit(settings: Settings, model: str, pooling: str, responses: xr.Dataset, targets) -> xr.Dataset:
    own = pooling == settings.features.pooling
    folder = settings if own else pooled_settings(settings, pooling)
    spaces, read = feature_spaces(folder.paths.features(model)), study.feature_reader(folder, model)
    wanted = spaces.instruction.isin([settings.caption_id(), NO_INSTRUCTION])
    spaces = spaces[wanted & (spaces.component == study.main_component(model))].reset_index(drop=True)
    ids = np.concatenate([responses.train_nsd_id.values, responses.test_nsd_id.values])
    n_train = responses.sizes["train_stimulus"]
    features = [read(space, ids) for _, space in spaces.iterrows()]
    found = [_scores(X[:n_train], X[n_train:], targets, settings) for X in features]
    data = {
        name: (("space", "analysis", "voxel"), np.stack(values).astype(np.float32))
        for name, values in zip(("r", "cv_score"), zip(*found, strict=True), strict=True)
    }
    coords = {name: ("space", spaces[name].to_numpy()) for name in encoding.SPACE_COORDS}
    coords |= {name: responses[name] for name in ("roi_mask", "noise_ceiling")}
    return xr.Dataset(data, coords={**coords, "analysis": list(study.ANALYSES)})


def _scores(X, X_test, targets, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Correlations and cross-validation scores under each analysis, arrays (n_analyses, n_voxels).

    One fit serves all: the responses of both scalings side by side, both scalings of the test features below
    each other.
    """
    scaled = [encoding.standardise(X, X_test, by) for by in ("train", "test")]
    both = [encoding.without_missing(*pair) for pair in targets]
    Y, n_test, n_voxels = np.hstack([train for train, _ in both]), len(X_test), both[0][0].shape[1]
    solve = encoding.SOLVERS[settings.encoding.solver]
    fit = solve(scaled[0][0], Y, np.vstack([s[1] for s in scaled]), settings.alphas(), settings.encoding)
    r, cv = [], []
    for part, rows in ((0, 0), (1, 0), (1, 1)):  # scaling of responses, of test features
        columns = slice(part * n_voxels, (part + 1) * n_voxels)
        predicted = fit.predictions[rows * n_test : (rows + 1) * n_test, columns]
        known = np.isfinite(targets[part][1][0])
        r.append(np.where(known, scoring.correlation(both[part][1], predicted), np.nan))
        cv.append(np.where(known, fit.cv_scores[columns], np.nan))
    return np.stack(r), np.stack(cv)


def as_table(settings: Settings, models) -> pd.DataFrame:
    """Mean raw correlation of the first subject under each pooling and analysis, for readers.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> as_table(settings, ["vit-h"]).pooling.tolist()
    ['generated']
    """
    rows = []
    for model in models:
        scores = store.open_dataset(settings.paths.variants(settings.subjects[0], model))
        for pooling in scores.pooling.values:
            values = scores.r.sel(pooling=pooling).values  # (n_spaces, n_analyses, n_voxels)
            means = dict(zip(study.ANALYSES, np.nanmean(values, axis=(0, 2)), strict=True))
            rows.append({"model": title_of(model), "pooling": pooling} | means)
    return pd.DataFrame(rows)
