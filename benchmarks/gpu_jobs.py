"""Parts of benchmarks/gpu.py that need a process of their own; each writes what it found as JSON.

python benchmarks/gpu_jobs.py JOB OUT.json WORK [--dry-run]      JOB: a name in JOBS
"""

import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from gpu_rows import DRY, WAYS, Sizes
from measured_gpu import differences
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from training_runs import DEVICE, DTYPE, Case, captions, count_flops, settings

from tvhelpers.config import build_config
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train import encoding
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

AT_ONCE, GUIDANCE = 8, 7.5
KERNELS, LETTERS = 10, 120  # that are listed of a step, and of the name of one


def case_of_job(work: Path, sizes: Sizes, model: str = "") -> Case:
    """Return the model and data of a job, by default at the first batch size."""
    return Case(work, model or sizes.model, sizes.batches[0], *sizes.marks[0], sizes.images)


def build(work: Path, sizes: Sizes) -> dict:
    """Draw the data, save the model, and count its FLOPs."""
    began = time.perf_counter()
    for model in (sizes.model, "mini"):  # first: a process that uses the GPU cannot be forked
        case_of_job(work, sizes, model).data  # noqa: B018
    drawn = time.perf_counter() - began
    flops = count_flops(case_of_job(work, sizes))
    return {"flops": flops, "draw_seconds": drawn, "seconds": time.perf_counter() - began}


def build_sdxl(work: Path, sizes: Sizes) -> dict:
    """Draw the data of Stable Diffusion XL, save its model, count its FLOPs, and encode the data:
    return the FLOPs and what encoding costs for an image."""
    case = Case(work, sizes.sdxl, 1, *sizes.sdxl_marks[0], sizes.sdxl_images)
    case.data  # noqa: B018 - first: a process that uses the GPU cannot be forked
    return {"flops": count_flops(case), **encoded(case, sizes)}


def cache(work: Path, sizes: Sizes) -> dict:
    """Encode the data, and return what it costs for an image."""
    return encoded(case_of_job(work, sizes), sizes)


def encoded(case: Case, sizes: Sizes) -> dict:
    """Build the cache of a case, and return what it costs for an image."""
    pixels = sizes.chunk_pixels or encoding.CHUNK_PIXELS
    with mock.patch.object(encoding, "CHUNK_PIXELS", pixels):
        return case.cache()


class Enough(Exception):
    """All steps that are to be watched were taken."""


def take_steps(case: Case, out: Path, count: int, watch: Callable, **more) -> None:
    """Take our trainer's first steps, and no more of the training.

    `watch(trainer, row)` is called before the first one, with no row, and after each.
    """
    honest = Trainer.train_step

    def train_step(trainer) -> dict:
        """Take a step under watch."""
        if trainer.step == 0:
            watch(trainer, None)
        row = honest(trainer)
        watch(trainer, row)
        if trainer.step == count:
            raise Enough
        return row

    config = build_config(method="lora", data=str(case.data), **settings(case, **more))
    with mock.patch.object(Trainer, "train_step", train_step), contextlib.suppress(Enough):
        train(config, out, root=case.work)
    gc.collect()
    torch.cuda.empty_cache()


def trace(case: Case, out: Path, count: int, **more) -> dict:
    """Return the losses and gradient norms of our trainer's first steps, how its weights have
    moved by the last of them, and whether its steps were captured."""
    rows, weights, captured = [], [], []

    def watch(trainer, row: dict | None) -> None:
        """Note a step, on the device, and the weights before and after all of them."""
        rows.append(row)
        if trainer.step in (0, count):
            weights.append(torch.cat([x.detach().flatten() for x in trainer.model.weights]))
            captured.append(bool(trainer.replays and trainer.replays.graphs))

    take_steps(case, out, count, watch, **more)
    names = {"losses": "loss", "grad_norms": "grad_norm"}
    numbers = {name: torch.stack([x[key] for x in rows[1:]]) for name, key in names.items()}
    first, last = weights
    return {
        **{name: values.tolist() for name, values in numbers.items()},
        "moves": (last - first).double().cpu().numpy(),
        "captured": captured[-1],
    }


def losses(work: Path, sizes: Sizes) -> dict:
    """Compare captured steps with eager ones, and eager ones with themselves, by dtype; all of them
    begin in the same state."""
    case, found = case_of_job(work, sizes), {"steps": sizes.compared_steps}
    for dtype in sizes.dtypes:
        runs = {}
        for name in ("captured", "eager", "again"):
            out, way = work / "runs" / f"losses-{dtype}-{name}", WAYS.get(name, WAYS["eager"])
            runs[name] = trace(case, out, sizes.compared_steps, dtype=dtype, **way)
        captured, eager, again = runs.values()
        found[dtype] = {**differences(captured, eager), "captured": captured["captured"]}
        found[f"{dtype}_eager_twice"] = differences(again, eager)
        found[f"{dtype}_traces"] = {
            name: {**run, "moves": float(np.linalg.norm(run["moves"]))}
            for name, run in runs.items()
        }
    return found


