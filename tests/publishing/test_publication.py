"""What is said about the project in several places agrees, and the publishing workflow calls what exists."""

import json
import re
import tomllib

import pytest
import yaml

from brainalign_utils import settings as config
from brainalign_utils.publishing import publish
from brainalign_utils.settings import project_root

ROOT = project_root()
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
ZENODO = json.loads((ROOT / ".zenodo.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def test_citation_zenodo_and_package_agree():
    assert CITATION["version"] == ZENODO["version"] == PROJECT["version"]
    assert CITATION["license"] == ZENODO["license"] == PROJECT["license"]
    assert CITATION["title"] == ZENODO["title"]
    authors = [author["name"] for author in CITATION["authors"]]
    assert (
        authors == [one["name"] for one in ZENODO["creators"]] == [one["name"] for one in PROJECT["authors"]]
    )
    dois = {i["value"] for r in CITATION["references"] for i in r.get("identifiers", [])}
    dois |= {r["doi"] for r in CITATION["references"] if "doi" in r}
    cited = (ROOT / "book/cite.md").read_text()
    assert all(CITATION[key] in cited for key in ("title", "version", "license")) and authors[0] in cited
    assert dois == {one["identifier"] for one in ZENODO["related_identifiers"]}


def test_commands_of_workflow_readme_and_book_exist():
    texts = [step.get("run", "") for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    pages = [ROOT / "README.md", ROOT / ".ci/run", *(ROOT / "book").glob("*.md")]
    for text in [*texts, *(page.read_text() for page in pages)]:
        for target in re.findall(r"(?:^|`|time )make ([a-z][a-z-]+)", text, re.M):
            assert target in TARGETS, target


def test_only_the_last_job_may_publish_and_only_what_passed():
    build, deploy = WORKFLOW["jobs"]["build"], WORKFLOW["jobs"]["deploy"]
    assert WORKFLOW["permissions"] == {"contents": "read"} and "permissions" not in build
    assert deploy["needs"] == "build" and "refs/heads/main" in deploy["if"]
    commands = [step.get("run", "").split("  #")[0] for step in build["steps"]]
    order = [commands.index(f"make {target}") for target in ("test", "book", "test-book")]
    uploads = [n for n, step in enumerate(build["steps"]) if "upload-pages" in step.get("uses", "")]
    assert order == sorted(order) and order[-1] < uploads[0]


def test_where_a_book_on_real_data_lies_needs_no_data(tmp_path, capsys):
    """The folder of the data was given on the command line that built the book, not in the file."""
    file = tmp_path / "nsd.yml"
    file.write_text(f"name: mine\ndata: nsd\nbuild_root: {tmp_path}/build\n")
    with pytest.raises(config.SettingsError, match="nsd_root"):
        publish.settings_of_study(file)
    built = config.load_settings(file, nsd_root=tmp_path)
    frozen = built.paths.root / "settings/settings.json"
    frozen.parent.mkdir(parents=True)
    frozen.write_text(built.model_dump_json())
    assert publish.settings_of_study(file).nsd_root == tmp_path
    assert publish.main(["where", "--settings", str(file)]) == 0
    assert f"{tmp_path}/build/mine/html/index.html" in capsys.readouterr().out
