"""Extraction of a study: resumed, sharded, refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from brainalign_utils import BrainalignError, nsd, store
from brainalign_utils.features import extraction
from brainalign_utils.features.adapters import checkpoint_folder, load_adapter, model_row
from brainalign_utils.features.adapters.layers import keep_rows, staying_rows
from brainalign_utils.features.extraction import Extractor, extract_features
from brainalign_utils.features.extraction.extractor import (
    length_sorted,
    planned_images,
    planned_rows,
    read_ahead,
)
from brainalign_utils.features.extraction.pooling import (
    POOLING_RULES,
    Greedy,
    TopK,
    generate_pooled,
    row_uniforms,
)
from brainalign_utils.features.extraction.reading import SeenPictures, pictures_identity
from brainalign_utils.features.store import FeatureStore, feature_spaces, read_features
from brainalign_utils.settings import POOLINGS, load_settings
from brainalign_utils.store import StoreError
from brainalign_utils.tables import INSTRUCTIONS

NSD_IDS = np.arange(3, 45, 2)
N_PER_BLOCK = 4
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _adapter(model_id, **kwargs):
    row = model_row(model_id)
    return load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu", **kwargs)


def _parts(folder, model_id="mplug-owl", n_new=4, **changes):
    adapter = _adapter(model_id)
    extractor = Extractor(adapter, tiny_models.Pictures(), INSTRUCTIONS[:3], max_new_tokens=n_new)
    fingerprint = {"pooling": "generated", "max_new_tokens": n_new} | changes
    components = extractor.components()
    return extractor, FeatureStore(folder, components, NSD_IDS, N_PER_BLOCK, fingerprint)


def _files(folder):
    """Content of every array file, and answers, of a store."""
    files = {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("features/c/**/*") if p.is_file()
    }
    for path in sorted(folder.glob("blocks/*.parquet")):
        files[path.name] = store.read_table(path).to_csv()
    return {name: content for name, content in files.items() if not name.endswith(".partial")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    extractor, features = _parts(folder)
    features.create()
    extract_features(extractor, features)
    assert features.missing_blocks() == [] and len(_files(folder)) == 3 * features.n_blocks
    return _files(folder)


JOB = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from pathlib import Path
from test_extraction import _parts
from brainalign_utils.features.extraction import extract_features
extractor, features = _parts(Path(sys.argv[2]))
features.create()
print("ready", flush=True)
time.sleep(float(sys.argv[3]))
extract_features(extractor, features)
"""


def _job(folder, pause=0.0):
    command = [sys.executable, "-c", JOB, str(TESTS), str(folder), str(pause)]
    job = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{Path(__file__).parent}"},
    )  # fmt: skip
    assert job.stdout.readline() == "ready\n"
    return job


def test_killed_and_resumed_equals_uninterrupted(tmp_path, uninterrupted):
    folder = tmp_path / "model"
    rng = np.random.default_rng(0)
    for _ in range(2):
        job = _job(folder)
        time.sleep(rng.uniform(0.05, 0.4))
        job.send_signal(signal.SIGKILL)
        job.wait()
    extractor, features = _parts(folder)
    features.create()
    extract_features(extractor, features)
    assert _files(folder) == uninterrupted


