"""The viewer's files hold the study's scores, within half a step of one byte, at the right vertices."""

import base64
import json

import numpy as np
import pytest
import xarray as xr

from brainalign_utils import store
from brainalign_utils.publishing import viewer
from brainalign_utils.results import study, surface
from brainalign_utils.settings import Settings
from brainalign_utils.stats import scoring
from brainalign_utils.tables import ROIS

N_VOXELS = {1: 11, 2: 13}
SPACES = [("vision", "none", 0), ("vision", "none", 1), ("projection", "none", 0)]


@pytest.fixture
def settings(tmp_path):
    """Two subjects with scores of one model; voxel k lies under vertices 2k and 2k + 1, left and right."""
    settings = Settings(
        build_root=tmp_path, subjects=(1, 2), models=("clip-image",), instructions=("IC", "IU1")
    )
    n_vertices = study.N_FSAVERAGE5
    rng = np.random.default_rng(0)
    for subject, n_voxels in N_VOXELS.items():
        component, instruction, layer = zip(*SPACES, strict=True)
        labels = {"component": component, "instruction": instruction, "layer": layer}
        coords = {name: ("space", list(values)) for name, values in labels.items()}
        coords["noise_ceiling"] = ("voxel", rng.uniform(0.2, 0.9, n_voxels).astype(np.float32))
        r = rng.uniform(-0.2, 0.8, (len(SPACES), n_voxels)).astype(np.float32)
        r[:, 3] = np.nan
        scores = xr.Dataset({"r": (("space", "voxel"), r)}, coords)
        store.write_dataset(settings.paths.scores(subject, "clip-image"), scores)
        voxel = np.full(n_vertices, -1, np.int32)
        voxel[: 2 * n_voxels] = np.arange(n_voxels).repeat(2)
        refined = np.concatenate([voxel, np.zeros(7, np.int32)])  # NSD's fsaverage goes on
        mask = np.zeros((len(ROIS), n_voxels), bool)
        mask[0], mask[4, 5] = True, True
        places = {f"vertex_voxel_{h}": (f"vertex_{h}", refined) for h in ("lh", "rh")}
        regions = {"roi": [roi.id for roi in ROIS], "roi_mask": (("roi", "voxel"), mask)}
        store.write_dataset(settings.paths.voxels(subject), xr.Dataset(places, regions))
    return settings


def received(file):
    """What a file hands over, as the page reads it."""
    name, text = file.read_text().removeprefix("brainalignCortex.receive(").split(", ", 1)
    return json.loads(name), json.loads(text.removesuffix(");\n"))


def decoded(data, key, dtype):
    return np.frombuffer(base64.b64decode(data["arrays"][key]), dtype)


def test_codes_keep_values_and_gaps():
    values = np.array([[-0.4, 0.1, np.nan], [0.33, 1.2, 0.0]])
    coded = viewer.code(values)
    assert coded.codes.dtype == np.uint8 and coded.codes[0, 2] == viewer.MISSING
    np.testing.assert_allclose(coded.values(), values, atol=1.6 / 508 + 1e-12)
    assert (coded.low, coded.high) == pytest.approx((-0.4, 1.2))


@pytest.mark.parametrize("values", [[np.nan, np.nan], [0.5, 0.5]])
def test_codes_of_nothing_and_of_a_constant(values):
    np.testing.assert_allclose(viewer.code(values).values(), values)


def test_files_hold_the_scores_at_their_vertices(settings, tmp_path):
    manifest = viewer.write_viewer(settings, tmp_path / "viewer")
    assert manifest["subjects"] == ["subj01", "subj02", "mean"]
    assert manifest["models"]["clip-image"]["spaces"] == SPACES
    subjects = viewer.vertex_scores(settings, "clip-image", viewer.vertex_maps(settings))[1].values()
    assert manifest["high"] == max(np.nanquantile(values, 0.98) for values in subjects), "one scale for all"
    name, data = received(tmp_path / "viewer" / "subj02_clip-image.js")
    _, where = received(tmp_path / "viewer" / "regions_subj02.js")
    vertices = decoded(where, "vertices", "<u2")
    values = viewer.Coded(decoded(data, "values", np.uint8), data["low"], data["high"]).values()
    shown = dict(zip(vertices.tolist(), values.reshape(len(SPACES), -1)[1], strict=True))
    scores = store.open_dataset(settings.paths.scores(2, "clip-image"))
    alignment = scoring.normalised_alignment(scores.r.values, scores.noise_ceiling.values, 0.05)[1]
    half = (data["high"] - data["low"]) / 508
    assert name == "subj02_clip-image"
    for hemisphere in (0, 10242):
        for vertex in range(2 * N_VOXELS[2]):
            np.testing.assert_allclose(shown[hemisphere + vertex], alignment[vertex // 2], atol=half + 1e-6)


def test_mean_is_over_the_subjects_that_have_a_value(settings):
    maps = viewer.vertex_maps(settings)
    spaces, values = viewer.vertex_scores(settings, "clip-image", maps)
    assert spaces == SPACES
    both, second = 2 * 4, 2 * 12  # voxel 4 of both subjects, voxel 12 of the second alone
    np.testing.assert_allclose(values["mean"][:, both], (values[1][:, both] + values[2][:, both]) / 2)
    np.testing.assert_allclose(values["mean"][:, second], values[2][:, second])
    assert np.isnan(values["mean"][:, 2 * 3]).all()


def test_regions_are_bits(settings):
    bits = viewer.region_bits(settings, viewer.vertex_maps(settings))
    assert np.flatnonzero(viewer.in_region(bits[1], ROIS[4].id)).tolist() == [10, 11, 10252, 10253]
    assert viewer.in_region(bits[1], "nsdgeneral").sum() == 2 * 2 * N_VOXELS[1]
    assert viewer.in_region(bits["mean"], "nsdgeneral").sum() == 2 * 2 * max(N_VOXELS.values())


def test_table_summarises_regions():
    values, bits = np.array([[0.1, 0.5, np.nan, 0.2]]), np.array([1, 1, 1, 0], np.uint32)
    table = viewer.space_table([("vision", "none", 2)], values, bits, ["nsdgeneral", "V1"])
    first = table.iloc[0]
    assert (first.n_vertices, first.lowest, first["median"], first.highest) == (2, 0.1, 0.3, 0.5)
    assert table.iloc[1].n_vertices == 0 and np.isnan(table.iloc[1]["median"])


def test_mesh_is_whole(settings, tmp_path):
    viewer.write_viewer(settings, tmp_path / "viewer")
    _, mesh = received(tmp_path / "viewer" / "mesh.js")
    source = surface.fsaverage5()
    faces = decoded(mesh, "faces", "<u2").reshape(-1, 3)
    assert len(faces) == 2 * mesh["perHemisphere"]["faces"] and faces.max() == 10241
    points = decoded(mesh, "inflated", "<i2").reshape(-1, 3) / 100
    np.testing.assert_allclose(points[10242:], source.inflated.values[1], atol=0.006)
