"""Were pictures copied?  Is a drawn one nearer to the training set than real ones are?

Real pictures that no training saw are the measure: garments on white resemble each other, so that
no distance says by itself what a copy is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tvhelpers.config import TrainConfig
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.errors import InputError
from tvhelpers.score.cache import RowCache
from tvhelpers.score.features import PixelExtractor
from tvhelpers.score.metrics import Result
from tvhelpers.score.statistics import blocks_of, wilson_interval

MIN_HELD_OUT = 20
LIMITS = (0.01, 0.05)  # shares of held-out pictures that lie within a limit; the first is headline
MOST_HELD_OUT = 1000
TOP = 8  # pairs that are named
TOGETHER = 512  # training pictures that are compared at a time


def nearest(
    sides: Sequence[np.ndarray], count: int, features: Callable[[range], np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (distance (N,), number of the nearest training picture (N,)) of each side (N, D).

    `features(numbers)` gives (n, D) of training pictures, asked for piece by piece.  Distances are
    root mean squares over D.  Raises ValueError for NaN.
    """
    if not all(np.isfinite(side).all() for side in sides):
        raise ValueError("the features of pictures hold NaN or infinity")
    best = [np.full(len(side), np.inf) for side in sides]
    which = [np.zeros(len(side), int) for side in sides]
    for start in range(0, count, TOGETHER):
        train = features(range(start, min(start + TOGETHER, count)))
        if not np.isfinite(train).all():
            raise ValueError("the features of training pictures hold NaN or infinity")
        for side, distance, number in zip(sides, best, which, strict=True):
            squares = (side**2).sum(1)[:, None] + (train**2).sum(1) - 2 * side @ train.T
            found = squares.argmin(1)
            value = np.sqrt(np.maximum(squares.min(1), 0) / side.shape[1])
            nearer = value < distance
            distance[nearer], number[nearer] = value[nearer], start + found[nearer]
    return list(zip(best, which, strict=True))


def copying(drawn: np.ndarray, held_out: np.ndarray, groups=None) -> Result:
    """Return the share of pictures nearer to a training picture than 99 % of held-out ones are.

    `drawn` (N,) and `held_out` (M,) are distances to the nearest training picture (`nearest`).  A
    generator that copies nothing has about 1 %.  The interval is Wilson's over `groups` (prompts)
    at both ends of the limit's own 95 % interval, as the held-out pictures' ranks give it.
    `details`: the limit, the same share at 5 %, both medians, and how often a drawn picture is
    nearer than a held-out one (0.5 where neither is).  Raises ValueError for NaN, and for under 20
    held-out pictures.
    """
    drawn, held_out = np.asarray(drawn, np.float64), np.sort(np.asarray(held_out, np.float64))
    if not len(drawn) or not (np.isfinite(drawn).all() and np.isfinite(held_out).all()):
        raise ValueError("distances hold NaN or infinity, or are none")
    if len(held_out) < MIN_HELD_OUT:
        raise ValueError(
            f"{len(held_out)} held-out pictures are too few to tell copies by; give {MIN_HELD_OUT}"
        )
    (low, value, high), (_, wider, _) = (_share_within(drawn, held_out, part) for part in LIMITS)
    count = len(blocks_of(groups, len(drawn))[1])  # of independent ones
    ci = (wilson_interval(low * count, count)[0], wilson_interval(high * count, count)[1])
    ranks = np.searchsorted(held_out, drawn, "left") + np.searchsorted(held_out, drawn, "right")
    details = {
        "limit": float(np.quantile(held_out, LIMITS[0])),
        "expected": LIMITS[0],
        "share_at_5_percent": wider,
        "median_drawn": float(np.median(drawn)),
        "median_held_out": float(np.median(held_out)),
        "nearer_than_held_out": float(1 - ranks.mean() / (2 * len(held_out))),
        "n_held_out": len(held_out),
    }
    few = len(held_out) * LIMITS[0] < 1
    doubts = (f"{len(held_out)} held-out pictures: the limit is the nearest of them",) * few
    method = "nearest training picture against held-out ones; Wilson over prompts, limit by ranks"
    return Result(
        "copying", value, None, ci, len(drawn), method, doubts, tuple(drawn.tolist()), details
    )


