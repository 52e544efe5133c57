"""What the phantom knows about itself, laid beside what the study estimated.  Simulated data only."""

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from ..encoding.partitioning import bootstrap_roi, partition_instructions
from ..models import MODEL_BY_ID
from ..nsd.reliability import noise_ceiling
from ..settings import Settings
from ..stats import scoring, similarity
from ..tables import NO_INSTRUCTION, PAPER_GROUPS, SUBJECTS, subject_name
from . import figure_tables as results
from . import recovery, study

AREAS = {
    "prf-visual": ("V1", "V2", "hV4"),
    "bodies": ("EBA",),
    "faces": ("FFA-1",),
    "places": ("OPA", "PPA"),
    "words": ("OWFA", "VWFA-1"),
}
"""Areas whose tuning is compared, by the region whose best layer predicts them."""
PLANTED_SHARES = (0.2, 0.5, 0.8)
"""Shared fractions of the simulated responses that test variance partitioning."""


def planted_voxels(settings: Settings, subject: int, responses: xr.Dataset) -> pd.DataFrame:
    """Planted tuning and reliability of each voxel, in the order of ``responses``."""
    table = pd.read_parquet(settings.paths.truth / subject_name(subject) / "voxels.parquet")
    table = table.set_index(["i", "j", "k"])
    return table.loc[list(map(tuple, responses.ijk.values))].reset_index()


def planted_signal(settings: Settings, subject: int, responses: xr.Dataset, nsd_ids) -> np.ndarray:
    """Noiseless signal, shape (n_stimuli, n_voxels), for given images and the voxels of ``responses``."""
    with np.load(settings.paths.truth / subject_name(subject) / "signal.npz") as stored:
        rows = pd.Index(stored["nsd_id"]).get_indexer(nsd_ids)
        wanted = list(map(tuple, responses.ijk.values))
        columns = pd.MultiIndex.from_arrays(stored["ijk"].T).get_indexer(wanted)
        return stored["signal"][np.ix_(rows, columns)].astype(np.float32)


def picture_content(settings: Settings, nsd_ids) -> pd.DataFrame:
    """What is drawn in the images: one column a channel; those that hardly vary are left out."""
    table = pd.read_parquet(settings.paths.truth / "stimuli.parquet").set_index("nsd_id").loc[nsd_ids]
    channels = table.select_dtypes("number").drop(columns="coco_id")
    return channels.loc[:, (channels > 0).mean().between(0.05, 0.95)]


def answers_of_families(settings: Settings) -> dict[str, list[str]]:
    """Content families and the instructions whose answers speak of them."""
    families = yaml.safe_load((settings.paths.truth / "families.yml").read_text())
    chosen = set(settings.instructions)
    return {name: [i for i in row["best_instructions"] if i in chosen] for name, row in families.items()}


def ceiling_rows(settings: Settings) -> pd.DataFrame:
    """Median noise ceiling of each region: planted and estimated."""
    rows = []
    for subject in settings.subjects:
        responses = study.open_responses(settings, subject)
        planted = planted_voxels(settings, subject, responses)
        usable = ~(
            planted[["saturated", "constant", "nan_ncsnr"]].any(axis=1) | (planted.zero_in_session > 0)
        )
        masks = responses.roi_mask.sel(roi=list(PAPER_GROUPS)).values & usable.to_numpy()
        n_repeats = np.isfinite(responses.test.values).sum(0)  # fewer than 3 after fewer sessions
        ceilings = noise_ceiling(planted.ncsnr.to_numpy(), n_repeats), responses.noise_ceiling.values
        table = recovery.recover_medians(
            "noise-ceiling", "noise ceiling (median)", *ceilings, masks, PAPER_GROUPS
        )
        rows.append(table.assign(subject=subject))
    return pd.concat(rows, ignore_index=True)


