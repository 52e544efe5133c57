"""Does banded ridge overfit its weightings where samples are few?

    python few_samples.py OUT.csv [--n 40 70 150] [--bands 2 3 10] [--seeds 100 101]

Simulated at the proportions of a large fMRI study, 9000 samples to 4096 features per band, features with
eigenvalues ``k**-1`` or ``k**-1.5``, and 30 % or 70 % of each target's variance explainable.  Where the
signal is:

- ``one``: in one band, another one for every target; ``null``: in the first band for all targets;
- ``spread``: in all bands, proportions drawn per target; ``shared``: the same, and half of every band is
common to all.

R2 is measured on 5,000 test samples, averaged over targets, and compared with the *truly best band*: for
every target the one of the single-band fits that predicts those test samples best.  That reference knows
the test samples, and gains by it: ``planted`` is the band that holds most of the target's signal.  ``best``
takes the best candidate of every target; with the same candidates it is himalaya's answer, as the tests
check.
"""

import argparse
import itertools
import warnings

import numpy as np
import pandas as pd
import torch

from voxelridge import BandedRidgeCV, RidgeCV

N_TEST, N_TARGETS, FEATURES_PER_SAMPLE = 5000, 200, 4096 / 9000
SCENARIOS = ("one", "null", "spread", "shared")


def simulate(n, n_bands, decay, scenario, explainable, seed):
    """Bands and targets of training and test samples, and what part of the signal each band holds."""
    rng = np.random.default_rng(seed)
    n_all, p = n + N_TEST, max(4, round(FEATURES_PER_SAMPLE * n))
    scale = np.arange(1, p + 1) ** (-decay / 2)
    common = rng.standard_normal((n_all, p))
    bands = []
    for _ in range(n_bands):
        latent = rng.standard_normal((n_all, p))
        latent = (common + latent) / np.sqrt(2) if scenario == "shared" else latent
        bands.append((latent * scale) @ np.linalg.qr(rng.standard_normal((p, p)))[0])
    holds = rng.dirichlet(np.ones(n_bands), N_TARGETS)
    if scenario == "one":
        holds = np.eye(n_bands)[rng.integers(0, n_bands, N_TARGETS)]
    if scenario == "null":
        holds = np.eye(n_bands)[np.zeros(N_TARGETS, dtype=int)]
    signal = 0.0
    for band, part in zip(bands, holds.T, strict=True):
        own = band @ rng.standard_normal((p, N_TARGETS))
        signal = signal + own / own.std(0) * np.sqrt(part)
    Y = signal / signal.std(0) * np.sqrt(explainable)
    Y += np.sqrt(1 - explainable) * rng.standard_normal(Y.shape)
    X = np.concatenate(bands, axis=1)
    X, Y = ((a - a[:n].mean(0)) / a[:n].std(0) for a in (X, Y))
    return X[:n], Y[:n], X[n:], Y[n:], np.repeat(np.arange(n_bands), p), holds


def himalaya_weightings(n_bands, seed):
    """What himalaya's random search draws by default: 100, the first equal."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import generate_dirichlet_samples

    set_backend("numpy")
    drawn = generate_dirichlet_samples(100, n_bands, concentration=[0.1, 1.0], random_state=seed)
    return np.maximum(np.r_[[np.full(n_bands, 1 / n_bands)], drawn[1:]], 1e-12)


def compare(n, n_bands, decay, scenario, explainable, seed):
    """Mean R2 of every way to fit."""
    X, Y, X_test, Y_test, bands, holds = simulate(n, n_bands, decay, scenario, explainable, seed)
    alphas = np.logspace(-1, 7, 25)
    options = {"bands": bands}

    def scores(model, columns=slice(None)):
        return model.fit(X[:, columns], Y).score_per_target(X_test[:, columns], Y_test)

    singles = np.array([scores(RidgeCV(alphas), bands == band) for band in range(n_bands)])
    found = {
        "truly best band": singles.max(0).mean(),
        "planted band": singles[holds.argmax(1), np.arange(N_TARGETS)].mean(),
        "concatenated": scores(RidgeCV(alphas)).mean(),
        "average": scores(BandedRidgeCV(alphas, **options)).mean(),
        "best": scores(BandedRidgeCV(alphas, average=False, **options)).mean(),
    }
    weightings = himalaya_weightings(n_bands, seed)
    found["himalaya's search"] = scores(
        BandedRidgeCV(alphas, weightings=weightings, average=False, **options)
    ).mean()
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out")
    parser.add_argument("--n", type=int, nargs="+", default=[40, 70, 150, 600, 1125])
    parser.add_argument("--bands", type=int, nargs="+", default=[2, 3, 10])
    parser.add_argument("--decays", type=float, nargs="+", default=[1.0, 1.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    rows = []
    for case in itertools.product(args.n, args.bands, args.decays, SCENARIOS, (0.3, 0.7), args.seeds):
        names = ("n", "n_bands", "decay", "scenario", "explainable", "seed")
        rows.append(dict(zip(names, case, strict=True)) | {k: round(v, 4) for k, v in compare(*case).items()})
        pd.DataFrame(rows).to_csv(args.out, index=False)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
