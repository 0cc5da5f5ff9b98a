"""Stores of images: HDF5, .npz and .npy files, inspected and decoded alike."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.data.arrays import open_arrays, readable
from tvhelpers.data.detect import AXES, DOCUMENTED, judge_rows, outside_range
from tvhelpers.data.mat import read_mat
from tvhelpers.data.quality import fault_sentences, image_faults

DECODES = {"mean": "mean_subtracted", "affine": "affine", "unit": "unit", "uint8": "uint8"}
CHANNELS = ("RGB", "BGR")
ENDINGS = (".h5", ".hdf5", ".npz", ".npy")
SAMPLE_ROWS = 256
CLIP_SHARE = 0.01  # of a row's values that the mean decode may clip by more than one level
LARGEST_ROW = 256 << 20  # bytes of one image


def find_store(path: Path) -> Path:
    """Return the file meant by a file, or by a folder in the benchmark's or our own layout."""
    path = Path(path)
    for inside in ("Img/G2.h5", "G2.h5", "pixels.h5"):
        if (path / inside).is_file():
            return path / inside
    if path.is_dir():
        raise InputError(
            f"{path} holds no Img/G2.h5 and no pixels.h5; give a folder or file that does (photos "
            "need no inspection: data convert takes them as they are)"
        )
    return path


def _is_images(data) -> bool:
    shape = data.shape or ()
    return (
        len(shape) == 4
        and 3 in (shape[1], shape[3])
        and min(shape) > 0
        and data.dtype.kind in "uif"
    )


def _image_key(path: Path, found: dict, given: str) -> str:
    images = {name: data.size for name, data in found.items() if _is_images(data)}
    names = (given,) if given else (*DOCUMENTED, *sorted(images, key=images.get, reverse=True))
    for name in names:
        if name in images:
            row = images[name] // found[name].shape[0] * found[name].dtype.itemsize
            if row > LARGEST_ROW:
                raise InputError(
                    f"{path}: one image of {name} takes {row >> 20} MB, which no photo does; get "
                    "the file anew"
                )
            return name
    seen = ", ".join(f"{name} {data.shape}" for name, data in found.items()) or "nothing"
    raise InputError(
        f"{path} holds no images{given and f' in {given}'}: it has {seen}; needed is a numeric "
        "dataset (N, 3, ., .) or (N, ., ., 3)"
    )


def _read(path: Path, key: str, data, start: int, stop: int) -> np.ndarray:
    with readable(path, f"{key} from row {start} on"):
        return np.asarray(data[start:stop])


def _own_mean(path: Path, found: dict, shape: tuple) -> tuple[np.ndarray | None, list[str]]:
    """Return (the file's mean image in the images' own axes or None, faults)."""
    mean = found.get("ih_mean")
    if mean is None:
        return None, []
    wanted = (shape, (1, *shape))
    if tuple(mean.shape or ()) not in wanted or mean.dtype.kind not in "uif":
        return None, [
            f"ih_mean is {mean.dtype} {mean.shape}, but the images are numbers {shape}; it is of "
            "no use"
        ]
    values = _read(path, "ih_mean", mean, 0, len(mean)).astype(np.float32)
    if not (values.min() >= 0 and values.max() <= 1):  # also where it holds NaN
        return None, [
            f"ih_mean goes from {values.min():.3g} to {values.max():.3g}, not within 0..1"
        ]
    return values.reshape(shape), []


