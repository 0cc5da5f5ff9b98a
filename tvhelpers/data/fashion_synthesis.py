"""Image stores in HDF5, above all the Fashion Synthesis benchmark's G2.h5: inspect, decode, write.

G2.h5 holds `ih` float32 (N, 3, 128, 128), each sample (C, W, H), RGB/255 minus the mean image;
`ih_mean` float32 (3, 128, 128); `b_` (N, 1, 128, 128), segmentation labels 0..6.
Right is clip(ih + ih_mean, 0, 1) with the axes turned to (H, W, C) (zhusz/ICCV17-fashionGAN,
demo_full.lua).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

import h5py
import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data import annotations as codebook
from tvhelpers.data.evidence import AXES, DOCUMENTED, judge_rows, outside_range
from tvhelpers.runtime import atomic_path

DECODES = {"mean": "mean_subtracted", "affine": "affine", "unit": "unit", "uint8": "uint8"}
SAMPLE_ROWS = 256
SIZE = 128
CLIP_SHARE = 0.01  # of a row's values that the mean decode may clip by more than one level


def open_h5(path: Path) -> h5py.File:
    """Open an HDF5 file to read.

    Raises InputError where it is missing, empty, cut off, or not HDF5.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file; give an .h5 file")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes); get the file anew")
    if not os.access(path, os.R_OK):
        raise InputError(f"no permission to read {path}; change its mode, or copy it")
    try:
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file; give an .h5 file, such as G2.h5")
        return h5py.File(path, "r")
    except OSError as error:
        cut = "is cut off" if "truncated" in str(error) else "cannot be read"
        raise InputError(f"{path} {cut} ({_one_line(error)}); get the file anew") from None


def find_h5(path: Path) -> Path:
    """Return the .h5 file meant by a file, or by a folder in the benchmark's or our own layout."""
    path = Path(path)
    for inside in ("Img/G2.h5", "G2.h5", "pixels.h5"):
        if (path / inside).is_file():
            return path / inside
    if path.is_dir():
        raise InputError(
            f"{path} holds no Img/G2.h5 and no pixels.h5; give a folder or file that does"
        )
    return path


