"""Arrays of HDF5, .npz and .npy files, opened alike; what a damaged one raises is a sentence."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from tvhelpers.config import InputError, one_line

LARGEST_NPZ = 8 << 30  # bytes of one array, which is read into memory whole


class NpzArray:
    """One array of an .npz file: shape and type from its header, values read when asked for."""

    chunks = None

    def __init__(self, path: Path, name: str):
        self.path, self.name, self._values = path, name, None
        with zipfile.ZipFile(path) as archive, archive.open(name + ".npy") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, _, self.dtype = read(file)
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape, dtype=object))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        if self._values is None:
            if self.size * self.dtype.itemsize > LARGEST_NPZ:
                raise InputError(
                    f"{self.path}: {self.name} is {self.size * self.dtype.itemsize >> 30} GiB, "
                    "which an .npz keeps in memory whole; save it as .npy or .h5"
                )
            self._values = np.load(self.path, allow_pickle=False)[self.name]
        return self._values[rows]


def open_arrays(path: Path) -> dict:
    """Return {key: array-like} of a file by its ending; HDF5 stays open as long as they are used.

    Raises InputError where it is missing, empty, cut off, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file; give an .h5, .npz or .npy file")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes); get the file anew")
    if not os.access(path, os.R_OK):
        raise InputError(f"no permission to read {path}; change its mode, or copy it")
    with readable(path):
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
            raise InputError(f"{path} is not an HDF5 file; give an .h5 file, such as G2.h5")
        return h5py.File(path, "r")
    except OSError as error:
        cut = "is cut off" if "truncated" in str(error) else "cannot be read"
        raise InputError(f"{path} {cut} ({one_line(error)}); get the file anew") from None


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the datasets of a file; links to other files are not followed."""
    found = {}
    file.visititems(
        lambda name, item: found.update({name: item} if isinstance(item, h5py.Dataset) else {})
    )
    for name, data in found.items():
        if data.external or data.is_virtual:
            raise InputError(
                f"{file.filename}: {name} is stored in another file, which is not read; give one "
                "file with everything in it"
            )
    return found


@contextlib.contextmanager
def readable(path: Path, what: str = "it") -> Iterator[None]:
    """Turn what a damaged file raises, which is nearly anything, into one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = f"{what} cannot be read: {one_line(error)}"
        raise InputError(f"{path} is damaged ({reason}); get the file anew") from None
