"""How is a table (csv, tsv, jsonl, json, Parquet, Arrow) read as rows under our names?"""

import csv
import glob
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tvhelpers.data import arrow_tables
from tvhelpers.data.items import ATTRIBUTES
from tvhelpers.data.rows import PLACE
from tvhelpers.errors import Choice, InputError, in_words
from tvhelpers.records import read_rows
from tvhelpers.text import as_text, decoded, file_bytes
from tvhelpers.words import counted, listed

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", *arrow_tables.ENDINGS)
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
OURS = ("caption", *ATTRIBUTES, "product", "split", "weight")
USED = {*OURS, "file_name", "text", "color", "product_id"}  # columns that need no `columns`
BRACES = re.compile(r"\{([^{}\[\]]+)(?:\[(-?\d*):(-?\d*)\])?\}")  # {id} or {id[:3]}


def read_table(path: Path, bad_lines: str = "", columns: Iterable[str] = ()) -> list[dict]:
    """Return the rows of a csv, tsv, jsonl, json (a list of objects), Parquet or Arrow file.

    `bad_lines`: "skip" ignores lines with more cells than the header, and warns of their number.
    `columns`: further ones to read (as `theirs` of `fill`) beside USED; other cells may be None.
    Raises InputError for a file that cannot be read, or that has no rows.
    """
    if not path.is_file():
        raise InputError("file-missing.table", path=path)
    ending = path.suffix.lower()
    if ending in SPREADSHEETS:
        raise InputError("not-a-table.spreadsheet", path=path)
    if ending in (".json", ".jsonl", ".ndjson"):
        return read_rows(path, "row", whole=ending == ".json")
    if ending in arrow_tables.ENDINGS:
        rows = arrow_tables.rows_of(path, USED.union(names_in(*columns)))
    else:
        rows = _read_csv(path, bad_lines)
    if not rows:
        raise InputError("no-rows", path=path)
    return rows


def names_in(*specs: str) -> list[str]:
    """Return the columns that `fill` reads for the texts `theirs`."""
    found = [BRACES.findall(one) if "{" in one else [(one,)] for one in specs]
    return [name for matches in found for name, *_ in matches]


def _read_csv(path: Path, bad_lines: str) -> list[dict]:
    """Return the rows of a file; missing cells at the end of a line are None.

    pandas.read_csv would rename equal columns, shift the cells of a line that has too many, and
    accept null characters and stray quotes.
    """
    text = decoded(file_bytes(path), path)
    try:
        (_, header), *lines = _csv_lines(text) or [(1, [])]
    except csv.Error as error:
        raise InputError("file-damaged.csv", path=path, error=error) from None
    names = [name.strip() for name in header]
    while names and not names[-1]:  # empty columns of a spreadsheet
        names.pop()
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise InputError("given-twice.column", path=path, name=twice[0])
    bad = {line for line, cells in lines if any(map(str.strip, cells[len(names) :]))}
    if bad and not bad_lines:
        raise InputError("ragged-row", line=min(bad), path=path)
    if bad:
        seen = f"{counted(len(bad), 'line')} skipped, with more cells than the header has"
        warnings.warn(f"{path}: {seen}, such as line {min(bad)}", stacklevel=3)
    empty = dict.fromkeys(filter(None, names))
    rows = [dict(zip(names, cells)) for line, cells in lines if line not in bad]
    return [{**empty, **{name: row[name] for name in row if name}} for row in rows]


def _csv_lines(text: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of each line that is not empty.

    The delimiter is the one of , ; | and tab that is most frequent in the header, or that of
    Excel's first line "sep=;".  Spaces after a delimiter are ignored where possible.
    """
    said = re.match("sep=(.)[\r\n]", text)
    header = re.search('(?:"[^"]*"|[^\r\n"])+', text)
    bare = re.sub('"[^"]*"', "", header[0]) if header else ""
    delimiter = said[1] if said else max(",;\t|", key=bare.count)
    csv.field_size_limit(max(1 << 17, len(text)))

    def lines(skip_spaces: bool) -> list[tuple[int, list[str]]]:
        file, skip = io.StringIO(text, newline=""), {"skipinitialspace": skip_spaces}
        reader = csv.reader(file, delimiter=delimiter, strict=True, **skip)
        found = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
        return found[1:] if said else found

    try:
        return lines(True)
    except csv.Error:
        return lines(False)


def find_tables(folder: Path, table: str | dict) -> list[tuple[Path, str]]:
    """Return (path, split) of the files of `table`: a name, a pattern with *, or {split: names}.

    Warns of missing files; raises InputError if all are missing.
    """
    named = table.items() if isinstance(table, dict) else [("", table)]
    found, missing = [], []
    pairs = [(split, one) for split, names in named for one in _listed(names)]
    for split, name in pairs:
        matches = sorted(glob.glob(name, root_dir=folder))
        found += [(folder / match, split) for match in matches]
        missing += [] if matches else [name]
    if not found:
        raise InputError("file-missing.tables", folder=folder, names=missing)
    if missing:
        warnings.warn(f"{folder} has no {listed(missing)}; the other files are used", stacklevel=3)
    arrow_tables.warn_of_missing([path for path, _ in found])
    return found


def _listed(names: str | list[str]) -> list[str]:
    return names if isinstance(names, list) else [names]


def rename(where: Path | str, rows: list[dict], columns: dict[str, str], split: str) -> list[dict]:
    """Return the rows with our names added as text, by `columns` {ours: theirs}, `split` and PLACE.

    Theirs is a column, or text with columns in braces: "{brand} {name[:20]}".  Raises InputError
    for an unknown name of ours, and for a column that is in no row.
    """
    known = list(dict.fromkeys(key for row in rows for key in row))
    for ours, theirs in columns.items():
        if ours not in OURS:
            choice = Choice(ours, OURS)
            raise InputError("unknown-choice.column", place=where, name=ours, choice=choice)
        check_columns(where, ours, theirs, known)
    added = {"split": split} if split else {}
    rows = [{**row, PLACE: (number, where)} for number, row in enumerate(rows)]
    return [{**row, **_filled(columns, row), **added} for row in rows]


def _filled(columns: dict[str, str], row: dict) -> dict[str, object]:
    """Return {ours: text}; a list of captions stays a list (`item_columns` chooses one)."""
    caption = row.get(columns.get("caption"))
    kept = {"caption": caption} if isinstance(caption, list) else {}
    return kept | {ours: fill(theirs, row) for ours, theirs in columns.items() if ours not in kept}


def check_columns(where: Path | str, ours: str, theirs: str, known: list[str]) -> None:
    """Raise InputError where `theirs` names an unknown column."""
    for name in names_in(theirs):
        if name not in known:
            choice = Choice(name, known)
            raise InputError("column-missing", place=where, name=name, ours=ours, choice=choice)


def fill(theirs: str, row: dict, quote: Callable[[str], str] = str) -> str:
    """Return the cell of column `theirs`, or `theirs` with its braces filled by quoted cells.

    In braces, a list is joined by spaces.  Raises InputError, with the PLACE of the row, for a cell
    that is not text.
    """
    number, table = row[PLACE]
    place = f"row {number} of {in_words(table)}"
    if "{" not in theirs:
        return as_text(row.get(theirs), place, theirs)

    def cell(match: re.Match) -> str:
        name, *ends = match.groups()
        start, stop = (int(end) if end else None for end in ends)
        parts = row.get(name) if isinstance(row.get(name), list) else [row.get(name)]
        return quote(" ".join(as_text(part, place, name) for part in parts)[start:stop])

    return BRACES.sub(cell, theirs).strip()
