"""Are generated images copies of training images?

Garments on white resemble each other, so that no distance alone identifies a copy.  Validation
images, which no training has seen, show which distances are normal.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tvhelpers import manifest
from tvhelpers.config import TrainConfig, typed_settings
from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import sampled, split_items
from tvhelpers.errors import InputError
from tvhelpers.paths import for_each
from tvhelpers.records import read_record
from tvhelpers.score.cache import RowCache
from tvhelpers.score.features import PixelExtractor
from tvhelpers.score.metrics import Result
from tvhelpers.score.statistics import blocks_of, wilson_interval

log = logging.getLogger(__name__)
MIN_VALIDATION = 20
LIMITS = (0.01, 0.05)  # shares of validation images within a limit; the first is the result's
MAX_VALIDATION = 1000
TOP = 8  # nearest pairs in the result
TOGETHER = 512  # training images that are compared at a time


def nearest(
    sides: Sequence[np.ndarray], count: int, features: Callable[[range], np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (distance (N,), index of the nearest training image (N,)) for each side (N, D).

    `features(indices)` returns (n, D) of training images, TOGETHER at a time.  Distances are root
    mean squares over D.  Raises ValueError for NaN.
    """
    if not all(np.isfinite(side).all() for side in sides):
        raise ValueError("the features of the images contain NaN or infinity")
    best = [np.full(len(side), np.inf) for side in sides]
    which = [np.zeros(len(side), int) for side in sides]
    for start in range(0, count, TOGETHER):
        train = features(range(start, min(start + TOGETHER, count)))
        if not np.isfinite(train).all():
            raise ValueError("the features of training images contain NaN or infinity")
        for side, distance, number in zip(sides, best, which, strict=True):
            squares = (side**2).sum(1)[:, None] + (train**2).sum(1) - 2 * side @ train.T
            found = squares.argmin(1)
            value = np.sqrt(np.maximum(squares.min(1), 0) / side.shape[1])
            nearer = value < distance
            distance[nearer], number[nearer] = value[nearer], start + found[nearer]
    return list(zip(best, which, strict=True))


def copying(drawn: np.ndarray, validation: np.ndarray, groups=None) -> Result:
    """Return the share of images nearer to a training image than 99 % of validation images are.

    `drawn` (N,) and `validation` (M,) are distances to the nearest training image (`nearest`).  A
    generator that copies nothing has about 1 %.  The interval is Wilson's over `groups` (prompts),
    at both ends of the limit's own 95 % interval, which follows from the validation images' ranks.
    `details`: the limit, the share at 5 %, both medians, and how often a generated image is nearer
    than a validation image (0.5 for equal sets).  Raises ValueError for NaN, and for fewer than
    MIN_VALIDATION validation images.
    """
    drawn, validation = np.asarray(drawn, np.float64), np.sort(np.asarray(validation, np.float64))
    if not len(drawn) or not (np.isfinite(drawn).all() and np.isfinite(validation).all()):
        raise ValueError("there are no distances, or they contain NaN or infinity")
    if len(validation) < MIN_VALIDATION:
        raise ValueError(
            f"{len(validation)} validation images are too few to detect copies; "
            f"give {MIN_VALIDATION} or more"
        )
    (low, value, high), (_, wider, _) = (_share_within(drawn, validation, part) for part in LIMITS)
    count = len(blocks_of(groups, len(drawn))[1])  # of independent ones
    ci = (wilson_interval(low * count, count)[0], wilson_interval(high * count, count)[1])
    ranks = np.searchsorted(validation, drawn, "left") + np.searchsorted(validation, drawn, "right")
    details = {
        "limit": float(np.quantile(validation, LIMITS[0])),
        "expected": LIMITS[0],
        "share_at_5_percent": wider,
        "median_drawn": float(np.median(drawn)),
        "median_validation": float(np.median(validation)),
        "nearer_than_validation": float(1 - ranks.mean() / (2 * len(validation))),
        "n_validation": len(validation),
    }
    few = len(validation) * LIMITS[0] < 1
    doubts = (f"only {len(validation)} validation images: the limit is the nearest of them",) * few
    method = "nearest training image, beside validation images; Wilson over prompts, limit by ranks"
    return Result(
        "copying", value, None, ci, len(drawn), method, doubts, tuple(drawn.tolist()), details
    )


def _share_within(drawn: np.ndarray, validation: np.ndarray, limit: float) -> tuple:
    """Return the share of generated images within the limit's lower end, itself, its upper end."""
    from scipy.stats import binom  # takes a second or two to import

    count = len(validation)
    ranks = binom.ppf([0.025, 0.975], count, limit).astype(int)
    low = validation[ranks[0] - 1] if ranks[0] else -np.inf  # in order, from 0
    ends = (low, np.quantile(validation, limit), validation[min(ranks[1], count - 1)])
    return tuple(float((drawn < end).mean()) for end in ends)


