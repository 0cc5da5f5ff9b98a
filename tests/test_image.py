"""Image files are read upright and on white; resizing never distorts."""

import numpy as np
from PIL import Image

from tests.helpers import refused
from tvhelpers.image import read_photo, resize


def test_photos_are_upright_rgb_on_white(tmp_path):
    red = np.zeros((4, 6, 3), np.uint8)
    red[:, :3, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(red).save(tmp_path / "turned.png", exif=exif)
    turned = read_photo(tmp_path / "turned.png")
    assert turned.shape == (6, 4, 3) and turned[0, 0, 0] == 255 and turned[-1, 0, 0] == 0
    Image.new("RGBA", (3, 3), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_photo(tmp_path / "clear.png") == 255).all()
    Image.fromarray(np.full((3, 3), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (read_photo(tmp_path / "deep.png") == 128).all()
    (tmp_path / "cut.png").write_bytes((tmp_path / "deep.png").read_bytes()[:40])
    with refused("not-an-image"):
        read_photo(tmp_path / "cut.png")


def test_resize_pads_and_never_distorts():
    wide = np.full((20, 60, 3), 200, np.uint8)
    wide[5:15, 25:35] = 0  # a black square
    small = resize(wide, 60)
    assert small.shape == (60, 60, 3) and (small[0] == 200).all()
    with refused("out-of-range"):
        resize(np.zeros((200_000, 1, 3), np.uint8), 60)
    rows, columns = np.nonzero(small[..., 0] < 100)
    assert np.ptp(rows) == np.ptp(columns) == 9
    assert resize(small, 60) is small
    assert resize(wide, 30).shape == (30, 30, 3)
