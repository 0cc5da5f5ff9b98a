"""The adapter with the best validation loss is the result, whatever happens on the way."""

import numpy as np
import pytest

from tests.helpers import refused
from tests.train.helpers import ADAPTER, same, stop_at
from tvhelpers.config import build_config
from tvhelpers.lora.find import find_adapter
from tvhelpers.lora.formats import read_about, read_adapter
from tvhelpers.models.base import find_base
from tvhelpers.progress import Interrupted
from tvhelpers.records import read_json
from tvhelpers.train import loop, snapshots
from tvhelpers.train.evaluation import evaluate
from tvhelpers.train.log import read_evaluations, read_events
from tvhelpers.train.snapshots import Snapshots, best_of, should_stop
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

LAST = "adapter_last.safetensors"
# step 0 never wins, and of two equal ones the earlier does
LOSSES = {0: 0.1, 2: 0.9, 4: 0.5, 6: 0.5, 8: 0.7, 10: 0.8, 12: 0.6}


@pytest.fixture
def best(settings, monkeypatch):
    """Settings of a training whose validation losses are LOSSES."""

    def scripted(trainer):
        seen = {**evaluate(trainer), "validation_loss": LOSSES.get(trainer.step, 0.55)}
        seen.pop("item_losses", ())
        return seen

    monkeypatch.setattr(loop, "evaluate", scripted)
    return {**settings, "keep": "best", "eval_steps": 2, "keep_snapshots": 1, "ema_decay": 0.5}


def snapshot(step: int) -> str:
    return f"snapshots/step-{step:07d}.safetensors"


def stop_in(step: int):
    """Return a preview that ends the process without a checkpoint, as a kill does."""

    def end(number, parts):
        if number == step:
            raise SystemExit("killed")

    return end


@pytest.fixture
def kept(best, tmp_path):
    """The folder of a finished training, and its result."""
    return tmp_path / "kept", train(build_config(**best), tmp_path / "kept")


def test_the_adapter_of_the_best_loss_is_the_result(kept, best, caplog):
    run, result = kept
    assert (result["kept_step"], result["steps"]) == (4, 12)
    losses = [
        result[key] for key in ("held_out_loss_base", "held_out_loss", "validation_loss_last")
    ]
    assert losses == [0.1, 0.5, 0.6]
    assert (run / ADAPTER).read_bytes() == (run / snapshot(4)).read_bytes()
    assert (run / LAST).read_bytes() == (run / snapshot(12)).read_bytes()
    assert {path.name for path in (run / "snapshots").iterdir()} == {
        snapshot(step).split("/")[1] for step in (4, 12)
    }
    about = [
        read_about(run / name)["steps"] for name in (ADAPTER, "adapter_kohya.safetensors", LAST)
    ]
    assert about == [4, 4, 12]
    said = [record.getMessage() for record in caplog.get_records("setup")]
    first, second = said[-2:]
    assert first.startswith("step 4 is kept: validation loss 0.1000 of the base -> 0.5000, 400.0%")
    assert first.endswith("of the last step, 12: 0.6000") and "no better than the base" in second
    base = find_base(best["base"])
    assert find_adapter(base, str(run)) == run / ADAPTER
    assert (
        read_adapter(run / snapshot(12)).layers.keys() == read_adapter(run / ADAPTER).layers.keys()
    )


@pytest.mark.parametrize("step", [6, 8, 12])
def test_a_killed_training_ends_with_the_same_bytes(kept, best, tmp_path, step):
    run, _ = kept
    for _ in range(2):
        with pytest.raises(SystemExit):
            train(build_config(**best), tmp_path / "cut", preview=stop_in(step))
    train(build_config(**best), tmp_path / "cut")
    names = [str(path.relative_to(run)) for path in run.rglob("*.safetensors")]
    for name in (*names, "result.json", "log.jsonl", "eval.jsonl"):
        assert same(run, tmp_path / "cut", name), name
    assert len(names) == len([*(tmp_path / "cut").rglob("*.safetensors")]) == 5


