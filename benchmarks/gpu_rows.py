"""Which rows of benchmarks/gpu.py are timed, in which order, and how long do they usually take?

Each has the machine for itself, and a process of its own.  The seconds are those of an H200.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gpu_bench import Bench, Skipped

WAYS = {  # settings of our trainer
    "captured": {"capture": "auto"},
    "eager": {"capture": "false"},
    "compiled": {"capture": "auto", "compile": True},
}
REMARKS = 3  # lines of a log that are kept


def matrix_peak(bench: Bench, name: str, limit: float) -> dict:
    """Return the FLOPs a second of a large matrix product."""
    import torch
    import training_runs as tr

    peak = tr.matrix_peak(bench.sizes.peak_rounds)
    torch.cuda.empty_cache()  # the other processes need the room
    return {"tflops": peak / 1e12}


@dataclass(frozen=True)
class Job:
    """A function of gpu_jobs.py."""

    job: str

    def __call__(self, bench: Bench, name: str, limit: float) -> dict:
        return bench.job(self.job, limit)


class Ours:
    """Our trainer, on the first or the second batch size of a model."""

    def __init__(self, size: int, way: str = "captured", mini: bool = False, **more):
        self.size, self.mini, self.settings = size, mini, {**WAYS[way], **more}

    def __call__(self, bench: Bench, name: str, limit: float) -> dict:
        import training_runs as tr

        case, log = case_of(bench, self.size, self.mini), bench.log(name)
        command = tr.ours(case, bench.work / "runs" / log.stem, **self.settings)
        row = tr.measure(case, command, end=True, log=log, seconds=limit)
        flops = () if self.mini else ("step",)
        return {**facts(bench, case, row, flops), **remarks(log)}


@dataclass(frozen=True)
class Peer:
    """diffusers' script, on the first or the second batch size."""

    size: int
    workers: int

    def __call__(self, bench: Bench, name: str, limit: float) -> dict:
        import training_runs as tr

        if bench.options.peer is None:
            raise Skipped("give --peer: a checkout of diffusers, or its script")
        peer = tr.Peer(bench.options.peer, bench.options.peer_python, "")
        case, log = case_of(bench, self.size), bench.log(name)
        workers = min(self.workers, os.cpu_count() or 1)
        command = peer.command(case, bench.work / "runs" / log.stem, workers)
        how = {"python": peer.python, **peer.environment(), "log": log, "seconds": limit}
        row = tr.measure(case, command, end=True, **how)
        return {**facts(bench, case, row, ("encode", "step")), "workers": workers}


def case_of(bench: Bench, size: int, mini: bool = False):
    """Return the model, batch size, marks and data of a row."""
    from training_runs import Case

    sizes = bench.sizes
    if mini:
        model, batch, marks = "mini", sizes.mini_batches[size], sizes.mini_marks[size]
    else:
        model, batch, marks = sizes.model, sizes.batches[size], sizes.marks[size]
    return Case(bench.work, model, batch, *marks, sizes.images)


def facts(bench: Bench, case, row: dict, work: tuple[str, ...]) -> dict:
    """Return what a row of a training says: speed, memory, and its share of the matrix peak if the
    FLOPs of all `work` on an image are known.

    Memory is the highest of the whole process: what a captured step needs is allocated before the
    first mark, and not again.
    """
    flops = bench.rows.get("models and data", {}).get("flops", {})
    peak = bench.rows.get("matrix peak", {}).get("tflops")
    known = work and peak and all(name in flops for name in work)
    done = sum(flops[name] for name in work) * row["images_per_second"] if known else 0
    return {
        "images_per_second": row["images_per_second"],
        "ms_a_step": 1000 * row["wall_seconds"] / row["steps"],
        "share_of_peak": done / peak / 1e12 if known else None,
        "gb": row["peak_mb"] / 1000,
        "gb_reserved": (row["peak_mb_reserved"] or 0) / 1000,
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


CHECKPOINTING = {"gradient_checkpointing": True}
PLAN = {  # {name: (seconds, row)}, the most important first
    "matrix peak": (5, matrix_peak),
    "cache": (35, Job("cache")),
    "captured, batch 8": (30, Ours(0)),
    "eager, batch 8": (35, Ours(0, "eager")),
    "peer, batch 8": (45, Peer(0, 4)),
    "captured, batch 64": (40, Ours(1)),
    "captured, batch 64, checkpointing": (40, Ours(1, **CHECKPOINTING)),
    "captured, batch 8, checkpointing": (30, Ours(0, **CHECKPOINTING)),
    "captured against eager": (90, Job("losses")),
    "compiled, batch 8": (90, Ours(0, "compiled")),
    "sampling": (50, Job("sampling")),
    "mini, small batch": (25, Ours(0, mini=True)),
    "mini, large batch": (25, Ours(1, mini=True)),
    "peer, batch 64": (60, Peer(1, 8)),
    "eager, batch 64": (40, Ours(1, "eager")),
    "compiled, batch 64": (90, Ours(1, "compiled")),
}
