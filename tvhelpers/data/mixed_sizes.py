"""How does one HDF5 file hold images of several sizes?  One after the other, with their sizes.

`pixels` uint8 (bytes of all images,) holds them row by row as RGB, `sizes` int32 (N, 2) height and
width.
"""

from pathlib import Path

import numpy as np

from tvhelpers.data.arrays import open_arrays, rows_of
from tvhelpers.data.items import Images
from tvhelpers.errors import InputError


class MixedImages(Images):
    """The images of such a file; `images[i]` is pixels uint8 (H, W, 3) RGB."""

    def __init__(self, path: Path):
        """Open the file; raises InputError if pixels and sizes do not fit together."""
        arrays = open_arrays(path)
        self.path, self.data = path, arrays["pixels"]
        self.sizes = rows_of(path, "sizes", arrays["sizes"], 0, len(arrays["sizes"]))
        self.starts = starts_of(self.sizes)
        if self.starts[-1] != len(self.data):
            raise InputError("file-damaged.conversion", path=path)
        super().__init__(len(self.sizes), self._pixels)

    def _pixels(self, index: int) -> np.ndarray:
        row = rows_of(self.path, "pixels", self.data, *self.starts[index : index + 2])
        return row.reshape(*self.sizes[index], 3)

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an image."""
        return tuple(self.sizes[index].tolist())


def is_mixed(path: Path) -> bool:
    """Return whether an HDF5 file holds images of several sizes."""
    return "sizes" in open_arrays(path)


def starts_of(sizes: np.ndarray) -> np.ndarray:
    """Return where each image (N, 2) begins among all bytes, and where the last one ends."""
    return np.append(0, np.cumsum(3 * sizes.astype(np.int64).prod(1)))
