"""Train mini's parts but its UNet: autoencoder, CLIP, judge; each goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tvhelpers import flats
from tvhelpers.runtime import computes_bfloat16, seed_for
from tvhelpers.train.checkpoint import load_checkpoint, save_checkpoint
from tvhelpers.train.clip_tuning import soft_cross_entropy
from tvhelpers.train.schedule import rate_factor


@dataclass(frozen=True)
class FitConfig:
    """Settings of one part's training (AdamW, one-cycle learning rate)."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of the steps until the learning rate is reached
    autocast: bool = True  # bfloat16 where it is safe, and the device has it
    checkpoint_minutes: float = 2.0
    seed: int = 0
    device: str = "cpu"


def fit(
    model: nn.Module, loss_of: Callable, count: int, config: FitConfig, work_dir: Path
) -> nn.Module:
    """Minimise loss_of(model, indices int64 (batch_size,), generator, progress 0..1).

    The batch and the generator of a step depend on (seed, step) alone, so that a training which was
    stopped and run again gives what an unbroken one gives.  Checkpoints are kept in `work_dir`.
    """
    model = model.to(config.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    start = _restore(model, optimizer, work_dir)
    autocast = config.autocast and computes_bfloat16(config.device)
    saved = logged = time.monotonic()
    for step in range(start, config.steps):
        generator = torch.Generator().manual_seed(seed_for(config.seed, "fit", step))
        indices = torch.randint(count, (config.batch_size,), generator=generator)
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate_factor(
            step, config.steps, round(config.warmup * config.steps)
        )
        with torch.autocast(config.device, torch.bfloat16, enabled=autocast):
            loss = loss_of(model, indices.numpy(), generator, step / config.steps)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        now = time.monotonic()
        if now - logged > 15 or step + 1 == config.steps:
            print(
                f"{work_dir.name}: step {step + 1}/{config.steps}, loss {loss.item():.4f}",
                flush=True,
            )
            logged = now
        if now - saved > 60 * config.checkpoint_minutes or step + 1 == config.steps:
            _save(model, optimizer, step + 1, work_dir)
            saved = now
    return model.eval()


def _save(model, optimizer, step: int, work_dir: Path) -> None:
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    save_checkpoint(work_dir, step, state, keep=1)


def _restore(model, optimizer, work_dir: Path) -> int:
    state = load_checkpoint(work_dir)
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def to_images(pixels: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """Return uint8 (N, H, W, 3) as float -1..1 (N, 3, H, W), channels last in memory."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    return images.float() / 127.5 - 1


# Autoencoder: L2 + L1 on pixels and a hint of KL.  Left alone, a small one learns light and dark
# within minutes and colours much later, so at first it is led: three latent channels are pulled
# towards the lightness and the two colour axes of their 8 x 8 patch.  Then it is trained on details
# of all kinds, so that it can hold what it has never seen.  Last, its decoder alone learns to draw
# every season's patterns from the latents as they are.


def autoencoder_loss(pixels: np.ndarray, device: str, kl_weight: float = 1e-5) -> Callable:
    """Return the loss for `fit` of an AutoencoderKL on `pixels` uint8 (N, H, W, 3)."""

    def loss_of(vae, indices, generator, progress):
        images = to_images(pixels[indices], device)
        decoded, posterior = _sampled(vae, images, generator)
        lead = F.mse_loss(posterior.mean[:, :3].float(), patch_colours(images))
        lead = max(0.0, 1 - progress / LED_SHARE) * lead
        return _pixel_loss(decoded, images) + kl_weight * _kl(posterior) + lead

    return loss_of


def detail_loss(
    whole: np.ndarray, large: np.ndarray, device: str, kl_weight: float = 1e-5
) -> Callable:
    """Return the loss for `fit` of an AutoencoderKL on pictures as they are and on details.

    Half of a batch are pictures of `whole` uint8 (N, H, H, 3), half crops of H pixels of the larger
    `large` (N, L, L, 3), all turned, mirrored and with their channels in any order.
    """

    def loss_of(vae, indices, generator, progress):
        """Return the loss of a batch, as `fit` asks for it."""
        side, (seen, cut) = whole.shape[1], np.array_split(indices, 2)
        top, left = torch.randint(
            large.shape[1] - side + 1, (2, len(cut)), generator=generator
        ).tolist()
        crops = [large[i, y : y + side, x : x + side] for i, y, x in zip(cut, top, left)]
        images = to_images(np.concatenate([whole[seen], crops]), device)
        turns, mirrored = torch.randint(4, (2,), generator=generator).tolist()
        images = torch.rot90(images, turns, (2, 3))
        images = images.flip(3) if mirrored % 2 else images
        images = images[:, torch.randperm(3, generator=generator)]
        decoded, posterior = _sampled(vae, images, generator)
        loss = _pixel_loss(decoded, images) + kl_weight * _kl(posterior)
        return loss + _line_loss(decoded, images)

    return loss_of


def decoder_loss(pixels: np.ndarray, device: str) -> Callable:
    """Return the loss for `fit` of an AutoencoderKL whose encoder stays as it is.

    Latents get a little more noise than their posterior has, because those of a sampler are never
    exact either.
    """

    def loss_of(vae, indices, generator, progress):
        images = to_images(pixels[indices], device)
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.mean
        noise = torch.randn(latents.shape, generator=generator).to(device)
        noise *= LATENT_NOISE / vae.config.scaling_factor
        decoded = vae.decode(latents + noise).sample.float()
        return _pixel_loss(decoded, images) + _line_loss(decoded, images)

    return loss_of


def _sampled(vae, images, generator):
    """Return (decoded images float32, posterior) of one sample of each posterior."""
    posterior = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
    return vae.decode(posterior.mean + posterior.std * noise).sample.float(), posterior


@torch.no_grad()
def autoencoded(vae, pixels: np.ndarray) -> np.ndarray:
    """Return pictures uint8 (N, H, W, 3) as the autoencoder gives them back."""
    decoded = [
        vae.decode(vae.encode(to_images(batch, str(vae.device))).latent_dist.mean).sample
        for batch in np.array_split(pixels, len(pixels) // 16 + 1)
    ]
    levels = ((torch.cat(decoded).clamp(-1, 1) + 1) * 127.5).round().byte()
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def _pixel_loss(decoded, images) -> torch.Tensor:
    return F.mse_loss(decoded, images) + 0.2 * F.l1_loss(decoded, images)


def _line_loss(decoded, images) -> torch.Tensor:
    """Return what keeps lines sharp: the error in the differences of neighbouring pixels."""
    return 0.3 * sum(F.l1_loss(decoded.diff(dim=d), images.diff(dim=d)) for d in (2, 3))


def _kl(posterior) -> torch.Tensor:
    return posterior.kl().mean() / posterior.mean[0].numel()


LED_SHARE = 0.4  # of the steps
LATENT_NOISE = 0.1  # of the latents' standard deviation


def patch_colours(images: torch.Tensor) -> torch.Tensor:
    """Return lightness, red-blue and green-magenta (N, 3, h/8, w/8) of 8 x 8 patches' means."""
    red, green, blue = F.avg_pool2d(images, 8).unbind(1)
    return torch.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2], 1) * 2