def cross_subject_rows(settings: Settings, tolerance: float = 0.1) -> pd.DataFrame:
    """Cross-subject ceiling: planted in simulated responses, and as extrapolated.

    The phantom's subjects have areas of their own, so what one tells about another has no known value.  Here
    responses are drawn that have one: as many shared images as in the study, the paper's number of
    subjects, and a part of each voxel's variance that is a mixture of signals which all subjects have.

    Parameters
    ----------
    tolerance : float
        The few shared images, from which the regression must learn, cost about this much correlation.
    """
    n_shared = study.open_responses(settings, settings.subjects[0]).sizes["test_stimulus"]
    responses, group = _common_signals(SUBJECTS, n_shared, settings.stats.seed)
    target = SUBJECTS[0]
    v0 = results.linked(settings, responses, [target], progress_bar=False)[target].v0.values
    found, low, high = np.transpose([_median_interval(v0[group == i]) for i in range(len(PLANTED_SHARES))])
    labels, quantity = [f"{share:.0%} common" for share in PLANTED_SHARES], "cross-subject ceiling"
    return recovery.recover_values(
        "cross-subject-ceiling", quantity, labels, np.sqrt(PLANTED_SHARES), found, low, high, tolerance
    ).assign(subject="all")


def _median_interval(values):
    """Median and its 95 % interval, voxels taken for independent."""
    known = values[np.isfinite(values)]
    error = 1.96 * 1.2533 * known.std(ddof=1) / np.sqrt(len(known))
    return np.median(known), np.median(known) - error, np.median(known) + error


