"""Tuning a CLIP: gradients in pieces, positives, resuming, early stopping, interpolation."""

import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.cli import main
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.models.clip import Clip
from tvhelpers.models.clip_checks import phrases, zero_shot
from tvhelpers.records import read_json
from tvhelpers.train import clip_tuning
from tvhelpers.train.clip_pairs import Pairs
from tvhelpers.train.clip_settings import ClipTuning
from tvhelpers.train.clip_tuning import (
    backward_in_pieces,
    contrastive_loss,
    interpolate,
    trade_off,
    tune_clip,
    tune_on_source,
)


def pairs(seed, count, words=lambda spec: f"a {spec.colour} {spec.category}"):
    specs = [flats.random_spec(seed, i) for i in range(count)]
    return Pairs(
        [flats.render(spec, seed, i) for i, spec in enumerate(specs)],
        [words(spec) for spec in specs],
        [{"category": spec.category, "colour": spec.colour} for spec in specs],
        size=128,
    )


def photos(seed, count, words=None, **choice):
    """Return a source of flats of which a third is for validation."""
    source = FlatsSource(seed, count, season="base", **choice)
    source.splits = ["val" if i % 3 == 0 else "train" for i in range(count)]
    source.captions = [words(spec) for spec in source.specs] if words else source.captions
    return source


SMALL = ClipTuning(
    steps=4, batch_size=12, micro_batch=4, rank=2, eval_steps=2, learning_rate=2e-3, patience=9
)


@pytest.mark.parametrize("size", [3, 5, 12])
def test_gradients_in_pieces_are_those_of_the_whole(size):
    torch.manual_seed(0)
    data, fits = torch.randn(12, 7), (torch.rand(12, 12) > 0.7).float() + torch.eye(12)
    nets = torch.nn.ModuleList([torch.nn.Linear(7, 5), torch.nn.Linear(7, 5)]).double()
    data, fits = data.double(), fits.clamp(max=1).double()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def encode(rows):
        return tuple(torch.nn.functional.normalize(net(data[rows]), dim=1) for net in nets)

    def loss_of(images, texts):
        return contrastive_loss(images, texts, scale, fits)

    def gradients(size):
        nets.zero_grad()
        scale.grad = None
        loss = backward_in_pieces(encode, loss_of, 12, size)
        return loss, [p.grad.clone() for p in (*nets.parameters(), scale)]

    (whole, expected), (loss, found) = gradients(12), gradients(size)
    assert loss == pytest.approx(whole)
    for one, other in zip(expected, found, strict=True):
        # The loss is always computed in float32.
        assert torch.allclose(one, other, atol=1e-6)


