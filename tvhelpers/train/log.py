"""What does a training log?  Steps and events (log.jsonl), validation losses (eval.jsonl), images
per second and memory (speed.jsonl), TensorBoard, and a progress bar."""

import errno
import json
import logging
import math
import os
import time
from pathlib import Path

from tvhelpers.errors import one_line
from tvhelpers.files import make_dir, no_link
from tvhelpers.progress import progress_bar
from tvhelpers.records import as_record, parse, read_records
from tvhelpers.runtime import peak_memory
from tvhelpers.train.cost import Pace
from tvhelpers.train.memory import GB
from tvhelpers.train.trackers import Trackers

log = logging.getLogger(__name__)


class RunLog:
    """The logs of one run, resumed at `step`; without `run_dir` nothing is written.

    `eval_steps` are the steps between evaluations; `gpu_use` is as in `cost.gpu_use`.
    """

    def __init__(
        self, run_dir: Path | None, num_steps: int, device: str, step: int = 0,
        eval_steps: int = 0, gpu_use: float | None = None,
    ):  # fmt: skip
        self.num_steps, self.device, self.failing = num_steps, device, False
        self.eval_steps, self.gpu_use, self.evaluation_seconds = eval_steps, gpu_use, 0.0
        names = ("log.jsonl", "eval.jsonl", "speed.jsonl")
        files = [Lines(run_dir and run_dir / name) for name in names]
        self.rows, self.evaluations, self.speeds = files
        self.board = Board(run_dir and make_dir(run_dir / "tensorboard"))
        self.trackers: Trackers | None = None  # beside TensorBoard
        self.bar = progress_bar("training", num_steps, done=step, unit="steps", says_left=False)
        self.truncate(step or -1)  # step 0 is logged again
        self.restart_clock()

    def truncate(self, step: int) -> None:
        """Keep only rows of steps up to `step`; later ones will be computed again."""
        for lines in (self.rows, self.evaluations, self.speeds):
            lines.truncate(step)
        self.board.restart(step + 1)
        self.bar.update(max(step, 0) - self.bar.n)

    def steps(self, step: int, rows: list[dict[str, float]], images: int = 0) -> None:
        """Log the rows of the steps that end with `step`, which trained on `images` samples in all;
        an empty row is a step whose update was skipped."""
        for number, row in enumerate(rows, step - len(rows) + 1):
            row = {name: value if math.isfinite(value) else None for name, value in row.items()}
            self.rows.add({"step": number, **(row or {"skipped": True})})
            self._add_points(number, row)
        if losses := [row["loss"] for row in rows if row]:
            self._speed(step, sum(losses) / len(losses), images, len(rows))
        self.bar.update(step - self.bar.n)
        self.flush()

    def _speed(self, step: int, loss: float, images: int, steps: int) -> None:
        """Log the speed since the clock was started, and show it beside the progress bar."""
        seconds = max(time.monotonic() - self.clock, 1e-9)
        rate, pace = images / seconds, Pace(seconds / steps, self.evaluation_seconds)
        memory = round((peak_memory(self.device) or 0) / GB, 3)
        left = sum(pace.minutes(step, self.num_steps, self.eval_steps).values())
        speed = {"images_per_second": round(rate, 3), "memory_gb": memory}
        speed["minutes_left"] = round(left, 2)
        text = f"loss {loss:.4f}, {rate:.1f} images/s, {memory:.2f} GB, {left:.1f} minutes left"
        if self.gpu_use is not None:
            speed["gpu_share"] = round(rate * self.gpu_use, 6)
            text += f", {rate * self.gpu_use:.0%} of the GPU"
        self.speeds.add({"step": step, **speed})
        self._add_points(step, speed)
        self.bar.set_postfix_str(text, refresh=False)
        self.restart_clock()

    def _add_points(self, step: int, values: dict[str, float | None]) -> None:
        """Add a point to the curve of each value, in TensorBoard and in other trackers."""
        self.board.add(step, values)
        if self.trackers:
            self.trackers.log(step, values)

    def restart_clock(self) -> None:
        """Measure the speed from now on."""
        self.clock = time.monotonic()

    def end_evaluation(self) -> None:
        """Measure the speed from now on; the time since the last steps was that of an evaluation,
        with its preview."""
        self.evaluation_seconds = time.monotonic() - self.clock
        self.restart_clock()

    def evaluation(self, step: int, row: dict) -> None:
        """Log what `evaluation.evaluate` returns."""
        self.evaluations.add({"step": step, **row})
        self._add_points(step, {name: x for name, x in row.items() if not isinstance(x, list)})
        losses = (row["validation_loss"], row["training_slice_loss"])
        what = "validation loss {:.4f}, loss on a training subset {:.4f}".format(*losses)
        if "regularization_loss" in row:
            what += f", on regularization images {row['regularization_loss']:.4f}"
        log.info(f"step {step}/{self.num_steps}  {what}")
        self.flush()

    def event(self, step: int, what: str, **details) -> None:
        """Log something that happened after `step` steps."""
        self.rows.add({"step": step, "event": what, **details})
        log.info(f"step {step}/{self.num_steps}  {what}")
        self.flush()

    def flush(self) -> None:
        """Write what is pending; if the disk cannot be written, warn once and try again later."""
        files = (self.rows, self.evaluations, self.speeds, self.board.records)
        error = next((error for lines in files if (error := lines.flush())), None)
        if error and not self.failing:
            why = one_line(error)
            log.warning(f"logs cannot be written ({why}); training continues and tries again")
        self.failing = error is not None


