import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.results import claims
from brainalign_utils.results.alignment import AUTHORS_VOLUMES
from brainalign_utils.results.claims import (
    DATA,
    DIRECTION,
    MLLMS,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    NOT_TESTED,
    RANDOM,
    REPRODUCED,
    RULES,
    UNDECIDED,
    Claim,
    ClaimError,
    load_authors_scores,
    load_claims,
    load_reported,
    load_untestable,
    parse_claim,
    why_untestable,
)
from brainalign_utils.results.concepts import CONCEPT_BY_ID
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import INSTRUCTION_BY_ID, ROI_BY_ID, SUBJECTS

CLAIMS = load_claims()
BY_ID = {claim.id: claim for claim in CLAIMS}
NOT_OURS = {"instructblip-13b", "llava-13b"}


def alignment(effects, noise=0.01, instructions=("IC", "IU1", "VQ1"), roi="prf-visual", **columns):
    """One row a subject, model and instruction; ``effects`` maps model or (model, instruction) to a mean."""
    rng = np.random.default_rng(0)
    rows = []
    for subject in SUBJECTS:
        for key, value in effects.items():
            model, only = key if isinstance(key, tuple) else (key, None)
            for instruction in [only] if only else instructions:
                mean = value + noise * rng.normal()
                row = {
                    "subject": subject,
                    "model": model,
                    "instruction": instruction,
                    "mean": mean,
                    "roi": roi,
                }
                tags = {"metric": "normalised_r", "convention": "default", "ceiling_name": "ncsnr"}
                rows.append(row | tags | columns)
    return pd.DataFrame(rows)


def verdict(claim_id, **tables):
    return claims.evaluate([BY_ID[claim_id]], tables, "nsd").iloc[0]


def test_every_claim_of_the_paper_and_every_reported_row_is_there():
    assert {c.number for c in CLAIMS if c.number} == {1, 2, 3, 4, 5, 6}
    with (DATA / "reported.csv").open() as file:
        values = [float(row["value"]) for row in csv.DictReader(file)]
    bare = [c for c in CLAIMS if c.number is None]
    once = [c for c in bare if c.scope.get("ceiling_name") != "cross-subject"]
    assert Counter(c.reported for c in once) == Counter(values) and len(values) == 32
    assert len(bare) == len(values) + sum(c.id.startswith("figure-2-") for c in once)
    assert sum(c.kind == "specification" for c in CLAIMS) == 1
    normalised = {
        c.id.removesuffix(f"-{c.scope['ceiling_name']}") for c in CLAIMS if "ceiling_name" in c.scope
    }
    for name in normalised:
        assert {f"{name}-ncsnr", f"{name}-cross-subject"} <= set(BY_ID)


def test_claims_speak_of_things_that_exist():
    for claim in CLAIMS:
        scope = claim.scope
        models = {*scope["left"], *scope.get("right", ())}
        assert models <= set(MODEL_BY_ID) | NOT_OURS, claim.id
        rois = [scope["roi"]] if isinstance(scope["roi"], str) else scope["roi"]
        known = set(ROI_BY_ID) | {f"{volume}==1" for volume in AUTHORS_VOLUMES}
        assert set(rois) <= known, claim.id
        assert set(scope.get("instructions", ())) <= set(INSTRUCTION_BY_ID), claim.id
        assert scope.get("concept", "count") in CONCEPT_BY_ID
        assert claim.kind in RULES and claim.why and claim.figure and claim.recovery
        assert claim.reported is None or claim.tolerance > 0, claim.id


def test_every_check_that_claims_name_is_made_on_the_phantom():
    made = (Path(claims.__file__).parent / "truth.py").read_text()
    for check in {check for claim in CLAIMS for check in claim.recovery}:
        assert f'"{check}"' in made


