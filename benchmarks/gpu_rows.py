"""Which rows of benchmarks/gpu.py are timed, in which order, and how is a row taken and written?

Each timed row has the machine for itself, and a process of its own.
"""

import json
import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import run
from measured_gpu import summary

from tvhelpers.files import write_text

BEGAN = time.monotonic()
HERE = Path(__file__).parent
SHOWN = 1500  # letters of an error
REMARKS = 3  # lines of a log that are kept
BATCHES_AHEAD = 3  # of float32 pixels, of each data worker
PEAK = "matrix peak"
SDXL_BUILT = "SDXL, model, data and cache"
WAYS = {  # settings of our trainer
    "captured": {"capture": "auto"},
    "eager": {"capture": "false"},
    "compiled": {"capture": "auto", "compile": True},
}


@dataclass(frozen=True)
class Sizes:
    """How much of everything: a measurement, or a dry run of the same code."""

    model: str = "sd15"
    images: int = 1152
    batches: tuple[int, ...] = (8, 64)
    marks: tuple[tuple[int, int], ...] = ((10, 70), (4, 14))  # steps (first, last) of each batch
    mini_batches: tuple[int, ...] = (16, 4096)
    mini_marks: tuple[tuple[int, int], ...] = ((20, 220), (3, 13))
    sdxl: str = "sdxl"
    sdxl_images: int = 128
    sdxl_batches: tuple[int, ...] = (1, 4, 16)
    sdxl_marks: tuple[tuple[int, int], ...] = ((5, 45), (3, 18), (2, 7))
    eval_items: int = 64  # of the evaluations of rows on memory
    compared_steps: int = 20
    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    profiled: tuple[int, int] = (8, 12)  # steps (first, last)
    killed_steps: int = 200
    drawings: int = 32
    inference_steps: int = 20
    peak_rounds: int = 5
    chunk_pixels: int = 0  # encoded at once into the cache; 0 = as a training does
    pace: float = 1.0  # of the seconds that a row usually takes
    patience: float = 3.0  # times the usual seconds of a row, after which it is ended


