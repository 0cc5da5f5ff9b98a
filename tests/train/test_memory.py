"""Fewer samples in a forward pass if memory is short; the batch stays the same."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.helpers import refused
from tvhelpers.config import build_config
from tvhelpers.train import memory
from tvhelpers.train.cost import measure_pace
from tvhelpers.train.log import read_events, read_steps
from tvhelpers.train.trainer import train


def test_out_of_memory_halves_the_micro_batch_and_not_the_batch(settings, whole, tmp_path, spoil):
    def run_out(trainer, losses):
        if trainer.step >= 6 and len(losses) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses

    spoil(run_out)
    train(build_config(**settings), tmp_path)
    (event,) = read_events(tmp_path)
    assert event["step"] == 6 and event["micro_batch"] == 2
    plain, short = read_steps(whole), read_steps(tmp_path)
    assert len(short) == 12
    for a, b in zip(plain, short, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)


def test_memory_that_runs_out_in_a_trial_is_not_passed_over(make_trainer, spoil):
    def run_out(trainer, losses):
        if len(losses) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses

    spoil(run_out)
    trainer = make_trainer()
    measure_pace(trainer)
    assert trainer.micro_batch == 1 and trainer.step == 0


def test_the_micro_batch_is_the_largest_that_fits(make_trainer, monkeypatch, caplog):
    trainer = make_trainer(batch_size=16)
    weights = trainer.model.weights
    before = [weight.clone() for weight in weights]
    monkeypatch.setattr(memory, "peak_memory", lambda device: trainer.micro_batch * memory.GB)
    memory.choose_micro_batch(trainer, 5 * memory.GB)
    assert trainer.micro_batch == 4 and "4.00 GB predicted, 5.00 GB available" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))
    assert all(weight.grad is None for weight in weights)
    bytes_of_adamw = memory.optimizer_bytes(trainer)
    trainer.config = replace(trainer.config, optimizer="adamw8bit")
    assert memory.optimizer_bytes(trainer) == bytes_of_adamw / 4
    with refused("no-memory") as caught:
        memory.choose_micro_batch(trainer, 0.5 * memory.GB)
    assert "needs 1.00 GB, more than the 0.50 GB" in str(caught.value)


def test_an_evaluation_beside_a_captured_step_counts(make_trainer, monkeypatch):
    trainer, bytes_each = make_trainer(batch_size=16), 2**30
    trainer.replays = SimpleNamespace(release=lambda: None, graphs={})
    # one process may lack memory while the others do not: a trial waits for none of them
    monkeypatch.setattr(trainer.processes, "all_reduce", None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
    monkeypatch.setattr(memory, "peak_memory", lambda device: trainer.micro_batch * bytes_each)
    predicted = memory.choose_micro_batch(trainer, 9 * bytes_each)
    assert trainer.micro_batch == 4 and 8 * bytes_each < predicted < 9 * bytes_each

    def run_out(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(memory, "losses_alone", run_out)
    with refused("no-memory"):
        memory.choose_micro_batch(trainer, 9 * bytes_each)


def test_the_memory_of_other_programs_on_the_gpu_counts_and_is_said(
    make_trainer, monkeypatch, caplog
):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2 * memory.GB, 80 * memory.GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: memory.GB)
    limit = memory.memory_limit(0, "cuda")
    assert limit == pytest.approx(0.95 * 3 * memory.GB)
    trainer = make_trainer(batch_size=16)
    monkeypatch.setattr(memory, "peak_memory", lambda device: trainer.micro_batch * memory.GB)
    memory.choose_micro_batch(trainer, limit)
    assert trainer.micro_batch == 2 and "77.00 GB of this GPU are not" in caplog.text
    with refused("no-memory") as caught:
        memory.choose_micro_batch(trainer, 0.5 * memory.GB)
    assert "of which 77.0 GB are not" in str(caught.value)
