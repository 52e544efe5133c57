"""Simulated voxels: signal from drawn content, reliability, and single-trial betas."""

from dataclasses import dataclass

import numpy as np

from .areas import BETA_VERSIONS, FAMILIES, NOISE_CEILING_MEDIAN
from .channels import COUNTS, FIELD, N_CELLS, Channels
from .grid import Layout

SCENE_SHARE = {
    "energy": 0.0,
    "colour": 0.5,
    "faces": 0.4,
    "bodies": 0.4,
    "animals": 0.8,
    "food": 0.5,
    "words": 0.4,
    "places": 1.0,
    "objects": 0.6,
    "relations": 1.0,
}
"""Share of a family's component that describes the whole scene; the rest comes from the receptive field.
Voxels of V1 to V3 see their receptive field only."""

NCSNR_SPREAD = 0.45
"""Sd of log ncsnr among voxels of equal reliability."""
NCSNR_LIMIT = 1.6
MIN_WEIGHT = 0.04
_COMPRESSION = 0.5


@dataclass(frozen=True)
class Brain:
    """What is true about one subject's voxels.

    Attributes
    ----------
    nsd_id : int array of shape (n_stimuli,)
        0-based, sorted.
    signal : float32 array of shape (n_stimuli, n_voxels)
        Mean 0 and sd 1 over the stimuli; 0 where a voxel has none.
    ncsnr : float32 array of shape (n_voxels,)
        Signal sd over noise sd of single trials.
    weight, fraction, unique : float32 arrays of shape (n_voxels, n_families)
        Weight of each standardised family component in the signal; its share of the signal's
        variance (covariance with the signal: shares sum to 1); the share that no other
        family of the voxel explains linearly.
    mean, sd : float32 arrays of shape (n_voxels,)
        Of single-trial betas, percent signal change.
    """

    nsd_id: np.ndarray
    signal: np.ndarray
    ncsnr: np.ndarray
    weight: np.ndarray
    fraction: np.ndarray
    unique: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def silence(self, voxels) -> "Brain":
        """The same brain, but some voxels carry no signal."""
        for values in (self.signal.T, self.ncsnr, self.weight, self.fraction, self.unique):
            values[voxels] = 0
        return self


def make_brain(
    layout: Layout, channels: Channels, seed: int, betas: str = "betas_fithrf_GLMdenoise_RR"
) -> Brain:
    """Tune every cortical voxel to the content of the stimuli.

    Parameters
    ----------
    layout : grid.Layout
    channels : Channels
        Of the subject's stimuli, sorted by nsd_id.
    seed : int
    betas : str
        One of :data:`.areas.BETA_VERSIONS`: how far noise was removed.
    """
    rng = np.random.default_rng([seed, layout.subject, 31])
    ncsnr = draw_ncsnr(layout, rng) * np.float32(BETA_VERSIONS[betas])
    active = np.flatnonzero(ncsnr > 0)
    n_voxels, n_families = len(layout.ijk), len(FAMILIES)
    weight, fraction, unique = (np.zeros((n_voxels, n_families), np.float32) for _ in range(3))
    signal = np.zeros((len(channels.nsd_id), n_voxels), np.float32)

    target = _jitter_profiles(layout.profile[active], rng)
    components = family_components(layout, active, target > 0, channels, rng)
    weight[active] = np.sqrt(target) * (components.std(axis=1) > 0).T
    mixed = np.einsum("fsv,vf->sv", components, weight[active])
    scale = mixed.std(axis=0)
    if not (scale > 0).all():
        raise ValueError(f"{(scale == 0).sum()} voxels have no varying content; use more stimuli")
    weight[active] /= scale[:, None]
    signal[:, active] = mixed / scale
    fraction[active], unique[active] = variance_fractions(components, weight[active])
    mean, sd = _beta_scale(layout, rng)
    return Brain(channels.nsd_id, signal, ncsnr, weight, fraction, unique, mean, sd)


