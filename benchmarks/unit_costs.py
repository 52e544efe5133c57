"""Unit costs of `brainalign plan`, from finished studies and from the results of the other benchmarks.

    python benchmarks/unit_costs.py tests/slurm/study.yml workflow/config/phantom.yml \\
        --check workflow/config/phantom-small.yml

The studies must be finished (`make study SETTINGS=...`); several of different size tell apart what a run
costs and what its size adds.  The book of the first is built once more, to see what that takes.  Nothing is
taken from the study behind ``--check``: it says how well the others foretell one that was not measured.
Costs at full size come from ``results``: ``loading.json``, ``storage.json``, ``encoding_scale.json`` (else
``ridge.csv``), ``ridge_cuda.csv`` and ``extraction_cuda.csv``; what is not there stays an assumption, and the
plan says so.  Writes ``brainalign_utils/data/unit_costs.csv``, and what the studies took to
``results/plan_records.csv``, which the plan is tested against (of settings files of the project, given by
relative paths).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median

import numpy as np
import pandas as pd

from brainalign_utils import provenance
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.plan import compare, is_bound, recorded_costs, study_records
from brainalign_utils.plan.calibrate import calibrate
from brainalign_utils.plan.counts import ridge_operations
from brainalign_utils.plan.gpu import assumed_rates
from brainalign_utils.plan.tables import UNIT_COSTS, load_costs
from brainalign_utils.settings import load_settings
from brainalign_utils.tables import N_TRIALS_PER_SESSION

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("size", "notebook", "quantity", "unit", "cost", "basis", "machine", "date", "source")
N_INSTRUCTIONS = 10
ONE_PROCESS = {"basis": "assumed", "source": "one process feeds the GPU"}
N_TEST_OF_RIDGE = 300
FULL_SIZE_STIMULI = 9000
ONE_FULL_SIZE_ROW = 1000
"""Millions of parameters from which a row of the extraction benchmark is of a published size."""


def row(notebook, quantity, unit, cost, source, size="full", basis="measured", machine="", date=""):
    """One unit cost; ``source`` a name, or the record that tells machine and date."""
    return dict(
        zip(COLUMNS, (size, notebook, quantity, unit, cost, basis, machine, date, source), strict=True)
    )


def studies(files):
    """Rows of the miniature."""
    settings = [load_settings(file) for file in files]
    records = pd.concat([study_records(each) for each in settings])
    facts = dict(
        size="miniature", machine=records.hardware.mode()[0], date=datetime.now(UTC).date().isoformat(),
        source=f"finished studies: {', '.join(each.name for each in settings)}",
    )  # fmt: skip
    rows = [row(r.notebook, r.quantity, r.unit, r.cost, **facts) for r in calibrate(settings).itertuples()]
    books = pd.read_csv(UNIT_COSTS).query("notebook == 'book'")
    write(rows + books.to_dict("records"))  # the book shows the plan, which needs the others
    return rows + [row("book", *taken, **facts) for taken in book(files[0], settings[0])]


def write(miniature):
    """Write the table; costs at full size come from the other benchmarks."""
    table = pd.DataFrame([*miniature, *full_size(), *extraction()], columns=list(COLUMNS))
    table["cost"] = table.cost.map(lambda cost: float(f"{cost:.4g}"))
    table.to_csv(UNIT_COSTS, index=False)
    print(f"{len(table)} unit costs written to {os.path.relpath(UNIT_COSTS)} on {provenance.hardware()}")


def write_records(files):
    """What the studies took, per rule, and how far the plan is from it at most."""
    tables, ratios = [], []
    for file in files:
        settings = load_settings(file)
        records = study_records(settings)
        facts = dict(settings=str(file), machine=records.hardware.mode()[0])
        facts["date"] = datetime.now(UTC).date().isoformat()
        tables.append(recorded_costs(settings, records).assign(**facts))
    pd.concat(tables).to_csv(RESULTS / "plan_records.csv", index=False)
    load_costs.cache_clear()
    for settings in map(load_settings, files):
        table = compare(settings)
        ratios += list(table.ratio[~is_bound(table, settings)])
    found = {"largest_factor": float(np.exp(np.abs(np.log(ratios)).max())), "quantities": len(ratios)}
    (RESULTS / "plan.json").write_text(
        json.dumps(found | {"machine": facts["machine"], "date": facts["date"]}, indent=1)
    )


def book(file, settings):
    """Processor seconds, memory and disk of building the book of a finished study."""
    command = [sys.executable, "-m", "brainalign_utils.publishing.publish", "build", "--settings", str(file)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield "seconds", "run", seconds
    yield "memory", "run", 1024 * after.ru_maxrss
    html = settings.paths.root / "html"
    yield "disk", "run", sum(path.stat().st_size for path in html.rglob("*") if path.is_file())


def stored(name):
    """A JSON file of results and what a row says about it; None when it is not there."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None, {}
    found = json.loads(path.read_text())
    facts = dict(machine=found["machine"], date=found["date"], source=f"benchmarks/results/{path.name}")
    return found, facts


