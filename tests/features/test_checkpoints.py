"""Checkpoints fetched from a stand-in hub on the loopback, found again without a network, or refused."""

import json
import os
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from fixtures.hub_server import brainalign, environment, run_python, stand_in_hub
from fixtures.unprivileged import nobody, reachable_folder
from safetensors.torch import load_file, save_file

from brainalign_utils.features.checkpoints import (
    ModelError,
    checkpoint_folder,
    weights_identity,
)
from brainalign_utils.models import MODEL_BY_ID
from nsd_phantom import CHECKPOINTS as PHANTOM_FOLDER

COMMIT = "5e4be9ae0d29f1a2b3c4d5e6f708192a3b4c5d6e"
VIT = "google/vit-huge-patch14-224-in21k"

FETCH = """
import json, sys
from dataclasses import replace
from brainalign_utils.features.checkpoints import ModelError, checkpoint_folder, fetch
from brainalign_utils.models import MODEL_BY_ID

said = {}
for name, base in json.loads(sys.argv[1]).items():
    MODEL_BY_ID[name] = replace(MODEL_BY_ID[base], id=name, checkpoint=f"stand-in/{name}", revision="main")
    try:
        [(row, folder)] = fetch([name])
        said[name] = str(folder)
    except ModelError as error:
        said[name] = f"refused: {error}"
"""
PRINT = "\nprint('SAID ' + json.dumps(said))"
LOAD = """
import hashlib
import torch
from brainalign_utils.features.adapters import load_adapter
torch.set_num_threads(1)
for name, folder in said.items():
    adapter = load_adapter(MODEL_BY_ID[name], checkpoint_folder(MODEL_BY_ID[name]), device="cpu")
    side = 64 if adapter.takes_image else 0
    pixels = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.inference_mode():
        _, pooled = adapter.encode(pixels if adapter.takes_image else None, ["a dog"])
    digest = hashlib.sha256(b"".join(pooled[part].numpy().tobytes() for part in sorted(pooled)))
    said[name] = [digest.hexdigest(), adapter.fingerprint()["weights"]]
"""


def _said(process):
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.split("SAID ")[1])


# what may be done to a folder of a checkpoint: names of phantom folders in, changed files out


def _as_bin(folder, **options):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin", **options)
    (folder / "model.safetensors").unlink()


def _beside_others(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    for name in ("tf_model.h5", "flax_model.msgpack", "rust_model.ot", "README.md", "eval_results.json"):
        (folder / name).write_bytes(b"not needed")
    (folder / "onnx").mkdir()
    (folder / "onnx/config.json").write_text("{}")


def _shards(folder, ending="safetensors"):
    weights = load_file(folder / "model.safetensors")
    stem = "model" if ending == "safetensors" else "pytorch_model"
    names = [f"{stem}-0000{i}-of-00002.{ending}" for i in (1, 2)]
    where = {key: names[i % 2] for i, key in enumerate(weights)}
    for name in names:
        part = {key: weights[key] for key in weights if where[key] == name}
        save_file(part, folder / name) if ending == "safetensors" else torch.save(part, folder / name)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "model.safetensors").unlink()


def _without_pooler(folder):
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors")


def _remove(*patterns):
    def change(folder):
        for path in [path for pattern in patterns for path in folder.glob(pattern)]:
            path.unlink()

    return change


def _put(name, content, shards=False):
    def change(folder):
        if shards:
            _shards(folder)
        (folder / name).write_bytes(content)

    return change


