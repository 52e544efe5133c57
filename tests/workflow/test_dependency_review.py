"""The written review of the dependencies covers what is installed."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_direct_dependency_is_reviewed_at_its_locked_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {canonical(re.match(r"[\w.-]+", line).group()) for line in wanted}
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    lock = {canonical(name): version for name, version in pins}
    page = (ROOT / "book/security.md").read_text()
    reviewed = dict(re.findall(r"^\| ([\w.-]+) \| ([\w.+-]+) \|", page, re.M))
    reviewed.pop("package")
    assert reviewed == {name: lock[name] for name in names}, "look at the changed rows of book/security.md"
