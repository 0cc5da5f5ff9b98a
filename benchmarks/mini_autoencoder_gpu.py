"""Claim: minutes on one GPU give mini a far better autoencoder than the present one.

TV_DATA_DIR=... python benchmarks/mini_autoencoder_gpu.py NEW_FOLDER
python benchmarks/mini_autoencoder_gpu.py --dry-run        a few steps on the CPU, nothing kept

Writes NEW_FOLDER/vae, and results/mini_autoencoder_CARD.json.  Needs the photos of clothing-small,
4 GB of GPU memory, and cores that draw flats (on 12 of them 32,375 flats in 38 s).  The whole step
is compiled, which takes 105 s, and captured in a CUDA graph: batches are drawn, mirrored and made
noisy on the device, so that the host only replays it.  The clock, not a count, ends the training,
so that another machine gives other weights.  The trial of 2026-11-27 kept
recipes/mini/autoencoder_candidate.
"""

import argparse
import copy
import functools
import math
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import write_result
from diffusers import AutoencoderKL
from torch.nn import functional as F

from recipes.mini.build import SIZES
from recipes.mini.losses import autoencoded, patch_colours, to_images
from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.image import resize
from tvhelpers.models.mini import RESOLUTION

# sizes
LATENT_CHANNELS = 16  # 8 lose seams, ribs and thin lines
BLOCKS = (32, 32, 80, 128)  # channels at 128, 64, 32 and 16 px: decodes at the cost of the present
NARROW = -6.0  # log variance of the posterior at first
# data
FLATS, FLAT_SEED = 32_375, 23
PHOTOS = 2_000  # of the training split, chosen by generator 0
FRESH_FLATS, FRESH_SEED = 500, 77001
# batches
BATCH = 60  # cuDNN's kernels change the layout in memory of 64 and more
PHOTOS_IN_BATCH = 6
RECOLOURED = 16  # images of a batch whose channels are shuffled
POOLED = 16  # images of a batch whose latents are also decoded at half the size
# schedule
SECONDS = 158  # 8,580 steps on an H200
LEARNING_RATE = 2e-3
WARM_UP = 150  # steps
DECAY_SHARE = 0.34  # of the time, at its end: the rate falls to nothing
AVERAGE = 0.999  # of the weights' moving average
LED_STEPS = 1000  # in which three channels are pulled towards the patches' colours
# losses: their weights, and the noise added to latents, of each channel's standard deviation
SQUARES, ABSOLUTE, LINES, KL, HALVED = 2.0, 0.2, 0.3, 1e-5, 0.25
NOISE = 0.05


@dataclass(frozen=True)
class Sizes:
    """How much of everything: a trial, or a dry run of the same code."""

    seconds: float = SECONDS
    batch: int = BATCH
    photos: int = PHOTOS_IN_BATCH
    recoloured: int = RECOLOURED
    pooled: int = POOLED


DRY = Sizes(seconds=2, batch=3, photos=1, recoloured=2, pooled=1)


