"""What a training costs: steps and evaluations that are left, FLOPs, and the share of a GPU."""

from types import SimpleNamespace

import pytest
import torch

from tvhelpers.records import read_records
from tvhelpers.train import cost, evaluation
from tvhelpers.train.graph import Replays
from tvhelpers.train.log import RunLog


def test_the_evaluations_that_are_left_are_those_of_the_loop():
    for steps in (1, 5, 6, 12, 13):
        for every in (0, 1, 5, 6, 20):
            due = {0, steps, *(n for n in range(1, steps) if every and n % every == 0)}
            for step in range(steps + 1):
                later = [n for n in due if n > step or n == step == 0]
                assert cost.evaluations_left(step, steps, every) == len(later), (step, steps, every)


@pytest.mark.parametrize(("index", "size", "passes"), [(0, 4, 1), (1, 8, 1), (1, 2, 2)])
def test_a_trial_changes_nothing_and_its_estimate_counts_steps_and_evaluations(
    make_trainer, monkeypatch, index, size, passes
):
    """Each of two processes computes 4 of a step's 8 samples, so many at once, or 4."""
    trainer, other = make_trainer(batch_size=8), make_trainer(batch_size=8)
    now, samples = [0.0], []
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    compute, evaluate = trainer._compute, cost.losses_alone

    def take_3_s(batch):
        now[0] += 3
        samples.append(len(batch.noise))
        return compute(batch)

    def take_10_s(*arguments):
        now[0] += 10
        return evaluate(*arguments)

    trainer._compute, trainer.micro_batch = take_3_s, size
    monkeypatch.setattr(cost, "losses_alone", take_10_s)
    monkeypatch.setattr(evaluation, "BATCH", 2)  # of the 4 items of each kind
    with monkeypatch.context() as patch:
        patch.setattr(trainer.processes, "index", index)
        patch.setattr(trainer.processes, "count", 2)
        assert cost.measure_pace(trainer) == cost.Pace(3 * passes, 10 * 8 / 2 / 2)
        assert {*samples} == {len(trainer.first_pass())} == {4 // passes}
    trainer.micro_batch = 8
    assert torch.equal(trainer.train_step()["loss"], other.train_step()["loss"])
    assert cost.Pace(2, 30).minutes(40, 100, 40) == {"steps": 2.0, "evaluations": 1.0}


def test_a_trial_whose_steps_are_not_captured_yet_says_at_most(make_trainer):
    trainer = make_trainer()
    trainer.replays = Replays(trainer._compute, trainer.model.weights, trainer.dtype, print)
    trainer.replays._first = lambda shape, batch: trainer._compute(batch)  # as on an overflow
    assert cost.measure_pace(trainer).at_most and not cost.measure_pace(make_trainer()).at_most
    assert cost.in_minutes(2.5, at_most=True) == "at most 2.5 minutes"


def test_flops_are_counted_for_an_image_whatever_the_batch(make_trainer):
    small, large = (cost.flops_per_image(make_trainer(batch_size=size)) for size in (2, 4))
    assert small == pytest.approx(large) and small > 0
    for more in ({"method": "full"}, {"gradient_checkpointing": True}):
        assert cost.flops_per_image(make_trainer(**more)) > small
    assert cost.gpu_use(make_trainer()) is None
    assert cost.matrix_peak(torch.float32, "cpu", 256) > 1e6


@pytest.mark.parametrize("tf32", [True, False])
def test_the_peak_has_the_precision_of_convolutions(monkeypatch, tf32):
    """Or the share of a training in float32, whose convolutions use TF32, could be above 1."""
    seen, wanted = set(), "high" if tf32 else torch.get_float32_matmul_precision()

    def take_a_second(work, device):
        seen.add(torch.get_float32_matmul_precision())
        return 1.0

    monkeypatch.setattr(cost, "_seconds", take_a_second)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    assert cost.matrix_peak(torch.float32, "cpu", 8) == 2 * 8**3
    assert seen == {wanted} and torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("peak", "used"), [(1e12, 1e-3), (None, None)])
def test_the_share_is_of_the_peak_of_all_gpus(monkeypatch, peak, used):
    """Without memory for large matrices the share is unknown."""
    monkeypatch.setattr(cost, "matrix_peak", lambda dtype, device: peak)
    monkeypatch.setattr(cost, "flops_per_image", lambda trainer: 2e9)
    two = SimpleNamespace(count=2)
    trainer = SimpleNamespace(device="cuda", dtype=torch.bfloat16, processes=two)
    assert cost.gpu_use(trainer) == used


def test_speed_says_the_share_of_a_gpu_and_the_minutes_left(tmp_path):
    row = {"loss": 0.5, "grad_norm": 1.0, "grad_norm_clipped": 1.0}
    for name, gpu_use in (("gpu", 1e-3), ("cpu", None)):
        (tmp_path / name).mkdir()
        log = RunLog(tmp_path / name, 4, "cpu", eval_steps=2, gpu_use=gpu_use)
        with log.bar:
            log.end_evaluation()
            log.evaluation_seconds = 60.0
            log.steps(2, [row] * 2, 8)
            log.steps(4, [row] * 2, 8)
    (begun, ended), (plain, _) = (
        read_records(tmp_path / name / "speed.jsonl", "speed") for name in ("gpu", "cpu")
    )
    assert begun["gpu_share"] == pytest.approx(begun["images_per_second"] / 1e3, abs=1e-4)
    assert "gpu_share" not in plain
    assert begun["minutes_left"] == pytest.approx(1, abs=0.1) and ended["minutes_left"] == 0


def test_a_long_training_says_that_a_session_of_colab_ends(colab):
    assert cost.session_limit(19, False) == ""
    assert "USE_DRIVE" in cost.session_limit(120, False)
    assert "USE_DRIVE" not in cost.session_limit(120, True)