def kernels(work: Path, sizes: Sizes, way: str) -> dict:
    """Return the most expensive kernels of a step, in a process that profiles once: after a second
    start some versions of CUDA's profiler see nothing, or crash."""
    case, out = case_of_job(work, sizes), work / "runs" / f"kernels-{way}"
    return profiled(case, out, *sizes.profiled, **WAYS[way])


def profiled(case: Case, out: Path, first: int, last: int, **more) -> dict:
    """Return where the time of the steps after `first` up to `last` goes: to a GPU's kernels, or to
    torch's operators on a CPU."""
    activity = ProfilerActivity.CUDA if DEVICE == "cuda" else ProfilerActivity.CPU
    profiler, marks = profile(activities=[activity]), []

    def watch(trainer, row: dict | None) -> None:
        """Begin the profile, or end it."""
        if trainer.step not in (first, last):
            return
        if trainer.step == first:
            profiler.start()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        if trainer.step == last:
            profiler.stop()

    take_steps(case, out, last, watch, **more)
    return shares(profiler, last - first, marks[1] - marks[0])


def shares(profiler: profile, steps: int, seconds: float) -> dict:
    """Return the milliseconds of a step, those in which the GPU computes, and the kernels that
    take most of them, with their share."""
    own, kind = (
        ("self_device_time_total", DeviceType.CUDA)
        if DEVICE == "cuda"
        else ("self_cpu_time_total", DeviceType.CPU)
    )
    rows = profiler.key_averages()  # stable name
    rows = [row for row in rows if row.device_type == kind]
    rows = [row for row in rows if not getattr(row, "is_user_annotation", False)]
    total = sum(getattr(row, own) for row in rows)  # microseconds
    if not total:
        raise RuntimeError("the profiler has seen no kernel")
    rows = sorted(rows, key=lambda row: getattr(row, own), reverse=True)
    return {
        "ms_a_step": 1000 * seconds / steps,
        "ms_of_kernels_a_step": total / 1000 / steps,
        "most_expensive": [
            {
                "kernel": row.key[:LETTERS],
                "share": getattr(row, own) / total,
                "ms_a_step": getattr(row, own) / 1000 / steps,
                "times_a_step": row.count / steps,
            }
            for row in rows[:KERNELS]
        ],
    }


def timed(draw: Callable[[int], list]) -> tuple[float, np.ndarray]:
    """Return the seconds of a drawing, and its images; one before it warms up."""
    draw(1)
    began = time.perf_counter()
    images = draw(0)
    return time.perf_counter() - began, np.stack([np.asarray(image) for image in images])


def sampling(work: Path, sizes: Sizes) -> dict:
    """Compare our sampler with the stock pipeline, on the same prompts, seeds and solver."""
    case, count = case_of_job(work, sizes), sizes.drawings
    prompts, side = captions(count), case.resolution
    size = {"height": side, "width": side}
    how = {"num_inference_steps": sizes.inference_steps, "guidance_scale": GUIDANCE, **size}
    sampler = Sampler(str(case.base), "none", DEVICE, str(DTYPE).removeprefix("torch."))
    stock = StableDiffusionPipeline.from_pretrained(case.base, torch_dtype=DTYPE).to(DEVICE)
    stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)
    stock.set_progress_bar_config(disable=True)

    def ours(few: int) -> list:
        """Return the images of our sampler, of so many batches, or with 0 all."""
        request = Request(tuple(prompts[: AT_ONCE * few or count]), seed=0, guidance=GUIDANCE,
                          steps=sizes.inference_steps, size=side)  # fmt: skip
        return [image for *_, image in sampler.sample(request, batch_size=AT_ONCE)]

    def theirs(few: int) -> list:
        """Return the same images of the stock pipeline."""
        images = []
        for start in range(0, AT_ONCE * few or count, AT_ONCE):
            batch = prompts[start : min(start + AT_ONCE, count)]
            generators = [torch.Generator().manual_seed(0) for _ in batch]
            images += stock(batch, generator=generators, **how).images
        return images

    (seconds, mine), (stock_seconds, other) = timed(ours), timed(theirs)
    return {
        "images": count,
        "images_per_second": count / seconds,
        "stock_images_per_second": count / stock_seconds,
        "times_stock": stock_seconds / seconds,
        "largest_difference_of_255": int(np.abs(mine.astype(int) - other).max()),
    }


JOBS = {
    "build": build, "build_sdxl": build_sdxl, "cache": cache, "losses": losses,
    "sampling": sampling,
    "kernels_captured": partial(kernels, way="captured"),
    "kernels_eager": partial(kernels, way="eager"),
}  # fmt: skip


def main() -> None:
    name, out, work, *dry = sys.argv[1:]
    found = JOBS[name](Path(work), DRY if dry else Sizes())
    Path(out).write_text(json.dumps(found, indent=1, default=float), encoding="utf-8")


if __name__ == "__main__":
    main()
