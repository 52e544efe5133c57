"""Whole small studies, killed, run twice, and run in strange places: ``make test-robust``."""

import os
import random
import shutil
import stat
import subprocess
import sys
import time

import pytest
import studies

pytestmark = pytest.mark.robust

LAST = "10_show_partitions"  # needs every kind of job
KILLS = (
    ("kernel", "00_make_phantom"),
    ("snakemake", "01_load_responses"),
    ("job", "02_extract_features"),
    ("snakemake", "02_extract_features"),
    ("kernel", "03_fit_encoding"),
    ("job", "05_partition_variance"),
    ("snakemake", LAST),
)
TOLERANCE = 1e-4
"""Between one and two threads of linear algebra, which add up in another order."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A study that nobody disturbed, but for a second run that was refused."""
    folder = tmp_path_factory.mktemp("reference")
    settings = studies.write_settings(folder)
    first = studies.start(settings, "study")
    while not (folder / "out/tiny/notebooks").exists():
        assert first.poll() is None
        time.sleep(0.1)
    second = subprocess.run(
        studies.command(settings, "study"), cwd=studies.ROOT, capture_output=True, text=True, timeout=300
    )
    assert second.returncode and "another run is at work in" in second.stdout + second.stderr
    assert "wait for it to end" in second.stdout + second.stderr
    assert first.wait(timeout=3000) == 0, (folder / "log").read_text()[-3000:]
    return studies.artifacts(folder / "out/tiny")


def test_killed_anywhere_it_ends_the_same(reference, tmp_path):
    rng = random.Random(20505)
    settings = studies.write_settings(tmp_path)
    hit = [studies.kill(settings, LAST, *victim, delay=rng.uniform(0, 4)) for victim in KILLS]
    assert sum(hit) >= 5, f"the workflow ended before it was killed: {hit}"
    studies.run(settings, "study")
    log = (tmp_path / "log").read_text()
    assert "its kernel was killed" in log
    assert not studies.differences(reference, studies.artifacts(tmp_path / "out/tiny"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ipynb")}
    studies.run(settings, "study")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ipynb")}


def test_number_of_cores_and_threads_does_not_matter(reference, tmp_path):
    """One job after the other instead of two side by side: the same bits.  Two threads a job: nearly."""
    ...
