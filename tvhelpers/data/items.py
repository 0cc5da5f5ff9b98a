"""Items and sources: what every set of garments looks like to the rest of the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.files import content_key, file_sha256

REGIONS = ("background", "skin", "garment")  # skin: hair, face, arms, legs; a code is a place here
GARMENT = REGIONS.index("garment")
ATTRIBUTES = ("category", "colour", "pattern", "sleeve", "neckline", "length", "gender")


@dataclass(frozen=True)
class Item:
    """One garment: pixels uint8 (H, W, 3) RGB; mask bool (H, W) of the garment, or None."""

    pixels: np.ndarray
    caption: str
    attributes: dict[str, str]
    mask: np.ndarray | None
    item_id: str
    product_id: str
    split: str  # "train", "test", "val", or "" where the source has no split of its own


@dataclass
class Source:
    """What all sources have; a kind of source adds `pixels(i)`, and `regions(i)` where it can.

    `fingerprint` stands for everything that a result computed from the source depends on.
    """

    name: str
    fingerprint: str
    captions: list[str]
    item_ids: list[str]
    product_ids: list[str]
    attributes: list[dict[str, str]]
    splits: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def pixels(self, index: int) -> np.ndarray:
        """Return pixels uint8 (H, W, 3) RGB of item `index`."""
        raise NotImplementedError

    def regions(self, index: int) -> np.ndarray | None:
        """Return each pixel's place in REGIONS, uint8 (H, W), or None where it is not known."""
        return None

    def mask(self, index: int) -> np.ndarray | None:
        """Return the garment, bool (H, W), or None where it is not known."""
        regions = self.regions(index)
        return None if regions is None else regions == GARMENT

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]
        return Item(
            self.pixels(index),
            self.captions[index],
            self.attributes[index],
            self.mask(index),
            self.item_ids[index],
            self.product_ids[index],
            self.splits[index],
        )


@dataclass
class StoredSource(Source):
    """Items whose pixels are in a store: HDF5, .npz or .npy."""

    images: object = field(kw_only=True)  # StoredImages

    def pixels(self, index: int) -> np.ndarray:
        return self.images[index]

    def regions(self, index: int) -> np.ndarray | None:
        return self.images.regions(index)


class Part(Source):
    """Items `numbers` of a source, in that order."""

    def __init__(self, source: Source, numbers: list[int]):
        columns = ("captions", "item_ids", "product_ids", "attributes", "splits")
        rows = {name: [getattr(source, name)[i] for i in numbers] for name in columns}
        key = content_key([source.fingerprint, numbers])
        super().__init__(name=source.name, fingerprint=key, **rows)
        self.source, self.numbers = source, numbers

    def pixels(self, index: int) -> np.ndarray:
        return self.source.pixels(self.numbers[index])

    def regions(self, index: int) -> np.ndarray | None:
        return self.source.regions(self.numbers[index])


WHOLE = 4 << 30  # bytes up to which all of a file is read; about 2 seconds a GB


def file_digest(path: Path, pieces: int = 4096, piece: int = 1 << 16) -> str:
    """Return 16 hex digits of a file's bytes; of one over 4 GiB its size and pieces all over it."""
    size = path.stat().st_size
    if size <= WHOLE:
        return file_sha256(path)[:16]
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for offset in np.unique(np.linspace(0, size - piece, pieces).astype(int)):
            file.seek(offset)
            digest.update(file.read(piece))
    return digest.hexdigest()[:16]


def read_rows(path: Path) -> list[dict]:
    """Return the objects of a JSON-lines file; raises InputError where there are none."""
    try:
        rows = [
            json.loads(line)
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON lines ({error}); mend it") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} holds no rows, or some that are no objects; mend it")
    return rows
