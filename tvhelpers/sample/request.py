"""Which images are asked for?  Prompts, seeds, size and settings, checked before any loading."""

from dataclasses import InitVar, asdict, dataclass

from tvhelpers.config import check_range
from tvhelpers.errors import InputError
from tvhelpers.sample.prompt import check_prompt

FAST_STEPS = 8  # with a base's fast adapter
RANGES = {  # of each number, with both ends
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
    """What to draw.

    Image k of each prompt has the seed `seed` + k, so that all prompts share their seeds; or the
    k-th of the prompt's own `seeds`.  Raises InputError for values out of range.
    """

    prompts: tuple[str, ...]
    count: int = 1  # images for each prompt
    seed: int = 0
    steps: int = 20  # inference steps
    guidance: float | None = None  # guidance scale; 1 = no guidance, None = the base's own
    width: int = 0  # pixels, a multiple of 8; 0 = the base's own
    height: int = 0
    lora_scale: float = 1.0  # how much of the adapter is applied: 0 = none, 1 = as trained
    ids: tuple[str, ...] = ()  # of the prompts of a suite
    seeds: tuple[tuple[int, ...], ...] = ()  # of each prompt; () = from `seed` on
    negative_prompt: str = ""  # what the images move away from, for all prompts
    size: InitVar[int] = 0  # of a square image: sets width and height

    def __post_init__(self, size: int):
        for name in ("width", "height"):
            object.__setattr__(self, name, size or getattr(self, name))
        if not self.prompts:
            raise InputError("no-prompt.none")
        object.__setattr__(self, "negative_prompt", self.negative_prompt.strip())
        for prompt in (*self.prompts, *([self.negative_prompt] * bool(self.negative_prompt))):
            check_prompt(prompt)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, low, high)
        self._check_seeds()
        for side in (self.width, self.height):
            if side % 8:
                raise InputError("out-of-range.image-size", value=side)

    def _check_seeds(self) -> None:
        if self.seed + self.count > 2**32:  # torch's generators keep 32 bits of a seed
            raise InputError("out-of-range.last-seed", seed=self.seed, count=self.count)
        for seed in (seed for own in self.seeds for seed in own):
            check_range("seed", seed, *RANGES["seed"])
        fewest = min(map(len, self.seeds), default=self.count)
        if self.count > fewest:
            raise InputError("out-of-range.suite-seeds", count=self.count, fewest=fewest)

    def record(self) -> dict:
        """Return the request as request.json has it, with `size` for a square image."""
        row = {key: value for key, value in asdict(self).items() if value not in ((), "")}
        return sized(row, row.pop("width"), row.pop("height"))

    def settings(self) -> dict:
        """Return the settings that a line of records.jsonl has of the request."""
        row = sized({"steps": self.steps, "guidance": self.guidance}, self.width, self.height)
        row["strength"] = self.lora_scale  # stable name
        return row | ({"negative_prompt": self.negative_prompt} if self.negative_prompt else {})

    def jobs(self) -> list[tuple[int, str, int]]:
        """Return (index, prompt, seed) of every image, prompt after prompt."""
        copies = range(self.count)
        seeds = self.seeds or [[self.seed + k for k in copies]] * len(self.prompts)
        pairs = [
            (prompt, own[k])
            for prompt, own in zip(self.prompts, seeds, strict=True)
            for k in copies
        ]
        return [(index, *pair) for index, pair in enumerate(pairs)]


def sized(record: dict, width: int, height: int) -> dict:
    """Return a record with the size of its image: `size` if it is square, else width and height."""
    return record | ({"size": width} if width == height else {"width": width, "height": height})