def draw_ncsnr(layout: Layout, rng) -> np.ndarray:
    """Reliability of each voxel, with the subject's real median noise ceiling in nsdgeneral.

    Parameters
    ----------
    layout : grid.Layout
    rng : numpy.random.Generator

    Returns
    -------
    ncsnr : float32 array of shape (n_voxels,)
        0 outside cortex; low in cortex that is neither visual nor labelled.
    """
    spread = rng.lognormal(0, NCSNR_SPREAD, len(layout.ijk))
    labelled = np.any([values > 0 for values in layout.labels.values()], axis=0)
    raw = np.nan_to_num(layout.reliability) * spread * np.where(labelled, 1, 0.25)
    ceiling = NOISE_CEILING_MEDIAN[layout.subject] / 100
    median = np.sqrt(ceiling / (3 * (1 - ceiling)))  # noise ceiling of the mean of three trials
    scale = median / np.median(raw[layout.nsdgeneral])
    return np.minimum(scale * raw, NCSNR_LIMIT).astype(np.float32)


def _jitter_profiles(profile, rng):
    """Each voxel's own mixture around its area's; small parts are dropped."""
    profile = profile * rng.gamma(4.0, 0.25, profile.shape)
    profile /= profile.sum(axis=1, keepdims=True)
    profile[profile < MIN_WEIGHT] = 0
    return profile / profile.sum(axis=1, keepdims=True)


def family_components(layout: Layout, voxels, used, channels: Channels, rng) -> np.ndarray:
    """One standardised time course per family and voxel.

    Parameters
    ----------
    layout : grid.Layout
    voxels : int array of shape (n_active,)
    used : bool array of shape (n_active, n_families)
        Components that are needed; the others stay 0.
    channels : Channels
    rng : numpy.random.Generator

    Returns
    -------
    components : float32 array of shape (n_families, n_stimuli, n_active)
        Mean 0, sd 1 over stimuli; 0 where a voxel's channels do not vary.
    """
    early = np.isin(layout.labels["prf-visualrois"][voxels], range(1, 7))
    fields = receptive_fields(layout.prf[voxels])
    out = np.zeros((len(FAMILIES), len(channels.nsd_id), len(voxels)), np.float32)
    for f, family in enumerate(FAMILIES):
        local = _local_component(channels.maps[family], fields, used[:, f], rng)
        whole = _scene_component(channels.counts[family], COUNTS[family], len(voxels), rng)
        share = np.where(early, 0.0, SCENE_SHARE[family]) if channels.maps[family].shape[1] else 1.0
        out[f] = _standardise(np.sqrt(1 - share) * local + np.sqrt(share) * whole)
        out[f][:, ~used[:, f]] = 0
    return out


def receptive_fields(prf) -> np.ndarray:
    """Gaussian weights over the cells of a map, each summing to 1.

    Parameters
    ----------
    prf : array of shape (n_voxels, 3)
        x, y (up) and size, degrees.

    Returns
    -------
    fields : float32 array of shape (n_cells ** 2, n_voxels)
    """
    centres = (np.arange(N_CELLS) + 0.5) * FIELD / N_CELLS - FIELD / 2
    x, y, size = prf.T
    size = np.maximum(size, FIELD / N_CELLS / 2)
    across = np.exp(-0.5 * ((centres[:, None] - x) / size) ** 2)
    down = np.exp(-0.5 * ((-centres[:, None] - y) / size) ** 2)
    fields = (down[:, None] * across[None]).reshape(N_CELLS**2, -1)
    fields /= fields.sum(axis=0)
    # far out they are smaller than float32's normal numbers, with which products are ten times slower
    return np.where(fields > 1e-20, fields, 0).astype(np.float32)


