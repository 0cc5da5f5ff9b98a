"""Is the loss of a training finite and stable, and what changes after a roll back?"""

import math
from dataclasses import asdict, dataclass, field

from tvhelpers.errors import InputError

WINDOW = 25  # steps of the running mean of the loss
EXPLODED = 10.0  # times the lowest running mean so far
OVERFLOWS = 25  # in a row: the gradient scale, halved at each, is then not the cause
MAX_ROLLBACKS = 5  # in one training


@dataclass
class Health:
    """The recent losses, and the changes made by rolling back.

    Checkpoints hold all of it, so a training that was killed decides the same again.
    """

    recent: list[float] = field(default_factory=list)  # the last WINDOW losses
    lowest: float = math.inf  # lowest mean of a full window so far
    skipped: list[int] = field(default_factory=list)  # steps whose update is skipped
    halved: list[int] = field(default_factory=list)  # steps after which the rate is halved
    returns: int = 0  # number of times that training was rolled back
    overflows: int = 0  # steps in a row, up to now, whose gradient was not finite

    def check(self, step: int, row: dict[str, float], may_overflow: bool) -> str:
        """Take in a step's "loss" and "grad_norm", and return the problem in words, "" for none.

        A gradient `may_overflow` if a gradient scaler skips such steps by itself, but at most
        OVERFLOWS times in a row.
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

    def change(self, step: int, problem: str, back_to: int, before: dict) -> str:
        """Restore the losses of the state `before`, choose what changes after step `back_to`, and
        return it in words.

        The update of a step that is not finite will be skipped.  The learning rate is halved if
        that was not enough, or if the loss has exploded.  Raises InputError after MAX_ROLLBACKS.
        """
        if self.returns == MAX_ROLLBACKS:
            raise InputError("not-finite.again", problem=problem, count=MAX_ROLLBACKS)
        again = any(skipped > back_to for skipped in self.skipped)
        self.returns += 1
        self.recent, self.lowest, self.overflows = before["recent"], before["lowest"], 0
        changes = []
        if "exploded" not in problem:
            self.skipped.append(step)
            changes.append(f"the update of step {step} is skipped")
        if "exploded" in problem or again:
            self.halved.append(back_to)
            changes.append(f"the learning rate is halved from step {back_to + 1} on")
        return " and ".join(changes)

    def rate_factor(self, step: int) -> float:
        """Return the factor on the learning rate after `step` steps."""
        return 0.5 ** sum(step >= since for since in self.halved)

    def state(self) -> dict:
        """Return the state for a checkpoint."""
        return asdict(self)
