"""How is a file in the benchmark's format written, and what do wrong decodings of it look like?

G2.h5 holds `ih` float32 (N, 3, 128, 128), each sample (C, W, H), RGB/255 minus the mean image;
`ih_mean` float32 (3, 128, 128); `b_` (N, 1, 128, 128), segmentation labels 0..6.
The correct decoding is clip(ih + ih_mean, 0, 1) with the axes turned to (H, W, C)
(zhusz/ICCV17-fashionGAN, demo_full.lua), as in `tvhelpers.data.h5`.
"""

import contextlib
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tvhelpers import flats, manifest
from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.data.detect import AXES
from tvhelpers.data.h5 import StoredImages
from tvhelpers.errors import InputError
from tvhelpers.files import atomic_dir, atomic_path
from tvhelpers.image import read_photo

SIZE = 128
SEED = 21
# {encoding: starts of the names of decodings that are nearly correct}; others are as "unit".
HARMLESS = {"mean_subtracted": (), "affine": ("moved",), "unit": ("as stored", "wrapped")}
PROMPTS = (  # of the image in the README
    "green bomber jacket", "brown leather belt", "formal black dress", "V-neck t-shirt",
    "short overalls", "black sweatsuit", "tartan skirt", "black high-waisted skirt",
)  # fmt: skip


def find_or_write_g2(root: Path, count: int = 300) -> Path:
    """Return the gated benchmark's Img/G2.h5, or, without it, one written from `count` flats.

    The latter is written once, to root/artifacts/example-g2-COUNT.
    """
    with contextlib.suppress(InputError):
        own = manifest.local_path("fashion-synthesis") / "Img" / "G2.h5"
        if own.is_file():  # not where decoded images are there instead
            return own
    folder = Path(root) / "artifacts" / f"example-g2-{count}"
    path = folder / "Img" / "G2.h5"
    if path.is_file():
        return path
    specs = [flats.random_spec(SEED, i, categories=tuple(codebook.FLATS)) for i in range(count)]
    return write_g2(
        folder,
        (flats.render(spec, SEED, i) for i, spec in enumerate(specs)),
        [flats.caption(spec, SEED, i) for i, spec in enumerate(specs)],
        [codebook.FLATS[spec.category] for spec in specs],
        [spec.colour for spec in specs],
        products=[f"Flat_{i // 3:05d}" for i in range(count)],
        seed=SEED,
    )


def write_g2(
    out_dir: Path,
    pixels,
    captions: list[str],
    categories,
    colours,
    *,
    masks=None,
    test_share: float = 0.1,
    seed: int = 0,
    **more,
) -> Path:
    """Write Img/G2.h5, Anno/language_original.mat and Eval/ind.mat in the benchmark's layout.

    `pixels`: iterable of uint8 (128, 128, 3) RGB, as many as captions, read once; `masks`: the
    garments, bool (128, 128), None for all pixels that differ from the border; categories, colours
    and `more` (sleeves, genders, products): columns of `encode`.
    Returns the path of G2.h5.  Raises InputError where it exists, or a column or an image does not
    fit.
    """
    path, count = Path(out_dir) / "Img" / "G2.h5", len(captions)
    if path.exists():
        raise InputError("file-exists.folder", path=path)
    columns = codebook.encode(count, captions, categories, colours, **more)
    labels = np.where(np.isin(columns["cate_new"], codebook.LOWER_LABEL_CATEGORIES), 4, 3)
    with atomic_path(path) as aside:
        with h5py.File(aside, "w", locking=False) as file:  # this process has locked it
            _write_images(file, pixels, masks, labels)
        codebook.write_language(path.parents[1] / "Anno" / "language_original.mat", columns)
        codebook.write_partition(path.parents[1] / "Eval" / "ind.mat", count, test_share, seed)
    return path


