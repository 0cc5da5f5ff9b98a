"""What may be wrong with a photo that can be read: is it small, dark, empty, or there twice?"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tvhelpers.data.leakage import near_duplicates
from tvhelpers.data.quality import issues_of

DARK = 90  # levels of brightness that 95 of 100 pixels of a very dark photo are under
COVERED = 0.02  # share of the middle half that a garment covers at least
LONGER = 1.1  # times the other side: such a photo is wide, or tall
MAJORITY, FEWEST = 0.6, 4  # share and number of photos from which on "most" is said
WORDS = {
    "flat": "one colour only, nothing to see",
    "low dynamic range": "hardly any contrast",
    "clipped": "over half of its middle is pure black or pure white",
}


def issues_of_photo(pixels: np.ndarray, covers: float | None) -> list[str]:
    """Return the issues of one photo, in words.

    `pixels` uint8 (h, w, 3): the photo, reduced; `covers`: share of its middle half that a garment
    covers, 0..1, None where that was not measured.
    """
    found = [WORDS[issue] for issue in issues_of(pixels)]
    if WORDS["flat"] in found:
        return found
    if np.percentile(pixels.mean(-1), 95) < DARK:
        found.append("very dark")
    if covers is not None and covers < COVERED:
        found.append("no garment stands out in the middle")
    return found


def small(sizes: Sequence[tuple[int, int]], wanted: int) -> tuple[dict[int, str], str]:
    """Return ({number: issue} of the photos of sizes (width, height) that are smaller than the
    `wanted` pixels of the training, ""); if all are, ({}, a remark that says so once)."""
    found = {
        number: f"small: {size[0]} x {size[1]} pixels, and the training uses {wanted}"
        for number, size in enumerate(sizes)
        if max(size) < wanted
    }
    if len(sizes) == 1 or len(found) < len(sizes):
        return found, ""
    largest = max(map(max, sizes))
    return {}, (
        f"all photos are small: the largest has {largest} pixels at its longer side, and the "
        f"training uses {wanted}; larger ones make sharper designs"
    )


def twins(thumbs: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return (first, later) of photos that are nearly the same, by their thumbnails uint8
    (16, 16, 3); a later photo is listed once, with its first twin."""
    pairs = near_duplicates(np.stack(thumbs)).tolist()
    first = {later: one for one, later in sorted(pairs, reverse=True)}
    return [(one, later) for later, one in sorted(first.items())]


def shape_of(size: tuple[int, int]) -> str:
    """Return "wide", "tall" or "square" of (width, height)."""
    width, height = size
    return "wide" if width > LONGER * height else "tall" if height > LONGER * width else "square"


def lying(sizes: Sequence[tuple[int, int]]) -> dict[int, str]:
    """Return {number: issue} of the photos that are wide where most are tall, or the reverse."""
    shapes = [shape_of(size) for size in sizes]
    usual, count = Counter(shapes).most_common(1)[0]
    if usual == "square" or len(shapes) < FEWEST or count < MAJORITY * len(shapes):
        return {}
    other = {"wide": "tall", "tall": "wide"}[usual]
    issue = f"{other}, and most others are {usual}: does it lie on its side?"
    return {number: issue for number, shape in enumerate(shapes) if shape == other}
