"""What runs on a CUDA device equals what runs on the CPU.  Skipped where there is none."""

import logging

import numpy as np
import pytest
import tiny_models
import torch

from brainalign_utils.encoding.partitioning import partition_instructions
from brainalign_utils.features.adapters import checkpoint_folder, load_adapter, model_row
from brainalign_utils.features.extraction import Extractor
from brainalign_utils.tables import INSTRUCTIONS
from nsd_phantom.scenes import TRAINING_SEEDS
from training import train as training
from training.training_data import make_pool
from voxelridge import RidgeCV

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

FAMILIES = ("instructblip", "idefics", "mplug-owl", "vit-h", "clip-image")
ALPHAS = np.logspace(-1, 4, 20)


def _block(model_id, device, dtype="float32", n_images=12, batch_size="auto", n_new=6):
    row = model_row(model_id)
    adapter = load_adapter(row, checkpoint_folder(row, "phantom"), device=device, dtype=dtype)
    pictures = tiny_models.Pictures()
    extractor = Extractor(adapter, pictures, INSTRUCTIONS, max_new_tokens=n_new, batch_size=batch_size)
    return extractor, extractor.block(np.arange(n_images))


@pytest.mark.parametrize("model_id", FAMILIES)
def test_features_on_the_gpu_equal_those_on_the_cpu(model_id):
    _, (expected, answers) = _block(model_id, "cpu")
    _, (found, table) = _block(model_id, "cuda")
    for component, values in expected.items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(found[component], values, rtol=0, atol=1e-4 * scale, err_msg=component)
    assert answers is None or table.equals(answers)


@pytest.mark.parametrize("model_id", FAMILIES)
def test_bfloat16_is_close(model_id):
    # prompts' first states: later ones may follow another word
    _, (expected, _) = _block(model_id, "cuda", n_new=1)
    _, (found, _) = _block(model_id, "cuda", "bfloat16", n_new=1)
    for component, values in expected.items():
        states = [np.nan_to_num(array).reshape(-1, array.shape[-1]) for array in (values, found[component])]
        correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(*states, strict=True) if a.std() > 0]
        assert np.median(correlation) > 0.99, component


def test_out_of_memory_halves_batches(caplog):
    _, (expected, answers) = _block("mplug-owl", "cuda", batch_size=40, n_images=64)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_allocated() + 96 * 2**20
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        with caplog.at_level(logging.WARNING):
            _, (found, table) = _block("mplug-owl", "cuda", batch_size=640, n_images=64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory: batches are now 320 rows" in caplog.text
    assert table.equals(answers)
    np.testing.assert_allclose(found["language"], expected["language"], rtol=0, atol=1e-3)


def test_training_on_the_gpu_follows_the_cpu():
    pool, recipe = make_pool(TRAINING_SEEDS[:40]), training.Recipe(8, n_images=8, n_texts=2, n_warmup=4)
    for name in training.RECIPES:
        _, expected = training.train(name, pool, recipe)
        model, found = training.train(name, pool, recipe, device="cuda")
        assert all(weights.device.type == "cpu" for weights in model.parameters())
        for key in ("text_loss", "heads_loss"):
            values = [[row[key] for row in rows] for rows in (found, expected)]
            np.testing.assert_allclose(*values, rtol=0.02, atol=1e-6, err_msg=name)


def _regression(n=300, p=80, t=40, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n + 50, p)).astype(np.float32)
    Y = X[:, :10] @ rng.standard_normal((10, t)) + 4 * rng.standard_normal((n + 50, t))
    return X[:n], Y[:n].astype(np.float32), X[n:], Y[n:].astype(np.float32)


@pytest.mark.parametrize("p", [80, 700])
@pytest.mark.parametrize("scoring", ["mse", "r"])
def test_ridge_on_the_gpu_equals_the_cpu(p, scoring):
    X, Y, X_test, _ = _regression(p=p)
    expected, found = (RidgeCV(ALPHAS, scoring=scoring, device=d).fit(X, Y) for d in ("cpu", "cuda"))
    np.testing.assert_array_equal(found.best_alphas_, expected.best_alphas_)
    np.testing.assert_allclose(found.cv_scores_, expected.cv_scores_, atol=1e-4)
    np.testing.assert_allclose(found.predict(X_test), expected.predict(X_test), atol=1e-3 * Y.std())
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-3 * expected.coef_.std())


def test_partition_on_the_gpu_equals_the_cpu():
    X, Y, X_test, Y_test = _regression()
    features = {name: (X[:, i : i + 20], X_test[:, i : i + 20]) for i, name in enumerate("abc")}
    masks = {"all": np.ones(Y.shape[1], bool)}
    options = dict(roi_masks=masks, n_bootstraps=50, triples="all")
    expected = partition_instructions(features, Y, Y_test, ALPHAS, device="cpu", **options)
    found = partition_instructions(features, Y, Y_test, ALPHAS, device="cuda", **options)
    for name in ("r2_all", "unique_a", "shared", "unique_vs_all", "triple_parts", "roi_shared"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3, err_msg=name)
