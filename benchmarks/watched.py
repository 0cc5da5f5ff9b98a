"""Run a training program in this process and note what its optimizer steps cost.

python benchmarks/watched.py [--end] OUT.json FIRST LAST PROGRAM.py [ARGUMENT ...]
python benchmarks/watched.py [--end] OUT.json FIRST LAST -m MODULE [ARGUMENT ...]

Time and CPU seconds (of this process and its data workers) are read after optimizer steps FIRST
and LAST, so that imports, loading and warming up cancel, and at up to four steps between, so that
their spread is seen.  Memory is the highest up to LAST (on a GPU since the program has last reset
torch's meter, as our trainer does when a training begins) and of the steps between, beside what
the libraries alone take.  Needs torch and psutil only, so that it runs in another program's
environment.  With --end the process and its data workers end after step LAST, before anything is
saved.
"""

import itertools
import json
import os
import resource
import runpy
import sys
import time
from pathlib import Path

import psutil
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

LIBRARIES = ("diffusers", "transformers", "peft")
PARTS = 5  # of the steps between the first and the last mark, each with its own time


class Watch:
    """Counts optimizer steps and reads the meters after some of them."""

    def __init__(self, out: Path, first: int, last: int, libraries_mb: float, end: bool):
        self.out, self.first, self.last, self.libraries_mb = out, first, last, libraries_mb
        self.end = end
        parts = min(PARTS, last - first)
        self.steps = [first + (last - first) * part // parts for part in range(parts + 1)]
        self.step, self.marks = 0, []
        self.process, self.cuda = psutil.Process(), torch.cuda.is_available()
        self.began, self.peak_before, self.reserved_before = time.perf_counter(), 0.0, 0.0

    def __call__(self, *_) -> None:
        self.step += 1
        if self.step not in self.steps:
            return
        if self.cuda:
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), self.cpu_seconds()))
        if self.step == self.first:
            self.peak_before, self.reserved_before = self.peak_mb(), self.reserved_mb()
            self.forget_peak()
        elif self.step == self.last:
            self.out.write_text(json.dumps(self.result()), encoding="utf-8")
            if self.end:
                self.leave()

    def leave(self) -> None:
        """End this process at once, and its data workers."""
        for child in self.process.children(recursive=True):
            child.kill()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def cpu_seconds(self) -> float:
        """Return user and system time, with that of workers alive and gone."""
        own = os.times()
        alive = [child.cpu_times() for child in self.process.children(recursive=True)]
        return sum(own[:4]) + sum(times.user + times.system for times in alive)

    def peak_mb(self) -> float:
        """Return the highest memory since the last reset: the GPU's where there is one."""
        if self.cuda:
            return torch.cuda.max_memory_allocated() / 1e6
        status = Path("/proc/self/status")
        if not status.exists():  # not Linux: never reset
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) * 1024 / 1e6

    def reserved_mb(self) -> float:
        """Return what torch's pool took of the GPU at most since the last reset; 0 on a CPU."""
        return torch.cuda.max_memory_reserved() / 1e6 if self.cuda else 0.0

    def forget_peak(self) -> None:
        """Measure the highest memory from now on, where that is possible."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def result(self) -> dict:
        """Return what was noted between the first and the last mark, and memory also before it."""
        (wall, cpu), (wall_end, cpu_end) = self.marks[0], self.marks[-1]
        clocks = [mark[0] for mark in self.marks]
        steps = [b - a for a, b in itertools.pairwise(self.steps)]
        seconds = [b - a for a, b in itertools.pairwise(clocks)]
        parts = zip(steps, seconds, strict=True)
        peak = self.peak_mb()
        return {
            "steps": self.last - self.first,
            "wall_seconds": wall_end - wall,
            "parts": [{"steps": count, "wall_seconds": clock} for count, clock in parts],
            "cpu_seconds": cpu_end - cpu,
            "seconds_to_first_mark": wall - self.began,
            "peak_mb": max(self.peak_before, peak),
            "peak_mb_of_steps": peak,
            "peak_mb_of_libraries": self.libraries_mb,
            "peak_mb_reserved": max(self.reserved_before, self.reserved_mb()) or None,
        }


def main() -> None:
    end = sys.argv[1] == "--end"
    out, first, last, *command = sys.argv[1 + end :]
    for library in LIBRARIES:
        __import__(library)
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401  lazy until named
    from transformers import CLIPTextModel  # noqa: F401

    libraries_mb = 0.0 if torch.cuda.is_available() else psutil.Process().memory_info().rss / 1e6
    watch = Watch(Path(out), int(first), int(last), libraries_mb, end)
    register_optimizer_step_post_hook(watch)
    module = command[0] == "-m"
    sys.argv = command[module:]
    if module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
