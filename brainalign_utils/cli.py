"""The ``brainalign`` command.  Subcommands import what they need when they run."""

import os
import re
import shlex
import shutil
import socket
import sys
import zipfile
from pathlib import Path

import click

from . import DEFAULT_SETTINGS, BrainalignError
from .tables import subject_number


class UserPath(click.Path):
    """A path, whose ``~`` is the home folder even where the shell leaves it (``--nsd=~/nsd``)."""

    def convert(self, value, param, ctx):
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return Path(super().convert(os.path.expanduser(value), param, ctx))


class Subject(click.ParamType):
    """A subject of NSD: 1 or subj01."""

    name = "subject"

    def convert(self, value, param, ctx):
        try:
            return subject_number(value)
        except BrainalignError as error:
            self.fail(f"{error}; write {param.opts[0]} 1 2 for two", param, ctx)


class Command(click.Command):
    """Lists are written ``--subjects 1 2``, which means ``--subjects 1 --subjects 2``."""

    def parse_args(self, ctx, args):
        lists = {name for parameter in self.params if parameter.multiple for name in parameter.opts}
        spread, option = [], None
        for word in args:
            if word.startswith("-"):
                option = word if word in lists else None
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


FILE, FOLDER = UserPath(dir_okay=False), UserPath(file_okay=False)
SESSIONS = click.IntRange(1, 40)
SETTINGS_OPTION = click.option(
    "--settings", "file", type=FILE, default=DEFAULT_SETTINGS, show_default=True, help="settings file"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="brainalign")
def brainalign():
    """Instruction-tuned models and the visual brain."""


brainalign.command_class = Command


@brainalign.command()
@click.option("--nsd", type=FOLDER, help="folder that holds nsddata (default: of the settings)")
@SETTINGS_OPTION
@click.option("--expected", type=FILE, help="YAML of numbers (default: of the phantom or real data)")
@click.option("--subjects", type=Subject(), multiple=True, help="default: those of the settings")
@click.option("--sessions", type=SESSIONS, help="first sessions only (default: of the settings)")
@click.option("--coco", type=FOLDER, help="COCO's folder (default: of the settings)")
@click.option("--verbose", is_flag=True, help="list what is fine too")
def doctor(nsd, file, expected, subjects, sessions, coco, verbose):
    """Check that an NSD tree has what a study needs."""
    from .nsd import doctor
    from .settings import load_settings

    settings = load_settings(file, **({"nsd_root": nsd.absolute()} if nsd else {}))
    root = settings.paths.nsd
    numbers = doctor.load_expected(root, expected)
    findings = doctor.examine(
        root, subjects or settings.subjects, sessions or settings.n_sessions, settings.betas, settings.space,
        numbers, coco or settings.coco_root,
    )  # fmt: skip
    click.echo(f"compared with: {numbers.get('name', expected)}\n")
    click.echo(doctor.report(findings, verbose))
    if any(f.status in ("missing", "damaged") and not Path(f.what).is_absolute() for f in findings):
        command = f"brainalign download --to {shlex.quote(str(root))}"
        command += f" --settings {shlex.quote(str(file))}" if str(file) != DEFAULT_SETTINGS else ""
        command += f" --subjects {' '.join(map(str, subjects))}" if subjects else ""
        command += f" --sessions {sessions}" if sessions else ""
        is_phantom = settings.data == "phantom" and not nsd
        remedy = f"make study SETTINGS={shlex.quote(str(file))}" if is_phantom else command
        click.echo(f"to get what is missing or damaged: {remedy}")
    return int(any(finding.status != "ok" for finding in findings))


