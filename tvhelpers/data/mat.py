"""Check a MATLAB 5 file before scipy reads it: a damaged one can crash the whole process there.

scipy.io looks up the type of a numeric element in a table with holes, and follows what it finds.
Format: "MAT-File Format", MathWorks, level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

from tvhelpers.config import InputError

INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
NUMBERS = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}  # element types that hold numbers
TEXTS = {1, 2, 3, 4, 16, 17, 18}  # ... that hold text
CELL, CHAR, NUMERIC = 1, 4, range(6, 16)  # array classes
MAX_BYTES = 1 << 30  # of one variable; the benchmark's captions take 40 MB
MAX_DEPTH = 8


def check_mat(path: Path, names: tuple[str, ...]) -> None:
    """Hold that the variables `names` are whole arrays of numbers, text or cells.

    What is of another version than 5 is left to scipy, which refuses it.  Raises InputError for
    anything else.
    """
    data = Path(path).read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise InputError("it has no header of MATLAB 5")
    if struct.unpack_from(f"{order}H", data, 124)[0] != 0x0100:
        return
    for kind, body in _elements(data[128:], order):
        if kind == COMPRESSED:
            kind, body = next(_elements(_decompressed(body), order))
        if kind != MATRIX:
            raise InputError(f"it holds an element of type {kind} where a variable should be")
        if _name(body, order) in names:
            _check_array(body, order, MAX_DEPTH)


def _decompressed(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(bytes(body), MAX_BYTES)
    if not stream.eof:
        raise InputError("a variable is cut off, or far too large")
    return data


def _elements(data: bytes, order: str):
    """Yield (type, body) of each element; raises InputError where one reaches past the end."""
    place, data = 0, memoryview(data)
    while place < len(data):
        if len(data) - place < 8:
            raise InputError("an element is cut off")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # up to four bytes of data are within the tag
            kind, size, start, stop = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            stop = start + size + (0 if kind == COMPRESSED else -size % 8)
        if start + size > min(stop, len(data)):
            raise InputError("an element is cut off")
        yield kind, data[start : start + size]
        place = stop


def _header(body: bytes, order: str) -> list[tuple[int, memoryview]]:
    """Return the elements of an array, of which the first three are flags, shape and name."""
    parts = list(_elements(body, order))
    kinds = [kind for kind, _ in parts[:3]]
    if kinds != [UINT32, INT32, INT8] or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise InputError("an array has no sound header")
    return parts


def _name(body: bytes, order: str) -> str:
    return bytes(_header(body, order)[2][1]).decode("latin-1")


def _check_array(body: bytes, order: str, depth: int) -> None:
    """Hold that an array has the elements of its class and shape; no elements are an empty one."""
    if not len(body):
        return
    parts = _header(body, order)
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    shape = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    kinds, array_class = [kind for kind, _ in parts[3:]], flags & 0xFF
    if array_class == CELL and depth:
        if kinds != [MATRIX] * math.prod(shape):
            raise InputError("a cell array lacks cells")
        for _, cell in parts[3:]:
            _check_array(cell, order, depth - 1)
        return
    allowed = NUMBERS if array_class in NUMERIC else TEXTS if array_class == CHAR else set()
    wanted = 2 if array_class in NUMERIC and flags & 0x0800 else 1  # 0x0800: complex numbers
    if len(kinds) != wanted or not set(kinds) <= allowed or len(shape) < 2 or min(shape) < 0:
        raise InputError(f"an array of class {array_class} has elements of types {kinds}")
