"""How many steps a training takes, the learning rate of each, and the noise's schedule."""

from __future__ import annotations

import math

from tvhelpers.config import TrainConfig


def num_steps(steps: int, epochs: int, num_items: int, per_step: int) -> int:
    """Return the optimizer steps: `steps`, or where epochs > 0 those that draw `epochs` times as
    many samples as there are items, each as it is or flipped."""
    return math.ceil(epochs * num_items / per_step) if epochs else steps


def rate_factor(step: int, steps: int, warmup_steps: int, schedule: str = "cosine") -> float:
    """Return the learning rate's factor 0..1 at a step: linear warm-up, then the schedule."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def scheduler_changes(config: TrainConfig) -> dict:
    """Return what `config` changes of its base's scheduler, in the words of diffusers.

    Zero terminal SNR: Lin et al. 2024; what learnt on it must be sampled from the last timestep on.
    """
    changes = {"prediction_type": config.prediction} if config.prediction else {}
    if config.zero_terminal_snr:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return changes
