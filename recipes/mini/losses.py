"""Which loss is each part of mini trained with?

A loss is a function (data..., model, indices int64 (B,), generator, progress 0..1); `fit` minimises
it after its data were bound with `functools.partial`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from tvhelpers import flats
from tvhelpers.train.clip_tuning import soft_cross_entropy

LATENT_NOISE = 0.05  # of each channel's standard deviation
TEXT_LENGTH = 40  # tokens; captions have fewer (26 at most of 600), and what follows is ignored


def to_images(pixels: np.ndarray, model: torch.nn.Module) -> torch.Tensor:
    """Return uint8 (N, H, W, 3) as float -1..1 (N, 3, H, W), on the model's device, channels last
    in memory."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(next(model.parameters()).device)
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def patch_colours(images: torch.Tensor) -> torch.Tensor:
    """Return lightness, red-blue and green-magenta (N, 3, h/8, w/8) of the means of 8 x 8
    patches."""
    red, green, blue = F.avg_pool2d(images, 8).unbind(1)
    return torch.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2], 1) * 2


@torch.no_grad()
def autoencoded(vae, pixels: np.ndarray) -> np.ndarray:
    """Return images uint8 (N, H, W, 3) after encoding and decoding."""
    batches = np.array_split(pixels, len(pixels) // 16 + 1)
    decoded = [
        vae.decode(vae.encode(to_images(batch, vae)).latent_dist.mean).sample for batch in batches
    ]
    levels = ((torch.cat(decoded).clamp(-1, 1) + 1) * 127.5).round().byte()
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def decoder_loss(pixels: np.ndarray, vae, indices, generator, progress: float) -> torch.Tensor:
    """Return the loss of an AutoencoderKL's decoder, its encoder frozen: squared and absolute
    errors, and those of edges, of images that are mirrored at random.

    Latents get a little noise, as those of a UNet are not exact either.
    """
    images = to_images(pixels[indices], vae)
    if torch.rand(1, generator=generator) < 0.5:
        images = images.flip(3)
    with torch.no_grad():
        mean = vae.encode(images).latent_dist.mean
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    noise = LATENT_NOISE * mean.std((0, 2, 3), keepdim=True) * noise
    decoded = vae.decode(mean + noise).sample.float()
    edges = sum(F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis)) for axis in (2, 3))
    return 2 * F.mse_loss(decoded, images) + 0.2 * F.l1_loss(decoded, images) + 0.3 * edges


# CLIP: symmetric cross-entropy in which every image that a caption is true of is its positive.
# Words outside the captions would all get the same embedding, so each token must also be
# predictable from its state: then a word without an image keeps an embedding of its own.


def clip_loss(
    pixels: np.ndarray,
    specs: Sequence[flats.Spec],
    words: Sequence[str],
    tokenizer,
    clip,
    indices,
    generator,
    progress: float,
) -> torch.Tensor:
    """Return the loss of a CLIPModel on flats: pixels[i] shows specs[i].

    A caption's positives are all items that it is true of (multi-positive soft targets, as in
    UniCL, Yang et al. 2022); `words` are trained as random sequences, without images.  Half of a
    batch are the neighbours of the other half: many differ in one attribute only.
    """
    first = indices[::2]
    indices = np.concatenate([first, (first ^ 1)[: len(indices) // 2] % len(specs)])
    picks = torch.randint(2**31, (len(indices), 6), generator=generator).tolist()
    rngs = [np.random.default_rng(pick[0]) for pick in picks]
    captions = [flats.shop_phrase(specs[i], rng) for i, rng in zip(indices, rngs, strict=True)]
    tokens = encode(tokenizer, [text for text, _ in captions], clip.device)
    logits = clip(pixel_values=to_images(pixels[indices], clip), **tokens).logits_per_image
    named = torch.tensor([[name in names for name in flats.STATED] for _, names in captions])
    shown = [[str(getattr(specs[i], name)) for name in flats.STATED] for i in indices]
    codes = torch.from_numpy(np.unique(shown, return_inverse=True)[1]).reshape(named.shape)
    fits = caption_fits(codes, named).to(clip.device)
    contrast = soft_cross_entropy(logits.T, fits) + soft_cross_entropy(logits, fits.T)
    mixed = [" ".join(words[number % len(words)] for number in pick) for pick in picks[::3]]
    return contrast / 2 + token_loss(clip.text_model, encode(tokenizer, mixed, clip.device))


def caption_fits(codes: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
    """Return float (N, N), 1 where the caption of item i is true of item j.

    codes: int (N, A), equal for the same word; named: bool (N, A), attributes in the caption.
    """
    return ((codes[:, None] == codes[None]) | ~named[:, None]).all(2).float()


def token_loss(text_model, tokens: dict) -> torch.Tensor:
    """Return the cross-entropy of predicting each token from its state and the embedding table."""
    states = text_model(**tokens).last_hidden_state
    logits = states @ text_model.embeddings.token_embedding.weight.T
    read = tokens["attention_mask"].bool()
    return F.cross_entropy(logits[read].float(), tokens["input_ids"][read])


def encode(tokenizer, texts: list[str], device) -> dict[str, torch.Tensor]:
    """Return {input_ids, attention_mask} int64 (N, TEXT_LENGTH) on the device."""
    tokens = tokenizer(
        texts, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
    )
    return {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}


def judge_loss(
    pixels: np.ndarray, labels: dict[str, np.ndarray], judge, indices, generator, progress: float
) -> torch.Tensor:
    """Return the loss of a Judge, labels[head] int64 (N,): the cross-entropies of its heads, on
    images with random shift, mirroring and noise."""
    images = to_images(pixels[indices], judge)
    shift = torch.randint(-6, 7, (2,), generator=generator).tolist()
    images = torch.roll(images, shift, (2, 3))
    if torch.rand(1, generator=generator) < 0.5:
        images = images.flip(3)
    images = images + 0.1 * torch.randn(images.shape, generator=generator).to(images.device)
    wanted = {head: torch.from_numpy(labels[head][indices]) for head in judge.heads}
    return sum(
        F.cross_entropy(logits.float(), wanted[head].to(images.device))
        for head, logits in judge(images).items()
    )
