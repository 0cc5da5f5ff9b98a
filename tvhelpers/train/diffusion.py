"""What is the diffusion loss?  Pure functions: timesteps, noise, noisy latents, targets, weights.

Shapes: latents, noise (N, c, h, w); timesteps int64 (N,); alphas_cumprod float (T,).
"""

import torch

PREDICTION_TYPES = ("epsilon", "v_prediction")


def sample_noise(
    shape: tuple[int, ...], num_timesteps: int, seeds: list[int], offset: float = 0.0
) -> tuple[torch.Tensor, ...]:
    """Return (posterior noise, noise, timesteps); row i depends on seeds[i] alone.

    Drawn on the CPU, so that a sample's noise depends neither on the device nor on its batch.  With
    `offset`, each channel's noise is shifted by a normal number times it (crosslabs.org/blog,
    "Diffusion with offset noise", 2023).
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        posterior, noise = torch.randn((2, *shape), generator=generator)
        timestep = torch.randint(num_timesteps, (), generator=generator)
        if offset:
            noise = noise + offset * torch.randn((shape[0], 1, 1), generator=generator)
        rows.append((posterior, noise, timestep))
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def sample_latents(moments, posterior_noise, scaling_factor: float):
    """Return scaled latents (N, c, h, w) of VAE moments (N, 2c, h, w): mean, then log variance."""
    mean, logvar = moments.chunk(2, 1)
    # the bounds of diffusers' DiagonalGaussianDistribution
    std = torch.exp(0.5 * logvar.clamp(-30, 20))
    return (mean + std * posterior_noise) * scaling_factor


def add_noise(latents, noise, timesteps, alphas_cumprod):
    """Return sqrt(a) latents + sqrt(1 - a) noise (Ho et al. 2020, eq. 4)."""
    a = _per_sample(alphas_cumprod, timesteps)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def prediction_target(latents, noise, timesteps, alphas_cumprod, prediction_type: str):
    """Return the target of the UNet: the noise, or v (Salimans & Ho 2022, section 4).

    Raises ValueError for a prediction type other than "epsilon" and "v_prediction".
    """
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        a = _per_sample(alphas_cumprod, timesteps)
        return a.sqrt() * noise - (1 - a).sqrt() * latents
    raise ValueError(f"prediction type {prediction_type!r} is neither epsilon nor v_prediction")


def min_snr_weight(timesteps, alphas_cumprod, gamma: float, prediction_type: str):
    """Return the Min-SNR weight (N,) of each sample; ones for gamma = 0 (Hang et al. 2023, section
    3.4).

    At pure noise (SNR 0) the weight is 1 instead of 0: the brightness of an image is learned there,
    which is the purpose of zero terminal SNR.
    """
    if gamma == 0:
        return torch.ones(len(timesteps), device=timesteps.device)
    a = alphas_cumprod[timesteps]
    snr = a / (1 - a)
    weight = snr.clamp(max=gamma) / (snr + 1 if prediction_type == "v_prediction" else snr)
    return torch.where(snr == 0, 1.0, weight)


def huber_thresholds(timesteps, alphas_cumprod, c: float, schedule: str):
    """Return the threshold (N,) of each sample's Huber loss, 1 without noise and about `c` in the
    noisiest, or for the schedule "constant" always `c` (Khrapov et al. 2024, section 3)."""
    if schedule == "constant":
        return torch.full(timesteps.shape, c, device=timesteps.device)
    if schedule == "exponential":
        return c ** (timesteps / len(alphas_cumprod))
    a = alphas_cumprod[timesteps]
    return (1 - c) / (1 + ((1 - a) / a).sqrt()) ** 2 + c


def pseudo_huber(squared, thresholds, kind: str):
    """Return 2 c (sqrt(error^2 + c^2) - c) of squared errors (N, c, h, w), for the kind "smooth_l1"
    without the factor c; `thresholds` (N,) are the c."""
    c = thresholds[:, None, None, None]
    return 2 * (c if kind == "huber" else 1) * ((squared + c * c).sqrt() - c)


def sample_losses(prediction, target, pixel_weights=None, change=None):
    """Return the mean squared error (N,) of each sample, in float32; with `change`, the mean of
    that function of the squared errors.

    With `pixel_weights` (N, h, w) it is sum(w * error) / sum(w), so a small garment counts as much
    as a large one.  A sample whose weights are all 0 has the loss 0.
    """
    errors = (prediction.float() - target.float()).square()
    errors = change(errors) if change else errors
    if pixel_weights is None:
        return errors.mean((1, 2, 3))
    total = pixel_weights.sum((1, 2)).clamp(min=torch.finfo(torch.float32).tiny)
    return (errors.mean(1) * pixel_weights).sum((1, 2)) / total


def _per_sample(alphas_cumprod, timesteps):
    return alphas_cumprod[timesteps][:, None, None, None]
