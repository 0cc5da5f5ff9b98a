"""Parts of benchmarks/gpu.py that need a process of their own; each writes what it found as JSON.

python benchmarks/gpu_jobs.py build|cache|losses|sampling OUT.json WORK [--dry-run]
"""

import contextlib
import gc
import json
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from gpu_bench import DRY, Sizes
from training_runs import DEVICE, DTYPE, Case, captions, count_flops, settings

from tvhelpers.config import build_config
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train import encoding
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

AT_ONCE, GUIDANCE = 8, 7.5


def case_of(work: Path, sizes: Sizes, model: str = "") -> Case:
    return Case(work, model or sizes.model, sizes.batches[0], *sizes.marks[0], sizes.images)


def build(work: Path, sizes: Sizes) -> dict:
    """Draw the data, save the model, and count its FLOPs."""
    began = time.perf_counter()
    for model in (sizes.model, "mini"):  # first: a process that uses the GPU cannot be forked
        case_of(work, sizes, model).data  # noqa: B018
    drawn = time.perf_counter() - began
    flops = count_flops(case_of(work, sizes))
    return {"flops": flops, "draw_seconds": drawn, "seconds": time.perf_counter() - began}


def cache(work: Path, sizes: Sizes) -> dict:
    """Encode the data, and return what it costs for an image."""
    pixels = sizes.chunk_pixels or encoding.CHUNK_PIXELS
    with mock.patch.object(encoding, "CHUNK_PIXELS", pixels):
        return case_of(work, sizes).cache()


class Enough(Exception):
    """All steps that are to be compared were taken."""


def losses_of(case: Case, out: Path, count: int, **more) -> tuple[list[float], bool]:
    """Return the losses of our trainer's first steps, and whether its steps were captured."""
    seen, captured, honest = [], [], Trainer.train_step

    def train_step(trainer) -> dict:
        row = honest(trainer)
        seen.append(row["loss"])
        if len(seen) == count:
            captured.append(bool(trainer.replays and trainer.replays.graphs))
            raise Enough
        return row

    config = build_config(method="lora", data=str(case.data), **settings(case, **more))
    with mock.patch.object(Trainer, "train_step", train_step), contextlib.suppress(Enough):
        train(config, out, root=case.work)
    gc.collect()
    torch.cuda.empty_cache()
    return torch.stack(seen).tolist(), any(captured)


def losses(work: Path, sizes: Sizes) -> dict:
    """Return the largest relative difference of a step's loss between captured and eager steps, and
    between eager ones and themselves, by dtype; all of them begin in the same state."""
    case, found = case_of(work, sizes), {"steps": sizes.compared_steps}
    for dtype in sizes.dtypes:
        runs, ways = {}, {}
        for name, capture in (("captured", "auto"), ("eager", "false"), ("again", "false")):
            out, more = work / "runs" / f"losses-{dtype}-{name}", {"capture": capture}
            run = losses_of(case, out, sizes.compared_steps, dtype=dtype, **more)
            runs[name], ways[name] = run
        captured, eager, again = map(np.array, runs.values())
        found[dtype] = np.max(np.abs(captured - eager) / np.abs(eager))
        found[f"{dtype}_eager_twice"] = np.max(np.abs(again - eager) / np.abs(eager))
        found |= {f"{dtype}_captured": ways["captured"], f"{dtype}_losses": runs}
    return found


def timed(draw) -> tuple[float, np.ndarray]:
    """Return the seconds of a drawing, and its images; one before it warms up."""
    draw(1)
    began = time.perf_counter()
    images = draw(0)
    return time.perf_counter() - began, np.stack([np.asarray(image) for image in images])


def sampling(work: Path, sizes: Sizes) -> dict:
    """Compare our sampler with the stock pipeline, on the same prompts, seeds and solver."""
    case, count = case_of(work, sizes), sizes.drawings
    prompts, side = captions(count), case.resolution
    size = {"height": side, "width": side}
    how = {"num_inference_steps": sizes.inference_steps, "guidance_scale": GUIDANCE, **size}
    sampler = Sampler(str(case.base), "none", DEVICE, str(DTYPE).removeprefix("torch."))
    stock = StableDiffusionPipeline.from_pretrained(case.base, torch_dtype=DTYPE).to(DEVICE)
    stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)
    stock.set_progress_bar_config(disable=True)

    def ours(few: int):
        request = Request(tuple(prompts[: AT_ONCE * few or count]), seed=0, guidance=GUIDANCE,
                          steps=sizes.inference_steps, size=side)  # fmt: skip
        return [image for *_, image in sampler.sample(request, batch_size=AT_ONCE)]

    def theirs(few: int):
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


JOBS = {"build": build, "cache": cache, "losses": losses, "sampling": sampling}


def main() -> None:
    name, out, work, *dry = sys.argv[1:]
    found = JOBS[name](Path(work), DRY if dry else Sizes())
    Path(out).write_text(json.dumps(found, indent=1, default=float), encoding="utf-8")


if __name__ == "__main__":
    main()
