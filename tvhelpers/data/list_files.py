"""DeepFashion's text lists: a count, a header, a row an image; whole, or refused with the line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data.attribute_stream import check_count


def lines_of(path: Path) -> list[str]:
    """Return the lines of a small file without empty ones at its end."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; put the benchmark's file there")
    try:
        return path.read_text(encoding="utf-8").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text ({error}); get the file anew") from None


def table_of(path: Path, columns: int) -> list[list[str]]:
    """Return the rows of a file with a count and a header; the first cell may have spaces."""
    lines = lines_of(path)
    check_count(path, lines[0], len(lines[2:]))
    return cells_of(path, lines[2:], columns, first_line=3)


def cells_of(path: Path, lines: list[str], columns: int, first_line: int = 1) -> list[list[str]]:
    """Return the cells of lines; raises InputError for a line with another number of columns."""
    rows = [line.rsplit(None, columns - 1) for line in lines]
    for number, row in enumerate(rows, first_line):
        if len(row) != columns:
            raise InputError(
                f"line {number} of {path} has {len(row)} of {columns} columns; get the file anew"
            )
        row[0] = row[0].strip()
    return rows


def integers_of(path: Path, cells: list, low: int, high: int, first_line: int = 3) -> np.ndarray:
    """Return rows of cells as int64; raises InputError for what is no number of low..high."""
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
                    f"line {number} of {path} holds {cell[:40]!r}, not a whole number of {low} to "
                    f"{high}; get the file anew"
                )
    raise InputError(f"{path} holds numbers that cannot be read; get the file anew")


def boxes_of(path: Path, cells: list, first_line: int = 3) -> np.ndarray:
    """Return boxes int (N, 4), each with a right and bottom beyond its left and top."""
    boxes = integers_of(path, cells, 0, 1 << 20, first_line)
    empty = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(1))
    if len(empty):
        raise InputError(
            f"line {empty[0] + first_line} of {path} has the empty box "
            f"{boxes[empty[0]].tolist()}; get the file anew"
        )
    return boxes


def order_of(path: Path, names: list[str], wanted: list[str], first: Path) -> np.ndarray:
    """Return at which place of `names` each of `wanted` stands; `first` is where they are from."""
    if names == wanted:
        return np.arange(len(names))
    if len(names) != len(wanted):
        raise InputError(
            f"{path} has {len(names)} rows, but {first} has {len(wanted)}; give files of one set"
        )
    places = {name: place for place, name in enumerate(names)}
    for number, name in enumerate(wanted, 3):
        if name not in places:
            raise InputError(
                f"line {number} of {first} names {name[:200]}, which {path} has not; give files "
                "of one set"
            )
    return np.array([places[name] for name in wanted])
