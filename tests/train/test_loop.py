"""A training continues after errors, and ends as if there had been none."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.helpers import refused
from tests.train.helpers import ADAPTER, same, stop_at
from tvhelpers.config import build_config
from tvhelpers.data.sources import open_source
from tvhelpers.progress import Interrupted
from tvhelpers.records import read_json, read_records
from tvhelpers.train import checkpoint, loop
from tvhelpers.train.checkpoint import save_checkpoint
from tvhelpers.train.distributed import Processes
from tvhelpers.train.log import read_events, read_steps
from tvhelpers.train.recovery import MAX_ROLLBACKS
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train


def test_a_loss_that_is_not_finite_skips_one_update(settings, tmp_path, spoil):
    spoil(lambda trainer, losses: losses * (float("nan") if trainer.step == 6 else 1))
    config = build_config(**settings)
    train(config, tmp_path / "run")
    log = read_records(tmp_path / "run" / "log.jsonl", "log")
    (event,) = read_events(tmp_path / "run")
    assert "step 7 is nan: rolled back to step 5, the update of step 7 is skipped" in event["event"]
    assert {"step": 7, "skipped": True} in log
    assert [row["step"] for row in log if "event" not in row] == list(range(1, 13))
    with pytest.raises(Interrupted):  # resuming from there decides the same
        train(config, tmp_path / "cut", preview=stop_at(6))
    train(config, tmp_path / "cut")
    assert (
        read_records(tmp_path / "cut" / "log.jsonl", "log") != log
    )  # it rolled back from another step
    assert same(tmp_path / "run", tmp_path / "cut")


def test_a_training_that_only_fails_ends_with_a_sentence(settings, tmp_path, spoil):
    spoil(lambda trainer, losses: losses * (float("inf") if trainer.step > 5 else 1))
    with refused("not-finite"):
        train(build_config(**settings), tmp_path)
    assert len(read_events(tmp_path)) == MAX_ROLLBACKS
    assert "the learning rate is halved from step 6 on" in read_events(tmp_path)[1]["event"]


def test_a_checkpoint_that_explodes_again_gives_way_to_an_older_one(settings, tmp_path, spoil):
    blown = []

    def change(trainer, losses):
        mark = trainer.model.weights[0].data.view(-1)  # what is in the checkpoints
        if trainer.step == 29 and not blown:
            mark[0] = 8.0
            blown.append(trainer.step)
        return losses * (60 if mark[0] > 6 else 1)

    spoil(change)
    config = build_config(**{**settings, "steps": 40, "eval_steps": 0})
    train(config, tmp_path)
    (event,) = read_events(tmp_path)  # the event of rolling back to step 30 was removed
    assert "rolled back to step 25" in event["event"] and event["returns"] == 2
    assert len(read_steps(tmp_path)) == 40
    assert not (tmp_path / "checkpoints").exists()  # it is finished


def test_a_preview_without_memory_is_skipped(settings, tmp_path, caplog):
    def draw(step, parts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    train(build_config(**{**settings, "steps": 1}), tmp_path, preview=draw)
    assert caplog.text.count("no preview at step") == 2
    assert (tmp_path / ADAPTER).exists()


def test_a_full_disk_costs_nothing_but_checkpoints(settings, whole, tmp_path, monkeypatch, caplog):
    honest = checkpoint.save_checkpoint

    def full_until_10(folder, step, *rest):
        if step < 10:
            raise OSError(28, "No space left on device")
        return honest(folder, step, *rest)

    monkeypatch.setattr(checkpoint, "save_checkpoint", full_until_10)
    train(build_config(**settings), tmp_path)
    assert caplog.text.count("no checkpoint at step 5 (disk full)") == 1
    assert same(whole, tmp_path)


def test_stopped_on_a_full_disk_it_says_what_is_there_to_resume(settings, tmp_path, monkeypatch):
    def full(*rest):
        raise OSError(28, "No space left on device")

    for killed, way in ((False, "to begin again"), (True, "to resume at step 5")):
        if killed:
            with pytest.raises(SystemExit):
                train(build_config(**settings), tmp_path, preview=_leave)
        with monkeypatch.context() as patch, pytest.raises(Interrupted) as stopped:
            patch.setattr(checkpoint, "save_checkpoint", full)
            train(build_config(**settings), tmp_path, preview=stop_at(6))
        assert "no checkpoint could be written (disk full)" in str(stopped.value)
        assert stopped.value.ways == {way: ()}


def _leave(step, parts):
    if step == 6:
        raise SystemExit("killed")


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
    monkeypatch.setattr(loop, "evaluate", let_pass(15, loop.evaluate))
    monkeypatch.setattr(checkpoint, "save_checkpoint", note)
    config = build_config(**{**settings, "checkpoint_steps": 0, "checkpoint_minutes": 0.75})
    train(config, tmp_path / "run")
    assert np.diff(saved).max() <= 45 and len(saved) < 12


def test_how_often_it_is_saved_may_change_on_the_way(settings, whole, tmp_path):
    with pytest.raises(Interrupted):
        train(build_config(**settings), tmp_path, preview=stop_at(6))
    other = {"checkpoint_steps": 3, "keep_checkpoints": 1, "checkpoint_minutes": 1.0}
    result = train(build_config(**{**settings, **other}), tmp_path)
    assert same(whole, tmp_path)
    held = read_json(tmp_path / "held_out.json")
    source = open_source(settings["data"])
    assert result["num_items"] == len(source) - len(held)  # images, without mirrored ones


def test_to_finish_nothing_of_a_step_is_prepared(settings, tmp_path, monkeypatch):
    prepared = []
    monkeypatch.setattr(loop, "gpu_use", lambda trainer: prepared.append("the GPU's use"))
    monkeypatch.setattr(Trainer, "compile", lambda self: prepared.append("compiled"))
    config = build_config(**settings, compile=True)
    with pytest.raises(Interrupted):
        train(config, tmp_path, preview=stop_at(6))
    assert prepared == ["the GPU's use", "compiled"]
    assert train(config, tmp_path, finish=True)["steps"] == 6 and len(prepared) == 2


def test_no_memory_for_a_gpu_on_the_host_is_no_failing_gpu(settings, whole, tmp_path, spoil):
    """CUDA says so in words that begin as those of an error after which the GPU is lost."""

    def fail(trainer, losses):
        if trainer.step >= 6 and len(losses) > 2:
            raise torch.AcceleratorError("CUDA error: out of memory\nCompile with ...")
        return losses

    def draw(step, parts):
        raise torch.AcceleratorError("CUDA error: out of memory\nCompile with ...")

    spoil(fail)
    train(build_config(**settings), tmp_path, preview=draw)
    (event,) = read_events(tmp_path)
    assert event["micro_batch"] == 2 and len(read_steps(tmp_path)) == 12


def test_memory_that_an_evaluation_lacks_is_no_failing_gpu(settings, tmp_path, monkeypatch):
    def evaluate(trainer):
        raise torch.AcceleratorError("CUDA error: out of memory\nCompile with ...")

    monkeypatch.setattr(loop, "evaluate", evaluate)
    with pytest.raises(torch.AcceleratorError):
        train(build_config(**settings), tmp_path)


def test_a_gpu_that_fails_ends_a_training_that_resumes(settings, whole, tmp_path, spoil):
    failing = [True]

    def fail(trainer, losses):
        if trainer.step == 8 and failing:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")
        return losses

    spoil(fail)
    with refused("gpu-lost") as caught:
        train(build_config(**settings), tmp_path)
    assert "failed at step 8 (CUDA error: unspecified launch failure" in str(caught.value)
    failing.clear()
    train(build_config(**settings), tmp_path)
    assert same(whole, tmp_path)


def test_a_gpu_that_fails_before_the_first_step_is_said_too(settings, tmp_path, monkeypatch):
    def fail(trainer):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")

    monkeypatch.setattr(loop, "gpu_use", fail)
    with refused("gpu-lost"):
        train(build_config(**settings), tmp_path)


def test_the_main_process_says_that_another_one_captures_nothing(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Processes, "any", lambda self, *flags: [*flags[:2], *[True] * len(flags[2:])]
    )
    train(build_config(**settings), tmp_path)
    (event,) = read_events(tmp_path)
    assert event["step"] == 1 and "not captured in a CUDA graph on another GPU" in event["event"]
