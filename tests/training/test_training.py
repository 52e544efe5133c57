"""Tiny checkpoints: their formats, their training, and what the shipped ones can do."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from brainalign_utils.models import BLIP2_PROMPT, IDEFICS_PROMPT, MPLUG_OWL_PROMPT
from brainalign_utils.tables import INSTRUCTIONS
from nsd_phantom import CHECKPOINTS as SHIPPED
from nsd_phantom.captions import captions
from nsd_phantom.instructions import read_instructions
from nsd_phantom.scenes import HELD_OUT_SEEDS, TRAINING_SEEDS, draw_scene
from training import families, measuring
from training import train as training
from training.answers import answers
from training.checkpoint_shapes import (
    EOS,
    NAMES,
    UNK,
    make_model,
    make_processor,
    make_tokenizer,
    save_checkpoint,
)
from training.model_card import TARGETS
from training.towers import origin_weights, tower_weights
from training.training_data import ATTRIBUTES, CLASSES, make_pool, shrink

MLLMS = ("instructblip", "idefics", "mplug-owl")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pool():
    return make_pool(TRAINING_SEEDS[:48])


@pytest.fixture(scope="module")
def seen():
    return measuring.held_out(24)


def test_the_tiny_models_were_trained_on_what_the_study_asks():
    """The miniature has a table of its own; an instruction or prompt that changes in one place is noticed."""
    ours = read_instructions()
    assert list(ours.texts.items()) == [(row.id, row.text) for row in INSTRUCTIONS]
    asked = {"blip2": BLIP2_PROMPT, "idefics": IDEFICS_PROMPT, "mplug-owl": MPLUG_OWL_PROMPT}
    assert ours.prompts == {"instructblip": "{instruction}", **asked}


def test_pool_holds_what_is_drawn(pool):
    drawing = draw_scene(TRAINING_SEEDS[5], with_maps=True)
    np.testing.assert_array_equal(pool.images[5], shrink(drawing.image))
    assert pool.answers[5] == answers(drawing.scene)
    names = {ATTRIBUTES[k] for k in np.flatnonzero(pool.attributes[5])}
    assert drawing.scene.place in names and f"dominant {drawing.scene.dominant_colour}" in names
    drawn = {f"{o.kind} {o.colour}" if o.kind else o.category for o in drawing.scene.objects}
    assert drawn == names & set(CLASSES)
    filled = {CLASSES[k] for k in np.flatnonzero(pool.patches[5, :, :-1].any(0))}
    assert filled == drawn


def test_tokenizer_covers_all_that_is_said():
    tokenizer = make_tokenizer()
    scenes = [draw_scene(seed, 64)[1] for seed in HELD_OUT_SEEDS[:150]]
    texts = [text for scene in scenes for text in (*answers(scene).values(), *captions(scene))]
    prompts = [p.format(instruction=row.text) for p in families.PROMPTS.values() for row in INSTRUCTIONS]
    for text in (*texts, *prompts):
        assert UNK not in tokenizer(text)["input_ids"], text
    for text in set(texts):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert tokenizer("zeppelin")["input_ids"][-1] == UNK
    assert len(tokenizer("")["input_ids"]) == 1


@pytest.mark.parametrize("name", ["instructblip", "idefics", "mplug-owl", "blip2"])
def test_training_runs_the_model_as_its_processor_does(name, seen):
    images, scenes = (part[:3] for part in seen)
    model, processor, tokens = make_model(name, 3), make_processor(name), families.Tokens(name)
    pairs = [(families.instruction_text(i), answers(s)[i]) for s in scenes for i in ("IC", "IU1")]
    texts = tokens.batch(pairs)
    with torch.no_grad():
        pixels = families.to_pixels(np.stack([shrink(np.asarray(image)) for image in images]))
        states = families.vision_states(name, model, pixels)
        logits = families.answer_logits(name, model, states, texts, 2)
        for row, (instruction, answer) in enumerate(pairs):
            plain = model(**_whole(name, processor, images[row // 2], instruction, answer)).logits[0]
            at = (texts.labels[row] != -100).nonzero().flatten()
            assert texts.labels[row, at].tolist() == tokens.answer(answer)
            assert tokens.answer(answer)[-1] == EOS
            torch.testing.assert_close(logits[row, at], plain[at], atol=2e-5, rtol=0)


def _whole(name, processor, image, instruction, answer):
    """The processor's inputs for a prompt that is continued by its answer."""
    prompt = families.PROMPTS[name].format(instruction=instruction) + " " + answer
    if name == "idefics":
        text = [f"User: {instruction}", image, f"<end_of_utterance>\nAssistant: {answer}"]
        return processor(text=[text], return_tensors="pt")
    if name == "mplug-owl":
        return processor([image], [prompt])
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    if name == "instructblip":
        alone = processor(images=image, text=instruction, return_tensors="pt")
        inputs["qformer_input_ids"] = alone["qformer_input_ids"]
        inputs["qformer_attention_mask"] = alone["qformer_attention_mask"]
    return inputs


