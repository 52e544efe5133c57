"""How often each rule of the ledger is wrong, in simulated studies in which a claim is true and in which not.

False studies lie on the boundary of the claim: at the tolerance, or at the smallest effect.  The spread of a
contrast between subjects follows the standard errors over four subjects that the authors' notebook prints; a
second case, eight subjects and a spread of .02, says how often a study that could decide does.

    python benchmarks/verdict_rates.py        # writes brainalign_utils/results/data/verdict_rates.csv
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign_utils.results import claims
from brainalign_utils.tables import INSTRUCTIONS

N_STUDIES = 500
MAX_WRONG = 40
CLAIM_OF_RULE = {
    "difference": "mllm-above-vision-early-ncsnr",
    "equivalence": "mllm-on-par-with-clip-early-ncsnr",
    "value": "figure-2-prf-visual-vit-h-ncsnr",
    "instruction_range": "not-every-instruction-helps-ncsnr",
    "best_instruction": "captioning-best-in-eba-ppa-ffa-ncsnr",
    "instruction_contrast": "vqa-strong-in-ppa-ffa-ncsnr",
    "concept": "count-concepts-captured",
    "shared_fraction": "most-variance-shared",
    "shared_fraction_difference": "shared-more-in-higher-areas",
    "peak_depth": "layers-middle-and-late-ncsnr",
    "specification": "vision-against-mllm-early-tension",
}
"""The claim that stands for each rule that gives a verdict."""
TRUE_EFFECT = 0.1
"""Of true claims without a public number, beyond the boundary."""
LISTED = {claim.id: claim for claim in claims.load_claims()}
IDS = [row.id for row in INSTRUCTIONS]


def between_subject_sd() -> float:
    """Spread of a score over subjects: median standard error of the printed correlations times two."""
    sems = [row["sem"] for row in claims.load_authors_scores() if row["metric"] == "pearson_r"]
    return 2 * float(np.median(sems))


def _subjects(rng, n_subjects, spread, mean):
    """A contrast of n_subjects around its mean."""
    return mean + spread * rng.standard_normal(n_subjects)


def alignment_rows(values, models, roi, instructions=("IC",)):
    """Rows of the alignment table from values of shape (n_subjects, n_instructions), equal for all models."""
    index = pd.MultiIndex.from_product([range(len(values)), instructions], names=["subject", "instruction"])
    table = pd.DataFrame({"mean": np.ravel(values)}, index=index).reset_index()
    tags = {"roi": roi, "metric": "normalised_r", "convention": "default", "ceiling_name": "ncsnr"}
    return pd.concat([table.assign(model=model, **tags) for model in models], ignore_index=True)


def simulate(rule, is_true, n_subjects, spread, rng) -> dict[str, pd.DataFrame]:
    """Tables of one study in which the claim of a rule holds, or lies on its boundary."""
    claim = LISTED[CLAIM_OF_RULE[rule]]
    scope, smallest = claim.scope, claims.SMALLEST_EFFECT
    if rule in ("difference", "equivalence"):
        true = claim.reported if rule == "difference" else 0.0
        false = smallest if rule == "difference" else claim.tolerance * rng.choice([-1, 1])
        gap = _subjects(rng, n_subjects, spread, true if is_true else false)[:, None]
        base = 0.5 + spread * rng.standard_normal((n_subjects, 1))
        sides = (alignment_rows(base + gap, scope["left"], scope["roi"]),
                 alignment_rows(base, scope["right"], scope["roi"]))  # fmt: skip
        return {"alignment": pd.concat(sides)}
    if rule == "value":
        mean = claim.reported + (0 if is_true else claim.tolerance * rng.choice([-1, 1]))
        values = _subjects(rng, n_subjects, spread, mean)[:, None]
        return {"alignment": alignment_rows(values, scope["left"], scope["roi"])}
    if rule in ("instruction_range", "best_instruction", "instruction_contrast"):
        return {"alignment": _instructions(claim, rule, is_true, n_subjects, spread, rng)}
    if rule == "concept":
        gap = _subjects(rng, n_subjects, spread, TRUE_EFFECT if is_true else smallest)
        rows = pd.DataFrame({"subject": range(n_subjects), "mean": 0.3 + gap, "chance": 0.3})
        tags = {"concept": scope["concept"], "roi": scope["roi"]}
        return {"concepts": pd.concat([rows.assign(model=model, **tags) for model in scope["left"]])}
    if rule.startswith("shared_fraction"):
        return {"partition": _partition(claim, rule, is_true, n_subjects, spread, rng)}
    if rule == "peak_depth":
        return {"layers": _layers(claim, is_true, n_subjects, spread, rng)}
    return {"specifications": _specifications(claim, is_true, n_subjects, spread, rng)}


def _instructions(claim, rule, is_true, n_subjects, spread, rng):
    """Scores by instruction; noise of a difference between two of them has the given spread."""
    rois = claim.scope["roi"]
    tables = []
    for roi in [rois] if isinstance(rois, str) else rois:
        truth = pd.Series(0.5, index=IDS)
        if rule == "instruction_range":
            half = (claim.tolerance + (TRUE_EFFECT if is_true else 0)) / 2
            truth += np.linspace(-half, half, len(IDS)) if is_true else rng.choice([-half, half], len(IDS))
        elif is_true:
            truth[list(claim.scope["instructions"])] += TRUE_EFFECT
        else:
            truth[list(claim.scope["instructions"])] += claims.SMALLEST_EFFECT
        noise = spread / np.sqrt(2) * rng.standard_normal((n_subjects, len(IDS)))
        tables.append(alignment_rows(truth.to_numpy() + noise, claim.scope["left"], roi, IDS))
    return pd.concat(tables)


def _partition(claim, rule, is_true, n_subjects, spread, rng):
    rows = []
    for s in range(n_subjects):
        if rule == "shared_fraction":
            fractions = {claim.scope["roi"]: claims.SHARED_MOST + (TRUE_EFFECT if is_true else 0)}
            noise = {claim.scope["roi"]: spread * rng.standard_normal()}
        else:
            higher, early = claim.scope["roi"]
            gap = claim.reported if is_true else claims.SMALLEST_EFFECT
            fractions, noise = (
                {early: 0.4, higher: 0.4 + gap},
                {early: 0, higher: spread * rng.standard_normal()},
            )
        for roi, fraction in fractions.items():
            shared = fraction + noise[roi]
            rows += [
                {"subject": s, "model": m, "roi": roi, "a": "IC", "b": "IU2", "shared": shared,
                 "unique_a": (1 - shared) / 2, "unique_b": (1 - shared) / 2}
                for m in claim.scope["left"]
            ]  # fmt: skip
    return pd.DataFrame(rows)


def _layers(claim, is_true, n_subjects, spread, rng, n_layers=33):
    """Profiles with a peak at .5 and at .9; where false, every subject and model has layers in random order,
    or all models peak on the border between the classes."""
    depth = np.linspace(0, 1, n_layers)
    peaks = (0.5, 0.9, 0.5) if is_true else (claims.MIDDLE[1],) * 3
    random = not is_true and rng.random() < 0.5
    rows = []
    for model, peak in zip(claim.scope["left"], peaks, strict=True):
        for s in range(n_subjects):
            centre = peak + spread * rng.standard_normal()
            profile = 0.4 - (depth - centre) ** 2 + 0.002 * rng.standard_normal(n_layers)
            profile = rng.permutation(profile) if random else profile
            rows.append(pd.DataFrame({"subject": s, "model": model, "depth": depth, "value": profile}))
    return pd.concat(rows).assign(roi=claim.scope["roi"])


def _specifications(claim, is_true, n_subjects, spread, rng, n_analyses=40):
    """Half of the analyses put each side above; where false, one half has no difference at all."""
    truth = np.where(np.arange(n_analyses) % 2, TRUE_EFFECT, -TRUE_EFFECT if is_true else 0.0)
    common = spread * rng.standard_normal(n_subjects)  # analyses of the same subjects go together
    own = spread / 4 * rng.standard_normal((n_analyses, n_subjects))
    values = truth[:, None] + common + own
    table = pd.DataFrame({"estimate": values.mean(1), "se": values.std(1, ddof=1) / np.sqrt(n_subjects)})
    left, right = claim.scope["left"][0], claim.scope["right"][0]
    return table.assign(n_subjects=n_subjects, left=left, right=right, roi=claim.scope["roi"])


CASES = {"paper": (4, None), "easier": (8, 0.02)}
"""Number of subjects and between-subject spread; None takes that of the authors' scores."""


