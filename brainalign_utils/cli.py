"""The ``brainalign`` command.  Subcommands import what they need when they run."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .tables import BETA_VERSIONS, SPACES

BUCKET = "natural-scenes-dataset"


@dataclass(frozen=True)
class Command:
    """A subcommand: its name and help, how its arguments are declared, and what it does.

    ``run`` gets the parsed arguments and returns the exit code.
    """

    name: str
    help: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _declare_doctor(parser):
    parser.add_argument("--nsd", type=Path, required=True, help="folder that holds nsddata")
    parser.add_argument(
        "--expected", type=Path, help="YAML of numbers (default: of the phantom or real data)"
    )
    parser.add_argument("--subjects", type=int, nargs="+", help="must be there (default: those that are)")
    parser.add_argument("--sessions", type=_positive, help="must be there (default: those that are)")
    parser.add_argument("--coco", type=Path, help="check COCO's annotations in this folder too")
    parser.add_argument("--deep", action="store_true", help="read every beta file to its end")
    parser.add_argument("--verbose", action="store_true", help="list what is fine too")


def _doctor(args):
    from .nsd import doctor

    expected = doctor.load_expected(args.nsd, args.expected)
    findings = doctor.examine(args.nsd, expected, args.subjects, args.sessions, args.coco, args.deep)
    print(doctor.report(findings, str(expected.get("name", args.expected)), args.verbose))
    return int(any(finding.status != "ok" for finding in findings))


def _declare_download(parser):
    parser.add_argument("--to", type=Path, help="folder that gets nsddata, nsddata_betas, ...")
    parser.add_argument(
        "--settings", type=Path, help="take folder, subjects and sessions from a settings file"
    )
    parser.add_argument("--subjects", type=int, nargs="+", help="default: the paper's, 1 2 5 7")
    parser.add_argument("--sessions", type=_positive, help="first sessions only (default: all)")
    parser.add_argument("--rois", nargs="+", help="ROI volumes (default: those that the study reads)")
    parser.add_argument("--format", choices=("hdf5", "nii.gz"), default="hdf5", help="of the betas")
    parser.add_argument("--betas", choices=BETA_VERSIONS, help="version (default: of the settings)")
    parser.add_argument("--space", choices=SPACES, help="grid (default: of the settings)")
    parser.add_argument("--no-stimuli", action="store_true", help="without the pictures (37 GB)")
    parser.add_argument("--bucket", default=BUCKET)
    parser.add_argument("--endpoint-url", help="another S3 server than Amazon's")
    parser.add_argument("--workers", type=_positive, default=8, help="files at a time")
    parser.add_argument("--verify", choices=("checksum", "size"), default="checksum")
    parser.add_argument("--yes", action="store_true", help="accept the terms of use; do not ask")


def _download(args):
    from . import tables
    from .nsd.download import DownloadError, download
    from .nsd.layout import study_keys

    settings = _settings(args.settings)
    root = args.to or settings.nsd_root
    if root is None:
        raise ValueError("--to is missing; name the folder for the data, or --settings with nsd_root")
    subjects = args.subjects or settings.subjects
    sessions = args.sessions or settings.n_sessions or _all_sessions(subjects)
    keys = study_keys(
        subjects,
        sessions,
        args.rois or tables.ROI_VOLUMES,
        args.format,
        stimuli=not args.no_stimuli,
        betas=args.betas or settings.betas,
        space=args.space or settings.space,
    )
    try:
        plan = download(
            root,
            keys,
            args.bucket,
            args.endpoint_url,
            lambda plan: _confirm(plan, args.yes),
            args.workers,
            args.verify,
            progress_bar=sys.stderr.isatty(),
        )
    except DownloadError as error:
        return _fail(error)
    print(f"{len(plan.todo)} files downloaded and verified, {len(plan.done)} were there")
    return 0


def _all_sessions(subjects):
    from .nsd.doctor import load_expected

    numbers = load_expected("")["subjects"]
    if unknown := [subject for subject in subjects if subject not in numbers]:
        raise ValueError(f"subject {unknown[0]} does not exist; NSD has subjects 1 to {max(numbers)}")
    return {subject: numbers[subject]["n_sessions"] for subject in subjects}


def _confirm(plan, yes):
    from .nsd.download import TERMS, summary

    print(summary(plan), flush=True)
    if not plan.todo:
        return True
    print(TERMS, flush=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        print("not a terminal: pass --yes if you accept the terms", file=sys.stderr)
        return False
    return input("Do you accept the terms and want to download? [y/N] ").strip().lower() in ("y", "yes")


def _declare_plan(parser):
    parser.add_argument("--settings", type=Path, help="settings file (default: the phantom's defaults)")


def _plan(args):
    from .running import plan
    from .settings import load_settings

    settings = load_settings(args.settings, nsd_root=Path("nsd"))  # no file of the dataset is read
    sizes = {"subjects": settings.subjects, "models": settings.models, "instructions": settings.instructions}
    print(f"study {settings.name}: {', '.join(f'{len(ids)} {name}' for name, ids in sizes.items())}\n")
    print(plan.readable(plan.rule_table(settings)).rename_axis(None).to_string())
    print("\nA forecast from the unit costs in brainalign_utils/running/unit_costs.csv.")
    return 0


def _declare_phantom(parser):
    parser.add_argument("--to", type=Path, help="folder that gets nsd, coco and truth")
    parser.add_argument("--settings", type=Path, help="settings file (default: the phantom's defaults)")


def _phantom(args):
    from .phantom.dataset import make_phantom

    settings = _settings(args.settings)
    root = make_phantom(args.to or settings.paths.truth.parent, settings.phantom, settings.subjects)
    print(f"phantom dataset in {root}")
    return 0


def _declare_models(parser):
    pass


def _models(args):
    from .models import MODELS

    rows = [("id", "role", "parameters", "components (layers)", "checkpoint", "revision")]
    for row in MODELS:
        components = ", ".join(f"{name} ({n})" for name, n in row.components)
        size = f"{row.n_parameters / 1e9:.2f}e9" if row.n_parameters else ""
        rows.append((row.id, row.role, size, components, row.checkpoint, row.revision[:12]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _declare_fetch_models(parser):
    parser.add_argument("models", nargs="*", help="ids of the table (default: those of the settings)")
    parser.add_argument("--settings", type=Path)


def _fetch_models(args):
    from .models import MODEL_BY_ID

    models = args.models or _settings(args.settings).models
    if unknown := [model for model in models if model not in MODEL_BY_ID]:
        raise ValueError(f"unknown model {', '.join(unknown)}; `brainalign models` prints the table")
    from .features.adapters.checkpoints import ModelError, fetch

    try:
        folders = fetch(models)
    except ModelError as error:
        return _fail(error)
    for checkpoint, folder in folders.items():
        print(f"{checkpoint}  {folder}")
    return 0


COMMANDS = (
    Command("doctor", "check an NSD tree, file by file", _declare_doctor, _doctor),
    Command("download", "fetch what a study needs from NSD's bucket", _declare_download, _download),
    Command("plan", "what a study will cost, before anything runs", _declare_plan, _plan),
    Command("phantom", "make a phantom dataset", _declare_phantom, _phantom),
    Command("models", "print the table of models", _declare_models, _models),
    Command("fetch-models", "download checkpoints at their pinned revisions", _declare_fetch_models,
            _fetch_models),
)  # fmt: skip


def _settings(path):
    from .settings import load_settings

    return load_settings(path)


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _fail(error):
    print(f"brainalign: error: {error}", file=sys.stderr)
    return 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the return value is the exit code (0 well, 1 problem, 2 wrong usage).

    Parameters
    ----------
    arguments : list of str or None
        None takes those of the process.
    """
    parser = argparse.ArgumentParser(
        "brainalign", description="Instruction-tuned models and the visual brain."
    )
    subparsers = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        command.declare(subparser)
        subparser.set_defaults(run=command.run)
    args = parser.parse_args(arguments)
    try:
        return args.run(args)
    except (OSError, ValueError) as error:  # settings, paths, values: the message says what to do
        return _fail(error)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
