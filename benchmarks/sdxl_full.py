"""Claim: Stable Diffusion XL's full architecture trains and generates on a CPU within 22 GB.

python benchmarks/sdxl_full.py NEW_WORK_DIR [--small]

The weights are random.  In one process: the pipeline is saved (7 GB of fp16 files in WORK, deleted
at the end); an adapter is trained for one step on images of 128 pixels, with all that a training
does, from the cache to the check of the adapter; then its memory is freed, the base is loaded again
with the adapter, and generates one image in two steps.  Memory is the highest resident memory of
each part.  Writes results/sdxl_full.json; with --small, which runs the same on a small model in
seconds, WORK/sdxl_full.json.
"""

import argparse
import gc
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import RESULTS, write_result
from sdxl_model import build_sdxl
from training_runs import SHRINK, captions, draw

from tvhelpers.config import build_config
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.trainer import train

IMAGES, PIXELS, LIMIT_GB = 4, 128, 22


def measured(part: Callable[[], object]) -> dict:
    """Return the seconds and the highest resident memory of a part."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forgets the peak
    began = time.monotonic()
    part()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e9
    return {"seconds": time.monotonic() - began, "peak_gb": peak}


def train_once(base: Path, data: Path, work: Path) -> None:
    """Train an adapter of the UNet for one step."""
    settings = {
        "base": base, "resolution": PIXELS, "steps": 1, "batch_size": 1, "eval_steps": 0,
        "eval_items": 1, "checkpoint_steps": 0, "warmup_steps": 0, "flip": "false", "device": "cpu",
        "gradient_checkpointing": "true", "rank": 4, "keep": "last",
    }  # fmt: skip
    texts = {key: str(value) for key, value in settings.items()}
    train(build_config(method="lora", data=str(data), **texts), work / "run", root=work)


def generate(base: Path, work: Path) -> None:
    """Generate one image with the adapter; fails where its values are not finite."""
    sampler = Sampler(str(base), str(work / "run"), "cpu")
    request = Request(("a red dress",), steps=2, width=PIXELS, height=PIXELS)
    ((*_, image),) = sampler.sample(request)
    assert np.asarray(image).shape == (PIXELS, PIXELS, 3) and np.asarray(image).std() > 0


def run(work: Path, small: bool) -> dict:
    """Return what each part took."""
    base, data = work / "base", work / "data"
    data.mkdir(parents=True)
    names = [draw(data, index, PIXELS) for index in range(IMAGES)]
    rows = zip(names, captions(IMAGES), strict=True)
    lines = [json.dumps({"file_name": name, "text": text}) + "\n" for name, text in rows]
    (data / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    parts = {
        "build": lambda: build_sdxl(base, SHRINK["tiny"] if small else 1, captions(64), "cpu"),
        "train": lambda: train_once(base, data, work),
        "generate": lambda: generate(base, work),
    }
    result = {}
    for name, part in parts.items():
        result[name] = measured(part)
        print(f"{name}: {result[name]}", flush=True)
    peak = max(result[name]["peak_gb"] for name in ("train", "generate"))
    return {"small": small, "images": IMAGES, "pixels": PIXELS, **result, "peak_gb": peak,
            "limit_gb": LIMIT_GB, "holds": peak <= LIMIT_GB}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="a new folder")
    parser.add_argument("--small", action="store_true", help="a small model")
    options = parser.parse_args()
    work = options.work.resolve()
    try:
        result = run(work, options.small)
    finally:
        for folder in ("base", "artifacts"):
            shutil.rmtree(work / folder, ignore_errors=True)
    write_result("sdxl_full", result, folder=work if options.small else RESULTS)


if __name__ == "__main__":
    main()
