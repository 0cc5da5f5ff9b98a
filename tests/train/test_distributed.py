"""Several processes train like one."""

import subprocess
import sys

import pytest

from tests.helpers import refused
from tests.train.helpers import command, in_two_processes, same
from tvhelpers.config import build_config
from tvhelpers.train.distributed import Processes
from tvhelpers.train.log import read_steps
from tvhelpers.train.loop import Loop
from tvhelpers.train.trainer import train


def test_two_processes_take_the_steps_of_one(settings, whole, tmp_path):
    words = command({**settings, "keep": "best", "patience": 9}, tmp_path)
    screens = [tmp_path.with_name(f"screen-{rank}") for rank in range(2)]
    in_two_processes(words, screens)
    assert "training:" in screens[0].read_text() and "training:" not in screens[1].read_text()
    one, two = read_steps(whole), read_steps(tmp_path)
    assert len(two) == 12 and (tmp_path / "adapter_last.safetensors").exists()
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert not same(whole, tmp_path, "log.jsonl")  # two processes add in another order


@pytest.mark.slow
def test_a_launch_trains_and_one_of_its_processes_speaks(settings, tmp_path):
    words = command(settings, tmp_path)
    launch = "-m accelerate.commands.launch --multi_gpu --num_machines 1 --num_processes 2"
    launch += " --mixed_precision no --dynamo_backend no --main_process_port 0"
    done = subprocess.run(
        [sys.executable, *launch.split(), "-m", "tvhelpers", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("measured peak memory") == 1
    assert len(read_steps(tmp_path)) == 12


@pytest.mark.parametrize("own", [[1.0, 2.0], [2.0, 1.0]], ids=["worse", "better"])
def test_the_main_process_decides_that_a_training_ends(make_trainer, tmp_path, monkeypatch, own):
    """The losses of another one may differ in their last bits."""
    main = [3 - loss for loss in own]
    trainer, loops, said = make_trainer(patience=1), [], []
    for losses in (main, own):
        loops.append(Loop(trainer, tmp_path, None, None))
        loops[-1].curve = [{"step": 6 * i, "validation_loss": x} for i, x in enumerate(losses, 1)]
    monkeypatch.setattr(trainer.processes, "broadcast", lambda value: (*said, value)[0])
    loops[0]._check_patience()
    said.append(loops[0].stopped_early)
    loops[1]._check_patience()
    assert loops[0].stopped_early is loops[1].stopped_early is (main[1] > main[0])


def test_more_processes_than_samples_of_a_step_are_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "count", 1 + settings["batch_size"], raising=False)
    monkeypatch.setattr(Processes, "__init__", lambda self, device: None)
    with refused("too-many-processes"):
        train(build_config(**settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()