def test_an_alpha_changes_nothing_of_the_kept_adapter(best, tmp_path):
    train(build_config(**best, alpha=3, dora=True, text_rank=1), tmp_path)
    wanted, seen = (read_adapter(tmp_path / name) for name in (snapshot(4), ADAPTER))
    assert wanted.about == seen.about
    for name, layer in wanted.layers.items():
        assert (layer.scaled_up - seen.layers[name].scaled_up).abs().max() < 1e-7
        assert layer.magnitude.equal(seen.layers[name].magnitude)


def test_no_better_loss_for_long_ends_a_training_and_it_stays_ended(best, tmp_path):
    config = build_config(**best, patience=2)
    with pytest.raises(SystemExit):
        train(config, tmp_path / "cut", preview=stop_in(6))
    for run in (tmp_path / "cut", tmp_path / "whole"):
        result = train(config, run)
        assert (result["steps"], result["kept_step"]) == (8, 4)
        assert [event["step"] for event in read_events(run)] == [8]
    assert same(tmp_path / "cut", tmp_path / "whole")
    (run / "result.json").unlink()  # before it was written, but after the checkpoint
    assert train(config, run)["kept_step"] == 4


def test_a_stopped_training_is_finished_with_its_best(best, tmp_path, monkeypatch):
    config = build_config(**best)
    with pytest.raises(Interrupted) as stopped:
        train(config, tmp_path / "run", preview=stop_at(10))
    assert [*stopped.value.ways.values()] == [(), ("--finish",)]
    result = train(config, tmp_path / "run", finish=True)
    assert (result["steps"], result["kept_step"]) == (10, 4)
    assert (result["held_out_loss"], result["validation_loss_last"]) == (0.5, 0.8)
    assert train(config, tmp_path / "run") == result
    with refused("nothing-to-finish"):
        train(config, tmp_path / "run", finish=True)
    with refused("nothing-to-finish"):
        train(config, tmp_path / "new", finish=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_without_an_evaluation_is_evaluated_to_finish_it(best, tmp_path, monkeypatch, keep):
    config = build_config(**{**best, "eval_steps": 0, "keep": keep})
    honest = Trainer.train_step

    def stop_after_7(self):
        if self.step == 7:
            raise SystemExit("killed")
        return honest(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_after_7)
        with pytest.raises(SystemExit):
            train(config, tmp_path)
    result = train(config, tmp_path, finish=True)
    assert (result["steps"], result["kept_step"], result["held_out_loss"]) == (5, 5, 0.55)
    assert [row["step"] for row in read_evaluations(tmp_path)] == [0, 5]


def test_a_training_killed_before_its_first_checkpoint_has_nothing_to_finish(best, tmp_path):
    with pytest.raises(SystemExit):
        train(build_config(**best), tmp_path, preview=stop_in(2))
    with refused("nothing-to-finish"):
        train(build_config(**best), tmp_path, finish=True)


def test_a_full_disk_costs_a_snapshot_but_not_the_training(best, tmp_path, monkeypatch, caplog):
    honest = snapshots.write_adapter

    def full_at_4(adapter, path, *rest):
        if adapter.about["steps"] == 4:
            raise OSError(28, "No space left on device")
        honest(adapter, path, *rest)

    monkeypatch.setattr(snapshots, "write_adapter", full_at_4)
    assert train(build_config(**best), tmp_path)["kept_step"] == 6
    assert "no snapshot at step 4 (disk full)" in caplog.text


def test_a_damaged_snapshot_gives_way_to_the_next_best(best, tmp_path, caplog):
    with pytest.raises(Interrupted):
        train(build_config(**best, patience=9), tmp_path, preview=stop_at(6))
    path = tmp_path / snapshot(4)
    path.write_bytes(path.read_bytes()[:-8] + b"damaged!")
    assert train(build_config(**best, patience=9), tmp_path, finish=True)["kept_step"] == 6
    assert "the snapshot of step 4 cannot be read" in caplog.text


def test_rolling_back_removes_what_comes_after_it(best, tmp_path, spoil):
    spoil(lambda trainer, losses: losses * (float("nan") if trainer.step == 6 else 1))
    seen = []

    def look(step, parts):
        seen.append((step, [*Snapshots(tmp_path, 1, None).steps()]))

    train(build_config(**{**best, "keep_snapshots": 9}), tmp_path, preview=look)
    assert [step for step, _ in seen] == [0, 2, 4, 6, 6, 8, 10, 12]  # from 7 back to 5
    assert [there for _, there in seen][3:6] == [[2, 4, 6], [2, 4, 6], [2, 4, 6, 8]]


def test_the_mirror_has_the_best_snapshot_alone_and_a_new_machine_ends_alike(kept, best, tmp_path):
    run, _ = kept
    mirrored = {**best, "mirror": str(tmp_path / "drive"), "keep_snapshots": 9}
    with pytest.raises(Interrupted):
        train(build_config(**mirrored), tmp_path / "here" / "kept", preview=stop_at(10))
    drive = tmp_path / "drive" / "kept"
    assert Snapshots(drive, 1, None).steps() == [4]
    train(build_config(**mirrored), tmp_path / "there" / "kept")
    assert all(same(run, tmp_path / "there" / "kept", name) for name in (ADAPTER, LAST))
    assert Snapshots(drive, 1, None).steps() == [] and same(run, drive, LAST)


def rows(*losses):
    return [{"step": 10 * i, "validation_loss": loss} for i, loss in enumerate(losses)]


def test_the_best_of_each_step_to_which_a_training_may_return_stays(tmp_path):
    curve = rows(0.1, 0.9, 0.7, 0.8, 0.6, 0.65)
    store = Snapshots(tmp_path, 1, None)
    store.folder.mkdir()
    for row in curve[1:]:
        store.path(row["step"]).touch()
    (store.folder / "step-mine.safetensors").touch()  # somebody else's
    store.prune(curve, [15, 30])
    assert store.steps() == [10, 20, 40, 50]
    store.prune(curve)
    assert store.steps() == [40, 50] and (store.folder / "step-mine.safetensors").exists()


def test_a_training_stops_early_after_as_many_that_are_not_better():
    assert best_of(rows(0.1)) is None and not should_stop(rows(0.1), 1)
    assert [should_stop(rows(0.1, 0.5, 0.4, *[0.4] * n), 2) for n in range(4)] == [0, 0, 1, 1]
    assert not should_stop(rows(0.1, 0.5, *[0.6] * 50), 0)


def test_a_lead_within_its_standard_error_does_not_win():
    """Of eight items, two that happen to do better early decide nothing; a difference that all
    items have does."""
    rng = np.random.default_rng(20)
    start = rng.uniform(0.2, 0.4, 8)

    def kept(*changes):
        items = [start, *(start + change for change in changes)]
        curve = [
            dict(step=i, validation_loss=x.mean(), item_losses=[*x]) for i, x in enumerate(items)
        ]
        return best_of(curve)["step"]

    by_chance = np.where(np.arange(8) < 2, -0.04, 0.004)  # lower by 0.007 in the mean
    assert kept(by_chance, np.zeros(8)) == 2
    assert kept(np.full(8, -0.007), np.zeros(8)) == 1
    rising = [0.002 * i + rng.normal(0, 0.006, 8) for i in range(9)]  # steps of less than an error
    assert kept(*rising) == 3


def test_other_methods_and_older_results_have_no_snapshots(whole):
    assert not (whole / "snapshots").exists() and not (whole / LAST).exists()
    assert read_json(whole / "result.json")["kept_step"] == 12
