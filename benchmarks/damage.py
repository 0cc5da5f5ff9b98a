"""Ways to damage an input: each is mutate(folder, rng), and changes one file in it."""

import gzip
import io
import stat
import struct
import tarfile
import zlib

import h5py
import numpy as np
from scipy.io import loadmat, savemat
from sound_inputs import ROWS, images, png, zip_of

# ----------------------------------------------------- mutations of any file: (bytes, rng) -> bytes


def cut(data, rng):
    return data[: int(rng.integers(len(data)))]


def empty(data, rng):
    return b""


def damage_header(data, rng):
    start = bytearray(data[:256])
    for place in rng.integers(len(start), size=8):
        start[place] = rng.integers(256)
    return bytes(start) + data[256:]


def flip_bits(data, rng):
    out = bytearray(data)
    for place in rng.integers(len(out), size=max(4, len(out) // 2000)):
        out[place] ^= 1 << rng.integers(8)
    return bytes(out)


def zero_block(data, rng):
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 4096))
    return data[:start] + bytes(len(data[start : start + size])) + data[start + size :]


def repeat_block(data, rng):
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 2048))
    return data[: start + size] + data[start:]


def drop_block(data, rng):
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 2048))
    return data[:start] + data[start + size :]


def text_instead(data, rng):
    return b"<!doctype html><html>please log in</html>\n" * int(rng.integers(1, 200))


def noise_instead(data, rng):
    return rng.bytes(int(rng.integers(1, 5000)))


def other_format(data, rng):
    kinds = [png(images(32)[0]), gzip.compress(data[:1000]), b"PK\3\4" + bytes(100)]
    kinds += [b"\x89HDF\r\n\x1a\n" + bytes(200), b"MATLAB 5.0 MAT-file" + bytes(200), b"\xff\xfe{"]
    return kinds[rng.integers(len(kinds))]


BYTES = (
    cut, empty, damage_header, flip_bits, zero_block, repeat_block, drop_block, text_instead,
    noise_instead, other_format,
)  # fmt: skip


def of_bytes(change, pattern):
    """Return a mutation of one of the files of `pattern`, whatever the length of what is read."""

    def mutate(folder, rng):
        paths = sorted(folder.glob(pattern))
        path = paths[rng.integers(len(paths))]
        path.write_bytes(change(path.read_bytes(), rng))

    mutate.__name__ = f"{change.__name__} {pattern}"
    return mutate


# ---------------------------------------------------------------------- mutations of HDF5 contents


def of_h5(name, key, change):
    """Return a mutation that puts change(values, rng) in the place of dataset `key`."""

    def mutate(folder, rng):
        (path,) = [*folder.rglob("*.h5")]
        with h5py.File(path, "r+") as file:
            values = file[key][:]
            del file[key]
            change(file, key, values, rng)

    mutate.__name__ = f"{key} {name}"
    return mutate


def keep(function):
    """Make of a function of values a change of a dataset."""

    def change(file, key, values, rng):
        file[key] = function(values, rng)

    return change


def of_numbers(function):
    """Make of a function of numbers a change of a dataset; numbers take the place of texts."""
    return keep(
        lambda values, rng: function(
            np.arange(len(values)) if values.dtype.kind == "S" else values, rng
        )
    )


def spoil(value):
    def function(values, rng):
        values = values.astype(np.float32)
        values.reshape(len(values), -1)[rng.integers(len(values)), ::7] = value
        return values

    return of_numbers(function)


def absurd(shape, dtype="f4", **options):
    def change(file, key, values, rng):
        file.create_dataset(key, shape, dtype, **options)

    return change


def link(make):
    def change(file, key, values, rng):
        file[key] = make()

    return change


def external(file, key, values, rng):
    file.create_dataset(key, values.shape, values.dtype, external=[("/etc/passwd", 0, 1 << 40)])


