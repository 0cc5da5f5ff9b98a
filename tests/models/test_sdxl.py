"""Stable Diffusion XL: two text encoders, pooled text, sizes, and its own scheduler."""

import shutil
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

from tests.helpers import refused
from tvhelpers import manifest
from tvhelpers.config import build_config
from tvhelpers.models.architecture import SDXL
from tvhelpers.models.base import (
    base_digest,
    find_base,
    load_part,
    load_pipeline,
    own_resolution,
    text_digest,
    unet_digest,
    with_text_encoder,
)
from tvhelpers.records import read_json, write_json
from tvhelpers.sample.decoding import guard_vae
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.trainer import train

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
    assert base.architecture is SDXL and own_resolution(base) == 128 and base.guidance == 5
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


def test_a_preview_is_what_the_drawing_looks_like_so_far(tiny_sdxl):
    sampler, seen = Sampler(str(tiny_sdxl), device="cpu"), []
    look = lambda step: seen.append(np.asarray(sampler.preview()).astype(int))  # noqa: E731
    drawn = next(sampler.sample(Request(PROMPTS, steps=5), on_step=look))[3]
    off = [np.abs(one - np.asarray(drawn)).mean() for one in seen]
    assert len(seen) == 5 and off[-1] < min(off[0], 2)
    assert np.array_equal(drawn, next(sampler.sample(Request(PROMPTS, steps=5)))[3])


def test_a_vae_that_overflows_in_fp16_decodes_in_float32(tiny_sdxl):
    base, latents = find_base(str(tiny_sdxl)), torch.randn(1, 4, 8, 8)
    vae = load_part(base, "vae")
    with torch.no_grad():
        vae.decoder.conv_in.weight *= 1e5  # values beyond fp16
        wanted = vae.decode(latents).sample
        guard_vae(vae.half(), base)
        for is_autocast in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
                seen = vae.decode(latents.half()).sample
            assert (
                vae.dtype == torch.float16 and torch.cosine_similarity(seen, wanted).mean() > 0.99
            )
        vae = load_part(base, "vae")
        vae.decoder.conv_in.weight *= 1e5
        vae.register_to_config(force_upcast=False)  # as of one that was changed for fp16
        guard_vae(vae.half(), base)
        for values, part in ((latents.half(), "VAE"), (latents.half() * torch.nan, "UNet")):
            with refused("not-finite") as caught:
                vae.decode(values)
            assert f"the {part} of" in str(caught.value)
        guard_vae(vae := load_part(base, "vae"), base)
        vae.decoder.conv_in.weight.mul_(torch.nan)
        with refused("not-finite") as caught:
            vae.decode(latents)
        assert "damaged" in str(caught.value)  # as another dtype would not help


@pytest.mark.parametrize("changes", [dict(classes="category"), {}], ids=["classes", "none"])
def test_a_baseline_is_drawn_with_the_zeros_that_it_was_trained_with(changes, tiny_sdxl, tmp_path):
    config = build_config(
        base=str(tiny_sdxl), method="baseline", data="flats", limit=24, steps=1, batch_size=4,
        eval_items=4, device="cpu", resolution=64, **changes,
    )  # fmt: skip
    train(config, tmp_path, root=tmp_path)
    sampler, asked = Sampler(str(tmp_path / "pipeline"), "none", "cpu"), []
    forward = sampler.pipe.unet.forward
    sampler.pipe.unet.forward = lambda *a, **k: asked.append(k) or forward(*a, **k)
    prompt = f"category={sampler.classes.words[0][0]}" if changes else "a red dress"
    list(sampler.sample(Request((prompt,), steps=1, guidance=3)))
    assert not asked[0]["encoder_hidden_states"].any()
    assert not asked[0]["added_cond_kwargs"]["text_embeds"].any()


