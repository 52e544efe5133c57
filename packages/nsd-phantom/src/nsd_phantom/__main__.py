"""The command ``nsd-phantom``."""

import argparse
import sys

from . import CHECKPOINTS, PhantomError, make_phantom


def _sessions(word: str) -> tuple[int | None, int]:
    """``3`` for all subjects, ``7=1`` for one."""
    subject, _, n = word.rpartition("=")
    try:
        return int(subject) if subject else None, int(n)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither a number nor SUBJECT=NUMBER") from None


def parser() -> argparse.ArgumentParser:
    """Options of the command, which are the arguments of :func:`.dataset.make_phantom`."""
    options = argparse.ArgumentParser("nsd-phantom", description="Write a miniature Natural Scenes Dataset.")
    add = options.add_argument
    add("path", nargs="?", help="new or empty folder, or an older miniature, which is replaced")
    add(
        "--subjects", type=int, nargs="+", default=[1, 2, 5, 7], metavar="N", help="1 to 8 (default: 1 2 5 7)"
    )
    add(
        "--sessions",
        type=_sessions,
        nargs="+",
        default=[(None, 3)],
        metavar="N",
        help="of who completed all 40 (default: 3), others have fewer; SUBJECT=N for single ones",
    )
    add("--voxels", type=int, default=1500, metavar="N", help="of nsdgeneral, about (default: 1500)")
    add("--shared", type=int, default=150, metavar="N", help="shared images that are shown (default: 150)")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--betas", default="betas_fithrf_GLMdenoise_RR", help="version of the betas (default: %(default)s)")
    add("--space", default="func1pt8mm", help="func1pt8mm or func1mm (default: %(default)s)")
    add("--instructions", metavar="FILE", help="YAML of instructions and what their answers speak of")
    add("--jobs", type=int, metavar="N", help="processes (default: all cores)")
    add("--checkpoints", action="store_true", help="print the folder of the tiny models' weights, and end")
    return options


def main(arguments=None) -> int:
    """Run the command; returns its exit status."""
    options = vars(parser().parse_args(arguments))
    path, checkpoints, sessions = (options.pop(name) for name in ("path", "checkpoints", "sessions"))
    if checkpoints:
        print(CHECKPOINTS)
        return 0
    if path is None:
        parser().error("name the folder to write")
    try:
        sessions_of = {subject: n for subject, n in sessions if subject is not None}
        most = next((n for subject, n in sessions if subject is None), 3)
        root = make_phantom(path, sessions=most, sessions_of=sessions_of, **options)
    except PhantomError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or path} cannot be written: {error.strerror}; choose another folder"
    else:
        print(f"miniature in {root}: nsd, coco and truth (truth/README.txt explains it)")
        return 0
    print(f"nsd-phantom: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
