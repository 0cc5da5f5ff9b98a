"""Claim: `data inspect` is never confidently wrong about encoding, axes or channels.

Six encodings x 4 orders of axes x 2 orders of channels x 4 sets of images (real photos, flats, dark
photos, noisy photos), 256 images a file, under a key that says nothing, without a mean image.  A
verdict is confident from 0.8 on; "unknown" is undecided.

python benchmarks/verdicts.py WORK_DIR      writes results/verdicts.json
"""

import argparse
import itertools
from pathlib import Path

import h5py
import numpy as np
from common import shared_folder, write_result

from tvhelpers import flats
from tvhelpers.data.h5 import inspect_images
from tvhelpers.image import read_photo, resize

COUNT, SIZE, CONFIDENT = 256, 128, 0.8
ORDERS = {"HWC": (0, 1, 2, 3), "WHC": (0, 2, 1, 3), "CHW": (0, 3, 1, 2), "CWH": (0, 3, 2, 1)}


def photo_set() -> np.ndarray:
    """Return every so many of the shared real photos."""
    paths = sorted((shared_folder() / "data" / "clothing" / "images").rglob("*.jpg"))
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, COUNT).astype(int)]
    return np.stack([resize(read_photo(path), SIZE) for path in chosen])


def mean_subtracted(pixels: np.ndarray) -> np.ndarray:
    """Return RGB/255 minus its mean, as the benchmark stores it."""
    unit = pixels.astype(np.float32) / 255
    return unit - unit.mean(0)


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Return each image stretched to 0..1 by itself."""
    low, high = (f(pixels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return ((pixels - low) / np.maximum(high - low, 1).astype(float)).astype(np.float32)


ENCODINGS = {
    "mean_subtracted": mean_subtracted,
    "affine": lambda pixels: pixels.astype(np.float32) / 127.5 - 1,
    "unit": lambda pixels: pixels.astype(np.float32) / 255,
    "uint8": lambda pixels: pixels,
    "minmax": stretched,
    "wrapped": lambda pixels: (mean_subtracted(pixels) * 255).astype(np.int64).astype(np.uint8),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("work_dir", type=Path)
work_dir = parser.parse_args().work_dir
work_dir.mkdir(parents=True, exist_ok=True)

photos = photo_set()
noise = np.random.default_rng(0).normal(0, 20, photos.shape)
sets = {
    "photos": photos,
    "flats": np.stack([flats.render(flats.random_spec(31, i), 31, i) for i in range(COUNT)]),
    "dark": (photos * 0.25).astype(np.uint8),
    "noisy": np.clip(photos + noise, 0, 255).astype(np.uint8),
}
rows, wrong = {}, []
for name, pixels in sets.items():
    tally = {
        part: {"right": 0, "undecided": 0, "wrong": 0} for part in ("encoding", "axes", "channels")
    }
    for encoding, axes, channels in itertools.product(ENCODINGS, ORDERS, ("RGB", "BGR")):
        ordered = pixels[..., ::-1] if channels == "BGR" else pixels
        values = ENCODINGS[encoding](ordered)
        path = work_dir / "case.h5"
        with h5py.File(path, "w") as file:
            file["images"] = values.transpose(ORDERS[axes])
        seen = inspect_images(path)["images"]
        for part, truth in (("encoding", encoding), ("axes", axes), ("channels", channels)):
            # images that reach from 0 to 255 already are not changed by a stretch
            whole = encoding == "minmax" and np.array_equal(values, ENCODINGS["unit"](ordered))
            same = part == "encoding" and whole
            if seen[part] == "unknown":
                outcome = "undecided"
            elif seen[part] == truth or same:
                outcome = "right"
            else:
                outcome = "wrong"
                wrong.append([name, encoding, axes, channels, part, seen[part], seen["confidence"]])
            tally[part][outcome] += 1
    rows[name] = tally
    print(name, tally, flush=True)
decided = sum(rows["photos"][part]["right"] for part in rows["photos"]) / (48 * 3)
result = {
    "cases": 48 * len(sets),
    "images_a_case": COUNT,
    "wrong": len(wrong),
    "wrong_and_confident": sum(row[-1] >= CONFIDENT for row in wrong),
    "photos_decided": round(decided, 3),
    "sets": rows,
    "wrong_cases": wrong,
}
write_result("verdicts", result)
