"""Simulated brains: tuning, reliability and places are what the truth says."""

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nsd_phantom import areas, brain, channels
from nsd_phantom.areas import FAMILIES
from nsd_phantom.cortex import load_mesh, make_hemisphere
from nsd_phantom.experiment import subject_name
from nsd_phantom.grid import make_layout
from nsd_phantom.scenes import draw_scene
from nsd_phantom.subject_files import noise_ceiling

BETAS = "func1pt8mm/betas_fithrf_GLMdenoise_RR"


@pytest.fixture(scope="module")
def layout():
    return make_layout(5, 300, seed=2)


@pytest.fixture(scope="module")
def pictures():
    rows = [channels.picture_channels(draw_scene(seed, with_maps=True)) for seed in range(60)]
    return channels.stack_channels(10 + 3 * np.arange(60), rows)


def _truth(tree, subject):
    folder = tree / "truth" / subject_name(subject)
    return np.load(folder / "signal.npz", allow_pickle=False), pd.read_parquet(folder / "voxels.parquet")


def _clean(voxels):
    spoilt = voxels["saturated"] | (voxels["zero_in_session"] > 0) | voxels["constant"] | voxels["nan_ncsnr"]
    return (voxels["label_nsdgeneral"] == 1) & ~spoilt


def _session_z(tree, subject, session, ijk):
    """Betas (n_trials, n_voxels), z-scored by the test's own arithmetic."""
    folder = (
        tree / "nsd/nsddata_betas/ppdata" / subject_name(subject) / "func1pt8mm/betas_fithrf_GLMdenoise_RR"
    )
    with h5py.File(folder / f"betas_session{session:02d}.hdf5") as file:
        betas = file["betas"][:].transpose(0, 3, 2, 1)[(slice(None), *ijk.T)] / 300
    with np.errstate(invalid="ignore"):
        return (betas - betas.mean(axis=0)) / betas.std(axis=0, ddof=1)


def _trials(tree, subject):
    table = pd.read_csv(tree / "nsd/nsddata/ppdata" / subject_name(subject) / "behav/responses.tsv", sep="\t")
    return table["73KID"].to_numpy() - 1


