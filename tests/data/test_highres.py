"""Original photos join by product and file name, out of a zip that is never unpacked."""

import io
import json
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.cli import main
from tvhelpers.data import highres as module
from tvhelpers.data.example import write_g2
from tvhelpers.data.highres import open_highres
from tvhelpers.data.sources import open_source

PRODUCTS = ["Red_Dress", "Red_Dress", "Striped_A-line_Dress", "Striped_A-Line_Dress", "Rare_Dress"]
COLOURS = {  # photos of all but the last item, and one that is of no item
    "Red_Dress/img_00000002.jpg": (250, 0, 0),
    "Red_Dress/img_00000001.jpg": (0, 250, 0),
    "Striped_A-Line_Dress/img_00000001.jpg": (0, 0, 250),
    "Striped_A-line_Dress/img_00000001.jpg": (250, 250, 0),
    "Blue_Dress/img_00000001.jpg": (0, 0, 0),
}
EXPECTED = [COLOURS[f"{product}/img_0000000{i}.jpg"] for product, i in zip(PRODUCTS, (1, 2, 1, 1))]
PASSWORD = "correct horse"


def jpeg(colour, size=(60, 80)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def make_zip(path, names=COLOURS):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("img_highres/", b"")
        file.writestr("img_highres/readme.txt", b"not a photo")
        for name, colour in names.items():
            file.writestr(f"img_highres/{name}", jpeg(colour))
    return path


def encrypt(data: bytes, password: bytes) -> bytes:
    """PKWARE's traditional encryption (APPNOTE 6.1), which Python reads but does not write."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(byte, key):
        return zlib.crc32(bytes([byte]), key ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def turn(byte):
        keys[0] = crc(byte, keys[0])
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[1] >> 24, keys[2])

    for byte in password:
        turn(byte)
    out = bytearray()
    for byte in bytes(11) + bytes([zlib.crc32(data) >> 24]) + data:
        key = keys[2] | 2
        out.append(byte ^ ((key * (key ^ 1) >> 8) & 255))
        turn(byte)
    return bytes(out)


def make_encrypted_zip(path, names=COLOURS):
    """Write a zip of stored, encrypted photos: local headers, then the directory."""
    body, directory = b"", b""
    for name, colour in names.items():
        data, file_name = jpeg(colour), f"img_highres/{name}".encode()
        sealed = encrypt(data, PASSWORD.encode())
        about = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 33, zlib.crc32(data), len(sealed),
                            len(data), len(file_name), 0)  # fmt: skip
        directory += b"PK\1\2" + struct.pack("<H", 20) + about
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + file_name
        body += b"PK\3\4" + about + file_name + sealed
    ends = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\5\6" + ends)
    return path


@pytest.fixture
def g2(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)
    columns = [f"dress {i}" for i in range(5)], ["dress"] * 5, ["red"] * 5
    write_g2(tmp_path / "set", pixels, *columns, products=PRODUCTS)
    return open_source(tmp_path / "set")


def check(source, g2):
    assert source.captions == g2.captions[:4] and source.item_ids == g2.item_ids[:4]
    assert source.splits == g2.splits[:4] and source.attributes == g2.attributes[:4]
    for index, colour in enumerate(EXPECTED):
        item = source[index]
        assert item.pixels.shape == (80, 60, 3) and item.mask is None
        assert np.abs(item.pixels.astype(int) - colour).max() <= 6


def test_zip_and_folder_give_the_same_photos(g2, tmp_path, caplog):
    archive = make_zip(tmp_path / "img_highres.zip")
    source = open_highres(g2, archive)
    assert len(caplog.messages) == 1 and "4 of 5 items" in caplog.text
    check(source, g2)
    check(pickle.loads(pickle.dumps(source)), g2)
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "out")
    unpacked = open_highres(g2, tmp_path / "out")
    check(unpacked, g2)
    assert unpacked.fingerprint == source.fingerprint != g2.fingerprint
    other = make_zip(tmp_path / "b.zip", {**COLOURS, "Red_Dress/img_00000001.jpg": (9, 9, 9)})
    assert open_highres(g2, other).fingerprint != source.fingerprint


def test_password(g2, tmp_path, monkeypatch, capsys):
    archive = make_encrypted_zip(tmp_path / "a.zip")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.delenv("TV_ZIP_PASSWORD", raising=False)
    with refused("no-password"):
        open_highres(g2, archive)
    for number in range(300):  # some of these pass the check of one byte, and fail at the end
        monkeypatch.setenv("TV_ZIP_PASSWORD", f"wrong horse {number}")
        with refused("wrong-password") as caught:
            open_highres(g2, archive)
        assert "horse" not in str(caught.value)
    monkeypatch.setenv("TV_ZIP_PASSWORD", PASSWORD)
    source = open_highres(g2, archive)
    monkeypatch.delenv("TV_ZIP_PASSWORD")
    check(source, g2)
    assert "horse" not in repr(source) + capsys.readouterr().out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSWORD)
    check(open_highres(g2, archive), g2)


def test_unusable_archives(g2, tmp_path):
    with refused("file-missing"):
        open_highres(g2, tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("<html>please log in</html>")
    with refused("file-damaged"):
        open_highres(g2, tmp_path / "text.zip")
    for stop in (60, 2000, -30):  # in a photo, at its end, in the directory
        whole = make_zip(tmp_path / "cut.zip").read_bytes()
        (tmp_path / "cut.zip").write_bytes(whole[:stop])
        with refused("file-damaged"):
            open_highres(g2, tmp_path / "cut.zip")
    other = make_zip(tmp_path / "other.zip", {"Blue_Dress/img_00000001.jpg": (0, 0, 0)})
    with refused("file-differs") as caught:
        open_highres(g2, other)
    assert "Blue_Dress/" in str(caught.value) and "Red_Dress/img_0000" in str(caught.value)
    with zipfile.ZipFile(other, "a") as file:
        file.writestr("img/Blue_Dress/img_00000001.jpg", jpeg((0, 0, 0)))
    with refused("ambiguous") as caught:
        open_highres(g2, other)
    assert "img_highres/Blue" in str(caught.value) and "'img/Blue" in str(caught.value)


def test_a_photo_of_absurd_size_is_refused(g2, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with refused("file-damaged"):
        open_highres(g2, make_zip(tmp_path / "a.zip"))


def test_a_damaged_photo_is_named_when_it_is_read(g2, tmp_path):
    archive = make_zip(tmp_path / "a.zip")
    source = open_highres(g2, archive)
    data = bytearray(archive.read_bytes())
    place = data.index(jpeg(EXPECTED[1]))
    data[place + 100 : place + 110] = bytes(10)
    archive.write_bytes(data)
    source = open_highres(g2, archive)
    assert source.pixels(0).shape == (80, 60, 3)
    with refused("file-damaged") as caught:
        source.pixels(1)
    assert "Red_Dress/img_00000002.jpg" in str(caught.value)


def test_convert_with_photos(g2, tmp_path, capsys):
    archive = make_zip(tmp_path / "a.zip")
    command = ["data", "convert", str(tmp_path / "set"), "--out", str(tmp_path / "out")]
    command += ["--photos", str(archive), "--size", "96", "--fit", "pad"]
    assert main(command) == 0
    assert "4 of 5 items" in capsys.readouterr().out
    with h5py.File(tmp_path / "out" / "pixels.h5") as file:
        assert file["pixels"].shape == (4, 96, 96, 3)
        middles = file["pixels"][:, 48, 48].astype(int)
    assert np.abs(middles - EXPECTED).max() <= 6
    rows = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").open()]
    assert [row["item"] for row in rows] == g2.item_ids[:4]


def test_every_row_of_the_benchmark_has_a_place_of_its_own(shared, tmp_path, caplog):
    mat = shared / "data" / "deepfashion_annotations" / "language_original.mat"
    source = open_source(mat)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in source.item_ids[1:]:
            file.writestr(name.replace("img/", "img_highres/", 1), b"")
    found = open_highres(source, tmp_path / "a.zip")
    assert found.item_ids == source.item_ids[1:]
    assert "78,978 of 78,979 items" in caplog.text
    assert sum(name.lower().startswith("img/striped_a-line_d") for name in found.item_ids) > 1
