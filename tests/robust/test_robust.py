"""Whole small studies, killed, started twice, and run in strange places: ``make test-robust``."""

import json
import os
import random
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures import studies
from fixtures.unprivileged import obeys_modes

from brainalign_utils import artifacts

pytestmark = pytest.mark.robust

LAST = "11_show_partitions"  # needs a job of every kind
STAGES = (
    "00_make_phantom", "01_load_responses", "02_extract_features", "03_fit_encoding", "04_partition_variance",
    LAST,
)  # fmt: skip
KILLS = (
    ("kernel", 0),
    ("snakemake", 1),
    ("job", 2),
    ("snakemake", 2),
    ("kernel", 3),
    ("job", 4),
    ("snakemake", 5),
)
"""What is killed, and the earliest stage: a job that outlives its workflow brings the next stage near."""
TOLERANCE = 1e-4
"""Between one and two threads of linear algebra, which add up in another order; of the largest value."""


@pytest.fixture(scope="module")
def figures(request):
    """What was measured, for the book; written where ``--record`` says."""
    found = {}
    yield found
    if path := request.config.getoption("--record"):
        facts = {"machine": artifacts.hardware(), "date": datetime.now(UTC).date().isoformat()}
        Path(path).write_text(json.dumps(found | facts, indent=1) + "\n")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, figures):
    """A study that nobody disturbed, but for a second run, which was refused."""
    folder = tmp_path_factory.mktemp("reference")
    settings = studies.write_settings(folder)
    began = time.monotonic()
    first = studies.start(settings, LAST)
    while not (folder / "out/tiny/notebooks").exists():
        assert first.poll() is None, (folder / "log").read_text()[-3000:]
        time.sleep(0.1)
    second = subprocess.run(
        studies.command(settings, LAST), cwd=studies.ROOT, capture_output=True, text=True, timeout=600
    )
    assert second.returncode and "another run is at work in" in second.stdout + second.stderr
    assert "wait for it to end" in second.stdout + second.stderr
    assert first.wait(timeout=3000) == 0, (folder / "log").read_text()[-3000:]
    figures["seconds_undisturbed"] = time.monotonic() - began
    return folder / "out/tiny", studies.artifacts(folder / "out/tiny")


def test_killed_anywhere_it_ends_the_same(reference, figures, tmp_path):
    rng = random.Random(20505)
    settings = studies.write_settings(tmp_path)
    began = time.monotonic()
    hit = [studies.kill(settings, LAST, kind, STAGES[k:], delay=rng.uniform(0, 2)) for kind, k in KILLS]
    assert sum(hit) >= 5, f"the workflow ended before it was killed: {hit}"
    studies.run(settings, LAST)
    figures["seconds_killed"] = time.monotonic() - began
    assert "the kernel was killed" in (tmp_path / "log").read_text()
    found = studies.artifacts(tmp_path / "out/tiny")
    differences = studies.differences(reference[1], found)
    figures |= {"kills": sum(hit), "artifacts": len(found), "differences_after_kills": len(differences)}
    assert not differences
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ipynb")}
    studies.run(settings, LAST)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ipynb")}


def one_core() -> None:
    """Leave the process one processor."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def test_one_core_gives_the_same_bits(reference, figures, tmp_path):
    settings = studies.write_settings(tmp_path)
    studies.run(settings, LAST, cores=1, preexec_fn=one_core)
    differences = studies.differences(reference[1], studies.artifacts(tmp_path / "out/tiny"))
    figures["differences_one_core"] = len(differences)
    assert not differences


def test_subjects_in_jobs_of_their_own_give_the_same_bits(reference, tmp_path):
    settings = studies.write_settings(tmp_path, cluster={"subjects_per_job": 1})
    studies.run(settings, LAST)
    together, alone = reference[1], studies.artifacts(tmp_path / "out/tiny")
    assert "notebooks/03_fit_encoding/subj01-subj02_vit-h.ipynb" in together
    assert "notebooks/03_fit_encoding/subj02_vit-h.ipynb" in alone
    stored = [
        {k: v for k, v in found.items() if not k.startswith("notebooks/")} for found in (together, alone)
    ]
    assert len(stored[0]) >= 20 and not studies.differences(*stored)


def test_two_threads_give_nearly_the_same_numbers(reference, figures, tmp_path):
    settings = studies.write_settings(tmp_path, **studies.processors(2))
    studies.run(settings, LAST, cores=2)
    found = studies.artifacts(tmp_path / "out/tiny")
    worst = studies.worst_distance(reference[1], found)
    figures["largest_difference_two_threads"], figures["tolerance_two_threads"] = worst, TOLERANCE
    assert worst <= TOLERANCE


def listing(folder: Path) -> dict[str, tuple]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_strange_folder_read_only_data(reference, figures, tmp_path):
    """A checkout and data in folders with spaces, accents and shell code in their names."""
    home = tmp_path / "études de cerveau; l'été $(touch pwned) #2: a"
    checkout, data = home / "le dépôt", home / "données d'entrée"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=studies.ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, tracked):
        if (studies.ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(studies.ROOT / name, checkout / name)
    shutil.copytree(reference[0] / "dataset", data)
    for path in data.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    data.chmod(0o555)
    before, sources = listing(data), listing(checkout)
    changes = {"data": "nsd", "nsd_root": str(data / "nsd"), "coco_root": str(data / "coco")}
    changes |= studies.processors(1)  # real data are planned with more, whose sums have another order
    settings = studies.write_settings(home, build_root="sortie", **changes)
    relative = Path("..") / settings.name  # Snakemake would take the rest of the name for a YAML comment
    command = obeys_modes(studies.command(relative, LAST, cores=2))
    environment = os.environ | {"HOME": str(home)}
    with (home / "log").open("w") as log:
        code = subprocess.run(command, cwd=checkout, env=environment, stdout=log, stderr=log).returncode
    assert code == 0, (home / "log").read_text()[-3000:]
    assert listing(data) == before
    assert not list(tmp_path.rglob("pwned")) and not Path("pwned").exists()
    written = {name for name in listing(checkout) if "__pycache__" not in name} - set(sources)
    assert written and {name.split("/")[0] for name in written} == {"sortie", ".snakemake"}
    found = studies.artifacts(checkout / "sortie/tiny")
    same = ("responses", "features", "scores", "predictions", "nulls", "samples", "partition")
    arrays = [name for name in found if name.split("/")[0] in same and name.endswith(".zarr")]
    assert len(arrays) >= 10
    for name in arrays:
        assert not studies.worst_distance({name: found[name]}, {name: reference[1][name]}), name
    figures["arrays_same_from_read_only_data"] = len(arrays)
    for path in (data, *data.rglob("*")):
        path.chmod(0o755)
