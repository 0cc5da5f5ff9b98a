"""A step: sample weights, trained weights, and no waiting for the device."""

import os
from dataclasses import replace

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers import refused
from tests.train.helpers import validation_loss
from tvhelpers.config import build_config
from tvhelpers.data.items import GARMENT
from tvhelpers.lora.adapter import load_adapter
from tvhelpers.models.base import find_base, load_part, load_pipeline, unet_digest
from tvhelpers.train import diffusion
from tvhelpers.train.evaluation import item_losses
from tvhelpers.train.trainer import train


class Reads(TorchDispatchMode):
    """Lists the operations that read a number from the device, and so wait for it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func) in ("aten._local_scalar_dense.default", "aten.nonzero.default"):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Attentions(TorchFunctionMode):
    """Counts the calls of PyTorch's fused attention, and of softmax, used by slower attention."""

    def __init__(self):
        super().__init__()
        self.fused = self.other = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.fused += func is torch.nn.functional.scaled_dot_product_attention
        self.other += func in (torch.nn.functional.softmax, torch.Tensor.softmax, torch.softmax)
        return func(*args, **(kwargs or {}))


def test_a_step_reads_nothing_from_the_device_and_attends_by_the_fused_kernel(make_trainer):
    trainer = make_trainer(text_rank=2, ema_decay=0.9)
    trainer.train_step()
    with Reads() as reads, Attentions() as attentions:
        trainer.train_step()
    assert reads.seen == []
    layers = 2 * 6 + 2  # of the UNet's transformers, to itself and to the text; of the text encoder
    assert attentions.other == 0 and attentions.fused >= 2, layers


def test_what_is_outside_the_garment_weighs_nothing_in_a_step(make_trainer):
    def masked(cache):
        regions = np.zeros((len(cache.moments[0]), 8, 8), np.uint8)
        regions[:, 2:5, 2:5] = GARMENT
        return replace(cache, regions=(regions,))

    weights = {"garment_weight": 1, "background_weight": 0, "skin_weight": 0}
    trainer = make_trainer(masked, **weights, method="full", min_snr_gamma=0)
    batch = trainer.batches.of_step(0, range(4))
    assert torch.equal(batch.regions, torch.from_numpy(trainer.data.cache.regions[0][:4]))
    errors = torch.zeros(4, 4, 8, 8)
    errors[:, :, 0, 0] = 5
    predict = trainer.model.predict
    with torch.no_grad():
        losses = trainer.losses(batch)
        trainer.model.predict = lambda *rest: predict(*rest) + errors
        assert torch.equal(trainer.losses(batch), losses)
        assert not torch.allclose(trainer.losses(replace(batch, regions=None)), losses)
    assert make_trainer().batches.of_step(0, range(4)).regions is None


def test_huber_loss_and_noise_offset_change_what_is_trained_and_not_the_validation(make_trainer):
    plain, other = make_trainer(), make_trainer(loss="smooth_l1", noise_offset=0.1)
    batches = [one.batches.of_step(0, range(4)) for one in (plain, other)]
    shift = batches[1].noise - batches[0].noise
    assert shift.std((2, 3)).max() < 1e-6 and shift.abs().max() > 0.01
    with torch.no_grad():
        huber, squared = (one.losses(batches[0]) for one in (other, plain))
        assert not torch.allclose(huber, squared)
        assert torch.equal(other.losses(batches[0], plain=True), plain.losses(batches[0], True))
    items = plain.data.validation_items
    assert torch.equal(item_losses(plain, items), item_losses(other, items))


def test_distillation_learns_what_the_base_predicts_with_guidance(make_trainer):
    trainer = make_trainer(distill_guidance=1, min_snr_gamma=0)  # guidance 1 is the base itself
    batch = trainer.batches.of_step(0, range(4))
    with torch.no_grad():
        assert trainer.losses(batch).max() < 1e-12  # its LoRA is still 0
    trainer = make_trainer(distill_guidance=3, min_snr_gamma=0, caption_dropout=0)
    with torch.no_grad():
        alone = trainer.model.predict(noisy := noised(trainer, batch), batch)
        text = trainer.empty_prompt["text"].expand_as(batch.text)
        empty = trainer.model.predict(noisy, replace(batch, text=text))
        expected = (2 * (alone - empty)).square().mean((1, 2, 3))
        assert torch.allclose(trainer.losses(batch), expected, rtol=1e-4)
    before = trainer.losses(batch).mean().item()
    for _ in range(20):
        trainer.train_step()
    assert 0 < trainer.losses(batch).mean().item() < before
    with refused("not-for-method"):
        build_config(distill_guidance=3, method="full")
    with refused("not-for-method"):
        build_config(distill_guidance=3, text_rank=2)


def noised(trainer, batch):
    """Return the noisy latents of a batch."""
    latents = diffusion.sample_latents(batch.moments, batch.posterior, trainer.scaling_factor)
    at = batch.timesteps, trainer.alphas_cumprod
    return diffusion.add_noise(latents, batch.noise, *at)


def test_masks_that_the_data_has_not_are_not_made_up(settings, tmp_path):
    with refused("no-masks"):
        train(build_config(**settings, background_weight=0.2), tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_an_adapter_of_all_kinds_draws_as_it_was_trained(settings, tmp_path, caplog):
    changes = {"dora": True, "text_rank": 2, "gradient_checkpointing": True, "learning_rate": 0.02}
    changes |= {"prediction": "v_prediction", "zero_terminal_snr": True, "channels_last": True}
    train(build_config(**settings, **changes), tmp_path)
    assert "were loaded again and checked" in caplog.text
    pipe = load_pipeline(find_base(settings["base"]))
    load_adapter(pipe, tmp_path / "adapter.safetensors", "tiny", unet_digest(pipe.unet))
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.scheduler.config.rescale_betas_zero_snr
    names = [name for name, _ in pipe.text_encoder.named_parameters()]
    assert any("lora_magnitude_vector" in name for name in names)
    own = load_part(find_base(settings["base"]), "scheduler").config
    assert own.prediction_type == "epsilon"


def test_accumulated_micro_batches_give_the_steps_of_one_batch(make_trainer):
    one, many = make_trainer(batch_size=4), make_trainer(batch_size=1, accumulate=4)
    for _ in range(3):
        a, b = one.train_step(), many.train_step()
        torch.testing.assert_close(a["loss"], b["loss"])
    for a, b in zip(one.model.weights, many.model.weights, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_loss_falls_when_one_image_is_learnt_by_heart(make_trainer):
    trainer = make_trainer(method="full", learning_rate=2e-3, warmup_steps=0, steps=60, flip=False)
    trainer.data.validation_items = trainer.batches.entries[:1]
    trainer.batches.draw_from(trainer.data.validation_items)
    before = validation_loss(trainer)
    for _ in range(60):
        trainer.train_step()
    assert validation_loss(trainer) < 0.9 * before


def test_what_is_compiled_is_kept_among_the_artifacts(make_trainer, cache_root, monkeypatch):
    trainer, environment = make_trainer(), {**os.environ}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(torch, "compile", lambda network: network)
    trainer.compile()
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(cache_root / "artifacts" / "compiled")

    def fail(*arguments, **options):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda network: fail)
    with refused("not-compiled"):
        trainer.compile()
