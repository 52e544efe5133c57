#!/usr/bin/env python3
"""Snakemake's jobs as jobs of Kubernetes, through kubectl; needs nothing but Python.

pods.py --submit --image IMAGE --claim CLAIM --mount FOLDER SCRIPT    starts a job and prints its name
pods.py --status NAME                                                 prints running, success or failed
pods.py NAME ...                                                      ends jobs
"""

import argparse
import json
import subprocess
import uuid
from pathlib import Path


def properties(script: str) -> dict:
    """What Snakemake writes about a job into the script that runs it: rule, threads, resources."""
    marked = [line for line in script.splitlines() if line.startswith("# properties = ")]
    if len(marked) != 1:
        raise ValueError(f"expected one line '# properties = ...' in the job script, found {len(marked)}")
    return json.loads(marked[0].removeprefix("# properties = "))


def manifest(name: str, script: Path, image: str, claim: str, mount: str, folder: Path) -> dict:
    """A job of one pod that runs a script in a folder of the shared volume.

    Parameters
    ----------
    name : str
    script : Path
        On the volume.
    image : str
        With the Python that the virtual environment on the volume was made with.
    claim, mount : str
        Persistent volume claim, and where it is mounted: here and in the pod at the same place.
    folder : Path
        Working folder.
    """
    job = properties(script.read_text())
    asked = job["resources"]
    memory = {"memory": f"{asked['mem_mb']}M"}
    limits = memory | ({"nvidia.com/gpu": asked["gpu"]} if asked.get("gpu") else {})
    container = {
        "name": "job",
        "image": image,
        "command": ["sh", str(script)],
        "workingDir": str(folder),
        "resources": {"requests": {"cpu": str(job["threads"])} | memory, "limits": limits},
        "volumeMounts": [{"name": "shared", "mountPath": mount}],
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": claim}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app": "brainalign", "rule": job["rule"].replace("_", "-")}},
        "spec": {
            "backoffLimit": 0,  # Snakemake tries again, with more memory
            "activeDeadlineSeconds": 60 * asked["runtime"],
            "ttlSecondsAfterFinished": 24 * 3600,
            "template": {"spec": pod},
        },
    }


def state(job: dict) -> str:
    """running, success or failed, from what Kubernetes says about a job."""
    conditions = {c["type"] for c in job.get("status", {}).get("conditions", []) if c["status"] == "True"}
    if "Complete" in conditions:
        return "success"
    return "failed" if "Failed" in conditions else "running"


def kubectl(*words: str, given: str | None = None) -> str:
    done = subprocess.run(["kubectl", *words], input=given, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--submit", action="store_true")
    what.add_argument("--status", action="store_true")
    for name in ("image", "claim", "mount"):
        parser.add_argument(f"--{name}")
    parser.add_argument("names", nargs="+", metavar="SCRIPT or NAME")
    options = parser.parse_args()
    if options.submit:
        script, name = Path(options.names[0]).resolve(), f"brainalign-{uuid.uuid4().hex[:16]}"
        job = manifest(name, script, options.image, options.claim, options.mount, Path.cwd())
        kubectl("create", "-f", "-", given=json.dumps(job))
        print(name)
    elif options.status:
        print(state(json.loads(kubectl("get", "job", options.names[0], "-o", "json"))))
    else:
        kubectl("delete", "job", "--ignore-not-found", *options.names)


if __name__ == "__main__":
    main()
