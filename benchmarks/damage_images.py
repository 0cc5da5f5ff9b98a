"""How can images and archives harm who opens them?

Each is mutate(folder, rng), and changes one file in it.
"""

import gzip
import io
import stat
import struct
import tarfile
import zlib

from sound_inputs import zip_of

# ------------------------------------------------------------------------------ mutations of images


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width, height, depth=8, colour=2, data=b"", extra=b""):
    head = png_chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + head + extra + body + png_chunk(b"IEND", b"")


PNGS = {
    "60,000 px a side": png_of(60_000, 60_000),
    "12,000 px a side": png_of(12_000, 12_000, data=bytes(1 << 20)),
    "thin": png_of(1, 2_000_000, data=bytes(1 << 16)),
    "0 px": png_of(0, 0),
    "no data": png_of(32, 32),
    "zeros without end": png_of(32, 32, data=bytes(32 << 20)),
    "text bomb": png_of(
        8, 8, data=bytes(200), extra=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 << 20)))
    ),
    "unknown depth": png_of(8, 8, depth=3, data=bytes(100)),
    "palette without one": png_of(8, 8, colour=3, data=bytes(72)),
    "EXIF of noise": png_of(
        8, 8, data=bytes(200), extra=png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\1\x12" * 99)
    ),
    "16 bits": png_of(8, 8, depth=16, colour=0, data=bytes(8 * 17)),
}


def of_png(name, data):
    def mutate(folder, rng):
        paths = sorted(folder.rglob("*.png"))
        paths[rng.integers(len(paths))].write_bytes(data)

    mutate.__name__ = f"png {name}"
    return mutate


# ---------------------------------------------------------------------------- mutations of archives


def tar_of(files, kind=tarfile.REGTYPE, pax=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.pax_headers = kind, "/etc/passwd", pax or {}
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def claims(data, place, value):
    """Return a zip whose central directory holds another number at `place`."""
    out, start = bytearray(data), data.rindex(b"PK\1\2") + place
    out[start : start + 4] = struct.pack("<I", value)
    return bytes(out)


def pax_bomb():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 600 << 20
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(600 << 20), 1)


ESCAPES = ("../up.txt", "/tmp/tv-escaped.txt", "a/../../up.txt", "C:\\up.txt", "..\\up.txt")
LONG = "a" * 300
ARCHIVES = {
    **{f"zip {name}": lambda name=name: zip_of([(name, b"x")]) for name in ESCAPES},
    **{f"tar {name}": lambda name=name: tar_of([(name, b"x")]) for name in ESCAPES},
    "zip link": lambda: zip_of([("x", b"/etc/passwd")], stat.S_IFLNK | 0o777),
    "zip device": lambda: zip_of([("x", b"")], stat.S_IFBLK | 0o666),
    "tar link": lambda: tar_of([("x", b"")], tarfile.SYMTYPE),
    "tar hard link": lambda: tar_of([("x", b"")], tarfile.LNKTYPE),
    "tar device": lambda: tar_of([("x", b"")], tarfile.CHRTYPE),
    "tar pipe": lambda: tar_of([("x", b"")], tarfile.FIFOTYPE),
    "zip bomb": lambda: zip_of([("x", bytes(400 << 20))]),
    "tar bomb": lambda: gzip.compress(tar_of([("x", bytes(400 << 20))]), 1),
    "tar header bomb": pax_bomb,
    "zip twice": lambda: zip_of([("a", b"1"), ("a", b"2")]),
    "zip file and folder": lambda: zip_of([("a", b"1"), ("a/b", b"2")]),
    "tar file and folder": lambda: tar_of([("a/b", b"1"), ("a", b"2")]),
    "zip long name": lambda: zip_of([(LONG, b"1")]),
    "tar long name": lambda: tar_of([(LONG, b"1")]),
    "zip deep name": lambda: zip_of([("a/" * 3000 + "b", b"1")]),
    "zip zero byte": lambda: zip_of([("aXb", b"1")]).replace(b"aXb", b"a\0b"),
    "zip encrypted": lambda: zip_of([("a", b"1" * 99)]).replace(
        b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"
    ),
    "zip claims less": lambda: claims(zip_of([("a", b"1" * 9999)]), 24, 10),
    "zip claims more": lambda: claims(zip_of([("a", b"1" * 9999)]), 24, 2**31),
    "zip other place": lambda: claims(zip_of([("a", b"1" * 9999)]), 42, 7777),
    "zip other method": lambda: zip_of([("a", b"1" * 9999)]).replace(b"\x08\0", b"\x63\0"),
    "zip of nothing": lambda: zip_of([]),
    "tar of nothing": lambda: tar_of([]),
    "zip 3,000 files": lambda: zip_of([(str(i), b"") for i in range(3_000)]),
    "tar wrong size": lambda: tar_of([("x", b"1" * 99)], pax={"size": "-5"}),
    "tar huge size": lambda: tar_of([("x", b"1" * 99)], pax={"size": str(1 << 60)}),
    "tar odd names": lambda: tar_of([("x", b"1")], pax={"path": "a\nb"}),
}


def of_archive(name, make):
    def mutate(folder, rng):
        for path in folder.iterdir():
            path.unlink()
        (folder / "set.zip").write_bytes(make())

    mutate.__name__, mutate.once = name, True
    return mutate
