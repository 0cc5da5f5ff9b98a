"""Images that are taller than wide are those of stock diffusers."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler


@pytest.mark.parametrize("base", ["tiny_base", "tiny_sdxl"])
def test_a_tall_image_is_that_of_the_stock_pipeline(base, request, monkeypatch):
    path, decoded = request.getfixturevalue(base), []
    own = Sampler(str(path), device="cpu")
    stock = DiffusionPipeline.from_pretrained(path)
    stock.scheduler = type(own.pipe.scheduler).from_config(own.pipe.scheduler.config)
    decode = own.pipe.vae.decode
    monkeypatch.setattr(
        own.pipe.vae, "decode", lambda x, **how: decoded.append(x) or decode(x, **how)
    )
    wanted = Request(("a tall dress",), seed=7, steps=3, guidance=3, width=64, height=96)
    image = next(own.sample(wanted))[3]
    how = {"width": 64, "height": 96, "num_inference_steps": 3, "guidance_scale": 3}
    latents, theirs = (
        stock(
            "a tall dress", **how, generator=torch.Generator().manual_seed(7), output_type=kind
        ).images[0]
        for kind in ("latent", "pil")
    )
    assert image.size == (64, 96) and latents.shape[1:] == (12, 8)
    scale = own.pipe.vae.config.scaling_factor
    torch.testing.assert_close(decoded[0][0] * scale, latents, atol=1e-4, rtol=0)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(theirs)).max() <= 1