def _share_within(drawn: np.ndarray, held_out: np.ndarray, limit: float) -> tuple:
    """Return the share of drawn pictures within the limit's lower end, the limit, its upper end."""
    from scipy.stats import binom  # takes a second or two to import

    count = len(held_out)
    ranks = binom.ppf([0.025, 0.975], count, limit).astype(int)
    low = held_out[ranks[0] - 1] if ranks[0] else -np.inf  # in order, from 0
    ends = (low, np.quantile(held_out, limit), held_out[min(ranks[1], count - 1)])
    return tuple(float((drawn < end).mean()) for end in ends)


class CopyCheck:
    """Compares pictures with a training set, in the features of `extractor`.

    `train` and `held_out` are sources, or names of some; without the second, what a training with
    the default split holds out of the first.  Features of networks are compared by direction, and
    kept in the folder `cache`.  Raises InputError for one source given as both.
    """

    def __init__(self, extractor, train, held_out=None, cache=None):
        self.extractor, self.cache = extractor, cache
        self.train = open_source(train) if isinstance(train, str) else train
        if not held_out:
            self.held_out = self.train
            split = split_items(self.train, TrainConfig(eval_items=MOST_HELD_OUT))
            self.items, self.held_items = (side.tolist() for side in split)
            return
        self.held_out = open_source(held_out) if isinstance(held_out, str) else held_out
        if self.train.fingerprint == self.held_out.fingerprint:
            raise InputError("same-source", name=self.train.name)
        self.items = [i for i, s in enumerate(self.train.splits) if s in ("", "train")]
        self.held_items = [*range(0, len(self.held_out), -(-len(self.held_out) // MOST_HELD_OUT))]

    def results(self, folders: Sequence[tuple[np.ndarray, Sequence[str]]]) -> list[Result]:
        """Return `copying` of each folder: features (N, D) and groups (N,).

        `details["top"]` names the nearest pairs: picture, number and name of the training item,
        distance, and share of held-out pictures that are as near.
        """
        held_out = self._features(self.held_out, self.held_items)
        sides = [self._compared(features) for features, _ in folders]
        *found, (limits, _) = nearest([*sides, held_out], len(self.items), self._training)
        limits.sort()
        results = []
        for (distances, which), (_, groups) in zip(found, folders, strict=True):
            result = copying(distances, limits, groups)
            top = [self._pair(i, distances[i], which[i], limits) for i in distances.argsort()[:TOP]]
            results.append(replace(result, details={**result.details, "top": top}))
        return results

    def _pair(self, picture: int, distance: float, number: int, limits: np.ndarray) -> dict:
        item = self.items[number]
        return {
            "picture": int(picture),
            "train_number": item,
            "train_item": self.train.item_ids[item],
            "distance": float(distance),
            "held_out_as_near": float(np.mean(limits <= distance)),
        }

    def _training(self, numbers: range) -> np.ndarray:
        return self._features(self.train, [self.items[number] for number in numbers])

    def rows_of(self, *what) -> RowCache:
        """Return the features that are kept of some pictures."""
        key = ("copies", self.extractor.name, self.extractor.digest, *what)
        return RowCache(self.cache, self.extractor.features, *key)

    def _features(self, source, items: list[int]) -> np.ndarray:
        # A file for each piece: a large training set is never in memory as a whole.
        rows = self.rows_of(source.fingerprint, items[0])
        return self._compared(rows.of([*map(str, items)], lambda i: source.pixels(items[i])))

    def _compared(self, features: np.ndarray) -> np.ndarray:
        if isinstance(self.extractor, PixelExtractor):
            return features
        return features / np.linalg.norm(features, axis=1, keepdims=True)