def _write_images(file: h5py.File, pixels, masks, labels: np.ndarray) -> None:
    """Write RGB/255 in one pass over `pixels`, then subtract the mean image."""
    count = len(labels)
    ih = file.create_dataset("ih", (count, 3, SIZE, SIZE), "f4")
    b_ = file.create_dataset("b_", (count, 1, SIZE, SIZE), "f4")
    total, number = np.zeros((SIZE, SIZE, 3)), 0
    for number, one in enumerate(pixels, 1):
        if np.shape(one) != (SIZE, SIZE, 3) or one.dtype != np.uint8:
            seen = f"{one.dtype} {np.shape(one)}"
            raise InputError("wrong-type.image", number=number - 1, seen=seen)
        if number > count:
            raise InputError("wrong-type.images", count=count)
        garment = _differs_from_border(one) if masks is None else masks[number - 1]
        ih[number - 1] = (one.astype(np.float32) / 255).T
        b_[number - 1, 0] = np.asarray(garment, bool).T * labels[number - 1]
        total += one
    if number != count:
        raise InputError("count-differs.images", number=number, count=count)
    mean = (total / count / 255).astype(np.float32).T
    file["ih_mean"] = mean
    for row in range(count):
        ih[row] -= mean


def _differs_from_border(pixels: np.ndarray) -> np.ndarray:
    border = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), 0)
    return np.abs(pixels - border).max(-1) > 40


def decodings(images: StoredImages, index: int) -> dict[str, np.ndarray]:
    """Return {name: pixels uint8 (H, W, 3)} of a stored row: correct, then common mistakes.

    Mistakes: the stored values clipped to 0..1, moved by (x + 1) / 2, stretched to their own
    range, wrapped as bytes; the correct values with axes not turned, or red and blue exchanged.
    """
    turn = np.array(AXES[images.axes][1:]) - 1
    stored = np.asarray(images.data[index]).astype(np.float32).transpose(turn)
    if images.reversed:
        stored = stored[..., ::-1]
    if images.encoding == "uint8":
        stored = stored / 255
    correct = images[index]
    stretched = (stored - stored.min()) / max(float(np.ptp(stored)), 1e-6)
    wrong = {
        "as stored, clipped to 0..1": _levels(stored),
        "moved: (x + 1) / 2": _levels((stored + 1) / 2),
        "stretched to its own range": _levels(stretched),
        "wrapped: (255 x) as bytes": (stored * 255).astype(np.int64).astype(np.uint8),
        "axes not turned": np.ascontiguousarray(correct.transpose(1, 0, 2)),
        "red and blue exchanged": np.ascontiguousarray(correct[..., ::-1]),
    }
    names = {"mean_subtracted": "stored + mean image", "affine": "(x + 1) / 2"}
    name = f"right: {names.get(images.encoding, 'as stored')}"
    harmless = HARMLESS.get(images.encoding, HARMLESS["unit"])
    return {name: correct} | {k: v for k, v in wrong.items() if not k.startswith(harmless)}


def _levels(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def write_photos(folder: Path) -> Path:
    """Write twelve drawn garments as photos that a user might have, and return their folder: no
    captions, a twin, a dark one, a small one, and a file that is damaged.

    A folder that is there already is kept.
    """
    if folder.is_dir():
        return folder
    names = [*(f"IMG_{number:04d}" for number in range(1, 9)), "coat-1", "coat-2", "blue-skirt"]
    with atomic_dir(folder) as aside:
        for number, name in enumerate(names):
            coat = {"categories": ("coat",)} if "coat" in name else {}
            blue = {"categories": ("skirt",), "colours": ("blue",)} if "skirt" in name else {}
            spec = flats.random_spec(SEED, min(number, 8), **coat, **blue)
            pixels = flats.render(spec, SEED, number, 96 if number == 2 else 512)
            pixels = pixels // 6 if number == 5 else pixels
            Image.fromarray(pixels).save(aside / f"{name}.jpg", quality=92)
        whole = (aside / "IMG_0001.jpg").read_bytes()
        (aside / "IMG_0010.jpg").write_bytes(whole[: len(whole) // 2])
        Image.fromarray(read_photo(aside / "IMG_0001.jpg")).save(aside / "IMG_0009.jpg", quality=70)
    return folder
