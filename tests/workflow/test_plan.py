"""The plan counts what the workflow runs, and gives a cost to what nobody planned for."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from brainalign_utils import cli
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.running import plan
from brainalign_utils.settings import load_settings, project_root

ROOT = project_root()
NSD, SMALL = ROOT / "workflow/config/nsd.yml", ROOT / "workflow/config/phantom-small.yml"


def nsd(**changes):
    return load_settings(NSD, nsd_root=Path("nsd"), **changes)


@pytest.mark.parametrize("base", [SMALL, NSD], ids=["phantom", "nsd"])
def test_as_many_jobs_as_the_workflow_runs(base, tmp_path):
    root = tmp_path / "nsd"
    design = root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design.parent.mkdir(parents=True)
    design.touch()
    changes = {"build_root": str(tmp_path / "out")} | ({"nsd_root": str(root)} if base == NSD else {})
    file = tmp_path / "settings.yml"
    file.write_text(yaml.safe_dump(yaml.safe_load(base.read_text()) | changes))
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--dry-run"]
    command += ["--quiet", "rules", "--cores", "8", "--config", f"settings={file}", "--", "book"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    stats = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert {rule: int(n) for rule, n in stats.items()} == plan.rule_table(load_settings(file)).jobs.to_dict()


def test_a_checkpoint_that_nobody_planned_for_gets_a_cost(monkeypatch):
    row = replace(
        MODEL_BY_ID["llava"], id="new", checkpoint="someone/new-7b", n_parameters=7e9,
        components=(("vision", 27), ("adapter", 2), ("language", 28)),
    )  # fmt: skip
    monkeypatch.setitem(MODEL_BY_ID, "new", row)
    settings = nsd(models=["new", "llava"], partition={"models": ["new", "llava"]})
    costs = plan.model_table(settings)
    for column in ("gpu_hours", "cpu_hours", "disk_gb", "peak_memory_gb"):
        assert 0.5 < costs[column]["new"] / costs[column]["llava"] < 2, column
    monkeypatch.setitem(MODEL_BY_ID, "new", replace(row, n_parameters=0))  # not known
    assert np.isfinite(plan.model_table(settings).to_numpy()).all()


def test_a_notebook_that_nobody_planned_for_gets_a_cost(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    text = (tmp_path / "notebooks/13_compare_ablations.py").read_text()
    (tmp_path / "notebooks/17_my_figure.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    (mine,) = [run for run in plan.planned_runs(nsd()) if run.notebook == "17_my_figure"]
    assert mine.kind == "result" and mine.cpu_seconds > 0 and mine.memory > 1e8
    assert plan.requests(nsd())["result", None].minutes >= 10


def test_widths_of_published_checkpoints_are_close_to_what_the_plan_takes():
    """From their configuration files: features of one layer of the component that answers."""
    known = {
        "instructblip": 4096,
        "instructblip-13b": 5120,
        "idefics": 4096,
        "mplug-owl": 4096,
        "llava": 4096,
    }
    sizes = plan.Sizes(nsd())
    for model, width in known.items():
        assert sizes.components(model)[-1][1] == pytest.approx(width, rel=0.15), model


def test_cost_grows_with_what_it_depends_on():
    def total(**changes):
        return plan.rule_table(nsd(**changes)).loc["total"]

    whole = total()
    one = total(subjects=[1])
    assert one.cpu_hours < whole.cpu_hours / 3 and one.disk_gb < whole.disk_gb
    few = total(instructions=["IU1", "IC"])
    assert few.gpu_hours < whole.gpu_hours / 2 and few.disk_gb < whole.disk_gb / 2
    assert total(n_sessions=10).gpu_hours < whole.gpu_hours
    assert total(space="func1mm").peak_memory_gb > 1.5 * whole.peak_memory_gb
    models, rules = plan.model_table(nsd()), plan.rule_table(nsd()).gpu_hours
    of_models = rules[["extract_features", "fit_encoding", "partition_variance"]].sum()
    assert models.gpu_hours.sum() == pytest.approx(of_models)


def test_jobs_of_several_subjects_take_as_long_as_all_of_them():
    alone, together = (nsd(cluster={"subjects_per_job": n}) for n in (1, 4))
    tables = [plan.rule_table(settings) for settings in (alone, together)]
    assert tables[0].jobs["fit_encoding"] == 4 * tables[1].jobs["fit_encoding"]
    assert 2 < tables[1].longest_hours["fit_encoding"] / tables[0].longest_hours["fit_encoding"] <= 4
    minutes = [plan.requests(settings)["fit_encoding", "idefics"].minutes for settings in (alone, together)]
    assert minutes[1] > 2 * minutes[0]


def test_fits_go_to_a_gpu_unless_the_settings_say_cpu():
    plans = {device: plan.rule_table(nsd(encoding={"device": device})) for device in ("auto", "cpu")}
    for rule in ("fit_encoding", "partition_variance"):
        assert plans["auto"].gpu_hours[rule] > plans["cpu"].gpu_hours[rule]
        assert plans["auto"].cpu_hours[rule] < plans["cpu"].cpu_hours[rule]
    assert plan.requests(nsd())["fit_encoding", "idefics"].gpus == 1
    assert plan.requests(nsd(encoding={"device": "cpu"}))["fit_encoding", "idefics"].gpus == 0
    assert plans["cpu"].gpu_hours["extract_features"] == plans["auto"].gpu_hours["extract_features"] > 0


def test_every_unit_cost_says_where_it_comes_from():
    table = plan.read_unit_costs()
    assert table.source.notna().all() and not table.duplicated(["size", "kind", "unit"]).any()
    for source in table.source[table.source.str.startswith("benchmarks/")]:
        assert (ROOT / source.partition(",")[0]).is_file(), source


def test_command_prints_the_plan_of_data_that_are_not_there(capsys):
    assert cli.main(["plan", "--settings", str(NSD)]) == 0
    printed = capsys.readouterr().out
    assert "study nsd: 4 subjects, 11 models, 10 instructions" in printed
    assert all(rule in printed for rule in ("load_responses", "extract_features", "vary_choices", "total"))
    assert "GPU hours" in printed and "peak memory, GB" in printed and "unit costs" in printed
