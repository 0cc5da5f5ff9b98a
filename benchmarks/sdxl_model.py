"""Stable Diffusion XL's architecture with random weights, whole or small, for the benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from recipes.mini.build import build_tokenizer

SHARD = "2GB"  # largest file


def build_sdxl(folder: Path, shrink: int, texts: Sequence[str], device: str) -> Path:
    """Save a pipeline in fp16 files, each width divided by `shrink`; the weights are drawn on
    `device`.  The tokenizers know the words of `texts`."""
    if (folder / "model_index.json").exists():
        return folder
    words, other = (build_tokenizer(list(texts), folder / name) for name in ("words", "words_2"))
    other.pad_token = "!"
    widths = [width // shrink for width in (768, 1280)]
    kinds = zip(
        (CLIPTextModel, CLIPTextModelWithProjection), widths, (12, 32), (12, 20), strict=True
    )
    encoders = [
        drawn(partial(kind, text(words, width, layers, heads, shrink)), device)
        for kind, width, layers, heads in kinds
    ]
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    noise = EulerDiscreteScheduler(**betas, steps_offset=1, timestep_spacing="leading")
    vae = drawn(partial(AutoencoderKL, **vae_config(shrink)), device)
    unet = drawn(partial(UNet2DConditionModel, **unet_config(shrink, widths)), device)
    pipe = StableDiffusionXLPipeline(vae, *encoders, words, other, unet, noise)
    pipe.save_pretrained(folder, max_shard_size=SHARD)
    return folder


def drawn(make: Callable[[], torch.nn.Module], device: str) -> torch.nn.Module:
    """Return a model on the CPU with fp16 weights of a usual size, which are drawn on `device`."""
    with torch.device("meta"):
        model = make().half()
    model.to_empty(device=device)
    noise = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, weight[0].numel() ** -0.5, generator=noise)
            else:
                weight.fill_(float(name.endswith("weight")))  # of a norm; a bias is 0
    return model.cpu()


def text(words, width: int, layers: int, heads: int, shrink: int) -> CLIPTextConfig:
    """Return the settings of a text encoder."""
    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, projection_dim=width,
        num_hidden_layers=max(2, layers // shrink), num_attention_heads=max(1, heads // shrink),
        **ids,
    )  # fmt: skip


def unet_config(shrink: int, text_widths: Sequence[int]) -> Mapping:
    """Return the settings of the UNet; the small one has fewer transformer blocks, too."""
    time = 256 // shrink // 2 * 2
    return {
        "sample_size": 128,
        "block_out_channels": [max(32, width // shrink) for width in (320, 640, 1280)],
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10 if shrink == 1 else 2),
        # the number of heads, despite its name (diffusers#2011)
        "attention_head_dim": [max(1, heads // shrink) for heads in (5, 10, 20)],
        "norm_num_groups": 32 if shrink == 1 else 16,
        "cross_attention_dim": sum(text_widths),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": time,
        "projection_class_embeddings_input_dim": 6 * time + text_widths[1],
    }


def vae_config(shrink: int) -> Mapping:
    """Return the settings of the autoencoder."""
    return {
        "block_out_channels": [max(32, width // shrink) for width in (128, 256, 512, 512)],
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 1024,
        "scaling_factor": 0.13025,
        "force_upcast": True,
    }
