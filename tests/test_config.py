"""Settings: what is wrong is refused with both values and the remedy."""

from pathlib import Path

import pytest
import yaml

from brainalign_utils.settings import (
    ClusterSettings,
    JobRequest,
    Settings,
    SettingsError,
    fingerprint,
    load_settings,
    project_root,
)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"modls": ["vit-h"]}, r"modls: unknown key; did you mean 'models'"),
        ({"encoding": {"n_fold": 3}}, r"encoding.n_fold: unknown key; did you mean 'n_folds'"),
        ({"encoding": {"n_folds": "many"}}, r"encoding.n_folds: .*whole number.*given: 'many'"),
        ({"encoding": {"log10_alpha_min": 5}}, r"log10_alpha_max \(4.0\) is below log10_alpha_min \(5.0\)"),
        ({"subjects": []}, r"subjects: empty list"),
        ({"subjects": [1, 9]}, r"subject 9 does not exist; NSD has subjects 1 to 8"),
        ({"models": ["instructblp"]}, r"unknown model 'instructblp'; did you mean 'instructblip'"),
        ({"models": []}, r"models: empty list"),
        ({"instructions": ["ZZ"]}, r"unknown instruction 'ZZ'.*extra_instructions"),
        ({"data": "nsd"}, r"nsd_root is empty; set it"),
        ({"features": {"pooling": "mean"}}, r"unknown pooling 'mean'"),
        ({"name": "../elsewhere"}, r"name: "),
        ({"name": ".."}, r"name: "),
        ({"name": "a\n"}, r"name: "),
    ],
)
def test_wrong_settings_are_explained(overrides, match):
    with pytest.raises(SettingsError, match=match):
        load_settings(**overrides)


def test_a_settings_file_of_the_project_is_found_from_any_folder(monkeypatch, tmp_path):
    expected = load_settings("workflow/config/phantom.yml")
    for folder in (project_root() / "notebooks", tmp_path):
        monkeypatch.chdir(folder)
        assert load_settings("workflow/config/phantom.yml") == expected
        assert expected.build_root == project_root() / "_build"


@pytest.mark.parametrize(
    ("content", "key", "value"),
    [
        (b"\xef\xbb\xbfname: mine", "name", "mine"),
        (b"name: mine\r\nsubjects: [1]\r\n", "subjects", (1,)),
        ("name: étude".encode("utf-16"), "name", "étude"),
        (b"name: 2026-01-02", "name", "2026-01-02"),
        (b"n_sessions: 2", "name", "s"),
        (b"subjects: [subj01, '2', 5]", "subjects", (1, 2, 5)),
        (b"phantom: {n_sessions: 20}\nn_sessions: 1e1", "n_sessions", 10),
        (b"encoding:\n  # n_folds: 3\n", "encoding", Settings().encoding),
        (b"session_zscore: no", "session_zscore", False),
        (b"build_root: ~/out", "build_root", Path.home() / "out"),
        (b"build_root: $HOME/my out", "build_root", Path.home() / "my out"),
    ],
)
def test_what_is_obviously_meant_is_read(content, key, value, tmp_path):
    (tmp_path / "s.yml").write_bytes(content)
    assert getattr(load_settings(tmp_path / "s.yml"), key) == value


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "none.yml")
    (tmp_path / "broken.yml").write_text("a: [1")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings(tmp_path / "broken.yml")
    (tmp_path / "list.yml").write_text("- 1")
    with pytest.raises(SettingsError, match="holds a list"):
        load_settings(tmp_path / "list.yml")


def test_yaml_cannot_build_objects(tmp_path):
    (tmp_path / "evil.yml").write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings(tmp_path / "evil.yml")


def test_alphas_are_the_papers():
    alphas = load_settings().alphas()
    assert len(alphas) == 60
    assert alphas[0] == pytest.approx(10)
    assert alphas[-1] == pytest.approx(1e4)
    assert alphas[1] / alphas[0] == pytest.approx(alphas[-1] / alphas[-2])


def test_extra_instructions_are_ordered_by_level():
    row = {"id": "X", "task": "own", "text": "Is it raining?", "level": 3.5}
    with pytest.raises(SettingsError, match="level"):
        load_settings(extra_instructions=[row])
    rows = load_settings(
        extra_instructions=[{**row, "level": 0}], instructions=["IC", "X"]
    ).instruction_rows()
    assert [r.id for r in rows] == ["X", "IC"]


def test_settings_survive_a_round_trip(tmp_path):
    settings = load_settings(name="round", subjects=[7, 1])
    path = tmp_path / "s.yml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    assert load_settings(path) == settings


def test_fingerprint_depends_on_values_not_on_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_cluster_requests_of_the_settings_win_over_the_plan():
    planned = JobRequest(cpus=4, gpus=1, mem_mb=9000, minutes=60)
    section = {"partition": "cpu", "gpu_partition": "gpu", "rules": {"extract_features": {"mem_mb": 70000}}}
    settings = load_settings(cluster=section).cluster
    assert settings.request("extract_features", planned) == planned.model_copy(
        update={"mem_mb": 70000, "partition": "gpu"}
    )
    no_gpu = JobRequest(cpus=4, gpus=0, mem_mb=9000, minutes=60)
    assert settings.request("fit_encoding", no_gpu) == no_gpu.model_copy(update={"partition": "cpu"})
    assert ClusterSettings().request("fit_encoding", planned) == planned


@pytest.mark.parametrize(
    "section, message",
    [
        ({"rules": {"fit_encoding": {"cpu": 2}}}, r"cluster\.rules\.fit_encoding\.cpu: unknown key.*'cpus'"),
        ({"rules": {"fit": {"cpus": 2}}}, "fit_encoding.*given: 'fit'"),
        ({"partition": "a; rm"}, "cluster.partition: is an argument of sbatch.*without spaces"),
        ({"rules": {"book": {"cpus": 0}}}, "greater than or equal to 1.*given: 0"),
    ],
)
def test_cluster_section_is_validated(section, message):
    with pytest.raises(SettingsError, match=message):
        load_settings(cluster=section)


def test_convention_of_the_authors_sets_what_the_file_leaves_open():
    ours, theirs = load_settings(), load_settings(convention="authors")
    assert ours.session_zscore and ours.encoding.test_zscore == "train"
    assert ours.features.image_size == "native"
    assert not theirs.session_zscore and theirs.encoding.test_zscore == "test"
    assert theirs.features.image_size == 227 and theirs.features.pooling == "authors-sampled"
    mixed = load_settings(convention="authors", session_zscore=True, features={"pooling": "last"})
    assert mixed.session_zscore and mixed.features.pooling == "last"
    assert mixed.features.image_size == 227
    again = load_settings(**theirs.model_dump(mode="json"))
    assert again == theirs, "settings that were written down are read as they were"
    with pytest.raises(SettingsError, match=r"convention: .*'default' or 'authors'"):
        load_settings(convention="ours")


@pytest.mark.parametrize(
    ("models", "lead"),
    [(("vit-h", "mplug-owl", "idefics"), "idefics"), (("vit-h", "clip-image"), "vit-h")],
)
def test_lead_model_is_instructed_where_there_is_one(models, lead):
    assert Settings(models=models).lead_model() == lead
