"""What a notebook's header says, and what follows from it: order, inputs, messages, code, settings."""

import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from brainalign_utils import registry
from brainalign_utils.publishing.contents import notebook_pages, rebuilt
from brainalign_utils.registry import PACKAGE, RegistryError, imported_modules, sources_needed
from brainalign_utils.settings import SettingsError, load_settings, project_root

ROOT = project_root()
NOTEBOOKS = registry.read_notebooks()
BIN = Path(sys.executable).parent
HEADER = """# ---
# jupyter:
#   brainalign:
{lines}#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
settings_file: str = "workflow/config/phantom.yml"  # settings of the study

# %%
print(settings_file)
"""


def write(folder, name, **entry) -> Path:
    """A notebook whose header says this."""
    path = folder / f"{name}.py"
    path.write_text(HEADER.format(lines="".join(f"#     {k}: {v}\n" for k, v in entry.items())))
    return path


def test_notebooks_are_pages_in_the_order_of_their_numbers():
    names = notebook_pages(ROOT)
    assert names == list(NOTEBOOKS)
    assert [name[:2] for name in names] == [f"{k:02d}" for k in range(len(names))]


def test_what_is_read_was_written_before():
    for name, notebook in NOTEBOOKS.items():
        for artifact in notebook.reads:
            assert registry.writer(artifact).name < name, f"{name} reads {artifact} of a later notebook"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_settings_that_a_notebook_names_are_in_its_header(name):
    text = NOTEBOOKS[name].path.read_text()
    named = {
        key
        for key in load_settings().model_dump()
        if f"settings.{key}." in text or f"settings.{key})" in text
    }
    assert named - {"data", "subjects"} <= set(NOTEBOOKS[name].settings)


def test_runs_follow_the_settings():
    settings = load_settings(subjects=[1, 2, 5], models=["vit-h", "idefics"], features={"n_shards": 2})
    runs = {name: NOTEBOOKS[name].runs(settings) for name in NOTEBOOKS}
    everyone = "subj01-subj02-subj05"
    assert runs["01_load_responses"] == [{"subjects": everyone}]
    assert [run["shard"] for run in runs["02_extract_features"]] == ["0of2", "1of2"] * 2
    assert runs["03_fit_encoding"] == [{"subjects": everyone, "model": m} for m in ("vit-h", "idefics")]
    assert runs["04_partition_variance"] == [{"subjects": everyone, "model": "idefics"}]
    assert runs["06_compare_models"] == [{}]
    two = load_settings(subjects=[1, 2, 5], cluster={"subjects_per_job": 2})
    assert NOTEBOOKS["01_load_responses"].runs(two) == [{"subjects": "subj01-subj02"}, {"subjects": "subj05"}]
    real = load_settings(data="nsd", nsd_root="x", subjects=[1, 2])
    assert NOTEBOOKS["01_load_responses"].runs(real) == [{"subjects": "subj01"}, {"subjects": "subj02"}]


def test_a_run_needs_the_runs_that_agree_with_it():
    settings = load_settings(
        subjects=[1, 2],
        models=["vit-h", "idefics"],
        features={"n_shards": 2},
        cluster={"subjects_per_job": 1},
    )
    run = {"subjects": "subj02", "model": "idefics"}
    needed = registry.inputs(settings, "03_fit_encoding", run)
    names = {f"{path.parent.name}/{path.stem}" for path in needed}
    assert names == {
        "01_load_responses/subj02", "02_extract_features/idefics_0of2", "02_extract_features/idefics_1of2"
    }  # fmt: skip
    fitted = NOTEBOOKS["03_fit_encoding"].copies(settings)
    assert len(fitted) == 4 and set(fitted) <= set(registry.inputs(settings, "10_trace_layers", {}))


def test_real_data_need_no_simulation():
    phantom, nsd = (registry.of_study(s) for s in (load_settings(), load_settings(data="nsd", nsd_root="x")))
    assert set(phantom) - set(nsd) == {"00_make_phantom", "14_recover_truth"}
    needed = registry.inputs(load_settings(data="nsd", nsd_root="x"), "16_check_claims", {})
    assert needed and not any("recover_truth" in str(path) for path in needed)


def test_what_reads_scores_alone_is_rebuilt_from_an_archive():
    assert {"06_compare_models", "11_show_partitions", "16_check_claims"} <= set(rebuilt())
    assert not {"00_make_phantom", "03_fit_encoding", "08_test_voxels", "14_recover_truth"} & set(rebuilt())


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"over": "subject"}, r"20_x\.py, header, over\.0: Input should be 'subjects'.*given: 'subject'"),
        ({"read": "scores"}, r"20_x\.py, header, read: Extra inputs are not permitted"),
        ({"reads": "scoers"}, r"reads scoers, which no notebook writes"),
        ({"writes": "scores"}, r"03_fit_encoding and 20_x both write scores"),
        ({"settings": "stat"}, r"names the setting stat, which does not exist"),
        ({}, r"20_x\.py has no entry 'brainalign' in its header; copy that of another"),
    ],
)
def test_wrong_headers_are_named(tmp_path, entry, message):
    for notebook in NOTEBOOKS.values():
        (tmp_path / notebook.path.name).write_text(notebook.path.read_text())
    write(tmp_path, "20_x", **entry)
    with pytest.raises(RegistryError, match=message):
        registry.read_notebooks(tmp_path)


