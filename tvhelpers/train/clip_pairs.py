"""Which images and captions is a CLIP tuned on, and which caption is true of which image?"""

import hashlib
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from tvhelpers.data.sources import Source
from tvhelpers.data.split import split_by_product
from tvhelpers.errors import InputError
from tvhelpers.files import content_key
from tvhelpers.models.clip import to_square
from tvhelpers.models.clip_checks import attribute_codes, fitting

VALIDATION_SHARE = 0.1  # of the items, whole products


class Pairs:
    """Images uint8 (N, S, S, 3) at a CLIP's own size, with captions and attributes.

    The images are in a temporary file, so a large set needs little memory.  Raises InputError if a
    caption is empty, or if all captions or all images are the same.
    """

    def __init__(self, pixels: Iterable[np.ndarray], captions, attributes, size: int):
        empty = sum(not caption.strip() for caption in captions)
        if empty:
            raise InputError("empty-captions", empty=empty, count=len(captions))
        if len(set(captions)) < 2:
            raise InputError("all-alike.captions")
        self.pixels, digest = _on_disk(pixels, size)
        if all(np.array_equal(one, self.pixels[0]) for one in self.pixels):
            raise InputError("all-alike.images")
        self.captions, self.attributes = list(captions), list(attributes)
        self.fingerprint = content_key([digest, self.captions, self.attributes])
        self.codes = attribute_codes(captions, attributes)

    def fits(self, rows: torch.Tensor) -> torch.Tensor:
        """Return float (n, n), 1 where the caption of image i is true of image j, among `rows`."""
        return fitting(*(part[rows] for part in self.codes)).float()


def train_and_validation(source: Source, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of (training items, validation items)."""
    splits = np.array(source.splits)
    own, validation = np.isin(splits, ("", "train")), splits == "val"
    if not validation.any():
        validation = own & split_by_product(source.product_ids, VALIDATION_SHARE, seed)
    return np.flatnonzero(own & ~validation), np.flatnonzero(validation)


def pairs_of(size: int, *parts: tuple[Source, Sequence[int]]) -> Pairs:
    """Return the pairs of some items of several sources.

    A caption is only true of images of its own source, or the embeddings of flats and photos with
    the same attributes would be pulled together.
    """
    items = [(place, source, int(i)) for place, (source, rows) in enumerate(parts) for i in rows]
    pixels = (source.pixels(i) for _, source, i in items)
    captions = [source.captions[i] for _, source, i in items]
    rows = [(source.attributes[i], {"source": str(place)}) for place, source, i in items]
    return Pairs(pixels, captions, [row and row | own for row, own in rows], size)


def _on_disk(pixels: Iterable[np.ndarray], size: int) -> tuple[np.ndarray, str]:
    """Return images uint8 (N, size, size, 3), memory-mapped, and their common digest."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        for one in pixels:
            data = to_square(one, size).tobytes()
            digest.update(data)
            file.write(data)
        file.flush()
        return np.memmap(file, np.uint8, "r+").reshape(-1, size, size, 3), digest.hexdigest()
