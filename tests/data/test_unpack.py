"""Hostile, damaged and honest archives, all made here: nothing leaves the folder."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.helpers import refused as refused_as
from tvhelpers.data import unpack as module
from tvhelpers.data.unpack import unpack
from tvhelpers.errors import InputError

FILES = {"top/a.txt": b"hello", "top/deep/b.bin": bytes(range(256)) * 40}
PASSWORD = "correct horse"
ENDINGS = ("", ".txt")  # of what is in the archives


def make_zip(path, files=FILES, mode=0o100644):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            info.create_system = 3
            file.writestr(info, data)
    return path


def make_tar(path, files=FILES, kind=tarfile.REGTYPE, link="", pax=()):
    with tarfile.open(path, "w") as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.pax_headers = kind, link, dict(pax)
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(data))
    return path


def encrypt(data: bytes, password: bytes, check: int) -> bytes:
    """PKWARE's traditional encryption (APPNOTE 6.1), which Python can read but not write."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def step(byte):
        keys[0] = zlib.crc32(bytes([byte]), keys[0] ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = zlib.crc32(bytes([keys[1] >> 24]), keys[2] ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    for byte in password:
        step(byte)
    out = bytearray()
    for byte in bytes(11) + bytes([check]) + data:
        key = (keys[2] | 2) & 0xFFFF
        out.append(byte ^ ((key * (key ^ 1)) >> 8 & 255))
        step(byte)
    return bytes(out)


def make_encrypted_zip(path, data=b"secret data", name="s.txt"):
    crc = zlib.crc32(data)
    body = encrypt(data, PASSWORD.encode(), crc >> 24)
    fields = (20, 1, 0, 0, 33, crc, len(body), len(data), len(name), 0)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", *fields) + name.encode() + body
    central = struct.pack("<4sH5H3I5H2I", b"PK\1\2", 20, *fields, 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


UNSAFE = "unsafe-archive", "file-damaged"


def refused(archive, folder, *codes, **bounds):
    """Hold that it is refused in one sentence, with no file outside the folder, and no link."""
    out = folder / "out" / archive.name
    with refused_as(*(codes or ("unsafe-archive",))) as caught:
        unpack(archive, out, **bounds)
    assert "\n" not in str(caught.value)
    written = [
        path
        for path in folder.rglob("*")
        if path.is_symlink() or (path.is_file() and path.suffix in ENDINGS)
    ]
    assert all(out in path.parents for path in written) and not any(map(Path.is_symlink, written))
    shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize("packer", [None, gzip, bz2, lzma])
def test_tar_and_zip_unpack_to_the_same_files(tmp_path, packer, capsys):
    archive = make_tar(tmp_path / "a.tar")
    if packer:
        archive.write_bytes(packer.compress(archive.read_bytes()))
    for number, path in enumerate([archive, make_zip(tmp_path / "a.zip")]):
        out = unpack(path, tmp_path / str(number))
        assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.*")} == FILES
        out = unpack(path, tmp_path / f"{number}s", strip=1)
        assert (out / "a.txt").read_bytes() == b"hello" and (out / "deep" / "b.bin").is_file()
    assert "unpacking a.zip: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    r"""../up.txt a/../../up.txt /abs.txt C:/win.txt ..\up.txt \\host\x C:win.txt a\..\..\up.txt
    .../x \\?\C:\x a/..../x ..*/up.txt a/.*/x""".split(),
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    name = name.replace("*", " ")
    refused(make_zip(tmp_path / "a.zip", {name: b"x"}), tmp_path)
    refused(make_tar(tmp_path / "a.tar", {name: b"x"}), tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_of_a_tar_are_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar", {"x": b""}, kind, link="/etc/passwd")
    refused(archive, tmp_path)


def test_a_sparse_file_of_a_tar_is_refused(tmp_path):
    """It may be of any size at no cost."""
    sparse = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "900"}
    refused(make_tar(tmp_path / "a.tar", {"x": b"1"}, pax=sparse), tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_of_a_zip_are_refused(tmp_path, kind):
    archive = make_zip(tmp_path / "a.zip", {"x": b"/etc/passwd"}, kind | 0o777)
    refused(archive, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_used_twice_are_refused(tmp_path):
    clash = {"a": b"file", "a/b": b"below it"}
    refused(make_zip(tmp_path / "a.zip", clash), tmp_path)
    refused(make_tar(tmp_path / "a.tar", clash), tmp_path)
    clash = {"d/b": b"below", "d": b"file"}
    refused(make_tar(tmp_path / "b.tar", clash), tmp_path)
    clash = {"x/a": b"1", "y/a": b"2"}  # the same once a folder is skipped
    refused(make_zip(tmp_path / "c.zip", clash), tmp_path, strip=1)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as file:
        file.writestr("a", "1")
        file.writestr("./a", "2")
    refused(tmp_path / "d.zip", tmp_path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RATIO_FLOOR", 1 << 20)
    zeros = {"zeros": bytes(4 << 20)}
    refused(make_zip(tmp_path / "a.zip", zeros), tmp_path)
    tar = make_tar(tmp_path / "a.tar", zeros)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar.read_bytes()))
    tar.unlink()
    refused(tmp_path / "a.tgz", tmp_path)
    tar = make_tar(tmp_path / "a.tar", {str(i): bytes(1 << 19) for i in range(5)})
    (tmp_path / "b.tgz").write_bytes(gzip.compress(tar.read_bytes()))
    tar.unlink()
    refused(tmp_path / "b.tgz", tmp_path)
    monkeypatch.undo()
    refused(make_zip(tmp_path / "b.zip"), tmp_path, max_bytes=100)
    refused(make_zip(tmp_path / "b.zip"), tmp_path, max_files=1)
    refused(make_tar(tmp_path / "b.tar"), tmp_path, max_files=1)


def test_many_names_for_the_same_bytes_are_refused(tmp_path):
    """Fifield's bomb: members overlap, so that a small zip holds much."""
    whole = make_zip(tmp_path / "a.zip", {"a": bytes(99), "b": bytes(99)}).read_bytes()
    second = whole.rindex(b"PK\1\2")
    offset = struct.pack("<I", 0)
    (tmp_path / "a.zip").write_bytes(whole[: second + 42] + offset + whole[second + 46 :])
    refused(tmp_path / "a.zip", tmp_path)


def test_a_zip_of_too_many_names_is_refused_before_they_are_read(tmp_path):
    whole = bytearray(make_zip(tmp_path / "a.zip").read_bytes())
    place = whole.rindex(b"PK\5\6")
    whole[place + 10 : place + 12] = b"\xff\xff"
    (tmp_path / "a.zip").write_bytes(whole)
    refused(tmp_path / "a.zip", tmp_path, max_files=9)


def header(name, size, kind):
    info = tarfile.TarInfo(name)
    info.size, info.type = abs(size), kind
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:  # base 256
        head[124:136] = b"\xff" * 4 + struct.pack(">q", size)
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@pytest.mark.parametrize(
    ("size", "kind"),
    [(1 << 20, tarfile.XHDTYPE), (1 << 20, tarfile.GNUTYPE_LONGNAME), (1 << 20, tarfile.XGLTYPE),
     (-512, tarfile.REGTYPE), (-1024, tarfile.XHDTYPE)],
)  # fmt: skip
def test_headers_of_a_tar_are_bounded(tmp_path, size, kind):
    """Digits without end would take tarfile hours; a negative size would never end."""
    (tmp_path / "a.tar").write_bytes(header("x", size, kind) + b"1" * (1 << 20) + bytes(1024))
    refused(tmp_path / "a.tar", tmp_path, "file-damaged")


def test_names_in_upper_and_lower_case_stay_apart_or_are_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a.txt": b"1", "A.txt": b"2", "B/x": b"3", "b/x": b"4"})
    try:
        out = unpack(archive, tmp_path / "out")
    except InputError as error:  # on a file system that does not tell them apart
        assert error.code == "file-exists"
    else:
        texts = [(out / name).read_bytes() for name in ("a.txt", "A.txt", "B/x", "b/x")]
        assert texts == [b"1", b"2", b"3", b"4"]


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip", {"zeros": bytes(1 << 20)}).read_bytes())
    place = data.rindex(b"PK\1\2") + 24
    data[place : place + 4] = struct.pack("<I", 100)  # claims 100 bytes
    (tmp_path / "a.zip").write_bytes(data)
    with refused_as("file-damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "zeros").stat().st_size <= 100


def test_damage_is_named(tmp_path):
    whole = make_zip(tmp_path / "a.zip").read_bytes()
    for name, data in {
        "cut.zip": whole[: len(whole) // 2],
        "flip.zip": whole[:40] + bytes(20) + whole[60:],
        "text.zip": b"<html>please log in</html>" * 100,
        "empty.zip": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, tmp_path, "file-damaged")
    tar = make_tar(tmp_path / "a.tar").read_bytes()
    for stop in (512, 700, 1024, len(FILES["top/deep/b.bin"]) + 1024):
        (tmp_path / "a.tar").write_bytes(tar[:stop])
        refused(tmp_path / "a.tar", tmp_path, "file-damaged")
    (tmp_path / "a.tar").write_bytes(tar[:1024] + b"\xff" * 512 + tar[1536:])  # second header
    refused(tmp_path / "a.tar", tmp_path, "file-damaged")


def test_names_that_no_file_can_have(tmp_path):
    for name in ("a" * 300, "é" * 150, "a/" * 3000 + "b", "a/" * 32_000 + "b", "a\nb"):
        refused(make_zip(tmp_path / "a.zip", {name: b"x"}), tmp_path)
        refused(make_tar(tmp_path / "b.tar", {name: b"x"}), tmp_path, *UNSAFE)
    archive = make_zip(tmp_path / "a.zip", {"a_b": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"a_b", b"a\0b"))
    refused(archive, tmp_path, *UNSAFE)


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "out" / "top").mkdir(parents=True)
    (tmp_path / "out" / "top" / "a.txt").write_text("mine")
    with refused_as("file-exists"):
        unpack(make_zip(tmp_path / "a.zip"), tmp_path / "out")
    assert (tmp_path / "out" / "top" / "a.txt").read_text() == "mine"


def test_password_is_asked_for_or_from_the_environment_and_never_said(
    tmp_path, monkeypatch, capsys, caplog
):
    archive = make_encrypted_zip(tmp_path / "a.zip")
    with refused_as("no-password"):
        unpack(archive, tmp_path / "a")
    for number in (1, 768):  # the second passes the check of one byte, and fails at the end
        monkeypatch.setenv("TV_ZIP_PASSWORD", f"wrong horse {number}")
        with refused_as("wrong-password") as caught:
            unpack(archive, tmp_path / f"out{number}")
        assert "horse" not in str(caught.value)
    monkeypatch.setenv("TV_ZIP_PASSWORD", PASSWORD)
    out = unpack(archive, tmp_path / "b")
    assert (out / "s.txt").read_bytes() == b"secret data"
    monkeypatch.delenv("TV_ZIP_PASSWORD")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSWORD)
    assert (unpack(archive, tmp_path / "c") / "s.txt").is_file()
    assert "horse" not in "".join(capsys.readouterr()) + caplog.text
