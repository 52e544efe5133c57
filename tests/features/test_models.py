"""Adapters against plain transformers calls: one image, one instruction, no batching, no cache."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from brainalign_utils import models as model_table
from brainalign_utils.features.adapters import (
    ModelError,
    checkpoint_folder,
    load_adapter,
    model_row,
    resolve_device,
)
from brainalign_utils.features.extraction import ExtractionError, Extractor, pooling_rule
from brainalign_utils.models import MODEL_BY_ID
from brainalign_utils.tables import INSTRUCTION_BY_ID, Instruction
from nsd_phantom import CHECKPOINTS as PHANTOM_FOLDER

TOLERANCE = 1e-4  # float32; sums run in another order when rows share a batch
N_IMAGES, N_NEW = 4, 8
NSD_IDS = np.array([3, 8, 20, 21])
INSTRUCTIONS = [INSTRUCTION_BY_ID[i] for i in ("VR", "IU2", "CR")]  # 16, 6 and 9 words: rows are padded


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=tiny_models.FAMILIES)
def family(request, tmp_path_factory):
    folder = tiny_models.save(request.param, tmp_path_factory.mktemp(request.param))
    return request.param, folder


@pytest.fixture(scope="module")
def plain(family):
    return tiny_models.Plain(*family)


@pytest.fixture(scope="module")
def eos_ids(family, plain):
    """Words that end answers, taken from unbounded ones so that answers end at different steps."""
    banned = _adapter(family, ()).banned_ids
    answers = [
        plain.generate(i, r.text, N_NEW, [3], banned)[0] for i, r in zip(NSD_IDS, INSTRUCTIONS, strict=False)
    ]
    return tuple({answers[0][2], answers[1][5], answers[2][0]})


def _adapter(family, eos_ids, pooling_span=None):
    name, folder = family
    adapter = load_adapter(tiny_models.row(name), folder, device="cpu", span=pooling_span)
    adapter.eos_ids = eos_ids
    return adapter


@pytest.fixture(scope="module")
def reference(family, plain, eos_ids):
    """States (n_instructions, n_states, n_images, width) and answers of the plain way."""
    banned = _adapter(family, eos_ids).banned_ids
    results = [[plain.generate(i, row.text, N_NEW, eos_ids, banned) for i in NSD_IDS] for row in INSTRUCTIONS]
    states = np.array([[state.numpy() for _, state in row] for row in results]).swapaxes(1, 2)
    answers = [[ids for ids, _ in row] for row in results]
    return states, answers


def _extract(adapter, batch_size="auto", **kwargs):
    kwargs = {"max_new_tokens": N_NEW} | kwargs
    extractor = Extractor(adapter, tiny_models.Pictures(), INSTRUCTIONS, batch_size=batch_size, **kwargs)
    return extractor.block(NSD_IDS)


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_generated_states_equal_the_plain_way(family, eos_ids, reference, batch_size):
    states, answers = reference
    arrays, table = _extract(_adapter(family, eos_ids), batch_size)
    np.testing.assert_allclose(arrays["language"], states, rtol=0, atol=TOLERANCE)
    expected = [[len(answers[k][i]) for k in range(3)] for i in range(N_IMAGES)]
    assert table["n_tokens"].tolist() == np.ravel(expected).tolist()
    assert states.std(axis=2).mean() > 1e-2  # images matter, so the agreement means something


def test_answers_have_different_lengths(reference):
    lengths = {len(answer) for row in reference[1] for answer in row}
    assert len(lengths) > 1, "the test of finished rows needs answers that end at different steps"


def test_answer_table(family, eos_ids, reference):
    adapter = _adapter(family, eos_ids)
    _, table = _extract(adapter)
    assert list(table.columns) == ["nsd_id", "instruction", "text", "n_tokens"]
    row = table[(table["nsd_id"] == 20) & (table["instruction"] == "CR")]
    assert row["text"].item() == adapter.decode(reference[1][2][2])


def test_vision_states_equal_the_plain_way(family, plain):
    arrays, _ = _extract(_adapter(family, (3,)), pooling="last")
    expected = np.stack([plain.vision_states(i).mean(1).numpy() for i in NSD_IDS], axis=1)
    np.testing.assert_allclose(arrays["vision"][0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("pooling", ["prompt", "image", "last", "authors-all-tokens"])
def test_prompt_poolings_equal_the_plain_way(family, plain, pooling):
    name = family[0]
    if name == "instructblip-t5":
        pytest.skip("the plain way returns decoder states here")
    span = {"last": None, "authors-all-tokens": "all"}.get(pooling, pooling)
    arrays, table = _extract(_adapter(family, (3,), span), pooling=pooling)
    image_id = -1 if name == "mplug-owl" else plain.tokenizer.convert_tokens_to_ids("<image>")
    for k, row in enumerate(INSTRUCTIONS):
        ids, states = plain.prompt_states(20, row.text)
        chosen = {
            "prompt": ids != image_id,
            "image": ids == image_id,
            "last": torch.arange(len(ids)) == len(ids) - 1,
            "authors-all-tokens": torch.ones(len(ids), dtype=bool),
        }[pooling]
        expected = states[:, chosen].mean(1).numpy()
        np.testing.assert_allclose(arrays["language"][k, :, 2], expected, rtol=0, atol=TOLERANCE)
    assert table is None


def test_last_language_state_is_after_the_final_norm(family):
    """With norm weights of 1 a normed state has root mean square 1; the state before has not."""
    arrays, _ = _extract(_adapter(family, (3,)), pooling="last")
    size = np.sqrt((arrays["language"] ** 2).mean(axis=-1))  # n_instructions, n_states, n_images
    np.testing.assert_allclose(size[:, -1], 1, atol=1e-2)
    assert np.abs(size[:, -2] - 1).max() > 0.05


@pytest.mark.parametrize("pooling", ["generated", "prompt"])
def test_prompts_in_parts_change_nothing(family, eos_ids, pooling, monkeypatch):
    adapter = _adapter(family, eos_ids, pooling_rule(pooling).span)
    whole, answers = _extract(adapter, pooling=pooling)
    monkeypatch.setattr(
        "brainalign_utils.features.adapters.inputs.PART_TOKENS", 40
    )  # of 12 rows with at least 7 tokens
    in_parts, answers_in_parts = _extract(adapter, pooling=pooling)
    for name, states in whole.items():
        np.testing.assert_allclose(in_parts[name], states, rtol=0, atol=TOLERANCE)
    assert answers is None or answers.equals(answers_in_parts)


def _sample(adapter, batch_size, seed=0):
    options = {"pooling": "authors-sampled", "batch_size": batch_size, "seed": seed}
    extractor = Extractor(adapter, tiny_models.Pictures(), INSTRUCTIONS, **options)
    assert extractor.n_new > 100  # the authors' limit of 512 tokens, or what the context leaves
    extractor.n_new = 6
    return extractor.block(NSD_IDS)


def test_sampled_answers_do_not_depend_on_batching(family, eos_ids):
    adapter = _adapter(family, eos_ids)
    arrays, table = _sample(adapter, "auto")
    single, table_single = _sample(adapter, 1)
    assert table.equals(table_single)
    np.testing.assert_allclose(arrays["language"], single["language"], rtol=0, atol=TOLERANCE)
    other, _ = _sample(adapter, "auto", seed=1)
    assert not np.allclose(arrays["language"], other["language"], atol=TOLERANCE)


def test_query_states_equal_the_plain_way(tmp_path):
    family = ("instructblip", tiny_models.save("instructblip", tmp_path))
    arrays, _ = _extract(_adapter(family, (3,)), max_new_tokens=1)
    plain = tiny_models.Plain(*family)
    for k, row in enumerate(INSTRUCTIONS):
        inputs = plain.inputs(21, row.text)
        inputs = {n: inputs[n] for n in ("pixel_values", "qformer_input_ids", "qformer_attention_mask")}
        with torch.no_grad():
            out = plain.model.get_image_features(**inputs, output_hidden_states=True)
        n_queries = plain.model.config.num_query_tokens
        states = torch.stack(out.qformer_outputs.hidden_states)[:, 0, :n_queries].mean(1)
        np.testing.assert_allclose(arrays["qformer"][k, :, 3], states.numpy(), rtol=0, atol=TOLERANCE)


def _phantom(model_id, **kwargs):
    row = MODEL_BY_ID[model_id]
    return load_adapter(row, checkpoint_folder(row, "phantom"), device="cpu", **kwargs)


def test_vit_and_clip_equal_the_plain_way():
    texts = ["a dog", "two cats on grass", "a", "red bus"]
    captions = dict(zip(NSD_IDS.tolist(), texts, strict=True))
    folder = PHANTOM_FOLDER / "clip"
    clip = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    arrays = {}
    for id in ("vit-h", "clip-image", "clip-text", "clip-both"):
        extractor = Extractor(_phantom(id), tiny_models.Pictures(), INSTRUCTIONS, captions)
        arrays[id], answers = extractor.block(NSD_IDS)
        assert answers is None and all(a.shape[0] == 1 for a in arrays[id].values())
    pixels = _phantom("clip-image").preprocess([tiny_models.picture(8)])
    text = tokenizer([captions[8]], return_tensors="pt")
    with torch.no_grad():
        vision = clip.get_image_features(pixels, output_hidden_states=True)
        words = clip.get_text_features(text["input_ids"], text["attention_mask"], output_hidden_states=True)
        vit = AutoModel.from_pretrained(PHANTOM_FOLDER / "vit", dtype=torch.float32).eval()
        vit_states = vit(_phantom("vit-h").preprocess([tiny_models.picture(8)]), output_hidden_states=True)

    def close(name, component, expected):
        np.testing.assert_allclose(arrays[name][component][0, :, 1], expected, rtol=0, atol=TOLERANCE)

    vision_mean = torch.stack(vision.hidden_states)[:, 0].mean(1)
    words_mean = torch.stack(words.hidden_states)[:, 0].mean(1)
    close("vit-h", "vision", torch.stack(vit_states.hidden_states)[:, 0].mean(1))
    close("clip-image", "vision", vision_mean)
    close("clip-text", "text", words_mean)
    close("clip-both", "both", torch.cat([vision_mean, words_mean], 1))  # as many layers on both sides
    close("clip-image", "projection", vision.pooler_output)
    close("clip-text", "projection", words.pooler_output)
    close("clip-both", "projection", torch.cat([vision.pooler_output, words.pooler_output], 1))


def test_ablation_rows():
    pictures, short = tiny_models.Pictures(), {"max_new_tokens": 3}

    def block(id, images, captions=None):
        return Extractor(_phantom(id), images, INSTRUCTIONS, captions, **short).block(NSD_IDS)

    image_only, answers = block("instructblip-image-only", pictures)
    assert image_only["language"].shape[0] == 1 and set(answers["instruction"]) == {"none"}
    assert image_only["language"].std(axis=2).mean() > 0
    blank, answers = block("instructblip-instruction-only", pictures)
    assert np.ptp(blank["language"], axis=2).max() == 0 and len(answers) == len(NSD_IDS) * 3
    assert answers["nsd_id"].tolist() == np.repeat(NSD_IDS, 3).tolist()
    captions = dict(zip(NSD_IDS.tolist(), ["two dogs", "three", "four", "no dog"], strict=True))
    reads, _ = block("language-only", None, captions)
    assert list(reads) == ["language"] and reads["language"][:, 1:].std(axis=2).mean() > 0


def test_language_only_equals_the_plain_way():
    captions = dict.fromkeys(NSD_IDS.tolist(), "a dog") | {8: "two cats on the red grass"}
    adapter = _phantom("language-only")
    arrays, _ = Extractor(adapter, None, INSTRUCTIONS, captions, pooling="last").block(NSD_IDS)
    text = f"{captions[8]} {INSTRUCTIONS[1].text}"
    ids = torch.tensor([adapter.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        states = adapter.model.language_model(ids, output_hidden_states=True).hidden_states
    expected = torch.stack(states)[:, 0, -1]
    np.testing.assert_allclose(arrays["language"][1, :, 1], expected, rtol=0, atol=TOLERANCE)


def test_random_initialisation_is_seeded_and_sees_the_image():
    for id in ("instructblip-random", "idefics-random", "mplug-owl-random"):
        first, _ = _extract(_phantom(id), max_new_tokens=3)
        again, _ = _extract(_phantom(id), max_new_tokens=3)
        trained, _ = _extract(_phantom(id.removesuffix("-random")), max_new_tokens=3)
        np.testing.assert_array_equal(first["language"], again["language"])
        assert first["language"].std(axis=2).mean() > 1e-4
        assert not np.allclose(first["vision"], trained["vision"], atol=1e-2)


def test_preprocessing_equals_the_processor():
    pictures = [tiny_models.picture(i) for i in (3, 8)]
    for id in ("vit-h", "clip-image", "instructblip", "blip2", "idefics", "mplug-owl"):
        adapter = _phantom(id)
        images = [Image.fromarray(picture) for picture in pictures]
        expected = adapter.preprocess.processor(images=images, return_tensors="pt")
        expected = expected if isinstance(expected, torch.Tensor) else expected["pixel_values"]
        np.testing.assert_allclose(adapter.preprocess(pictures), expected, rtol=0, atol=1e-6)
        shrunk = [adapter.preprocess.shrink(picture) for picture in pictures]
        assert shrunk[0].shape == (64, 64, 3)
        assert torch.equal(adapter.preprocess(shrunk), adapter.preprocess(pictures))


def test_alternative_image_size():
    native, shrunk = (
        _phantom("vit-h", image_size=s).preprocess([tiny_models.picture(3)]) for s in ("native", 227)
    )
    assert native.shape == shrunk.shape and not torch.allclose(native, shrunk, atol=1e-3)


def test_empty_answer_takes_the_state_that_ended_it(tmp_path):
    family = ("idefics", tiny_models.save("idefics", tmp_path))
    adapter = _adapter(family, (3,))
    last, _ = _extract(adapter, pooling="last")
    adapter.eos_ids = tuple(range(adapter.model.config.vocab_size))
    arrays, answers = _extract(adapter)
    assert (answers["n_tokens"] == 0).all() and (answers["text"] == "").all()
    np.testing.assert_allclose(arrays["language"], last["language"], rtol=0, atol=TOLERANCE)


def test_table():
    assert len(model_table.MODELS) == len(MODEL_BY_ID)
    for row in model_table.MODELS:
        names = [name for name, _ in row.components]
        assert row.n_parameters > 1e8 and names
        assert (row.revision == "main") or (
            len(row.revision) == 40 and set(row.revision) <= set("0123456789abcdef")
        )
        assert not row.phantom or (PHANTOM_FOLDER / row.phantom / "config.json").is_file()
    random = model_table.random_init(MODEL_BY_ID["llava"])
    assert (random.id, random.init, random.checkpoint) == (
        "llava-random",
        "random",
        "llava-hf/llava-1.5-7b-hf",
    )


def test_keys_that_do_not_fit_are_named(tmp_path):
    folder = tiny_models.save("instructblip", tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["qformer.odd.weight"] = weights.pop("language_projection.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"missing: language_projection\.weight; left over: qformer\.odd\.weight"
    ):
        load_adapter(tiny_models.row("instructblip"), folder)


def test_absent_device_and_model():
    with pytest.raises(ModelError, match=r"device is 'cuda:7' but this machine has \d+ CUDA devices"):
        resolve_device("cuda:7")
    with pytest.raises(ModelError, match="expected auto, cpu, cuda"):
        resolve_device("gpu")
    with pytest.raises(ModelError, match="unknown model 'clip'; known: instructblip"):
        model_row("clip")


BAD_PICTURES = [
    (np.zeros((9, 9), np.uint8), r"nsd_id 7 has shape \(9, 9\)"),
    (np.zeros((9, 9, 4), np.uint8), r"expected \(height, width, 3\) uint8"),
    (np.zeros((9, 9, 3)), "type float64"),
]


@pytest.mark.parametrize(("image", "expectation"), BAD_PICTURES)
def test_image_that_is_not_rgb(image, expectation):
    with pytest.raises(ExtractionError, match=expectation):
        Extractor(_phantom("vit-h"), {7: image}, []).block(np.array([7]))


def test_image_that_cannot_be_read():
    with pytest.raises(ExtractionError, match="image of nsd_id 5 cannot be read"):
        Extractor(_phantom("vit-h"), {}, []).block(np.array([5]))


def test_instruction_that_cannot_be_used():
    adapter, pictures = _phantom("mplug-owl"), tiny_models.Pictures()
    with pytest.raises(ExtractionError, match="instruction 'X' is empty"):
        Extractor(adapter, pictures, [Instruction("X", "own", "  ", 1)])
    long = Instruction("L", "own", "what is in this image " * 60, 1)
    with pytest.raises(ExtractionError, match=r"'L' makes a prompt of \d+ tokens; .* does not fit the 256"):
        Extractor(adapter, pictures, [INSTRUCTIONS[0], long])
    with pytest.raises(ExtractionError, match=r"'L' has 3\d\d tokens for the Q-Former .* which reads 64"):
        query = _phantom("instructblip")
        query.max_tokens, query.max_qformer_tokens = None, 64
        Extractor(query, pictures, [long])
    captions = dict.fromkeys(NSD_IDS.tolist(), "a dog") | {20: "a dog " * 200}
    with pytest.raises(ExtractionError, match=r"the caption of nsd_id 20 makes a prompt of 4\d\d tokens"):
        Extractor(_phantom("language-only"), None, INSTRUCTIONS, captions).block(NSD_IDS)
    with pytest.raises(ValueError, match="unknown pooling 'mean'; known: generated"):
        Extractor(adapter, pictures, INSTRUCTIONS, pooling="mean")
    with pytest.raises(ExtractionError, match="'clip-text' reads captions"):
        Extractor(_phantom("clip-text"), pictures, [])


def test_state_that_is_not_finite_is_named():
    adapter = _phantom("vit-h")
    with torch.no_grad():
        adapter.model.layers[1].mlp.fc2.bias[4] = torch.nan
    with pytest.raises(
        ExtractionError, match=r"vision state of layer 2 is not finite for nsd_id 3, .*'none'"
    ):
        Extractor(adapter, tiny_models.Pictures(), []).block(NSD_IDS)


def test_out_of_memory_halves_the_batch(caplog):
    adapter = _phantom("instructblip")
    expected, answers = _extract(adapter, max_new_tokens=3)
    start, encode = adapter.decoder.start, adapter.encode

    def limited(rows, *args):
        if len(rows.embeds) > 4:
            raise torch.OutOfMemoryError("planted")
        return start(rows, *args)

    def limited_images(pixels, captions):
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("planted")
        return encode(pixels, captions)

    adapter.decoder.start, adapter.encode = limited, limited_images
    with caplog.at_level("WARNING"):
        arrays, table = _extract(adapter, 16, max_new_tokens=3)
    assert "out of memory: batches are now 8 rows" in caplog.text and "4 rows" in caplog.text
    for name, values in expected.items():
        np.testing.assert_allclose(arrays[name], values, rtol=0, atol=TOLERANCE)
    assert table.equals(answers)
    adapter.encode = lambda pixels, captions: limited_images(torch.zeros(3), captions)
    with pytest.raises(ModelError, match="one image of model 'instructblip' does not fit in the memory"):
        _extract(adapter, 16, max_new_tokens=3)


def test_row_with_its_own_template(tmp_path):
    """A new row needs no other change: another prompt for a known family."""
    folder = tiny_models.save("mplug-owl", tmp_path)
    row = replace(tiny_models.row("mplug-owl"), id="mine", prompt="<image> {instruction} AI:")
    arrays, _ = _extract(load_adapter(row, folder))
    usual, _ = _extract(load_adapter(tiny_models.row("mplug-owl"), folder))
    assert arrays["language"].shape == usual["language"].shape
    assert not np.allclose(arrays["language"], usual["language"], atol=1e-2)
