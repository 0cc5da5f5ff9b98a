"""Is a training sound, and what is done differently after it was not?"""

import math
from dataclasses import asdict, dataclass, field

from tvhelpers.errors import InputError

WINDOW = 25  # steps whose mean loss is looked at
EXPLODED = 10.0  # times the lowest such mean so far
OVERFLOWS = 25  # one after another: a scale that was halved as often is not what is wrong
MAX_RETURNS = 5  # to a checkpoint, in one training


@dataclass
class Health:
    """The losses seen, and the changes that a return to a checkpoint brought.

    All of it is in the checkpoints, so a training that is killed decides the same again.
    """

    recent: list[float] = field(default_factory=list)  # the last WINDOW losses
    lowest: float = math.inf  # mean of a full window so far
    skipped: list[int] = field(default_factory=list)  # steps whose update is left out
    halved: list[int] = field(default_factory=list)  # steps from which the rate is half of before
    returns: int = 0
    overflows: int = 0  # the last steps whose gradient was not finite, one after another

    def look(self, step: int, row: dict[str, float], may_overflow: bool) -> str:
        """Take in a step's "loss" and "grad_norm"; return what is wrong with it, "" for nothing.

        A gradient `may_overflow` where a scaler leaves such steps out by itself, but not for ever.
        """
        if not math.isfinite(row["loss"]):
            return f"the loss of step {step} is {row['loss']}"
        self.overflows = 0 if math.isfinite(row["grad_norm"]) else self.overflows + 1
        if self.overflows > (OVERFLOWS if may_overflow else 0):
            return f"the gradient norm of step {step} is {row['grad_norm']}"
        self.recent = [*self.recent, row["loss"]][-WINDOW:]
        if len(self.recent) < WINDOW:
            return ""
        mean = sum(self.recent) / WINDOW
        if mean > EXPLODED * self.lowest:
            return f"the loss has exploded from {self.lowest:.3g} to {mean:.3g} at step {step}"
        self.lowest = min(self.lowest, mean)
        return ""

    def change(self, step: int, fault: str, back_to: int, before: dict) -> str:
        """Take the losses of the state `before`, settle what will be different from `back_to` on,
        and return it in words.

        The update of a step that is not finite is left out.  The learning rate is halved where
        that was not enough, or the loss has exploded.  Raises InputError after MAX_RETURNS.
        """
        if self.returns == MAX_RETURNS:
            raise InputError("not-finite.again", fault=fault, returns=MAX_RETURNS)
        again = any(skipped > back_to for skipped in self.skipped)
        self.returns += 1
        self.recent, self.lowest, self.overflows = before["recent"], before["lowest"], 0
        changes = []
        if "exploded" not in fault:
            self.skipped.append(step)
            changes.append(f"the update of step {step} is left out")
        if "exploded" in fault or again:
            self.halved.append(back_to)
            changes.append(f"the learning rate is halved from step {back_to + 1} on")
        return " and ".join(changes)

    def rate_factor(self, step: int) -> float:
        """Return what the learning rate is multiplied by after `step` steps."""
        return 0.5 ** sum(step >= since for since in self.halved)

    def state(self) -> dict:
        """Return all of it, as a checkpoint holds it."""
        return asdict(self)