def test_derived_numbers_follow_from_the_reported_rows():
    """Differences that claims.yml states are those of the digitised bars."""
    bars = {(r["roi"], r["model"]): r["value"] for r in load_reported() if r["source"] == "fig2-slides"}
    place = {"prf-visual": "pRF-visual", "places": "floc-places"}
    tested = 0
    for claim in CLAIMS:
        if claim.number not in (1, 2) or claim.reported is None or claim.kind == "specification":
            continue
        sides = []
        for side in ("left", "right"):
            names = {"random-init" if m in RANDOM else m for m in claim.scope[side]}
            sides.append(np.mean([bars[place[claim.scope["roi"]], name] for name in names]))
        assert claim.reported == pytest.approx(sides[0] - sides[1], abs=0.0006), claim.id
        tested += 1
    assert tested == 14  # seven, under each of two ceilings
    rows = [r for r in load_reported() if r["source"] == "venn-slides"]
    shares = []
    for area in ("higher", "early"):
        parts = {r["instruction"]: r["value"] for r in rows if r["roi"].startswith(area)}
        shares.append(parts["IC+IU2"] / sum(parts.values()))
    assert BY_ID["shared-more-in-higher-areas"].reported == pytest.approx(shares[0] - shares[1], abs=0.001)
    notebook = {(r["model"], r["component"]): r["value"] for r in load_authors_scores()
                if r["metric"] == "pearson_r" and r["roi"] == "prf-visualrois==1"}  # fmt: skip
    language = np.mean([notebook["idefics", "language"], notebook["mplug-owl", "language"]])
    tension = BY_ID["vision-against-mllm-early-tension"].reported
    assert tension == pytest.approx(notebook["vit-h", "vision"] - language, abs=0.001)


def test_reported_csv_agrees_with_the_notebook_scores():
    printed = {(s["model"], s["component"], s["roi"]): s["value"] for s in load_authors_scores()
               if s["metric"] == "pearson_r"}  # fmt: skip
    rows = [c for c in CLAIMS if c.id.startswith("notebook-")]
    assert len(rows) == 14
    for claim in rows:
        key = (claim.scope["left"][0], claim.scope["component"], claim.scope["roi"])
        assert printed[key] == pytest.approx(claim.reported, abs=1e-4)


EARLY = "mllm-above-vision-early-ncsnr"
DIFFERENCES = [
    ({m: 0.64 for m in MLLMS} | {"vit-h": 0.5}, 0.005, REPRODUCED),
    ({m: 0.90 for m in MLLMS} | {"vit-h": 0.5}, 0.005, DIRECTION),
    ({m: 0.62 for m in MLLMS} | {"vit-h": 0.5}, 0.2, UNDECIDED),
    ({m: 0.509 for m in MLLMS} | {"vit-h": 0.5}, 0.001, NOT_REPRODUCED),
    ({m: 0.40 for m in MLLMS} | {"vit-h": 0.5}, 0.005, NOT_REPRODUCED),
    ({m: 0.64 for m in MLLMS}, 0.005, NOT_TESTED),
    ({"idefics": 0.64, "vit-h": 0.5}, 0.005, NOT_TESTED),
]


@pytest.mark.parametrize("effects, noise, expected", DIFFERENCES)
def test_verdicts_of_a_difference(effects, noise, expected):
    row = verdict(EARLY, alignment=alignment(effects, noise))
    assert row.verdict == expected
    if expected == NOT_TESTED:
        assert np.isnan(row.computed) and row.note
    else:
        table = alignment(effects, noise).groupby("model")["mean"].mean()
        assert row.computed == pytest.approx(table[list(MLLMS)].mean() - table["vit-h"])
        assert row.low < row.computed < row.high and row.n_subjects == 4


@pytest.mark.parametrize(
    "gap, noise, expected",
    [(0.02, 0.005, REPRODUCED), (0.2, 0.005, NOT_REPRODUCED), (0.2, 0.9, UNDECIDED), (0.05, 0.01, UNDECIDED)],
)
def test_on_par(gap, noise, expected):
    effects = dict.fromkeys(MLLMS, 0.6) | {"clip-text": 0.6 + gap}
    table = alignment(effects, noise)
    assert verdict("mllm-on-par-with-clip-early-ncsnr", alignment=table).verdict == expected


def test_each_normaliser_has_its_own_verdict():
    near, far = (alignment(dict.fromkeys(MLLMS, v) | {"vit-h": 0.5}, 0.005) for v in (0.64, 0.4))
    table = pd.concat([near, far.assign(ceiling_name="cross-subject")])
    found = claims.evaluate([BY_ID[EARLY], BY_ID["mllm-above-vision-early-cross-subject"]],
                            {"alignment": table}, "nsd")  # fmt: skip
    assert list(found.verdict) == [REPRODUCED, NOT_REPRODUCED]