def rates(rules=tuple(CLAIM_OF_RULE), n_studies: int = N_STUDIES, seed: int = 0) -> pd.DataFrame:
    """Verdicts of simulated studies.

    Returns
    -------
    table : DataFrame
        rule, case, n_subjects, spread, n_studies (of each kind), false_reproduced (claims on the boundary
        that are called reproduced), true_rejected (true claims called not reproduced, or direction only),
        decided (true claims called reproduced).
    """
    rows = []
    for rule in rules:
        claim = LISTED[CLAIM_OF_RULE[rule]]
        for case, (n_subjects, spread) in CASES.items():
            spread = between_subject_sd() if spread is None else spread
            rng = np.random.default_rng([seed, list(CLAIM_OF_RULE).index(rule), n_subjects])
            found = {
                is_true: pd.Series(
                    claims.RULES[rule](claim, simulate(rule, is_true, n_subjects, spread, rng)).verdict
                    for _ in range(n_studies)
                )
                for is_true in (True, False)
            }
            rows.append(
                {
                    "rule": rule, "case": case, "n_subjects": n_subjects, "spread": round(spread, 3),
                    "n_studies": n_studies,
                    "false_reproduced": int((found[False] == claims.REPRODUCED).sum()),
                    "true_rejected": int(found[True].isin([claims.NOT_REPRODUCED, claims.DIRECTION]).sum()),
                    "decided": int((found[True] == claims.REPRODUCED).sum()),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=N_STUDIES)
    table = rates(n_studies=parser.parse_args().studies)
    print(table.to_string(index=False))
    if table.n_studies[0] == N_STUDIES:
        table.to_csv(Path(str(claims.DATA)) / "verdict_rates.csv", index=False)