def _cut(name, make=lambda folder: None):
    def change(folder):
        make(folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def _missing_shard(folder):
    _shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


GOOD = {
    "safetensors": ("vit-h", lambda folder: None),
    "beside-others": ("vit-h", _beside_others),
    "shards": ("vit-h", _shards),
    "bin": ("vit-h", _as_bin),
    "bin-of-old-torch": ("vit-h", lambda folder: _as_bin(folder, _use_new_zipfile_serialization=False)),
    "bin-shards": ("vit-h", lambda folder: _shards(folder, "bin")),
    "without-pooler": ("vit-h", _without_pooler),
    "clip-without-tokenizer": ("clip-image", _remove("tokenizer*")),
    "two-tokenizers": ("instructblip", lambda folder: None),
    "random-without-weights": ("instructblip-random", _remove("*.safetensors")),
    "text-without-processor": ("language-only", _remove("pre*", "processor_config.json")),
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d2"
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in to the network</body></html>"
BAD = {
    "missing-shard": ("vit-h", _missing_shard, r"model-00002-of-00002\.safetensors, a shard of model\.safe"),
    "pointer": ("vit-h", _put("model.safetensors", POINTER), r"model\.safetensors is a Git LFS pointer"),
    "page": ("vit-h", _put("model.safetensors", PAGE), r"model\.safetensors is an HTML page"),
    "empty": ("vit-h", _put("model.safetensors", b""), r"model\.safetensors is empty"),
    "cut-off": ("vit-h", _cut("model.safetensors"), r"model\.safetensors has \d+ bytes instead of \d+"),
    "noise": (
        "vit-h",
        _put("model.safetensors", bytes(range(256)) * 9),
        r"model\.safetensors is no safetensors",
    ),
    "cut-off-bin": (
        "vit-h",
        _cut("pytorch_model.bin", _as_bin),
        r"pytorch_model\.bin is no file of PyTorch, or",
    ),
    "empty-shard": (
        "vit-h",
        _put("model-00001-of-00002.safetensors", b"", shards=True),
        r"model-00001-of-00002\.safetensors is empty",
    ),
    "index-of-nothing": (
        "vit-h",
        _put("model.safetensors.index.json", b"[]", shards=True),
        r"model\.safetensors\.index\.json .*lists no shards",
    ),
    "no-weights": (
        "vit-h",
        _remove("*.safetensors"),
        r"no weights \(model\.safetensors or pytorch_model\.bin\)",
    ),
    "adapter-only": (
        "vit-h",
        lambda folder: (folder / "model.safetensors").rename(folder / "adapter_model.safetensors"),
        r"no weights \(model\.safetensors",
    ),
    "no-processor": (
        "vit-h",
        _remove("pre*"),
        r"no image processor \(preprocessor_config\.json or processor",
    ),
    "no-tokenizer": (
        "clip-both",
        _remove("tokenizer*"),
        r"no tokenizer \(tokenizer\.json or tokenizer\.model",
    ),
    "no-qformer-tokenizer": (
        "instructblip",
        _remove("qformer_tokenizer/*"),
        r"no qformer_tokenizer \(tokenizer\.json or",
    ),
    "tokenizer-pointer": (
        "clip-both",
        _put("tokenizer.json", POINTER),
        r"tokenizer\.json is a Git LFS pointer",
    ),
    "tokenizer-page": ("clip-both", _put("tokenizer.json", PAGE), r"tokenizer\.json is an HTML page"),
    "config-no-json": ("vit-h", _put("config.json", b'{"model_type": '), r"config\.json is not valid JSON"),
    "config-list": ("vit-h", _put("config.json", b"[1]"), r"config\.json holds no mapping"),
}


def _repository(name, folder):
    base, change, *_ = (GOOD | BAD)[name]
    shutil.copytree(PHANTOM_FOLDER / MODEL_BY_ID[base].phantom, folder)
    change(folder)
    return folder


@contextmanager
def _hub_of(names, tmp_path):
    with stand_in_hub() as hub:
        for name in names:
            hub.add(f"stand-in/{name}", _repository(name, tmp_path / "hub" / name))
        yield hub


def test_fetched_checkpoints_load_without_a_network(tmp_path):
    rows = json.dumps({name: base for name, (base, _) in GOOD.items()})
    with _hub_of(GOOD, tmp_path) as hub:
        fetched = _said(run_python(FETCH + PRINT, rows, env=environment(tmp_path / "home", hub.url)))
        commits = {name: hub.repositories[f"stand-in/{name}"][1] for name in GOOD}
    loaded = _said(run_python(FETCH + LOAD + PRINT, rows, env=environment(tmp_path / "home", None)))
    for name, folder in fetched.items():
        assert folder.endswith(commits[name]), folder
        assert loaded[name][1] in (commits[name], "random, seed 0")
    vit = {name: loaded[name][0] for name, (base, _) in GOOD.items() if base == "vit-h"}
    assert len(vit) > 5 and len(set(vit.values())) == 1  # the same weights, whatever the files
    files = {path.name for path in (tmp_path / "home").rglob("snapshots/*/*") if "beside-others" in str(path)}
    assert files == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert not list((tmp_path / "home").rglob("snapshots/*/onnx"))


def test_what_the_hub_cannot_give_is_refused_in_one_sentence(tmp_path):
    rows = json.dumps({name: base for name, (base, *_) in BAD.items()})
    with _hub_of(BAD, tmp_path) as hub:
        said = _said(run_python(FETCH + PRINT, rows, env=environment(tmp_path / "home", hub.url)))
    for name, (*_, message) in BAD.items():
        assert said[name].startswith("refused: "), name
        assert re.search(message, said[name]) and "\n" not in said[name], said[name]
        assert said[name].endswith("give the row another checkpoint or revision"), said[name]


@pytest.mark.parametrize("name", BAD)
def test_damaged_folder_is_refused_in_one_sentence(name, tmp_path):
    base, _, message = BAD[name]
    row = replace(MODEL_BY_ID[base], checkpoint=f"stand-in/{name}")
    _repository(name, tmp_path / name)
    with pytest.raises(ModelError, match=message) as caught:
        checkpoint_folder(row, tmp_path)
    assert str(caught.value).endswith(f"put the files of stand-in/{name} there, or set checkpoints: hub")
    assert "\n" not in str(caught.value)


def test_folder_that_cannot_be_used():
    row = MODEL_BY_ID["vit-h"]
    with reachable_folder() as root:
        with pytest.raises(
            ModelError, match=r"no checkpoint for model 'vit-h' in .*No such file.*put the files"
        ):
            checkpoint_folder(row, root)
        (root / "vit-huge-patch14-224-in21k").write_text("")
        with pytest.raises(ModelError, match=r"no checkpoint for model 'vit-h' in .*Not a directory"):
            checkpoint_folder(row, root)
        (root / "vit-huge-patch14-224-in21k").unlink()
        folder = root / "vit-huge-patch14-224-in21k"
        shutil.copytree(PHANTOM_FOLDER / "vit", folder)
        os.chmod(folder / "model.safetensors", 0)
        with (
            nobody(),
            pytest.raises(ModelError, match=r"model\.safetensors cannot be read \(Permission denied"),
        ):
            checkpoint_folder(row, root)
        os.chmod(folder, 0)
        with nobody(), pytest.raises(ModelError, match=r"no checkpoint for .*Permission denied"):
            checkpoint_folder(row, root)
        os.chmod(folder, 0o755)
    with pytest.raises(ModelError, match="'llava' has no phantom checkpoint"):
        checkpoint_folder(MODEL_BY_ID["llava"], "phantom")


def test_any_byte_of_the_weights_changes_what_identifies_them(tmp_path):
    row, folder = MODEL_BY_ID["vit-h"], _repository("safetensors", tmp_path / "vit")
    before = weights_identity(row, folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert weights_identity(row, folder) != before
    (folder / "tf_model.h5").write_bytes(b"nobody reads this")
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert weights_identity(row, folder) == before


@pytest.fixture
def vit_hub(tmp_path):
    """A hub with the checkpoint of vit-h, and the environment of a process that uses it."""
    with stand_in_hub() as hub:
        hub.add(VIT, _repository("beside-others", tmp_path / "repository"), COMMIT)
        yield hub, environment(tmp_path / "home", hub.url)


def _error(process):
    assert process.returncode == 1, process.stdout
    lines = [line for line in process.stderr.splitlines() if "rror: " in line]
    assert len(lines) == 1 and "Traceback" not in process.stderr, process.stderr
    return lines[0]


def test_fetch_models_says_what_it_fetched_and_stays_there(vit_hub, tmp_path):
    hub, env = vit_hub
    done = brainalign("fetch-models", "vit-h", env=env)
    assert done.returncode == 0 and f"vit-h: {VIT} at {COMMIT}" in done.stdout
    hub.add(VIT, hub.repositories[VIT][0], COMMIT[::-1])  # main moves on
    n_requests = len(hub.requests)
    again = brainalign("fetch-models", "vit-h", env=env)
    assert again.stdout == done.stdout and len(hub.requests) == n_requests
    offline = brainalign("fetch-models", "vit-h", env=environment(tmp_path / "home", None))
    assert offline.stdout == done.stdout


def test_damaged_file_of_the_cache_is_fetched_again(vit_hub, tmp_path):
    _, env = vit_hub
    brainalign("fetch-models", "vit-h", env=env)
    weights = next((tmp_path / "home").rglob("snapshots/*/model.safetensors"))
    whole = weights.read_bytes()
    weights.resolve().write_bytes(whole[:-9])
    code = FETCH.partition("said")[0] + "checkpoint_folder(MODEL_BY_ID['vit-h'])"
    found = run_python(code, env=environment(tmp_path / "home", None))
    assert re.search(r"model\.safetensors has \d+ bytes .*run `brainalign fetch-models vit-h`", found.stderr)
    assert brainalign("fetch-models", "vit-h", env=env).returncode == 0
    assert weights.read_bytes() == whole


def test_broken_transfer_is_refused_and_the_next_one_goes_on(vit_hub, tmp_path):
    hub, env = vit_hub
    hub.spoiled[VIT, "model.safetensors"] = b"cut off"
    assert re.search(
        rf"{VIT} cannot be downloaded .*should be of size 523256.*`brainalign fetch-models vit-h` again",
        _error(brainalign("fetch-models", "vit-h", env=env)),
    )
    hub.spoiled.clear()
    assert brainalign("fetch-models", "vit-h", env=env).returncode == 0


def _no_network(hub, env):
    env["HF_ENDPOINT"] = "http://127.0.0.1:9"


def _login_page(hub, env):
    hub.page = PAGE


def _gated(hub, env):
    hub.gated.add(VIT)


def _gone(hub, env):
    hub.repositories.clear()


def _offline(hub, env):
    env["HF_HUB_OFFLINE"] = "1"


def _no_scheme(hub, env):
    env["HF_ENDPOINT"] = "hub.local"


def _secure_address_of_a_plain_server(hub, env):
    env["HF_ENDPOINT"] = hub.url.replace("http:", "https:")


def _cache_on_a_device(hub, env):
    env["HF_HUB_CACHE"] = "/dev/null/cache"


def _home_is_a_file(hub, env):
    with open(env["HF_HOME"], "w"):
        pass


TROUBLE = [
    (
        _no_network,
        rf"{VIT} cannot be downloaded from http://127\.0\.0\.1:9 .*look at the network and HF_ENDPOINT",
    ),
    (_login_page, rf"{VIT} cannot be downloaded from http://127.*answer is no JSON, as from a login page"),
    (_gated, rf"{VIT} is only given to those who accept its terms.*HF_TOKEN"),
    (_gone, rf"has no repository {VIT}, or it is private: then set HF_TOKEN"),
    (_no_scheme, rf"{VIT} cannot be downloaded from hub\.local .*missing an 'http://'.*HF_ENDPOINT"),
    (_secure_address_of_a_plain_server, rf"{VIT} cannot be downloaded from https://127.*SSL"),
    (_cache_on_a_device, rf"{VIT} cannot be stored \(Not a directory: /dev/null/cache\); set HF_HOME"),
    (_offline, r"HF_HUB_OFFLINE is set, so google/vit.* unset it"),
    (_home_is_a_file, rf"{VIT} cannot be stored \(Not a directory: .*; set HF_HOME"),
]


@pytest.mark.parametrize(("trouble", "message"), TROUBLE, ids=[trouble.__name__ for trouble, _ in TROUBLE])
def test_trouble_of_fetch_models_is_one_sentence(trouble, message, vit_hub):
    hub, env = vit_hub
    trouble(hub, env)
    assert re.search(message, _error(brainalign("fetch-models", "vit-h", env=env)))


def test_revision_that_is_not_there(tmp_path):
    with stand_in_hub() as hub:
        hub.add("Salesforce/instructblip-vicuna-7b", _repository("two-tokenizers", tmp_path / "blip"), COMMIT)
        error = _error(
            brainalign("fetch-models", "instructblip", env=environment(tmp_path / "home", hub.url))
        )
    assert "has no revision 19103d0c5b5263c8a7891012e08573439fb6607f; correct it in the table" in error


def test_settings_that_need_no_download(vit_hub, tmp_path):
    hub, env = vit_hub
    study = tmp_path / "study.yml"
    study.write_text("checkpoints: phantom\nmodels: [vit-h]\n")
    done = brainalign("fetch-models", "--settings", study, env=env)
    assert (
        done.returncode == 0
        and "nothing was downloaded: these settings take checkpoints from phan" in done.stdout
    )
    study.write_text(f"checkpoints: {tmp_path}\nmodels: [vit-h]\n")
    error = _error(brainalign("fetch-models", "--settings", study, env=env))
    assert f"no checkpoint for model 'vit-h' in {tmp_path}/vit-huge-patch14-224-in21k" in error
    _repository("safetensors", tmp_path / "vit-huge-patch14-224-in21k")
    assert "nothing was downloaded" in brainalign("fetch-models", "--settings", study, env=env).stdout
    assert not hub.requests


def test_settings_decide_what_is_fetched(vit_hub, tmp_path):
    _, env = vit_hub
    (tmp_path / "study.yml").write_text("data: nsd\ncheckpoints: hub\nmodels: [vit-h]\n")
    done = brainalign("fetch-models", "--settings", tmp_path / "study.yml", env=env)
    assert done.stdout.count("\n") == 1 and COMMIT in done.stdout


def test_without_the_package_of_the_phantom_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "nsd_phantom", None)  # as Python marks what cannot be imported
    with pytest.raises(
        ModelError, match=r"nsd-phantom, which brings them, is not installed; run `pip install"
    ):
        checkpoint_folder(MODEL_BY_ID["vit-h"], "phantom")
