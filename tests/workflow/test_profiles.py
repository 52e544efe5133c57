"""Profiles of clusters: what can be tested of them without one."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

PROFILES = Path(__file__).parents[2] / "workflow/profiles"
ASKED = {"mem_mb": 9000, "runtime": 90}


@pytest.fixture(scope="module")
def pods():
    spec = importlib.util.spec_from_file_location("pods", PROFILES / "kubernetes/pods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_manifest(pods, folder, **resources):
    script = folder / "job.sh"
    job = {"rule": "fit_encoding", "threads": 8, "resources": ASKED | resources}
    script.write_text(f"#!/bin/sh\n# properties = {json.dumps(job)}\ncd /x && true\n")
    return pods.manifest("brainalign-1", script, "python:3.11", "claim", "/shared", folder)


def test_a_pod_asks_for_what_the_job_asks_for(pods, tmp_path):
    job = make_manifest(pods, tmp_path, gpu=1)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "8", "memory": "9000M"}
    assert container["resources"]["limits"] == {"memory": "9000M", "nvidia.com/gpu": 1}
    assert container["command"] == ["sh", str(tmp_path / "job.sh")] and container["workingDir"] == str(
        tmp_path
    )
    assert job["spec"]["activeDeadlineSeconds"] == 5400 and job["spec"]["backoffLimit"] == 0
    (container,) = make_manifest(pods, tmp_path)["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "9000M"}


def test_states_of_a_job(pods):
    def with_condition(kind, status="True"):
        return {"status": {"conditions": [{"type": kind, "status": status}]}}

    assert pods.state({}) == pods.state({"status": {"active": 1}}) == "running"
    assert pods.state(with_condition("Failed", "False")) == "running"
    assert pods.state(with_condition("Complete")) == "success"
    assert pods.state(with_condition("Failed")) == "failed"


def test_a_script_without_properties_is_refused(pods):
    with pytest.raises(ValueError, match=r"expected one line .# properties = .*found 0"):
        pods.properties("#!/bin/sh\n")


@pytest.mark.parametrize("profile", ["slurm", "kubernetes", "aws"])
def test_profiles_retry_and_keep_no_lock(profile):
    values = yaml.safe_load((PROFILES / profile / "config.yaml").read_text())
    assert values["retries"] >= 2 and values["nolock"] and values["jobs"] < 1000
    assert "cores" not in values, "the cores of the submitting machine do not bound what jobs ask for"
