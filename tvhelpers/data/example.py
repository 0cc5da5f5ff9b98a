"""A file in the benchmark's format where the gated one is not at hand, and its wrong decodings."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from tvhelpers import flats, manifest
from tvhelpers.config import InputError
from tvhelpers.data import g2_file as fashion_synthesis
from tvhelpers.data import h5 as stores
from tvhelpers.data.detect import AXES

# Words of the flats -> words of the benchmark's codebook; the other garments are not in it.
CODEBOOK_WORDS = {
    "t-shirt": "tee", "tank top": "tank", "shirt": "blouse", "sweater": "sweater",
    "cardigan": "cardigan", "hoodie": "hoodie", "jacket": "jacket", "bomber jacket": "bomber",
    "coat": "coat", "dress": "dress", "jumpsuit": "jumpsuit",
}  # fmt: skip
SEED = 21
# Decodings that give the right values, or nearly; those of "unit" hold for the rest too.
HARMLESS = {"mean_subtracted": (), "affine": ("moved",), "unit": ("as stored", "wrapped")}
PROMPTS = (  # the sitting that the front page shows
    "green bomber jacket", "brown leather belt", "formal black dress", "V-neck t-shirt",
    "short overalls", "black sweatsuit", "tartan skirt", "black high-waisted skirt",
)  # fmt: skip


def find_or_write_g2(root: Path, count: int = 300) -> Path:
    """Return Img/G2.h5 of the gated benchmark where it is at hand, else of one written from flats.

    What is written lies in root/artifacts/example-g2 and is written once.
    """
    with contextlib.suppress(InputError):
        return manifest.local_path("fashion-synthesis") / "Img" / "G2.h5"
    folder = Path(root) / "artifacts" / f"example-g2-{count}"
    path = folder / "Img" / "G2.h5"
    if path.is_file():
        return path
    specs = [flats.random_spec(SEED, i, categories=tuple(CODEBOOK_WORDS)) for i in range(count)]
    return fashion_synthesis.write_g2(
        folder,
        (flats.render(spec, SEED, i) for i, spec in enumerate(specs)),
        [flats.caption(spec, SEED, i) for i, spec in enumerate(specs)],
        [CODEBOOK_WORDS[spec.category] for spec in specs],
        [spec.colour for spec in specs],
        products=[f"Flat_{i // 3:05d}" for i in range(count)],
        seed=SEED,
    )


def decodings(images: stores.StoredImages, index: int) -> dict[str, np.ndarray]:
    """Return {name: pixels uint8 (H, W, 3)} of one stored row: decoded right, then as often seen.

    The wrong ones: the stored values taken for 0..1, moved by (x + 1) / 2, stretched to their own
    range, wrapped around as bytes; and the right values lying on their side, or with red and blue
    exchanged.
    """
    turn = np.array(AXES[images.axes][1:]) - 1
    stored = np.asarray(images.data[index]).astype(np.float32).transpose(turn)
    if images.encoding == "uint8":
        stored = stored / 255
    right = images[index]
    stretched = (stored - stored.min()) / max(float(np.ptp(stored)), 1e-6)
    wrong = {
        "as stored, clipped to 0..1": _levels(stored),
        "moved: (x + 1) / 2": _levels((stored + 1) / 2),
        "stretched to its own range": _levels(stretched),
        "wrapped: (255 x) as bytes": (stored * 255).astype(np.int64).astype(np.uint8),
        "axes not turned": np.ascontiguousarray(right.transpose(1, 0, 2)),
        "red and blue exchanged": np.ascontiguousarray(right[..., ::-1]),
    }
    names = {"mean_subtracted": "stored + mean image", "affine": "(x + 1) / 2"}
    name = f"right: {names.get(images.encoding, 'as stored')}"
    harmless = HARMLESS.get(images.encoding, HARMLESS["unit"])
    return {name: right} | {k: v for k, v in wrong.items() if not k.startswith(harmless)}


def _levels(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
