"""Which pictures and captions is a CLIP tuned on, and which caption is true of which picture?"""

import hashlib
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from tvhelpers.data.sources import Source
from tvhelpers.data.split import split_by_product
from tvhelpers.errors import InputError
from tvhelpers.files import content_key
from tvhelpers.models.clip import at_side
from tvhelpers.models.clip_checks import attribute_codes, fitting

HELD_OUT = 0.1  # of the items, whole products


class Pairs:
    """Pictures uint8 (N, S, S, 3) at a CLIP's own side, with captions and what they state.

    The pictures lie in a nameless file on the disk: a large set needs little memory.  Raises
    InputError for captions that are empty, or all the same.
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
        """Return 1.0 (n, n) where the caption of picture i is true of picture j, among `rows`."""
        return fitting(*(part[rows] for part in self.codes)).float()


def halves_of(source: Source, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the items to train on and the held-out ones."""
    splits = np.array(source.splits)
    own, held = np.isin(splits, ("", "train")), splits == "val"
    if not held.any():
        held = own & split_by_product(source.product_ids, HELD_OUT, seed)
    return np.flatnonzero(own & ~held), np.flatnonzero(held)


def pairs_of(size: int, *parts: tuple[Source, Sequence[int]]) -> Pairs:
    """Return some items of sources; what a caption states is true of its own source alone, or
    drawings and photos of one kind would be drawn together."""
    items = [(place, source, int(i)) for place, (source, rows) in enumerate(parts) for i in rows]
    pixels = (source.pixels(i) for _, source, i in items)
    captions = [source.captions[i] for _, source, i in items]
    rows = [(source.attributes[i], {"source": str(place)}) for place, source, i in items]
    return Pairs(pixels, captions, [row and row | own for row, own in rows], size)


def _on_disk(pixels: Iterable[np.ndarray], size: int) -> tuple[np.ndarray, str]:
    """Return pictures uint8 (N, size, size, 3), mapped into memory, and the digest of them all."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        for one in pixels:
            data = at_side(one, size).tobytes()
            digest.update(data)
            file.write(data)
        file.flush()
        return np.memmap(file, np.uint8, "r+").reshape(-1, size, size, 3), digest.hexdigest()
