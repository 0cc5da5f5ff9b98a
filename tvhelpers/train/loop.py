"""How does a training run from the newest checkpoint to the last step, despite errors?"""

import io
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tvhelpers.config import to_dict
from tvhelpers.errors import InputError, one_line
from tvhelpers.progress import Interrupted, stop_requests
from tvhelpers.runtime import peak_memory, reset_peak_memory
from tvhelpers.train import checkpoint
from tvhelpers.train.cost import gpu_use, say_length
from tvhelpers.train.evaluation import evaluate
from tvhelpers.train.log import RunLog, read_evaluations
from tvhelpers.train.memory import GB, choose_micro_batch, is_out_of_memory, memory_limit
from tvhelpers.train.resume import resumes_at
from tvhelpers.train.snapshots import Snapshots, should_stop
from tvhelpers.train.step_files import newest_first, step_of
from tvhelpers.train.trackers import Trackers

log = logging.getLogger(__name__)
FLUSH_STEPS = 25  # losses stay on the device so long, as reading one waits for the GPU


class Loop:
    """One call of a training: checkpoints, logs, evaluations, and rolling back from a bad step.

    Losses are read and checked before each checkpoint, so that saved weights are good.
    """

    def __init__(
        self, trainer, run_dir: Path, mirror: checkpoint.Mirror | None, preview,
        snapshots: Snapshots | None = None,
    ):  # fmt: skip
        self.trainer, self.mirror, self.preview = trainer, mirror, preview
        self.config, self.processes = trainer.config, trainer.processes
        self.run_dir, self.folder = run_dir, run_dir / "checkpoints"
        self.snapshots = snapshots if self.processes.main else None
        self.log: RunLog | None = None  # from the first step on
        self.curve: list[dict] = []  # the evaluations so far
        self.stopped_early = False  # whether the validation loss has not improved for long
        self.eager_elsewhere = False  # whether another process alone does not capture steps
        self.problem = ""  # why there is no newer checkpoint
        self.rows: list[dict] = []  # of the steps since the last flush
        self.saved = self.checked = time.monotonic()
        self.longest = 0.0  # most seconds between two checks of the clock
        self.first: io.BytesIO | None = None  # the state of step 0, until there is a checkpoint

    def run(self, finish: bool = False) -> None:
        """Train to the last step, or with `finish` only evaluate where the run was stopped; raises
        Interrupted on Ctrl-C or SIGTERM, InputError if there is nothing to finish."""
        try:
            with _refused_if_the_gpu_fails(self.trainer):
                self._run(finish)
        finally:
            self.trainer.release()
            if self.log and self.log.trackers:
                self.log.trackers.finish()

    def _run(self, finish: bool) -> None:
        trainer = self.trainer
        self._restore()
        if finish and not trainer.step:
            raise InputError("nothing-to-finish.no-step", path=self.run_dir)
        self._prepare(finish)
        folder = self.run_dir if self.processes.main else None
        where = (folder, trainer.num_steps, trainer.device, trainer.step)
        self.log = RunLog(*where, self.config.eval_steps, self.gpu_use)
        if folder:
            self.log.trackers = Trackers(self.config.trackers, folder, to_dict(self.config))
        trainer.notice = lambda what, **more: self.log.event(trainer.step, what, **more)
        curve = read_evaluations(self.run_dir) if self.processes.main else []
        self.curve = self.processes.broadcast(curve)
        self._forget_later()
        with self.log.bar, stop_requests() as stop:
            if not finish:
                say_length(trainer)
                self.log.restart_clock()
            seen = {row["step"] for row in self.curve}
            if trainer.step == 0 or (finish and trainer.step not in seen):
                self._evaluate()
            while not (finish or self.stopped_early) and trainer.step < trainer.num_steps:
                self._step(stop)
        if peak := peak_memory(trainer.device):
            log.info(f"measured peak memory: {peak / GB:.2f} GB")

    def _step(self, stop) -> None:
        """Take a step, then evaluate, log and save what is due."""
        trainer, config = self.trainer, self.config
        self.rows.append(trainer.train_step())
        last = trainer.step == trainer.num_steps
        if last or _due(trainer.step, config.eval_steps):
            if not self._flush():
                return
            self._evaluate()
            self._check_patience()
            if self.stopped_early and not last:
                last = True
                count = f"{config.patience} validation losses"
                self.log.event(trainer.step, f"no better one in {count}: the training ends")
        late = self._would_be_late()
        eager = trainer.replays is not None and not trainer.replays.on
        # read once: the message below must agree with what was done
        stopping, late, any_eager = self.processes.any(bool(stop), late, eager)
        if any_eager and not eager and not self.eager_elsewhere:
            self.eager_elsewhere = True  # the reason is known there, where nothing is logged
            what = "steps are not captured in a CUDA graph on another GPU, for which this one waits"
            self.log.event(trainer.step, what, captured=False)
        save = last or stopping or late or _due(trainer.step, config.checkpoint_steps)
        if (save or len(self.rows) == FLUSH_STEPS) and not self._flush():
            return
        written = save and self._save()
        if stopping and not last:
            raise self._interrupted(written)

    def _interrupted(self, written: bool) -> Interrupted:
        """Return what says where training was stopped, and what can be done next."""
        step, older = self.trainer.step, resumes_at(self.run_dir)
        end = "checkpoint written" if written else f"no checkpoint could be written{self.problem}"
        again = "to resume" if written else "to begin again"
        if older and not written:
            again = f"to resume at step {older}"
        ways = {again: ()}
        if written and self.snapshots and self.snapshots.best(self.curve):
            ways["to end it with its best adapter so far"] = ("--finish",)
        return Interrupted(f"stopped at step {step} of {self.trainer.num_steps}; {end}", ways)

    def _would_be_late(self) -> bool:
        """Return whether a checkpoint after the next step could come later than the minutes of work
        that may be lost, if that step takes as long as the longest so far (with evaluation)."""
        now = time.monotonic()
        self.longest, self.checked = max(self.longest, now - self.checked), now
        return 0 < 60 * self.config.checkpoint_minutes < now - self.saved + self.longest

    def _restore(self) -> None:
        state = self._last_state()
        if state is None:
            self.first = io.BytesIO()
            torch.save(self.trainer.state(), self.first)
        else:
            self.trainer.restore(state)
            place = f"step {self.trainer.step} of {self.trainer.num_steps}"
            log.info(f"resumed at {place}, from the checkpoint in {self.folder}")

    def _last_state(self, exploded: bool = False) -> dict | None:
        """Return the newest intact state, None before step 1; the main process chooses it."""
        path = self.processes.broadcast(self._newest(exploded) if self.processes.main else None)
        if path is None and self.first is not None:
            self.first.seek(0)
            return checkpoint.read_checkpoint(self.first)
        if path is not None and not path.exists():
            raise InputError("folder-not-shared.run", path=path)
        return path and checkpoint.read_checkpoint(path)

    def _newest(self, exploded: bool) -> Path | None:
        """Return the newest checkpoint.  If the loss has `exploded` again after rolling back to it,
        an older one is used if there is one: the newest may be from when the explosion began."""
        newest = checkpoint.find_checkpoint(self.folder)
        again = exploded and newest and step_of(newest) in self.trainer.health.halved
        if not again or len(newest_first(self.folder)) == 1:
            return newest
        newest.unlink()
        return checkpoint.find_checkpoint(self.folder)

    def _prepare(self, finish: bool) -> None:
        """Choose the micro-batch, unless the checkpoint has the one for this device; prepare the
        steps, of which there are none to `finish`."""
        trainer = self.trainer
        limit = memory_limit(self.config.memory_gb, trainer.device)
        if limit is not None and self.processes.any(not trainer.micro_batch_known)[0]:
            choose_micro_batch(trainer, limit)
        self.gpu_use = None if finish else gpu_use(trainer)
        if self.config.compile and not finish:
            trainer.compile()
        reset_peak_memory(trainer.device)

    def _evaluate(self) -> None:
        """Compute the validation loss, and let the preview draw."""
        trainer = self.trainer
        row = evaluate(trainer)
        if not math.isfinite(row["validation_loss"]):
            problem = f"the validation loss at step {trainer.step} is not finite"
            self._roll_back(trainer.step, problem)
            return
        self.log.evaluation(trainer.step, row)
        self.curve.append({"step": trainer.step, **row})
        if self.snapshots and trainer.step:
            restarts = map(step_of, newest_first(self.folder))
            with trainer.model.with_ema():
                self.snapshots.write(trainer.model.trained(), self.curve, restarts)
        if self.preview and self.processes.main:
            with trainer.model.with_ema():
                try:
                    trainer.with_room(lambda: self.preview(trainer.step, trainer.parts()))
                except (OSError, RuntimeError) as error:
                    if not (isinstance(error, OSError) or is_out_of_memory(error)):
                        raise
                    log.warning(
                        f"no preview at step {trainer.step} ({one_line(error)}); training continues"
                    )
        self.log.end_evaluation()

    def _forget_later(self) -> None:
        """Forget the evaluations after the trainer's step, and their snapshots."""
        step = self.trainer.step
        self.curve = [row for row in self.curve if row["step"] <= step]
        if self.snapshots:
            self.snapshots.truncate(step)
        self._check_patience()

    def _check_patience(self) -> None:
        patience = self.config.patience  # the main process decides, as floats may differ
        self.stopped_early = patience > 0 and self.processes.broadcast(
            should_stop(self.curve, patience)
        )

    def _flush(self) -> bool:
        """Read, check and log the losses since the last time; return False after a roll back."""
        rows, self.rows = _read(self.rows), []
        trainer = self.trainer
        first = trainer.step - len(rows) + 1
        for number, row in enumerate(rows, first):
            problem = row and trainer.health.check(number, row, trainer.update.scaler.is_enabled())
            if problem:
                self._roll_back(number, problem)
                return False
        if rows:
            self.log.steps(trainer.step, rows, sum(map(bool, rows)) * trainer.per_step)
        return True

    def _roll_back(self, step: int, problem: str) -> None:
        """Roll back to the last checkpoint, and change what led to the problem."""
        trainer, state = self.trainer, self._last_state("exploded" in problem)
        if state is None or step == 0:
            raise InputError("not-finite.at-first", problem=problem)
        health = trainer.health
        change = health.change(step, problem, state["step"], state["health"])
        trainer.restore(state)
        trainer.health = health
        self.log.truncate(trainer.step)
        self._forget_later()
        text = f"{problem}: rolled back to step {trainer.step}, {change}"
        self.log.event(trainer.step, text, bad_step=step, returns=health.returns)
        self._save()  # replaces the old one, so that a training killed now does the same again

    def _save(self) -> bool:
        """Write a checkpoint, and return whether that was possible; if not, training continues."""
        self.saved = time.monotonic()
        written = self.processes.broadcast(self.processes.main and self._write())
        self.first = None if written else self.first
        return written

    def _write(self) -> bool:
        step, keep = self.trainer.step, self.config.keep_checkpoints
        try:
            checkpoint.save_checkpoint(self.folder, step, self.trainer.state(), keep)
        except (OSError, InputError) as error:
            self.problem = f" ({one_line(error)})"
            what = f"no checkpoint at step {step}{self.problem}"
            log.warning(f"{what}; training continues and tries again")
            return False
        if self.mirror:
            best = self.snapshots and self.snapshots.best(self.curve)
            self.mirror.update(best=self.snapshots.path(best) if best else None)
        return True


@contextmanager
def _refused_if_the_gpu_fails(trainer) -> Iterator[None]:
    """Raise InputError in place of an error of CUDA, after which no more can be saved."""
    try:
        yield
    except RuntimeError as error:
        if "CUDA error" not in str(error) or is_out_of_memory(error):
            raise
        raise InputError("gpu-lost", step=trainer.step, error=error) from error


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _read(rows: list[dict[str, torch.Tensor]]) -> list[dict[str, float]]:
    """Return rows of numbers on the device as floats, waiting for the device only once."""
    full = [torch.stack([*row.values()]) for row in rows if row]
    numbers = iter(torch.stack(full).tolist() if full else [])
    return [dict(zip(row, next(numbers))) if row else {} for row in rows]
