"""A training goes on after what goes wrong, and ends as if nothing had."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tvhelpers.config import InputError, build_config
from tvhelpers.data.sources import open_source
from tvhelpers.records import read_jsonl
from tvhelpers.runtime import Interrupted
from tvhelpers.train import fit, loop, mirror
from tvhelpers.train.checkpoint import save_checkpoint
from tvhelpers.train.log import Lines, RunLog
from tvhelpers.train.recovery import MAX_RETURNS, OVERFLOWS, Health
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

ADAPTER = "adapter.safetensors"


def quiet(text: str) -> None:
    """Say nothing."""


def stop_at(step: int):
    """Return a preview that presses Ctrl-C at the evaluation after `step`."""

    def press(number, unet):
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)

    return press


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that lets `change(trainer, losses)` loose on each step's losses."""
    honest = Trainer._losses

    def install(change):
        def spoilt(self, *batch, min_snr_gamma=None):
            losses = honest(self, *batch, min_snr_gamma=min_snr_gamma)
            return losses if min_snr_gamma == 0 else change(self, losses)  # 0: an evaluation

        monkeypatch.setattr(Trainer, "_losses", spoilt)

    return install


def test_a_loss_that_is_not_finite_leaves_one_update_out(settings, tmp_path, spoil):
    spoil(lambda trainer, losses: losses * (float("nan") if trainer.step == 6 else 1))
    config = build_config(**settings)
    train(config, tmp_path / "whole", say=quiet)
    log = read_jsonl(tmp_path / "whole" / "log.jsonl")
    (event,) = RunLog.read_events(tmp_path / "whole")
    assert "the loss of step 7 is nan: back to step 5, the update of step 7" in event["event"]
    assert {"step": 7, "skipped": True} in log
    assert [row["step"] for row in log if "event" not in row] == list(range(1, 13))
    with pytest.raises(Interrupted):  # and to go on from there decides the same
        train(config, tmp_path / "cut", preview=stop_at(6), say=quiet)
    train(config, tmp_path / "cut", say=quiet)
    assert read_jsonl(tmp_path / "cut" / "log.jsonl") != log  # it went back from another step
    adapters = [(tmp_path / run / ADAPTER).read_bytes() for run in ("whole", "cut")]
    assert adapters[0] == adapters[1]


def test_a_training_that_only_fails_ends_with_a_sentence(settings, tmp_path, spoil):
    spoil(lambda trainer, losses: losses * (float("inf") if trainer.step > 5 else 1))
    with pytest.raises(InputError, match=f"after {MAX_RETURNS} returns to a checkpoint; train"):
        train(build_config(**settings), tmp_path, say=quiet)
    assert "the learning rate is halved from step 6 on" in RunLog.read_events(tmp_path)[1]["event"]


def test_a_checkpoint_that_explodes_again_gives_way_to_an_older_one(settings, tmp_path, spoil):
    blown = []

    def change(trainer, losses):
        mark = trainer.weights[0].data.view(-1)  # what is in the checkpoints
        if trainer.step == 29 and not blown:
            mark[0] = 8.0
            blown.append(trainer.step)
        return losses * (60 if mark[0] > 6 else 1)

    spoil(change)
    config = build_config(**{**settings, "steps": 40, "eval_steps": 0})
    train(config, tmp_path, say=quiet)
    (event,) = RunLog.read_events(tmp_path)  # that of the return to step 30 was after step 25
    assert "back to step 25" in event["event"] and event["returns"] == 2
    assert len(RunLog.read_steps(tmp_path)) == 40
    assert not (tmp_path / "checkpoints").exists()  # it is finished


def test_a_loss_that_explodes_halves_the_learning_rate():
    health = Health()
    row = {"loss": 0.2, "grad_norm": 1.0}
    assert not any(health.look(step, row, False) for step in range(1, 30))
    before, faults = health.state(), []
    for step in range(30, 60):
        faults.append(health.look(step, {**row, "loss": 4.0}, False))
    assert any("exploded from 0.2" in fault for fault in faults)
    change = health.change(43, next(filter(None, faults)), 25, before)
    assert change == "the learning rate is halved from step 26 on"
    assert [health.rate_factor(step) for step in (24, 25, 99)] == [1, 0.5, 0.5]
    assert health.recent == before["recent"] and health.skipped == []


def test_a_gradient_that_is_not_finite_is_a_fault_unless_it_is_scaled():
    row = {"loss": 1.0, "grad_norm": float("inf")}
    assert "gradient norm of step 1 is inf" in Health().look(1, row, may_overflow=False)
    assert Health().look(1, row, may_overflow=True) == ""


def test_gradients_that_only_overflow_are_a_fault():
    health, bad = Health(), {"loss": 1.0, "grad_norm": float("nan")}
    for step in range(1, OVERFLOWS + 1):
        assert health.look(step, bad, may_overflow=True) == ""
    assert health.look(0, {**bad, "grad_norm": 1.0}, may_overflow=True) == ""  # begins anew
    faults = [health.look(step, bad, may_overflow=True) for step in range(1, OVERFLOWS + 2)]
    assert not any(faults[:-1]) and "gradient norm" in faults[-1]


