"""Image files are read upright and on white; resizing never distorts."""

import io
import os
import struct
import sys
import types
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.helpers import refused
from tvhelpers import image
from tvhelpers.data.highres import FolderPhotos
from tvhelpers.data.photos import Photos, key_of_colours, photo_sha256
from tvhelpers.data.sources import open_source
from tvhelpers.image import image_format, is_image, read_photo, resize
from tvhelpers.score.image_folder import open_folder


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


@pytest.mark.parametrize("end", ["jpg", "png", "tif", "webp"])
def test_the_size_of_a_turned_photo_is_that_of_its_pixels(tmp_path, end):
    files = [tmp_path / f"{orientation}.{end}" for orientation in (1, 3, 6, 8)]
    for file in files:
        exif = Image.Exif()
        exif[0x0112] = int(file.stem)
        Image.new("RGB", (6, 4)).save(file, exif=exif)
    photos = Photos(files)
    sizes = [photos.size(i) for i in range(4)]
    assert sizes == [photos[i].shape[:2] for i in range(4)] == [(4, 6), (4, 6), (6, 4), (6, 4)]


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


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "EPS"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"8BPS\0\1", "PSD"),
        (b"\xff\x0a\0", "JPEG XL"),
        (b"BMW is a car", ""),
        (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0", "ICO"),
        (b"\0\0\2\0\0\0\0\0\0\0\0\0\4\0\4\0\x18\0" + b"\7" * 48, ""),  # a .tga
        (b"", ""),
    ],
)
def test_other_formats_are_named_and_never_opened(tmp_path, head, found):
    path = tmp_path / "a.jpg"
    path.write_bytes(head)
    assert image_format(path) == found and is_image(path)
    with refused("not-an-image"):
        read_photo(path)


def test_a_photo_of_an_iphone_needs_a_package_which_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setattr(image, "FORMATS", ("JPEG",))
    with refused("not-an-image") as caught:
        read_photo(path)
    assert "pip install pillow-heif" in str(caught.value)

    opened = Image.new("RGB", (4, 2), "red")
    opened.tile = []
    fake = types.SimpleNamespace(register_heif_opener=lambda: None)
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    monkeypatch.setitem(Image.OPEN, "HEIF", (lambda file, name: opened, None))
    monkeypatch.setattr(image, "FORMATS", (image.HEIC,))
    assert read_photo(path).shape == (2, 4, 3) and is_image(path)


def test_a_pipe_is_no_image_and_a_name_matters_not(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert not is_image(tmp_path / "a.png") and image_format(tmp_path / "a.png") == ""
    with refused("not-an-image"):
        read_photo(tmp_path / "a.png")
    for name in {*image.FORMATS} - {image.HEIC}:
        Image.new("RGB", (8, 8), "red").save(tmp_path / "any", name)
        assert image_format(tmp_path / "any") == name and is_image(tmp_path / "any")
        assert np.abs(read_photo(tmp_path / "any").astype(int) - [255, 0, 0]).max() <= 2


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, size, depth, kind, rows, extra=b""):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + extra + data)


def test_a_clear_level_of_any_depth_is_on_white(tmp_path):
    grey = b"\0" + struct.pack(">2H", 1000, 0)
    write_png(tmp_path / "grey.png", (2, 1), 16, 0, grey, chunk(b"tRNS", struct.pack(">H", 1000)))
    assert read_photo(tmp_path / "grey.png")[0, :, 0].tolist() == [255, 0]
    for depth, level, row in ((2, 1, b"\0\x70"), (4, 5, b"\0\x5f"), (8, 80, b"\0\x50\xff")):
        clear = chunk(b"tRNS", struct.pack(">H", level))
        write_png(tmp_path / "few.png", (2, 1), depth, 0, row, clear)
        assert read_photo(tmp_path / "few.png")[0, :, 0].tolist() == [255, 255]
        changed = key_of_colours("key", "here", [("few", tmp_path / "few.png")]) != "key"
        assert changed == (depth < 8)
    for level in (5000, 100):  # Pillow decodes the upper 8 bits of 16 alone
        clear, near = (struct.pack(">3H", level + more, 2000, 30) for more in (0, 1))
        rows = b"\0" + clear + near + struct.pack(">3H", level << 8 & 0xFFFF, 0x0700, 30 << 8)
        write_png(tmp_path / "rgb.png", (3, 1), 16, 2, rows, chunk(b"tRNS", clear))
        seen = read_photo(io.BytesIO((tmp_path / "rgb.png").read_bytes()))
        assert np.array_equal(seen, read_photo(tmp_path / "rgb.png"))
        upper = (level << 8 & 0xFFFF) >> 8
        assert seen[0].tolist() == [[255] * 3, [level >> 8, 7, 0], [upper, 7, 30]]
        assert key_of_colours("key", "here", [("rgb", tmp_path / "rgb.png")]) != "key"


def test_what_is_too_large_or_has_32_bits_is_refused(tmp_path):
    write_png(tmp_path / "strip.png", (1, 40_000), 8, 0, b"\0\0" * 40_000)
    write_png(tmp_path / "bomb.png", (16_000, 16_000), 8, 0, b"")
    for name in ("strip.png", "bomb.png"):
        with refused("out-of-range", "not-an-image"):
            read_photo(tmp_path / name)
    for mode in ("F", "I"):
        Image.new(mode, (4, 4)).save(tmp_path / "deep.tif")
        with refused("not-an-image"):
            read_photo(tmp_path / "deep.tif")


def test_large_images_are_turned_in_bands(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    for orientation in range(1, 9):
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(file, "PNG", exif=exif)
        whole = read_photo(file)
        with monkeypatch.context() as patch:
            patch.setattr(image, "PIXELS_AT_ONCE", 300)
            assert np.array_equal(read_photo(file), whole)


def test_a_photo_that_changes_is_refused(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red dress.png")
    source, scored = open_source(tmp_path), open_folder(tmp_path)
    photos = FolderPhotos(tmp_path)
    key = next(iter(photos.places))
    photos.checksum(key)
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "red dress.png")
    for read in (lambda: source.pixels(0), lambda: scored.pixels(0), lambda: photos.read(key)):
        with refused("file-changed"):
            read()


def test_colours_become_srgb_by_the_profile(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    red, keys, path = Image.new("RGB", (8, 8), (255, 0, 0)), [], tmp_path / "red dress.png"
    for profile, seen in ((srgb, 0), (swapped, 1), (b"no profile" * 20, 0)):
        red.save(path, icc_profile=profile)
        assert read_photo(path)[0, 0].argmax() == seen
        keys.append(photo_sha256(path).endswith("-sRGB"))
        with warnings.catch_warnings(action="ignore"):
            assert (key_of_colours("key", "here", [("red", path)]) != "key") == keys[-1]
    assert keys == [False, True, False]
    clear = chunk(b"tRNS", struct.pack(">H", 1000))
    write_png(path, (2, 1), 16, 0, b"\0" + struct.pack(">2H", 1000, 0), clear)
    assert key_of_colours("key", "here", [("gray", path)]) != "key"


@pytest.mark.parametrize("comment", [0, 100, 60_000])
def test_a_profile_is_found_behind_other_parts_of_a_jpeg(tmp_path, comment):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    drawn, file = Image.new("RGB", (8, 8)), tmp_path / "a.jpg"
    exif = b"Exif\0\0" + bytes(comment) if comment else b""
    for icc in (None, profile):
        drawn.save(file, exif=exif, icc_profile=icc)
        assert bool(image.conversion_of_file(file)[0].name) == bool(icc)
