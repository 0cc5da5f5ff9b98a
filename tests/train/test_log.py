"""The logs of a training: on a full disk, and on the screen."""

import io
import sys

from tvhelpers.records import read_records
from tvhelpers.train.log import Lines, RunLog, read_evaluations, read_events


def test_lines_wait_until_the_disk_takes_them(tmp_path):
    lines = Lines(tmp_path / "gone" / "log.jsonl")
    for step in (1, 2, 3):
        lines.add({"step": step})
    assert lines.flush() is not None
    lines.truncate(2)
    (tmp_path / "gone").mkdir()
    assert lines.flush() is None
    lines.path.write_bytes(lines.path.read_bytes() + b'{"step": 3}\n{"st')  # killed in a line
    lines.truncate(2)
    assert lines.path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_the_screen_shows_a_bar_that_stays_readable_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # as ipywidgets 7 loads it anywhere
    log = RunLog(tmp_path, 100, "cpu")
    with log.bar:
        for step in range(1, 101):
            log.steps(step, [{"loss": 0.5, "grad_norm": 1.0, "grad_norm_clipped": 1.0}], 4)
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) == 2 and "\r" not in lines[1]  # as it began, and at its end
    assert "100/100" in lines[1] and "loss 0.5000" in lines[1] and "images/s" in lines[1]
    assert len(read_records(tmp_path / "speed.jsonl", "speed")) == 100


def test_evaluations_of_an_older_version_are_read(tmp_path):
    (tmp_path / "eval.jsonl").write_text('{"step": 0, "held_out_loss": 0.5}\n')  # stable name
    assert read_evaluations(tmp_path) == [{"step": 0, "validation_loss": 0.5}]


def test_what_is_logged_after_a_step_is_taken_back(tmp_path):
    log = RunLog(tmp_path, 10, "cpu")
    row = {"validation_loss": 1.0, "training_slice_loss": 1.0, "by_timestep": [1.0]}
    with log.bar:
        log.evaluation(0, row)
        log.steps(2, [{"loss": 0.5}] * 2)
        log.evaluation(2, row)
        log.truncate(0)
        log.event(0, "back")
        assert log.bar.n == 0
    assert [row["step"] for row in read_records(tmp_path / "eval.jsonl", "evaluation")] == [0]
    assert read_records(tmp_path / "log.jsonl", "log") == read_events(tmp_path)
    with RunLog(tmp_path, 10, "cpu").bar:  # begun again: step 0 is taken again
        assert not read_records(tmp_path / "eval.jsonl", "evaluation") and not read_events(tmp_path)
