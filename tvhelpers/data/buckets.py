"""Which shape does each image get, so that a tall garment stays tall?  That of an aspect bucket.

Shapes and sizes are (height, width) in pixels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from tvhelpers.data.items import Source
from tvhelpers.errors import InputError
from tvhelpers.progress import progress_bar
from tvhelpers.words import counted

Shape = tuple[int, int]
WIDEST = 2.0  # longer side of a shape, relative to its shorter one
MOST_CUT = 0.5  # share of an image that may be cropped


@dataclass(frozen=True, eq=False)
class Buckets:
    """The shapes that images get, and which one each of N items gets."""

    shapes: list[Shape]
    bucket: np.ndarray  # int (N,), a place in `shapes`

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of items of each shape."""
        return np.bincount(self.bucket, minlength=len(self.shapes))

    @cached_property
    def rows(self) -> np.ndarray:
        """The place of each item, int (N,), among those of its shape."""
        rows = np.empty(len(self.bucket), np.int64)
        for bucket, count in enumerate(self.counts):
            rows[self.bucket == bucket] = np.arange(count)
        return rows

    def items(self, bucket: int) -> np.ndarray:
        """Return the items of a shape, ascending."""
        return np.flatnonzero(self.bucket == bucket)


def squares(count: int, side: int) -> Buckets:
    """Return the one bucket of images that are padded to squares."""
    return Buckets([(side, side)], np.zeros(count, np.int64))


def bucket_shapes(resolution: int, multiple: int) -> list[Shape]:
    """Return all shapes, from wide to tall: sides that are multiples of `multiple`, as long as an
    area of at most resolution^2 allows, and an aspect of at most 2:1 and at least 1:2.

    Raises InputError if the square of the resolution is not one of them.
    """
    if not resolution or resolution % multiple:
        raise InputError("out-of-range.bucket", resolution=resolution, multiple=multiple)
    sides = range(multiple, int(WIDEST * resolution) + 1, multiple)
    pairs = [(side, resolution**2 // side // multiple * multiple) for side in sides]
    pairs = {(min(pair), max(pair)) for pair in pairs if max(pair) <= WIDEST * min(pair)}
    shapes = pairs | {pair[::-1] for pair in pairs}
    return sorted(shapes)


def assign(sizes: np.ndarray, shapes: list[Shape]) -> Buckets:
    """Return the buckets of images int (N, 2): the shapes of the nearest aspects; those that no
    image gets are skipped."""
    used, bucket = np.unique(nearest(sizes, shapes), return_inverse=True)
    return Buckets([shapes[number] for number in used], bucket)


def nearest(sizes: Sequence[Shape] | np.ndarray, shapes: list[Shape]) -> np.ndarray:
    """Return the place int (N,) in `shapes` of the aspect nearest to that of sizes (N, 2), on a log
    scale."""
    ours, theirs = (np.log(np.divide(*np.transpose(pairs))) for pairs in (sizes, shapes))
    return np.abs(ours[:, None] - theirs).argmin(1)


def shares_cut(sizes: np.ndarray, buckets: Buckets) -> np.ndarray:
    """Return the share of each image (N,) that `fit` crops."""
    aspects = sizes[:, 0] / sizes[:, 1]
    wanted = np.array([high / wide for high, wide in buckets.shapes])[buckets.bucket]
    return 1 - np.minimum(aspects, wanted) / np.maximum(aspects, wanted)


def cover(size: Shape, shape: Shape) -> tuple[float, float, float, float]:
    """Return the part of an image, (left, top, right, bottom), that fills a shape: as large as
    possible, from the centre."""
    height = min(size[0], size[1] * shape[0] / shape[1])
    width = min(size[1], size[0] * shape[1] / shape[0])
    left, top = (size[1] - width) / 2, (size[0] - height) / 2
    return left, top, size[1] - left, size[0] - top


def fit(pixels: np.ndarray, shape: Shape, how=Image.Resampling.LANCZOS) -> np.ndarray:
    """Return pixels uint8 (H, W) or (H, W, 3) scaled to cover a shape, cropped in the centre."""
    box = cover(pixels.shape[:2], shape)
    return np.asarray(Image.fromarray(pixels).resize(shape[::-1], how, box))


def image_sizes(source: Source, count: int) -> np.ndarray:
    """Return the sizes int (count, 2) of the first images of a source."""
    with ThreadPoolExecutor() as pool, progress_bar("sizes of images", count, delay=2) as bar:
        sizes = []
        for size in pool.map(source.size, range(count)):
            sizes.append(size)
            bar.update(1)
    return np.array(sizes).reshape(-1, 2)


def find_buckets(
    source: Source, count: int, resolution: int, multiple: int
) -> tuple[Buckets, list[str]]:
    """Return the buckets of the first `count` images of a source, and lines that describe them.

    Raises InputError for a panorama, of which more than half would be cropped.
    """
    sizes = image_sizes(source, count)
    buckets = assign(sizes, bucket_shapes(resolution, multiple))
    cut = shares_cut(sizes, buckets)
    worst = int(cut.argmax())
    if cut[worst] > MOST_CUT:
        name, (height, width) = source.item_ids[worst], sizes[worst].tolist()
        raise InputError(
            "out-of-range.panorama", name=name, width=width, height=height, share=100 * cut[worst]
        )
    return buckets, describe(buckets, sizes, source.item_ids[worst])


def describe(buckets: Buckets, sizes: np.ndarray, worst: str) -> list[str]:
    """Return lines on buckets: how many items each has, and the shares that are cropped (of the
    item `worst` most) or would be margins of squares."""
    cut, padded = shares_cut(sizes, buckets), 1 - sizes.min(1) / sizes.max(1)
    most = f", {cut.max():.1%} of {worst!r}" if cut.max() else ""
    rows = zip(buckets.shapes, buckets.counts, strict=True)
    return [
        f"{counted(len(buckets.shapes), 'bucket')}: on average {cut.mean():.1%} of an image is "
        f"cropped{most}; padded to squares, {padded.mean():.1%} would be margin",
        *(f"  {wide} x {high} pixels: {counted(count, 'item')}" for (high, wide), count in rows),
    ]
