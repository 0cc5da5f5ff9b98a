"""Claims: on a CPU an adapter trains at 1.5 times the images a CPU second of diffusers'
train_text_to_image_lora.py, with the same losses when fed the same random numbers; and several
times faster than the paper's way to train.  gpu.py measures both on a GPU.

python benchmarks/train_throughput.py NEW_WORK_DIR --peer DIFFUSERS_CHECKOUT \\
    [--peer-python PYTHON] [--peer-path PYTHONPATH]

Writes results/train_throughput.json.  About ten minutes on two idle cores.

The peer is run as it is, from a checkout of huggingface/diffusers, in an environment of its own:
torch as here, the requirements of its examples/text_to_image, and torchvision without its
dependencies (beside a CPU-only torch its operators must be declared first: a sitecustomize.py on
--peer-path that defines torchvision::nms does).  It is run without data workers and with two, and
the better of both counts.  All get the same images, which have the size that is trained on (so that
reading one is cheap), the same pipeline, dtype (float32), batch, rank and targets.  CPU seconds are
those of the process and its data workers between two optimizer steps; building our cache stands
apart, with the epochs after which it has paid.

The models: "quarter", Stable Diffusion 1.5 at a quarter of width and of pixels, whose encoding
takes as large a share of a step as there (training_runs.build_sd), with random weights; and mini.
"paper": paper_loop.py.
"""

import statistics
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from common import run, write_result
from measured_gpu import minutes_of_total
from paper_loop import encode_text
from training_runs import (
    DEVICE,
    HERE,
    RANK,
    SD_FLOPS,
    Case,
    Peer,
    count_flops,
    highest_peak,
    measure,
    ours,
    paper,
    parse_arguments,
)

from tvhelpers.config import build_config
from tvhelpers.data.sources import open_source
from tvhelpers.models.base import find_base, load_part
from tvhelpers.train import diffusion
from tvhelpers.train.batches import Data
from tvhelpers.train.latents import LatentCache, open_cache
from tvhelpers.train.step import Trainer

LOSS_STEPS = 20


def cases(work: Path) -> list[Case]:
    """Return the models and batches that are compared."""
    return [Case(work, "quarter", 4, first=1, last=4), Case(work, "mini", 8, first=2, last=8)]


def one_round(case: Case, peer: Peer) -> dict[str, dict]:
    """Return a measured run of each trainer, one after the other."""
    there = {"python": peer.python, **peer.environment()}
    with tempfile.TemporaryDirectory(dir=case.work) as folder:
        out = Path(folder)
        rows = {
            "ours": measure(case, ours(case, out / "ours")),
            "diffusers": measure(case, peer.command(case, out / "none", 0), **there),
            "diffusers, 2 workers": measure(case, peer.command(case, out / "two", 2), **there),
        }
    if case.model != "mini":  # the paper's was Stable Diffusion
        rows["paper"] = measure(case, paper(case))
    return rows


def rates(runs: list[dict], unit: str) -> dict:
    """Return median images a `unit` ("second", "cpu_second") and how many times those of others."""
    each = {name: [row[name][f"images_per_{unit}"] for row in runs] for name in runs[0]}
    medians = {name: statistics.median(values) for name, values in each.items()}
    rival = max((name for name in each if name.startswith("diffusers")), key=medians.get)
    ratios = [a / b for a, b in zip(each["ours"], each[rival], strict=True)]
    result = {**medians, "times_diffusers": medians["ours"] / medians[rival]}
    if "paper" in medians:
        result["times_paper"] = medians["ours"] / medians["paper"]
    return {**result, "best_of_diffusers": rival, "times_diffusers_by_round": ratios}


def compare(case: Case, peer: Peer, rounds: int, peak: float) -> dict:
    """Return how fast each trainer is on one model, and what our cache costs."""
    flops, cache = count_flops(case), case.cache()
    runs = [one_round(case, peer) for _ in range(rounds)]
    by_unit = {unit: rates(runs, unit) for unit in ("second", "cpu_second")}
    clock, rate = by_unit["second"], by_unit["cpu_second"]
    saved = 1 / rate[rate["best_of_diffusers"]] - 1 / rate["ours"]
    minutes = minutes_of_total(cache["wall_seconds"], clock["ours"])
    return {
        "resolution": case.resolution,
        "batch_size": case.batch_size,
        "flops": {**flops, "encode_to_step_of_sd15": SD_FLOPS["encode"] / SD_FLOPS["step"]},
        **{f"images_per_{unit}": row for unit, row in by_unit.items()},
        "cache": {**cache, "epochs_until_it_has_paid": cache["cpu_seconds"] / saved},
        "share_of_matrix_peak": {
            "ours": flops["step"] * clock["ours"] / peak,
            "diffusers": (flops["encode"] + flops["step"])
            * clock[clock["best_of_diffusers"]]
            / peak,
        },
        "minutes_of_50,000_image_steps_at_this_rate": minutes,
        "runs": runs,
    }


