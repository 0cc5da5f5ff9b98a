"""How are the images of an HDF5, .npz or .npy file decoded to pixels?"""

import contextlib
import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tvhelpers.config import check_choice
from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.data.arrays import (
    MAX_ROW,
    check_chunks,
    find_array_file,
    open_arrays,
    own_mean,
    read_errors,
    rows_of,
)
from tvhelpers.data.detect import AXES, detect_format, outside_range
from tvhelpers.data.items import Images
from tvhelpers.data.mat import read_mat
from tvhelpers.data.mixed_sizes import inspect_mixed, is_mixed
from tvhelpers.data.quality import image_issues
from tvhelpers.errors import InputError

DECODES = {"mean": "mean_subtracted", "affine": "affine", "unit": "unit", "uint8": "uint8"}
CHOICES = {"decode": (*DECODES,), "axes": (*AXES,), "channels": ("RGB", "BGR")}
CLIP_SHARE = 0.01  # of a row's values that the mean decode may clip by more than one level


class StoredImages(Images):
    """Decoded images of one array; `images[i]` is pixels uint8 (H, W, 3) RGB."""

    def __init__(self, report: dict, mean: Path | None = None):
        """Open what `inspect_images` reported; `mean`: a file to take the mean image from."""
        images = report["images"]
        self.path, self.key = Path(report["path"]), images["key"]
        self.encoding, self.axes = images["encoding"], images["axes"]
        self.reversed = images["channels"] == "BGR"
        arrays = open_arrays(self.path)
        with read_errors(self.path):
            self.data, self.labels = arrays[self.key], arrays.get("b_")
        self.count = len(self.data)
        self.mean = self._find_mean(arrays, mean) if self.encoding == "mean_subtracted" else None
        if self.labels is not None:
            self._check_labels()

    def _find_mean(self, arrays: dict, given: Path | None) -> np.ndarray:
        shape = self.data.shape[1:]
        if given is not None:
            return read_mean_image(given, shape, self.axes)
        mean, issues = own_mean(self.path, arrays, shape)
        if mean is None:
            if issues:
                raise InputError("mean-missing.unusable", path=self.path, why=issues[0])
            raise InputError("mean-missing", path=self.path)
        return mean

    def _check_labels(self) -> None:
        """Raise InputError where b_ is not numbers (N, 1, W, H) that fit the images."""
        turned = np.array(self.data.shape)[list(AXES[self.axes])]
        wanted = (len(self.data), 1, int(turned[2]), int(turned[1]))
        if self.labels.shape != wanted or self.labels.dtype.kind not in "uif":
            seen = f"{self.labels.dtype} {self.labels.shape}"
            raise InputError("wrong-shape.labels", path=self.path, seen=seen, shape=wanted)

    def get(self, index: int) -> np.ndarray:
        """Return one decoded image, uint8 (H, W, 3)."""
        return self.read(index, index + 1)[0]

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width), the same of all images."""
        return tuple(np.array(self.data.shape)[list(AXES[self.axes])][1:3].tolist())

    def reading(self) -> list:
        """Return what the pixels depend on beside the file, JSON-able."""
        mean = None if self.mean is None else hashlib.sha256(self.mean.tobytes()).hexdigest()
        return [self.key, self.encoding, self.axes, self.reversed, mean]

    def read(self, start: int, stop: int) -> Iterable[np.ndarray]:
        """Return pixels uint8 (n, H, W, 3) of rows start..stop - 1; for large images an iterator.

        Raises InputError where a row holds NaN, or decoded values outside 0..255.
        """
        if stop - start > max(1, MAX_ROW // math.prod(self.data.shape[1:])):
            return (self.get(index) for index in range(start, stop))
        values = rows_of(self.path, self.key, self.data, start, stop)
        if values.dtype != np.uint8:
            values = self._levels(values.astype(np.float32), start)
        elif self.encoding not in ("uint8", "minmax"):
            raise InputError("wrong-decode.uint8", path=self.path)
        pixels = values.transpose(AXES[self.axes])
        return np.ascontiguousarray(pixels[..., ::-1] if self.reversed else pixels)

    def _levels(self, values: np.ndarray, start: int) -> np.ndarray:
        if self.encoding == "mean_subtracted":
            values += self.mean
        elif self.encoding == "affine":
            values += 1
        levels = self.encoding == "minmax" and values.max(initial=0) > 2
        scales = {"affine": 127.5, "uint8": 1}
        values *= 1 if levels else scales.get(self.encoding, 255)
        if not -0.5 <= values.min() <= values.max() < 255.5:  # also where there is NaN
            self._check(values, start)
            np.clip(values, 0, 255, out=values)
        return np.rint(values, out=values).astype(np.uint8)

    def _check(self, levels: np.ndarray, start: int) -> None:
        allowed = CLIP_SHARE if self.encoding == "mean_subtracted" else 0
        for row, one in enumerate(levels, start):
            if not np.isfinite(one).all():
                raise InputError("file-damaged.not-finite", path=self.path, row=row)
            if outside_range(one, 1 if allowed else 0.5, 255).mean() > allowed:
                low, high = round(float(one.min())), round(float(one.max()))
                raise InputError(
                    "wrong-decode", row=row, path=self.path, how=self.encoding, low=low, high=high
                )

    def regions(self, index: int) -> np.ndarray | None:
        """Return the regions of `items.REGIONS`, uint8 (H, W), by segmentation labels; None without
        labels."""
        if self.labels is None:
            return None
        labels = rows_of(self.path, "b_", self.labels, index, index + 1)[0, 0]
        if not np.isin(labels, range(len(codebook.SEGMENTS))).all():
            raise InputError("file-damaged.labels", path=self.path, row=index)
        return np.array(codebook.SEGMENT_REGIONS, np.uint8)[labels.T.astype(int)]


def open_images(
    path: Path,
    decode: str = "auto",
    axes: str = "auto",
    channels: str = "auto",
    mean: Path | None = None,
    key: str = "",
) -> StoredImages:
    """Return the images of an array file as a sequence of pixels, uint8 (H, W, 3) RGB.

    `decode`: auto, mean (add the mean image), affine ((x + 1) / 2), unit (0..1) or uint8; `axes`:
    auto or CWH, CHW, HWC, WHC; `channels`: auto, RGB or BGR; `mean`: a file with the mean image;
    `key`: the array of the images; "" finds it.  Raises InputError where the encoding or axes are
    not detected, or a mean image is needed and missing.
    """
    check_choices(decode=decode, axes=axes, channels=channels)
    report, _ = detect_format(path, key)
    if mean is not None and decode == "auto":
        decode = "mean"
    given = {"encoding": DECODES.get(decode, "auto"), "axes": axes, "channels": channels}
    report["images"] |= {what: value for what, value in given.items() if value != "auto"}
    _check_detected(report["path"], report["images"])
    opened = StoredImages(report, mean)
    for issue in report["faults"] if decode == "auto" else ():
        warnings.warn(f"{report['path']}: {issue}", stacklevel=2)
    return opened


def check_choices(**given: str) -> None:
    """Raise InputError for an unknown decode, axes or channels."""
    for what, value in given.items():
        check_choice(what, value, ("auto", *CHOICES[what]))


def _check_detected(path: str, images: dict) -> None:
    """Raise InputError for what was not detected, so that the user must give it."""
    if images["encoding"] == "wrapped":
        raise InputError("file-damaged.wrapped", path=Path(path))
    for what, flag in (("encoding", "decode"), ("axes", "axes")):
        if images[what] == "unknown":
            low, high = images["range"]
            known, place = CHOICES[flag], Path(path)
            raise InputError(
                "undecided", path=place, what=what, low=low, high=high, flag=flag, known=known
            )


def read_mean_image(path: Path, shape: tuple, axes: str) -> np.ndarray:
    """Return a mean image 0..1 for images of `shape` and `axes`, from .mat, .npy, .npz or .h5.

    It may be stored in the images' own axes, or as (H, W, 3).  Raises InputError otherwise.
    """
    values = np.squeeze(_mean_values(Path(path)))
    values = values.astype(np.float32) if values.dtype.kind in "uif" else np.zeros(())
    if values.shape != shape and values.ndim == 3 and values.shape[2] == 3:
        values = values.transpose(np.argsort(np.array(AXES[axes][1:]) - 1))
    if values.shape != shape or not 0 <= values.min() <= values.max() <= 1:
        raise InputError("wrong-shape.mean", path=path, shape=shape, seen=values.shape)
    return values


def _mean_values(path: Path) -> np.ndarray:
    if path.suffix == ".mat":
        return read_mat(path, ("ih_mean",), ravel=False)["ih_mean"]
    arrays = open_arrays(path)
    key = "ih_mean" if "ih_mean" in arrays else next(iter(arrays), "")
    if not key:
        raise InputError("no-images.mean", path=path)
    with read_errors(path, key):
        check_chunks(path, key, arrays[key])
        return np.asarray(arrays[key][()])


def inspect_images(path: Path, all_rows: bool = False) -> dict:
    """Return what a file (or a folder with one) holds, from up to 256 rows spread over it.

    {"path", "keys": {key: {"shape", "dtype", "chunks"}}, "images": {"key", "encoding":
    mean_subtracted | affine | unit | uint8 | minmax | wrapped | unknown, "axes": CWH | CHW | HWC |
    WHC | unknown, "channels": RGB | BGR | unknown, "confidence": the least of these, 0..1,
    "needs": a missing key or None, "range", "rows_sampled", "evidence"},
    "faults": [issue in a sentence]}.

    `all_rows`: look for issues of single images in all rows.  Raises InputError where the file
    cannot be read or holds no images.
    """
    if is_mixed(file := find_array_file(path)):
        return inspect_mixed(file, all_rows)
    report, numbers = detect_format(path)
    images = report["images"]
    lost = {"unknown", "wrapped"} & {images["encoding"], images["axes"]}
    if not lost and not images["needs"]:
        stored = StoredImages(report)
        numbers = range(len(stored)) if all_rows else numbers.tolist()
        report["faults"] += image_issues(_decoded(stored, numbers), len(numbers))
    return report


def _decoded(images: StoredImages, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number, pixels) of those images that can be decoded."""
    for number in numbers:
        with contextlib.suppress(InputError):
            yield number, images[number]
