"""Region means over resampled test images, for every instruction of one subject and model.

How often an image is in a sample follows from the seed and its id alone.  Samples of different models,
instructions and subjects therefore belong together: any difference between them is a difference of samples.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..stats import paired, scoring
from ..stats import tests as stats
from . import alignment


def region_samples(
    predictions: xr.Dataset,
    scores: xr.Dataset,
    y_true,
    rois: Sequence[str],
    min_ceiling: float = 0.05,
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> xr.DataArray:
    """Normalised alignment of regions over bootstrap samples of the test images.

    Each region takes the layer that is best for it on training folds.

    Parameters
    ----------
    predictions : Dataset with ``prediction`` of dims (space, test_stimulus, voxel)
    scores : Dataset with ``cv_score``, ``roi_mask`` and ``noise_ceiling``; one component
    y_true : array of shape (n_test, n_voxels)
    rois : sequence of str
    min_ceiling, n_bootstraps, seed
        As for :func:`scoring.normalised_alignment` and :func:`paired.bootstrap_scores`.

    Returns
    -------
    samples : DataArray of dims (sample, instruction, roi)
        Sample 0 is the observed score.  NaN where a region is absent, or where predictions are the
        same for all images.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> scores = study.open_scores(settings, 1, "vit-h")
    >>> Y_test = fitting.targets(study.open_responses(settings, 1))[1]
    >>> predictions = study.open_predictions(settings, 1, "vit-h")
    >>> samples = region_samples(predictions, scores, Y_test, ["nsdgeneral"], n_bootstraps=10)
    >>> dict(samples.sizes)
    {'sample': 11, 'instruction': 1, 'roi': 1}
    """
    present = [roi for roi in rois if scores.roi_mask.sel(roi=roi).any()]
    best = alignment.best_layers(scores)
    best = best[best.roi.isin(present)]
    weights = scoring.roi_weights(
        scores.roi_mask.sel(roi=present).values, scores.noise_ceiling.values, min_ceiling
    )
    valid = np.isfinite(np.asarray(y_true)).all(0)
    weights = scoring.restrict_weights(weights, valid)
    stored = list(zip(predictions.instruction.values, predictions.layer.values, strict=True))
    used = sorted({(row.instruction, row.layer) for row in best.itertuples()})
    arrays = {key: predictions.prediction.values[stored.index(key)].astype(np.float32) for key in used}
    y_true, arrays = np.where(valid, y_true, 0), {k: np.where(valid, a, 0) for k, a in arrays.items()}
    named = {f"{instruction}/{layer}": array for (instruction, layer), array in arrays.items()}
    rois_of = {name: [] for name in named}
    for row in best.itertuples():
        rois_of[f"{row.instruction}/{row.layer}"].append(row.roi)
    samples = paired.bootstrap_scores(
        y_true, named, weights, n_bootstraps, seed, present, rois_of, predictions.test_nsd_id.values
    )
    instructions = list(dict.fromkeys(best.instruction))
    result = xr.DataArray(
        np.full((n_bootstraps + 1, len(instructions), len(rois)), np.nan, np.float32),
        dims=("sample", "instruction", "roi"),
        coords={"instruction": instructions, "roi": list(rois)},
    )
    varies = {key: bool(np.ptp(array, axis=0).any()) for key, array in arrays.items()}
    for row in best.itertuples():
        if not varies[row.instruction, row.layer]:
            continue
        result.loc[:, row.instruction, row.roi] = samples.sel(
            model=f"{row.instruction}/{row.layer}", roi=row.roi
        ).values
    return result


def compare_with_reference(
    samples: dict[str, list[xr.DataArray]], reference: str, level: float = 0.95
) -> pd.DataFrame:
    """Mean over instructions and subjects per model and region, tested against a reference model.

    Parameters
    ----------
    samples : dict model -> one array of :func:`region_samples` per subject, in the same order of subjects
    reference : str
        Model that the others are compared with; itself without a test.

    Returns
    -------
    table : DataFrame
        model, roi, value, low, high (percentile interval over images), difference (to the reference), p
        and q (two-sided; Benjamini-Hochberg over the table).
    """
    means = {m: paired.mean_over_subjects([s.mean("instruction") for s in a]) for m, a in samples.items()}
    tail = (1 - level) / 2
    rows = []
    for model, mean in means.items():
        low, high = np.nanquantile(mean.values[1:], [tail, 1 - tail], axis=0)
        difference = mean.values - means[reference].values if reference in means else mean.values * np.nan
        for i, roi in enumerate(mean.roi.values):
            p = np.nan if model == reference else _normal_p(difference[:, i])
            rows.append(
                {
                    "model": model,
                    "roi": roi,
                    "value": mean.values[0, i],
                    "low": low[i],
                    "high": high[i],
                    "difference": difference[0, i],
                    "p": p,
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(q=stats.fdr(table.p.to_numpy()))


def _normal_p(samples) -> float:
    """Two-sided p of the first sample against 0, normal with the standard error of the others."""
    frame = xr.DataArray(np.asarray(samples, float)[:, None, None], dims=("sample", "model", "roi"))
    return paired.contrast_test(frame, np.ones((1, 1)))["p"]
