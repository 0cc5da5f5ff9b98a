"""What a training writes down: log.jsonl (a line a step), eval.jsonl (held-out losses),
TensorBoard, a line on the screen."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from tvhelpers.config import InputError
from tvhelpers.runtime import atomic_path, make_dir, read_jsonl


class RunLog:
    """The logs of one run, cut back to the step that training goes on from."""

    def __init__(self, run_dir: Path, start: int, num_steps: int, say, may_overflow: bool = False):
        from torch.utils.tensorboard import SummaryWriter

        self.num_steps, self.say, self.may_overflow = num_steps, say, may_overflow
        self.began, self.start = time.monotonic(), start
        _cut_back(run_dir / "log.jsonl", start)
        _cut_back(run_dir / "eval.jsonl", start - 1 if start == 0 else start)
        self.steps_file = open(run_dir / "log.jsonl", "a")
        self.evals_file = open(run_dir / "eval.jsonl", "a")
        self.board = SummaryWriter(make_dir(run_dir / "tensorboard"), purge_step=start + 1)

    def losses(self, step: int, rows: list[dict]) -> None:
        """Log the rows of the steps that end with `step`.

        Raises InputError where a loss is not finite, or a gradient where none may overflow.
        """
        values = [{name: value.item() for name, value in row.items()} for row in rows]
        for number, row in enumerate(values, step - len(values) + 1):
            _check_finite(f"the loss of step {number}", row["loss"])
            if not self.may_overflow:
                _check_finite(f"the gradient norm of step {number}", row["grad_norm"])
            row = {name: value if math.isfinite(value) else None for name, value in row.items()}
            self.steps_file.write(json.dumps({"step": number, **row}) + "\n")
            for name, value in row.items():
                if value is not None:
                    self.board.add_scalar(name, value, number)
        self.steps_file.flush()
        rate = (step - self.start) / (time.monotonic() - self.began)
        mean = sum(row["loss"] for row in values) / len(values)
        left = (self.num_steps - step) / rate / 60
        speed = f"{rate:.2f} steps/s  {left:.1f} min left"
        self.say(f"step {step}/{self.num_steps}  loss {mean:.4f}  {speed}")

    def held_out(self, step: int, loss: float) -> None:
        """Log the fixed-noise loss of the held-out items; raises InputError if it is not finite."""
        _check_finite(f"the held-out loss at step {step}", loss)
        self.evals_file.write(json.dumps({"step": step, "held_out_loss": loss}) + "\n")
        self.evals_file.flush()
        self.board.add_scalar("held_out_loss", loss, step)
        self.say(f"step {step}/{self.num_steps}  held-out fixed-noise loss {loss:.4f}")

    @staticmethod
    def read_held_out(run_dir: Path) -> list[dict]:
        """Return [{"step", "held_out_loss"}] of a run, in order."""
        return read_jsonl(Path(run_dir) / "eval.jsonl")

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error) -> None:
        for handle in (self.steps_file, self.evals_file, self.board):
            handle.close()


def _check_finite(what: str, value: float) -> None:
    if not math.isfinite(value):
        raise InputError(
            f"{what} is {value}; the last checkpoint is good: train into a new folder with a lower "
            "learning_rate, or with dtype=float32"
        )


def _cut_back(path: Path, last: int) -> None:
    """Leave only the lines up to step `last`: what came after it will be computed again."""
    rows = [row for row in read_jsonl(path) if row["step"] <= last]
    with atomic_path(path) as aside:
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows))
