"""Stable Diffusion XL: two text encoders, pooled text, sizes, and its own scheduler."""

import diffusers
import numpy as np
import pytest
import torch

from tvhelpers.models.architecture import SDXL
from tvhelpers.models.base import find_base, load_pipeline, own_resolution
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

PROMPTS = ("a red dress", "a blue skirt")


@pytest.fixture(scope="module")
def stock(tiny_sdxl):
    """The stock pipeline of the small base."""
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_slicing()  # one image after the other, as in any batch here
    return pipe


def test_a_prompt_is_encoded_as_in_the_stock_pipeline(tiny_sdxl, stock):
    base = find_base(str(tiny_sdxl))
    assert base.architecture is SDXL and own_resolution(base) == 128
    pipe = load_pipeline(base)
    encoders = [getattr(pipe, part) for part in SDXL.text_encoders]
    options = dict(padding="max_length", truncation=True, return_tensors="pt")
    words = [getattr(pipe, part) for part in SDXL.tokenizers]
    ids = [one(list(PROMPTS), max_length=77, **options).input_ids for one in words]
    assert not torch.equal(*ids)  # they pad with different tokens
    with torch.no_grad():
        wanted = stock.encode_prompt(list(PROMPTS), do_classifier_free_guidance=False)
        seen = SDXL.encode_text(encoders, ids)
    for own, other in zip(seen, (wanted[0], wanted[2]), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("negative", ["", "a blue skirt"])
def test_images_equal_those_of_the_stock_pipeline(tiny_sdxl, stock, negative):
    request = Request(PROMPTS, seed=3, steps=4, guidance=6.0, negative_prompt=negative)
    drawn = [image for *_, image in Sampler(str(tiny_sdxl), device="cpu").sample(request)]
    wanted = stock(
        list(PROMPTS),
        negative_prompt=[negative] * 2 if negative else None,
        num_inference_steps=4,
        guidance_scale=6.0,
        generator=[torch.Generator().manual_seed(3) for _ in PROMPTS],
    ).images
    for own, other in zip(drawn, wanted, strict=True):
        assert own.size == (128, 128) and np.asarray(own).std() > 5
        assert np.array_equal(np.asarray(own), np.asarray(other))