@contextlib.contextmanager
def _readable(path: Path, what: str = "it"):
    """Turn what h5py raises on a damaged file, which is nearly anything, into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        reason = f"{what} cannot be read: {_one_line(error)}"
        raise InputError(f"{path} is damaged ({reason}); get the file anew") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    found = {}
    file.visititems(
        lambda name, item: found.update({name: item} if isinstance(item, h5py.Dataset) else {})
    )
    return found


def _is_images(data: h5py.Dataset) -> bool:
    shape = data.shape or ()
    return (
        len(shape) == 4
        and 3 in (shape[1], shape[3])
        and min(shape) > 0
        and data.dtype.kind in "uif"
    )


def _image_key(path: Path, found: dict[str, h5py.Dataset]) -> str:
    images = {name: data.size for name, data in found.items() if _is_images(data)}
    for name in (*DOCUMENTED, *sorted(images, key=images.get, reverse=True)):
        if name in images:
            return name
    seen = ", ".join(f"{name} {data.shape}" for name, data in found.items()) or "nothing"
    raise InputError(
        f"{path} holds no images: it has {seen}; needed is a numeric dataset (N, 3, ., .) or "
        "(N, ., ., 3)"
    )


def _read(path: Path, data: h5py.Dataset, start: int, stop: int) -> np.ndarray:
    with _readable(path, f"{data.name} from row {start} on"):
        return data[start:stop]


def _read_mean(
    path: Path, file: h5py.File, data: h5py.Dataset
) -> tuple[np.ndarray | None, list[str]]:
    """Return (the mean image in the images' own axes or None, faults)."""
    mean = file.get("ih_mean")
    if not isinstance(mean, h5py.Dataset):
        return None, []
    values = _read(path, mean, 0, len(mean)).astype(np.float32) if mean.shape else np.zeros(0)
    if values.size != np.prod(data.shape[1:]) or values.shape[-3:] != data.shape[1:]:
        return None, [
            f"ih_mean has shape {mean.shape}, but the images have {data.shape[1:]}; it is of no use"
        ]
    if not (values.min() >= 0 and values.max() <= 1):  # also where it holds NaN
        return None, [
            f"ih_mean goes from {values.min():.3g} to {values.max():.3g}, not within 0..1"
        ]
    return values.reshape(data.shape[1:]), []


def inspect_images(path: Path) -> dict:
    """Return what an HDF5 file (or a folder with one) holds, judged from up to 256 spread rows.

    {"path", "keys": {key: {"shape", "dtype", "chunks"}}, "images": {"key", "encoding":
    mean_subtracted | affine | unit | uint8 | unknown, "axes": CWH | CHW | HWC | WHC | unknown,
    "channels": RGB | unknown, "confidence": 0..1, "needs": a missing key or None, "range",
    "rows_sampled", "evidence"}, "faults": [sentence]}.  Raises InputError where the file cannot be
    read or holds no images.
    """
    path = find_h5(path)
    with open_h5(path) as file, _readable(path):
        found = _datasets(file)
        key = _image_key(path, found)
        keys = {
            name: {
                "shape": list(data.shape or ()),
                "dtype": str(data.dtype),
                "chunks": list(data.chunks) if data.chunks else None,
            }
            for name, data in found.items()
        }
        mean, faults = _read_mean(path, file, found[key])
        rows, bad = _sample(path, found[key])
    if bad:
        faults.append(f"rows with NaN or infinity among those sampled: {', '.join(map(str, bad))}")
    images = {"key": key, **judge_rows(rows, mean, key, faults)}
    return {"path": str(path), "keys": keys, "images": images, "faults": faults}


def _sample(path: Path, data: h5py.Dataset) -> tuple[np.ndarray, list[int]]:
    """Return (finite rows spread over the dataset, numbers of rows with NaN or infinity)."""
    count = min(SAMPLE_ROWS, max(8, 2**24 // int(np.prod(data.shape[1:]))))  # large images: fewer
    numbers = np.unique(np.linspace(0, len(data) - 1, count).astype(int))
    rows = np.stack([_read(path, data, i, i + 1)[0] for i in numbers])
    finite = np.isfinite(rows).all((1, 2, 3))
    if not finite.any():
        raise InputError(f"{path}: all sampled rows hold NaN or infinity; get the file anew")
    return rows[finite], numbers[~finite].tolist()


def open_h5_images(path: Path, decode: str = "auto", axes: str = "auto") -> H5Images:
    """Return the images of an HDF5 file as a sequence of pixels, uint8 (H, W, 3) RGB.

    `decode`: auto, mean (add ih_mean), affine ((x + 1) / 2), unit (0..1) or uint8; `axes`: auto or
    CWH, CHW, HWC, WHC.  Raises InputError where they cannot be told, or need a mean image that is
    missing.
    """
    report = inspect_images(path)
    images, path = report["images"], report["path"]
    if decode not in ("auto", *DECODES):
        raise InputError(f"unknown decode {decode!r}; choose auto, {', '.join(DECODES)}")
    encoding = images["encoding"] if decode == "auto" else DECODES[decode]
    if encoding == "unknown":
        low, high = images["range"]
        raise InputError(
            f"{path}: how the images are encoded cannot be told (values from {low:.3g} to "
            f"{high:.3g}); give --decode {', '.join(DECODES)}"
        )
    axes = images["axes"] if axes == "auto" else axes
    if axes not in AXES:
        raise InputError(
            f"{path}: the order of the axes is {axes}; give axes as one of {', '.join(AXES)}"
        )
    opened = H5Images(path, images["key"], encoding, axes)
    for fault in report["faults"]:
        warnings.warn(f"{path}: {fault}", stacklevel=2)
    return opened


class H5Images:
    """Decoded images of one dataset; `images[i]` is pixels uint8 (H, W, 3) RGB."""

    def __init__(self, path: Path, key: str, encoding: str, axes: str):
        self.path, self.encoding, self.axes = Path(path), encoding, axes
        self.file = open_h5(path)
        with _readable(self.path):
            self.data, labels = self.file[key], self.file.get("b_")
        self.labels = labels if isinstance(labels, h5py.Dataset) else None
        self.mean, faults = _read_mean(self.path, self.file, self.data)
        if encoding == "mean_subtracted" and self.mean is None:
            why = faults[0] if faults else "ih_mean, the mean image, is missing"
            raise InputError(
                f"{path}: the images are stored minus a mean image, but {why}; add ih_mean to "
                "the file"
            )
        if self.labels is not None and (
            self.labels.ndim != 4 or len(self.labels) != len(self.data)
        ):
            raise InputError(
                f"{path}: b_ has shape {self.labels.shape}, but there are {len(self.data)} images"
            )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]
        return self.read(index, index + 1)[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return pixels uint8 (n, H, W, 3) of rows start..stop - 1.

        Raises InputError where a row holds NaN or values that the decode takes out of 0..255.
        """
        values = _read(self.path, self.data, start, stop)
        if values.dtype != np.uint8:
            values = self._levels(values.astype(np.float32), start)
        elif self.encoding != "uint8":
            raise InputError(f"{self.path}: the images are uint8 already; use --decode uint8")
        return np.ascontiguousarray(values.transpose(AXES[self.axes]))

    def _levels(self, values: np.ndarray, start: int) -> np.ndarray:
        if self.encoding == "mean_subtracted":
            values += self.mean
        elif self.encoding == "affine":
            values += 1
        values *= {"affine": 127.5, "uint8": 1}.get(self.encoding, 255)
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

    def mask(self, index: int) -> np.ndarray | None:
        """Return the garment, bool (H, W), by segmentation labels 3 and 4; None without labels."""
        if self.labels is None:
            return None
        labels = _read(self.path, self.labels, index, index + 1)[0, 0]
        if not np.isin(labels, range(len(codebook.SEGMENTS))).all():
            raise InputError(
                f"{self.path}: b_ of row {index} holds labels outside 0..6; get the file anew"
            )
        return np.isin(labels.T, codebook.GARMENT_LABELS)


def write_g2(
    out_dir: Path,
    pixels,
    captions: list[str],
    categories,
    colours,
    *,
    sleeves=None,
    genders=None,
    products=None,
    masks=None,
    test_share: float = 0.1,
    seed: int = 0,
) -> Path:
    """Write Img/G2.h5, Anno/language_original.mat and Eval/ind.mat in the benchmark's layout.

    `pixels`: iterable of uint8 (128, 128, 3) RGB, as many as captions, read once; categories,
    colours, sleeves and genders: words or codes of the codebook; `products`: a folder name a row;
    `masks`: garments, bool (128, 128), otherwise what differs from the border.  Returns the path of
    G2.h5.  Raises InputError where it exists already, or where something does not fit.
    """
    path, count = Path(out_dir) / "Img" / "G2.h5", len(captions)
    if path.exists():
        raise InputError(
            f"{path} exists already, and nothing is overwritten; choose another folder"
        )
    columns = codebook.encode(count, captions, categories, colours, sleeves, genders, products)
    labels = np.where(np.isin(columns["cate_new"], codebook.LOWER_LABEL_CATEGORIES), 4, 3)
    with atomic_path(path) as aside:
        with h5py.File(aside, "w") as file:
            _write_images(file, pixels, masks, labels)
        codebook.write_language(path.parents[1] / "Anno" / "language_original.mat", columns)
        codebook.write_partition(path.parents[1] / "Eval" / "ind.mat", count, test_share, seed)
    return path


def _write_images(file: h5py.File, pixels, masks, labels: np.ndarray) -> None:
    """Write RGB/255 while its mean grows, then take the mean away: one pass over `pixels`."""
    count = len(labels)
    ih = file.create_dataset("ih", (count, 3, SIZE, SIZE), "f4")
    b_ = file.create_dataset("b_", (count, 1, SIZE, SIZE), "f4")
    total, number = np.zeros((SIZE, SIZE, 3)), 0
    for number, one in enumerate(pixels, 1):
        if np.shape(one) != (SIZE, SIZE, 3) or one.dtype != np.uint8 or number > count:
            raise InputError(
                f"image {number - 1} is {one.dtype} {np.shape(one)}; give {count} of uint8 "
                "(128, 128, 3)"
            )
        garment = (
            _differs_from_border(one) if masks is None else np.asarray(masks[number - 1], bool)
        )
        ih[number - 1] = (one.astype(np.float32) / 255).T
        b_[number - 1, 0] = garment.T * labels[number - 1]
        total += one
    if number != count:
        raise InputError(
            f"there are {number} images, but {count} captions; give one caption an image"
        )
    mean = (total / count / 255).astype(np.float32).T
    file["ih_mean"] = mean
    for row in range(count):
        ih[row] -= mean


def _differs_from_border(pixels: np.ndarray) -> np.ndarray:
    border = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), 0)
    return np.abs(pixels - border).max(-1) > 40
