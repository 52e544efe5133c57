"""A study through a Slurm cluster of this one machine gives what a local run gives: ``make test-slurm``."""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import cluster
import pytest
from fixtures import studies

from brainalign_utils import artifacts
from brainalign_utils.running import plan
from brainalign_utils.settings import load_settings

pytestmark = pytest.mark.slurm

STUDY = Path(__file__).with_name("study.yml")
N_CORES = 2
STATUS = "--slurm-no-account --slurm-status-command squeue"
STATUS += " --slurm-init-seconds-before-status-checks 2 --seconds-between-status-checks 2"


def make(settings: Path, *words: str, environment=os.environ) -> str:
    """What a user types, without installing again; what it said."""
    tools = ["make", "-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}", f"CORES={N_CORES}"]
    command = [*tools, f"SETTINGS={settings}", *words]
    code, said = studies.run_command(command, timeout=1500, environment=environment)
    assert code == 0, said[-6000:]
    return said


def test_same_artifacts_from_a_cluster(request, tmp_path):
    began = time.monotonic()
    folders = [tmp_path / name for name in ("here", "cluster")]
    for folder in folders:
        folder.mkdir()
    here, there = (studies.write_settings(folder, STUDY) for folder in folders)
    make(here, "study")
    with cluster.one_node() as environment:
        arguments = ("PROFILE=slurm", f"SNAKEMAKE_ARGS={STATUS}")
        said = make(there, "book", "archive", *arguments, environment=environment)
        jobs = cluster.jobs(environment)
    ours, theirs = (studies.artifacts(folder / "out/slurm") for folder in folders)
    differences = studies.differences(ours, theirs)
    if path := request.config.getoption("--record"):
        found = {"artifacts": len(ours), "differences": len(differences), "jobs": len(jobs)}
        found |= {"minutes": (time.monotonic() - began) / 60, "machine": artifacts.hardware()}
        found["date"] = datetime.now(UTC).date().isoformat()
        Path(path).write_text(json.dumps(found, indent=1) + "\n")
    assert len(ours) > 100
    assert differences == []
    assert (folders[1] / "out/slurm/html/index.html").is_file()
    assert list((folders[1] / "out/slurm").glob("*.zip"))
    for job in jobs:
        on_gpu = "rule_extract_features" in job["Comment"]
        assert job["Partition"] == ("gpu" if on_gpu else "cpu")
        assert job.get("TresPerJob") == ("gres:gpu:1" if on_gpu else None)
    tried = [job for job in jobs if "rule_load_responses" in job["Comment"]]
    asked = sorted({int(job["MinMemoryNode"].removesuffix("M")) for job in tried})
    assert asked[:2] == [400, 800] and "Trying to restart job" in said, "no job was given more memory"
    n_planned = plan.rule_table(load_settings(there)).jobs["total"]
    assert sum(job["JobState"] == "COMPLETED" for job in jobs) == n_planned + 1  # the archive
