"""Trackers of other packages get the figures, and never stop a training."""

import json
import threading
import time
import typing

import pytest
from accelerate import tracking

from tests.helpers import refused
from tvhelpers.config import build_config
from tvhelpers.train import trackers
from tvhelpers.train.log import read_steps
from tvhelpers.train.trackers import Trackers, find_trackers
from tvhelpers.train.trainer import train


class Curves(tracking.GeneralTracker):
    """A tracker that keeps what it gets; `behaves` may fail or hang at a call."""

    name, requires_logging_directory, main_process_only = "curves", False, True
    made: typing.ClassVar[list] = []
    behaves = staticmethod(lambda what: None)

    def __init__(self, run_name, **how):
        super().__init__()
        self.rows, self.ended = [], False
        self.made.append(self)

    tracker = property(lambda self: self.rows)

    def store_init_configuration(self, values):
        self.settings = values

    def log(self, values, step=None, **more):
        self.behaves("log")
        self.rows.append((step, values))

    def finish(self):
        self.behaves("finish")
        self.ended = True


@pytest.fixture
def curves(monkeypatch):
    """The class of a tracker named "curves", which accelerate knows."""
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "curves", Curves)
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["curves", "wandb"])
    monkeypatch.setattr(Curves, "made", [])
    return Curves


def test_a_tracker_gets_the_curves_and_the_settings(curves, settings, tmp_path, cache_root):
    config = build_config(**settings | {"trackers": "tensorboard,curves", "steps": 4})
    train(config, tmp_path / "run", root=cache_root)
    (one,) = curves.made
    losses = [(step, row["loss"]) for step, row in one.rows if "loss" in row]
    assert losses == [(row["step"], row["loss"]) for row in read_steps(tmp_path / "run")]
    assert any("validation_loss" in row for _, row in one.rows)
    assert one.settings["steps"] == 4 and one.ended
    json.dumps(one.settings)


@pytest.mark.parametrize("problem", ["fails", "hangs"])
@pytest.mark.parametrize("call", ["log", "finish"])
def test_one_that_fails_or_hangs_is_dropped(call, problem, curves, monkeypatch, tmp_path, caplog):
    over = threading.Event()

    def behaves(what):
        if what == call and problem == "hangs":
            over.wait(60)
        elif what == call:
            raise RuntimeError("no server")

    monkeypatch.setattr(curves, "behaves", staticmethod(behaves))
    monkeypatch.setattr(trackers, "SECONDS", 0.2)
    began, both = time.monotonic(), Trackers("curves", tmp_path, {})
    both.log(1, {"loss": 1.0, "none": None})
    both.log(2, {"loss": 1.0})
    both.finish()
    over.set()
    assert time.monotonic() - began < 5 and len(caplog.records) == 1
    assert not both.trackers and "curves" in caplog.text


def test_unknown_and_missing_trackers_are_refused(monkeypatch, settings, tmp_path):
    with refused("unknown-choice"):
        train(build_config(**settings | {"trackers": "wanda"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with refused("not-installed"):
        find_trackers("wandb")
    assert find_trackers(" tensorboard, ") == {}


def test_wandb_writes_offline_without_a_key_and_does_not_hang(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    began, both = time.monotonic(), Trackers("wandb", tmp_path, {"rank": 8})
    assert both.trackers
    both.log(1, {"loss": 0.5})
    both.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert time.monotonic() - began < 60
