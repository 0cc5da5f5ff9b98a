"""The Fashion Synthesis benchmark's file layout, written from images of one's own.

G2.h5 holds `ih` float32 (N, 3, 128, 128), each sample (C, W, H), RGB/255 minus the mean image;
`ih_mean` float32 (3, 128, 128); `b_` (N, 1, 128, 128), segmentation labels 0..6.
Right is clip(ih + ih_mean, 0, 1) with the axes turned to (H, W, C) (zhusz/ICCV17-fashionGAN,
demo_full.lua); `tvhelpers.data.h5` reads it.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.files import atomic_path

SIZE = 128


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
