"""What is to be drawn?  Prompts, seeds, size, settings, checked before anything is loaded."""

from dataclasses import InitVar, asdict, dataclass

from tvhelpers.errors import InputError

EXAMPLE = 'say what to draw, for example: "a red dress"'
RANGES = {  # of each number, both ends included
    "count": (1, 10**6),
    "seed": (0, 2**32 - 1),
    "steps": (1, 1000),
    "width": (0, 4096),
    "height": (0, 4096),
    "guidance": (0, 100),
    "lora_scale": (-10, 10),
}


@dataclass(frozen=True)
class Request:
    """What to draw: prompt i, copy k has seed + k, so that all prompts share their seeds; or the
    k-th of its own `seeds`.

    Raises InputError for what cannot be drawn.
    """

    prompts: tuple[str, ...]
    count: int = 1  # images a prompt
    seed: int = 0
    steps: int = 20  # inference steps
    guidance: float | None = None  # classifier-free guidance scale; 1 = none, None = the base's own
    width: int = 0  # pixels, a multiple of 8; 0 = the base's own
    height: int = 0
    lora_scale: float = 1.0  # of the adapter: 0 = none, 1 = as trained
    ids: tuple[str, ...] = ()  # of the prompts, where they are a suite's
    seeds: tuple[tuple[int, ...], ...] = ()  # of each prompt, instead of `seed`
    size: InitVar[int] = 0  # of a square: stands for both width and height

    def __post_init__(self, size: int):
        for name in ("width", "height"):
            object.__setattr__(self, name, size or getattr(self, name))
        if not self.prompts:
            raise InputError("no-prompt.none", example=EXAMPLE)
        if not all(prompt.strip() for prompt in self.prompts):
            raise InputError("no-prompt.blank", example=EXAMPLE)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # false for NaN too
                raise InputError("out-of-range.request", name=name, value=value, low=low, high=high)
        self._check_seeds()
        if self.width % 8 or self.height % 8:
            raise InputError("out-of-range.image-size", width=self.width, height=self.height)

    def _check_seeds(self) -> None:
        if self.seed + self.count > 2**32:  # torch's generator keeps 32 bits
            raise InputError("out-of-range.last-seed", seed=self.seed, value=self.count - 1)
        fewest = min(map(len, self.seeds), default=self.count)
        if self.count > fewest:
            raise InputError("out-of-range.suite-seeds", count=self.count, fewest=fewest)

    def record(self) -> dict:
        """Return the request as request.json holds it: a square's `size`, else width and height."""
        row = {key: value for key, value in asdict(self).items() if value != ()}
        return sized(row, row.pop("width"), row.pop("height"))

    def jobs(self) -> list[tuple[int, str, int]]:
        """Return (index, prompt, seed) of every image, prompt by prompt."""
        copies = range(self.count)
        seeds = self.seeds or [[self.seed + k for k in copies]] * len(self.prompts)
        pairs = [
            (prompt, own[k])
            for prompt, own in zip(self.prompts, seeds, strict=True)
            for k in copies
        ]
        return [(index, prompt, seed) for index, (prompt, seed) in enumerate(pairs)]


def sized(record: dict, width: int, height: int) -> dict:
    """Return a record with the size of its image: `size` of a square, else width and height."""
    return record | ({"size": width} if width == height else {"width": width, "height": height})
