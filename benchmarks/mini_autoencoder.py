"""Claim: mini's autoencoder holds photos it has never seen (those of the validation split).

python benchmarks/mini_autoencoder.py      writes results/mini_autoencoder.json
"""

import numpy as np
import torch
from common import write_result

from tvhelpers.data import flats
from tvhelpers.data.photos import resize
from tvhelpers.data.sources import open_source
from tvhelpers.models.base import find_base, load_part
from tvhelpers.models.mini import RESOLUTION
from tvhelpers.train.pretrain import to_images

vae = load_part(find_base("mini"), "vae")


@torch.no_grad()
def psnr(pixels: np.ndarray) -> list[float]:
    """Return the PSNR in dB of each picture decoded from its mean latents, rounded to levels."""
    found = []
    for batch in np.array_split(pixels, len(pixels) // 16 + 1):
        decoded = vae.decode(vae.encode(to_images(batch)).latent_dist.mean).sample
        levels = ((decoded.clamp(-1, 1) + 1) * 127.5).round()
        errors = (levels - (to_images(batch) + 1) * 127.5).square().mean((1, 2, 3))
        found += (20 * np.log10(255) - 10 * errors.log10()).tolist()
    return found


source = open_source("clothing-small")
chosen = [i for i, split in enumerate(source.splits) if split == "val"]
photos = np.stack([resize(source.pixels(i), RESOLUTION) for i in chosen])
drawn = np.stack([flats.render(flats.random_spec(105, i), 105, i) for i in range(300)])
write_result(
    "mini_autoencoder",
    {
        name: {"n": len(pixels), "psnr_db_mean": np.mean(values), "psnr_db_worst": min(values)}
        for name, pixels in (("photos", photos), ("flats", drawn))
        for values in [psnr(pixels)]
    },
)
