"""mPLUG-Owl against tensors recorded from its authors' own implementation."""

import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from brainalign_utils.features.mplug_owl import (
    IMAGE_TOKEN_INDEX,
    MplugOwlForConditionalGeneration,
    MplugOwlProcessor,
)

GOLDEN = Path(__file__).parents[1] / "data" / "mplug_owl_golden"
N_VISION_LAYERS, N_LANGUAGE_LAYERS, N_STEPS = 3, 3, 12
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "golden.safetensors")


@pytest.fixture(scope="module")
def model():
    return AutoModelForImageTextToText.from_pretrained(GOLDEN, dtype=torch.float32).eval()


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)


def _inputs(golden):
    return {name: golden[name] for name in ("input_ids", "pixel_values", "attention_mask")}


@torch.no_grad()
def test_vision_and_abstractor_meet_golden(model, golden):
    out = model.get_image_features(golden["pixel_values"])
    assert len(out.hidden_states) == N_VISION_LAYERS + 1
    for i, states in enumerate(out.hidden_states):
        close(states, golden[f"vision_hidden_states.{i}"])
    close(out.last_hidden_state, golden["vision_last_hidden_state"])
    close(out.pooler_output, golden["abstractor_last_hidden_state"])


@torch.no_grad()
def test_language_meets_golden(model, golden):
    out = model(**_inputs(golden), output_hidden_states=True)
    close(model.embed(golden["input_ids"], out.image_hidden_states), golden["inputs_embeds"])
    assert len(out.hidden_states) == N_LANGUAGE_LAYERS + 1
    for i, states in enumerate(out.hidden_states):
        close(states, golden[f"language_hidden_states.{i}"])
    close(out.logits, golden["logits"])


@torch.no_grad()
def test_generation_meets_golden(model, golden):
    out = model.generate(
        **_inputs(golden), max_new_tokens=N_STEPS, do_sample=False, eos_token_id=None,
        return_dict_in_generate=True, output_hidden_states=True,
    )  # fmt: skip
    n_prompt = golden["input_ids"].shape[1]
    # the recorded answer starts with the BOS that an older `generate` puts before embeddings
    assert torch.equal(out.sequences[:, n_prompt:], golden["generated_ids"][:, 1:])
    steps = [torch.stack([states[:, -1] for states in step], dim=1) for step in out.hidden_states[1:]]
    close(torch.stack(steps).mean(0), golden["generated_token_hidden_states_mean"])


@torch.no_grad()
def test_left_padding_changes_nothing(model, golden):
    inputs = _inputs(golden)
    pad = torch.zeros(2, 5, dtype=torch.long)
    padded = inputs | {
        "input_ids": torch.cat([pad + 2, inputs["input_ids"]], 1),
        "attention_mask": torch.cat([pad, inputs["attention_mask"]], 1),
        "position_ids": torch.cat([pad, torch.arange(20).expand(2, -1)], 1),
    }
    close(model(**padded).logits[:, 5:], golden["logits"])


@pytest.mark.filterwarnings("ignore")
def test_published_files_load(tmp_path, golden):
    """Sharded .bin weights and the older config key, as on the hub, load to the same model."""
    config = json.loads((GOLDEN / "config.json").read_text())
    config["abstractor_config"] = config.pop("visual_abstractor_config")
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(GOLDEN / "model.safetensors")
    shards = [dict(list(weights.items())[i::2]) for i in range(2)]
    names = [f"pytorch_model-0000{i + 1}-of-00002.bin" for i in range(2)]
    for name, shard in zip(names, shards, strict=True):
        torch.save(shard, tmp_path / name)
    where = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    model, info = MplugOwlForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True, weights_only=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with torch.no_grad():
        close(model.eval()(**_inputs(golden)).logits, golden["logits"])


def test_random_initialisation_leaves_no_parameter_at_zero_or_unset(model):
    torch.manual_seed(0)
    fresh = MplugOwlForConditionalGeneration(model.config)
    for name, parameter in fresh.named_parameters():
        if name.endswith("bias"):
            continue
        assert torch.isfinite(parameter).all(), name
        assert parameter.abs().sum() > 0, name


def test_loss_trains(model, golden):
    torch.manual_seed(0)
    fresh = MplugOwlForConditionalGeneration(model.config)
    inputs = _inputs(golden)
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE_TOKEN_INDEX, -100)
    optimizer = torch.optim.Adam(fresh.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = fresh(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert fresh.query_tokens.grad.abs().sum() > 0


def test_image_positions_and_images_must_agree(model, golden):
    with pytest.raises(ValueError, match=r"mark 18 image positions but the images give 9"):
        model(input_ids=golden["input_ids"], pixel_values=golden["pixel_values"][:1])


def _tokenizer():
    words = ["<s>", "</s>", "<unk>", "Human:", "what", "is", "this", "AI:", "here"]
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def test_processor_prompts():
    processor = MplugOwlProcessor(_tokenizer(), image_size=28, n_image_tokens=4)
    batch = processor(text=["Human: <image> Human: what is this AI:", "<image> here"])
    image = [IMAGE_TOKEN_INDEX] * 4
    assert batch["input_ids"].tolist() == [[0, 3, *image, 3, 4, 5, 6, 7], [1] * 5 + [0, *image, 8]]
    assert batch["attention_mask"].tolist() == [[1] * 11, [0] * 5 + [1] * 6]


def test_sentencepiece_tokenizer_of_the_published_checkpoint(tmp_path, model):
    """A folder with LLaMA's ``tokenizer.model`` gives the ids that sentencepiece itself gives."""
    sentences = ["Human: what is in this image?", "AI: a dog and two cats.", "The following is a talk"] * 40
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(tmp_path / "tokenizer"), vocab_size=80,
        model_type="bpe", byte_fallback=False, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    model.config.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    processor = MplugOwlProcessor.from_pretrained(tmp_path)
    reference = spm.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    prompt = "The following is<image>Human: a dog in this image?"
    image = [IMAGE_TOKEN_INDEX] * model.config.n_image_tokens
    expected = [
        1,
        *reference.encode("The following is"),
        *image,
        *reference.encode("Human: a dog in this image?"),
    ]
    assert processor.tokenize(prompt) == expected


def test_processor_images_and_reload(tmp_path, model):
    model.save_pretrained(tmp_path)
    size, n = model.config.vision_config.image_size, model.config.n_image_tokens
    MplugOwlProcessor(_tokenizer(), size, n).save_pretrained(tmp_path)
    processor = MplugOwlProcessor.from_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (40, 55, 3), dtype=np.uint8)
    values = processor(images=[picture], text="<image> here")["pixel_values"]
    resized = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    expected = (resized / 255 - mean) / std
    np.testing.assert_allclose(values[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_unknown_keys_are_reported(tmp_path):
    weights = load_file(GOLDEN / "model.safetensors")
    weights["abstractor.vit_bos"] = weights.pop("abstractor.vit_eos")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((GOLDEN / "config.json").read_text())
    _, info = MplugOwlForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {"abstractor.vit_eos"}
    assert info["unexpected_keys"] == {"abstractor.vit_bos"}
