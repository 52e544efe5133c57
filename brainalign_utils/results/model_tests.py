"""Tests of region means: pairs of instructions, the region x model interaction, agreement of subjects."""

import numpy as np
import pandas as pd
import xarray as xr

from .. import store
from ..settings import Settings
from ..stats import paired
from ..stats import tests as stats


def model_samples(settings: Settings, models) -> xr.DataArray:
    """Region means of models over the bootstrap samples that all of them share, mean over instructions.

    Returns
    -------
    samples : DataArray of dims (subject, sample, model, roi)
        Sample 0 is the observed score.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> samples = model_samples(settings, ["vit-h", "instructblip"])
    >>> samples.dims, samples.sizes["model"]
    (('subject', 'sample', 'model', 'roi'), 2)
    """
    arrays = [
        xr.concat(
            [store.open_dataset(settings.paths.samples(s, m)).alignment.mean("instruction") for m in models],
            dim=pd.Index(models, name="model"),
        )
        for s in settings.subjects
    ]
    stacked = xr.concat(arrays, dim=pd.Index(settings.subjects, name="subject"))
    return stacked.transpose("subject", "sample", "model", "roi")


def instruction_pairs(settings: Settings, model: str, rois) -> pd.DataFrame:
    """Every pair of instructions of one model in every region, over subjects together.

    Returns
    -------
    table : DataFrame
        As :func:`paired.compare_pairs`: a, b, roi, estimate (a - b), low, high, se, p, q.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> table = instruction_pairs(settings, "instructblip", ["prf-visual"])
    >>> len(table)  # four instructions, six pairs
    6
    """
    arrays = [store.open_dataset(settings.paths.samples(s, model)).alignment for s in settings.subjects]
    mean = paired.mean_over_subjects([a.sel(roi=list(rois)) for a in arrays])
    ids = [row.id for row in settings.instruction_rows() if row.id in mean.instruction.values]
    mean = mean.sel(instruction=ids).rename(instruction="model").transpose("sample", "model", "roi")
    return paired.compare_pairs(mean)


def interaction_table(samples: xr.DataArray, reference: str, rois) -> pd.DataFrame:
    """Region x model interaction of every model with the reference, over subjects together.

    Parameters
    ----------
    samples : DataArray of dims (subject, sample, model, roi)
    reference : str
        One of the models.
    rois : sequence of str
        At least two; those that no subject has are left out.

    Returns
    -------
    table : DataFrame
        model, statistic, df, p, q (Benjamini-Hochberg over models).  NaN for a model without scores.

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> samples = model_samples(settings, ["vit-h", "instructblip"])
    >>> list(interaction_table(samples, "vit-h", ["prf-visual", "places"]).model)
    ['instructblip']
    """
    mean = paired.mean_over_subjects(list(samples))
    present = [roi for roi in rois if np.isfinite(mean.sel(roi=roi, model=reference)[0])]
    rows = []
    for model in mean.model.values:
        if model == reference:
            continue
        if np.isfinite(mean.sel(model=model, roi=present)[0]).all():
            rows.append({"model": model, **paired.interaction_test(mean, [reference, model], present)})
        else:
            rows.append({"model": model, "statistic": np.nan, "df": np.nan, "p": np.nan})
    table = pd.DataFrame(rows, columns=["model", "statistic", "df", "p"])
    return table.assign(q=stats.fdr(table.p.to_numpy(float)))


def subject_table(samples: xr.DataArray, reference: str, rois) -> pd.DataFrame:
    """Wilcoxon signed-rank test across subjects of every model against the reference.

    Parameters
    ----------
    samples : DataArray of dims (subject, sample, model, roi)
    reference : str
    rois : sequence of str

    Returns
    -------
    table : DataFrame
        model, roi, n_subjects, n_positive (subjects in which the model is above), p, smallest_p (the least
        that so many subjects can reach).

    Examples
    --------
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> samples = model_samples(settings, ["vit-h", "instructblip"])
    >>> table = subject_table(samples, "vit-h", ["prf-visual"])
    >>> int(table.n_subjects[0]), float(table.smallest_p[0])
    (2, 0.5)
    """
    observed = samples.isel(sample=0)
    rows = []
    for model in observed.model.values:
        for roi in rois:
            pair = observed.sel(roi=roi)
            difference = (pair.sel(model=model) - pair.sel(model=reference)).values
            if model == reference or not np.isfinite(difference).any():
                continue
            test = stats.wilcoxon_subjects(difference)
            rows.append(
                {
                    "model": model,
                    "roi": roi,
                    "n_subjects": test.n_subjects,
                    "n_positive": test.n_positive,
                    "p": test.p,
                    "smallest_p": test.smallest_p,
                }
            )
    columns = ["model", "roi", "n_subjects", "n_positive", "p", "smallest_p"]
    return pd.DataFrame(rows, columns=columns)
