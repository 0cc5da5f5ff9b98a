"""How does one HDF5 file hold images of several sizes?  One after the other, with their sizes.

`pixels` uint8 (bytes of all images,) holds them row by row as RGB, `sizes` int32 (N, 2) height and
width.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tvhelpers.data.arrays import open_arrays, rows_of
from tvhelpers.data.detect import SAMPLE_ROWS, about_array
from tvhelpers.data.items import Images
from tvhelpers.data.quality import image_issues
from tvhelpers.errors import InputError


class MixedImages(Images):
    """The images of such a file; `images[i]` is pixels uint8 (H, W, 3) RGB."""

    def __init__(self, path: Path):
        """Open the file; raises InputError if pixels and sizes do not fit together."""
        arrays = open_arrays(path)
        self.path, self.data = path, arrays["pixels"]
        self.sizes = rows_of(path, "sizes", arrays["sizes"], 0, len(arrays["sizes"]))
        are_sizes = self.sizes.shape[1:] == (2,) and self.sizes.min(initial=1) > 0
        if not are_sizes or starts_of(self.sizes)[-1] != len(self.data):
            raise InputError("file-damaged.conversion", path=path)
        self.starts = starts_of(self.sizes)
        super().__init__(len(self.sizes), self._pixels)

    def _pixels(self, index: int) -> np.ndarray:
        row = rows_of(self.path, "pixels", self.data, *self.starts[index : index + 2])
        return row.reshape(*self.sizes[index], 3)

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an image."""
        return tuple(self.sizes[index].tolist())


def is_mixed(path: Path) -> bool:
    """Return whether an array file holds images of several sizes."""
    arrays = open_arrays(path)
    return {"sizes", "pixels"} <= {*arrays} and len(arrays["pixels"].shape or ()) == 1


def inspect_mixed(path: Path, all_rows: bool = False) -> dict:
    """Return the report of `h5.inspect_images` on such a file: its layout is known, so only values
    and issues are looked for."""
    images, levels, arrays = MixedImages(path), [], open_arrays(path)
    count = len(images) if all_rows else min(SAMPLE_ROWS, len(images))
    numbers = np.unique(np.linspace(0, len(images) - 1, count).astype(int)).tolist()

    def sampled() -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number, pixels) of an image at a time, and note its lowest and highest level."""
        for number in numbers:
            pixels = images[number]
            levels.extend((float(pixels.min()), float(pixels.max())))
            yield number, pixels

    issues = image_issues(sampled(), len(numbers))
    ends = [f"{wide} x {high}" for high, wide in (images.sizes.min(0), images.sizes.max(0))]
    said = f"`sizes` has the size of each image, from {ends[0]} to {ends[1]} pixels"
    found = {"key": "pixels", "encoding": "uint8", "axes": "HWC", "channels": "RGB"}
    found |= {"confidence": 1.0, "doubtful": [], "needs": None, "rows_sampled": len(numbers)}
    found |= {"range": [min(levels), max(levels)], "evidence": [said]}
    keys = {name: about_array(data) for name, data in arrays.items()}
    return {"path": str(path), "keys": keys, "images": found, "faults": issues}


def starts_of(sizes: np.ndarray) -> np.ndarray:
    """Return where each image (N, 2) begins among all bytes, and where the last one ends."""
    return np.append(0, np.cumsum(3 * sizes.astype(np.int64).prod(1)))
