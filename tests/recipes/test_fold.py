"""An autoencoder whose latents were folded gives back the same images."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from recipes.mini.fold import fold
from recipes.mini.losses import autoencoded


@pytest.fixture
def vae():
    """An autoencoder with 6 latent channels that vary in 4 directions."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=4,
        latent_channels=6,
    ).eval()
    mix = torch.randn(6, 4) @ torch.randn(4, 12)
    with torch.no_grad():
        vae.quant_conv.weight[:6] = mix[:, :, None, None]
        vae.quant_conv.bias.zero_()
        vae.post_quant_conv.bias.zero_()  # else their means, which padding lacks, change the border
    return vae


def test_dropped_directions_change_no_image(vae):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    with torch.no_grad():
        folded = fold(vae, pixels, 4)
    before, after = (autoencoded(each, pixels).astype(int) for each in (vae, folded))
    assert np.abs(before - after).max() <= 1


def test_latents_are_centred_and_ordered(vae):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    with torch.no_grad():
        folded = fold(vae, pixels, 4)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        posterior = folded.encode(images).latent_dist
    assert posterior.mean.mean((0, 2, 3)).abs().max() < 1e-3
    variances = posterior.mean.var((0, 2, 3))
    assert variances.mean() == pytest.approx(1, rel=1e-3)
    assert (variances.diff() < 0).all()
    assert posterior.logvar.var((0, 2, 3)).max() < 1e-6
