"""What features depend on is stored with them: the whole configuration of model, tokenizers and processor."""

import json
import shutil

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, Idefics3ImageProcessorPil

from brainalign_utils.features.adapters import load_adapter
from brainalign_utils.features.adapters.inputs import Preprocessing
from brainalign_utils.features.adapters.loading import tokenizer_facts
from brainalign_utils.features.extraction import extract
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.settings import load_settings
from brainalign_utils.store import StoreError
from nsd_phantom import CHECKPOINTS as PHANTOM_FOLDER


def _edit(name, **changes):
    def change(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _edit_processor(**changes):
    def change(folder):
        path = folder / "processor_config.json"
        values = json.loads(path.read_text())
        values["image_processor"] |= changes
        path.write_text(json.dumps(values))

    return change


def _tokenizer_part(part, **changes):
    def change(folder):
        path = folder / "tokenizer.json"
        core = json.loads(path.read_text())
        core[part] = changes if core[part] is None else core[part] | changes
        path.write_text(json.dumps(core))

    return change


def _add_token(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("zebra")])
    tokenizer.save_pretrained(folder)


def _swap_words(folder):
    path = folder / "tokenizer.json"
    core = json.loads(path.read_text())
    words = core["model"]["vocab"]
    words["dog"], words["cat"] = words["cat"], words["dog"]
    path.write_text(json.dumps(core))


CHANGES = {
    "image_mean": (_edit_processor(image_mean=[0.5, 0.5, 0.5]), {"processor.image_mean"}),
    "image_std": (_edit_processor(image_std=[0.5, 0.5, 0.5]), {"processor.image_std"}),
    "resample": (_edit_processor(resample=2), {"processor.resample"}),
    "do_rescale": (_edit_processor(do_rescale=False), {"processor.do_rescale"}),
    "rescale_factor": (_edit_processor(rescale_factor=1 / 127), {"processor.rescale_factor"}),
    "do_normalize": (_edit_processor(do_normalize=False), {"processor.do_normalize"}),
    "padding_side": (_edit("tokenizer_config.json", padding_side="right"), {"tokenizer.padding_side"}),
    "chat_template": (
        lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0] }}"),
        {"tokenizer.chat_template"},
    ),
    "model_max_length": (_edit("tokenizer_config.json", model_max_length=99), {"tokenizer.model_max_length"}),
    "added token": (_add_token, {"tokenizer.added_tokens"}),
    "vocabulary": (_swap_words, {"tokenizer.model"}),
    "normalizer": (_tokenizer_part("normalizer", type="StripAccents"), {"tokenizer.normalizer"}),
    "qformer": (
        lambda folder: _tokenizer_part("normalizer", type="StripAccents")(folder / "qformer_tokenizer"),
        {"qformer_tokenizer.normalizer"},
    ),
    "initializer_range": (_edit("config.json", initializer_range=0.5), {"config.initializer_range"}),
}


def _fingerprint(folder):
    return load_adapter(MODEL_BY_ID["instructblip"], folder, device="cpu").fingerprint()


@pytest.fixture(scope="module")
def original():
    return _fingerprint(PHANTOM_FOLDER / "instructblip")


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named(name, original, tmp_path):
    change, fields = CHANGES[name]
    shutil.copytree(PHANTOM_FOLDER / "instructblip", tmp_path / "changed")
    change(tmp_path / "changed")
    found = _fingerprint(tmp_path / "changed")
    differing = {key for key in original.keys() | found.keys() if original.get(key) != found.get(key)}
    assert fields <= differing and all(key.startswith(next(iter(fields)).split(".")[0]) for key in differing)


def test_where_it_lies_and_who_saved_it_changes_nothing(original, tmp_path):
    folder = shutil.copytree(PHANTOM_FOLDER / "instructblip", tmp_path / "a copy")
    _edit("config.json", transformers_version="4.31.0", _name_or_path="/home/someone", torch_dtype="float16")(
        folder
    )
    _edit("tokenizer_config.json", name_or_path="/home/someone", processor_class=None)(folder)
    _edit_processor(_processor_class="BlipProcessor", new_switch=None)(folder)
    assert _fingerprint(folder) == original


def test_fingerprint_can_be_stored(original):
    assert json.loads(json.dumps(original)) == {
        key: list(value) if isinstance(value, tuple) else value for key, value in original.items()
    }
    assert len(json.dumps(original)) < 20_000


def test_using_a_tokenizer_does_not_change_it():
    tokenizer = AutoTokenizer.from_pretrained(PHANTOM_FOLDER / "clip")
    before = tokenizer_facts("tokenizer", tokenizer)
    tokenizer(["a dog", "two red cats"], padding=True, truncation=True, max_length=3)
    assert tokenizer_facts("tokenizer", tokenizer) == before


def test_image_splitting_is_part_of_it():
    facts = [Preprocessing(Idefics3ImageProcessorPil(do_image_splitting=x)).facts() for x in (True, False)]
    assert {key for key in facts[0] if facts[0][key] != facts[1][key]} == {"processor.do_image_splitting"}


def test_other_configuration_is_refused_by_name(phantom_tree, tmp_path):
    """The same settings, after somebody edited the image processor of a local checkpoint."""
    folder = shutil.copytree(PHANTOM_FOLDER / "vit", tmp_path / "models/vit-huge-patch14-224-in21k")
    features = {"device": "cpu", "stimuli_per_block": 512}
    settings = load_settings(
        nsd_root=phantom_tree / "nsd", build_root=tmp_path, subjects=(7,), n_sessions=1, features=features,
        models=("vit-h",), checkpoints=tmp_path / "models",
    )  # fmt: skip
    assert extract(settings, "vit-h", progress_bar=False)
    _edit("preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])(folder)
    with pytest.raises(StoreError, match=r"processor\.image_mean was \[0\.48.*\], now \[0\.5, 0\.5, 0\.5\]"):
        extract(settings, "vit-h", progress_bar=False)
