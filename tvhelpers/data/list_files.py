"""How are DeepFashion's text lists read, and which line is wrong?

A list has a count, a header and one row per image.  That of the coarse attributes, 289,222 rows of
1,000 values and 0.87 GB, is streamed.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tvhelpers.errors import InputError
from tvhelpers.text import read_text


def lines_of(path: Path) -> list[str]:
    """Return the lines of a small file without empty lines at its end."""
    _check_there(path)
    return read_text(path).rstrip().split("\n")


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise InputError("file-missing.benchmark", path=path)


def _check_count(path: Path, line: str, rows: int) -> None:
    if line.strip() != str(rows):
        raise InputError("file-damaged.list-count", path=path, given=line.strip(), count=rows)


def table_of(path: Path, columns: int) -> list[list[str]]:
    """Return the rows of a file with a count and a header; the first cell may have spaces."""
    lines = lines_of(path)
    _check_count(path, lines[0], len(lines[2:]))
    return cells_of(path, lines[2:], columns, first_line=3)


def cells_of(path: Path, lines: list[str], columns: int, first_line: int = 1) -> list[list[str]]:
    """Return the cells of lines; raises InputError for a line with another number of columns."""
    rows = [line.rsplit(None, columns - 1) for line in lines]
    for number, row in enumerate(rows, first_line):
        if len(row) != columns:
            raise InputError(
                "file-damaged.list-columns", line=number, path=path, count=len(row), needed=columns
            )
        row[0] = row[0].strip()
    return rows


def integers_of(path: Path, cells: list, low: int, high: int, first_line: int = 3) -> np.ndarray:
    """Return rows of cells as int64; raises InputError for a cell outside low..high."""
    try:
        values = np.array(cells).astype(np.int64)
        if ((values >= low) & (values <= high)).all():
            return values
    except (ValueError, OverflowError):
        pass
    for number, row in enumerate(cells, first_line):
        for cell in [row] if isinstance(row, str) else row:
            if not (re.fullmatch(r"-?[0-9]{1,18}", cell) and low <= int(cell) <= high):
                raise InputError(
                    "file-damaged.list-number",
                    line=number,
                    path=path,
                    seen=cell,
                    low=low,
                    high=high,
                )
    raise InputError("file-damaged.list-numbers", path=path)


def boxes_of(path: Path, cells: list, first_line: int = 3) -> np.ndarray:
    """Return boxes int (N, 4): left, top, right, bottom; raises InputError for an empty box."""
    boxes = integers_of(path, cells, 0, 1 << 20, first_line)
    empty = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(1))
    if len(empty):
        line, box = int(empty[0]) + first_line, tuple(boxes[empty[0]].tolist())
        raise InputError("file-damaged.list-box", line=line, path=path, shape=box)
    return boxes


def order_of(path: Path, names: list[str], wanted: list[str], first: Path) -> np.ndarray:
    """Return the index in `names` of each of `wanted`, which are from the file `first`."""
    if names == wanted:
        return np.arange(len(names))
    if len(names) != len(wanted):
        raise InputError(
            "file-differs.rows", path=path, count=len(names), other=first.name, needed=len(wanted)
        )
    places = {name: place for place, name in enumerate(names)}
    for line, name in enumerate(wanted, 3):
        if name not in places:
            raise InputError("file-differs.name", line=line, other=first.name, name=name, path=path)
    return np.array([places[name] for name in wanted])


# --------------------------------------------------------------------- attributes as a stream

BLOCK = 20  # rows parsed at once, few enough for the CPU's cache
LONGEST = 1 << 20  # bytes of a line
NOTHING, END, WRONG = 7, 8, 9  # codes beside the values -1, 0 and 1


def _codes() -> np.ndarray:
    """Return int8 (65536,): the code of a character after another, at [character * 256 + before].

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


def stream_attributes(path: Path, num_attributes: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (names, values int8 (rows, num_attributes) of 1, -1 and 0) of list_attr_img.txt.

    The file is never in memory as a whole.  Raises InputError with the line for a wrong count, rows
    of another length, and other values.
    """
    _check_there(path)
    with open(path, "rb") as file:
        count, number = file.readline(LONGEST).decode("ascii", "replace"), 3
        file.readline(LONGEST)  # the header
        lines = iter(lambda: file.readline(LONGEST), b"")
        while block := list(itertools.islice(lines, BLOCK)):
            names, _, rests = zip(*(line.partition(b" ") for line in block), strict=True)
            values = _values(b"".join(rests), len(block), num_attributes)
            if values is None:
                raise _first_problem(path, block, num_attributes, number)
            number += len(block)
            yield [name.decode("utf-8", "replace") for name in names], values
    _check_count(path, count, number - 3)


def _values(text: bytes, rows: int, width: int) -> np.ndarray | None:
    """Return int8 (rows, width) of lines without names, or None where one is wrong."""
    text = b"\n" + text + (b"" if text.endswith(b"\n") else b"\n")
    pairs = np.ndarray(len(text) - 1, "<u2", text, 0, (1,))  # each character and the one before
    codes = _CODES[pairs]
    codes = codes[codes != NOTHING]
    if codes.size != rows * (width + 1) or codes.max() >= WRONG:
        return None
    codes = codes.reshape(rows, width + 1)
    return codes[:, :-1] if (codes[:, -1] == END).all() else None


def _first_problem(path: Path, lines: list[bytes], width: int, number: int) -> InputError:
    for at, line in enumerate(lines, number):
        cells = line.split()[1:]
        wrong = [cell for cell in cells if cell not in (b"1", b"-1", b"0")]
        if wrong:
            seen = wrong[0][:40].decode("utf-8", "replace")
            return InputError("file-damaged.list-value", line=at, path=path, seen=seen)
        if len(cells) != width:
            return InputError(
                "file-damaged.list-values", line=at, path=path, count=len(cells), needed=width
            )
    return InputError("file-damaged.list-line", line=number, path=path)


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
