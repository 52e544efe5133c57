"""The plan counts what the workflow runs, and foretells what finished studies took."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from brainalign_utils import cli, plan
from brainalign_utils.features.store import N_KEPT
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.plan import calibrate, counts, gpu, runs, tables
from brainalign_utils.settings import load_settings, project_root
from voxelridge import banded

ROOT = project_root()
NSD, SMALL = ROOT / "workflow/config/nsd.yml", ROOT / "workflow/config/phantom-small.yml"


@pytest.fixture(scope="module")
def nsd():
    return load_settings(NSD, nsd_root=Path("nsd"))


def test_every_notebook_is_planned():
    planned = {run.notebook for run in plan.planned_runs(load_settings())}
    assert planned == {path.stem for path in (ROOT / "notebooks").glob("*.py")} | {"book"}


@pytest.mark.parametrize("base", [SMALL, NSD], ids=["phantom", "nsd"])
def test_as_many_jobs_as_the_workflow_runs(base, tmp_path):
    root = tmp_path / "nsd"
    design = root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design.parent.mkdir(parents=True)
    design.touch()
    changes = {"build_root": str(tmp_path / "out")} | ({"nsd_root": str(root)} if base == NSD else {})
    file = tmp_path / "settings.yml"
    file.write_text(yaml.safe_dump(yaml.safe_load(base.read_text()) | changes))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        "workflow/Snakefile",
        "--dry-run",
        "--quiet",
        "rules",
    ]
    command += ["--cores", "8", "--config", f"settings={file}", "kernels=2", "--", "book"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    stats = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    table = plan.rule_table(load_settings(file))
    assert int(stats.pop("total")) == table.jobs["total"]
    for rule in table.index[:-1]:
        assert sum(int(n) for name, n in stats.items() if name.startswith(rule)) == table.jobs[rule], rule


def test_plan_holds_within_30_percent_of_recorded_studies():
    records = pd.read_csv(ROOT / "benchmarks/results/plan_records.csv")
    checked = load_settings(SMALL).name
    records = records[records.settings != "workflow/config/phantom-small.yml"]  # was of other subjects then
    assert not plan.read_units().source.fillna("").str.contains(checked).any()  # it gave no unit cost
    for file, recorded in records.groupby("settings"):
        settings = load_settings(ROOT / file)
        table = plan.against(recorded, plan.planned_runs(settings))
        assert set(table.rule) == set(plan.rule_table(settings).index) - {"book", "total"}
        far = table[~plan.agrees(table, settings)]
        assert far.empty, f"{file}:\n{far}"


def test_every_measured_unit_cost_says_where_and_when():
    units = plan.read_units()
    assert set(units.basis) <= set(counts.BASES) and np.isfinite(units.cost).all() and (units.cost >= 0).all()
    measured = units[units.basis != "assumed"]
    assert measured[["machine", "date", "source"]].notna().all(axis=None)
    assert not units.duplicated(["size", "notebook", "quantity", "unit"]).any()


def write_record(path, seconds, memory):
    record = {"cpu_time_s": seconds, "wall_time_s": seconds, "peak_memory_bytes": memory, "hardware": "m"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(metadata={"brainalign": record}), path)


@pytest.fixture
def finished(tmp_path):
    """Three studies whose runs took exactly what known unit costs say, and those costs."""
    rng = np.random.default_rng(4)
    costs, studies = {}, []
    sizes = {"a": {"n_sessions": 1, "n_voxels": 300, "n_shared": 60}, "b": {"n_sessions": 3, "n_voxels": 900}}
    sizes["c"] = {"n_sessions": 2, "n_voxels": 500}
    asked = {"a": ("IC", "IU1", "CR"), "b": ("IC", "IU1", "CR", "VQ1", "SR"), "c": ("IC", "IU1")}
    chosen = {"models": ("vit-h", "clip-text", "instructblip", "mplug-owl"), "subjects": (1, 2, 5)}
    for name, size in sizes.items():
        settings = load_settings(
            build_root=tmp_path, name=name, phantom=size, instructions=asked[name], **chosen
        )
        for task, wildcards in tables.planned_tasks(settings):
            if task.notebook in ("book", counts.CHOICES, *runs.RESULTS, "00_make_phantom"):
                continue
            units = runs.amounts(task)
            for unit in units:
                costs.setdefault((task.notebook, unit), rng.uniform(1, 3) / units[unit] if units[unit] else 1)
            seconds = sum(costs[task.notebook, unit] * n for unit, n in units.items())
            write_record(
                settings.paths.executed(task.notebook, *wildcards), seconds, runs.memory_bytes(task) + 5e8
            )
        for folder in ("responses", "features", "scores", "partition"):
            (settings.paths.root / folder).mkdir()
            (settings.paths.root / folder / "x").write_bytes(b"0")
        studies.append(settings)
    return studies, costs


def test_calibration_recovers_planted_costs(finished):
    studies, costs = finished
    rows = []
    for notebook in {notebook for notebook, _ in costs}:
        measured = pd.concat([calibrate._runs(settings, 2) for settings in studies])
        mine = measured[measured.notebook == notebook]
        found = calibrate.fit_units(mine.counted, mine.cpu_seconds)
        rows += [(found[unit], costs[notebook, unit]) for unit in found]
    assert len(rows) > 12
    found, planted = np.array(rows).T
    np.testing.assert_allclose(found, planted, rtol=1e-6)


def test_calibration_finds_planted_memory(finished):
    measured = pd.concat([calibrate._runs(settings, 2) for settings in finished[0]])
    for notebook in calibrate.RESIDENT:
        found = calibrate.memory_units(notebook, measured[measured.notebook == notebook])
        np.testing.assert_allclose([found["run"], found["array"]], [5e8, 1], rtol=1e-6)


def test_remainders_below_zero_do_not_rule_a_calibration():
    counted = [{"run": 1.0, "row": n} for n in (10, 100, 60)]
    found = calibrate.fit_units(counted, [-0.5, 30, 18], weigh_by=[6, 36, 24])
    assert 0.2 < found["row"] < 0.35
    assert set(calibrate.fit_units(counted, [0, 0, 0]).values()) == {0.0}


def test_memory_of_partitions_follows_the_solver():
    assert runs.SHARED_BYTES == banded.SHARED_BYTES


def test_small_features_stay_in_memory_and_large_ones_do_not(nsd):
    def first(settings, notebook):
        return next(task for task, _ in tables.planned_tasks(settings) if task.notebook == notebook)

    assert runs._kept_features(first(nsd, "04_partition_variance")) == 0
    task = first(load_settings(SMALL), "03_fit_encoding")
    language = 4 * task.counts.n_images * task.counts.components["instructblip"][-1].n_spaces * 96
    assert 2 * language < runs._kept_features(task) <= N_KEPT * language


def test_a_study_that_did_not_run_is_named(tmp_path):
    settings = load_settings(build_root=tmp_path, name="idle")
    with pytest.raises(ValueError, match=r"runs of the plan have no record.*run `make study`"):
        plan.compare(settings)
    with pytest.raises(ValueError, match=r"no record of study 'idle' in .*run `make study` first"):
        calibrate.calibrate([settings])


def test_cost_grows_with_what_it_depends_on(nsd):
    def total(**changes):
        return plan.rule_table(load_settings(NSD, nsd_root=Path("nsd"), **changes)).loc["total"]

    whole = total()
    one = total(subjects=[1])
    assert one.cpu_hours < whole.cpu_hours / 3 and one.disk_gb < whole.disk_gb
    few = total(instructions=["IU1", "IC"])
    assert few.gpu_hours < whole.gpu_hours / 2 and few.disk_gb < whole.disk_gb / 2
    assert total(n_sessions=10).gpu_hours < whole.gpu_hours
    grown = plan.growth(nsd)
    assert set(grown.axis) == {"instructions", "subjects", "layers"}
    for _, steps in grown.groupby("axis"):
        assert steps.cpu_hours.is_monotonic_increasing and steps.disk_gb.is_monotonic_increasing
    models = plan.model_table(nsd)
    rules = plan.rule_table(nsd).gpu_hours
    of_models = rules[["extract_features", "fit_encoding", "partition_variance"]].sum()
    assert models.gpu_hours.sum() == pytest.approx(of_models)


def test_rates_of_a_gpu_are_used_where_they_were_measured():
    costs = plan.load_costs()
    settings, checkpoint = load_settings(), MODEL_BY_ID["idefics"].checkpoint
    plain = costs | {"units": {}, "basis": {}}
    seconds, basis = gpu.extraction_seconds("idefics", 10, 100, settings, plain)
    assert basis == "assumed" and seconds > costs["gpu"]["seconds to load"]
    rates = {"picture": 1.0, "prompt": 0.1, "token": 0.01}
    known = plain | {"units": {("full", "gpu_seconds", checkpoint): rates}}
    known["basis"] = {("gpu_seconds", checkpoint, "token"): "measured"}
    seconds, basis = gpu.extraction_seconds("idefics", 10, 100, settings, known)
    expected = 10 + 100 * (0.1 + 0.01 * settings.features.max_new_tokens) + costs["gpu"]["seconds to load"]
    assert basis == "measured" and seconds == pytest.approx(expected)
    assert gpu.extraction_seconds("blip2", 1, 1, settings, known)[1] == "assumed"
    assert gpu.assumed_rates("clip-text", costs)["token"] == 0


def test_fits_go_to_a_gpu_unless_the_settings_say_cpu(nsd):
    plans = {
        device: plan.rule_table(load_settings(NSD, nsd_root=Path("nsd"), encoding={"device": device}))
        for device in ("auto", "cpu")
    }
    for rule in ("fit_encoding", "partition_variance"):
        assert plans["auto"].gpu_hours[rule] > 0 == plans["cpu"].gpu_hours[rule]
        assert plans["auto"].cpu_hours[rule] < plans["cpu"].cpu_hours[rule]
    assert plan.requests(nsd)["fit_encoding", "idefics"].gpus == 1
    assert plans["cpu"].gpu_hours["extract_features"] == plans["auto"].gpu_hours["extract_features"] > 0


def test_command_prints_the_plan_of_data_that_are_not_there(capsys):
    assert cli.main(["plan", "--settings", str(NSD)]) == 0
    printed = capsys.readouterr().out
    assert "study nsd: 4 subjects, 11 models, 10 instructions" in printed
    assert all(rule in printed for rule in ("load_responses", "extract_features", "vary_choices", "total"))
    assert "GPU hours" in printed and "peak memory, GB" in printed and "Unit costs" in printed
    assert cli.main(["plan", "--settings", str(NSD), "--costs"]) == 0
    assert "gigaoperation" in capsys.readouterr().out
