"""What carries benchmarks/gpu.py: sizes, a clock, and rows that are written as they come."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import run
from gpu_claims import summary

from tvhelpers.files import write_text

BEGAN = time.monotonic()
HERE = Path(__file__).parent
SHOWN = 1500  # letters of an error


@dataclass(frozen=True)
class Sizes:
    """How much of everything: a measurement, or a dry run of the same code."""

    model: str = "sd15"
    images: int = 1152
    batches: tuple[int, ...] = (8, 64)
    marks: tuple[tuple[int, int], ...] = ((10, 70), (4, 14))  # steps (first, last) of each batch
    mini_batches: tuple[int, ...] = (16, 4096)
    mini_marks: tuple[tuple[int, int], ...] = ((20, 220), (3, 13))
    compared_steps: int = 20
    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    killed_steps: int = 200
    drawings: int = 32
    inference_steps: int = 20
    peak_rounds: int = 5
    chunk_pixels: int = 0  # encoded at once into the cache; 0 = as a training does
    pace: float = 1.0  # of the seconds that a row usually takes
    patience: float = 3.0  # times the usual seconds of a row, after which it is ended


DRY = Sizes(
    model="tiny", images=48, batches=(2, 4), marks=((1, 3), (1, 2)), mini_batches=(2, 4),
    mini_marks=((1, 2), (1, 2)), compared_steps=3, dtypes=("float32",), killed_steps=12,
    drawings=4, inference_steps=2, peak_rounds=1, chunk_pixels=16 * 64**2, pace=0.1, patience=1e3,
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    work: Path
    minutes: float
    out: Path
    sizes: Sizes = Sizes()
    peer: Path | None = None  # diffusers' script
    peer_python: str = sys.executable


class Skipped(Exception):
    """A row that cannot be measured here; the text says why."""


class Bench:
    """Takes rows one after the other and writes, after each, all that is known by then."""

    def __init__(self, options: Options, names: list[str]):
        """Prepare the folder for rows of these names."""
        self.options, self.sizes, self.work = options, options.sizes, options.work
        self.rows: dict[str, dict] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.waiting, self.card, self.about = [*names], "cpu", {}
        for name in ("logs", "jobs", "runs"):
            (self.work / name).mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        """Return the seconds that are left."""
        return 60 * self.options.minutes - (time.monotonic() - BEGAN)

    def take(self, name: str, seconds: float, measure: Callable[[float], dict]) -> None:
        """Measure a row if the `seconds` that it usually takes are left.

        `measure` is given the seconds after which it must have failed.
        """
        began, left = time.monotonic(), self.left()
        try:
            if left < seconds * self.sizes.pace:
                raise Skipped(f"it takes about {seconds} s, and {max(left, 0):.0f} s were left")
            row = measure(min(left, self.sizes.patience * seconds))
            self.rows[name] = {"took_seconds": time.monotonic() - began, **row}
        except Skipped as reason:
            self.skipped[name] = str(reason)
        except (Exception, SystemExit) as error:
            self.failed[name] = f"{type(error).__name__}: {error}"[-SHOWN:]
        self.waiting.remove(name)
        self.write()
        self.say(name)

    def job(self, name: str, limit: float) -> dict:
        """Return what a function of gpu_jobs.py found out, in a process of its own."""
        out = self.work / "jobs" / f"{name}.json"
        dry = ["--dry-run"] if self.sizes == DRY else []
        words = [HERE / "gpu_jobs.py", name, out, self.work, *dry]
        run(words, self.work, log=self.log(name), seconds=limit)
        return json.loads(out.read_text(encoding="utf-8"))

    def log(self, name: str) -> Path:
        """Return the log file of a row."""
        return self.work / "logs" / (name.replace(", ", "-").replace(" ", "_") + ".log")

    def write(self) -> None:
        """Write gpu_CARD.json, whole at any moment."""
        minutes = {"minutes": (time.monotonic() - BEGAN) / 60, "of_minutes": self.options.minutes}
        ends = {key: getattr(self, key) for key in ("rows", "failed", "skipped", "waiting")}
        result = {"card": self.card, **self.about, **summary(self.rows), **minutes, **ends}
        # "NVIDIA H200" is h200
        words = [word for word in self.card.lower().split() if word not in ("nvidia", "tesla")]
        path = self.options.out / f"gpu_{'-'.join(words)}.json"
        write_text(path, json.dumps(result, indent=1) + "\n")

    def say(self, name: str) -> None:
        """Print on one line what became of a row."""
        row = self.rows.get(name, {})
        kinds = {key: value for key, value in row.items() if type(value) in (int, float)}
        numbers = [f"{key} {value:.4g}" for key, value in kinds.items()]
        reason = self.failed.get(name) or self.skipped.get(name) or "done"
        print(f"{name}: {', '.join(numbers) or reason.strip().splitlines()[-1]}", flush=True)
