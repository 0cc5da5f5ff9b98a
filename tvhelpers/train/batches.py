"""Which samples does a step train on, and with what noise?

All of it is drawn on the host, and every random choice is a function of (seed, step, index): a
training that was killed and resumed ends with the bytes of an uninterrupted one (on a CPU; on a GPU
up to rounding).
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from tvhelpers.config import TrainConfig
from tvhelpers.runtime import seed_for
from tvhelpers.train import diffusion
from tvhelpers.train.latents import LatentCache, send, take
from tvhelpers.train.order import Epochs, Order


@dataclass
class Data:
    """The latent cache of a training, and the roles of its items."""

    cache: LatentCache
    train_items: np.ndarray
    validation_items: np.ndarray
    labels: np.ndarray | None = None  # class of each item, for a baseline with classes
    weights: np.ndarray | None = None  # how often each item is drawn; None = all equally
    regularization: LatentCache | None = None  # of the images that are trained on beside the items


@dataclass(frozen=True)
class Batch:
    """The B samples of one forward pass, on the host or where the cache is."""

    moments: torch.Tensor  # fp32 (B, 2c, h, w)
    posterior: torch.Tensor  # (B, c, h, w): the noise that latents are sampled with from moments
    noise: torch.Tensor  # (B, c, h, w)
    timesteps: torch.Tensor  # int64 (B,)
    text: torch.Tensor  # cached states fp16 (B, tokens, d), or token ids int32 (B, all tokens)
    labels: torch.Tensor | None  # int64 (B,); None without classes
    regions: torch.Tensor | None  # uint8 (B, h, w); None if all pixels have the same weight
    pooled: torch.Tensor | None  # cached vectors fp16 (B, p); None with token ids, or without them
    sizes: torch.Tensor | None  # int32 (B, 6); None if the base does not take them
    weights: torch.Tensor | None = None  # (B,), of the losses; None without regularization

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """Return the batch with its tensors changed."""
        parts = vars(self).items()
        return Batch(**{name: part if part is None else change(part) for name, part in parts})

    def to(self, device) -> Self:
        """Return the batch on `device`, without waiting for the GPU."""
        return self.each(lambda part: send(part, device))

    def pinned(self) -> Self:
        """Return the batch in memory that the GPU reads by itself, or where it is on the GPU."""
        return self.each(lambda part: part if part.is_cuda else part.pin_memory())

    def copy_(self, other: Self) -> None:
        """Copy a batch of the same shapes into the tensors of this one."""
        for part, values in zip(vars(self).values(), vars(other).values(), strict=True):
            if part is not None:
                part.copy_(values)


class Batches:
    """The samples of each training step, and the fixed ones of evaluations."""

    def __init__(self, data: Data, config: TrainConfig, num_timesteps: int, stored: bool):
        """`stored`: whether batches hold cached text states, or token ids."""
        self.data, self.config, self.num_timesteps = data, config, num_timesteps
        self.texts = data.cache.embeds if stored else data.cache.token_ids
        self.pooled = data.cache.pooled if stored else None
        self.draw_from(data.cache.entries(data.train_items, config.flip))

    def of_step(self, step: int, indices: range, shift: int = 0) -> Batch:
        """Return the samples `indices` of a step, with entries that are `shift` places further on
        in the order of all steps: other items share them."""
        config = self.config
        entries = self.order.entries(step, [i + shift for i in indices])
        draws = [seed_for(config.seed, "caption", step, i) / 2**63 for i in indices]
        seeds = [seed_for(config.seed, "sample", step, i) for i in indices]
        regions = self._regions(entries) if config.is_masked else None
        conditioned = np.array(draws) >= config.caption_dropout
        return self._batch(entries, seeds, conditioned, regions, config.noise_offset)

    def texts_of(self, rows: np.ndarray) -> dict[str, torch.Tensor | None]:
        """Return {"text", "pooled"} of rows of captions; row 0 is the empty prompt."""
        pooled = None if self.pooled is None else take(self.pooled, rows)
        return {"text": take(self.texts, rows), "pooled": pooled}

    def fixed(self, items: np.ndarray, places: np.ndarray) -> Batch:
        """Return items of one bucket with the fixed noise and timesteps of `places`."""
        seeds = [seed_for(self.config.split_seed, "eval", int(place)) for place in places]
        return self._batch(items, seeds, np.ones(len(items), bool))

    def fixed_timesteps(self, items: np.ndarray) -> torch.Tensor:
        """Return the timesteps of items as `fixed` has them at places 0, 1, ..."""
        seeds = [seed_for(self.config.split_seed, "eval", place) for place in range(len(items))]
        shapes = map(self.data.cache.latent_shape, items)  # the noise is drawn before the timestep
        rows = [
            diffusion.sample_noise(shape, self.num_timesteps, [seed])[2]
            for shape, seed in zip(shapes, seeds, strict=True)
        ]
        return torch.cat(rows)

    def draw_from(self, entries: np.ndarray) -> None:
        """Let steps draw these entries."""
        config, cache, self.entries = self.config, self.data.cache, entries
        items = entries % cache.num_items
        bucket, buckets = cache.buckets.bucket[items], []
        for number in np.unique(bucket):
            own = bucket == number
            weights = None if self.data.weights is None else self.data.weights[items[own]]
            key = cache.buckets.shapes[number] if len(cache.buckets.shapes) > 1 else ()
            buckets.append(Epochs(entries[own], weights, config.seed, key))
        self.order = Order(buckets, config.samples_per_step, config.seed)

    def undrawn(self, steps: int) -> int:
        """Return how many items none of the first `steps` steps draws: their buckets are small."""
        buckets = zip(self.order.buckets, self.order.counts(steps), strict=True)
        missing = [one.entries % self.data.cache.num_items for one, count in buckets if not count]
        return sum(len(np.unique(items)) for items in missing)

    def _regions(self, entries: np.ndarray) -> torch.Tensor:
        """Return the regions of entries; without masks, each image counts whole."""
        if self.data.cache.regions is not None:
            return self.data.cache.read_regions(entries)
        counted = int(np.argmax(self.config.region_weights))
        shape = (len(entries), *self.data.cache.latent_shape(entries[0])[1:])
        return torch.full(shape, counted, dtype=torch.uint8)

    def _batch(
        self, entries: np.ndarray, seeds: list[int], conditioned: np.ndarray, regions=None,
        offset: float = 0.0,
    ) -> Batch:  # fmt: skip
        """Return a batch; samples that are not `conditioned` get the empty prompt, or no class."""
        moments, rows = self.data.cache.read(entries)
        conditioned = torch.from_numpy(conditioned)
        shape = self.data.cache.latent_shape(entries[0])
        noises = diffusion.sample_noise(shape, self.num_timesteps, seeds, offset)
        rows = rows * (conditioned if self.config.method != "baseline" else 0)
        labels = self.data.labels
        if labels is not None:
            labels = torch.from_numpy(labels[entries % self.data.cache.num_items]) * conditioned
        sizes = self.data.cache.sizes
        sizes = None if sizes is None else take(sizes, entries)
        texts = self.texts_of(rows.numpy())
        return Batch(moments, *noises, labels=labels, regions=regions, sizes=sizes, **texts)


class Prefetcher:
    """Draws each batch on another thread, while the GPU still computes the one before.

    Which batch is next is a guess: another one is drawn when it is asked for.
    """

    def __init__(self, draw: Callable[[int, range], Batch], prepare: Callable = lambda: None):
        """`draw(step, indices)` is called on one thread, which calls `prepare` first."""
        self.draw, self.worker = draw, ThreadPoolExecutor(1, "batches", prepare)
        self.waiting: dict[tuple[int, range], Future] = {}

    def __call__(self, step: int, indices: range, then: tuple[int, range]) -> Batch:
        """Return a batch, and begin to draw the step and indices of `then`."""
        ready = self.waiting.get((step, indices)) or self.worker.submit(self.draw, step, indices)
        self.waiting = {then: self.worker.submit(self.draw, *then)}
        return ready.result()

    def close(self) -> None:
        """End the thread; no batch is drawn afterwards."""
        self.waiting = {}
        self.worker.shutdown(cancel_futures=True)