def test_an_evaluation_in_smaller_parts_is_the_same(make_trainer):
    trainer = make_trainer(batch_size=16)
    whole, sizes, honest = trainer.slice_losses(trainer.training_slice), [], trainer._prediction
    trainer._prediction = lambda noisy, *rest: sizes.append(len(noisy)) or honest(noisy, *rest)
    trainer.micro_batch = 1
    trainer.training_slice = np.resize(trainer.training_slice, 6)
    parts = trainer.slice_losses(trainer.training_slice)
    assert sizes == [4, 2]
    torch.testing.assert_close(parts[: len(whole)], whole)


def test_a_preview_without_memory_is_left_out(settings, tmp_path):
    def draw(step, parts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    said = []
    train(build_config(**{**settings, "steps": 1}), tmp_path, preview=draw, say=said.append)
    assert sum("no preview at step" in text for text in said) == 2
    assert (tmp_path / ADAPTER).exists()


def test_out_of_memory_halves_the_micro_batch_and_not_the_batch(settings, tmp_path, spoil):
    config = build_config(**{**settings, "accumulate": 2})
    train(config, tmp_path / "plain", say=quiet)

    def run_out(trainer, losses):
        if trainer.step >= 6 and len(losses) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses

    spoil(run_out)
    train(config, tmp_path / "short", say=quiet)
    (event,) = RunLog.read_events(tmp_path / "short")
    assert event["step"] == 6 and event["micro_batch"] == 2
    plain, short = (RunLog.read_steps(tmp_path / run) for run in ("plain", "short"))
    assert len(short) == 12
    for a, b in zip(plain, short, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)


def test_the_micro_batch_is_the_largest_that_fits(make_trainer, monkeypatch):
    trainer, said = make_trainer(batch_size=16), []
    before = [weight.clone() for weight in trainer.weights]
    monkeypatch.setattr(fit, "peak_memory", lambda device: trainer.micro_batch * fit.GB)
    fit.choose_micro_batch(trainer, 5 * fit.GB, said.append)
    assert trainer.micro_batch == 4 and "4.00 GB predicted, 5.00 GB at hand" in said[0]
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.weights, strict=True))
    assert all(weight.grad is None for weight in trainer.weights)
    bytes_of_adamw = trainer.optimizer_bytes()
    trainer.config = replace(trainer.config, optimizer="adamw8bit")
    assert trainer.optimizer_bytes() == bytes_of_adamw / 4
    with pytest.raises(InputError, match="one sample does not fit"):
        fit.choose_micro_batch(trainer, 0.5 * fit.GB, said.append)


def test_a_full_disk_costs_nothing_but_checkpoints(settings, tmp_path, monkeypatch):
    train(build_config(**settings), tmp_path / "plain", say=quiet)
    honest, said = loop.save_checkpoint, []

    def full_until_10(folder, step, *rest):
        if step < 10:
            raise OSError(28, "No space left on device")
        return honest(folder, step, *rest)

    monkeypatch.setattr(loop, "save_checkpoint", full_until_10)
    train(build_config(**settings), tmp_path / "full", say=said.append)
    assert sum("no checkpoint at step 5" in text and "No space" in text for text in said) == 1
    adapters = [(tmp_path / run / ADAPTER).read_bytes() for run in ("plain", "full")]
    assert adapters[0] == adapters[1]