@pytest.mark.parametrize("name", ["instructblip", "blip2"])
def test_vit_is_their_tower_exactly(name):
    vit, model, x = make_model("vit", 1), make_model(name, 2), torch.randn(2, 3, 64, 64)
    model.load_state_dict(model.state_dict() | tower_weights(name, vit.state_dict(), 3, 1.0))
    with torch.no_grad():
        expected = families.vision_states("vit", vit, x)
        torch.testing.assert_close(families.vision_states(name, model, x), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["idefics", "mplug-owl"])
def test_towers_with_another_norm_agree(name):
    vit, clip, model = make_model("vit", 1).state_dict(), make_model("clip", 2), make_model(name, 3)
    for copy, key in ((clip, "clip"), (model, name)):
        copy.load_state_dict(copy.state_dict() | tower_weights(key, vit, 3, 0.7))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = families.vision_states("clip", clip, x)
        if name == "mplug-owl":
            expected = clip.vision_model.post_layernorm(expected)
        given = families.vision_states(name, model, x)
    # the classes add different eps to the variance in their norms (1e-5 and 1e-6)
    torch.testing.assert_close(given, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_checkpoint_comes_back(name, tmp_path, seen):
    model = make_model(name, 4)
    save_checkpoint(name, model, tmp_path)
    again, _ = measuring.load(name, tmp_path)
    assert type(again) is type(model)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(again.state_dict()[key], value.half().float(), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["idefics", "mplug-owl"])
def test_language_models_are_taken_over_whole(name):
    origin = make_model("instructblip", 1).state_dict()
    language = [key for key in origin if key.startswith("language_model.")]
    taken = origin_weights(name, origin, make_model(name).state_dict())
    assert len(taken) == len(language) > 20
    assert all(any(torch.equal(value, origin[key]) for key in language) for value in taken.values())


def test_losses_fall_and_runs_repeat(pool):
    recipe = training.Recipe(40, n_images=12, n_texts=2, n_warmup=4)
    vit, rows = training.train("vit", pool, replace(recipe, n_images=8))
    assert rows[-1]["heads_loss"] < 0.5 * rows[0]["heads_loss"]
    first, rows = training.train("instructblip", pool, recipe, vit.state_dict())
    assert rows[-1]["text_loss"] < 0.6 * rows[0]["text_loss"]
    again, _ = training.train("instructblip", pool, recipe, vit.state_dict())
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert rows[-1]["step"] == 40


def test_command_line_trains_everything(tmp_path):
    training.main(["--out", str(tmp_path), "--steps", "short", "--scenes", "24", "--measure", "3"])
    card = json.loads((tmp_path / "card.json").read_text())
    assert set(card["checkpoints"]) == set(NAMES)
    for name, row in card["checkpoints"].items():
        weights = (tmp_path / name / "model.safetensors").read_bytes()
        assert row["sha256"] == hashlib.sha256(weights).hexdigest()
        assert row["n_steps"] == training.SHORT[name].n_steps
    text = (tmp_path / "README.md").read_text()
    assert "Not reached" in text and all(name in text for name in NAMES)


def test_shipped_checkpoints_are_those_of_the_card():
    card = json.loads((SHIPPED / "card.json").read_text())
    for name in NAMES:
        weights = (SHIPPED / name / "model.safetensors").read_bytes()
        assert hashlib.sha256(weights).hexdigest() == card["checkpoints"][name]["sha256"]
        assert len(weights) < 2.2e6
        recipe = training.RECIPES[name]
        for key in ("n_steps", "n_images", "n_texts", "seed"):
            assert card["checkpoints"][name][key] == getattr(recipe, key), (name, key)


def test_shipped_models_reach_what_was_aimed_for():
    card = json.loads((SHIPPED / "card.json").read_text())["checkpoints"]
    assert "All aims were reached." in (SHIPPED / "README.md").read_text()
    for name in MLLMS:
        assert all(card[name]["scores"][key] >= aim for key, aim in TARGETS.items()), name


@pytest.mark.parametrize("name", MLLMS)
def test_shipped_models_follow_instructions(name, seen):
    images, scenes = seen
    model, processor = measuring.load(name, SHIPPED / name)
    colour = measuring.generate(name, model, processor, images, families.instruction_text("IU1"))
    place = measuring.generate(name, model, processor, images, families.instruction_text("CR"))
    for given, key in ((colour, "IU1"), (place, "CR")):
        assert np.mean([a == answers(s)[key] for a, s in zip(given, scenes, strict=True)]) > 0.85
    alone = measuring.generate(name, model, processor, images[:1], families.instruction_text("IU1"))
    assert alone == colour[:1]
    assert all(measuring.generate(name, model, processor, images[:2], ""))


def test_shipped_captioner_captions_whatever_is_asked(seen):
    images, scenes = seen
    model, processor = measuring.load("blip2", SHIPPED / "blip2")
    scores = measuring.score_captions("blip2", model, processor, images, scenes)
    assert scores["named"] > 0.7 and scores["IU1"] < 0.1


def test_shipped_clip_finds_captions(seen):
    images, scenes = seen
    scores = measuring.score_retrieval(*measuring.load("clip", SHIPPED / "clip"), images, scenes)
    assert scores["first of 100"] > 0.5
