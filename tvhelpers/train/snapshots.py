"""Which step of a training had the best validation loss, and where is the adapter of then?

After each evaluation the adapter alone is written to snapshots/step-0000100.safetensors.  The best
one, and the newest, are kept; the best one is the result.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tvhelpers.errors import InputError, one_line
from tvhelpers.files import make_dir, remove_temporary
from tvhelpers.lora.adapter import load_layers, trained_layers
from tvhelpers.lora.formats import Adapter, read_adapter, write_adapter
from tvhelpers.train.step_files import SNAPSHOT, SNAPSHOTS, newest_first, step_of

log = logging.getLogger(__name__)
LAST = "adapter_last.safetensors"


def best_of(curve: list[dict]) -> dict | None:
    """Return the best evaluation after step 0: the last one whose validation loss is the lowest, or
    higher by less than the standard error of its difference from the lowest.

    That of a few items is the lowest by chance, and the learning rate falls to the end.  Without
    the losses of the items the lowest is the best, and of equal ones the earlier.
    """
    rows = [row for row in curve if row["step"] > 0]
    if not rows:
        return None
    lowest = min(rows, key=lambda row: (row["validation_loss"], row["step"]))
    later = [row for row in rows if row["step"] > lowest["step"] and _is_close(row, lowest)]
    return (later or [lowest])[-1]


def _is_close(row: dict, lowest: dict) -> bool:
    items = [np.array(x.get("item_losses", [])) for x in (row, lowest)]
    if not len(items[0]) == len(items[1]) > 1:  # the same items, in the same order
        return False
    error = np.std(items[0] - items[1], ddof=1) / len(items[0]) ** 0.5
    return row["validation_loss"] - lowest["validation_loss"] < error


def should_stop(curve: list[dict], patience: int) -> bool:
    """Return whether the last `patience` evaluations had no better validation loss; 0 = never."""
    losses = [row["validation_loss"] for row in curve if row["step"] > 0]
    return 0 < patience < len(losses) - losses.index(min(losses)) if losses else False


class Snapshots:
    """The adapters in a run's folder snapshots/, of steps that were evaluated."""

    def __init__(self, run_dir: Path, keep: int, about: Callable[[int], dict]):
        """`about(step)` returns the metadata of the adapter of a step."""
        self.folder, self.keep, self.about = Path(run_dir) / SNAPSHOTS, keep, about

    def path(self, step: int) -> Path:
        """Return the path of the adapter of a step."""
        return self.folder / f"step-{step:07d}.safetensors"

    def steps(self) -> list[int]:
        """Return the steps that have an adapter, ascending."""
        return sorted(step_of(path) for path in newest_first(self.folder, SNAPSHOT))

    def write(self, models: dict, curve: list[dict], restarts: Iterable[int]) -> None:
        """Write the adapter of the last evaluation of `curve`, and remove the older ones that are
        not needed.

        That of the best evaluation is needed: of all, and of those up to each of the steps
        `restarts`, to which the training may return.  A disk that cannot be written is a warning.
        """
        step = curve[-1]["step"]
        try:
            remove_temporary(make_dir(self.folder))
            adapter = Adapter(trained_layers(models), self.about(step))
            write_adapter(adapter, self.path(step), "diffusers")
        except (OSError, InputError) as error:
            log.warning(f"no snapshot at step {step} ({one_line(error)}); training continues")
        self.prune(curve, restarts)

    def prune(self, curve: list[dict], restarts: Iterable[int] = ()) -> None:
        """Remove the adapters that are neither needed nor among the newest."""
        there = self.steps()
        parts = [curve, *([row for row in curve if row["step"] <= end] for end in restarts)]
        needed = {self.best(part) for part in parts} | {*there[max(0, len(there) - self.keep) :]}
        for step in {*there} - needed:
            self.path(step).unlink(missing_ok=True)

    def truncate(self, step: int) -> None:
        """Remove the adapters of later steps than `step`, which will be written again."""
        for other in self.steps():
            if other > step:
                self.path(other).unlink(missing_ok=True)

    def best(self, curve: list[dict]) -> int | None:
        """Return the step of the best evaluation, or of the best one that has an adapter."""
        there = self.steps()
        found = [best_of(curve), best_of([row for row in curve if row["step"] in there])]
        return next((row["step"] for row in found if row and row["step"] in there), None)

    def load_best(self, models: dict, curve: list[dict], last: int) -> int:
        """Load the best adapter into `models`, which are of the step `last`, and return its step.

        The adapter of `last` is written beside the folder first, as LAST.
        """
        adapter = Adapter(trained_layers(models), self.about(last))
        write_adapter(adapter, self.folder.with_name(LAST), "diffusers")
        step, best = self._best_readable(curve, last)
        if best:
            load_layers(models, best)
        self.prune(curve)
        return step

    def _best_readable(self, curve: list[dict], last: int) -> tuple[int, Adapter | None]:
        """Return (step, adapter) of the best evaluation; (`last`, None) if that is the best."""
        while (row := best_of(curve)) and row["step"] != last:
            with contextlib.suppress(OSError, InputError):
                return row["step"], read_adapter(self.path(row["step"]))
            log.warning(f"the snapshot of step {row['step']} cannot be read; the next best is kept")
            curve = [other for other in curve if other is not row]
        return last, None