def test_values_and_conventions():
    claim = "figure-2-prf-visual-vit-h-ncsnr"
    assert verdict(claim, alignment=alignment({"vit-h": 0.5})).verdict == REPRODUCED
    assert verdict(claim, alignment=alignment({"vit-h": 0.58})).verdict == NOT_REPRODUCED
    columns = {
        "roi": "prf-visualrois==1",
        "metric": "pearson_r",
        "component": "vision",
        "instructions": ["none"],
        "ceiling_name": "none",
    }
    ours = alignment({"vit-h": 0.3535}, 0.005, **columns)
    theirs = alignment({"vit-h": 0.3535}, 0.005, **columns, convention="authors")
    claim = "notebook-prf-visualrois-vit-h-vision"
    assert verdict(claim, alignment=theirs).verdict == REPRODUCED
    assert verdict(claim, alignment=ours).verdict == NOT_TESTED


def test_best_instruction_must_win_in_every_region():
    def table(ppa):
        parts = []
        for roi, best in {"EBA": "IC", "PPA": ppa, "FFA-1": "IC", "FFA-2": "IC"}.items():
            effects = {(m, i): 0.5 + 0.1 * (i == best) for m in MLLMS for i in ("IC", "IU1", "VQ1")}
            parts.append(alignment(effects, roi=roi))
        return pd.concat(parts)

    claim = "captioning-best-in-eba-ppa-ffa-ncsnr"
    assert verdict(claim, alignment=table("IC")).verdict == REPRODUCED
    row = verdict(claim, alignment=table("IU1"))
    assert row.verdict == NOT_REPRODUCED and "PPA -0.1" in row.note and "(IU1)" in row.note
    only_ic = table("IC")[lambda t: t.instruction == "IC"]
    assert verdict(claim, alignment=only_ic).verdict == NOT_TESTED


def test_instruction_contrast_and_range():
    effects = {
        (m, i): 0.5 + 0.1 * i.startswith("VQ") for m in MLLMS for i in ("VQ1", "VQ2", "VQ3", "IC", "SR")
    }
    table = pd.concat([alignment(effects, roi=r) for r in ("PPA", "FFA-1", "FFA-2", "nsdgeneral")])
    row = verdict("vqa-strong-in-ppa-ffa-ncsnr", alignment=table)
    assert row.verdict == REPRODUCED and row.computed == pytest.approx(0.1, abs=0.02)
    assert verdict("not-every-instruction-helps-ncsnr", alignment=table).verdict == REPRODUCED
    flat = alignment(dict.fromkeys(MLLMS, 0.5), roi="nsdgeneral")
    assert verdict("not-every-instruction-helps-ncsnr", alignment=flat).verdict == NOT_REPRODUCED


def test_a_constant_for_every_model_reproduces_no_difference():
    """.63 everywhere: on par with anything, above nothing."""
    models = {*MLLMS, *RANDOM, "vit-h", "clip-text"}
    table = pd.concat([
        alignment(dict.fromkeys(models, 0.63), 0.001, roi=roi, ceiling_name=name)
        for roi in ("prf-visual", "places", "higher", "nsdgeneral") for name in ("ncsnr", "cross-subject")
    ])  # fmt: skip
    found = claims.evaluate(CLAIMS, {"alignment": table}, "nsd")
    assert not found[found.kind.isin(["difference", "instruction_range"])].verdict.eq(REPRODUCED).any()
    assert found[found.kind == "equivalence"].verdict.eq(REPRODUCED).all()


def partition(early, higher, roi_all=0.6):
    rows = []
    for subject in SUBJECTS:
        for model in MLLMS:
            for roi, share in {"prf-visual": early, "higher": higher, "nsdgeneral": roi_all}.items():
                share = share + 0.002 * subject
                for a, b in (("IC", "IU2"), ("VQ1", "IC"), ("VQ1", "IU2")):
                    shared = share if "IC" in (a, b) else 0.99
                    unique = {"unique_a": 0.7 * (1 - shared), "unique_b": 0.3 * (1 - shared)}
                    rows.append({"subject": subject, "model": model, "a": a, "b": b, "roi": roi,
                                 "shared": shared, **unique})  # fmt: skip
    return pd.DataFrame(rows)