def test_files_in_half_precision_alone_are_read(tiny_sdxl, stock, tmp_path):
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny_sdxl).to(torch.float16)
    pipe.save_pretrained(tmp_path / "half", variant="fp16")
    base, half = find_base(str(tiny_sdxl)), find_base(str(tmp_path / "half"))
    assert base_digest(base) == base_digest(half)
    for part in ("unet", "vae", *SDXL.text_encoders):
        own, other = load_part(base, part).state_dict(), load_part(half, part).state_dict()
        for name, weight in own.items():
            assert other[name].dtype == torch.float32
            assert torch.equal(weight.half().float(), other[name])
    assert load_part(half, "unet", torch.bfloat16).dtype == torch.bfloat16
    shutil.copytree(tiny_sdxl, tmp_path / "both")
    shutil.copytree(tmp_path / "half" / "unet", tmp_path / "both" / "unet", dirs_exist_ok=True)
    both = find_base(str(tmp_path / "both"))
    assert torch.equal(*(load_part(one, "unet").conv_in.weight for one in (base, both)))
    row = replace(both, prefers_fp16=True)
    assert torch.equal(*(load_part(one, "unet").conv_in.weight for one in (half, row)))
    assert manifest.entries()["sdxl"]["variant"] == "fp16" and find_base("sdxl").prefers_fp16


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"_class_name": "StableDiffusionXLImg2ImgPipeline"}, "unknown-family", "Pipeline"),
        ({"_class_name": "StableDiffusionXLInpaintPipeline"}, "unknown-family", "Pipeline"),
        ("unet", "base-unreadable", "'unet'"),
        ("text_encoder_2", "base-unreadable", "'text_encoder_2'"),
        ("tokenizer_2", "base-unreadable", "'tokenizer_2'"),
    ],
    ids=["refiner", "inpainting", "unet", "encoder", "tokenizer"],
)
def test_a_base_that_is_not_whole_is_refused(change, code, said, tiny_sdxl, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(tiny_sdxl, folder)
    if isinstance(change, str):
        shutil.rmtree(folder / change)
    else:
        index = read_json(folder / "model_index.json")
        write_json(folder / "model_index.json", index | change)
    with refused(code) as caught:
        list(Sampler(str(folder), device="cpu").sample(Request(PROMPTS, steps=1)))
    assert said in str(caught.value) and len(str(caught.value)) < 400


def test_a_unet_for_inpainting_is_refused(tiny_sdxl, tmp_path):
    shutil.copytree(tiny_sdxl, tmp_path / "base")
    config = read_json(tiny_sdxl / "unet" / "config.json")
    unet = diffusers.UNet2DConditionModel.from_config(config, in_channels=9)
    unet.save_pretrained(tmp_path / "base" / "unet")
    with refused("no-checkpoint") as caught:
        load_pipeline(find_base(str(tmp_path / "base")))
    assert "9 channels" in str(caught.value)


def test_a_tuned_clip_replaces_the_encoder_that_is_as_wide(tiny_sdxl, tmp_path):
    base = find_base(str(tiny_sdxl))
    for part in SDXL.text_encoders:
        encoder = load_part(base, part)
        with torch.no_grad():
            next(encoder.parameters()).add_(1)
        encoder.save_pretrained(tmp_path / part / "clip")
        tuned = with_text_encoder(base, str(tmp_path / part))
        assert tuned.tuned_part == part and text_digest(tuned) == unet_digest(encoder)
        other = next(own for own in SDXL.text_encoders if own != part)
        first, second = (load_part(one, other).state_dict() for one in (base, tuned))
        assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    config = CLIPTextConfig(hidden_size=64, num_attention_heads=2, num_hidden_layers=1)
    CLIPTextModel(config).save_pretrained(tmp_path / "wide" / "clip")
    with refused("text-encoder-unfit") as caught:
        with_text_encoder(base, str(tmp_path / "wide"))
    assert "32 or 48" in str(caught.value)


@pytest.mark.parametrize("pooled", [40, 24])
def test_a_whole_clip_gives_the_second_encoder_with_its_projection(pooled, tiny_sdxl, tmp_path):
    base = find_base(str(tiny_sdxl))
    side = dict(intermediate_size=64, num_hidden_layers=3, num_attention_heads=2)
    text = side | dict(hidden_size=48, vocab_size=len(load_part(base, "tokenizer")))
    vision = side | dict(hidden_size=32, image_size=32, patch_size=16)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=pooled)
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    if pooled == 40:
        tuned = with_text_encoder(base, str(tmp_path))
        encoder = load_part(tuned, "text_encoder_2")
        assert tuned.tuned_part == "text_encoder_2" and encoder.config.projection_dim == pooled
        return
    with refused("text-encoder-unfit"):
        with_text_encoder(base, str(tmp_path))