def test_a_caption_fits_every_image_that_it_is_true_of():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    rows = [
        {"category": "dress", "colour": "red"},
        {"category": "dress"},  # its caption names no colour
        {"category": "dress", "colour": "red"},
        {"category": "coat", "colour": "red"},
    ]
    fits = Pairs(pixels, ["a", "b", "c", "d"], rows, 8).fits(torch.arange(4))
    assert fits.tolist() == [[1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    said = Pairs(pixels, ["a dress", "b", "a dress", "d"], [{"sleeve": w} for w in "xyzy"], 8)
    # Items with the same caption fit each other, whatever their attributes.
    said = said.fits(torch.arange(4))
    assert said.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    alike = Pairs(pixels, ["a", "b", "a", "d"], [{}] * 4, 8).fits(torch.arange(4))
    assert alike.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]


def test_pairs_hold_none_of_the_images_they_are_made_of():
    made = []

    def shown():
        for i in range(20):
            assert sum(one() is not None for one in made) <= 1
            image = np.full((16, 12, 3), i, np.uint8)
            made.append(weakref.ref(image))
            yield image

    found = Pairs(shown(), [str(i) for i in range(20)], [{}] * 20, 8)
    assert found.pixels.shape == (20, 8, 8, 3)
    assert (found.pixels == np.arange(20)[:, None, None, None]).all()


@pytest.mark.parametrize(("method", "rate"), [("lora", 2e-3), ("full", 2e-5)])
def test_what_is_tuned_gains_and_resumes_to_the_same_bytes(method, rate, tmp_path, monkeypatch):
    # New words for known things, so that there is something to learn.
    train, validation = (
        pairs(seed, 24, lambda s: f"{s.colour} blouson {s.category}") for seed in (1, 2)
    )
    config = ClipTuning(**{**vars(SMALL), "method": method, "learning_rate": rate})
    whole = Clip("mini", "cpu")
    result, before = tune_clip(whole, train, validation, config, tmp_path / "whole")
    losses = [row["held_out_loss"] for row in result["curve"]]
    assert min(losses[1:]) < losses[0]

    step_of = clip_tuning._step

    def dies(clip, model, pairs, config, step):
        if step == 3:
            raise KeyboardInterrupt
        return step_of(clip, model, pairs, config, step)

    monkeypatch.setattr(clip_tuning, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        tune_clip(Clip("mini", "cpu"), train, validation, config, tmp_path / "broken")
    monkeypatch.setattr(clip_tuning, "_step", step_of)
    broken = Clip("mini", "cpu")
    assert tune_clip(broken, train, validation, config, tmp_path / "broken")[0] == result
    after = whole.model.state_dict()
    assert after.keys() == before.keys() == broken.model.state_dict().keys()
    assert all(torch.equal(w, broken.model.state_dict()[n]) for n, w in after.items())
    assert any(not torch.equal(w, before[n]) for n, w in after.items())
    for share, weights in ((0.0, before), (1.0, after)):
        assert all(torch.equal(w, weights[n]) for n, w in interpolate(whole, before, share).items())
    share, curve = trade_off(whole, before, validation)
    assert [row["share"] for row in curve] == [i / 10 for i in range(11)]
    losses = [row["held_out_loss"] for row in curve]
    assert losses[0] == pytest.approx(result["curve"][0]["held_out_loss"], abs=1e-4)
    assert min(losses) == losses[[row["share"] for row in curve].index(share)]
    nearness = [row["nearness"] for row in curve]
    assert nearness[0] == pytest.approx(1, abs=1e-5) and nearness == sorted(nearness, reverse=True)
    assert all(torch.equal(w, after[n]) for n, w in whole.model.state_dict().items())
    with refused("another-request"):
        tune_clip(broken, train, validation, ClipTuning(), tmp_path / "broken")


def test_a_folder_is_of_one_clip_and_one_set_of_pairs(tmp_path):
    config = ClipTuning(**{**vars(SMALL), "steps": 1})
    train, validation, other = (pairs(seed, 8) for seed in (1, 2, 3))
    clip = Clip("mini", "cpu")
    result, _ = tune_clip(clip, train, validation, config, tmp_path)
    for sides, what in (((other, validation), "train"), ((train, other), "validation")):
        with refused("another-request") as caught:
            tune_clip(Clip("mini", "cpu"), *sides, config, tmp_path)
        assert f"other '{what}'" in str(caught.value)
    with refused("another-request") as caught:
        tune_clip(clip, train, validation, config, tmp_path)
    assert "other 'clip'" in str(caught.value)  # its weights have changed
    assert tune_clip(Clip("mini", "cpu"), train, validation, config, tmp_path)[0] == result


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_siglip_is_tuned_too(method, tiny_clip, tmp_path):
    clip = Clip(str(tiny_clip(tmp_path, "siglip")), "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    rows = [{"category": str(i % 4)} for i in range(16)]
    shown = Pairs(pixels, [f"a red dress {i % 4}" for i in range(16)], rows, clip.size)
    config = ClipTuning(**{**vars(SMALL), "method": method, "learning_rate": 1e-2})
    result, _ = tune_clip(clip, shown, shown, config, tmp_path / "out")
    assert result["curve"][-1]["held_out_loss"] < result["curve"][0]["held_out_loss"]


def test_a_share_that_costs_accuracy_on_what_is_kept_is_not_taken(tmp_path):
    # Words get new meanings, while accuracy on flats with the old words must not drop.
    words = sorted({spec.category for spec in (flats.random_spec(4, i) for i in range(60))})

    def exchanged(spec):
        return f"a {spec.colour} {words[words.index(spec.category) - 1]}"

    source, keep = photos(4, 42, exchanged), photos(5, 42)
    config = ClipTuning(
        method="full", steps=8, batch_size=32, eval_steps=4, learning_rate=1e-3, patience=0
    )
    found = {
        name: tune_on_source(source, config, tmp_path / name, Clip("mini", "cpu"), kept)
        for name, kept in (("free", None), ("keeping", keep))
    }
    rows = found["keeping"]["trade_off"]
    assert "kept" not in found["free"]["trade_off"][0]
    share = found["keeping"]["share"]
    allowed = [row for row in rows if row["kept"] >= rows[0]["kept"] - config.max_accuracy_drop]
    assert len(allowed) < len(rows), "nothing was forgotten: the test says nothing"
    best = min(allowed, key=lambda row: row["held_out_loss"])
    assert share == best["share"] < found["free"]["share"]
    # The written weights are those of the chosen share.
    kept = [i for i, split in enumerate(keep.splits) if split == "val"]
    clip = Clip(str(tmp_path / "keeping"), "cpu")
    rows = [keep.attributes[i] for i in kept]
    images = clip.encode_images([keep.pixels(i) for i in kept])
    seen = zero_shot(clip, images, phrases(rows, "category"))
    named = np.mean([row["category"] == word for row, word in zip(rows, seen, strict=True)])
    assert named == pytest.approx(best["kept"])
    one = photos(5, 9, categories=("dress",))
    with refused("too-few-categories"):
        tune_on_source(source, config, tmp_path / "one", Clip("mini", "cpu"), one)


def test_it_stops_where_the_validation_loss_falls_no_more(tmp_path):
    train, validation = pairs(1, 16), pairs(2, 16)
    config = ClipTuning(
        method="full", steps=40, batch_size=8, eval_steps=1, patience=2, learning_rate=0.3
    )
    clip = Clip("mini", "cpu")
    result, before = tune_clip(clip, train, validation, config, tmp_path / "a")
    assert result["steps"] < 40 and result["kept_step"] < result["steps"]
    last = ClipTuning(**{**vars(config), "steps": 2, "patience": 0})
    assert (
        tune_clip(Clip("mini", "cpu"), train, validation, last, tmp_path / "b")[0]["kept_step"] == 2
    )
    if result["kept_step"] == 0:  # no step was better: the weights are those before
        assert all(torch.equal(w, before[n]) for n, w in clip.model.state_dict().items())


def test_pairs_with_nothing_to_tell_apart():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for captions, images, code in (
        (["a", " ", "b"], pixels, "empty-captions"),
        (["a", "a", "a"], pixels, "all-alike"),
        (["a", "b", "c"], pixels[[0, 0, 0]], "all-alike"),
    ):
        with refused(code):
            Pairs(images, captions, [{}] * 3, 8)
    for settings, code in (
        (dict(method="all"), "unknown-choice"),
        (dict(share=1.5), "out-of-range"),
        (dict(steps=0), "out-of-range"),
    ):
        with refused(code):
            ClipTuning(**settings)


def test_the_command_writes_a_clip_that_opens(tmp_path, capsys):
    rows = ["file_name,caption,product"]
    for i in range(40):
        Image.fromarray(flats.render(flats.random_spec(3, i), 3, i)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,a thing of kind {i},{i}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    command = ["clip", "tune", "--data", str(tmp_path), "--out", str(out), "--device", "cpu"]
    small = ["--set", "steps=2", "--set", "batch_size=4", "--set", "rank=2"]
    assert main([*command, *small]) == 0
    said = capsys.readouterr().out
    assert "share 0.3: validation loss" in said and f"text_encoder={out}" in said
    tuned = Clip(str(out), "cpu")
    mini = Clip("mini", "cpu")
    assert tuned.encode_texts(["a thing"]).shape == mini.encode_texts(["a thing"]).shape
    assert 0 <= read_json(out / "result.json")["share"] <= 1
    assert main([*command, "--set", "steps=x"]) == 2
    assert main([*command, "--set", "steps=3"]) == 2  # holds another tuning
