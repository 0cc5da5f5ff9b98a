"""Which quality issues do single images have: one colour, low contrast, clipped, near-duplicate?"""

from collections.abc import Iterable

import numpy as np

from tvhelpers.data.leakage import near_duplicates, thumbnail
from tvhelpers.words import counted

FLAT = 2  # levels between darkest and brightest
DULL = 40  # levels between the 1st and the 99th percentile
CLIPPED = 0.5  # share of the inner half's values that are all black or all white
ISSUES = {
    "flat": "of one colour only",
    "low dynamic range": f"of under {DULL} levels of brightness",
    "near-duplicate": "nearly the same as an earlier image",
    "clipped": f"with over {CLIPPED:.0%} of the middle at 0 or 255",
}


def image_issues(numbered: Iterable[tuple[int, np.ndarray]], scanned: int) -> list[str]:
    """Return a sentence for each of `ISSUES` that images have, with their first 8 numbers.

    `numbered`: pairs (number, pixels uint8 (H, W, 3)), read once; `scanned`: how many.
    """
    found: dict[str, list[int]] = {issue: [] for issue in ISSUES}
    numbers, thumbs = [], []
    for number, pixels in numbered:
        issues = issues_of(pixels)
        for issue in issues:
            found[issue].append(number)
        if "flat" not in issues:
            numbers.append(number)
            thumbs.append(thumbnail(pixels))
    if thumbs:
        later = sorted(set(near_duplicates(np.stack(thumbs))[:, 1].tolist()))
        found["near-duplicate"] = [numbers[i] for i in later]
    return [_sentence(issue, having, scanned) for issue, having in found.items() if having]


def issues_of(pixels: np.ndarray) -> list[str]:
    """Return which of `ISSUES` an image, pixels uint8 (H, W, 3), has by itself."""
    if np.ptp(pixels) < FLAT:
        return ["flat"]
    issues = []
    low, high = np.percentile(pixels.mean(-1), (1, 99))
    if high - low < DULL:
        issues.append("low dynamic range")
    height, width = pixels.shape[:2]
    middle = pixels[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    if max((middle == 0).mean(), (middle == 255).mean()) > CLIPPED:
        issues.append("clipped")
    return issues


def _sentence(issue: str, numbers: list[int], scanned: int) -> str:
    first = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    are, which, them = "are", "image numbers", "them"
    if len(numbers) == 1:
        are, which, them = "is", "image number", "it"
    found = f"{len(numbers)} of {counted(scanned, 'image')} {are} {ISSUES[issue]} ({issue})"
    return f"{found}: {which} {first}; look at {them}"
