"""What happens from the newest checkpoint to the last step, whatever goes wrong on the way?"""

import io
import logging
import math
import time
from pathlib import Path

import torch

from tvhelpers.errors import InputError
from tvhelpers.progress import Interrupted, stop_requests
from tvhelpers.runtime import peak_memory, reset_peak_memory
from tvhelpers.train import checkpoint
from tvhelpers.train.evaluation import evaluate
from tvhelpers.train.log import RunLog
from tvhelpers.train.memory import GB, choose_micro_batch, memory_limit

log = logging.getLogger(__name__)
FLUSH_STEPS = 25  # losses stay on the device this long: reading one waits for the GPU


class Loop:
    """One call of a training: checkpoints, logs, evaluations, and the way back from a bad step.

    Losses are read, and looked at, before each checkpoint: what is saved is sound.
    """

    def __init__(self, trainer, run_dir: Path, mirror: checkpoint.Mirror | None, preview):
        self.trainer, self.mirror, self.preview = trainer, mirror, preview
        self.config, self.processes = trainer.config, trainer.processes
        self.run_dir, self.folder = run_dir, run_dir / "checkpoints"
        self.rows: list[dict] = []  # of the steps since the last flush
        self.saved = self.looked = time.monotonic()
        self.longest = 0.0  # seconds from one look at the clock to the next
        self.first: io.BytesIO | None = None  # the state of step 0 until there is a checkpoint

    def run(self) -> None:
        """Train to the last step; raises Interrupted on Ctrl-C or SIGTERM."""
        trainer = self.trainer
        self._restore()
        self._fit()
        folder = self.run_dir if self.processes.main else None
        self.log = RunLog(folder, trainer.num_steps, trainer.device, trainer.step)
        trainer.notice = lambda what, **more: self.log.event(trainer.step, what, **more)
        with self.log.bar, stop_requests() as stop:
            if trainer.step == 0:
                self._evaluate()
            while trainer.step < trainer.num_steps:
                self._step(stop)
        if peak := peak_memory(trainer.device):
            log.info(f"measured peak of memory: {peak / GB:.2f} GB")

    def _step(self, stop) -> None:
        """Take a step, and all that is due after it."""
        trainer, config = self.trainer, self.config
        self.rows.append(trainer.train_step())
        last = trainer.step == trainer.num_steps
        if last or _due(trainer.step, config.eval_steps):
            if not self._flush():
                return
            self._evaluate()
        late = self._would_be_late()
        # asked once: what is said below must be what is done
        stopping, late = self.processes.any(bool(stop), late)
        save = last or stopping or late or _due(trainer.step, config.checkpoint_steps)
        if (save or len(self.rows) == FLUSH_STEPS) and not self._flush():
            return
        written = save and self._save()
        if stopping and not last:
            end = "checkpoint written" if written else "no checkpoint could be written"
            raise Interrupted(f"stopped at step {trainer.step} of {trainer.num_steps}; {end}")

    def _would_be_late(self) -> bool:
        """Return whether a checkpoint after the next step could come later than the minutes that
        may be lost: steps, evaluations and previews are taken to last as long as ever so far."""
        now = time.monotonic()
        self.longest, self.looked = max(self.longest, now - self.looked), now
        return 0 < 60 * self.config.checkpoint_minutes < now - self.saved + self.longest

    def _restore(self) -> None:
        state = self._last_state()
        if state is None:
            self.first = io.BytesIO()
            torch.save(self.trainer.state(), self.first)
        else:
            self.trainer.restore(state)

    def _last_state(self, exploded: bool = False) -> dict | None:
        """Return the newest sound state, None before step 1; the main process says which."""
        path = self.processes.share(self._newest(exploded) if self.processes.main else None)
        if path is None and self.first is not None:
            self.first.seek(0)
            return checkpoint.read_checkpoint(self.first)
        if path is not None and not path.exists():
            raise InputError("folder-not-shared.run", path=path)
        return path and checkpoint.read_checkpoint(path)

    def _newest(self, exploded: bool) -> Path | None:
        """Return the newest checkpoint.  One that a loss which has `exploded` came back to before
        is left out where there is an older one: it may have been written when it began."""
        newest = checkpoint.find_checkpoint(self.folder)
        again = exploded and newest and checkpoint.step_of(newest) in self.trainer.health.halved
        if not again or len(checkpoint.newest_first(self.folder)) == 1:
            return newest
        newest.unlink()
        return checkpoint.find_checkpoint(self.folder)

    def _fit(self) -> None:
        """Choose the micro-batch, unless the checkpoint has one that was found on this device."""
        trainer = self.trainer
        limit = memory_limit(self.config.memory_gb, trainer.device)
        if limit is not None and self.processes.any(not trainer.fitted)[0]:
            choose_micro_batch(trainer, limit)
        if self.config.compile:
            trainer.compile()
        reset_peak_memory(trainer.device)

    def _evaluate(self) -> None:
        """Take the fixed-noise losses, and let the preview draw."""
        trainer = self.trainer
        row = evaluate(trainer)
        if not math.isfinite(row["held_out_loss"]):
            self._go_back(trainer.step, f"the held-out loss at step {trainer.step} is not finite")
            return
        self.log.evaluation(trainer.step, row)
        if self.preview and self.processes.main:
            with trainer.model.averaged():
                try:
                    self.preview(trainer.step, trainer.parts())
                except (OSError, torch.OutOfMemoryError) as error:
                    log.warning(f"no preview at step {trainer.step} ({error}); training goes on")
        self.log.restart_clock()

    def _flush(self) -> bool:
        """Read, check and log the losses since the last time; False where training went back."""
        rows, self.rows = _read(self.rows), []
        trainer = self.trainer
        first = trainer.step - len(rows) + 1
        for number, row in enumerate(rows, first):
            fault = row and trainer.health.look(number, row, trainer.update.scaler.is_enabled())
            if fault:
                self._go_back(number, fault)
                return False
        if rows:
            self.log.steps(trainer.step, rows, sum(map(bool, rows)) * trainer.per_step)
        return True

    def _go_back(self, step: int, fault: str) -> None:
        """Return to the last checkpoint, and change what led to the fault."""
        trainer, state = self.trainer, self._last_state("exploded" in fault)
        if state is None or step == 0:
            raise InputError("not-finite.at-first", fault=fault)
        health = trainer.health
        change = health.change(step, fault, state["step"], state["health"])
        trainer.restore(state)
        trainer.health = health
        self.log.cut_back(trainer.step)
        text = f"{fault}: back to step {trainer.step}, {change}"
        self.log.event(trainer.step, text, bad_step=step, returns=health.returns)
        self._save()  # in place of the old one: a training that is killed now decides the same

    def _save(self) -> bool:
        """Write a checkpoint and return whether the disk took it; without, training goes on."""
        self.saved = time.monotonic()
        written = self.processes.share(self.processes.main and self._write())
        self.first = None if written else self.first
        return written

    def _write(self) -> bool:
        step, keep = self.trainer.step, self.config.keep_checkpoints
        try:
            checkpoint.save_checkpoint(self.folder, step, self.trainer.state(), keep)
        except (OSError, InputError) as error:
            log.warning(
                f"no checkpoint at step {step} ({error}); training goes on, and tries again"
            )
            return False
        if self.mirror:
            self.mirror.update()
        return True


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _read(rows: list[dict[str, torch.Tensor]]) -> list[dict[str, float]]:
    """Return rows of numbers on the device as floats, with one wait for the device."""
    full = [torch.stack([*row.values()]) for row in rows if row]
    numbers = iter(torch.stack(full).tolist() if full else [])
    return [dict(zip(row, next(numbers))) if row else {} for row in rows]
