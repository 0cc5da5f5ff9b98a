import math
from functools import partial

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from tvhelpers.train import diffusion

SCHEDULER = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def test_noise_and_targets_equal_those_of_diffusers():
    _, noise, timesteps = diffusion.sample_noise((4, 8, 8), 1000, [1, 2, 3, 4, 5])
    latents = torch.randn(5, 4, 8, 8)
    noisy = diffusion.add_noise(latents, noise, timesteps, SCHEDULER.alphas_cumprod)
    torch.testing.assert_close(noisy, SCHEDULER.add_noise(latents, noise, timesteps))
    velocity = diffusion.prediction_target(
        latents, noise, timesteps, SCHEDULER.alphas_cumprod, "v_prediction"
    )
    torch.testing.assert_close(velocity, SCHEDULER.get_velocity(latents, noise, timesteps))
    assert (
        diffusion.prediction_target(latents, noise, timesteps, SCHEDULER.alphas_cumprod, "epsilon")
        is noise
    )


def test_min_snr_caps_the_weight_of_low_noise():
    timesteps = torch.arange(0, 1000, 50)
    snr = compute_snr(SCHEDULER, timesteps)
    weight = diffusion.min_snr_weight(timesteps, SCHEDULER.alphas_cumprod, 5.0, "epsilon")
    torch.testing.assert_close(weight * snr, snr.clamp(max=5))
    assert diffusion.min_snr_weight(timesteps, SCHEDULER.alphas_cumprod, 0, "epsilon").eq(1).all()
    rescaled = DDPMScheduler.from_config(SCHEDULER.config, rescale_betas_zero_snr=True)
    last = torch.tensor([998, 999])
    weight = diffusion.min_snr_weight(last, rescaled.alphas_cumprod, 5.0, "v_prediction")
    assert 0 < weight[0] < 0.01 and weight[1] == 1  # sampling begins there


def test_a_samples_randomness_is_a_function_of_its_seed_alone():
    together = diffusion.sample_noise((4, 8, 8), 1000, [7, 8, 9])
    alone = diffusion.sample_noise((4, 8, 8), 1000, [8])
    assert all(torch.equal(a[1:2], b) for a, b in zip(together, alone, strict=True))
    timesteps = diffusion.sample_noise((1, 1, 1), 1000, list(range(4000)))[2]
    assert timesteps.min() < 10 and timesteps.max() > 989  # the whole range is trained


def test_latents_are_drawn_from_the_moments():
    mean, logvar = torch.full((1, 4, 64, 64), 2.0), torch.full((1, 4, 64, 64), -2.0)
    latents = diffusion.sample_latents(torch.cat([mean, logvar], 1), torch.randn(1, 4, 64, 64), 0.5)
    assert abs(latents.mean() - 1.0) < 0.02
    assert abs(latents.std() - 0.5 * torch.exp(torch.tensor(-1.0))) < 0.01


def test_what_has_no_weight_changes_no_loss_and_small_garments_count_as_large_ones():
    prediction, target = torch.randn(2, 2, 4, 8, 8)
    weights = torch.zeros(2, 8, 8)
    weights[0, :2, :2], weights[1] = 1, 1
    loss = diffusion.sample_losses(prediction, target, weights)
    changed = prediction.clone()
    changed[0, :, 4:] += 100
    assert torch.equal(diffusion.sample_losses(changed, target, weights), loss)
    inside = (prediction - target)[0, :, :2, :2].square().mean()
    torch.testing.assert_close(loss[0], inside)
    whole = diffusion.sample_losses(prediction, target)
    torch.testing.assert_close(loss[1], whole[1])
    torch.testing.assert_close(diffusion.sample_losses(prediction, target, weights * 9), loss)
    assert diffusion.sample_losses(prediction, target, weights * 0).eq(0).all()


def test_noise_offset_moves_the_mean_of_a_channels_noise_and_nothing_without_it():
    seeds = list(range(400))
    plain = diffusion.sample_noise((4, 8, 8), 1000, seeds)
    moved = diffusion.sample_noise((4, 8, 8), 1000, seeds, 0.1)
    assert torch.equal(plain[0], moved[0]) and torch.equal(plain[2], moved[2])
    shift = moved[1] - plain[1]
    torch.testing.assert_close(shift, shift.mean((2, 3), keepdim=True).expand_as(shift))
    assert abs(shift.mean((2, 3)).std() - 0.1) < 0.005  # 1,600 normal numbers
    assert abs(shift.mean()) < 0.01


def plain_huber(error, a, t, c, schedule, kind):
    """The loss of one error as the scripts of diffusers compute it."""
    if schedule == "exponential":
        c = math.exp(math.log(c) / 1000 * t)
    elif schedule == "snr":
        c = (1 - c) / (1 + ((1 - a) / a) ** 0.5) ** 2 + c
    return 2 * (c if kind == "huber" else 1) * (math.sqrt(error**2 + c**2) - c)


@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
@pytest.mark.parametrize("schedule", ["snr", "exponential", "constant"])
def test_huber_losses_equal_the_plain_formula(kind, schedule):
    timesteps = torch.tensor([0, 333, 999])
    prediction, target = torch.randn(2, 3, 2, 4, 4)
    c = diffusion.huber_thresholds(timesteps, SCHEDULER.alphas_cumprod, 0.1, schedule)
    change = partial(diffusion.pseudo_huber, thresholds=c, kind=kind)
    losses = diffusion.sample_losses(prediction, target, change=change)
    for loss, t, errors in zip(losses, timesteps.tolist(), prediction - target, strict=True):
        a = SCHEDULER.alphas_cumprod[t].item()
        wanted = [plain_huber(e, a, t, 0.1, schedule, kind) for e in errors.flatten().tolist()]
        assert loss.item() == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)
    ones = torch.ones(3, 4, 4)
    weighted = diffusion.sample_losses(prediction, target, ones, change)
    torch.testing.assert_close(weighted, losses)