def test_signal_is_standardised_and_fractions_sum_to_one(tree):
    for subject in (1, 7):
        arrays, voxels = _truth(tree, subject)
        active = voxels["ncsnr"] > 0
        signal = arrays["signal"].astype(np.float64)
        np.testing.assert_allclose(signal[:, active].mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(signal[:, active].std(axis=0), 1, atol=1e-3)
        assert not signal[:, ~active].any()
        total = voxels.loc[active, [f"fraction_{f}" for f in FAMILIES]].sum(axis=1)
        np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize("subject", (1, 7))
def test_median_noise_ceiling_is_the_real_subjects(tree, subject):
    _, voxels = _truth(tree, subject)
    ceiling = noise_ceiling(voxels.loc[voxels["label_nsdgeneral"] == 1, "ncsnr"])
    assert 100 * np.median(ceiling) == pytest.approx(areas.NOISE_CEILING_MEDIAN[subject], abs=0.5)


def test_planted_noise_ceilings_are_recovered_from_the_betas(tree):
    """NSD's recipe, written out again here; the spread is that of 500 variances of 3 trials."""
    arrays, voxels = _truth(tree, 1)
    good = _clean(voxels)
    z = np.concatenate([_session_z(tree, 1, s, arrays["ijk"][good]) for s in (1, 2)])
    order = np.argsort(_trials(tree, 1), kind="stable")
    variance = z[order].reshape(500, 3, -1).var(axis=1, ddof=1).mean(axis=0)
    planted = 1 / (1 + voxels.loc[good, "ncsnr"].to_numpy() ** 2)
    standard_error = planted / np.sqrt(500)
    deviation = (variance - planted) / standard_error
    assert abs(deviation.mean()) < 4 / np.sqrt(good.sum())
    assert 0.7 < deviation.std() < 1.4

    estimate = np.sqrt(np.maximum(0, 1 - variance) / variance)
    folder = tree / "nsd/nsddata_betas/ppdata/subj01" / BETAS
    stored = nib.load(folder / "ncsnr.nii.gz").get_fdata()
    np.testing.assert_allclose(stored[tuple(arrays["ijk"][good].T)], estimate, rtol=1e-4, atol=1e-4)
    n_outside = stored.size - len(arrays["ijk"])
    assert np.isnan(stored).sum() == n_outside + voxels["constant"].sum() + voxels["nan_ncsnr"].sum()


def test_averaged_responses_follow_the_signal_up_to_the_ceiling(tree):
    arrays, voxels = _truth(tree, 1)
    good = _clean(voxels)
    z = np.concatenate([_session_z(tree, 1, s, arrays["ijk"][good]) for s in (1, 2)])
    order = np.argsort(_trials(tree, 1), kind="stable")
    response = z[order].reshape(500, 3, -1).mean(axis=1)
    signal = arrays["signal"][:, good].astype(np.float64)
    r2 = np.array([np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(response.T, signal.T, strict=True)])
    ceiling = noise_ceiling(voxels.loc[good, "ncsnr"].to_numpy())
    assert abs((r2 - ceiling).mean()) < 0.01  # standard error of the mean: about .03 / sqrt(200)


@pytest.mark.parametrize(
    ("volume", "code", "families"),
    [
        ("prf-visualrois", (1, 2, 3, 4, 5, 6), ("energy", "colour")),
        ("prf-visualrois", (7,), ("colour", "energy")),
        ("floc-faces", (1, 2, 3), ("faces", "bodies")),
        ("floc-bodies", (1,), ("bodies", "faces")),
        ("floc-places", (2, 3), ("places", "objects")),
        ("floc-words", (2, 3), ("words", "bodies", "faces", "objects")),
    ],
)
def test_areas_are_tuned_to_what_they_are_known_for(volume, code, families):
    layout = make_layout(1, 1500, seed=0)
    mean = layout.profile[np.isin(layout.labels[volume], code)].mean(axis=0)
    order = np.array(FAMILIES)[np.argsort(-mean)]
    assert order[0] == families[0]
    assert mean[[FAMILIES.index(family) for family in families]].sum() > 0.6


def test_unlabelled_visual_cortex_has_food_counts_and_relations(tree):
    _, voxels = _truth(tree, 1)
    found = set(voxels.loc[voxels["label_nsdgeneral"] == 1, "family"])
    assert {
        "energy",
        "colour",
        "faces",
        "bodies",
        "animals",
        "food",
        "places",
        "objects",
        "relations",
    } <= found


def test_responses_follow_the_drawn_content(tree):
    """Face voxels respond to people, animal-count voxels to the number of animals."""
    arrays, voxels = _truth(tree, 1)
    stimuli = pd.read_parquet(tree / "truth/stimuli.parquet").set_index("nsd_id").loc[arrays["nsd_id"]]
    for family, column in {
        "faces": "faces: people",
        "animals": "animals: animals",
        "food": "food: foods",
    }.items():
        chosen = (voxels["family"] == family) & (voxels[f"fraction_{family}"] > 0.5)
        mean = arrays["signal"][:, chosen].astype(float).mean(axis=1)
        assert np.corrcoef(mean, stimuli[column])[0, 1] > 0.5


def test_fields_hold_no_numbers_that_slow_products_down():
    fields = brain.receptive_fields(np.array([[0.0, 0.0, 0.2], [4.0, -4.0, 0.4], [1.0, 2.0, 6.0]]))
    assert (fields[fields > 0] > 1e-20).all() and (fields == 0).any()
    np.testing.assert_allclose(fields.sum(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_pooling_gives_the_bits_of_a_mean(size):
    maps = np.random.default_rng(size).random((5, 32 * size, 32 * size), np.float32)
    mean = maps.reshape(5, 32, size, 32, size).mean(axis=(2, 4))
    np.testing.assert_array_equal(channels._pool(maps), mean)


def test_receptive_fields_are_contralateral_and_upside_down(layout):
    x, y, size = layout.prf.T
    visual = layout.labels["prf-visualrois"]
    in_map = visual > 0
    assert (x[in_map & (layout.side == 0)] > 0).all() and (x[in_map & (layout.side == 1)] < 0).all()
    assert (y[np.isin(visual, (2, 4, 6))] <= 0).all() and (y[np.isin(visual, (1, 3, 5))] >= 0).all()
    eccentricity = np.hypot(x, y)
    codes = layout.labels["prf-eccrois"]
    np.testing.assert_array_equal(codes[in_map], 1 + np.searchsorted((0.5, 1, 2, 4), eccentricity[in_map]))
    assert np.median(size[visual == 7]) > 2 * np.median(size[np.isin(visual, (1, 2))])


def test_layout_voxels_hold_their_vertices(layout):
    """A voxel's vertex lies inside it at one of the depths; the mask is in C order."""
    flat = np.ravel_multi_index(layout.ijk.T, layout.shape)
    assert (np.diff(flat) > 0).all()
    for index, side in enumerate(("lh", "rh")):
        mine = layout.side == index
        points = np.stack([layout.vertex_ijk[side, f"layerB{n}"][layout.vertex[mine]] for n in (1, 2, 3)])
        away = np.abs(points - layout.ijk[mine]).max(axis=-1).min(axis=0)
        assert away.max() <= 0.5
    assert layout.nsdgeneral.sum() == round(300 * 13039 / 13931)


def test_areas_lie_where_the_literature_puts_them():
    for side, sign in (("lh", -1), ("rh", 1)):
        hemisphere = make_hemisphere(side, 1, np.random.default_rng(4))
        middle = (hemisphere.white + hemisphere.pial) / 2
        for volume, code, centre in [
            ("floc-faces", 2, (40, -55, -16)),
            ("floc-places", 2, (28, -45, -8)),
            ("floc-bodies", 1, (48, -72, 2)),
            ("floc-places", 1, (34, -80, 20)),
            ("floc-places", 3, (18, -56, 14)),
            ("prf-visualrois", 1, (10, -85, -2)),
        ]:
            found = middle[hemisphere.labels[volume] == code].mean(axis=0)
            assert np.linalg.norm(found - np.array(centre) * [sign, 1, 1]) < 12, (side, volume, code, found)
    assert len(load_mesh("lh")["white"]) == 10242


def test_brains_do_not_depend_on_which_other_subjects_exist(layout, pictures):
    again = make_layout(5, 300, seed=2)
    np.testing.assert_array_equal(layout.ijk, again.ijk)
    first, second = (brain.make_brain(one, pictures, seed=2) for one in (layout, again))
    np.testing.assert_array_equal(first.signal, second.signal)
    other = brain.make_brain(layout, pictures, seed=3)
    assert not np.array_equal(first.ncsnr, other.ncsnr)


def test_variance_fractions_of_orthogonal_and_of_equal_parts():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(70, 3)) - 0)[0]
    basis = (basis - basis.mean(axis=0)) / basis.std(axis=0)
    a, b = basis[:, 0], basis[:, 1] - basis[:, 0] * (basis[:, 0] @ basis[:, 1]) / 70
    b /= b.std()
    components = np.stack([np.stack([a, a], axis=1), np.stack([b, a], axis=1)])
    weight = np.array([[0.6, 0.8], [0.5, 0.5]])
    fraction, unique = brain.variance_fractions(components, weight)
    np.testing.assert_allclose(fraction, [[0.36, 0.64], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(unique, [[0.36, 0.64], [0, 0]], atol=1e-5)


def test_receptive_field_weights():
    fields = brain.receptive_fields(np.array([[2.0, 1.0, 0.5], [-3.0, -2.0, 1.5]])).reshape(32, 32, 2)
    np.testing.assert_allclose(fields.sum(axis=(0, 1)), 1, rtol=1e-5)
    row, column = np.unravel_index(fields[..., 0].argmax(), (32, 32))
    assert row < 16 < column  # up is a small row, right a large column


@pytest.mark.parametrize(("which", "wavelength"), list(enumerate(channels.WAVELENGTHS)))
@pytest.mark.parametrize(("turn", "orientation"), list(enumerate(channels.ORIENTATIONS)))
def test_energy_prefers_the_grating_it_is_named_after(which, wavelength, turn, orientation):
    y, x = np.mgrid[:96, :96]
    angle = np.deg2rad(orientation)
    wave = 0.5 + 0.4 * np.cos(2 * np.pi / wavelength * (x * np.cos(angle) + y * np.sin(angle)))
    energy = channels.energy_maps(np.repeat(wave[..., None], 3, axis=2).astype(np.float32))
    assert energy.shape == (13, 32, 32)
    assert energy[:12].mean(axis=(1, 2)).argmax() == which * 4 + turn


def test_colour_maps_find_hue_and_place():
    rgb = np.zeros((64, 64, 3), np.float32)
    rgb[:32, :, 0] = 1  # red above, blue below
    rgb[32:, :, 2] = 1
    maps = dict(zip(channels.MAPS["colour"], channels.colour_maps(rgb), strict=True))
    np.testing.assert_allclose(maps["red"][:16], 1, atol=1e-5)
    np.testing.assert_allclose(maps["blue"][16:], 1, atol=1e-5)
    assert maps["red"][16:].max() < 0.01 and maps["green"].max() < 0.1


def test_channels_count_what_is_drawn():
    drawing = draw_scene(7, with_maps=True)
    maps, counts = channels.picture_channels(drawing)
    named = dict(zip(channels.COUNTS["food"], counts["food"], strict=True))
    assert named["foods"] == len(drawing.scene.content.foods)
    assert all(named[food] == 1 for food in drawing.scene.content.foods)
    animals = sum(thing.area for thing in drawing.scene.objects if thing.supercategory == "animal")
    assert maps["animals"].astype(float).mean() == pytest.approx(animals / 425**2, abs=0.01)


def test_take_orders_by_nsd_id(pictures):
    chosen = pictures.take(np.array([40, 10, 19]))
    np.testing.assert_array_equal(chosen.maps["energy"], pictures.maps["energy"][[10, 0, 3]])
