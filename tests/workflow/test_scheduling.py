"""No more jobs side by side than there are cores."""

import subprocess
import sys
from pathlib import Path

SNAKEFILE = """
import sys
sys.path.insert(0, {root!r})
from brainalign_utils.scheduling import count_lone_jobs
count_lone_jobs()

rule all:
    input: expand("{{k}}.done", k=range(4))

rule first:
    output: "first"
    shell: "touch first"

rule second:
    input: "first"
    output: "second"
    shell: "touch second"

rule each:
    input: "second"
    output: "{{k}}.done"
    shell: "echo start >> log; sleep 0.7; echo stop >> log; touch {{output}}"
"""


def test_jobs_that_were_ready_alone_count(tmp_path):
    root = str(Path(__file__).parents[2])
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(root=root))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().split() == ["start", "stop"] * 4
