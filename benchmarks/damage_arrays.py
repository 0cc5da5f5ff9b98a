"""How can the bytes of any file, the contents of an HDF5 file and of a .mat file be damaged?

Each is mutate(folder, rng), and changes one file in it.
"""

import gzip

import h5py
import numpy as np
from scipy.io import loadmat, savemat
from sound_inputs import ROWS, images, png

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


# ----------------------------------------------------------------------- mutations of .mat contents


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
