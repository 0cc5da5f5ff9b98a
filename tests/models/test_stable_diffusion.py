"""The full Stable Diffusion 1.5 architecture with random weights: it loads, trains and draws."""

import json
import subprocess
import sys

import pytest
import torch

STEP = """
import json, resource, sys
from tvhelpers.config import build_config
from tvhelpers.sample.request import Request
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.trainer import train

base, photos, out = sys.argv[1:]
config = build_config(base=base, data=photos, steps=1, batch_size=1, resolution=128, eval_items=1,
                      limit=8, held_out=0.3, device="cpu", eval_steps=0)
train(config, out + "/run")
sampler = Sampler(base, out + "/run/adapter.safetensors", device="cpu")
request = Request(("a red dress",), steps=2, size=128)
records = generate(sampler, request, out + "/images")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"records": records, "peak_bytes": peak}))
"""


@pytest.fixture(scope="module")
def sd15_folder(tmp_path_factory):
    """SD 1.5's architecture (860 M parameters in the UNet) as an fp16 folder of random weights."""
    from diffusers import (
        AutoencoderKL,
        PNDMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    from recipes.mini.build import build_tokenizer

    folder = tmp_path_factory.mktemp("sd15")
    tokenizer = build_tokenizer(["a red dress"], folder / "words")
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )  # fmt: skip
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    )
    assert sum(weight.numel() for weight in unet.parameters()) == 859_520_964  # SD 1.5's
    parts = (vae, CLIPTextModel(text), tokenizer, unet, scheduler, None, None)
    pipe = StableDiffusionPipeline(*parts, requires_safety_checker=False)
    pipe.to(torch.float16).save_pretrained(folder / "base")
    return folder / "base"


@pytest.mark.slow
def test_load_one_training_step_two_sampling_steps_under_20_gb(sd15_folder, photo_folder, tmp_path):
    command = [sys.executable, "-c", STEP, str(sd15_folder), str(photo_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["peak_bytes"] < 20e9
    assert result["records"][0]["adapter_sha256"]
    print(f"peak memory {result['peak_bytes'] / 1e9:.1f} GB")
