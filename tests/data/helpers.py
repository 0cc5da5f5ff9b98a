"""What tests of the data call: images and files of them."""

import io
import json

import h5py
import numpy as np
from PIL import Image

from tvhelpers import cli

ORDERS = {"HWC": (0, 1, 2, 3), "WHC": (0, 2, 1, 3), "CHW": (0, 3, 1, 2), "CWH": (0, 3, 2, 1)}


def noise(count, height=128, width=128, seed=0):
    shape = (count, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photos(folder, count=3, ending="png"):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = noise(count, 40, 30)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{i}.{ending}")
    return pixels


def random_image(seed, size=(12, 16)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(seed):
    out = io.BytesIO()
    Image.fromarray(random_image(seed)).save(out, "png")
    return out.getvalue()


def save(folder, *names):
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(seed))


def fashion_gen(path, numbers, encoding="latin-1"):
    """A file as Fashion-Gen's: byte strings in arrays (N, 1), images (N, 256, 256, 3) uint8."""
    words = {
        "input_description": [f"Robe décolletée {i}." for i in numbers],
        "input_category": ["DRESSES" for _ in numbers],
        "input_gender": ["Women" for _ in numbers],
        "input_name": ["name" for _ in numbers],
    }
    with h5py.File(path, "w") as file:
        file["input_image"] = np.stack([random_image(i, (256, 256)) for i in numbers])
        file["input_productID"] = np.array(numbers, np.int32)[:, None] // 2
        file["index"] = np.array(numbers)[:, None]
        for key, texts in words.items():
            file[key] = np.array([text.encode(encoding) for text in texts], "S64")[:, None]


def save_h5(path, values=None, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in ({"x": values} if values is not None else arrays).items():
            file[name] = array
    return path


def subtracted(pixels):
    unit = pixels.astype(np.float32) / 255
    return unit - unit.mean(0)


def stretched(pixels):
    low, high = (f(pixels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return ((pixels - low) / (high - low)).astype(np.float32)


def wrapped(pixels):
    return (subtracted(pixels) * 255).astype(np.int64).astype(np.uint8)


def converted(tmp_path, *words):
    """Convert by the command line, and return the rows of items.jsonl."""
    code = cli.main(["data", "convert", *map(str, words), "--out", str(tmp_path / "out")])
    assert code == 0
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
