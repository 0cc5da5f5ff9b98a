"""How noisy is the gradient of a batch, and which batch size does that recommend?"""

from collections.abc import Sequence
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
    gradients = []
    for step in range(FIRST, FIRST + BATCHES):
        batch = trainer.batches.of_step(step, range(SIZE)).to(trainer.device)
        found = torch.autograd.grad(trainer.losses(batch).mean(), trainer.model.weights)
        gradients.append(torch.cat([one.flatten().double() for one in found]).cpu())
    trainer.release()
    return simple_noise_scale(gradients, SIZE)


def simple_noise_scale(gradients: Sequence[torch.Tensor], size: int) -> float:
    """Return tr(S) / |G|^2 of the gradients (D,) of batches of `size` samples, by the unbiased
    estimates of both from small batches and all of them together."""
    small, large = size, size * len(gradients)
    of_small = sum(one.square().sum().item() for one in gradients) / len(gradients)
    of_large = (sum(gradients) / len(gradients)).square().sum().item()
    squared = (large * of_large - small * of_small) / (large - small)
    trace = (of_small - of_large) / (1 / small - 1 / large)
    return trace / squared if squared > 0 else float("inf")
