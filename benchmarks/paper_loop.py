"""The paper's way to train, as a loop: the preset "paper" (all of the UNet, float32, AdamW at a
constant 5e-5, plain loss) without our trainer: every image and caption is encoded in each step.

python benchmarks/paper_loop.py BASE_DIR DATA_DIR RESOLUTION BATCH STEPS
"""

import sys

import numpy as np
import torch

from tvhelpers.config import build_config
from tvhelpers.data.sources import open_source
from tvhelpers.image import resize
from tvhelpers.models.base import find_base, load_part
from tvhelpers.train import diffusion


def encode_text(tokenizer, text_encoder, texts: list[str]) -> torch.Tensor:
    """Return the text states (N, tokens, d) in float32."""
    length = tokenizer.model_max_length
    how = {"padding": "max_length", "truncation": True, "max_length": length}
    ids = tokenizer(texts, **how, return_tensors="pt").input_ids
    return text_encoder(ids.to(text_encoder.device))[0]


def main() -> None:
    base_dir, data_dir, *numbers = sys.argv[1:]
    resolution, batch_size, steps = map(int, numbers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base, source = find_base(base_dir), open_source(data_dir)
    unet, vae, text = (load_part(base, p).to(device) for p in ("unet", "vae", "text_encoder"))
    tokenizer, scheduler = load_part(base, "tokenizer"), load_part(base, "scheduler")
    alphas = scheduler.alphas_cumprod.to(device)
    rate = build_config("paper", method="full").learning_rate
    optimizer = torch.optim.AdamW(unet.train().parameters(), lr=rate)
    order = np.random.default_rng(0).permutation(len(source))
    for step in range(steps):
        items = order[(step * batch_size + np.arange(batch_size)) % len(order)]
        pixels = np.stack([resize(source.pixels(int(i)), resolution) for i in items])
        images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.sample() * vae.config.scaling_factor
            embeds = encode_text(tokenizer, text, [source.captions[i] for i in items])
        noise = torch.randn_like(latents)
        timesteps = torch.randint(len(alphas), (batch_size,), device=device)
        noisy = diffusion.add_noise(latents, noise, timesteps, alphas)
        target = diffusion.prediction_target(
            latents, noise, timesteps, alphas, scheduler.config.prediction_type
        )
        loss = diffusion.sample_losses(unet(noisy, timesteps, embeds).sample, target).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}/{steps}  loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
