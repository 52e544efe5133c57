"""The pinned Snakemake runs no more jobs side by side than there are cores (9.10 to 9.15 do)."""

import subprocess
import sys

SNAKEFILE = """
rule all:
    input: expand("{k}.done", k=range(4))

rule first:
    output: "first"
    shell: "touch first"

rule second:
    input: "first"
    output: "second"
    shell: "touch second"

rule each:
    input: "second"
    output: "{k}.done"
    shell: "echo start >> log; sleep 0.7; echo stop >> log; touch {output}"
"""


def test_jobs_that_were_ready_alone_count(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().split() == ["start", "stop"] * 4