def build() -> AutoencoderKL:
    """Return an autoencoder with random weights and a narrow posterior."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        **{**SIZES["vae"], "block_out_channels": BLOCKS, "latent_channels": LATENT_CHANNELS}
    )
    torch.nn.init.constant_(vae.quant_conv.bias[LATENT_CHANNELS:], NARROW)
    return vae


def draw_flat(seed: int, index: int) -> np.ndarray:
    """Return the pixels of a flat."""
    return flats.render(flats.random_spec(seed, index), seed, index)


def draw_flats(seed: int, count: int) -> np.ndarray:
    """Return flats uint8 (count, 128, 128, 3), drawn on all cores."""
    with multiprocessing.get_context("spawn").Pool(max(1, (os.cpu_count() or 1) - 4)) as pool:
        return np.stack(pool.map(functools.partial(draw_flat, seed), range(count), chunksize=125))


def read_photos(split: str, count: int | None = None) -> np.ndarray:
    """Return photos of clothing-small uint8 (N, 128, 128, 3), at most `count` chosen by chance."""
    source = open_source("clothing-small")
    rows = np.flatnonzero(np.asarray(source.splits) == split)
    if count:
        rows = np.random.default_rng(0).permutation(rows)[:count]
    return np.stack([resize(source.pixels(int(i)), RESOLUTION) for i in rows])


def draw_batch(drawn: torch.Tensor, photos: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """Return photos and flats, some mirrored, as float -1..1 (batch, 3, 128, 128)."""
    device = drawn.device
    chosen = torch.randint(len(drawn), (sizes.batch - sizes.photos,), device=device)
    others = torch.randint(len(photos), (sizes.photos,), device=device)
    pixels = torch.cat([photos[others], drawn[chosen]])
    images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    for axis in (2, 3):
        turned = torch.rand(len(images), 1, 1, 1, device=device) < 0.5
        images = torch.where(turned, images.flip(axis), images)
    order = torch.rand(sizes.recoloured, 3, device=device).argsort(1)[:, :, None, None]
    changed, kept = images.split([sizes.recoloured, sizes.batch - sizes.recoloured])
    changed = changed.gather(1, order.expand_as(changed))
    return torch.cat([changed, kept]).contiguous(memory_format=torch.channels_last)


def decode(vae, latents: torch.Tensor) -> torch.Tensor:
    """Return the images of latents."""
    return vae.decoder(vae.post_quant_conv(latents)).float()


def losses(vae, images, noise, lead, pooled: int) -> torch.Tensor:
    """Return (loss, mean squared error, KL a latent) of a batch."""
    mean, logvar = vae.quant_conv(vae.encoder(images)).float().chunk(2, 1)
    variance = logvar.clamp(-30, 20).exp()
    spread = NOISE * mean.detach().std((0, 2, 3), keepdim=True)
    latents = mean + (variance + spread.square()).sqrt() * noise
    decoded = decode(vae, latents)
    halved = decode(vae, F.avg_pool2d(latents[-pooled:], 2))
    squares = F.mse_loss(decoded, images)
    kl = 0.5 * (mean.square() + variance - 1 - logvar).mean()
    total = SQUARES * squares + ABSOLUTE * F.l1_loss(decoded, images) + KL * kl
    total = total + HALVED * F.mse_loss(halved, F.avg_pool2d(images[-pooled:], 2))
    total = total + lead * F.mse_loss(mean[:, :3], patch_colours(images))
    for axis in (2, 3):
        total = total + LINES * F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    return torch.stack([total, squares.detach(), kl.detach()])


class Training:
    """One autoencoder, its EMA weights and its optimizer, on the device of its images."""

    def __init__(self, vae, drawn: torch.Tensor, photos: torch.Tensor, sizes: Sizes):
        """Move everything to the device; on a GPU also compile the losses."""
        self.drawn, self.photos, self.sizes, self.device = drawn, photos, sizes, drawn.device
        self.vae = vae.to(self.device, memory_format=torch.channels_last).train()
        self.averaged = copy.deepcopy(self.vae).eval().requires_grad_(False)
        self.weights = list(self.vae.parameters())
        self.ema_weights = list(self.averaged.parameters())
        scalars = (torch.zeros((), device=self.device) for _ in range(3))
        self.rate, self.lead, self.follow = scalars
        self.seen = torch.zeros(4, device=self.device)
        cuda = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=self.rate, betas=(0.9, 0.99), fused=True, capturable=cuda
        )
        self.losses = torch.compile(losses, dynamic=False) if cuda else losses
        self.done, self.run = 0, self.step

    def step(self) -> None:
        """Change the weights and their average by one step."""
        self.optimizer.zero_grad(set_to_none=True)
        images = draw_batch(self.drawn, self.photos, self.sizes)
        side = images.shape[2] // 8
        noise = torch.randn(len(images), LATENT_CHANNELS, side, side, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            parts = self.losses(self.vae, images, noise, self.lead, self.sizes.pooled)
        parts[0].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, 1.0, foreach=True)
        self.optimizer.step()
        with torch.no_grad():
            self.seen.copy_(torch.cat([parts.detach(), norm[None]]))
            change = torch._foreach_sub(self.weights, self.ema_weights)
            torch._foreach_mul_(change, self.follow)
            torch._foreach_add_(self.ema_weights, change)

    def capture(self) -> None:
        """Replace the step by the replay of its CUDA graph; a rate of 0 leaves the weights."""
        warm, stream = torch.cuda.Stream(), torch.cuda.current_stream()
        warm.wait_stream(stream)
        with torch.cuda.stream(warm):
            for _ in range(3):
                self.step()
        stream.wait_stream(warm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        for row in self.optimizer.state.values():
            for value in row.values():
                value.zero_()
        self.run = graph.replay

    def train(self) -> list[dict]:
        """Take steps until the time is over; return what was seen, a row about every 5 s."""
        rows, begin, looked = [], time.monotonic(), 0.0
        while (share := (time.monotonic() - begin) / self.sizes.seconds) < 1:
            self._set(share)
            self.run()
            self.done += 1
            if self.done % 20 == 0:  # the queue stays short
                loss, squares, kl, norm = self.seen.tolist()
                if not math.isfinite(loss):
                    raise SystemExit(f"the loss is {loss} at step {self.done}")
                if (now := time.monotonic() - begin) - looked > 5:
                    looked = now
                    rows.append(dict(step=self.done, seconds=now, loss=loss, mse=squares, kl=kl))
                    print(rows[-1], f"norm {norm:.2f}", flush=True)
        return rows

    def _set(self, share: float) -> None:
        """Set the rate, the lead and how fast the average follows, the share that is over."""
        falling = min(1.0, (1 - share) / DECAY_SHARE)
        self.rate.fill_(LEARNING_RATE * min(1, (self.done + 1) / WARM_UP) * falling)
        self.lead.fill_(max(0.0, 1 - self.done / LED_STEPS))
        self.follow.fill_(1 - min(AVERAGE, (1 + self.done) / (10 + self.done)))


def measure(vae, pixels: np.ndarray) -> dict:
    """Return the PSNR in dB over images after encoding and decoding without noise."""
    errors = autoencoded(vae, pixels).astype(float) - pixels
    values = 10 * np.log10(255**2 / np.square(errors).mean((1, 2, 3)))
    return {"n": len(pixels), "psnr_db_mean": values.mean(), "psnr_db_worst": values.min()}


@torch.no_grad()
def latent_statistics(vae, pixels: np.ndarray) -> dict:
    """Return statistics of the images' latents, for a UNet that is trained on them."""
    posterior = vae.encode(to_images(pixels, vae)).latent_dist
    mean = posterior.mean - posterior.mean.mean((0, 2, 3), keepdim=True)
    pairs = {"across": (mean[..., 1:], mean[..., :-1]), "down": (mean[:, :, 1:], mean[:, :, :-1])}
    return {
        "channel_means": posterior.mean.mean((0, 2, 3)).tolist(),
        "channel_stds": posterior.mean.std((0, 2, 3)).tolist(),
        "kl_a_latent": posterior.kl().mean().item() / mean[0].numel(),
        "correlation_of_neighbours": {
            name: F.cosine_similarity(a.flatten(), b.flatten(), 0).item()
            for name, (a, b) in pairs.items()
        },
        "scaling_factor": 1 / posterior.mean.std().item(),
    }


