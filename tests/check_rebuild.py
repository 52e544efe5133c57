"""After a finished build: what would an edit rerun?  ``python tests/check_rebuild.py SETTINGS``."""

import os
import re
import subprocess
import sys
from pathlib import Path

from brainalign_utils.registry import read_notebooks

PACKAGE = Path("brainalign_utils")


def planned(settings: str, edited: Path) -> set[str]:
    """Stems of the notebooks that a dry run would execute after an edit of one file."""
    before, text = edited.stat(), edited.read_text()
    edited.write_text(f"{text}# an edit: files that are only touched keep their checksum and rerun nothing\n")
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--dry-run",
        "--printshellcmds", "--workflow-profile", "workflow/profiles/local", "--cores", "1",
        "--config", f"settings={settings}",
    ]  # fmt: skip
    try:
        done = subprocess.run([*command, "--", "book"], capture_output=True, text=True, check=True)
    finally:
        edited.write_text(text)
        os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    return set(re.findall(r" notebooks/(\w+)\.py ", done.stdout + done.stderr))


def main(settings: str) -> None:
    nothing = planned(settings, Path("README.md"))
    assert not nothing, f"an edit of README.md would rerun {sorted(nothing)}"
    drawn = planned(settings, PACKAGE / "figures" / "style.py")
    results = {name for name, notebook in read_notebooks().items() if not notebook.over}
    assert drawn and drawn <= results, sorted(drawn)
    fitted = planned(settings, Path("packages/voxelridge/src/voxelridge/solver.py"))
    assert "03_fit_encoding" in fitted and "01_load_responses" not in fitted, sorted(fitted)
    print(f"kinds of notebooks rerun: drawing {len(drawn)}, ridge {len(fitted)}, README none")


if __name__ == "__main__":
    main(sys.argv[1])