def full_size():
    """Rows from the benchmarks at full size, but for extraction."""
    found, facts = stored("loading")
    if found:
        loaded = found["whole subject"]["ncsnr file"]
        megabetas = 40 * N_TRIALS_PER_SESSION * loaded["sizes"]["voxel"] / 1e6
        yield row("01_load_responses", "seconds", "megabeta", loaded["cpu_seconds"] / megabetas, **facts)
    found, facts = stored("storage")
    if found:
        read = median(found["layer_read_seconds"])
        yield row("03_fit_encoding", "seconds", "fit", read, **facts)
        ratio = found["gigabytes_on_disk"] / found["gigabytes"]
        yield row("02_extract_features", "disk", "array", ratio, **facts)
    cost, facts = ridge_cost()
    yield row("03_fit_encoding", "seconds", "gigaoperation", cost, **facts)
    yield row("04_partition_variance", "seconds", "gigaoperation", cost, **facts | {"basis": "scaled up"})
    yield from ridge_on_gpu()


def ridge_on_gpu():
    """GPU seconds of 1e9 counted operations of the largest fit measured, and processor seconds meanwhile."""
    path = RESULTS / "ridge_cuda.csv"
    fits = ("03_fit_encoding", "04_partition_variance")
    if not path.is_file():
        yield from (row(notebook, "seconds", "gpu second", 1.0, **ONE_PROCESS) for notebook in fits)
        return
    largest, counted, facts = largest_fit(path)
    yield row("ridge", "gpu_seconds", "gigaoperation", largest.seconds / counted * 1e9, **facts)
    for notebook in fits:
        yield row(notebook, "seconds", "gpu second", largest.cpu_seconds / largest.seconds, **facts)


def largest_fit(path):
    """Our largest fit of a table of the ridge benchmark, its counted operations, and who measured it."""
    table = pd.read_csv(path).query("solver == 'ours'")
    largest = table.loc[(table.n_stimuli * table.n_features * table.n_voxels).idxmax()]
    counted = ridge_operations(largest.n_stimuli, largest.n_features, largest.n_voxels, N_TEST_OF_RIDGE)
    facts = dict(machine=largest.machine, date=largest.date[:10], source=f"benchmarks/results/{path.name}")
    return largest, counted, facts


def ridge_cost():
    """Processor seconds of 1e9 counted operations of a fit, of the largest one that was measured."""
    found, facts = stored("encoding_scale")
    if found:
        sizes = (found[name] for name in ("n_train", "n_features", "n_voxels"))
        counted = ridge_operations(*sizes, 1000, found["n_folds"])
        return found["cpu_seconds"] / counted * 1e9, facts | {"basis": "measured"}
    largest, counted, facts = largest_fit(RESULTS / "ridge.csv")
    basis = "measured" if largest.n_stimuli >= FULL_SIZE_STIMULI else "scaled up"
    return largest.cpu_seconds / counted * 1e9, facts | {"basis": basis}


def extraction():
    """Rates of a GPU: measured models as they are, others from operations at the speed of those."""
    path, notebook = RESULTS / "extraction_cuda.csv", "02_extract_features"
    if not path.is_file():
        yield row(notebook, "seconds", "gpu second", 1.0, **ONE_PROCESS)
        return
    table = pd.read_csv(path)
    table = table[(table.parameters_millions > ONE_FULL_SIZE_ROW) & table.model.isin(list(MODEL_BY_ID))]
    table = table.loc[table.groupby("model").images_per_second.idxmax()]  # of the batch sizes tried
    rates = {item.model: measured_rates(item) for item in table.itertuples()}
    source = f"benchmarks/results/{path.name}"
    facts = dict(machine=table.hardware.iloc[0], date=table.date.max(), source=source)
    for model, parts in rates.items():
        for unit, cost in parts.items():
            yield row(MODEL_BY_ID[model].checkpoint, "gpu_seconds", unit, cost, **facts)
    busy = float((table.ours_cpu / table.ours_wall).mean())
    yield row(notebook, "seconds", "gpu second", busy, **facts)
    scaled = facts | {"basis": "scaled up"}
    costs, done = load_costs(), {MODEL_BY_ID[model].checkpoint for model in rates}
    slower = {
        unit: mean(parts[unit] / assumed_rates(model, costs)[unit] for model, parts in rates.items())
        for unit in ("picture", "prompt", "token")
    }
    for model, entry in MODEL_BY_ID.items():
        if entry.checkpoint in done or entry.checkpoint not in costs["gpu"]["models"]:
            continue
        done.add(entry.checkpoint)
        for unit, cost in assumed_rates(model, costs).items():
            yield row(entry.checkpoint, "gpu_seconds", unit, cost * slower[unit], **scaled)


def measured_rates(item):
    """Seconds a picture, a prompt and a new token of one row of the extraction benchmark."""
    parts = json.loads(item.parts)
    n_rows = N_INSTRUCTIONS * item.n_images
    rest = max(item.ours_wall - sum(parts.values()), 0)
    return {
        "picture": (parts["vision and prefix"] + rest) / item.n_images,
        "prompt": (parts.get("embedding and Q-Former", 0) + parts["prompts"]) / n_rows,
        "token": parts["new tokens"] / (n_rows * item.new_tokens),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "settings", nargs="*", type=Path, help="of finished studies; none keeps what was measured"
    )
    parser.add_argument("--check", nargs="*", type=Path, default=[], help="finished studies to compare with")
    options = parser.parse_args()
    if options.check and not options.settings:
        parser.error("--check needs studies to calibrate on as well")
    old = pd.read_csv(UNIT_COSTS)
    write(
        studies(options.settings) if options.settings else old[old["size"] == "miniature"].to_dict("records")
    )
    if options.settings:
        write_records([file for file in options.settings + options.check if not file.is_absolute()])


if __name__ == "__main__":
    main()