def _local_component(maps, fields, used, rng):
    """What the receptive field sees: channels weighted by chance, compressed."""
    n_stimuli, n_channels, _ = maps.shape
    gains = rng.gamma(0.6, 1.0, (n_channels, fields.shape[1])).astype(np.float32)[:, used]
    fields = fields[:, used]
    total = np.zeros((n_stimuli, fields.shape[1]), np.float32)
    for channel in range(n_channels):
        seen = maps[:, channel].astype(np.float32) @ fields
        typical = seen.mean()
        if typical > 0:
            seen /= typical
            seen **= _COMPRESSION
            seen *= gains[channel]
            total += seen
    out = np.zeros((n_stimuli, len(used)), np.float32)
    out[:, used] = _standardise(total)
    return out


def _scene_component(counts, gains, n_voxels, rng):
    """Counts of the scene, each standardised, with the voxel's own gains."""
    mean, sd = np.array(list(gains.values()), np.float32).reshape(-1, 2).T
    own = rng.normal(mean[:, None], sd[:, None], (len(gains), n_voxels)).astype(np.float32)
    return _standardise(_standardise(counts) @ own)


def _standardise(values):
    """Mean 0, sd 1 over the first axis; constant columns become 0."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    sd = centred.std(axis=0)
    return np.where(sd > 1e-6, centred / np.where(sd > 1e-6, sd, 1), 0).astype(np.float32)


def variance_fractions(components, weight) -> tuple[np.ndarray, np.ndarray]:
    """Share of the signal's variance that each family brings, and brings alone.

    Parameters
    ----------
    components : array of shape (n_families, n_stimuli, n_voxels)
        Standardised, or 0 where unused.
    weight : array of shape (n_voxels, n_families)
        Such that the weighted sum has variance 1.

    Returns
    -------
    fraction, unique : float32 arrays of shape (n_voxels, n_families)
    """
    n_stimuli = components.shape[1]
    correlation = np.einsum("fsv,gsv->vfg", components, components, optimize=True) / n_stimuli
    fraction = weight * np.einsum("vfg,vg->vf", correlation, weight)
    unused = weight == 0
    correlation[unused[:, :, None] | unused[:, None, :]] = 0
    diagonal = np.arange(weight.shape[1])
    correlation[:, diagonal, diagonal] = 1 + 1e-6
    alone = weight**2 / np.linalg.inv(correlation)[:, diagonal, diagonal]
    return fraction.astype(np.float32), alone.astype(np.float32)


def _beta_scale(layout: Layout, rng):
    """Mean and sd of single-trial betas, percent signal change; largest in early visual cortex."""
    early = np.isin(layout.labels["prf-visualrois"], range(1, 8))
    general = layout.nsdgeneral
    n = len(layout.ijk)
    mean = rng.normal(
        np.select([early, general], [2.2, 1.2], 0.1), np.select([early, general], [1.3, 0.9], 0.3)
    )
    sd = np.select([early, general, layout.cortex], [2.8, 1.8, 1.3], 0.9) * rng.lognormal(0, 0.2, n)
    return mean.astype(np.float32), sd.astype(np.float32)


def session_betas(brain: Brain, trials, session: int, subject: int, seed: int) -> np.ndarray:
    """Single-trial betas of one session.

    ``ncsnr * signal + noise`` with standard normal noise, brought to the voxel's sd and mean;
    gain and baseline drift from session to session.

    Parameters
    ----------
    brain : Brain
    trials : int array of shape (n_trials,)
        nsd_id shown in each trial.
    session : int
        1-based.
    subject, seed : int

    Returns
    -------
    betas : float32 array of shape (n_trials, n_voxels), percent signal change
    """
    rng = np.random.default_rng([seed, subject, session, 41])
    rows = np.searchsorted(brain.nsd_id, trials)
    betas = rng.standard_normal((len(rows), len(brain.ncsnr)), np.float32)
    betas += brain.ncsnr * brain.signal[rows]
    gain = brain.sd / np.sqrt(1 + brain.ncsnr**2) * rng.lognormal(0, 0.08)
    betas *= gain
    betas += brain.mean + rng.normal(0, 0.2, len(gain)).astype(np.float32) * brain.sd
    return betas
