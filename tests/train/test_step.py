"""The step: what weighs, what is trained, and what it must not wait for."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tvhelpers.config import InputError, build_config
from tvhelpers.data.items import GARMENT
from tvhelpers.lora.adapter import load_adapter
from tvhelpers.models.base import find_base, load_part, load_pipeline, unet_digest
from tvhelpers.train.trainer import train


class Reads(TorchDispatchMode):
    """Lists the operations that read a number from the device, which waits for all before it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func) in ("aten._local_scalar_dense.default", "aten.nonzero.default"):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Attentions(TorchFunctionMode):
    """Counts the calls of PyTorch's own attention, and of softmax, which others are made of."""

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
        regions = np.zeros((len(cache.moments), 8, 8), np.uint8)
        regions[:, 2:5, 2:5] = GARMENT
        return replace(cache, regions=regions)

    weights = {"garment_weight": 1, "background_weight": 0, "skin_weight": 0}
    trainer = make_trainer(masked, **weights, method="full", min_snr_gamma=0)
    batch = trainer._training_batch(range(4))
    assert torch.equal(batch[-1], torch.from_numpy(trainer.cache.regions[:4] == GARMENT).float())
    errors = torch.zeros(4, 4, 8, 8)
    errors[:, :, 0, 0] = 5
    predict = trainer._prediction
    with torch.no_grad():
        losses = trainer._losses(*batch)
        trainer._prediction = lambda *rest: predict(*rest) + errors
        assert torch.equal(trainer._losses(*batch), losses)
        assert not torch.allclose(trainer._losses(*batch[:-1]), losses)
    assert make_trainer()._training_batch(range(4))[-1] is None


def test_masks_that_the_data_has_not_are_not_made_up(settings, tmp_path):
    with pytest.raises(InputError, match=r"has no masks.*leave these alike"):
        train(build_config(**settings, background_weight=0.2), tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_token_ids_train_as_stored_states_do(make_trainer):
    stored = make_trainer()
    computed = make_trainer(lambda cache: replace(cache, embeds=None))
    for _ in range(3):
        a, b = stored.train_step(), computed.train_step()
        torch.testing.assert_close(a["loss"], b["loss"], atol=1e-6, rtol=1e-6)
    assert stored.held_out_loss() == pytest.approx(computed.held_out_loss(), abs=1e-6)
    assert len(stored.weights) == len(computed.weights)


def test_the_text_encoder_learns_at_its_own_rate_and_goes_on_bit_for_bit(make_trainer):
    options = {"text_rank": 2, "text_learning_rate": 1e-4, "warmup_steps": 0}
    trainer, plain = make_trainer(**options), make_trainer(warmup_steps=0)
    text = trainer.text.text_encoder
    before = {name: weight.clone() for name, weight in text.state_dict().items()}
    held_out = trainer.held_out_loss()
    assert held_out == pytest.approx(plain.held_out_loss(), abs=1e-4)  # it begins as it was
    for _ in range(4):
        trainer.train_step()
    rates = {group["lr"] for group in trainer.optimizer.param_groups}
    assert min(rates) / max(rates) == pytest.approx(1e-4 / 1e-3)
    moved = {n for n, weight in text.state_dict().items() if not torch.equal(weight, before[n])}
    assert moved and all("lora" in name for name in moved)
    assert all(weight.dtype == torch.float32 for weight in trainer.text.weights)
    assert len(plain.weights) == len(trainer.weights) - len(trainer.text.weights)
    again = make_trainer(**options)
    again.restore(deepcopy(trainer.state()), str)
    assert again.held_out_loss() == trainer.held_out_loss() != held_out
    for one, other in ((trainer.train_step(), again.train_step()) for _ in range(2)):
        assert torch.equal(one["loss"], other["loss"])
    for one, other in zip(trainer.weights, again.weights, strict=True):
        assert torch.equal(one, other)


def test_an_adapter_of_all_kinds_draws_as_it_was_trained(settings, tmp_path):
    changes = {"dora": True, "text_rank": 2, "gradient_checkpointing": True, "learning_rate": 0.02}
    changes |= {"prediction": "v_prediction", "zero_terminal_snr": True, "channels_last": True}
    said = []
    train(build_config(**settings, **changes), tmp_path, say=said.append)
    assert any("loaded anew, predict what was trained" in text for text in said)
    pipe = load_pipeline(find_base(settings["base"]))
    load_adapter(pipe, tmp_path / "adapter.safetensors", "tiny", unet_digest(pipe.unet))
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.scheduler.config.rescale_betas_zero_snr
    names = [name for name, _ in pipe.text_encoder.named_parameters()]
    assert any("lora_magnitude_vector" in name for name in names)
    own = load_part(find_base(settings["base"]), "scheduler").config
    assert own.prediction_type == "epsilon"
