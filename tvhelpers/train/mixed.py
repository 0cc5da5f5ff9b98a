"""How do training items and regularization images share the samples of a step?"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from tvhelpers.runtime import seed_for
from tvhelpers.train.batches import Batch, Batches, Data
from tvhelpers.train.latents import LatentCache


class Mixed:
    """The samples of each training step: the last of them are regularization images.

    Step k has floor((k + 1) s B) - floor(k s B) of them, of B samples and for the share s: after
    any number of steps, less than one is missing.  Both sources have endless orders of their own,
    so each item is drawn as often as any other of its source.
    """

    def __init__(self, batches: Batches, cache: LatentCache, stored: bool, device: str):
        """`batches`: those of the training items; `cache`: of the regularization images; `stored`
        as in `Batches`."""
        config = batches.config
        own = replace(config, seed=seed_for(config.seed, "regularization") % 2**53)
        items = np.arange(cache.num_items)
        data = Data(cache, items, items)
        self.batches, self.device = batches, device
        self.regularization = Batches(data, own, batches.num_timesteps, stored)
        self.share = Fraction(str(config.regularization_share))

    def drawn_before(self, step: int) -> int:
        """Return how many regularization images the steps before `step` have drawn."""
        return math.floor(step * self.share * self.batches.config.samples_per_step)

    def of_step(self, step: int, indices: range) -> Batch:
        """Return the samples `indices` of a step, with the weights of their losses."""
        config = self.batches.config
        size, before = config.samples_per_step, self.drawn_before(step)
        first = size - (self.drawn_before(step + 1) - before)  # regularization image of the step
        new = range(indices.start, min(indices.stop, first))
        old = range(max(indices.start, first), indices.stop)
        places = (self.batches, new, -before, 1.0), (
            self.regularization, old, before - first - step * size, config.regularization_weight
        )  # fmt: skip
        parts = [
            replace(batches.of_step(step, own, shift), weights=_full(own, weight))
            for batches, own, shift, weight in places
            if own
        ]
        return joined([part.to(self.device) for part in parts])


def _full(samples: range, weight: float) -> torch.Tensor:
    return torch.full((len(samples),), weight)


def joined(parts: list[Batch]) -> Batch:
    """Return batches on one device as one, sample after sample."""
    columns = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
    return Batch(**{name: None if x[0] is None else torch.cat(x) for name, x in columns.items()})
