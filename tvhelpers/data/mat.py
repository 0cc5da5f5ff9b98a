"""How is a .mat file read safely?

scipy.io looks up the type of a numeric element in a table with holes, so that one damaged byte can
crash the process; a file is checked first.  Format: "MAT-File Format", MathWorks, level 5.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from tvhelpers.errors import InputError

INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
NUMBERS = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}  # element types that hold numbers
TEXTS = {1, 2, 3, 4, 16, 17, 18}  # ... that hold text
CELL, CHAR, NUMERIC = 1, 4, range(6, 16)  # array classes
MAX_BYTES = 1 << 30  # of one variable; the benchmark's captions take 40 MB
MAX_DEPTH = 8


def read_mat(path: Path, names: tuple[str, ...], ravel: bool = True) -> dict[str, np.ndarray]:
    """Return variables of a MATLAB file, each flattened to one axis where `ravel`.

    Raises InputError for a file that is missing, damaged, of version 7.3, or without a variable.
    """
    from scipy.io import loadmat

    if not Path(path).is_file():
        raise InputError("file-missing.benchmark", path=path)
    try:
        _check(Path(path).read_bytes(), names)
        found = loadmat(path, variable_names=names)
    except Exception as error:  # a damaged .mat raises nearly anything, struct and zlib errors too
        raise InputError("file-damaged.matlab", path=path, error=error) from None
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError("file-differs.variable", path=path, name=missing[0])
    return {name: np.ravel(found[name]) if ravel else found[name] for name in names}


def _check(data: bytes, names: tuple[str, ...]) -> None:
    """Check that the variables `names` are complete arrays of numbers, text or cells.

    scipy refuses other versions than 5 itself.  Raises ValueError, or an error of struct or zlib,
    for damage.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("it has no header of MATLAB 5")
    if struct.unpack_from(f"{order}H", data, 124)[0] != 0x0100:
        return
    for kind, body in _elements(data[128:], order):
        if kind == COMPRESSED:
            kind, body = next(_elements(_decompressed(body), order))
        if kind != MATRIX:
            raise ValueError(f"it holds an element of type {kind} where a variable should be")
        if bytes(_header(body, order)[2][1]).decode("latin-1") in names:
            _check_array(body, order, MAX_DEPTH)


def _decompressed(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(bytes(body), MAX_BYTES)
    if not stream.eof:
        raise ValueError("a variable is cut off, or far too large")
    return data


def _elements(data: bytes, order: str):
    """Yield (type, body) of each element; raises ValueError where one exceeds the data."""
    place, data = 0, memoryview(data)
    while place < len(data):
        if len(data) - place < 8:
            raise ValueError("an element is cut off")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # up to four bytes of data are within the tag
            kind, size, start, stop = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            stop = start + size + (0 if kind == COMPRESSED else -size % 8)
        if start + size > min(stop, len(data)):
            raise ValueError("an element is cut off")
        yield kind, data[start : start + size]
        place = stop


def _header(body: bytes, order: str) -> list[tuple[int, memoryview]]:
    """Return the elements of an array; the first three are flags, shape and name."""
    parts = list(_elements(body, order))
    kinds = [kind for kind, _ in parts[:3]]
    if kinds != [UINT32, INT32, INT8] or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise ValueError("an array has no sound header")
    return parts


def _check_array(body: bytes, order: str, depth: int) -> None:
    """Check that an array has the elements of its class and shape; an empty body is valid."""
    if not len(body):
        return
    parts = _header(body, order)
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    shape = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    kinds, array_class = [kind for kind, _ in parts[3:]], flags & 0xFF
    if array_class == CELL and depth:
        if kinds != [MATRIX] * math.prod(shape):
            raise ValueError("a cell array lacks cells")
        for _, cell in parts[3:]:
            _check_array(cell, order, depth - 1)
        return
    allowed = NUMBERS if array_class in NUMERIC else TEXTS if array_class == CHAR else set()
    wanted = 2 if array_class in NUMERIC and flags & 0x0800 else 1  # 0x0800: complex numbers
    if len(kinds) != wanted or not set(kinds) <= allowed or len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array of class {array_class} has elements of types {kinds}")
