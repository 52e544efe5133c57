"""The descriptions of the environment (ranges, lock, conda file) agree with each other and with this one."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in LOCK if "==" in line}
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
for folder in PACKAGES:
    RANGES += tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
RANGES = [line for line in RANGES if line not in {folder.name for folder in PACKAGES}]


@pytest.mark.parametrize("line", RANGES)
def test_the_lock_is_inside_the_ranges(line):
    wanted = Requirement(line)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_the_lock_installs_the_packages_of_the_checkout():
    assert [line for line in LOCK if line.startswith("-e ")] == [f"-e packages/{p.name}" for p in PACKAGES]


def test_what_is_installed_is_what_is_locked():
    installed = {name: version(name).split("+")[0] for name in PINS}
    assert installed == PINS


def test_conda_users_get_the_same_pins():
    described = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in described if isinstance(item, dict))
    assert sorted(pip) == sorted([*LOCK, "-e ."])


def test_the_lock_serves_every_build_of_torch():
    assert not [line for line in LOCK if "+" in line or "--hash" in line]
    assert not {"torchvision", "timm", "open-clip-torch"} & set(PINS)