CHANGES = {
    "missing": lambda *any: None,
    "renamed": lambda file, key, values, rng: file.create_dataset("other", data=values),
    "a group": lambda file, key, values, rng: file.create_group(key),
    "NaN block": spoil(np.nan),
    "infinite": spoil(np.inf),
    "huge values": spoil(1e30),
    "as text": keep(lambda values, rng: np.full(values.shape, b"x", "S3")),
    "as bool": of_numbers(lambda values, rng: values > 0),
    "as complex": of_numbers(lambda values, rng: values.astype(complex)),
    "as int64": of_numbers(lambda values, rng: (values * 1e9).astype(np.int64)),
    "as float16": of_numbers(lambda values, rng: values.astype(np.float16)),
    "as float64": of_numbers(lambda values, rng: values.astype(np.float64)),
    "as records": keep(lambda values, rng: np.zeros(values.shape, [("a", "f4"), ("b", "i2")])),
    "as references": absurd((ROWS, 3, 8, 8), h5py.ref_dtype),
    "as strings": absurd((ROWS, 3, 8, 8), h5py.string_dtype()),
    "scalar": keep(lambda values, rng: np.float32(1)),
    "flat": keep(lambda values, rng: values.ravel()),
    "five axes": keep(lambda values, rng: values[None]),
    "no rows": keep(lambda values, rng: values[:0]),
    "one row less": keep(lambda values, rng: values[:-1]),
    "four channels": keep(lambda values, rng: np.resize(values, (ROWS, 4, 64, 64))),
    "one pixel": keep(lambda values, rng: np.resize(values, (ROWS, 3, 1, 1))),
    "no pixels": keep(lambda values, rng: np.resize(values, (ROWS, 3, 0, 64))),
    "constant": keep(lambda values, rng: np.zeros_like(values)),
    "null space": link(lambda: h5py.Empty("f4")),
    "a billion rows": absurd((10**9, 3, 128, 128), chunks=(1, 3, 128, 128)),
    "a million rows": absurd((10**6, 64, 64, 3), "u1", chunks=(1, 64, 64, 3)),
    "giant rows": absurd((ROWS, 3, 10**5, 10**5), "u1", chunks=(1, 1, 1000, 1000)),
    "giant chunk": absurd((ROWS, 3, 20000, 20000), "u1", chunks=(1, 3, 20000, 20000)),
    "dangling link": link(lambda: h5py.SoftLink("/nowhere")),
    "link to itself": lambda file, key, *any: file.__setitem__(key, h5py.SoftLink(f"/{key}")),
    "other file": link(lambda: h5py.ExternalLink("/etc/passwd", "x")),
    "stored elsewhere": external,
}


# ------------------------------------------------------------- mutations of .mat, tables and others


def of_mat(name, pattern, change):
    def mutate(folder, rng):
        (path,) = [*folder.rglob(pattern)]
        found = loadmat(path)
        values = {key: value for key, value in found.items() if not key.startswith("__")}
        change(values, rng)
        savemat(path, values)

    mutate.__name__ = f"{pattern} {name}"
    return mutate


def set_to(key, function):
    def change(values, rng):
        values[key] = function(values[key])

    return change


LANGUAGE = {
    "without captions": lambda values, rng: values.pop("engJ"),
    "shorter": set_to("cate_new", lambda one: one[:-1]),
    "code 99": set_to("cate_new", lambda one: one + 80),
    "NaN codes": set_to("color_", lambda one: one * np.nan),
    "half codes": set_to("sleeve_", lambda one: one + 0.5),
    "captions as numbers": set_to("engJ", lambda one: np.arange(len(one))[:, None]),
    "cells of cells": set_to("engJ", lambda one: np.array([[one]] * len(one), object)),
    "codes as text": set_to("gender_", lambda one: np.array(["female"] * len(one), object)),
    "all shorter": lambda values, rng: values.update({k: v[:-1] for k, v in values.items()}),
    "huge codes": set_to("cate_new", lambda one: one * 1e300),
    "struct": set_to("nameList", lambda one: {"a": 1, "b": [1, 2]}),
}
PARTITION = {
    "0-based": set_to("test_ind", lambda one: one - 10),
    "twice": lambda values, rng: values.update(test_ind=values["train_ind"]),
    "too large": set_to("train_ind", lambda one: one + 10**6),
    "empty": set_to("train_ind", lambda one: one[:0]),
    "missing": lambda values, rng: values.pop("test_ind"),
    "infinite": set_to("test_ind", lambda one: one * np.inf),
    "complex": set_to("test_ind", lambda one: one * 1j),
}


def of_text(name, pattern, text):
    def mutate(folder, rng):
        (path,) = [*folder.glob(pattern)]
        path.write_bytes(text.encode("utf-8", "surrogateescape"))

    mutate.__name__ = f"{path_name(pattern)} {name}"
    return mutate


def path_name(pattern):
    return pattern.replace("metadata", "")


