"""Small studies as real processes, and what they leave on disk, without times and machine facts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import xarray as xr
import yaml

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).with_name("tiny.yml")
DIFFERS = ("written", "hardware", "host", "git_revision", "seconds", "wall_time_s", "cpu_time_s")
FACTS = (*DIFFERS, "peak_memory_bytes", "peak_bytes", "settings_file", "provenance", "sha256", "settings")


def write_settings(folder: Path, **changes) -> Path:
    """The tiny study with its output in ``folder``."""
    path = folder / "settings.yml"
    values = yaml.safe_load(TINY.read_text()) | {"build_root": str(folder / "out")} | changes
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    return path


def command(settings: Path, target: str, cores: int = 2) -> list[str]:
    """What ``make`` runs."""
    local = ["--workflow-profile", "workflow/profiles/local", "--cores", str(cores)]
    words = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        "workflow/Snakefile",
        *local,
        "--quiet",
        "rules",
    ]
    words += ["--config", f"settings={settings}"]
    if target[0].isdigit():  # a notebook
        return [*words, f"figure={target}", "--", "figure"]
    return [*words, "--", target]


def start(settings: Path, target: str, cores: int = 2, threads: int = 1, cwd: Path = ROOT, **options):
    """Start a workflow; its output goes to ``log`` beside the settings."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    with (settings.parent / "log").open("a") as log:
        return subprocess.Popen(
            command(settings, target, cores), cwd=cwd, env=environment, stdout=log, stderr=log, **options
        )


def run(settings: Path, target: str, **options) -> None:
    """Run a workflow to its end, which must be a good one."""
    code = start(settings, target, **options).wait(timeout=3000)
    assert code == 0, (settings.parent / "log").read_text()[-3000:]


def victim(workflow: psutil.Process, kind: str, notebook: str) -> psutil.Process | None:
    """The running snakemake, job or kernel of a notebook, if there is one."""
    if kind == "snakemake":
        return workflow if victim(workflow, "job", notebook) else None
    for process in workflow.children(recursive=True):
        try:
            line = " ".join(process.cmdline())
            if "brainalign_utils.execute" not in line or notebook not in line or "bash -c" in line:
                continue
            if kind == "job":
                return process
            kernels = [k for k in process.children() if "ipykernel_launcher" in " ".join(k.cmdline())]
            if kernels:
                return kernels[0]
        except psutil.NoSuchProcess:
            continue
    return None


def kill(settings: Path, target: str, kind: str, notebook: str, delay: float) -> bool:
    """Start a workflow and kill one of its processes; False when the workflow ended before that.

    Parameters
    ----------
    kind : {"snakemake", "job", "kernel"}
    notebook : str
        The process must work on this notebook.
    delay : float
        Seconds after its first sight.
    """
    process = start(settings, target)
    workflow = psutil.Process(process.pid)
    while process.poll() is None and victim(workflow, kind, notebook) is None:
        time.sleep(0.02)
    time.sleep(delay)
    found = process.poll() is None and victim(workflow, kind, notebook)
    if not found:
        return process.wait() != 0
    found.send_signal(signal.SIGKILL)
    code = process.wait(timeout=300)
    assert code != 0, f"{kind} of {notebook} was killed and the workflow ended with 0"
    return True


def artifacts(root: Path) -> dict[str, object]:
    """Everything that a study left, by relative name: arrays, tables, notes, pictures, notebooks."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        inside = any(part.endswith(".zarr") for part in path.relative_to(root).parts[:-1])
        if name.startswith("settings/") or path.name.endswith(".lock") or inside:
            continue
        assert ".partial" not in name and not name.endswith(".tmp"), f"left behind: {name}"
        if path.suffix == ".zarr":
            found[name] = xr.open_zarr(path, consolidated=False, chunks=None).load()
        elif path.suffix == ".ipynb":
            found[name] = notebook_content(nbformat.read(path, as_version=4))
        elif path.suffix == ".json" and "dataset" not in path.parts:
            found[name] = without_facts(json.loads(path.read_text()))
        elif path.suffix == ".csv" and "dataset" not in path.parts:
            found[name] = pd.read_csv(path)
        elif path.suffix == ".parquet":
            found[name] = pd.read_parquet(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def without_facts(values):
    """A note without times and machine facts."""
    if isinstance(values, dict):
        return {k: without_facts(v) for k, v in values.items() if k not in FACTS}
    return [without_facts(v) for v in values] if isinstance(values, list) else values


def notebook_content(notebook) -> list:
    """Sources and outputs of the cells, progress bars and the paths of the study left out."""
    cells = []
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            continue
        outputs = [without_facts(dict(out)) for out in cell.get("outputs", []) if out.get("name") != "stderr"]
        cells.append((cell.cell_type, cell.source, cell.get("execution_count"), outputs))
    return cells


def differences(ours: dict, theirs: dict) -> list[str]:
    """Names of artifacts that are there once only or do not hold the same bits."""
    alone = [f"{name}: only in one" for name in sorted(ours.keys() ^ theirs.keys())]
    both = sorted(ours.keys() & theirs.keys())
    return alone + [f"{name}: {why}" for name in both if (why := _difference(ours[name], theirs[name]))]


def worst_distance(ours: dict, theirs: dict) -> float:
    """Largest difference of numbers in arrays and tables, relative to the largest value of their array."""
    assert ours.keys() == theirs.keys()
    pairs = [(_arrays(ours[name]), _arrays(theirs[name])) for name in ours]
    return max(_distance(a[name].values, b[name].values) for a, b in pairs for name in a.variables)


def _arrays(artifact) -> xr.Dataset:
    """Arrays of a dataset or table; none of a picture or notebook, whose text may round otherwise."""
    if isinstance(artifact, pd.DataFrame):
        return xr.Dataset({name: ("row", column.to_numpy()) for name, column in artifact.items()})
    return artifact if isinstance(artifact, xr.Dataset) else xr.Dataset()


def _difference(a, b) -> str:
    if not isinstance(a, (pd.DataFrame, xr.Dataset)):
        return "" if a == b else "content"
    if without_facts(a.attrs) != without_facts(b.attrs):
        return f"attributes {a.attrs} and {b.attrs}"
    a, b = _arrays(a), _arrays(b)
    if set(a.variables) != set(b.variables):
        return f"variables {sorted(set(a.variables) ^ set(b.variables))}"
    worst = {name: _distance(a[name].values, b[name].values) for name in a.variables}
    return ", ".join(f"{name} by {distance:.2g}" for name, distance in worst.items() if distance)


def _distance(a, b) -> float:
    """Largest difference relative to the largest value; 0 for the same bits, infinite for other shapes."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.dtype.kind != "f":
        return 0.0 if pd.Series(a.ravel()).equals(pd.Series(b.ravel())) else np.inf
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    a, b = a.astype(float), b.astype(float)
    infinite = np.isinf(a)
    if not np.array_equal(a[infinite], b[infinite]):
        return np.inf
    finite = np.isfinite(a)
    largest = np.abs(a[finite]).max(initial=0)
    return float(np.abs(a[finite] - b[finite]).max(initial=0) / (largest or 1))
