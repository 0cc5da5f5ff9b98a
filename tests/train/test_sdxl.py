"""Stable Diffusion XL is cached and trained: two text encoders, pooled vectors, sizes."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tests.train.helpers import command, in_two_processes, same, stop_at, validation_loss
from tests.train.test_graph import masked
from tvhelpers.config import build_config
from tvhelpers.data.sources import open_source
from tvhelpers.models.base import find_base, load_part
from tvhelpers.progress import Interrupted
from tvhelpers.runtime import root_dir
from tvhelpers.sample.preview import Previews
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train import encoding, latents
from tvhelpers.train.log import read_steps
from tvhelpers.train.trainer import train


@pytest.fixture(scope="module")
def settings(tiny_sdxl, settings):
    """Settings of a training of the small base that takes seconds."""
    return settings | {"base": str(tiny_sdxl), "resolution": 64, "eval_steps": 0}


@torch.no_grad()
def test_a_cache_holds_what_the_stock_pipeline_gives_the_unet(tiny_sdxl, photo_folder, monkeypatch):
    source, asked = open_source(str(photo_folder)), []
    cache = latents.open_cache(source, find_base(str(tiny_sdxl)), 64, True, root_dir())
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
    pipe.set_progress_bar_config(disable=True)
    forward = pipe.unet.forward
    monkeypatch.setattr(pipe.unet, "forward", lambda *a, **k: asked.append(k) or forward(*a, **k))
    for item in range(0, len(source), 7):
        row, caption = cache.caption_index[item], source.captions[item]
        pipe(caption, num_inference_steps=1, output_type="latent", height=64, width=64)
        given = asked[-1]["encoder_hidden_states"], *asked[-1]["added_cond_kwargs"].values()
        for stored, (of_none, of_text) in zip((cache.embeds, cache.pooled), given[:2], strict=True):
            assert np.allclose(stored[row], of_text.numpy(), atol=2e-3)
            assert not stored[0].any() and not of_none.any()
        assert given[2][0].tolist() == cache.sizes[item].tolist()
    assert (cache.sizes == [64, 64, 0, 0, 64, 64]).all() and len(cache.sizes) == 2 * len(source)
    tall = encoding.sizes_of((90, 60), (64, 64), {})
    assert tall.tolist() == [90, 90, 0, 0, 64, 64]  # the padded square


def test_text_encoders_compute_what_the_cache_holds(make_trainer):
    def without(cache):
        return replace(cache, embeds=None, pooled=None)

    stored, computed = make_trainer(), make_trainer(change_cache=without)
    assert computed.batches.of_step(0, range(4)).text.shape == (4, 2 * 77)
    for _ in range(2):
        a, b = stored.train_step(), computed.train_step()
        torch.testing.assert_close(a["loss"], b["loss"], atol=1e-6, rtol=1e-6)
    weights = dict(background_weight=0.1, min_snr_gamma=0)
    plain, weighted = make_trainer(min_snr_gamma=0), make_trainer(masked, **weights)
    batch = weighted.batches.of_step(0, range(4))
    assert (weighted.losses(batch) != plain.losses(replace(batch, regions=None))).all()
    both = make_trainer(text_rank=2)
    assert validation_loss(both) == pytest.approx(validation_loss(make_trainer()), abs=1e-4)
    both.train_step()
    assert {*both.model.trained()} == {"unet", "text_encoder", "text_encoder_2"}
    moved = [one for one in both.model.text_weights if both.update.optimizer.state.get(one)]
    assert len(moved) > len(both.model.text_weights) / 2
    less = make_trainer(text_rank=2, gradient_checkpointing=True)
    less.train_step()
    for own, other in zip(both.model.weights, less.model.weights, strict=True):
        torch.testing.assert_close(own, other, atol=1e-6, rtol=1e-5)


def test_guidance_is_distilled_from_the_zeros_of_the_empty_prompt(make_trainer):
    trainer = make_trainer(
        distill_guidance=1, min_snr_gamma=0, caption_dropout=0
    )  # guidance 1 is the base itself
    assert not trainer.empty_prompt["text"].any() and not trainer.empty_prompt["pooled"].any()
    batch = trainer.batches.of_step(0, range(4))
    with torch.no_grad():
        assert trainer.losses(batch).max() < 1e-12  # its LoRA is still 0
        trainer.config = replace(trainer.config, distill_guidance=3)
        assert trainer.losses(batch).min() > 0


HARD = dict(
    text_rank=2, dora=True, ema_decay=0.9, prediction="v_prediction", zero_terminal_snr=True,
    min_snr_gamma=5.0, caption_dropout=0.5, keep="best",
)  # fmt: skip


@pytest.mark.parametrize("changes", [{}, HARD], ids=["plain", "everything"])
def test_a_stopped_training_ends_with_the_same_bytes(settings, changes, tmp_path):
    config = build_config(**settings | dict(steps=28, eval_steps=12, checkpoint_steps=0) | changes)
    train(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", preview=stop_at(12))
    train(config, tmp_path / "cut")
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_two_processes_take_the_steps_of_one(settings, tmp_path):
    settings = settings | {"steps": 3, "text_rank": 2, "checkpoint_steps": 0}
    train(build_config(**settings), tmp_path / "one")
    words = command(settings, tmp_path / "two")
    in_two_processes(words, [tmp_path / "screen-0", tmp_path / "screen-1"])
    one, two = read_steps(tmp_path / "one"), read_steps(tmp_path / "two")
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], abs=1e-5)


def test_previews_and_an_adapter_of_a_tuned_clip(settings, tiny_sdxl, tmp_path):
    """It is drawn with the text encoder that it was trained with."""
    encoder = load_part(find_base(str(tiny_sdxl)), "text_encoder_2")
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    encoder.save_pretrained(tmp_path / "tuned" / "clip")
    config = build_config(**settings | {"steps": 2}, text_encoder=str(tmp_path / "tuned"))
    tuned = config.text_encoder
    shots = Previews(
        str(tiny_sdxl), ["a red dress"], tmp_path / "shots", steps=2, text_encoder=tuned
    )
    train(config, tmp_path / "run", preview=shots)
    assert {np.asarray(Image.open(path)).std() > 5 for path in shots.folder.iterdir()} == {True}
    sampler = Sampler(str(tiny_sdxl), str(tmp_path / "run"), "cpu")
    assert sampler.base.tuned_part == "text_encoder_2"
    assert len(list(sampler.sample(Request(("a red dress",), steps=1)))) == 1


def test_training_all_weights_is_refused_before_images_are_encoded(settings, tmp_path):
    config = build_config(**settings | {"method": "full", "memory_gb": 0.001})
    with refused("no-memory"):
        train(config, tmp_path / "run", root=tmp_path)
    assert not any(tmp_path.iterdir())
