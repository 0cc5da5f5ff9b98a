"""Files in the benchmark's format are written as the benchmark has them, and read back."""

import h5py
import numpy as np

from tests.helpers import refused
from tvhelpers.data.example import decodings, write_g2
from tvhelpers.data.h5 import open_images
from tvhelpers.data.items import GARMENT


def test_round_trip(g2, pixels):
    assert np.array_equal(open_images(g2).read(0, 96), pixels)
    with h5py.File(g2) as file:
        layout = {name: (data.shape, str(data.dtype)) for name, data in file.items()}
    assert layout == {
        "ih": ((96, 3, 128, 128), "float32"),
        "ih_mean": ((3, 128, 128), "float32"),
        "b_": ((96, 1, 128, 128), "float32"),
    }


def test_a_decoding_makes_one_mistake_alone(pixels, tmp_path):
    """A file of BGR images: only one decoding exchanges red and blue."""
    np.save(tmp_path / "a.npy", pixels[:8, :, :, ::-1])
    images = open_images(tmp_path / "a.npy", decode="uint8", axes="HWC", channels="BGR")
    rows = [decodings(images, i) for i in range(8)]
    red, blue = (np.stack([row["moved: (x + 1) / 2"][..., c] for row in rows]) for c in (0, 2))
    assert np.abs(red - (pixels[:8, ..., 0] / 2.0 + 127.5)).max() <= 1
    assert np.abs(blue - (pixels[:8, ..., 2] / 2.0 + 127.5)).max() <= 1


def test_mask_is_upright_and_on_the_garment(g2, pixels):
    images = open_images(g2)
    dark = np.abs(pixels[3].astype(int) - 255).max(-1) > 60
    mask = images.regions(3) == GARMENT
    assert mask.shape == (128, 128) and mask.dtype == bool
    assert (mask & dark).sum() / (mask | dark).sum() > 0.9


def test_writer_refuses(g2, pixels, tmp_path):
    ok = (["a", "b"], ["tee", "tee"], [1, 2])
    with refused("file-exists"):
        write_g2(g2.parents[1], pixels[:2], *ok)
    with refused("unknown-choice"):
        write_g2(tmp_path, pixels[:2], ["a", "b"], ["tee", "trousers"], [1, 2])
    with refused("count-differs"):
        write_g2(tmp_path, pixels[:1], *ok)
    with refused("wrong-type"):
        write_g2(tmp_path, pixels[:3], *ok)
    assert not list(tmp_path.rglob("*.h5"))
