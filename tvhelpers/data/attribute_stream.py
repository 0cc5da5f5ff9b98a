"""list_attr_img.txt as a stream: 289,222 rows of 1,000 attributes, 0.87 GB, never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError

BLOCK = 1 << 16  # bytes parsed at once; what is made of them stays in the cache
NOTHING, END, WRONG = 7, 8, 9  # codes beside the values -1, 0 and 1


def check_count(path: Path, line: str, rows: int) -> None:
    """Raise InputError where a file's first line is not the number of its rows."""
    if line.strip() != str(rows):
        raise InputError(
            f"line 1 of {path} says {line.strip()[:40]!r} rows, but the file has {rows}; get the "
            "file anew"
        )


def _codes() -> np.ndarray:
    """Return int8 (65536,): what a character after another says, at [character * 256 + before].

    A value where a 1 or 0 is complete, END at a line's end, NOTHING between, WRONG elsewhere.
    """
    table = np.full((256, 256), WRONG, np.int8)
    blank, digit = [ord(" "), ord("\t"), ord("\n")], [ord("0"), ord("1")]
    for before in blank:
        table[[ord("-"), ord("\r"), *blank[:2]], before] = NOTHING
        table[digit, before] = 0, 1
        table[ord("\n"), before] = END
    table[ord("1"), ord("-")] = -1
    table[[ord("\r"), *blank[:2]], np.array(digit)[:, None]] = NOTHING
    table[ord("\n"), [*digit, ord("\r")]] = END
    return table.ravel()


_CODES = _codes()


def _parse(block: bytearray) -> np.ndarray:
    """Return the codes int8 of whole lines without names: values, END after each line."""
    text = np.frombuffer(block, np.uint8)
    pairs = np.empty(len(text), np.uint16)
    pairs[0] = int(text[0]) << 8 | ord("\n")
    odd, even = pairs[1::2], pairs[2::2]
    odd[:] = np.frombuffer(block, "<u2", len(odd))
    even[:] = np.frombuffer(block, "<u2", len(even), 1)
    codes = _CODES[pairs]
    return codes[codes != NOTHING]


def stream_attributes(path: Path, num_attributes: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (names, values int8 (rows, num_attributes) of 1, -1 and 0) of list_attr_img.txt.

    The file is read in blocks, and never held whole.  Raises InputError for a
    count that is not the rows', short or long rows and other values, with the line.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; put the benchmark's file there")
    with open(path, "rb") as file:
        count, number = file.readline(1 << 10).decode("ascii", "replace"), 3
        file.readline(1 << 10)  # the header
        for block in _whole_lines(path, file):
            names, values = _named_rows(path, block, num_attributes, number)
            number += len(names)
            yield names, values
    check_count(path, count, number - 3)


def _whole_lines(path: Path, file) -> Iterator[bytearray]:
    rest = b""
    while piece := file.read(BLOCK):
        stop = piece.rfind(b"\n") + 1
        if stop:
            yield bytearray(rest + piece[:stop])
            rest = piece[stop:]
        elif len(rest) < BLOCK:
            rest += piece
        else:
            raise InputError(f"{path} has a line of over {len(rest)} bytes; get the file anew")
    if rest.strip():
        yield bytearray(rest + b"\n")


def _named_rows(path: Path, block: bytearray, width: int, number: int) -> tuple[list, np.ndarray]:
    """Return the names and values of a block whose first line is `number`."""
    lines = bytes(block)
    names, start = [], 0
    while (stop := lines.find(b"\n", start)) >= 0:
        blank = lines.find(b" ", start, stop)
        blank = stop if blank < 0 else blank
        names.append(lines[start:blank].decode("utf-8", "replace"))
        block[start:blank] = b" " * (blank - start)
        start = stop + 1
    codes = _parse(block)
    if codes.size == len(names) * (width + 1) and codes.max() < WRONG:
        codes = codes.reshape(len(names), width + 1)
        if (codes[:, -1] == END).all():
            return names, codes[:, :-1]
    raise _fault(path, lines.split(b"\n"), width, number)


def _fault(path: Path, lines: list[bytes], width: int, number: int) -> InputError:
    """Return the error that names the first line that is wrong."""
    for at, line in enumerate(lines, number):
        cells = line.split()[1:]
        wrong = [cell for cell in cells if cell not in (b"1", b"-1", b"0")]
        if wrong:
            seen = wrong[0][:40].decode("utf-8", "replace")
            return InputError(
                f"line {at} of {path} holds {seen!r}, where only 1, -1 and 0 stand; get the file "
                "anew"
            )
        if len(cells) != width:
            return InputError(
                f"line {at} of {path} has {len(cells)} values, but there are {width} attributes; "
                "get the file anew"
            )
    return InputError(f"{path} cannot be read near line {number}; get the file anew")


def sparse_rows(blocks: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return (starts int64 (N + 1,), positives int16) of blocks of values."""
    counts, columns = [np.zeros(1, np.int64)], [np.zeros(0, np.int16)]
    for values in blocks:
        rows, found = np.nonzero(values == 1)
        counts.append(np.bincount(rows, minlength=len(values)))
        columns.append(found.astype(np.int16))
    return np.cumsum(np.concatenate(counts)), np.concatenate(columns)


def reordered(starts: np.ndarray, positives: np.ndarray, order: np.ndarray) -> tuple:
    """Return the sparse rows in another order."""
    sizes = np.diff(starts)[order]
    new = np.concatenate([[0], np.cumsum(sizes)])
    return new, positives[np.arange(new[-1]) + np.repeat(starts[order] - new[:-1], sizes)]