def test_partition_claims():
    assert verdict("most-variance-shared", partition=partition(0.3, 0.4)).verdict == REPRODUCED
    few = partition(0.3, 0.4, 0.4)
    assert verdict("most-variance-shared", partition=few).verdict == NOT_REPRODUCED
    row = verdict("shared-more-in-higher-areas", partition=partition(0.33, 0.42))
    assert row.computed == pytest.approx(0.09) and row.n_subjects == 4
    assert verdict("shared-more-in-higher-areas", partition=partition(0.5, 0.4)).verdict == NOT_REPRODUCED
    row = verdict("venn-prf-visual-IC+IU2", partition=partition(0.26, 0.4))
    assert row.verdict == NOT_COMPARABLE and row.computed == pytest.approx(0.2675)
    row = verdict("venn-prf-visual-IC", partition=partition(0.26, 0.4))
    assert row.computed == pytest.approx(0.7 * (1 - 0.2675))
    without = partition(0.26, 0.4)
    without = without[without.b != "IU2"]
    assert verdict("venn-prf-visual-IC", partition=without).verdict == NOT_TESTED


def test_concepts_are_compared_with_random_groups():
    rows = pd.DataFrame([
        {"subject": s, "model": m, "concept": "count", "roi": "nsdgeneral", "mean": 0.4 + 0.001 * s}
        for s in SUBJECTS for m in MLLMS
    ]).assign(chance=0.3)  # fmt: skip
    assert verdict("count-concepts-captured", concepts=rows).verdict == REPRODUCED
    below = rows.assign(chance=0.45)
    assert verdict("count-concepts-captured", concepts=below).verdict == NOT_REPRODUCED
    assert verdict("recognition-concepts-captured", concepts=rows).verdict == NOT_TESTED


def layers(*peaks, n_layers=21, seed=None):
    """Profiles of three models; with a seed the layers of every subject are in random order."""
    depth, rng = np.linspace(0, 1, n_layers), np.random.default_rng(seed)
    rows = []
    for model, peak in zip(MLLMS, peaks, strict=True):
        for s in SUBJECTS:
            value = 0.4 - (depth - peak) ** 2
            value = value if seed is None else rng.permutation(value)
            rows.append(pd.DataFrame({"subject": s, "model": model, "depth": depth, "value": value}))
    return pd.concat(rows).assign(roi="higher")


def test_peak_depth_needs_profiles_that_subjects_share():
    claim = "layers-middle-and-late-ncsnr"
    assert verdict(claim, layers=layers(0.5, 0.9, 0.6)).verdict == REPRODUCED
    assert verdict(claim, layers=layers(0.4, 0.5, 0.5)).verdict == NOT_REPRODUCED
    assert verdict(claim, layers=layers(0.1, 0.1, 0.1)).verdict == NOT_REPRODUCED
    assert verdict(claim, layers=layers(0.5, 0.75, 0.6)).verdict == UNDECIDED
    random = [verdict(claim, layers=layers(0.5, 0.9, 0.6, seed=seed)).verdict for seed in range(20)]
    assert REPRODUCED not in random


def test_specifications_count_analyses_whichever_side_the_vision_model_is_on():
    table = pd.DataFrame({"estimate": [0.1, -0.2, 0.0], "se": 0.001, "n_subjects": 4}).assign(
        left="vit-h", right="idefics", roi="prf-visual"
    )
    claim = "vision-against-mllm-early-tension"
    row = verdict(claim, specifications=table)
    assert row.verdict == REPRODUCED and "above in 1, below in 1, undecided in 1" in row.note
    assert (row.low, row.high) == (-0.2, 0.1)
    row = verdict(claim, specifications=table[:1])
    assert row.verdict == NOT_REPRODUCED and "above in 1, below in 0" in row.note
    turned = table[:1].assign(left="idefics", right="vit-h")
    row = verdict(claim, specifications=turned)
    assert "above in 0, below in 1" in row.note and row.computed == -0.1
    many = pd.concat([table.assign(se=0.03)] * 14)  # each interval alone excludes 0; not for so many analyses
    assert verdict(claim, specifications=many).verdict == UNDECIDED
    for other in (table.assign(left="clip-text"), table.assign(roi="places")):
        assert verdict(claim, specifications=other).verdict == NOT_TESTED


