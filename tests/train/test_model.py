"""The trained networks: adapter or UNet, with their learning rates, in any memory format."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from peft.tuners.lora import LoraLayer

from tests.helpers import refused
from tests.train.helpers import validation_loss
from tvhelpers.models.base import find_base, load_part
from tvhelpers.train.model import noise_schedule


def test_gradient_checkpointing_changes_no_bit(make_trainer):
    plain, checkpointed = make_trainer(), make_trainer(gradient_checkpointing=True)
    called = []
    layer = checkpointed.model.unet.up_blocks[-1].resnets[0]
    layer.register_forward_pre_hook(lambda *a: called.append(None))
    for _ in range(3):
        a, b = plain.train_step(), checkpointed.train_step()
        assert torch.equal(a["loss"], b["loss"]) and torch.equal(a["grad_norm"], b["grad_norm"])
    assert len(called) == 6  # computed again in the backward pass


def test_channels_last_is_the_same_training(make_trainer):
    plain, other = make_trainer(), make_trainer(channels_last=True)
    for _ in range(3):
        a, b = plain.train_step(), other.train_step()
        torch.testing.assert_close(a["loss"], b["loss"])
    strides = other.model.unet.conv_in.weight.stride()
    assert strides != plain.model.unet.conv_in.weight.stride()


def test_token_ids_train_as_stored_states_do(make_trainer):
    stored = make_trainer()
    computed = make_trainer(lambda cache: replace(cache, embeds=None))
    for _ in range(3):
        a, b = stored.train_step(), computed.train_step()
        torch.testing.assert_close(a["loss"], b["loss"], atol=1e-6, rtol=1e-6)
    assert validation_loss(stored) == pytest.approx(validation_loss(computed), abs=1e-6)
    assert len(stored.model.weights) == len(computed.model.weights)


def test_the_text_encoder_learns_at_its_own_rate_and_resumes_bit_for_bit(make_trainer):
    options = {"text_rank": 2, "text_learning_rate": 1e-4, "warmup_steps": 0}
    trainer, plain = make_trainer(**options), make_trainer(warmup_steps=0)
    text = trainer.model.text_encoders["text_encoder"]
    before = {name: weight.clone() for name, weight in text.state_dict().items()}
    loss = validation_loss(trainer)
    assert loss == pytest.approx(validation_loss(plain), abs=1e-4)  # it begins as it was
    for _ in range(4):
        trainer.train_step()
    rates = {group["lr"] for group in trainer.update.optimizer.param_groups}
    assert min(rates) / max(rates) == pytest.approx(1e-4 / 1e-3)
    moved = {n for n, weight in text.state_dict().items() if not torch.equal(weight, before[n])}
    assert moved and all("lora" in name for name in moved)
    weights = trainer.model.text_weights
    assert all(weight.dtype == torch.float32 for weight in weights)
    assert len(plain.model.weights) == len(trainer.model.weights) - len(weights)
    again = make_trainer(**options)
    again.restore(deepcopy(trainer.state()))
    assert validation_loss(again) == validation_loss(trainer) != loss
    for one, other in ((trainer.train_step(), again.train_step()) for _ in range(2)):
        assert torch.equal(one["loss"], other["loss"])
    for one, other in zip(trainer.model.weights, again.model.weights, strict=True):
        assert torch.equal(one, other)


def test_pure_noise_is_not_learnt_by_predicting_the_noise(settings, make_trainer):
    config = make_trainer().config
    base = find_base(settings["base"])
    with refused("unfit-objective"):
        noise_schedule(base, replace(config, zero_terminal_snr=True))
    changed = replace(config, zero_terminal_snr=True, prediction="v_prediction")
    assert noise_schedule(base, changed).alphas_cumprod[-1] == 0
    assert load_part(base, "scheduler").alphas_cumprod[-1] > 0


@pytest.mark.parametrize("targets", ["attention", "attention+ff+conv"])
def test_lora_takes_half_precision_as_it_is_to_the_last_bit(targets, make_trainer):
    ours, plain = (make_trainer(dtype="bfloat16", targets=targets) for _ in range(2))
    layers = [layer for layer in plain.model.unet.modules() if isinstance(layer, LoraLayer)]
    seen = []
    for layer in layers:
        layer.cast_input_dtype_enabled = True  # as peft does it
    for trainer in (plain, ours):
        for name, layer in trainer.model.unet.named_modules():
            if name.endswith("lora_A.default"):
                layer.register_forward_pre_hook(lambda layer, x: seen.append(x[0].dtype))
    for _ in range(3):
        a, b = plain.train_step(), ours.train_step()
        assert torch.equal(a["loss"], b["loss"])
        assert torch.equal(a["grad_norm"], b["grad_norm"])
    assert seen.count(torch.float32) and {*seen[-len(layers) :]} == {torch.bfloat16}