@torch.no_grad()
def latent_scale(vae, pixels: np.ndarray) -> float:
    """Return 1 / standard deviation of the latents of `pixels`, for `vae.config.scaling_factor`."""
    latents = [
        vae.encode(to_images(batch, str(vae.device))).latent_dist.mean
        for batch in np.array_split(pixels, len(pixels) // 32 + 1)
    ]
    return 1 / torch.cat(latents).float().std().item()


# CLIP: symmetric cross-entropy where every image that fits a caption counts as its partner.
# Trained on captions alone, it would take all other words for the same nothing; so that a word that
# has no picture yet stays a word of its own, each token must also be readable from its state.


def clip_loss(
    pixels: np.ndarray, specs: Sequence, words: Sequence[str], tokenizer, device: str
) -> Callable:
    """Return the loss for `fit` of a CLIPModel on flats: pixels[i] shows specs[i].

    A caption's positives are all items that have what it states (multi-positive soft targets, as in
    UniCL, Yang et al. 2022); `words` are met in random order, as text only.
    """
    stated = [flats.phrasings(spec) for spec in specs]
    values = [[str(getattr(spec, name)) for name in flats.ATTRIBUTES] for spec in specs]
    codes = torch.from_numpy(
        np.stack([np.unique(v, return_inverse=True)[1] for v in zip(*values)], 1)
    )

    def loss_of(clip, indices, generator, progress):
        """Return the loss of a batch, as `fit` asks for it."""
        picks = torch.randint(2**31, (len(indices), 6), generator=generator).tolist()
        captions = [stated[i][pick[0] % len(stated[i])] for i, pick in zip(indices, picks)]
        said = torch.tensor([[name in names for name in flats.ATTRIBUTES] for _, names in captions])
        tokens = encode(tokenizer, [text for text, _ in captions], device)
        logits = clip(pixel_values=to_images(pixels[indices], device), **tokens).logits_per_image
        fits = caption_fits(codes[indices], said).to(device)
        contrast = soft_cross_entropy(logits.T, fits) + soft_cross_entropy(logits, fits.T)
        mixed = [" ".join(words[number % len(words)] for number in pick) for pick in picks[::3]]
        return contrast / 2 + token_loss(clip.text_model, encode(tokenizer, mixed, device))

    return loss_of


def caption_fits(codes: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """Return 1.0 (N, N) where item j has all that the caption of item i says of it.

    codes: int (N, A), equal where items have the same word; said: bool (N, A).
    """
    return ((codes[:, None] == codes[None]) | ~said[:, None]).all(2).float()


def token_loss(text_model, tokens: dict) -> torch.Tensor:
    """Return the cross-entropy of reading each token from its state, by the table of embeddings."""
    states = text_model(**tokens).last_hidden_state
    logits = states @ text_model.embeddings.token_embedding.weight.T
    read = tokens["attention_mask"].bool()
    return F.cross_entropy(logits[read].float(), tokens["input_ids"][read])


def encode(tokenizer, texts: list[str], device: str) -> dict[str, torch.Tensor]:
    """Return {input_ids, attention_mask} int64 (N, TEXT_LENGTH) on the device."""
    tokens = tokenizer(
        texts, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
    )
    return {
        "input_ids": tokens.input_ids.to(device),
        "attention_mask": tokens.attention_mask.to(device),
    }


TEXT_LENGTH = 32  # tokens; mini's captions are shorter, and causal attention ignores what follows


# Judge: one cross-entropy a head, on images shifted, mirrored and made noisy so that style does not
# matter.


def judge_loss(pixels: np.ndarray, labels: dict[str, np.ndarray], device: str) -> Callable:
    """Return the loss for `fit` of a Judge: labels[head] int64 (N,)."""

    def loss_of(judge, indices, generator, progress):
        """Return the loss of a batch, as `fit` asks for it."""
        images = to_images(pixels[indices], device)
        shift = torch.randint(-6, 7, (2,), generator=generator).tolist()
        images = torch.roll(images, shift, (2, 3))
        if torch.rand(1, generator=generator) < 0.5:
            images = images.flip(3)
        images = images + 0.1 * torch.randn(images.shape, generator=generator).to(device)
        logits = judge(images)
        return sum(
            F.cross_entropy(
                logits[head].float(), torch.from_numpy(labels[head][indices]).to(device)
            )
            for head in judge.heads
        )

    return loss_of