def train_one(drawn: np.ndarray, photos: np.ndarray, sizes: Sizes, device: str) -> tuple:
    """Return (averaged autoencoder in float32, what training it was like)."""
    training = Training(
        build(), torch.from_numpy(drawn).to(device), torch.from_numpy(photos).to(device), sizes
    )
    began = time.monotonic()
    if device == "cuda":
        training.capture()
    prepared = time.monotonic() - began
    log = training.train()
    about = {"compile_seconds": prepared, "steps": training.done, "seconds": sizes.seconds}
    vae = training.averaged.to(memory_format=torch.contiguous_format)
    return vae, {**about, "images_seen": training.done * sizes.batch, "log": log}


def dry_run() -> None:
    """Train for two seconds on a few flats, in place of photos too, and print what comes of it."""
    drawn = np.stack([draw_flat(FLAT_SEED, i) for i in range(8)])
    vae, about = train_one(drawn, drawn, DRY, "cpu")
    print(about, measure(vae, drawn)["psnr_db_mean"], "dB", latent_statistics(vae, drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a new folder for the weights")
    parser.add_argument("--dry-run", action="store_true", help="a few steps, nothing kept")
    options = parser.parse_args()
    if options.dry_run:
        return dry_run()
    if not (options.folder and torch.cuda.is_available()):
        parser.error("needs a folder and a CUDA GPU, or --dry-run")
    options.folder.mkdir(parents=True)
    torch.backends.cudnn.benchmark = True
    drawn, fresh = draw_flats(FLAT_SEED, FLATS), draw_flats(FRESH_SEED, FRESH_FLATS)
    vae, about = train_one(drawn, read_photos("train", PHOTOS), Sizes(), "cuda")
    measured = {"fresh_flats": measure(vae, fresh), "photos": measure(vae, read_photos("val"))}
    latents = latent_statistics(vae, fresh[:256])
    vae.register_to_config(scaling_factor=latents["scaling_factor"])
    copy.deepcopy(vae).cpu().half().save_pretrained(options.folder / "vae")
    card = torch.cuda.get_device_name()
    name = f"mini_autoencoder_{card.split()[1].lower()}"
    write_result(name, {"card": card, **measured, "latents": latents, "training": about})


if __name__ == "__main__":
    main()
