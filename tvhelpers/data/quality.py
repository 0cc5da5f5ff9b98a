"""What is wrong with single images: not finite, flat, dull, clipped, there twice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tvhelpers.data.leakage import near_duplicates, thumbnail

FLAT = 2  # levels between darkest and brightest
DULL = 40  # levels between the 1st and the 99th percentile
CLIPPED = 0.5  # share of the inner half's values that are all black or all white
KINDS = {
    "flat": "are of one colour",
    "low dynamic range": f"span under {DULL} levels",
    "near-duplicate": "are nearly the same as an image before them",
    "clipped": f"have over {CLIPPED:.0%} of their middle at 0 or 255",
}


def image_faults(numbered: Iterable[tuple[int, np.ndarray]]) -> dict[str, list[int]]:
    """Return {kind of fault: numbers of the images that have it}, in one pass.

    `numbered`: (number, pixels uint8 (H, W, 3)); kinds are those of `KINDS`.
    """
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    numbers, thumbs = [], []
    for number, pixels in numbered:
        kinds = _kinds_of(pixels)
        for kind in kinds:
            found[kind].append(number)
        if "flat" not in kinds:
            numbers.append(number)
            thumbs.append(thumbnail(pixels))
    if thumbs:
        later = sorted(set(near_duplicates(np.stack(thumbs))[:, 1].tolist()))
        found["near-duplicate"] = [numbers[i] for i in later]
    return {kind: numbers for kind, numbers in found.items() if numbers}


def _kinds_of(pixels: np.ndarray) -> list[str]:
    if np.ptp(pixels) < FLAT:
        return ["flat"]
    kinds = []
    low, high = np.percentile(pixels.mean(-1), (1, 99))
    if high - low < DULL:
        kinds.append("low dynamic range")
    height, width = pixels.shape[:2]
    middle = pixels[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    if max((middle == 0).mean(), (middle == 255).mean()) > CLIPPED:
        kinds.append("clipped")
    return kinds


def fault_sentences(found: dict[str, list[int]], scanned: int) -> list[str]:
    """Return a sentence for each kind of fault, with the first numbers."""
    sentences = []
    for kind, numbers in found.items():
        first = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        sentences.append(f"{len(numbers)} of {scanned} images {KINDS[kind]} ({kind}): {first}")
    return sentences