class Fed(LatentCache):
    """A cache that holds what an encoder gave just now, in float32, and hands out the batches of
    another training in their order."""

    def read(self, entries):
        """Return the moments and captions of the next batch, whichever entries are asked for."""
        batch = np.array(self.about["batches"].pop(0))
        return torch.from_numpy(self.moments[0][batch]), torch.from_numpy(self.caption_index[batch])


def fed_cache(case: Case, record: dict) -> Fed:
    """Return our encodings of the recorded images, found in the data by their bytes."""
    source, base = open_source(case.data), find_base(str(case.base))
    cache = open_cache(source, base, case.resolution, False, case.work)
    place = {source.pixels(i).tobytes(): i for i in range(len(source))}
    batches = []
    for pixels in record["pixels"]:
        levels = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        batches.append([place[image.numpy().tobytes()] for image in levels])
    vae = load_part(base, "vae")
    moments = np.zeros(cache.moments[0].shape, np.float32)
    with torch.no_grad():
        for item in {item for batch in batches for item in batch}:
            pixels = torch.tensor(source.pixels(item)).permute(2, 0, 1)[None]
            posterior = vae.encode(pixels.float() / 127.5 - 1).latent_dist
            moments[item] = torch.cat([posterior.mean, posterior.logvar], 1)[0].numpy()
        parts = (load_part(base, part) for part in ("tokenizer", "text_encoder"))
        embeds = encode_text(*parts, source.captions).numpy()
    own = {"moments": (moments,), "embeds": embeds, "caption_index": np.arange(len(source))}
    return Fed(**{**vars(cache), **own, "about": {**cache.about, "batches": batches}})


def our_losses(case: Case, record: dict) -> list[float]:
    """Return the losses of our trainer's steps, from the recorded adapter, images and noises.

    The limit of the gradient's norm is out of reach: the other script's clipping does nothing.
    """
    config = build_config(
        rank=RANK, learning_rate=1e-4, schedule="constant", warmup_steps=0, caption_dropout=0.0,
        min_snr_gamma=0.0, flip=False, batch_size=case.batch_size, steps=case.last,
        max_grad_norm=1e9,
    )  # fmt: skip
    base, cache = find_base(str(case.base)), fed_cache(case, record)
    parts = {part: load_part(base, part) for part in ("unet", "scheduler")}
    parts["family"] = base.architecture
    items = np.arange(cache.num_items)
    trainer = Trainer(config, parts, Data(cache, items, items[:1]))
    named = dict(trainer.model.unet.named_parameters())
    for name, weight in record["adapter"].items():
        named[name].data.copy_(weight)
    noises = list(zip(record["posterior"], record["noise"], record["timesteps"], strict=True))
    with mock.patch.object(diffusion, "sample_noise", lambda *_: noises.pop(0)):
        return [trainer.train_step()["loss"].item() for _ in range(case.last)]


def losses(work: Path, peer: Peer) -> dict:
    """Return how far our losses are from the other script's when fed the same numbers, on a CPU."""
    work = work / "losses"  # a cache of its own: the other's making is timed
    work.mkdir()
    case = Case(work, "quarter", 1, first=0, last=LOSS_STEPS)
    path = work / "record.pt"
    command = peer.command(case, work / "recorded", 0)
    environment = {**peer.environment(), "ACCELERATE_USE_CPU": "True"}
    recording = [HERE / "record_peer.py", path, *command]
    run(recording, work, python=peer.python, **environment)
    record = torch.load(path, weights_only=True)
    theirs = [loss.item() for loss in record["loss"]]
    mine = our_losses(case, record)
    worst = max(abs(a - b) for a, b in zip(mine, theirs, strict=True))
    return {"steps": len(mine), "largest_difference": worst, "ours": mine, "diffusers": theirs}


def main() -> None:
    options, peer = parse_arguments(__doc__)
    peak = highest_peak()
    result = {"device": DEVICE, "matrix_peak_flops_per_second": peak}
    result["losses"] = losses(options.work_dir, peer)
    print(f"losses differ by {result['losses']['largest_difference']:.1e}", flush=True)
    result["models"] = {
        case.model: compare(case, peer, options.rounds, peak) for case in cases(options.work_dir)
    }
    write_result("train_throughput", result)


if __name__ == "__main__":
    main()
