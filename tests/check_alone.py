"""After a finished build: each notebook that the miniature runs in a shared kernel also runs alone.

``python tests/check_alone.py SETTINGS`` executes them from a clean kernel with the defaults of their
parameters cell, in their own folder as in JupyterLab.  The others run alone in every build.
"""

import sys
import tempfile
from pathlib import Path

from brainalign_utils.execute import execute
from brainalign_utils.settings import project_root


def main(settings: str) -> None:
    sources = sorted((project_root() / "notebooks").glob("*.py"))
    alone = ("00_", "05_", "15_")  # the only ones that share no kernel
    several = [path for path in sources if not path.stem.startswith(alone)]
    assert len(several) >= 4, several
    with tempfile.TemporaryDirectory() as folder:
        for source in several:
            target = Path(folder) / f"{source.stem}.ipynb"
            execute(source, target, {"settings_file": settings}, cwd=source.parent)
    print(f"run alone: {', '.join(path.stem for path in several)}")


if __name__ == "__main__":
    main(sys.argv[1])