@brainalign.command()
@click.option("--to", type=FOLDER, help="folder that gets nsddata, nsddata_betas, ...")
@SETTINGS_OPTION
@click.option("--subjects", type=Subject(), multiple=True, help="default: those of the settings")
@click.option("--sessions", type=SESSIONS, help="first sessions only (default: of the settings)")
@click.option("--format", type=click.Choice(["hdf5", "nii.gz"]), default="hdf5", help="of the betas")
@click.option("--no-stimuli", is_flag=True, help="without the images (37 GB)")
@click.option("--bucket", default="natural-scenes-dataset", show_default=True)
@click.option("--endpoint-url", help="another S3 server than Amazon's")
@click.option("--yes", is_flag=True, help="accept the terms of use; do not ask")
def download(to, file, subjects, sessions, format, no_stimuli, bucket, endpoint_url, yes):
    """Fetch what a study needs from NSD's bucket."""
    from .nsd.doctor import sessions_to_get
    from .nsd.download import download
    from .nsd.layout import study_keys
    from .settings import load_settings

    if not re.fullmatch(r"[\w.-]+", bucket):
        raise BrainalignError(f"--bucket is {bucket!r}; give its name alone, such as natural-scenes-dataset")
    settings = load_settings(file, **({"nsd_root": to.absolute()} if to else {}))
    if settings.nsd_root is None:
        raise BrainalignError("--to is missing; name the folder for the data, or --settings with nsd_root")
    n_sessions = sessions_to_get(subjects or settings.subjects, sessions or settings.n_sessions)
    keys = study_keys(n_sessions, format, not no_stimuli, settings.betas, settings.space)
    plan = download(
        settings.nsd_root, keys, bucket, endpoint_url, lambda plan: _confirm(plan, yes), sys.stderr.isatty()
    )
    click.echo(f"{len(plan.todo)} files downloaded and verified, {len(plan.done)} were there")


def _confirm(plan, yes):
    from .nsd.download import TERMS, summary

    click.echo(summary(plan))
    if not plan.todo:
        return True
    click.echo(TERMS)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise BrainalignError("not a terminal, so nobody can be asked: pass --yes if you accept the terms")
    return input("Do you accept the terms and want to download? [y/N] ").strip().lower() in ("y", "yes")


@brainalign.command()
@click.argument("models", nargs=-1)
@SETTINGS_OPTION
def fetch_models(models, file):
    """Download checkpoints at their revisions and check them: of MODELS, else of those of the settings."""
    from .features.checkpoints import fetch
    from .settings import load_settings

    source = "hub"
    if not models:
        settings = load_settings(file, nsd_root=Path("nsd"))  # no file of the dataset is read
        models, source = settings.models, settings.checkpoints
    for row, folder in fetch(models, source):
        where = f"{row.checkpoint} at {folder.name}, " if source == "hub" else ""
        click.echo(f"{row.id}: {where}{folder}")
    if source != "hub":
        click.echo(f"nothing was downloaded: these settings take checkpoints from {source}")


@brainalign.command()
@SETTINGS_OPTION
def plan(file):
    """What a study will cost, before anything runs."""
    from .running import plan
    from .settings import check_study, load_settings

    settings = load_settings(file, nsd_root=Path("nsd"))  # no file of the dataset is read
    check_study(settings)
    sizes = {"subjects": settings.subjects, "models": settings.models, "instructions": settings.instructions}
    click.echo(f"study {settings.name}: {', '.join(f'{len(ids)} {name}' for name, ids in sizes.items())}\n")
    click.echo(plan.readable(plan.rule_table(settings)).rename_axis(None).to_string())
    click.echo("\nA forecast from the unit costs in brainalign_utils/running/unit_costs.csv.")


