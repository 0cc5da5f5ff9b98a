"""What to draw: prompts, seeds, and how; checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from tvhelpers.config import InputError


@dataclass(frozen=True)
class Request:
    """What to draw: prompt i, copy k has seed + k, so that all prompts share their seeds; or the
    k-th of its own `seeds`."""

    prompts: tuple[str, ...]
    count: int = 1  # pictures a prompt
    seed: int = 0
    steps: int = 20
    guidance: float | None = None  # classifier-free guidance scale; 1 = none, None = the base's own
    size: int = 0  # pixels a side, a multiple of 8; 0 = the base's own
    strength: float = 1.0  # times the adapter
    ids: tuple[str, ...] = ()  # of the prompts, where they are a suite's
    seeds: tuple[tuple[int, ...], ...] = ()  # of each prompt, instead of `seed`

    def __post_init__(self):
        if not self.prompts:
            raise InputError('no prompt was given; say what to draw, for example: "a red dress"')
        for prompt in self.prompts:
            if not prompt.strip():
                raise InputError('a prompt is empty; say what to draw, for example: "a red dress"')
        for name, low, high in (
            ("count", 1, 10**6),
            ("seed", 0, 2**32 - 1),
            ("steps", 1, 1000),
            ("size", 0, 4096),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; give a number from {low} to {high}")
        if self.guidance is not None and not 0 <= self.guidance <= 100:
            raise InputError(f"guidance is {self.guidance:g}; give a number from 0 to 100")
        if not abs(self.strength) <= 10:
            raise InputError(f"strength is {self.strength:g}; give a number from -10 to 10")
        if self.seed + self.count > 2**32:  # torch's generator keeps 32 bits
            raise InputError(f"seed {self.seed} and {self.count - 1} more go past 2**32")
        if self.seeds and not self.count <= min(map(len, self.seeds)):
            raise InputError(
                f"count is {self.count}; the suite has {min(map(len, self.seeds))} seeds a prompt"
            )
        if self.size % 8:
            raise InputError(f"size is {self.size}; give a multiple of 8, or 0 for the base's own")

    def jobs(self) -> list[tuple[int, str, int]]:
        """Return (index, prompt, seed) of every picture, prompt by prompt."""
        copies = range(self.count)
        seeds = self.seeds or [[self.seed + k for k in copies]] * len(self.prompts)
        pairs = [
            (prompt, own[k])
            for prompt, own in zip(self.prompts, seeds, strict=True)
            for k in copies
        ]
        return [(index, prompt, seed) for index, (prompt, seed) in enumerate(pairs)]