STUDY = load_settings(subjects=[1, 2], models=["vit-h"])


@pytest.mark.parametrize(
    "given, message",
    [
        ({"subjects": 1}, r"subjects is 1; it takes a list, such as \[1\]"),
        ({"subjects": "08"}, r"subjects is '08'; it takes a list"),
        ({"subjects": ["08"]}, r"subjects is \['08'\]; this study has the subjects 1, 2"),
        ({"subjects": [1, 7]}, r"subjects is \[1, 7\]; this study has the subjects 1, 2"),
        ({"subjects": [True]}, r"subjects is \[True\]; this study has"),
        ({"subjects": [[1]]}, r"subjects is \[\[1\]\]; this study has"),
        ({"model": "foo"}, r"model is 'foo'; this study has the models vit-h"),
        ({"model": 8}, r"model is 8; this study has the models vit-h"),
        ({"model": ["vit-h"]}, r"model is \['vit-h'\]; this study has"),
        ({"shard": 2, "n_shards": 2}, r"shard is 2 of n_shards 2; shards count from 0"),
        ({"shard": "0", "n_shards": 1}, r"shard is '0' of n_shards 1"),
    ],
)
def test_wrong_parameters_are_a_sentence(given, message):
    with pytest.raises(SettingsError, match=message):
        registry.check_parameters(STUDY, **given)


# what keeps the header


def entry_of(path):
    return jupytext.read(path).metadata["brainalign"]


@pytest.fixture
def converted(tmp_path):
    """A notebook as the .ipynb that Jupyter users run."""
    (tmp_path / "jupytext.toml").write_text((ROOT / "notebooks/jupytext.toml").read_text())
    source = write(tmp_path, "20_x", over="subjects", reads="scores voxels", writes="mine")
    subprocess.run([BIN / "jupytext", "--to", "ipynb", source], check=True, capture_output=True)
    return source, source.with_suffix(".ipynb")


@pytest.mark.parametrize("tool", ["papermill", "nbconvert"])
def test_papermill_and_nbconvert_keep_the_header(converted, tool, tmp_path):
    source, notebook = converted
    command = {
        "papermill": ["papermill", notebook, tmp_path / "out.ipynb"],
        "nbconvert": [
            "jupyter-nbconvert",
            "--to",
            "notebook",
            "--execute",
            notebook,
            "--output",
            "out.ipynb",
        ],
    }[tool]
    subprocess.run([BIN / command[0], *command[1:]], check=True, capture_output=True)
    assert nbformat.read(tmp_path / "out.ipynb", 4).metadata["brainalign"] == entry_of(source)
    jupytext.write(jupytext.read(tmp_path / "out.ipynb"), tmp_path / "back.py", fmt="py:percent")
    assert registry.read_header(tmp_path / "back.py").reads == ("scores", "voxels")


def test_help_of_papermill_explains_the_parameters(tmp_path):
    path = tmp_path / "n.ipynb"
    jupytext.write(jupytext.read(ROOT / "notebooks/03_fit_encoding.py"), path)
    done = subprocess.run([BIN / "papermill", "--help-notebook", path], capture_output=True, text=True)
    told = " ".join(done.stdout.split())
    assert 'settings_file: str (default "workflow/config/phantom.yml") settings of the study' in told
    assert "subjects: list[int] (default []) NSD subjects of this run; empty: all of the study" in told
    assert 'model: str (default "instructblip") row of the table of models' in told


# code


def test_imports_of_every_form(tmp_path):
    notebook = tmp_path / "n.py"
    notebook.write_text(
        "import numpy\nimport brainalign_utils.tables\nfrom brainalign_utils import settings\n"
        "from brainalign_utils.artifacts import file_hash\nfrom os import path\n"
    )
    expected = {"brainalign_utils", *(f"brainalign_utils.{m}" for m in ("tables", "settings", "artifacts"))}
    assert imported_modules(notebook) == expected


def test_dependencies_are_transitive(tmp_path):
    notebook = tmp_path / "n.py"
    notebook.write_text("from brainalign_utils import settings\n")
    needed = {path.name for path in sources_needed(notebook)}
    assert {"settings.py", "models.py", "tables.py"} <= needed
    assert not any("figures" in path.parts for path in sources_needed(notebook))


def test_relative_imports_resolve_inside_the_package():
    assert "brainalign_utils.tables" in imported_modules(PACKAGE / "settings.py")


def test_stored_hashes_change_with_the_settings_of_the_header_alone(tmp_path):
    path = NOTEBOOKS["03_fit_encoding"].path
    first = registry.input_hashes(path, load_settings())
    assert registry.input_hashes(path, load_settings(subjects=[1], name="other")) == first
    assert registry.input_hashes(path, load_settings(stats={"n_bootstraps": 10})) != first


def test_an_edit_of_the_solver_reruns_fits_and_nothing_before_them():
    root = PACKAGE.parent
    fits, loading = (
        {str(path.relative_to(root)) for path in sources_needed(root / f"notebooks/{name}.py")}
        for name in ("03_fit_encoding", "01_load_responses")
    )
    solver = {"packages/voxelridge/src/voxelridge/solver.py", "packages/voxelridge/src/voxelridge/folds.py"}
    assert solver <= fits and not solver & loading