@brainalign.command()
def models():
    """Print the table of models."""
    from .models import MODELS

    rows = [("id", "role", "parameters", "components (layers)", "checkpoint", "revision")]
    for row in MODELS:
        components = ", ".join(f"{name} ({n})" for name, n in row.components)
        size = f"{row.n_parameters / 1e9:.2f}e9" if row.n_parameters else ""
        rows.append((row.id, row.role, size, components, row.checkpoint, row.revision[:12]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _check_name(variable, value, known):
    known = sorted(known)
    if value not in known:
        raise BrainalignError(f"{variable}={value} does not exist; there are {', '.join(known)}")


def _check_checkpoints(settings):
    from .features.checkpoints import checkpoint_folder
    from .models import MODEL_BY_ID

    for model in settings.models:
        if not settings.paths.features(model).exists():
            checkpoint_folder(MODEL_BY_ID[model], settings.checkpoints)


def _check_port(port):
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise BrainalignError(f"PORT={port} is no port; give a number such as 8001")
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except OSError as error:
        reason = os.strerror(error.errno).lower()
        raise BrainalignError(f"PORT={port} cannot be used ({reason}); give another, such as 8001") from None


@brainalign.command(hidden=True)
@click.argument("target")
@click.option("--settings", "file")
@click.option("--nsd")
@click.option("--coco")
@click.option("--scores")
@click.option("--notebook")
@click.option("--profile")
@click.option("--cores")
@click.option("--port")
def check(target, file, nsd, coco, scores, notebook, profile, cores, port):
    """Look at what make was given before anything runs, and print the settings file to use."""
    from .artifacts import hold_study
    from .registry import of_study, read_notebooks
    from .settings import check_folders, check_study, load_settings, project_root

    checkout = project_root()
    _check_name("PROFILE", profile, (p.parent.name for p in checkout.glob("workflow/profiles/*/config.yaml")))
    if profile in ("slurm", "aws") and not shutil.which("sbatch"):
        raise BrainalignError(
            f"PROFILE={profile} needs Slurm's sbatch, which this machine lacks; use a login node"
        )
    if not (cores.isdecimal() and int(cores)):
        raise BrainalignError(f"CORES={cores} is no number of processors; give 1 or more")
    if scores:
        scores = os.path.expanduser(scores)
        if not zipfile.is_zipfile(scores):
            what = "is no zip archive of scores" if os.path.exists(scores) else "does not exist"
            raise BrainalignError(f"SCORES={scores} {what}")
        from .publishing.archive import unpack

        file = unpack(Path(scores), checkout / "_build")
    roots = {key: value for key, value in {"nsd_root": nsd, "coco_root": coco}.items() if value}
    if target in ("serve", "test-book"):
        html = load_settings(file, scores_only=True).paths.root / "html"
        if not (html / "index.html").is_file():
            raise BrainalignError(f"there is no book in {html}; `make book` with the same SETTINGS makes it")
        if target == "serve":
            _check_port(port)
    elif target == "lab":
        if notebook:
            _check_name("NOTEBOOK", notebook, read_notebooks())
    else:
        settings = load_settings(file, **roots)
        check_folders(settings)
        if target == "figure":
            _check_name("NOTEBOOK", notebook, of_study(settings))
        elif not settings.scores_only:
            check_study(settings)
        if settings.checkpoints != "phantom" and not settings.scores_only:
            _check_checkpoints(settings)
        hold_study(settings.paths.root).release()
    click.echo(file)


@brainalign.command(hidden=True)
@click.argument("target")
@click.option("--settings", "file")
@click.option("--since", type=float)
def failed(target, file, since):
    """Say which notebook ended the run that began at a time (seconds since 1970)."""
    import json

    from .settings import load_settings

    root = load_settings(file, scores_only=True).paths.root
    copies = [path for path in root.glob("notebooks/*/*.failed.ipynb") if path.stat().st_mtime >= since]
    if copies:
        first = min(copies, key=lambda path: path.stat().st_mtime)
        cells = json.loads(first.read_text(encoding="utf-8"))["cells"]
        errors = [o for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "error"]
        why = "its kernel was killed, most often for want of memory"
        why = f"{errors[0]['ename']}: {errors[0]['evalue']}" if errors else why
        message = f"{first.parent.name} failed: {why}; what ran is kept as {os.path.relpath(first)}"
    else:
        message = f"make {target} failed, as the first message above says"
    click.echo(f"{message}; the same command goes on from there")


def run(command: click.Command, arguments=None) -> int:
    """Run a command; of an error that its user can mend, the sentence is all that is printed.

    Returns
    -------
    int
        0 well, 1 problem, 2 wrong usage, 130 interrupted.
    """
    try:
        return command.main(arguments, prog_name=command.name, standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else command.name
        message, status = f"{error.format_message().rstrip('.')} (see `{where} --help`)", error.exit_code
    except click.Abort:
        message, status = "interrupted; run the same command again to go on", 130
    except BrainalignError as error:
        message, status = str(error), 1
    except OSError as error:  # a disk that is full, a folder that may not be read
        message, status = f"{error.filename or command.name}: {error.strerror or error}", 1
    click.echo(f"Error: {message}", err=True)
    return status


def main(arguments: list[str] | None = None) -> int:
    """The ``brainalign`` command; see :func:`run`."""
    return run(brainalign, arguments)