def read_mean_image(path: Path, shape: tuple, axes: str) -> np.ndarray:
    """Return a mean image 0..1 for images of `shape` and `axes`, from .mat, .npy, .npz or .h5.

    It may be stored in the images' own axes, or as (H, W, 3).  Raises InputError otherwise.
    """
    path = Path(path)
    if path.suffix == ".mat":
        values = read_mat(path, ("ih_mean",), ravel=False)["ih_mean"]
    else:
        found = open_arrays(path)
        key = "ih_mean" if "ih_mean" in found else next(iter(found), "")
        if not key:
            raise InputError(f"{path} holds no array; give a mean image")
        values = _read(path, key, found[key], 0, len(found[key])) if found[key].shape else 0
    values = np.squeeze(values)
    values = values.astype(np.float32) if values.dtype.kind in "uif" else np.zeros(())
    if values.shape != shape and values.ndim == 3 and values.shape[2] == 3:
        back = np.argsort(np.array(AXES[axes][1:]) - 1)
        values = values.transpose(back)
    if values.shape != shape or not 0 <= values.min() <= values.max() <= 1:
        raise InputError(
            f"{path}: a mean image for images of {shape} must have that shape, or (H, W, 3), and "
            f"values within 0..1; it has {values.shape}"
        )
    return values


def inspect_images(path: Path, all_rows: bool = False) -> dict:
    """Return what a file (or a folder with one) holds, judged from up to 256 spread rows.

    {"path", "keys": {key: {"shape", "dtype", "chunks"}}, "images": {"key", "encoding":
    mean_subtracted | affine | unit | uint8 | minmax | wrapped | unknown, "axes": CWH | CHW | HWC |
    WHC | unknown, "channels": RGB | BGR | unknown, "confidence": 0..1 of the least sure of these,
    "needs": a missing key or None, "range", "rows_sampled", "evidence"}, "faults": [sentence]}.
    `all_rows`: look for faults of single images in all rows.  Raises InputError where the file
    cannot be read or holds no images.
    """
    report, numbers = _judge(Path(path), "")
    report["faults"] += _faults_of_images(report, numbers, all_rows)
    return report


def _judge(path: Path, key: str) -> tuple[dict, np.ndarray]:
    """Return (an inspection without the faults of single images, the numbers of its rows)."""
    path = find_store(path)
    found = open_arrays(path)
    with readable(path):
        key = _image_key(path, found, key)
        keys = {name: _about(data) for name, data in found.items()}
    mean, faults = _own_mean(path, found, found[key].shape[1:])
    numbers, rows, bad = _sample(path, key, found[key])
    images = {"key": key, **judge_rows(rows, mean, key)}
    faults += _faults_of_all(images, rows, mean)
    if bad:
        faults.append(f"rows with NaN or infinity among those sampled: {', '.join(map(str, bad))}")
    return {"path": str(path), "keys": keys, "images": images, "faults": faults}, numbers


def _about(data) -> dict:
    return {
        "shape": list(data.shape or ()),
        "dtype": str(data.dtype),
        "chunks": list(data.chunks) if getattr(data, "chunks", None) else None,
    }


