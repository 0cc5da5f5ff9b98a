"""A small Stable Diffusion XL of random weights in the stock layout: python tiny_sdxl.py FOLDER."""

import sys
from pathlib import Path

import diffusers as d
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from recipes.mini.build import build_tokenizer

WIDTHS, POOLED = (32, 48), 40  # hidden sizes of the text encoders; of the pooled vector
SIDE = 16  # latents a side
CAPTIONS = ["a red dress", "a blue striped skirt"]


def write_sdxl(folder: Path, seed: int = 0) -> None:
    """Write a pipeline with the parts, files and config keys of the stock base: two tokenizers that
    pad with different tokens, a UNet with pooled text and sizes, a VAE whose config says that fp16
    overflows."""
    words = build_tokenizer(CAPTIONS, folder.with_name("words"))
    other = build_tokenizer(CAPTIONS, folder.with_name("words_2"))
    other.pad_token = "!"  # as stock: of another id than the end of the text
    torch.manual_seed(seed)
    first, second = (_text(words, width) for width in WIDTHS)
    betas = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    noise = d.EulerDiscreteScheduler(**betas, steps_offset=1, timestep_spacing="leading")
    encoders = CLIPTextModel(first), CLIPTextModelWithProjection(second)
    parts = _vae(), *encoders, words, other, _unet(), noise
    d.StableDiffusionXLPipeline(*parts).save_pretrained(folder)


def _text(words, width: int) -> CLIPTextConfig:
    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3,
        num_attention_heads=2, projection_dim=POOLED, **ids,
    )  # fmt: skip


def _unet() -> d.UNet2DConditionModel:
    return d.UNet2DConditionModel(
        sample_size=SIDE, block_out_channels=(32, 64), layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=(2, 4),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 2),
        cross_attention_dim=sum(WIDTHS), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + POOLED,
    )  # fmt: skip


def _vae() -> d.AutoencoderKL:
    return d.AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, sample_size=8 * SIDE,
        latent_channels=4, scaling_factor=0.13025, force_upcast=True,
    )  # fmt: skip


if __name__ == "__main__":
    write_sdxl(Path(sys.argv[1]))
