"""How noisy is the gradient of a batch, and which batch size does that recommend?"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch

from tvhelpers.experiments.measure import open_trainer

BATCHES, SIZE = 16, 8  # how many batches of how many images
FIRST = 10**6  # step whose samples are the first: no training has drawn them


def noise_scale(base: str, items: Path, root: Path, run: Path, text_encoder: str = "") -> float:
    """Return the simple noise scale of a run's weights on its training items, in images.

    B = tr(S) / |G|^2 (McCandlish et al. 2018, appendix A.1): up to about this batch size, twice
    the batch saves nearly half of the steps.  Infinite where no gradient is found in the noise.
    """
    trainer = open_trainer(base, items, root, run, text_encoder)
    found = simple_noise_scale(map(partial(_gradient, trainer), range(BATCHES)), SIZE)
    trainer.release()
    return found


def _gradient(trainer, number: int) -> torch.Tensor:
    """Return the gradient (D,) of a batch, float64."""
    batch = trainer.batches.of_step(FIRST + number, range(SIZE)).to(trainer.device)
    found = torch.autograd.grad(trainer.losses(batch).mean(), trainer.model.weights)
    return torch.cat([one.flatten().double() for one in found]).cpu()


def simple_noise_scale(gradients: Iterable[torch.Tensor], size: int) -> float:
    """Return tr(S) / |G|^2 of the gradients (D,) of batches of `size` samples, by the unbiased
    estimates of both from small batches and all of them together; one is in memory at a time."""
    total, squares, count = 0.0, 0.0, 0
    for one in gradients:
        total, squares, count = total + one, squares + one.square().sum().item(), count + 1
    small, large, of_small = size, size * count, squares / count
    of_large = (total / count).square().sum().item()
    squared = (large * of_large - small * of_small) / (large - small)
    trace = (of_small - of_large) / (1 / small - 1 / large)
    return trace / squared if squared > 0 else float("inf")
