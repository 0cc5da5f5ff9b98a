"""Gradients are clipped, and used by the optimizer that was chosen."""

from copy import deepcopy

import pytest
import torch

from tests.helpers import refused
from tvhelpers import config as config_module
from tvhelpers.config import OPTIMIZERS, Optimizer, build_config
from tvhelpers.train.optim import make_optimizer, num_steps


def test_optimizers_are_chosen_by_name(make_trainer):
    seen = []
    for name in ("adamw", "adam"):
        trainer = make_trainer(optimizer=name, weight_decay=0.5, warmup_steps=0)
        trainer.train_step()
        seen.append([type(trainer.update.optimizer), trainer.model.weights[0].clone()])
    assert [kind for kind, _ in seen] == [torch.optim.AdamW, torch.optim.Adam]
    assert not torch.equal(seen[0][1], seen[1][1])
    with refused("unfit-device"):
        make_trainer(optimizer="adamw8bit")


def test_an_optimizer_is_one_entry(make_trainer, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "sgd", Optimizer("torch.optim.SGD", 4, {"momentum": 0.9}))
    monkeypatch.setitem(OPTIMIZERS, "none", Optimizer("no_such_package.Optimizer", 4))
    monkeypatch.setitem(config_module.CHOICES, "optimizer", tuple(OPTIMIZERS))
    trainer = make_trainer(optimizer="sgd")
    before = [weight.clone() for weight in trainer.model.weights]
    trainer.train_step()
    assert isinstance(trainer.update.optimizer, torch.optim.SGD)
    assert not all(map(torch.equal, before, trainer.model.weights))
    with refused("not-installed"):
        make_optimizer("none", [], 0.0, "cpu")


def test_prodigy_finds_its_rate_and_resumes_bit_for_bit(make_trainer, caplog):
    pytest.importorskip("prodigyopt")
    how = {"optimizer": "prodigy", "learning_rate": 1.0, "steps": 6, "warmup_steps": 0}
    whole, first = make_trainer(**how), make_trainer(**how)
    for _ in range(6):
        whole.train_step()
    for _ in range(3):
        first.train_step()
    assert not caplog.records
    again = make_trainer(**how)
    again.restore(deepcopy(first.state()))
    for _ in range(3):
        again.train_step()
    for one, two in zip(whole.model.weights, again.model.weights, strict=True):
        assert torch.equal(one, two)
    assert whole.update.optimizer.param_groups[0]["k"] == 6
    make_trainer(optimizer="prodigy")
    assert "learning_rate=1" in caplog.text
    with refused("unfit-optimizer"):
        make_trainer(**how, text_rank=2, text_learning_rate=0.5)


def test_steps_are_counted_or_drawn_from_epochs():
    assert num_steps(build_config(steps=7), 100) == 7
    config = build_config(steps=7, epochs=3, batch_size=4, accumulate=2)
    assert [num_steps(config, items) for items in (8, 100, 101)] == [3, 38, 38]


def test_only_the_adapter_moves_and_the_gradient_is_clipped(make_trainer):
    trainer = make_trainer(max_grad_norm=1e-3, warmup_steps=0)
    before = {name: weight.clone() for name, weight in trainer.model.unet.state_dict().items()}
    seen = []
    step, weights = trainer.update.optimizer.step, trainer.model.weights

    def spy(*args, **kwargs):
        seen.append(torch.stack([w.grad.norm() for w in weights]).norm().item())
        return step(*args, **kwargs)

    trainer.update.optimizer.step = spy
    norms = [trainer.train_step()["grad_norm"].item() for _ in range(2)]
    assert min(norms) > 1e-3 and max(seen) <= 1e-3 * 1.001
    after = trainer.model.unet.state_dict()
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert moved and all("lora" in name for name in moved)
    assert all(weight.dtype == torch.float32 for weight in weights)


def test_a_checkpoint_resumes_in_the_other_memory_format(make_trainer):
    plain, other = (make_trainer(method="full", channels_last=last) for last in (False, True))
    plain.train_step()
    other.restore(deepcopy(plain.state()))
    weight = other.model.unet.conv_in.weight
    assert other.update.optimizer.state[weight]["exp_avg"].stride() == weight.stride()
    plain.train_step(), other.train_step()
    for one, two in zip(plain.model.weights, other.model.weights, strict=True):
        torch.testing.assert_close(one, two, atol=2e-5, rtol=1e-4)


def test_another_gpus_dtype_is_said_and_its_empty_scaler_left(make_trainer, caplog):
    trainer = make_trainer()
    trainer.train_step()
    state = {**trainer.state(), "dtype": "torch.bfloat16"}
    again = make_trainer()
    again.update.scaler = torch.amp.GradScaler("cpu", enabled=True)
    again.restore(state)
    assert again.step == 1 and "torch.bfloat16" in caplog.text


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_entry_says_what_its_optimizer_keeps(name):
    entry = OPTIMIZERS[name]
    if entry.only_on:
        pytest.skip(f"runs on {entry.only_on} alone")
    pytest.importorskip(entry.made_by.partition(".")[0])
    weight = torch.nn.Parameter(torch.ones(1000))
    optimizer = make_optimizer(name, [{"params": [weight]}], 0.0, "cpu")
    weight.sum().backward()
    optimizer.step()
    kept = [x for x in optimizer.state[weight].values() if getattr(x, "shape", 0) == weight.shape]
    assert sum(value.nbytes for value in kept) == entry.state_bytes * weight.numel()