CSV = {
    "path out": "file_name,caption\n../../../../etc/passwd,a\n",
    "absolute": "file_name,caption\n/etc/passwd,a\n",
    "long name": "file_name,caption\n" + "a" * 5000 + ",a\n",
    "zero byte": "file_name,caption\na\0.png,a\n",
    "open quote": 'file_name,caption\n0.png,"a\n1.png,b\n',
    "huge cell": "file_name,caption\n0.png," + "a" * 300_000,
    "latin-1": "file_name,caption\n0.png,d\udce9collet\udce9\n",
    "many columns": ",".join(f"c{i}" for i in range(20_000)) + "\n" + "," * 19_999,
    "header twice": "file_name,file_name,caption,caption\n0.png,1.png,a,b\n",
    "no header": "0.png,a\n1.png,b\n",
    "header alone": "file_name,caption\n",
    "a folder": "file_name,caption\n.,a\n",
    "more cells": "file_name,caption\n0.png,a,b,c\n",
    "less cells": "file_name,caption,product\n0.png\n",
    "unknown split": "file_name,caption,split\n0.png,a,dev\n",
    "odd weight": "file_name,caption,weight\n0.png,a,-inf\n",
    "empty names": ",,\n,,\n,,\n",
    "carriage": "file_name,caption\r0.png,a\r1.png,b\r",
    "itself": "file_name,caption\nmetadata.csv,a\n",
}
DEEP = "[" * 100_000
JSONL = {
    "deep": DEEP,
    "deep value": '{"file_name": "0.png", "text": ' + '{"a":' * 900 + "1" + "}" * 901,
    "NaN": '{"file_name": "0.png", "text": NaN, "weight": NaN}',
    "infinite weight": '{"file_name": "0.png", "text": "a", "weight": 1e999}',
    "large number": '{"file_name": "0.png", "text": ' + "9" * 5000 + "}",
    "a list": '["0.png", "a"]',
    "null": "null\nnull",
    "name a number": '{"file_name": 0, "text": "a"}',
    "name an object": '{"file_name": {"a": 1}, "text": "a"}',
    "name a list": '{"file_name": ["0.png", "1.png"], "text": "a"}',
    "text an object": '{"file_name": "0.png", "text": {"en": "a"}}',
    "path out": '{"file_name": "../../x.png", "text": "a"}',
    "zero byte": '{"file_name": "a\\u0000.png", "text": "a"}',
    "half a pair": '{"file_name": "0.png", "text": "\\ud800"}',
    "half a line": '{"file_name": "0.png", "te',
    "category a list": '{"file_name": "0.png", "category": [[], {}]}',
    "empty category": '{"file_name": "0.png", "category": " "}',
}
ITEMS = {
    "deep": DEEP,
    "less": '{"caption": "a", "attributes": {}, "product": "p", "split": ""}',
    "other types": '{"caption": 3, "attributes": [], "product": null, "split": 7}\n' * ROWS,
    "lacking": '{"caption": "a"}\n' * ROWS,
    "lists": "[1]\n" * ROWS,
    "unknown split": '{"caption": "a", "attributes": {}, "product": "p", "split": "x"}\n' * ROWS,
}
TSV = {
    "deep braces": "sku\ttitle\tkind\n{sku}\t{title}\ttee\n",
    "path out": "sku\ttitle\tkind\n../../../0\ttee\ttee\n",
    "stars": "sku\ttitle\tkind\n*\ttee\ttee\n",
    "no rows": "sku\ttitle\tkind\n",
    "other columns": "id\tname\n0\ttee\n",
    "commas": "sku,title,kind\n0,tee,tee\n",
}
JSON = {
    "deep": DEEP,
    "an object": '{"sku": "0"}',
    "numbers": "[1, 2, 3]",
    "nested": '[{"sku": {"a": [1]}, "title": [["x"]], "kind": null}]',
    "floats": '[{"sku": 0.0, "title": 1e400, "kind": "tee"}]',
    "one": '"text"',
}
YAML = {
    "bomb": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi"))
    + "\nrow: {kind: *i, licence: *i, obtain: x}",
    "itself": "a: &a {kind: images, licence: x, obtain: y, columns: {caption: *a}}",
    "deep": "a: " + DEEP[:5000],
    "tag": "a: !!python/object/apply:os.system ['true']",
    "types": "a: {kind: images, licence: 3, obtain: [x]}",
    "date": "2026-01-01: {kind: images}",
    "a list": "- a\n- b",
    "tabs": "a:\n\tkind: images",
    "key of keys": "? {a: b}\n: c",
    "long number": "a: " + "9" * 5000,
}


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


# --------------------------------------------------------------------- mutations of archives


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

    mutate.__name__ = name
    return mutate
