"""Archives of scores: whole or refused, and nothing in them that may not be published."""

import hashlib
import json
import re
import shutil
import zipfile

import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from brainalign_utils import settings as config
from brainalign_utils import store
from brainalign_utils.publishing.archive import ArchiveError, Manifest, contents, packing, parse_manifest
from brainalign_utils.publishing.archive.__main__ import main
from brainalign_utils.results import study

SETTINGS = config.Settings(name="small", data="phantom", subjects=(1, 2))


@pytest.fixture
def files(tmp_path):
    """Three files of an archive by their names in it."""
    folder = tmp_path / "study"
    texts = {
        "settings.json": json.dumps(contents.published_settings(SETTINGS)),
        "scores/subj01/instructblip.zarr/r/c/0/0": "\x00numbers\x7f" * 999,
        "tables/concepts.csv": "concept,value\npeople,0.5\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


@pytest.fixture
def archive(files, tmp_path):
    packing.pack(files, tmp_path / "small-scores.zip", "small", "phantom")
    return tmp_path / "small-scores.zip"


def rewritten(archive, change):
    """The archive with its list of (member, content) changed; the manifest stays as ``change`` leaves it."""
    with zipfile.ZipFile(archive) as old:
        members = [[zipfile.ZipInfo(name), old.read(name)] for name in old.namelist()]
    members = change(members) or members
    with zipfile.ZipFile(archive, "w") as new:
        for member, content in members:
            new.writestr(member, content)
    return archive


def with_manifest(archive, change):
    """The archive with a manifest whose values were changed and whose digest fits them again."""

    def edit(members):
        values = json.loads(members[0][1])
        change(values)
        values.pop("digest")
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        members[0][1] = json.dumps(values | {"digest": hashlib.sha256(text.encode()).hexdigest()}).encode()

    return rewritten(archive, edit)


def test_round_trip(archive, files, tmp_path):
    path = packing.unpack(archive, tmp_path / "build")
    assert path == tmp_path / "build/small-scores/study.json"
    for name, source in files.items():
        assert (path.parent / name).read_bytes() == source.read_bytes()
    settings = config.load_settings(path)
    assert settings.paths.root == path.parent and settings.scores_only
    assert settings.subjects == SETTINGS.subjects and settings.nsd_root is None


def test_same_files_give_the_same_archive(archive, files, tmp_path):
    before = archive.read_bytes()
    packing.pack(dict(reversed(files.items())), archive, "small", "phantom")
    assert archive.read_bytes() == before


def test_unpacked_again_only_when_it_is_another_archive(archive, files, tmp_path):
    path = packing.unpack(archive, tmp_path / "build")
    mark = path.parent / "html"
    mark.mkdir()
    assert packing.unpack(archive, tmp_path / "build") == path and mark.exists()
    files["tables/concepts.csv"].write_text("concept,value\npeople,0.6\n")
    packing.pack(files, archive, "small", "phantom")
    packing.unpack(archive, tmp_path / "build")
    assert not mark.exists() and "0.6" in (path.parent / "tables/concepts.csv").read_text()


def refused(archive, match):
    build = archive.parent / "build"
    with pytest.raises(ArchiveError, match=match):
        packing.unpack(archive, build)
    assert not build.exists() or not list(build.iterdir()), "something was left behind"


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.999])
def test_cut_off_archive_is_refused(archive, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    refused(archive, "no whole zip archive")


def test_every_altered_byte_is_refused_or_harmless(archive, files, tmp_path):
    """A flipped bit is refused; where it is not (an unused field of zip files), the files are the same."""
    content = archive.read_bytes()
    n_refused = 0
    spread = [(position, 4) for position in range(0, len(content), max(1, len(content) // 150))]
    directory = range(content.index(b"PK\1\2"), len(content))  # methods, sizes, offsets of all members
    for position, bit in spread + [(position, bit) for position in directory for bit in (1, 4, 128)]:
        altered = bytearray(content)
        altered[position] ^= bit
        archive.write_bytes(altered)
        shutil.rmtree(tmp_path / "build", ignore_errors=True)
        try:
            path = packing.unpack(archive, tmp_path / "build")
        except ArchiveError:
            n_refused += 1
            continue
        for name, source in files.items():
            assert (path.parent / name).read_bytes() == source.read_bytes(), position
    assert n_refused > 100


def test_altered_content_with_a_fitting_zip_checksum_is_refused(archive):
    def edit(members):
        members[1][1] = members[1][1].replace(b"numbers", b"NUMBERS", 1)

    refused(rewritten(archive, edit), r"scores/subj01/instructblip.zarr/r/c/0/0 .* altered or cut off")


def test_shortened_and_lengthened_members_are_refused(archive):
    def cut(members):
        members[1][1] = members[1][1][:-5]

    refused(rewritten(archive, cut), "altered or cut off")

    def lengthen(members):
        members[1][1] += b"." * 20

    refused(rewritten(archive, lengthen), "longer than")


def test_altered_manifest_is_refused(archive):
    def edit(members):
        members[0][1] = members[0][1].replace(b'"data": "phantom"', b'"data": "nsd"')

    refused(rewritten(archive, edit), "manifest was altered")


def test_missing_unannounced_and_repeated_members_are_refused(archive, tmp_path):
    whole = archive.read_bytes()
    refused(rewritten(archive, lambda members: members[:-1]), "lacks 'tables/concepts.csv'")
    archive.write_bytes(whole)
    extra = [zipfile.ZipInfo("tables/more.csv"), b"a"]
    refused(rewritten(archive, lambda members: [*members, extra]), "holds, unannounced, 'tables/more.csv'")
    archive.write_bytes(whole)
    with pytest.warns(UserWarning, match="Duplicate name"):
        rewritten(archive, lambda members: [*members, members[1]])
    refused(archive, "twice")
    archive.write_bytes(whole)
    refused(rewritten(archive, lambda members: members[1:]), "holds no manifest.json")


@pytest.mark.parametrize(
    "path",
    [
        "../evil", "tables/../../evil", "/etc/evil", "tables//evil", "tables/./evil", "tables/..", "..",
        "tables\\..\\..\\evil", "C:/evil", "tables/evil\x00.csv", "tables/.hidden", "~/evil",
        "tables/e\u0301.csv", "", "tables/", "tables", "responses/subj01.zarr/train/c/0/0", "settings.json/x",
        "study.json", "html/index.html",
    ],
)  # fmt: skip
def test_paths_that_climb_out_or_are_of_no_known_kind_are_refused(archive, path):
    def edit(values):
        values["files"][path] = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}

    with_manifest(archive, edit)
    refused(archive, "could lead out|it may hold")
    rewritten(archive, lambda members: [*members, [zipfile.ZipInfo(path or "x"), b"x"]])
    refused(archive, "could lead out|it may hold")


def test_links_are_refused(archive):
    def edit(members):
        members[-1][0].external_attr = 0o120777 << 16

    refused(rewritten(archive, edit), "a link or a device")


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5, True])
def test_other_schema_versions_are_refused(archive, version):
    refused(with_manifest(archive, lambda v: v.update(schema_version=version)), "schema version .* reads 1")


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "x" / "other.zip"
    other.parent.mkdir()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("manifest.json", '{"format": "something else"}')
    refused(other, "not a score archive")
    other.write_text("no zip")
    refused(other, "no whole zip archive")
    other.unlink()
    refused(other, "other.zip does not exist")


def test_settings_that_this_version_does_not_know_are_refused(archive, files):
    files["settings.json"].write_text('{"name": "small", "colour": "red"}')
    packing.pack(files, archive, "small", "phantom")
    refused(archive, "settings cannot be used.*colour")


def test_command_line_says_why(archive, tmp_path, capsys):
    assert main(["unpack", str(archive), "--build-root", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "b/small-scores/study.json")
    archive.write_bytes(archive.read_bytes()[:-30])
    assert main(["unpack", str(archive), "--build-root", str(tmp_path / "c")]) == 1
    assert re.search("archive: .* no whole zip archive", capsys.readouterr().err)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
MANIFEST = {"format": "brainalign-scores", "schema_version": 1, "name": "small", "data": "nsd"}
MANIFEST |= {"git_revision": "abc", "lock_hash": "def"}
ENTRY = {"bytes": 3, "sha256": "0" * 64}


def parsed_or_refused(raw: bytes):
    try:
        return parse_manifest(raw)
    except ArchiveError:
        return None


@given(st.binary())
def test_any_bytes_are_refused(raw):
    assert parsed_or_refused(raw) is None


@given(JSON)
def test_any_json_is_refused(values):
    assert parsed_or_refused(json.dumps(values).encode()) is None


@given(st.sampled_from([*MANIFEST, "files", "digest", "more"]), JSON)
def test_any_other_value_of_a_key_is_refused(key, value):
    good = json.loads(Manifest(**MANIFEST, files={"tables/a.csv": ENTRY}).to_json())
    found = parsed_or_refused(json.dumps(good | {key: value}).encode())
    assert found is None or json.loads(found.to_json()) == good


@given(st.text(st.sampled_from("ab./\\:~ \0-_é"), max_size=12), st.sampled_from(["", "tables/", "scores/"]))
def test_accepted_paths_stay_inside(tmp_path_factory, path, folder):
    raw = Manifest(**MANIFEST, files={folder + path: ENTRY}).to_json()
    if parsed_or_refused(raw):
        root = tmp_path_factory.getbasetemp()
        inside = (root / folder / path).resolve().relative_to(root / folder)
        assert inside.parts and inside.as_posix() == path


def test_deep_nesting_and_repeated_keys_are_refused():
    with pytest.raises(ArchiveError, match="not valid JSON"):
        parse_manifest(b"[" * 100_000)
    with pytest.raises(ArchiveError, match="repeated"):
        parse_manifest(b'{"format": 1, "format": 2}')


def test_datasets_with_pictures_or_trials_are_refused(tmp_path):
    values = np.zeros((3, 5), np.float32)
    for n, dims in enumerate([("train_stimulus", "voxel"), ("space", "trial"), ("stimulus", "feature")]):
        path = store.write_dataset(tmp_path / f"{n}.zarr", xr.Dataset({"x": (dims, values)}))
        with pytest.raises(ArchiveError, match="are not published"):
            contents.refuse_raw(path)
    contents.refuse_raw(
        store.write_dataset(tmp_path / "ok.zarr", xr.Dataset({"r": (("space", "voxel"), values)}))
    )


def test_tables_with_a_row_for_each_picture_are_refused(tmp_path):
    pd.DataFrame({"nsd_id": [1], "value": [2]}).to_csv(tmp_path / "t.csv")
    with pytest.raises(ArchiveError, match="nsd_id"):
        contents.refuse_single_pictures(tmp_path / "t.csv")


def test_published_voxels_hold_no_positions_and_no_stimuli():
    coords = {"ijk": (("voxel", "axis"), np.zeros((5, 3))), "noise_ceiling": ("voxel", np.zeros(5))}
    coords |= {"label_floc-faces": ("voxel", np.zeros(5)), "label_streams": ("voxel", np.zeros(5))}
    voxels = xr.Dataset({"vertex_voxel_lh": ("vertex_lh", np.zeros(7))}, coords)
    published = contents.published_voxels(voxels)
    assert set(published.variables) == {"vertex_voxel_lh", "noise_ceiling", "label_floc-faces"}


def test_published_settings_name_no_folder_of_this_machine(tmp_path):
    settings = SETTINGS.model_copy(
        update={name: tmp_path for name in ("nsd_root", "coco_root", "checkpoints")}
    )
    text = json.dumps(contents.published_settings(settings.model_copy(update={"build_root": tmp_path})))
    assert str(tmp_path) not in text and "hub" in text


def picture_cells():
    png = {"image/png": "iVBORw0KGgo="}
    html = {"text/html": '<div><IMG src="data:image/png;base64,AA"></div>', "text/plain": ""}
    yield new_code_cell("show(stimulus)", outputs=[new_output("display_data", png)])
    yield new_code_cell("show(stimulus)", outputs=[new_output("execute_result", html)])


@pytest.mark.parametrize("cell", list(picture_cells()))
def test_pictures_leave_the_published_copy(cell):
    cell.metadata["mystnb"] = {"image": {"alt": "a picture"}}
    drawn = new_code_cell("draw(table)", metadata={"tags": ["figure:figure_4"]}, outputs=cell.outputs)
    table = new_code_cell("t", outputs=[new_output("execute_result", {"text/html": "<table></table>"})])
    injected = new_code_cell('settings_file = "/home/me/x.yml"', metadata={"tags": ["injected-parameters"]})
    metadata = {
        "brainalign": {"parameters": {"settings_file": "/home/me/x.yml", "subject": 1}, "hardware": "big"}
    }
    notebook = new_notebook(cells=[new_markdown_cell("# A"), injected, cell, drawn, table], metadata=metadata)
    before = nbformat.writes(notebook)
    published = contents.published_copy(notebook)
    assert nbformat.writes(notebook) == before
    assert [c.source for c in published.cells] == ["# A", "show(stimulus)", "draw(table)", "t"]
    assert [output.output_type for output in published.cells[1].outputs] == ["stream"]
    assert "hold no pictures" in published.cells[1].outputs[0].text
    assert published.cells[2].outputs == drawn.outputs and published.cells[3].outputs == table.outputs
    assert "/home/me" not in nbformat.writes(published) and "big" in nbformat.writes(published)
    assert contents.figure_names(published) == ["figure_4"]


def test_scores_are_no_place_for_responses_or_another_archive(tmp_path):
    settings = SETTINGS.model_copy(update={"scores_only": True})
    with pytest.raises(store.StoreError, match="published scores, no responses"):
        study.open_responses(settings, 1)
    with pytest.raises(ArchiveError, match="itself unpacked"):
        contents.collect(settings, tmp_path)