def open_trained(train) -> tuple[Source, TrainConfig]:
    """Return (source, settings of its split) of a source, of its name, or of the folder of a
    finished training, whose config.json says what it was trained on and how that was split.

    Raises InputError as `open_source` does.
    """
    split = {"eval_items": MAX_VALIDATION}
    if not isinstance(train, str):
        return train, TrainConfig(**split)
    if not is_run(Path(train)):
        return open_source(train, captions_optional=True), TrainConfig(**split)
    begun = read_record(Path(train) / "config.json", "training")
    data = data_of(Path(train)) or begun["data"]
    source = open_source(data, captions_optional=bool(begun.get("captions")))
    source = sampled(source, begun.get("sample", 0), begun.get("split_seed", 0))
    if begun.get("data_fingerprint", source.fingerprint) != source.fingerprint:
        log.warning(f"{begun['data']} has changed since {train} was trained on it")
    keys = ("held_out", "split_seed", "limit") + ("at_most",) * (not begun.get("captions"))
    own = {key: begun[key] for key in keys if key in begun}
    return source, TrainConfig(**typed_settings(TrainConfig, own), **split)


def data_of(run: Path) -> str:
    """Return the name or the path of what a training was trained on, "" where it is not there.

    A relative path is looked for in the current folder, then in those that hold the run.
    """
    return for_each(read_record(run / "config.json", "training")["data"], partial(_at_hand, run))


def _at_hand(run: Path, data: str) -> str:
    if data in manifest.entries() or data.startswith("hub:"):
        return data
    folders = [Path(), *run.absolute().parents]
    places = [Path(data)] if Path(data).is_absolute() else [folder / data for folder in folders]
    return next((str(place) for place in places if place.exists()), "")


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a finished training."""
    return all((folder / name).is_file() for name in ("config.json", "result.json"))


class CopyCheck:
    """Compares images with a training set, in the features of `extractor`.

    `train` is as in `open_trained`, and `validation` a source or its name; without `validation`,
    the validation items of `train` are taken.  Networks' features are normalized and kept in the
    folder `cache`.  Raises InputError for one source given as both.
    """

    def __init__(self, extractor, train, validation=None, cache=None):
        self.extractor, self.cache = extractor, cache
        self.train, config = open_trained(train)
        if not validation:
            self.validation = self.train
            split = split_items(self.train, config)
            self.items, self.validation_items = (side.tolist() for side in split)
            return
        self.validation = validation
        if isinstance(validation, str):
            self.validation = open_source(validation, captions_optional=True)
        if self.train.fingerprint == self.validation.fingerprint:
            raise InputError("same-source", name=self.train.name)
        self.items = [i for i, s in enumerate(self.train.splits) if s in ("", "train")]
        count = len(self.validation)
        self.validation_items = [*range(0, count, -(-count // MAX_VALIDATION))]

    def results(self, folders: Sequence[tuple[np.ndarray, Sequence[str]]]) -> list[Result]:
        """Return `copying` for each folder's features (N, D) and groups (N,).

        `details["top"]` lists the nearest pairs: index of the image, index and id of the training
        item, distance, and the share of validation images that are as near.
        """
        validation = self._features(self.validation, self.validation_items)
        sides = [self._compared(features) for features, _ in folders]
        *found, (limits, _) = nearest([*sides, validation], len(self.items), self._training)
        limits.sort()
        results = []
        for (distances, which), (_, groups) in zip(found, folders, strict=True):
            result = copying(distances, limits, groups)
            top = [self._pair(i, distances[i], which[i], limits) for i in distances.argsort()[:TOP]]
            results.append(replace(result, details={**result.details, "top": top}))
        return results

    def _pair(self, image: int, distance: float, number: int, limits: np.ndarray) -> dict:
        item = self.items[number]
        return {
            "image": int(image),
            "train_number": item,
            "train_item": self.train.item_ids[item],
            "distance": float(distance),
            "validation_as_near": float(np.mean(limits <= distance)),
        }

    def _training(self, numbers: range) -> np.ndarray:
        return self._features(self.train, [self.items[number] for number in numbers])

    def rows_of(self, *what) -> RowCache:
        """Return the cache of some images' features."""
        key = ("copies", self.extractor.name, self.extractor.digest, *what)
        return RowCache(self.cache, self.extractor.features, *key)

    def _features(self, source, items: list[int]) -> np.ndarray:
        # One file for each piece: a large training set is never in memory as a whole.
        rows = self.rows_of(source.fingerprint, items[0])
        return self._compared(rows.of([*map(str, items)], lambda i: source.pixels(items[i])))

    def _compared(self, features: np.ndarray) -> np.ndarray:
        if isinstance(self.extractor, PixelExtractor):
            return features
        return features / np.linalg.norm(features, axis=1, keepdims=True)