DRY = Sizes(
    model="tiny", images=48, batches=(2, 4), marks=((1, 3), (1, 2)), mini_batches=(2, 4),
    mini_marks=((1, 2), (1, 2)), sdxl="tiny sdxl", sdxl_images=48, sdxl_batches=(1, 2, 4),
    sdxl_marks=((1, 3), (1, 3), (1, 3)), eval_items=4, compared_steps=3, dtypes=("float32",),
    profiled=(1, 2), killed_steps=12, drawings=4, inference_steps=2, peak_rounds=1,
    chunk_pixels=16 * 64**2, pace=0.1, patience=1e3,
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
    peer_path: str = ""  # its PYTHONPATH
    only: str = ""  # what names of rows begin with


class Skipped(Exception):
    """A row that cannot be measured here; the text says why."""


class Bench:
    """Takes rows one after the other and writes, after each, all that is known by then."""

    def __init__(self, options: Options, names: list[str]):
        """Prepare the folders for rows of these names."""
        self.options, self.sizes, self.work = options, options.sizes, options.work
        self.rows: dict[str, dict] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.waiting, self.card, self.about = [*names], "cpu", {}
        for folder in (options.out, *(self.work / name for name in ("logs", "jobs", "runs"))):
            folder.mkdir(parents=True, exist_ok=True)

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
        tell(f"{name}: {', '.join(numbers) or reason.strip().splitlines()[-1]}")


def tell(text: str) -> None:
    """Print a line; once nobody reads them any more, print nothing."""
    try:
        print(text, flush=True)
    except OSError:  # the terminal or the pipe is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def matrix_peak(bench: Bench, name: str, limit: float) -> dict:
    """Return the FLOPs a second of a large matrix product."""
    import torch
    import training_runs as tr

    peak = tr.highest_peak(bench.sizes.peak_rounds)
    torch.cuda.empty_cache()  # the other processes need the room
    return {"tflops": peak / 1e12}


@dataclass(frozen=True)
class Job:
    """A function of gpu_jobs.py."""

    job: str

    def __call__(self, bench: Bench, name: str, limit: float) -> dict:
        return bench.job(self.job, limit)


class Ours:
    """Our trainer, on the first, second or third batch size of a model."""

    def __init__(self, size: int, way: str = "captured", kind: str = "sd", **more):
        """`kind`: "sd", "mini" or "sdxl"."""
        self.size, self.kind, self.settings = size, kind, {**WAYS[way], **more}

    def __call__(self, bench: Bench, name: str, limit: float) -> dict:
        import training_runs as tr

        case, log = case_of(bench, self.size, self.kind), bench.log(name)
        if built(case) not in bench.rows:
            raise Skipped("there is no model")
        out, more = bench.work / "runs" / log.stem, {**self.settings, **self.evaluation(bench)}
        row = tr.measure(case, tr.ours(case, out, **more), end=True, log=log, seconds=limit)
        flops = () if self.kind == "mini" else ("step",)
        return {**facts(bench, case, row, flops), **remarks(log)}

    def evaluation(self, bench: Bench) -> dict:
        """Return the settings of evaluations: none but the first where speed is measured."""
        return {}


class Memory(Ours):
    """Our trainer with gradient checkpointing and an evaluation between the marks, as a training
    needs memory for both; the evaluation is in its slowest part."""

    def __init__(self, size: int, **more):
        super().__init__(size, gradient_checkpointing=True, **more)

    def evaluation(self, bench: Bench) -> dict:
        """Return the settings of an evaluation after the last step but one."""
        last = case_of(bench, self.size, self.kind).last
        return {"eval_steps": last - 1, "eval_items": bench.sizes.eval_items}


@dataclass(frozen=True)
class Peer:
    """diffusers' script, on the first or the second batch size.

    It encodes each image in every step, where our trainer has a cache, which is made before and not
    counted in its rows.  At batch size 64 its workers have read most images before the first mark:
    much of the reading is not in that row, which favours the script.
    """

    size: int
    workers: int

    def __call__(self, bench: Bench, name: str, limit: float) -> dict:
        import training_runs as tr

        options = bench.options
        if options.peer is None:
            raise Skipped("give --peer: a checkout of diffusers, or its script")
        peer = tr.Peer(options.peer, options.peer_python, options.peer_path)
        case, log = case_of(bench, self.size), bench.log(name)
        workers = min(self.workers, os.cpu_count() or 1, most_workers(case))
        command = peer.command(case, bench.work / "runs" / log.stem, workers)
        how = {"python": peer.python, **peer.environment(), "log": log, "seconds": limit}
        row = tr.measure(case, command, end=True, **how)
        return {**facts(bench, case, row, ("encode", "step")), "workers": workers}


def most_workers(case) -> int:
    """Return how many data workers have room for their batches, which are in shared memory: a
    container may have little of it."""
    shared = Path("/dev/shm")
    room = shutil.disk_usage(shared).free if shared.exists() else 2**40
    return int(room) // (BATCHES_AHEAD * case.batch_size * 3 * case.resolution**2 * 4)


def case_of(bench: Bench, size: int, kind: str = "sd"):
    """Return the model, batch size, marks and data of a row."""
    from training_runs import Case

    sizes = bench.sizes
    model, batches, marks, images = {
        "sd": (sizes.model, sizes.batches, sizes.marks, sizes.images),
        "mini": ("mini", sizes.mini_batches, sizes.mini_marks, sizes.images),
        "sdxl": (sizes.sdxl, sizes.sdxl_batches, sizes.sdxl_marks, sizes.sdxl_images),
    }[kind]
    return Case(bench.work, model, batches[size], *marks[size], images)


def built(case) -> str:
    """Return the name of the row that made the model and data of a case."""
    return SDXL_BUILT if "sdxl" in case.model else "models and data"


def facts(bench: Bench, case, row: dict, work: tuple[str, ...]) -> dict:
    """Return what a row of a training says: speed, memory, and its share of the matrix peak if the
    FLOPs of all `work` on an image are known.

    Speed is the median of the parts between the marks.  Memory is the highest since the training
    began: what a captured step needs is allocated before the first mark, and not again.
    """
    rates = [part["images_per_second"] for part in row["parts"]]
    rate = statistics.median(rates)
    flops = bench.rows.get(built(case), {}).get("flops", {})
    peak = bench.rows.get(PEAK, {}).get("tflops")
    reserved = row["peak_mb_reserved"]  # None on a CPU
    known = work and peak and all(name in flops for name in work)
    done = sum(flops[name] for name in work) * rate if known else 0
    return {
        "images_per_second": rate,
        "images_per_second_lowest": min(rates),
        "images_per_second_highest": max(rates),
        "parts": len(rates),
        "ms_a_step": 1000 * row["wall_seconds"] / row["steps"],
        "share_of_peak": done / peak / 1e12 if known else None,
        "gb": row["peak_mb"] / 1000,
        "gb_reserved": reserved and reserved / 1000,
        "cpu_over_wall": row["cpu_seconds"] / row["wall_seconds"],
        "seconds_to_first_mark": row["seconds_to_first_mark"],
        "batch_size": case.batch_size,
        "steps": row["steps"],
    }


def remarks(log: Path) -> dict:
    """Return whether steps were captured, and the last lines of a log on that and on memory."""
    lines = re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace"))
    found = [line for line in lines if re.search("captured|memory:|per forward pass", line)]
    captured = any("step captured in a CUDA graph" in line for line in found)
    return {"captured": captured, "remarks": found[-REMARKS:]}


PLAN = {  # {name: (seconds on an H200, row)}, the most important first
    PEAK: (5, matrix_peak),
    "cache": (35, Job("cache")),
    "captured, batch 8": (30, Ours(0)),
    "eager, batch 8": (35, Ours(0, "eager")),
    "peer, batch 8": (45, Peer(0, 4)),
    "captured, batch 64": (40, Ours(1)),
    "captured, batch 64, checkpointing": (40, Memory(1)),
    "captured, batch 8, checkpointing": (30, Memory(0)),
    "captured against eager": (90, Job("losses")),
    "kernels of captured, batch 8": (25, Job("kernels_captured")),  # what to make faster
    "kernels of eager, batch 8": (25, Job("kernels_eager")),
    "channels last, batch 8": (30, Ours(0, channels_last=True)),
    "compiled, batch 8": (90, Ours(0, "compiled")),
    "sampling": (50, Job("sampling")),
    "mini, small batch": (25, Ours(0, kind="mini")),
    "mini, large batch": (25, Ours(1, kind="mini")),
    "peer, batch 64": (60, Peer(1, 8)),
    "eager, batch 64": (40, Ours(1, "eager")),
    "compiled, batch 64": (90, Ours(1, "compiled")),
    SDXL_BUILT: (90, Job("build_sdxl")),
    "SDXL, batch 1, checkpointing": (60, Memory(0, kind="sdxl", keep="last")),
    "SDXL, batch 4, checkpointing": (60, Memory(1, kind="sdxl", keep="last")),
    "SDXL, batch 16, checkpointing": (70, Memory(2, kind="sdxl", keep="last")),
}