def read_steps(run_dir: Path) -> list[dict]:
    """Return [{"step", "loss", "grad_norm", "grad_norm_clipped"}] of a run, in order."""
    return [row for row in read_records(Path(run_dir) / "log.jsonl", "log") if "loss" in row]


def read_events(run_dir: Path) -> list[dict]:
    """Return [{"step", "event", ...}] of a run, in order."""
    return [row for row in read_records(Path(run_dir) / "log.jsonl", "log") if "event" in row]


def read_evaluations(run_dir: Path) -> list[dict]:
    """Return [{"step", "validation_loss", ...}] of a run, in order."""
    return read_records(Path(run_dir) / "eval.jsonl", "evaluation")


class Lines:
    """A file that grows; what cannot be written yet waits in memory.  Without a path everything is
    dropped."""

    def __init__(self, path: Path | None):
        self.path, self.waiting = path, b""

    def add(self, row: dict) -> None:
        """Add a row as a line of JSON."""
        self.write(json.dumps(row).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self.waiting += data if self.path else b""

    def flush(self) -> OSError | None:
        """Write everything that waits, or nothing; return the error of the disk, if any."""
        if not self.waiting:
            return None
        try:
            with open(self.path, "ab", buffering=0, opener=no_link) as file:
                size = file.tell()
                if file.write(self.waiting) < len(self.waiting):
                    file.truncate(size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            return error
        self.waiting = b""
        return None

    def truncate(self, step: int) -> None:
        """Keep the rows before the first one of a later step, or a broken one."""
        self.flush()
        if self.path and self.path.exists():
            os.truncate(self.path, len(_until(self.path.read_bytes(), step)))
        self.waiting = _until(self.waiting, step)


def _until(data: bytes, step: int) -> bytes:
    """Return the lines of JSON before the first one of a later step, or a broken one."""
    kept = b""
    for line in data.splitlines(keepends=True):
        try:
            row = as_record(parse(line.decode(), "a line"), "step", "a line")
        except ValueError:  # InputError too
            break
        if not line.endswith(b"\n") or row["step"] > step:
            break
        kept += line
    return kept


class Board:
    """TensorBoard's event file, written like the other logs: a full disk would end the thread of
    torch's own writer."""

    def __init__(self, folder: Path | None):
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{time.time():.0f}.run.{os.getpid()}"
        self.records = Lines(folder and folder / name)
        self.writer = RecordWriter(self.records)
        self._event(file_version="brain.Event:2")

    def restart(self, step: int) -> None:
        """Make TensorBoard drop its points from `step` on."""
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self._event(step=step, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: dict[str, float | None]) -> None:
        """Add a point to the curve of each value that is not None."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        there = {name: value for name, value in values.items() if value is not None}
        points = [Summary.Value(tag=name, simple_value=value) for name, value in there.items()]
        self._event(step=step, summary=Summary(value=points))

    def _event(self, **content) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.write(Event(wall_time=time.time(), **content).SerializeToString())