def test_claims_that_the_real_settings_cannot_test_are_listed(tmp_path):
    settings = load_settings(Path(__file__).parents[2] / "workflow/config/nsd.yml", nsd_root=tmp_path)
    lacking = {c.id: why for c in CLAIMS if (why := why_untestable(c, settings))}
    assert set(lacking) == set(load_untestable()), lacking
    assert all(len(reason) > 20 for reason in load_untestable().values())


RATES = pd.read_csv(DATA / "verdict_rates.csv")


def test_rules_are_rarely_wrong():
    """Of 500 simulated studies of each kind at most 40 get the wrong verdict, and clear ones are decided."""
    assert set(RATES.rule) == set(RULES) - {"part_value"} and (RATES.n_studies == 500).all()
    assert (RATES[["false_reproduced", "true_rejected"]] <= 40).all(axis=None)
    easier = RATES[RATES.case == "easier"]
    assert (easier.n_subjects == 8).all() and (easier.spread == 0.02).all() and (easier.decided >= 400).all()


@pytest.mark.slow
def test_rates_on_the_page_are_those_of_the_simulation(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from verdict_rates import rates

    rules = list(dict.fromkeys(RATES.rule))
    pd.testing.assert_frame_equal(rates(rules), RATES, check_dtype=False)


def test_phantom_numbers_cannot_be_read_as_a_reproduction():
    """Whatever the tables say, the ledger of simulated data holds no computed value and no verdict."""
    tables = {
        "alignment": alignment(dict.fromkeys(MLLMS, 0.64) | {"vit-h": 0.5}),
        "partition": partition(0.33, 0.42),
    }
    recovery = pd.DataFrame(
        {"check": ["noise-ceiling", "roi-tuning", "roi-tuning"], "passed": [True, True, False]}
    )
    ledger = claims.evaluate(CLAIMS, tables, "phantom", recovery)
    assert len(ledger) == len(CLAIMS)
    assert (ledger.verdict == NOT_TESTED).all()
    assert ledger[["computed", "low", "high"]].isna().all(axis=None)
    row = ledger.set_index("id").loc[EARLY]
    assert row.recovery == "noise-ceiling: recovered; roi-tuning: NOT recovered" and row.recovered is False
    assert row.reported == 0.143
    assert ledger.set_index("id").loc["most-variance-shared", "recovered"] is None
    real = claims.evaluate(CLAIMS, tables, "nsd")
    assert (real.verdict != NOT_TESTED).any()
    counts = claims.summary(real)
    assert counts.index.tolist() == list(claims.VERDICTS) and counts.sum() == len(CLAIMS)


def test_mixed_analyses_are_refused():
    table = alignment(dict.fromkeys(MLLMS, 0.64) | {"vit-h": 0.5})
    mixed = pd.concat([table.assign(layer_choice="best"), table.assign(layer_choice="last")])
    with pytest.raises(ClaimError, match="mixes layer_choice best, last"):
        verdict(EARLY, alignment=mixed)
    mixed = pd.concat([table.assign(component="vision"), table.assign(component="language")])
    with pytest.raises(ClaimError, match="several components"):
        verdict(EARLY, alignment=mixed)


def test_bad_claims_and_data():
    entry = {"id": "x", "text": "t", "source": "s", "kind": "k", "why": "w", "figure": "f"}
    with pytest.raises(ClaimError, match=r"'x' has unknown fields \['tolerence'\]"):
        parse_claim(entry | {"tolerence": 1})
    with pytest.raises(ClaimError, match="'x' lacks why"):
        parse_claim({k: v for k, v in entry.items() if k != "why"})
    with pytest.raises(ClaimError, match="kind 'k'; known: value"):
        claims.evaluate([Claim(**entry)], {}, "nsd")
    with pytest.raises(ClaimError, match="data is 'demo'"):
        claims.evaluate(CLAIMS, {}, "demo")
