"""Archives of scores: whole or refused, and nothing in them that may not be published."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from brainalign_utils import settings as config
from brainalign_utils import store
from brainalign_utils.publishing import archive
from brainalign_utils.publishing.archive import MANIFEST, ArchiveError, main, pack, unpack
from brainalign_utils.results import study

SETTINGS = config.Settings(name="small", data="phantom", subjects=(1, 2))


@pytest.fixture
def files(tmp_path):
    """Three files of an archive by their names in it."""
    folder = tmp_path / "study"
    texts = {
        "settings.json": json.dumps(archive.published_settings(SETTINGS)),
        "scores/subj01/instructblip.zarr/r/c/0/0": "\x00numbers\x7f" * 999,
        "tables/concepts.csv": "concept,value\npeople,0.5\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


@pytest.fixture
def packed(files, tmp_path):
    pack(files, tmp_path / "small-scores.zip")
    return tmp_path / "small-scores.zip"


def test_round_trip(packed, files, tmp_path):
    path = unpack(packed, tmp_path / "build")
    assert path == tmp_path / "build/small-scores/study.json"
    for name, source in files.items():
        assert (path.parent / name).read_bytes() == source.read_bytes()
    settings = config.load_settings(path)
    assert settings.paths.root == path.parent and settings.scores_only
    assert settings.subjects == SETTINGS.subjects and settings.nsd_root is None


def test_same_files_give_the_same_archive(packed, files):
    before = packed.read_bytes()
    pack(dict(reversed(files.items())), packed)
    assert packed.read_bytes() == before


def test_unpacked_again_only_when_it_is_another_archive(packed, files, tmp_path):
    path = unpack(packed, tmp_path / "build")
    mark = path.parent / "html"
    mark.mkdir()
    assert unpack(packed, tmp_path / "build") == path and mark.exists()
    files["tables/concepts.csv"].write_text("concept,value\npeople,0.6\n")
    pack(files, packed)
    unpack(packed, tmp_path / "build")
    assert not mark.exists() and "0.6" in (path.parent / "tables/concepts.csv").read_text()


def put(name, content, announced=False):
    """Change of an archive: a member has another content, or goes, and the manifest may say so."""

    def change(members, manifest):
        members[name] = content
        if announced and content is None:
            del manifest["files"][name]
        elif announced:
            manifest["files"][name] = hashlib.sha256(content).hexdigest()

    return rewriting(change)


def declare(**values):
    """Change of an archive: other values in its manifest."""
    return rewriting(lambda members, manifest: manifest.update(values))


def rewriting(change):
    """Change of an archive, with zip checksums that fit; None in the place of content removes a member."""

    def rewrite(path):
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
        manifest = json.loads(members[MANIFEST])
        change(members, manifest)
        members[MANIFEST] = json.dumps(manifest).encode()
        with zipfile.ZipFile(path, "w") as new:
            for name, content in members.items():
                if content is not None:
                    new.writestr(name, content)

    return rewrite


def manifest_of(content):
    """Change of an archive: its manifest is something else."""

    def change(path):
        with zipfile.ZipFile(path, "w") as new:
            if content is not None:
                new.writestr(MANIFEST, content)

    return change


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"numbers") + 3] ^= 4
    path.write_bytes(content)


SCORES, TABLE = "scores/subj01/instructblip.zarr/r/c/0/0", "tables/concepts.csv"
REFUSED = {
    "a flipped byte": (flip, f"no whole zip archive (Bad CRC-32 for file '{SCORES}'); get it again"),
    "another content": (put(SCORES, b"NUMBERS"), f"{SCORES} in the archive was altered: its"),
    "a missing member": (put(TABLE, None), f"lacks {TABLE!r}; get it again"),
    "an extra member": (put("tables/more.csv", b"a"), "holds, unannounced, 'tables/more.csv'; get it again"),
    "no settings": (put("settings.json", None, announced=True), "lacks 'settings.json'"),
    "no manifest": (manifest_of(None), "not a score archive: it holds no manifest.json"),
    "an empty manifest": (manifest_of(b""), "the manifest is damaged"),
    "a manifest that is a list": (manifest_of(b"[1]"), "the manifest is damaged"),
    "a deeply nested manifest": (manifest_of(b"[" * 100_000), "the manifest is damaged"),
    "an older schema": (declare(schema_version=1), "schema version 1, this program reads 2; use"),
    "a newer schema": (declare(schema_version="3"), "schema version '3', this program reads 2"),
    "another format": (declare(format="x"), "not a score archive: its manifest has the format 'x'"),
    "unknown settings": (put("settings.json", b'{"name": "s", "hue": 1}', announced=True), "hue"),
    "a name that leads out": (put("settings.json", b'{"name": "../../s"}', announced=True), "cannot be used"),
    "nothing": (lambda path: path.write_bytes(b""), "no whole zip archive"),
    "text": (lambda path: path.write_text("no zip"), "no whole zip archive (File is not a zip file)"),
    "no file": (lambda path: path.unlink(), "does not exist"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "does not exist"),
    **{f"cut off at {share}": (cut(share), "no whole zip archive") for share in (0.01, 0.3, 0.7, 0.999)},
    **{
        f"a member named {name!r}": (put(name, b"x", announced=True), "the archive names ")
        for name in (
            "../evil", "tables/../../evil", "/etc/evil", "tables//evil", "tables/./evil", "tables/..", "..",
            "tables\\..\\..\\evil", "C:/evil", "tables/.hidden", "~/evil", "tables/e\u0301.csv", "tables/a\n",
            "tables/", "tables", "responses/subj01.zarr/c/0", "settings.json/x", "study.json",
            "html/index.html",
        )
    },
}  # fmt: skip
"""What may be wrong with an archive, and part of the sentence that says so."""


@pytest.mark.parametrize("wrong", REFUSED)
def test_refused_in_one_sentence(packed, wrong, capsys):
    change, sentence = REFUSED[wrong]
    change(packed)
    build = packed.parent / "build"
    assert main(["unpack", str(packed), "--build-root", str(build)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("Error: ") and sentence in said.err and "Traceback" not in said.err
    assert not said.out and not list(build.glob("*")), "something was left behind"


def test_a_member_that_stands_twice_is_refused(packed):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(packed, "a") as file:
        file.writestr(TABLE, b"other")
    with pytest.raises(ArchiveError, match=r"holds 'tables/concepts\.csv' twice"):
        unpack(packed, packed.parent / "build")


def test_every_altered_byte_is_refused_or_harmless(packed, files, tmp_path):
    """A flipped bit is refused; where it is not (an unused field of zip files), the files are the same."""
    content = packed.read_bytes()
    n_refused = 0
    spread = [(position, 4) for position in range(0, len(content), max(1, len(content) // 150))]
    directory = range(content.index(b"PK\1\2"), len(content))  # methods, sizes, offsets of all members
    for position, bit in spread + [(position, (1, 4, 128)[position % 3]) for position in directory]:
        altered = bytearray(content)
        altered[position] ^= bit
        packed.write_bytes(altered)
        shutil.rmtree(tmp_path / "build", ignore_errors=True)
        try:
            path = unpack(packed, tmp_path / "build")
        except ArchiveError:
            n_refused += 1
            continue
        for name, source in files.items():
            assert (path.parent / name).read_bytes() == source.read_bytes(), position
    assert n_refused > 100


def test_strange_paths(packed, tmp_path):
    """The command, on an archive and a build folder behind links, with spaces and other alphabets."""
    home = tmp_path / "étude  du cerveau #1; 脳"
    home.mkdir()
    source = home / "scores d'été.zip"
    source.symlink_to(packed)
    (tmp_path / "disk").mkdir()
    (home / "bâti ment").symlink_to(tmp_path / "disk", target_is_directory=True)
    command = [sys.executable, "-m", "brainalign_utils.publishing.archive", "unpack", source]
    done = subprocess.run([*command, "--build-root", home / "bâti ment"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.removesuffix("\n"))
    assert path == (tmp_path / "disk/small-scores/study.json").resolve()
    assert config.load_settings(path).paths.root == path.parent


def test_nothing_but_known_kinds_is_packed(files, tmp_path):
    with pytest.raises(ArchiveError, match=r"may not hold 'responses/subj01\.zarr'"):
        pack(files | {"responses/subj01.zarr": files["settings.json"]}, tmp_path / "x.zip")


def test_datasets_with_images_or_trials_are_refused(tmp_path):
    values = np.zeros((3, 5), np.float32)
    for n, dims in enumerate([("train_stimulus", "voxel"), ("space", "trial"), ("stimulus", "feature")]):
        path = store.write_dataset(tmp_path / f"{n}.zarr", xr.Dataset({"x": (dims, values)}))
        with pytest.raises(ArchiveError, match="are not published"):
            archive.refuse_raw(path)
    archive.refuse_raw(
        store.write_dataset(tmp_path / "ok.zarr", xr.Dataset({"r": (("space", "voxel"), values)}))
    )


def test_tables_with_a_row_per_image_are_refused(tmp_path):
    pd.DataFrame({"nsd_id": [1], "value": [2]}).to_csv(tmp_path / "t.csv")
    with pytest.raises(ArchiveError, match="nsd_id"):
        archive.refuse_single_images(tmp_path / "t.csv")


def test_published_voxels_hold_no_positions_and_no_stimuli():
    coords = {"ijk": (("voxel", "axis"), np.zeros((5, 3))), "noise_ceiling": ("voxel", np.zeros(5))}
    coords |= {"label_floc-faces": ("voxel", np.zeros(5)), "label_streams": ("voxel", np.zeros(5))}
    voxels = xr.Dataset({"vertex_voxel_lh": ("vertex_lh", np.zeros(7))}, coords)
    published = archive.published_voxels(voxels)
    assert set(published.variables) == {"vertex_voxel_lh", "noise_ceiling", "label_floc-faces"}


def test_published_settings_name_no_folder_of_this_machine(tmp_path):
    settings = SETTINGS.model_copy(
        update={name: tmp_path for name in ("nsd_root", "coco_root", "checkpoints")}
    )
    text = json.dumps(archive.published_settings(settings.model_copy(update={"build_root": tmp_path})))
    assert str(tmp_path) not in text and "hub" in text


def image_cells():
    png = {"image/png": "iVBORw0KGgo="}
    html = {"text/html": '<div><IMG src="data:image/png;base64,AA"></div>', "text/plain": ""}
    yield new_code_cell("show(stimulus)", outputs=[new_output("display_data", png)])
    yield new_code_cell("show(stimulus)", outputs=[new_output("execute_result", html)])


@pytest.mark.parametrize("cell", list(image_cells()))
def test_images_leave_the_published_copy(cell):
    cell.metadata["mystnb"] = {"image": {"alt": "an image"}}
    drawn = new_code_cell("draw(table)", metadata={"tags": ["figure:figure_4"]}, outputs=cell.outputs)
    table = new_code_cell("t", outputs=[new_output("execute_result", {"text/html": "<table></table>"})])
    injected = new_code_cell('settings_file = "/home/me/x.yml"', metadata={"tags": ["injected-parameters"]})
    metadata = {
        "brainalign": {"parameters": {"settings_file": "/home/me/x.yml", "subject": 1}, "hardware": "big"}
    }
    notebook = new_notebook(cells=[new_markdown_cell("# A"), injected, cell, drawn, table], metadata=metadata)
    before = nbformat.writes(notebook)
    published = archive.published_copy(notebook)
    assert nbformat.writes(notebook) == before
    assert [c.source for c in published.cells] == ["# A", "show(stimulus)", "draw(table)", "t"]
    assert [output.output_type for output in published.cells[1].outputs] == ["stream"]
    assert "hold no images" in published.cells[1].outputs[0].text
    assert published.cells[2].outputs == drawn.outputs and published.cells[3].outputs == table.outputs
    assert "/home/me" not in nbformat.writes(published) and "big" in nbformat.writes(published)


def test_scores_are_no_place_for_responses_or_another_archive(tmp_path):
    settings = SETTINGS.model_copy(update={"scores_only": True})
    with pytest.raises(store.StoreError, match="published scores, no responses"):
        study.open_responses(settings, 1)
    with pytest.raises(ArchiveError, match="itself unpacked"):
        archive.collect(settings, tmp_path)
