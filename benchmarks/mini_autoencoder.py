"""Claim: mini's autoencoder reproduces photos that it was not trained on (validation split).

python benchmarks/mini_autoencoder.py      writes results/mini_autoencoder.json
"""

import numpy as np
from common import write_result

from recipes.mini.losses import autoencoded
from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.image import resize
from tvhelpers.models.base import find_base, load_part
from tvhelpers.models.mini import RESOLUTION

vae = load_part(find_base("mini"), "vae")


def psnr(pixels: np.ndarray) -> np.ndarray:
    """Return the PSNR in dB of each image after encoding and decoding."""
    errors = autoencoded(vae, pixels).astype(float) - pixels
    return 10 * np.log10(255**2 / np.square(errors).mean((1, 2, 3)))


source = open_source("clothing-small")
chosen = [i for i, split in enumerate(source.splits) if split == "val"]
photos = np.stack([resize(source.pixels(i), RESOLUTION) for i in chosen])
drawn = np.stack([flats.render(flats.random_spec(105, i), 105, i) for i in range(300)])
write_result(
    "mini_autoencoder",
    {
        name: {"n": len(pixels), "psnr_db_mean": values.mean(), "psnr_db_worst": values.min()}
        for name, pixels in (("photos", photos), ("flats", drawn))
        for values in [psnr(pixels)]
    },
)
