"""A baseline: it is conditioned on classes or on nothing, starts as its base was, and learns."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tvhelpers.config import build_config
from tvhelpers.models.base import find_base, load_part
from tvhelpers.models.baseline import (
    Classes,
    add_classes,
    class_conditioning,
    find_classes,
    read_classes,
    reset_weights,
)
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.trainer import train

CLASSES = Classes(("category",), (("coat",), ("dress",)))
PAIRS = Classes(("category", "colour"), (("coat", "red"), ("dress", "blue"), ("dress", "red")))

REQUEST = Request(("a garment",), steps=2, guidance=3.0)


def test_words_have_labels_and_the_empty_prompt_none():
    rows = [{"category": "dress"}, {"colour": "red"}, {"category": "coat"}]
    assert find_classes("category", rows) == CLASSES
    assert CLASSES.labels(rows) == [2, 0, 1]
    assert [CLASSES.label_of(p) for p in ("", "category=coat", " category = dress ")] == [0, 1, 2]
    for prompt in ("a red dress", "category=hat", "colour=red"):
        with refused("unknown-class"):
            CLASSES.label_of(prompt)
    assert Classes().label_of("anything at all") == 0
    both = [{"category": "dress", "colour": "red"}, {"category": "dress"}]
    assert PAIRS.labels(both) == [3, 0] and PAIRS.label_of("colour=blue, category=dress") == 2
    for prompt in ("category=dress", "category=coat,colour=blue", "category=coat,colour=red,x=y"):
        with refused("unknown-class"):
            PAIRS.label_of(prompt)
    with refused("not-stated"):
        find_classes("sleeve", rows)


@torch.no_grad()
def test_no_class_changes_nothing_and_each_class_something(tiny_base):
    unet = load_part(find_base(str(tiny_base)), "unet")
    size, width = unet.config.sample_size, unet.config.cross_attention_dim
    noisy = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(0))
    inputs = (noisy, torch.tensor([10, 500]), torch.zeros(2, 7, width))
    before = unet(*inputs).sample
    add_classes(unet, CLASSES)
    with class_conditioning(unet, [0, 0], guided=False):
        torch.testing.assert_close(unet(*inputs).sample, before)
    with class_conditioning(unet, [0, 2], guided=False):
        after = unet(*inputs).sample
    assert torch.allclose(after[0], before[0]) and not torch.allclose(after[1], before[1])
    with pytest.raises(ValueError, match="class_labels"):
        unet(*inputs)


def test_combinations_begin_near_those_that_share_a_word(tiny_base):
    unet = load_part(find_base(str(tiny_base)), "unet")
    add_classes(unet, PAIRS)
    none, coat_red, dress_blue, dress_red = unet.class_embedding.weight.detach()
    assert not none.any()
    near = (coat_red - dress_red).norm(), (dress_blue - dress_red).norm()
    assert max(near) < (coat_red - dress_blue).norm()


def test_a_baseline_is_trained_drawn_and_refuses_prompts(tiny_base, tmp_path):
    data = tmp_path / "data"
    for category, shade in (("coat", 20), ("dress", 230)):
        for i in range(8):
            (data / category).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (shade, shade, shade + i)).save(data / category / f"{i}.png")
    config = build_config(
        method="baseline", classes="category", base=str(tiny_base), data=str(data), steps=6,
        batch_size=4, eval_items=4, checkpoint_steps=0, learning_rate=1e-2, device="cpu",
    )  # fmt: skip
    train(config, tmp_path / "run", root=tmp_path)
    folder = tmp_path / "run" / "pipeline"
    assert read_classes(folder) == CLASSES and read_classes(tiny_base) is None
    sampler = Sampler(str(folder), "none", device="cpu")
    assert sampler.pipe.unet.class_embedding.weight.abs().sum() > 0
    jobs = [(0, "category=coat", 1), (1, "category=dress", 1), (2, "", 1)]
    images = [np.asarray(p) for *_, p in sampler.sample(REQUEST, jobs)]
    assert not np.array_equal(images[0], images[1])
    alone = np.asarray(next(sampler.sample(REQUEST, jobs[1:2]))[3])
    assert np.abs(alone.astype(int) - images[1]).max() <= 1
    with refused("unknown-class"):
        generate(sampler, Request(("a red dress",), steps=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_empty_baseline_ignores_the_prompt(tiny_base, photo_folder, tmp_path):
    config = build_config(
        method="baseline", base=str(tiny_base), data=str(photo_folder), steps=1, batch_size=4,
        eval_items=4, checkpoint_steps=0, device="cpu",
    )  # fmt: skip
    train(config, tmp_path / "run", root=tmp_path)
    sampler = Sampler(str(tmp_path / "run" / "pipeline"), "none", device="cpu")
    jobs = [(0, "a red dress", 1), (1, "a blue skirt", 1)]
    images = [np.asarray(p) for *_, p in sampler.sample(REQUEST, jobs)]
    assert np.array_equal(*images)
    # The base ignores the prompt too without text conditioning.
    for text_conditioning in (False, True):
        sampler = Sampler(str(tiny_base), "none", device="cpu", text_conditioning=text_conditioning)
        images = [np.asarray(p) for *_, p in sampler.sample(REQUEST, jobs)]
        assert np.array_equal(*images) != text_conditioning
        assert ("language" in sampler.identity) != text_conditioning


def test_a_start_resets_all_weights_or_the_cross_attention(tiny_base, photo_folder, tmp_path):
    base = find_base(str(tiny_base))
    before = load_part(base, "unet").state_dict()
    for start, kept in (("scratch", False), ("unconditional", True)):
        after = reset_weights(load_part(base, "unet"), start, 3).state_dict()
        again = reset_weights(load_part(base, "unet"), start, 3).state_dict()
        for name, weight in after.items():
            assert torch.equal(weight, again[name])
            if name.endswith("to_k.weight"):  # others begin at one or zero anyway
                assert torch.equal(weight, before[name]) == (kept and ".attn1." in name), name
    losses = {}
    for start in ("base", "unconditional"):
        config = build_config(
            method="full", start=start, base=str(tiny_base), data=str(photo_folder), steps=1,
            batch_size=4, eval_items=4, checkpoint_steps=0, device="cpu",
        )  # fmt: skip
        losses[start] = train(config, tmp_path / start, root=tmp_path)["held_out_loss_base"]
    assert losses["unconditional"] != losses["base"]
    with refused("not-for-method"):
        build_config(method="lora", start="scratch")


def test_classes_are_for_the_baseline():
    with refused("not-for-method"):
        build_config(method="lora", classes="category")
