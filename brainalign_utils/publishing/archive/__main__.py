"""``python -m brainalign_utils.publishing.archive create|unpack``."""

import argparse
import sys
from pathlib import Path

from ...artifacts import file_hash
from ...settings import SettingsError, load_settings
from ...store import StoreError
from . import ArchiveError
from .packing import create, unpack


def main(arguments=None) -> int:
    """Command line; ``unpack`` prints the settings file of what it unpacked, and nothing else."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    write = actions.add_parser("create", help="write the scores of a finished study")
    write.add_argument("--settings", default="workflow/config/phantom.yml")
    write.add_argument("--output", type=Path, help="_build/<name>/<name>-scores.zip by default")
    read = actions.add_parser("unpack", help="check an archive and unpack it")
    read.add_argument("archive", type=Path)
    read.add_argument("--build-root", type=Path, default=Path("_build"))
    options = parser.parse_args(arguments)
    try:
        if options.action == "unpack":
            print(unpack(options.archive, options.build_root))
        else:
            settings = load_settings(options.settings)
            target = options.output or settings.paths.root / f"{settings.name}-scores.zip"
            manifest = create(settings, target)
            size = target.stat().st_size / 2**20
            print(f"{target}: {len(manifest.files)} files, {size:.1f} MiB, sha256 {file_hash(target, 64)}")
    except (ArchiveError, SettingsError, StoreError) as error:
        print(f"archive: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
