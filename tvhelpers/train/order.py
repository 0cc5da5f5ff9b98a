"""In which order are the entries of a latent cache drawn?  In batches of one bucket each.

Each bucket has its own endless sequence of shuffled epochs, and so many batches in each epoch of
all that an entry is drawn as often as one of any other bucket.  With a single bucket, that is one
sequence of all entries, cut into batches.  Everything is a function of (seed, number).
"""

from collections.abc import Sequence

import numpy as np

from tvhelpers.runtime import seed_for


class Epochs:
    """The endless sequence of shuffled epochs of some entries."""

    def __init__(self, entries: np.ndarray, weights: np.ndarray | None, seed: int, key: tuple):
        """`weights` (len(entries),): how often each is drawn, None = all equally; `key` tells this
        sequence from others of the same seed."""
        self.entries, self.weights, self.seed, self.key = entries, weights, seed, key
        self._epoch = -1

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, len(self.entries))
        if self._epoch != epoch:
            rng = np.random.default_rng(seed_for(self.seed, "order", epoch, *self.key))
            self._epoch, self._order = epoch, rng.permutation(self._drawn(rng))
        return self._order[place]

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Return the entries of an epoch: each once, or in proportion to its weight (systematic
        resampling, in which only the rounding is random)."""
        if self.weights is None:
            return self.entries
        places = (np.arange(len(self.entries)) + rng.random()) / len(self.entries)
        ends = np.cumsum(self.weights)
        return self.entries[np.searchsorted(ends / ends[-1], places, side="right")]


class Order:
    """The batches of a training: which entries each of them has."""

    def __init__(self, buckets: Sequence[Epochs], size: int, seed: int):
        """`size`: entries of a batch; a bucket with fewer repeats them within it."""
        self.buckets, self.size, self.seed = buckets, size, seed
        total = sum(len(bucket.entries) for bucket in buckets)
        self.draws = [len(bucket.entries) for bucket in buckets]  # of each bucket in an epoch
        if buckets[0].weights is not None:
            weights = np.array([bucket.weights.sum() for bucket in buckets])
            self.draws = (total * weights / weights.sum()).tolist()
        self.total, self._turns = total, (-1, np.zeros(0, int))

    def entries(self, number: int, places: Sequence[int]) -> np.ndarray:
        """Return the entries at `places` of a batch."""
        bucket, own = self.turn(number)
        return np.array([self.buckets[bucket][own * self.size + place] for place in places])

    def turn(self, number: int) -> tuple[int, int]:
        """Return the bucket of a batch, and its number among those of that bucket."""
        first, turns = self._epoch_of(number)
        place = number - first.sum()
        bucket = turns[place]
        return bucket, int(first[bucket] + (turns[:place] == bucket).sum())

    def counts(self, number: int) -> np.ndarray:
        """Return how many of the first `number` batches, at least 1, each bucket has."""
        first, turns = self._epoch_of(number - 1)
        return first + np.bincount(turns[: number - first.sum()], minlength=len(first))

    def _epoch_of(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how many batches each bucket has before the epoch of a batch, and the buckets of
        that epoch's batches, in order; several threads may ask."""
        least = (number - len(self.buckets)) * self.size // self.total - 1
        epoch = max(0, least)  # this one, or one a little later
        while self._before(epoch + 1).sum() <= number:
            epoch += 1
        first, (known, turns) = self._before(epoch), self._turns
        if known != epoch:
            turns = np.repeat(np.arange(len(first)), self._before(epoch + 1) - first)
            rng = np.random.default_rng(seed_for(self.seed, "buckets", epoch))
            turns = rng.permutation(turns)
            self._turns = epoch, turns
        return first, turns

    def _before(self, epoch: int) -> np.ndarray:
        """Return how many batches each bucket has in all epochs before one, rounded: its entries
        are drawn as often as others, but for half a batch."""
        return np.array([int(epoch * draws / self.size + 0.5) for draws in self.draws])