SHORT_OF_MEMORY = """
import logging, resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
torch.set_num_threads(1)
import tiny_models
from test_extraction import _adapter
from brainalign_utils.features.extraction import Extractor
from brainalign_utils.store import StoreError
from brainalign_utils.tables import INSTRUCTIONS
logging.basicConfig(level="WARNING", stream=sys.stdout, format="%(message)s")
ids = np.arange(60)
few = Extractor(_adapter("mplug-owl"), tiny_models.Pictures(), INSTRUCTIONS, max_new_tokens=4, batch_size=60)
many = Extractor(few.adapter, tiny_models.Pictures(), INSTRUCTIONS, max_new_tokens=4, batch_size=600)
expected, answers = few.block(ids)
status = open("/proc/self/status").read()
now = 1024 * int(status.split("VmSize:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (now + 96 * 2**20, resource.RLIM_INFINITY))
arrays, table = many.block(ids)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert table.equals(answers)
np.testing.assert_allclose(arrays["language"], expected["language"], rtol=0, atol=1e-4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space and reads /proc")
def test_short_of_memory_takes_smaller_batches():
    """The system really refuses memory here; results are those of small batches."""
    env = {
        **os.environ,
        "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{Path(__file__).parent}",
        "MALLOC_ARENA_MAX": "1",
    }
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "out of memory: batches are now 300 rows, 30 images" in done.stdout


def test_shards_together_equal_one_job(tmp_path, uninterrupted):
    folder = tmp_path / "model"
    extractor, features = _parts(folder)
    features.create()
    for k in (2, 0, 1):
        assert features.missing_blocks() != []
        extract_features(extractor, features, shard=(k, 3))
    assert _files(folder) == uninterrupted
    assert features.collect_answers(tmp_path / "answers.parquet")
    answers = store.read_table(tmp_path / "answers.parquet")
    assert answers["nsd_id"].tolist() == np.repeat(NSD_IDS, 3).tolist()


def test_second_job_on_a_shard_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path):
    folder = tmp_path / "model"
    extractor, features = _parts(folder)
    features.create()
    with features.shard_lock((0, 1)), pytest.raises(StoreError, match="another job is extracting"):
        extract_features(extractor, features)
    extract_features(extractor, features)
    assert features.missing_blocks() == []


def test_other_settings_are_refused_by_name(tmp_path):
    _parts(tmp_path / "model")[1].create()
    with pytest.raises(StoreError, match=r"max_new_tokens was 4, now 5; pooling was 'generated', now 'last'"):
        _parts(tmp_path / "model", n_new=5, pooling="last")[1].create()


def test_stored_features_are_those_of_the_extractor(tmp_path, uninterrupted):
    extractor, features = _parts(tmp_path / "model")
    features.create()
    extract_features(extractor, features, progress_bar=True)
    arrays, _ = extractor.block(features.block_ids(2))
    found = read_features(features.folder, "language", "IU3", 2, features.block_ids(2))
    np.testing.assert_array_equal(found, arrays["language"][1, 2])
    spaces = feature_spaces(features.folder)
    assert set(spaces["component"]) == {"vision", "language"}


class Script:
    """A decoder that says a fixed text in each row, and whose state of a token is known."""

    def __init__(self, texts, n_words=9):
        self.texts, self.n_words, self.n_fed = texts, n_words, 0
        self.rows = torch.arange(len(texts))

    def _logits(self):
        words = [(self.texts[i] + [0] * 20)[self.n_fed] for i in self.rows.tolist()]
        return torch.nn.functional.one_hot(torch.tensor(words), self.n_words).float()

    def _states(self, values):
        return torch.stack([values, 10 * values]).unsqueeze(-1).repeat(1, 1, 3).float()

    def start(self, rows, n_new):
        return self._logits(), self._states(-1.0 - self.rows)

    def step(self, tokens):
        self.n_fed += 1
        return self._logits(), self._states(tokens + 100 * self.rows)

    def keep(self, index):
        self.rows = self.rows[index]


def test_pooling_of_known_states():
    """Rows that end at different steps: means over the tokens read, whatever leaves the batch when."""
    texts = [[5, 3, 1, 2], [1], [4, 4, 8, 7, 6, 1], [6, 1], [2, 3, 4, 5, 6, 7]]
    states, answers = generate_pooled(Script(texts), None, 5, [1], (), Greedy())
    assert answers == [[5, 3], [], [4, 4, 8, 7, 6], [6], [2, 3, 4, 5, 6]]
    expected = [(5 + 3) / 2, -2, (4 + 4 + 8 + 7) / 4 + 200, 6 + 300, (2 + 3 + 4 + 5) / 4 + 400]
    np.testing.assert_allclose(states[0, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(states[1], 10 * states[0], rtol=1e-6)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
def test_rows_move_into_the_places_of_those_that_leave(share):
    rng = np.random.default_rng(0)
    states = torch.tensor(rng.random((17, 2, 3)))
    stays = torch.tensor(rng.random(17) < share)
    index = staying_rows(stays)
    assert sorted(index.tolist()) == stays.nonzero().squeeze(1).tolist()
    n_moved = (index != torch.arange(len(index))).sum()
    assert n_moved <= (~stays).sum()
    expected = states[index]
    found = keep_rows(states, index)
    assert torch.equal(found, expected)
    assert found.untyped_storage().data_ptr() == states.untyped_storage().data_ptr()


def test_banned_words_are_never_said():
    _, answers = generate_pooled(Script([[5, 3, 1]]), None, 3, [1], (5,), Greedy())
    assert 5 not in answers[0]


def test_sampling_follows_the_probabilities():
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.04, 0.01]])).repeat(4000, 1)
    choose = TopK(3, row_uniforms(0, np.arange(4000), np.zeros(4000), 2))
    counts = torch.bincount(choose(logits, 1, torch.arange(4000)), minlength=6) / 4000
    np.testing.assert_allclose(counts, [0.5 / 0.85, 0.2 / 0.85, 0.15 / 0.85, 0, 0, 0], atol=0.03)


def test_batches():
    batches = length_sorted([7, 3, 9, 3, 8], 2)
    assert [b.tolist() for b in batches] == [[1, 3], [0, 4], [2]]
    assert list(read_ahead(lambda x: x * x, range(5))) == [0, 1, 4, 9, 16]
    assert list(read_ahead(str, [])) == []
    adapter = _adapter("mplug-owl")
    assert planned_rows(adapter, 50, 10) > planned_rows(adapter, 100, 10) >= 1
    assert 1 <= planned_images(adapter) <= 256


def test_reading_ahead_hands_on_errors():
    def read(item):
        if item == 2:
            raise OSError("gone")
        return item

    seen = []
    with pytest.raises(OSError, match="gone"):
        seen.extend(read_ahead(read, range(4)))
    assert list(POOLING_RULES) == list(POOLINGS)


def _study(phantom_tree, tmp_path, **changes):
    features = {"max_new_tokens": 2, "stimuli_per_block": 64, "device": "cpu"} | changes.pop("features", {})
    models = ("vit-h", "clip-text", "instructblip-image-only")
    changes = {"nsd_root": phantom_tree / "nsd", "coco_root": phantom_tree / "coco"} | changes
    return load_settings(
        build_root=tmp_path, name="t", subjects=(1, 7), models=models, features=features, **changes
    )


def test_study(phantom_tree, tmp_path):
    settings = _study(phantom_tree, tmp_path)
    ids = extraction.study_stimuli(settings)
    assert (np.diff(ids) > 0).all() and len(ids) > 500  # shared pictures once
    assert not extraction.extract(settings, "vit-h", shard=(1, 2), progress_bar=False)
    assert extraction.extract(settings, "vit-h", shard=(0, 2), progress_bar=False)
    values = read_features(settings.paths.features("vit-h"), "vision", "none", 3, ids)
    assert values.shape == (len(ids), 96) and np.isfinite(values).all()
    attrs = store.open_group(settings.paths.features("vit-h") / "vision.zarr").attrs
    assert {"weights", "processor.image_mean", "config.hidden_size", "pooling", "dtype", "pictures"} <= set(
        attrs
    )
    assert {"image_size", "version of torch"} <= set(attrs)
    assert extraction.extract(settings, "clip-text", progress_bar=False)
    changed = _study(phantom_tree, tmp_path, features={"image_size": 227})
    with pytest.raises(StoreError, match="image_size was 'native', now 227"):
        extraction.extract(changed, "vit-h", progress_bar=False)


def test_pictures_are_shrunk_once_and_identified(phantom_tree, tmp_path):
    settings = _study(phantom_tree, tmp_path)
    ids = extraction.study_stimuli(settings)[:5]
    brick = nsd.StimulusBrick(settings.paths.nsd)
    adapters = {size: _adapter("vit-h", image_size=size) for size in ("native", 227)}
    images = {size: SeenPictures(brick, a.preprocess, len(ids)) for size, a in adapters.items()}
    for size, shape in (("native", (64, 64, 3)), (227, (425, 425, 3))):
        seen = [images[size][int(i)] for i in ids]
        assert seen[0].shape == shape
        expected = adapters[size].preprocess([brick[int(i)] for i in ids])
        assert torch.equal(adapters[size].preprocess(seen), expected)
    assert SeenPictures(brick, adapters["native"].preprocess, 5).kept is images["native"].kept
    assert SeenPictures(brick, adapters["native"].preprocess, 10**6).kept is None
    assert pictures_identity(brick, ids) == pictures_identity(brick, ids.astype(np.int64))
    other = {int(i): brick[int(i)] for i in ids}
    other[int(ids[2])] = 255 - other[int(ids[2])]
    assert pictures_identity(other, ids) != pictures_identity(brick, ids)


def test_stimulus_without_a_caption_is_named(phantom_tree, tmp_path):
    coco = shutil.copytree(phantom_tree / "coco", tmp_path / "coco")
    settings = _study(phantom_tree, tmp_path, n_sessions=1, coco_root=coco)
    nsd_id = int(extraction.study_stimuli(settings)[5])
    info = nsd.read_stim_info(settings.paths.nsd).set_index("nsdId").loc[nsd_id]
    file = coco / f"annotations/captions_{info['cocoSplit']}.json"
    content = json.loads(file.read_text())
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] != info["cocoId"]]
    file.write_text(json.dumps(content))
    with pytest.raises(BrainalignError, match=rf"nsd_id {nsd_id} is photograph .* holds no caption"):
        extraction.extract(settings, "clip-text", progress_bar=False)


def test_answers_of_a_study(phantom_tree, tmp_path):
    settings = _study(phantom_tree, tmp_path, n_sessions=1)
    assert extraction.extract(settings, "instructblip-image-only", progress_bar=False)
    answers = store.read_table(settings.paths.answers("instructblip-image-only"))
    assert answers["nsd_id"].tolist() == extraction.study_stimuli(settings).tolist()
    assert set(answers["instruction"]) == {"none"} and answers["n_tokens"].between(0, 2).all()


def test_answers_of_random_models_may_be_shorter(phantom_tree, tmp_path):
    lengths = {"max_new_tokens": 3, "max_new_tokens_random": 1}
    settings = _study(phantom_tree, tmp_path, n_sessions=1, features=lengths, instructions=("CR", "IC"))
    for model, length in (("instructblip-random", 1), ("instructblip", 3)):
        assert extraction.extract(settings, model, progress_bar=False)
        answers = store.read_table(settings.paths.answers(model))
        assert answers["n_tokens"].max() == length, model
        written = store.open_group(settings.paths.features(model) / "language.zarr").attrs
        assert written["max_new_tokens"] == length