def _common_signals(subjects, n_stimuli, seed, n_latent=6, n_voxels=60):
    """Responses (n_stimuli, n_voxels * n_shares) by subject, and the index of each voxel's share."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n_stimuli, n_latent))
    group = np.repeat(np.arange(len(PLANTED_SHARES)), n_voxels)
    share = np.take(PLANTED_SHARES, group)
    responses = {}
    for subject in subjects:
        mixing = rng.standard_normal((n_latent, len(group)))
        signal = latent @ (mixing / np.linalg.norm(mixing, axis=0))
        noise = rng.standard_normal(signal.shape)
        responses[subject] = np.sqrt(share) * signal + np.sqrt(1 - share) * noise
    return responses, group


def tuning_rows(settings: Settings, model: str, instruction: str) -> pd.DataFrame:
    """Profile of each area over drawn content: of the planted signal and of a model's predictions.

    Early areas follow contrast and colour inside receptive fields, which no answer speaks of: there the
    vision-only model of the study predicts, where it has one.
    """
    vision = next((m for m in settings.models if MODEL_BY_ID[m].role == "vision"), None)
    rows = []
    for subject in settings.subjects:
        responses = study.open_responses(settings, subject)
        ids = responses.test_nsd_id.values
        content, signal = picture_content(settings, ids), planted_signal(settings, subject, responses, ids)
        for region, areas in AREAS.items():
            by_vision = vision and region == "prf-visual"
            predictor, asked = (vision, NO_INSTRUCTION) if by_vision else (model, instruction)
            predicted = results.best_predictions(settings, subject, predictor, region)[asked]
            masks = responses.roi_mask.sel(roi=list(areas)).values
            families = list(content.columns)
            table = recovery.recover_profiles(
                "roi-tuning", signal, predicted, content.to_numpy(), families, masks, areas
            )
            rows.append(table.assign(subject=subject))
    return pd.concat(rows, ignore_index=True)


def winner_rows(settings: Settings, model: str) -> pd.DataFrame:
    """Does the best instruction of a voxel speak of what the voxel is tuned to?  All subjects pooled."""
    winners, families = [], []
    ids = [row.id for row in settings.instruction_rows()]
    for subject in settings.subjects:
        responses = study.open_responses(settings, subject)
        scores = results.normalised_instruction_scores(settings, subject, model).values
        winners.append(similarity.winner_take_all(scores)[0])
        families.append(planted_voxels(settings, subject, responses).family.to_numpy())
    return recovery.recover_winners(
        "best-instruction",
        np.concatenate(winners),
        ids,
        np.concatenate(families),
        answers_of_families(settings),
    ).assign(subject="all")


def layer_rows(settings: Settings, model: str, tolerance: float = 0.02) -> pd.DataFrame:
    """Test score of the layer chosen on training folds against that of the best layer, per region."""
    rows = []
    component = study.main_component(model)
    for subject in settings.subjects:
        scores = study.open_scores(settings, subject, model)
        scores = scores.isel(space=scores.component.values == component)
        masks = scores.roi_mask.sel(roi=list(PAPER_GROUPS)).values
        by_layer = scores[["r", "cv_score"]].groupby("layer").mean()
        r, cv = (scoring.roi_summary(by_layer[name].values, masks)["mean"] for name in ("r", "cv_score"))
        chosen = r[np.nan_to_num(cv, nan=-np.inf).argmax(0), np.arange(len(masks))]
        known = np.isfinite(r).any(0)  # without scores, there is nothing to choose
        quantity, rois = "test r: best layer, chosen layer", np.array(PAPER_GROUPS)[known]
        best = np.nanmax(r[:, known], axis=0)
        table = recovery.recover_values(
            "layer-choice", quantity, rois, best, chosen[known], tolerance=tolerance
        )
        rows.append(table.assign(subject=subject))
    return pd.concat(rows, ignore_index=True)


def shared_rows(settings: Settings, model: str, tolerance: float = 0.05) -> pd.DataFrame:
    """Shared variance of two feature spaces: planted in simulated responses, and as partitioned.

    No voxel of the phantom is driven by a model's features, so its shared variance has no known value.
    Here responses are drawn that have one: the subject's images and a model's own states, cut into
    three independent parts, of which the two feature spaces have the first in common.

    Parameters
    ----------
    tolerance : float
        Finite training data cost about n_features / n_stimuli of the explainable variance.
    """
    rows = []
    labels = [f"{share:.0%} shared" for share in PLANTED_SHARES]
    for subject in settings.subjects:
        layer = study.best_common_layer(settings, subject, model)
        features = study.instruction_features(settings, subject, model, *layer)
        bands, Y, masks = _planted_bands(list(features.values()), settings.stats.seed + subject)
        n_train = len(next(iter(bands.values()))[0])
        parts = partition_instructions(
            bands, Y[:n_train], Y[n_train:], settings.alphas(), cv=settings.encoding.n_folds,
            roi_masks=dict(zip(labels, masks, strict=True)), noise_ceiling=np.full(Y.shape[1], 0.5),
            n_bootstraps=settings.stats.n_bootstraps, seed=settings.stats.seed,
        )  # fmt: skip
        shared = bootstrap_roi(parts).shared.sel(measure="normalised").squeeze("pair")
        found, low, high = (shared.sel(roi=labels, bound=b).values for b in ("mean", "low", "high"))
        quantity = "shared variance (of the explainable)"
        table = recovery.recover_values(
            "shared-variance", quantity, labels, PLANTED_SHARES, found, low, high, tolerance
        )
        rows.append(table.assign(subject=subject))
    return pd.concat(rows, ignore_index=True)


def _planted_bands(features, seed, n_parts=5, n_voxels=60):
    """Two feature spaces with a common part, and responses, half of them noise, by shared fraction.

    Returns
    -------
    bands : dict of (train, test) arrays, each (n_stimuli, 2 * n_parts)
    Y : array of shape (n_train + n_test, n_voxels * n_shares)
    masks : bool array of shape (n_shares, n_voxels * n_shares)
    """
    rng = np.random.default_rng(seed)
    n_train = len(features[0][0])
    chosen = [np.concatenate(features[i]) for i in (0, len(features) // 2, -1)]
    leading = [np.linalg.svd(X - X.mean(0), full_matrices=False)[0][:, :n_parts] for X in chosen]
    parts = np.linalg.qr(np.hstack(leading))[0] * np.sqrt(len(chosen[0]))
    common, first, second = np.split(parts, 3, axis=1)
    signals = []
    for share in PLANTED_SHARES:
        weights = rng.standard_normal((3, n_parts, n_voxels))
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        sizes = np.sqrt([share, (1 - share) / 2, (1 - share) / 2])
        drawn = zip(sizes, (common, first, second), weights, strict=True)
        signals.append(sum(size * part @ w for size, part, w in drawn))
    signal = np.hstack(signals)
    Y = (signal + rng.standard_normal(signal.shape)).astype(np.float32)
    names = {"first": [common, first], "second": [common, second]}
    stacked = {name: np.hstack(pair).astype(np.float32) for name, pair in names.items()}
    bands = {name: (X[:n_train], X[n_train:]) for name, X in stacked.items()}
    masks = np.repeat(np.eye(len(PLANTED_SHARES), dtype=bool), n_voxels, axis=1)
    return bands, Y, masks
