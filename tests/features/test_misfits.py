"""Rows, checkpoints and instructions that do not fit each other are refused before anything runs."""

import json
import shutil
from dataclasses import replace

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from brainalign_utils.features.adapters import FAMILIES, ModelError, checkpoint_folder, load_adapter
from brainalign_utils.features.extraction import ExtractionError, Extractor
from brainalign_utils.models import MODEL_BY_ID, MODELS
from brainalign_utils.settings import SettingsError, load_settings
from brainalign_utils.tables import INSTRUCTIONS, Instruction
from nsd_phantom import CHECKPOINTS as PHANTOM_FOLDER

CAPTIONS = {7: "two dogs on grass"}


@pytest.fixture(scope="module", params=[*tiny_models.FAMILIES, "language-only", "clip-both"])
def adapter(request, tmp_path_factory):
    if request.param in tiny_models.FAMILIES:
        folder = tiny_models.save(request.param, tmp_path_factory.mktemp(request.param))
        return load_adapter(tiny_models.row(request.param), folder, device="cpu")
    row = MODEL_BY_ID[request.param]
    return load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu")


def _extractor(adapter, text="What is this?", caption=CAPTIONS[7]):
    instruction = Instruction("X", "own", text, 1)
    return Extractor(adapter, {7: tiny_models.picture(7)}, [instruction], {7: caption}, max_new_tokens=2)


def test_markers_in_instructions_are_refused_by_name(adapter):
    """Those of the template, and every special token of the tokenizers, for every family."""
    markers = adapter.markers()
    tokenizer = next(iter(adapter.tokenizers.values()))
    assert {"<s>", "</s>", "<pad>", "<image>", "<end_of_utterance>"} <= set(markers)
    assert {token for token in tokenizer.all_special_tokens if len(token) > 2} <= set(markers)
    for marker in markers:
        text = f"Describe {marker} in one word."
        if adapter.decoder is not None:
            with pytest.raises(ExtractionError, match="instruction 'X' contains ") as caught:
                _extractor(adapter, text)
            assert repr(marker) in str(caught.value) and adapter.row.id in str(caught.value)
        if adapter.takes_caption:
            with pytest.raises(ExtractionError, match="caption of nsd_id 7 contains '<"):
                _extractor(adapter, caption=text)
    _extractor(adapter)


TEMPLATE_MARKERS = {
    "mplug-owl": ["<image>", "Human:", "AI:"],
    "idefics": ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "User:", "Assistant:"],
    "llava": ["<image>", "USER:", "ASSISTANT:"],
    "blip2": ["Question:", "Answer:"],
    "instructblip": ["<image>"],
}


def test_markers_are_those_of_the_family(adapter):
    assert set(TEMPLATE_MARKERS.get(adapter.row.id, [])) <= set(adapter.markers())


def test_instructions_of_the_study_hold_no_marker(adapter):
    Extractor(adapter, {}, INSTRUCTIONS, CAPTIONS, max_new_tokens=2)


def test_plain_words_and_punctuation_are_no_markers():
    """Some tokenizers pad with "!", or add words to their vocabulary."""
    row = MODEL_BY_ID["clip-text"]
    adapter = load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu")
    adapter.tokenizer.add_tokens(["zebra"])
    adapter.tokenizer.pad_token = "!"
    assert not {"zebra", "!"} & set(adapter.markers())


OWN = "extra_instructions: [{{id: X, task: own, text: '{}', level: 3}}]\n"
IN_SETTINGS = [
    ("mplug-owl", "Describe <image>.", "instruction 'X' contains '<image>', a marker of model 'mplug-owl'"),
    ("mplug-owl", "Human: what is this?", "instruction 'X' contains 'Human:', a marker of model 'mplug-owl'"),
    ("instructblip", "What is in <image>?", "instruction 'X' contains '<image>', a marker of model 'instru"),
    ("idefics", "Name it<end_of_utterance>", "instruction 'X' contains '<end_of_utterance>', a marker of"),
    ("blip2", "Say it. Answer: yes", "instruction 'X' contains 'Answer:', a marker of model 'blip2'"),
]


