"""Claims: `import tvhelpers` takes under 0.2 s and loads no torch; one image of 20 steps on mini
with its shipped adapter, after loading, under 1 s on two cores.  In turns with it: stock diffusers
on the same weights and adapter.

python benchmarks/speed.py      writes results/speed.json
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import write_result
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from tvhelpers.models.mini import WEIGHTS_DIR
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

ROUNDS = 15
IMPORT = (
    "import sys, time; began = time.perf_counter(); import tvhelpers; "
    "print(time.perf_counter() - began, 'torch' in sys.modules)"
)


def seconds(work, *arguments) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


imports = [
    subprocess.check_output([sys.executable, "-c", IMPORT], text=True).split()
    for _ in range(ROUNDS)
]
sampler = Sampler("mini", device="cpu")
stock = StableDiffusionPipeline.from_pretrained(WEIGHTS_DIR)
stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)
stock.load_lora_weights(str(WEIGHTS_DIR), weight_name="shipped_adapter.safetensors")
stock.set_progress_bar_config(disable=True)


def draw_ours(folder: str, seed: int) -> None:
    request = Request(("red striped dress",), seed=seed)
    generate(sampler, request, Path(folder, str(seed)))


def draw_theirs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    stock(["red striped dress"], generator=generator, num_inference_steps=20, guidance_scale=2.5)


ours, theirs = [], []
with tempfile.TemporaryDirectory() as folder:
    for seed in range(ROUNDS + 1):  # the first of each warms up
        ours.append(seconds(draw_ours, folder, seed))
        theirs.append(seconds(draw_theirs, seed))
write_result(
    "speed",
    {
        "import_seconds": spread([float(value) for value, _ in imports]),
        "import_loads_torch": any(flag == "True" for _, flag in imports),
        "generate_one_picture_20_steps_seconds": spread(ours[1:]),  # stable name
        "stock_pipeline_seconds": spread(theirs[1:]),
        "ratio_of_medians": statistics.median(ours[1:]) / statistics.median(theirs[1:]),
    },
)
