"""Which arrays does an HDF5, .npz or .npy file hold, and which of them holds the images?"""

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from tvhelpers.errors import InputError
from tvhelpers.files import read_tables

DOCUMENTED = {"ih": "CWH", "pixels": "HWC"}  # the benchmark's key and our own: their axes, both RGB
ISSUES = read_tables(__file__, "file_issues.yaml")
MAX_NPZ = 8 << 30  # bytes of one array, which is read into memory whole
MAX_ROW = 1 << 26  # numbers of one image: about 4,700 pixels a side
MAX_CHUNK = 512 << 20  # bytes of a compressed piece of HDF5, which is read into memory whole
MAX_GROWTH = 200  # factor by which unpacking may enlarge an .npz array over MAX_CHUNK


class NpzArray:
    """One array of an .npz file: shape and dtype from its header, values read on access."""

    def __init__(self, path: Path, name: str):
        self.path, self.name, self._values = path, name, None
        with zipfile.ZipFile(path) as archive, archive.open(name + ".npy") as file:
            version, _ = np.lib.format.read_magic(file)
            read = getattr(np.lib.format, f"read_array_header_{version}_0")
            self.shape, _, self.dtype = read(file)
            self.packed = archive.getinfo(name + ".npy").compress_size
        self.size = int(np.prod(self.shape, dtype=object))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        if self._values is None:
            size = self.size * self.dtype.itemsize
            grows = size > max(MAX_CHUNK, MAX_GROWTH * self.packed)
            if size > MAX_NPZ or grows:
                raise InputError("too-large.npz", path=self.path, name=self.name, size=size >> 30)
            self._values = np.load(self.path, allow_pickle=False)[self.name]
        return self._values[rows]


def open_arrays(path: Path) -> dict:
    """Return {key: array-like} of a file; HDF5 stays open as long as they are used.

    Raises InputError where the file is missing, empty, cut off, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("file-missing.arrays", path=path)
    if not path.stat().st_size:
        raise InputError("file-damaged.empty", path=path)
    if not os.access(path, os.R_OK):
        raise InputError("no-permission.read", path=path)
    with read_errors(path):
        if path.suffix == ".npy":
            return {"array": np.load(path, mmap_mode="r", allow_pickle=False)}
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            return {name: NpzArray(path, name) for name in names}
        return _datasets(_open_h5(path))


def _open_h5(path: Path) -> h5py.File:
    try:
        if not h5py.is_hdf5(path):
            raise InputError("another-format", path=path)
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError("file-damaged.reason", path=path, error=error) from None


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the datasets of a file; links to other files are not followed."""
    found = {}
    file.visititems(found.__setitem__)
    found = {name: item for name, item in found.items() if isinstance(item, h5py.Dataset)}
    for name, data in found.items():
        if data.external or data.is_virtual:
            raise InputError("outside-folder.dataset", path=Path(file.filename), name=name)
    return found


@contextlib.contextmanager
def read_errors(path: Path, what: str = "array") -> Iterator[None]:
    """Raise an InputError for whatever a damaged file makes a library raise."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError("file-damaged.part", path=path, name=what, error=error) from None


def rows_of(path: Path, key: str, data, start: int, stop: int) -> np.ndarray:
    """Return rows start..stop - 1 of an array; raises InputError where they are damaged."""
    with read_errors(path, f"{key} from row {start} on"):
        check_chunks(path, key, data)
        return np.asarray(data[start:stop])


def check_chunks(path: Path, key: str, data) -> None:
    """Raise InputError for an HDF5 dataset whose compressed chunks would fill the memory."""
    if isinstance(data, h5py.Dataset) and data.chunks:
        size = math.prod(data.chunks) * data.dtype.itemsize
        if size > MAX_CHUNK and data.id.get_create_plist().get_nfilters():
            raise InputError("too-large.chunk", path=path, key=key, size=size >> 20)


def find_array_file(path: Path) -> Path:
    """Return the array file of a folder in the benchmark's or our own layout, or a file itself."""
    path = Path(path)
    for inside in ("Img/G2.h5", "G2.h5", "pixels.h5"):
        if (path / inside).is_file():
            return path / inside
    if path.is_dir():
        raise InputError("no-images.store", path=path)
    return path


def image_key(path: Path, arrays: dict, given: str = "") -> str:
    """Return the key of the images: `given`, a documented one, or the largest that can be images.

    Raises InputError where no array can be images, or one image would exceed MAX_ROW.
    """
    images = {name: data.size for name, data in arrays.items() if can_be_images(data)}
    names = (given,) if given else (*DOCUMENTED, *sorted(images, key=images.get, reverse=True))
    key = next((name for name in names if name in images), None)
    if key is None:
        shapes = sorted(arrays, key=lambda name: name not in images)  # those of images first
        held = [f"{name} {arrays[name].shape}" for name in shapes]
        if given:
            raise InputError("no-images.key", path=path, key=given, held=held)
        raise InputError("no-images.arrays", path=path, held=held)
    row = images[key] // arrays[key].shape[0]
    if row > MAX_ROW:
        raise InputError("too-large.row", path=path, key=key, count=row, most=MAX_ROW)
    return key


def can_be_images(data) -> bool:
    """Return whether an array has the shape and numbers of colour images."""
    shape = data.shape or ()
    colours = len(shape) == 4 and 3 in (shape[1], shape[3])
    return colours and min(shape) > 0 and data.dtype.kind in "uif"


def own_mean(path: Path, arrays: dict, shape: tuple) -> tuple[np.ndarray | None, list[str]]:
    """Return (mean image float32 0..1 in the images' `shape`, or None; what is wrong with it)."""
    mean = arrays.get("ih_mean")
    if mean is None:
        return None, []
    if tuple(mean.shape or ()) not in (shape, (1, *shape)) or mean.dtype.kind not in "uif":
        about = {"dtype": mean.dtype, "shape": mean.shape, "wanted": shape}
        return None, [ISSUES["mean_type"].format(**about)]
    values = rows_of(path, "ih_mean", mean, 0, len(mean)).astype(np.float32)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # also where it holds NaN
        return None, [ISSUES["mean_range"].format(low=low, high=high)]
    return values.reshape(shape), []