def _sample(path: Path, key: str, data) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return (numbers and values of finite rows spread over the data, numbers of the others)."""
    count = min(SAMPLE_ROWS, max(8, 2**24 // int(np.prod(data.shape[1:]))))  # large images: fewer
    numbers = np.unique(np.linspace(0, len(data) - 1, count).astype(int))
    rows = np.stack([_read(path, key, data, i, i + 1)[0] for i in numbers])
    finite = np.isfinite(rows).all((1, 2, 3))
    if not finite.any():
        raise InputError(f"{path}: all sampled rows hold NaN or infinity; get the file anew")
    return numbers[finite], rows[finite], numbers[~finite].tolist()


def _faults_of_all(images: dict, rows: np.ndarray, mean: np.ndarray | None) -> list[str]:
    """Return what is wrong with all of the images alike."""
    if images["needs"]:
        return [
            "the images are stored minus a mean image, and ih_mean, the mean image, is missing; "
            "add the dataset ih_mean to the file, or give --mean FILE"
        ]
    if images["encoding"] == "wrapped":
        return [
            "the values were wrapped modulo 256 when they were written, and which of them is lost: "
            "beyond repair; get the original file"
        ]
    if images["encoding"] == "minmax":
        return [
            "each image was stretched to the whole range by itself: colours and brightness are not "
            "comparable, and what they were is lost; get the original file"
        ]
    faults = []
    if images["encoding"] == "mean_subtracted":
        clipped = int(outside_range(rows.astype(np.float32) + mean, 1 / 255).sum())
        if clipped:
            faults.append(
                f"{clipped} values of {rows.size} sampled are clipped by more than 1 level"
            )
    if images["doubtful"]:
        faults.append(
            f"{images['key']} should be {images['axes']}, but the images look as if they lay on "
            "their side; look at a few"
        )
    return faults


def _faults_of_images(report: dict, numbers: np.ndarray, all_rows: bool) -> list[str]:
    """Return a sentence for each kind of fault that single images have."""
    images = report["images"]
    if "unknown" in (images["encoding"], images["axes"]) or images["needs"]:
        return []
    if images["encoding"] == "wrapped":
        return []
    store = StoredImages(report)
    numbers = range(len(store)) if all_rows else numbers.tolist()
    readable_rows = ((i, pixels) for i in numbers if (pixels := store.try_row(i)) is not None)
    return fault_sentences(image_faults(readable_rows), len(numbers))


def open_images(
    path: Path,
    decode: str = "auto",
    axes: str = "auto",
    channels: str = "auto",
    mean: Path | None = None,
    key: str = "",
) -> StoredImages:
    """Return the images of a store as a sequence of pixels, uint8 (H, W, 3) RGB.

    `decode`: auto, mean (add the mean image), affine ((x + 1) / 2), unit (0..1) or uint8; `axes`:
    auto or CWH, CHW, HWC, WHC; `channels`: auto, RGB or BGR; `mean`: a file with the mean image;
    `key`: which array, where it is not the largest that can be images.  Raises InputError where
    they cannot be told, or need a mean image that is missing.
    """
    check_choices(decode, axes, channels)
    report, _ = _judge(Path(path), key)
    images, path = report["images"], report["path"]
    if mean is not None and decode == "auto":
        decode = "mean"
    if decode != "auto":
        images |= {"encoding": DECODES[decode]}
    if axes != "auto":
        images |= {"axes": axes}
    if channels != "auto":
        images |= {"channels": channels}
    _check_told(path, images)
    opened = StoredImages(report, mean)
    for fault in report["faults"] if decode == "auto" else ():
        warnings.warn(f"{path}: {fault}", stacklevel=2)
    return opened


def check_choices(decode: str, axes: str = "auto", channels: str = "auto") -> None:
    """Raise InputError for a decode, axes or channels that there are not."""
    for name, value, choices in (
        ("decode", decode, DECODES),
        ("axes", axes, AXES),
        ("channels", channels, CHANNELS),
    ):
        if value not in ("auto", *choices):
            raise InputError(f"unknown {name} {value!r}; choose auto, {', '.join(choices)}")


def _check_told(path: str, images: dict) -> None:
    """Raise InputError where something must be said by hand."""
    low, high = images["range"]
    if images["encoding"] == "unknown":
        raise InputError(
            f"{path}: how the images are encoded cannot be told (values from {low:.3g} to "
            f"{high:.3g}); give --decode {', '.join(DECODES)}"
        )
    if images["encoding"] == "wrapped":
        raise InputError(
            f"{path}: the values were wrapped modulo 256, which is beyond repair; get the original "
            "file, or give --decode uint8 to take them as they are"
        )
    if images["axes"] == "unknown":
        raise InputError(
            f"{path}: the order of the axes cannot be told; give --axes {', '.join(AXES)}"
        )


class StoredImages:
    """Decoded images of one array; `images[i]` is pixels uint8 (H, W, 3) RGB."""

    def __init__(self, report: dict, mean: Path | None = None):
        """Open what `inspect_images` reported; `mean`: a file to take the mean image from."""
        images = report["images"]
        self.path, self.key = Path(report["path"]), images["key"]
        self.encoding, self.axes = images["encoding"], images["axes"]
        self.reversed = images["channels"] == "BGR"
        arrays = open_arrays(self.path)
        with readable(self.path):
            self.data, self.labels = arrays[self.key], arrays.get("b_")
        self.mean = self._find_mean(arrays, mean) if self.encoding == "mean_subtracted" else None
        if self.labels is not None:
            self._check_labels()

    def _find_mean(self, arrays: dict, given: Path | None) -> np.ndarray:
        shape = self.data.shape[1:]
        if given is not None:
            return read_mean_image(given, shape, self.axes)
        mean, faults = _own_mean(self.path, arrays, shape)
        if mean is None:
            why = faults[0] if faults else "ih_mean, the mean image, is missing"
            raise InputError(
                f"{self.path}: the images are stored minus a mean image, but {why}; add ih_mean to "
                "the file, or give --mean FILE"
            )
        return mean

    def _check_labels(self) -> None:
        """Raise InputError where b_ is no (N, 1, W, H) of numbers, as the images are."""
        turned = np.array(self.data.shape)[list(AXES[self.axes])]
        wanted = (len(self.data), 1, turned[2], turned[1])
        if self.labels.shape != wanted or self.labels.dtype.kind not in "uif":
            raise InputError(
                f"{self.path}: b_ is {self.labels.dtype} {self.labels.shape}; for these images it "
                f"must be numbers {tuple(map(int, wanted))}"
            )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]
        return self.read(index, index + 1)[0]

    def reading(self) -> list:
        """Return what, beside the file, the pixels depend on."""
        mean = None if self.mean is None else hashlib.sha256(self.mean.tobytes()).hexdigest()
        return [self.key, self.encoding, self.axes, self.reversed, mean]

    def try_row(self, index: int) -> np.ndarray | None:
        """Return pixels of a row, None where it cannot be decoded."""
        try:
            return self[index]
        except InputError:
            return None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return pixels uint8 (n, H, W, 3) of rows start..stop - 1.

        Raises InputError where a row holds NaN or values that the decode takes out of 0..255.
        """
        values = _read(self.path, self.key, self.data, start, stop)
        if values.dtype != np.uint8:
            values = self._levels(values.astype(np.float32), start)
        elif self.encoding not in ("uint8", "minmax"):
            raise InputError(f"{self.path}: the images are uint8 already; use --decode uint8")
        pixels = values.transpose(AXES[self.axes])
        return np.ascontiguousarray(pixels[..., ::-1] if self.reversed else pixels)

    def _levels(self, values: np.ndarray, start: int) -> np.ndarray:
        if self.encoding == "mean_subtracted":
            values += self.mean
        elif self.encoding == "affine":
            values += 1
        in_levels = self.encoding == "uint8" or (
            self.encoding == "minmax" and values.max(initial=0) > 2
        )
        values *= 127.5 if self.encoding == "affine" else 1 if in_levels else 255
        if not -0.5 <= values.min() <= values.max() < 255.5:  # also where there is NaN
            self._check(values, start)
            np.clip(values, 0, 255, out=values)
        return np.rint(values, out=values).astype(np.uint8)

    def _check(self, levels: np.ndarray, start: int) -> None:
        allowed = CLIP_SHARE if self.encoding == "mean_subtracted" else 0
        for row, one in enumerate(levels, start):
            if not np.isfinite(one).all():
                raise InputError(f"{self.path}: row {row} holds NaN or infinity; get the file anew")
            if outside_range(one, 1 if allowed else 0.5, 255).mean() > allowed:
                raise InputError(
                    f"{self.path}: decoded as {self.encoding}, row {row} goes from "
                    f"{one.min():.0f} to {one.max():.0f} instead of 0..255; use --decode auto, "
                    "or see data inspect"
                )

    def regions(self, index: int) -> np.ndarray | None:
        """Return the regions of `items.REGIONS`, uint8 (H, W), by segmentation labels; None without
        labels."""
        if self.labels is None:
            return None
        labels = _read(self.path, "b_", self.labels, index, index + 1)[0, 0]
        if not np.isin(labels, range(len(codebook.SEGMENTS))).all():
            raise InputError(
                f"{self.path}: b_ of row {index} holds labels outside 0..6; get the file anew"
            )
        return np.array(codebook.SEGMENT_REGIONS, np.uint8)[labels.T.astype(int)]