def test_no_more_minutes_are_at_stake_than_configured(settings, tmp_path, monkeypatch):
    now, saved = [0.0], [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def let_pass(seconds, function):
        def wrapped(*arguments, **options):
            now[0] += seconds
            return function(*arguments, **options)

        return wrapped

    def note(*arguments):
        saved.append(now[0])
        return save_checkpoint(*arguments)

    monkeypatch.setattr(Trainer, "train_step", let_pass(10, Trainer.train_step))
    monkeypatch.setattr(Trainer, "evaluation", let_pass(15, Trainer.evaluation))
    monkeypatch.setattr(loop, "save_checkpoint", note)
    config = build_config(**{**settings, "checkpoint_steps": 0, "checkpoint_minutes": 0.75})
    train(config, tmp_path / "run", say=quiet)
    assert np.diff(saved).max() <= 45 and len(saved) < 12


def test_lines_wait_until_the_disk_takes_them(tmp_path):
    lines = Lines(tmp_path / "gone" / "log.jsonl")
    for step in (1, 2, 3):
        lines.add({"step": step})
    assert lines.flush() is not None
    lines.cut_back(2)
    (tmp_path / "gone").mkdir()
    assert lines.flush() is None
    lines.path.write_bytes(lines.path.read_bytes() + b'{"step": 3}\n{"st')  # killed in a line
    lines.cut_back(2)
    assert lines.path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_new_machine_goes_on_from_the_mirror(settings, tmp_path):
    train(build_config(**settings), tmp_path / "whole", say=quiet)
    config = build_config(**settings, mirror=str(tmp_path / "drive"))
    run, said = tmp_path / "here" / "run", []
    with pytest.raises(Interrupted):
        train(config, run, preview=stop_at(6), say=quiet)
    copies = list((tmp_path / "drive" / "run" / "checkpoints").iterdir())
    assert [path.name[:12] for path in copies] == ["step-0000006"]
    shutil.rmtree(run)
    train(config, run, say=said.append)
    assert any("brought back" in text for text in said)
    for name in (ADAPTER, "log.jsonl", "eval.jsonl"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert (run / name).read_bytes() == (tmp_path / "drive" / "run" / name).read_bytes()
    with pytest.raises(InputError, match=r"drive/run holds the results of another training"):
        other = {**settings, "rank": 3, "mirror": str(tmp_path / "drive")}
        train(build_config(**other), tmp_path / "new" / "run", say=quiet)


def test_how_often_it_is_saved_may_change_on_the_way(settings, tmp_path):
    with pytest.raises(Interrupted):
        train(build_config(**settings), tmp_path / "run", preview=stop_at(6), say=quiet)
    other = {"checkpoint_steps": 3, "keep_checkpoints": 1, "checkpoint_minutes": 1.0}
    result = train(build_config(**{**settings, **other}), tmp_path / "run", say=quiet)
    train(build_config(**settings), tmp_path / "whole", say=quiet)
    adapters = [(tmp_path / run / ADAPTER).read_bytes() for run in ("whole", "run")]
    assert adapters[0] == adapters[1]
    held = json.loads((tmp_path / "run" / "held_out.json").read_text())
    source = open_source(settings["data"])
    assert result["num_items"] == len(source) - len(held)  # pictures, not flips as well


def test_a_mirror_that_is_gone_is_said_once_and_tried_again(settings, tmp_path):
    drive, said = tmp_path / "drive", []
    drive.write_text("not a folder")

    def come_back(step, unet):
        if step == 12:
            drive.unlink()

    config = build_config(**settings, mirror=str(drive))
    train(config, tmp_path / "run", preview=come_back, say=said.append)
    assert sum("training goes on without" in text for text in said) == 1
    assert any("takes copies again" in text for text in said)
    assert (drive / "run" / ADAPTER).read_bytes() == (tmp_path / "run" / ADAPTER).read_bytes()


def test_a_mirror_that_came_back_too_late_gets_the_result_from_the_same_command(settings, tmp_path):
    drive, run = tmp_path / "drive", tmp_path / "run"
    drive.write_text("not a folder")
    config = build_config(**{**settings, "steps": 1, "method": "full"}, mirror=str(drive))
    train(config, run, say=quiet)
    drive.unlink()
    order, honest = [], mirror.copy_checked

    def copy(source, target):
        order.append(source.name)
        honest(source, target)

    with pytest.MonkeyPatch.context() as watched:
        watched.setattr(mirror, "copy_checked", copy)
        train(config, run, say=quiet)
        first, order[:] = order[:], []
        train(config, run, say=quiet)
    assert first.index("model_index.json") < first.index("result.json") and order == []
    assert (drive / "run" / "pipeline" / "unet" / "config.json").exists()


def test_an_evaluation_tells_the_gap_and_where_the_loss_is(make_trainer):
    trainer = make_trainer(method="full", learning_rate=2e-3, warmup_steps=0, steps=60, flip=False)
    trainer.entries = trainer.training_slice
    first = trainer.evaluation()
    assert len(trainer.training_slice) == len(trainer.held_out) == 4
    assert not set(trainer.training_slice) & set(trainer.held_out)
    for _ in range(60):
        trainer.train_step()
    last = trainer.evaluation()
    assert last["training_slice_loss"] < first["training_slice_loss"]
    timesteps, losses = trainer._slice_timesteps(), trainer.slice_losses(trainer.held_out)
    late = losses[timesteps >= 750]
    assert last["by_timestep"][3] == (pytest.approx(late.mean().item()) if len(late) else None)


def test_two_processes_take_the_steps_of_one(settings, tmp_path):
    words = ["train", "lora", "--data", settings["data"]]
    words += [w for key, value in settings.items() if key != "data"
              for w in ("--set", f"{key}={value}")]  # fmt: skip
    launch = "-m accelerate.commands.launch --multi_gpu --num_machines 1 --num_processes 2"
    launch += " --mixed_precision no --dynamo_backend no --main_process_port 0"
    done = subprocess.run(
        [sys.executable, *launch.split(), "-m", "tvhelpers", *words, "--out", tmp_path / "two"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("measured peak of memory") <= 1  # only one of them speaks
    train(build_config(**settings), tmp_path / "one", say=quiet)
    one, two = (RunLog.read_steps(tmp_path / run) for run in ("one", "two"))
    assert len(two) == 12
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert (tmp_path / "one" / "log.jsonl").read_bytes() != (
        tmp_path / "two" / "log.jsonl"
    ).read_bytes()  # sums in another order: there were two
