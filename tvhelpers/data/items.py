"""What is an item, and what is the source of items that every data format is opened as?"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tvhelpers.errors import InputError
from tvhelpers.files import content_key, file_sha256
from tvhelpers.text import UNUSABLE, clean

REGIONS = ("background", "skin", "garment")  # by code 0, 1, 2; skin: hair, face, arms, legs
GARMENT = REGIONS.index("garment")
ATTRIBUTES = ("category", "colour", "pattern", "sleeve", "neckline", "length", "gender")
COLUMNS = ("captions", "item_ids", "product_ids", "attributes", "splits")  # lists of a source


@dataclass(frozen=True)
class Item:
    """One garment: pixels uint8 (H, W, 3) sRGB; mask bool (H, W) of the garment, or None."""

    pixels: np.ndarray
    mask: np.ndarray | None
    caption: str
    item_id: str
    product_id: str
    attributes: dict[str, str]
    split: str  # "train", "test", "val", or "" where the source has no split of its own


@dataclass(eq=False)
class Images:
    """`count` images; `get(i)` returns pixels uint8 (H, W, 3) sRGB.

    A subclass may know the `size` without decoding, read several at once, and know `regions`.
    """

    count: int
    get: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        return self.get(range(self.count)[index])

    def read(self, start: int, stop: int) -> Iterable[np.ndarray]:
        """Return pixels uint8 (H, W, 3) of images start..stop - 1."""
        return (self[index] for index in range(start, stop))

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an image."""
        return self[index].shape[:2]

    def regions(self, index: int) -> np.ndarray | None:
        """Return each pixel's code in REGIONS, uint8 (H, W); None where unknown."""
        return None


@dataclass
class Source:
    """N items: lists of N captions, ids, products, attributes and splits, and N images or None.

    attributes: {"category": "dress", "colour": "red", ...}, only what is known; splits: "train",
    "val", "test", or "" where the source has no split.  `fingerprint` changes with everything that
    a result computed from the source depends on; files in `skipped` {reason: names} do not count.
    """

    name: str
    fingerprint: str
    captions: list[str]
    item_ids: list[str]
    product_ids: list[str]
    attributes: list[dict[str, str]]
    splits: list[str]
    images: Images | None = None
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions)

    def pixels(self, index: int) -> np.ndarray:
        """Return pixels uint8 (H, W, 3) sRGB of item `index`; raises InputError without images."""
        if self.images is None:
            raise InputError("no-images.captions-alone", name=self.name)
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an item's image, where possible without decoding it."""
        return self.images.size(index) if self.images else self.pixels(index).shape[:2]

    def read(self, start: int, stop: int) -> Iterable[np.ndarray]:
        """Return pixels uint8 (H, W, 3) of items start..stop - 1, read together where possible."""
        if self.images:
            return self.images.read(start, stop)
        return (self.pixels(index) for index in range(start, stop))

    def regions(self, index: int) -> np.ndarray | None:
        """Return each pixel's code in REGIONS, uint8 (H, W); None where unknown."""
        return self.images.regions(index) if self.images else None

    def mask(self, index: int) -> np.ndarray | None:
        """Return the mask of the garment, bool (H, W); None where unknown."""
        regions = self.regions(index)
        return None if regions is None else regions == GARMENT

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]
        words = [getattr(self, name)[index] for name in COLUMNS]
        return Item(self.pixels(index), self.mask(index), *words)


def checked(source: Source) -> Source:
    """Return a source; raises InputError if one of its texts cannot be stored (`text.clean`)."""
    for column in ("captions", "item_ids", "product_ids", "attributes"):
        texts = getattr(source, column)
        if column == "attributes":
            texts = [" ".join(map(str, labels.values())) for labels in texts]
        if UNUSABLE.search(" ".join(texts)):
            for number, text in enumerate(texts):
                clean(text, f"row {number} of {source.name}")
    return source


class Subset(Source):
    """Items `numbers` of a source, in that order."""

    def __init__(self, source: Source, numbers: list[int]):
        columns = {name: [getattr(source, name)[i] for i in numbers] for name in COLUMNS}
        key = content_key([source.fingerprint, numbers])
        super().__init__(source.name, key, **columns, skipped=source.skipped)
        self.source, self.numbers = source, numbers

    def pixels(self, index: int) -> np.ndarray:
        """Return the image of an item of the source."""
        return self.source.pixels(self.numbers[index])

    def size(self, index: int) -> tuple[int, int]:
        """Return the size of the image of an item of the source."""
        return self.source.size(self.numbers[index])

    def regions(self, index: int) -> np.ndarray | None:
        """Return the mask of an item of the source, None without masks."""
        return self.source.regions(self.numbers[index])


DIGEST_PIECES = 4096  # that are read of a file too large to be read in full
WHOLE = 4 << 30  # bytes of the largest file that is read in full; about 2 seconds a GB


def file_digest(path: Path, pieces: int = DIGEST_PIECES, piece: int = 1 << 16) -> str:
    """Return 16 hex digits: SHA-256 of a file, or, above 4 GiB, of its size and spread pieces."""
    size = path.stat().st_size
    if size <= WHOLE:
        return file_sha256(path)[:16]
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for offset in np.unique(np.linspace(0, size - piece, pieces).astype(int)):
            file.seek(offset)
            digest.update(file.read(piece))
    return digest.hexdigest()[:16]