@pytest.mark.parametrize(("model", "text", "message"), IN_SETTINGS)
def test_markers_of_templates_are_refused_with_the_settings(model, text, message, tmp_path):
    file = tmp_path / "study.yml"
    file.write_text(OWN.format(text) + f"models: [{model}]\ninstructions: [IC, X]\n")
    with pytest.raises(SettingsError, match=message):
        load_settings(file)


# checkpoints


def _copy(name, folder):
    return shutil.copytree(PHANTOM_FOLDER / name, folder / name)


def _edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _reweigh(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def _nan(weights):
    weights["encoder.layer.1.layernorm_after.weight"][3] = torch.nan


def _infinite(weights):
    weights["encoder.layer.1.layernorm_after.weight"][3] = torch.inf


def _narrower(weights):
    key = "encoder.layer.0.attention.attention.key.weight"
    weights[key] = weights[key][1:].contiguous()


def _large_vocabulary(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    core["model"]["vocab"] |= {f"word{i}": len(core["model"]["vocab"]) + i for i in range(9)}
    (folder / "tokenizer.json").write_text(json.dumps(core))


def _without(token):
    def change(folder):
        values = json.loads((folder / "tokenizer_config.json").read_text())
        values.pop(token)
        (folder / "tokenizer_config.json").write_text(json.dumps(values))

    return change


def _processor_of_side(side):
    def change(folder):
        name = next(
            n for n in ("preprocessor_config.json", "processor_config.json") if (folder / n).is_file()
        )
        values = json.loads((folder / name).read_text())
        own = values.get("image_processor", values)
        own |= {"size": {"height": side, "width": side}} | (
            {"image_size": side} if "image_size" in own else {}
        )
        (folder / name).write_text(json.dumps(values))

    return change


MISFITS = [
    ("vit-h", lambda f: (f / "config.json").write_text("{"), r"config\.json is not a JSON mapping"),
    ("vit-h", lambda f: (f / "config.json").write_text("[]"), r"config\.json is not a JSON mapping"),
    ("vit-h", lambda f: (f / "config.json").unlink(), r"config\.json cannot be read \(No such file"),
    (
        "vit-h",
        lambda f: (f / "config.json").write_text("{}"),
        r"of type None; family 'vit' .* runs vit: correct",
    ),
    ("vit-h", lambda f: _edit(f / "config.json", model_type="bert"), r"of type 'bert'; family 'vit'"),
    ("vit-h", lambda f: _edit(f / "config.json", model_type="no-such"), r"of type 'no-such'; family 'vit'"),
    ("vit-h", lambda f: _edit(f / "config.json", hidden_size="many"), r"cannot be loaded: .*'hidden_size'"),
    (
        "vit-h",
        lambda f: _edit(f / "config.json", num_hidden_layers=4),
        r"do not fit the ViTModel .* missing: ",
    ),
    (
        "vit-h",
        lambda f: _edit(f / "config.json", num_hidden_layers=2),
        r"do not fit the ViTModel .* left over: ",
    ),
    (
        "vit-h",
        lambda f: _edit(
            f / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}
        ),
        r"cannot be loaded: .*bitsandbytes",
    ),
    ("vit-h", lambda f: _reweigh(f, _nan), r"not finite, the first in layers\.1\.layernorm_after\.weight"),
    (
        "vit-h",
        lambda f: _reweigh(f, _infinite),
        r"not finite, the first in layers\.1\.layernorm_after\.weight",
    ),
    ("vit-h", lambda f: _reweigh(f, _narrower), r"of another shape: .*\(95, 96\) instead of \(96, 96\)"),
    (
        "vit-h",
        lambda f: (f / "preprocessor_config.json").write_text("<html>"),
        r"image processor of .* cannot be",
    ),
    ("instructblip", _large_vocabulary, r"tokenizer of .* knows 235 tokens, but the model embeds 226"),
    (
        "instructblip",
        lambda f: _large_vocabulary(f / "qformer_tokenizer"),
        r"qformer_tokenizer of .* knows 235 tokens, but the model embeds 226",
    ),
    ("mplug-owl", _large_vocabulary, r"tokenizer of .* knows 235 tokens, but the model embeds 226"),
    ("idefics", _large_vocabulary, r"tokenizer of .* knows 235 tokens, but the model embeds 226"),
    ("clip-text", _large_vocabulary, r"tokenizer of .* knows 235 tokens, but the model embeds 226"),
    ("language-only", _large_vocabulary, r"tokenizer of .* knows 235 tokens, but the model embeds 226"),
    ("mplug-owl", lambda f: (f / "tokenizer.json").write_text("no"), r"tokenizer of .* cannot be loaded: "),
    ("mplug-owl", _without("bos_token"), r"tokenizer of .* cannot be loaded: tokenizer has no BOS token"),
    ("idefics", _without("bos_token"), r"tokenizer of .* has no BOS token, with which every prompt starts"),
    ("vit-h", _processor_of_side(32), r"makes pixels of shape \(3, 32, 32\); the model takes \(3, 64, 64\)"),
    ("clip-both", _processor_of_side(32), r"makes pixels of shape \(3, 32, 32\); the model takes"),
    ("idefics", _processor_of_side(96), r"makes pixels of shape \(3, 96, 96\); the model takes"),
    # transformers makes an empty tokenizer of a folder that has none
    (
        "blip2",
        lambda f: [p.unlink() for p in f.glob("tokenizer*")],
        r"knows 0 tokens, but the model embeds 226",
    ),
    ("blip2", lambda f: (f / "tokenizer.json").write_text("no"), r"tokenizer of .* cannot be loaded: "),
]


@pytest.mark.parametrize(("model", "change", "message"), MISFITS)
def test_checkpoint_that_does_not_fit_is_refused(model, change, message, tmp_path):
    row = MODEL_BY_ID[model]
    folder = _copy(row.phantom, tmp_path)
    change(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_adapter(row, folder, device="cpu")
    assert "\n" not in str(caught.value)


ROWS = [
    (
        "mplug-owl",
        {"prompt": "<image> AI:"},
        r"holds \{instruction\} 0 times; family 'mplug_owl' needs it once",
    ),
    ("mplug-owl", {"prompt": "{instruction} AI:"}, r"holds <image> 0 times"),
    ("mplug-owl", {"prompt": "<image><image>{instruction}"}, r"holds <image> 2 times"),
    ("mplug-owl", {"prompt": "{instruction}<image> AI:"}, r"has the instruction before the image"),
    ("idefics", {"prompt": "User: {instruction}"}, r"holds <image> 0 times"),
    ("idefics", {"prompt": "User: {instruction}<image><end>"}, r"holds <end>, which is no token of"),
    ("instructblip", {"prompt": "Describe this."}, r"holds \{instruction\} 0 times"),
    ("language-only", {"prompt": "{instruction}"}, r"holds \{caption\} 0 times"),
    ("clip-text", {"prompt": ""}, r"takes neither image nor caption; put \{caption\}"),
    (
        "vit-h",
        {"components": (("text", 3),)},
        r"lists the components text; family 'vit' gives vision: correct",
    ),
    ("vit-h", {"family": "dino"}, r"model 'vit-h' is of family 'dino'; known: instructblip, blip2"),
    ("vit-h", {"family": "clip"}, r"holds a model of type 'vit'; family 'clip' .* runs clip"),
    (
        "instructblip",
        {"family": "blip2"},
        r"holds a model of type 'instructblip'; family 'blip2' .* runs blip-2",
    ),
]


@pytest.mark.parametrize(("model", "changes", "message"), ROWS)
def test_row_that_does_not_fit_is_refused(model, changes, message):
    row = MODEL_BY_ID[model]
    with pytest.raises(ModelError, match=message):
        load_adapter(replace(row, **changes), checkpoint_folder(row, "phantom"), device="cpu")


def test_language_model_of_another_kind(tmp_path):
    folder = tiny_models.save("instructblip-t5", tmp_path)
    with pytest.raises(ModelError, match=r"'language-only' has a T5 for its language model"):
        load_adapter(MODEL_BY_ID["language-only"], folder, device="cpu")


@pytest.mark.parametrize("dtype", ["bf16", "half", "int8", "Tensor", ""])
def test_type_that_does_not_exist(dtype):
    row = MODEL_BY_ID["vit-h"]
    with pytest.raises(
        ModelError, match=rf"dtype in features\.dtype is '{dtype}'; expected float32, bfloat16"
    ):
        load_adapter(row, checkpoint_folder(row, "phantom"), "cpu", dtype)


def test_families_run_the_models_of_the_table():
    assert {row.family for row in MODELS} == set(FAMILIES)
