"""Write requirements.lock and environment.yml from what an environment holds.

``python write_lock.py PYTHON`` asks that interpreter's pip.  A local label such as ``+cpu`` is
dropped: the same pin then gives the CPU build where one is provided and the CUDA build elsewhere.
"""

import re
import subprocess
import sys
from pathlib import Path

HEADER = "# Exact versions, made by `make lock`. torch comes as CUDA or CPU build, whichever is served.\n"


def main(python: str) -> None:
    frozen = subprocess.run(
        [python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    lines = [re.sub(r"\+\w+$", "", line) for line in frozen.splitlines()]
    pins = sorted((line for line in lines if re.match(r"^[\w.-]+==", line)), key=str.lower)
    root = Path(__file__).resolve().parents[1]
    pins += [f"-e {folder.relative_to(root)}" for folder in sorted(root.glob("packages/*"))]
    (root / "requirements.lock").write_text(HEADER + "\n".join(pins) + "\n")
    conda = ["name: brainalign", "channels: [conda-forge]", "dependencies:"]
    conda += ["  - python=3.11", "  - pip", "  - c-compiler", "  - make", "  - pip:"]
    conda += [f"      - {pin}" for pin in pins] + ["      - -e ."]
    (root / "environment.yml").write_text("\n".join(conda) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
