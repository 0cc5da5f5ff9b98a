"""What do a user's tables and files say of each photo, and how is the table of photos written?"""

import csv
import io
import os
import re
import warnings
from pathlib import Path

from tvhelpers.data import tables
from tvhelpers.data.folder import find_metadata, rows_of_photos, rows_of_table
from tvhelpers.data.photo_files import MISSING, REPORT, Files
from tvhelpers.data.rows import own_caption
from tvhelpers.data.table_sources import find_images
from tvhelpers.errors import InputError
from tvhelpers.files import write_text
from tvhelpers.paths import is_there
from tvhelpers.text import read_text

OURS = ("file_name", "caption", "product", "category")  # columns, before those of the user
COLUMNS = ("file_name", "use", "caption", "caption_from", "product", "category", "note")
ADDED = ("use", "caption_from", "note")  # those of the report alone
USE, REPORTED, NOTES = ("use",), ("reported",), ("notes",)  # keys that no column has
TWICE = "the table names it twice; the first row is used"


def known_rows(files: Files) -> tuple[dict[Path, dict], list[tuple[str, str, str]]]:
    """Return {photo: what the user's files say of it}, and (name, reason, caption) of the photos
    that a table names and that are missing.

    A caption in a table counts before one in a caption file, and both before names of folders.
    Keys that are no columns: REPORTED, its row in the report of an earlier run; USE; NOTES.
    Raises InputError where a table cannot be read.
    """
    broken = {}

    def read(path: Path) -> str:
        """Return the text of a caption file; "", and a note, where it cannot be read."""
        try:
            return read_text(path)
        except InputError as error:
            broken[path.stem] = f"its caption file was not read: {error}"
            return ""

    rows = {files.folder / row["file_name"]: row for row in rows_of_photos(files, read)}
    named, missing = _named(files)
    reported = {row["file_name"]: row for row in _report(files.folder)}
    for path in {**rows, **named}:
        before = reported.get(files.name_of(path), {})
        own = [_undrafted(row, before) for row in named.get(path, [])]
        if before.get("use") == "no" and not own:
            kept = {key: text for key, text in before.items() if key not in ADDED}
            own = [_undrafted({**kept, USE: False}, before)]
        row = _joined(rows.get(path, {}), own)
        notes = [why for stem, why in broken.items() if stem in (path.stem, path.name)]
        rows[path] = {**row, REPORTED: before, NOTES: notes + [TWICE] * (len(own) > 1)}
    return rows, missing


def _undrafted(row: dict, before: dict) -> dict:
    """Return the row of a photo without its caption, if that is still the draft of an earlier
    run."""
    is_draft = before.get("caption_from") == "draft" and before["caption"] == row.get("caption")
    return {**row, "caption": ""} if is_draft else row


def _joined(found: dict, own: list[dict]) -> dict:
    """Return the row of a table, completed by what files and folders say if it has no caption."""
    if not own or own_caption(own[0], "", ""):
        return own[0] if own else found
    return {**found, **{key: value for key, value in own[0].items() if value not in (None, "")}}


def _named(files: Files) -> tuple[dict[Path, list[dict]], list[tuple[str, str, str]]]:
    """Return {photo: its rows} of the metadata tables, and the photos that are missing."""
    named, lost, folder = {}, [], files.folder
    for table in find_metadata(files):
        rows = rows_of_table(folder, table)
        found, missing = find_images(folder, rows, "file_name", files)
        for row, path in found:
            named.setdefault(path, []).append(row)
        captions = {row.get("file_name"): own_caption(row, str(table), "") for row in rows}
        lost += [(name, MISSING, captions.get(name, "")) for name in missing]
    return named, lost


def _report(folder: Path) -> list[dict]:
    """Return the rows of the report of an earlier run, [] without one; a damaged one is kept
    aside, with a warning."""
    path = folder / REPORT
    if not is_there(path):
        return []
    try:
        rows = tables.read_table(path)
        for name in COLUMNS:
            tables.check_columns(path, name, name, [*rows[0]])
        return rows
    except InputError as error:
        kept = _free(path)
        os.replace(path, kept)
        warnings.warn(
            f"{error}; it is kept as {kept.name}, and without it drafts of captions count as yours "
            "and unticked photos are listed again",
            stacklevel=4,
        )
        return []


def write_tables(folder: Path, used: list[dict], more: list[str], noted: list[dict]) -> Path:
    """Write metadata.csv of the rows that are `used`, with the columns `more` after ours, and the
    report of all files; return the first.

    A table of the user's own is kept under a name that is never read as a table.
    """
    names = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True)}
    table, report = names.get("metadata.csv"), folder / REPORT
    if table and not report.exists():
        _free(table).write_bytes(table.read_bytes())
    table = table or folder / "metadata.csv"
    write_text(table, _csv([*OURS, *more], used))
    if "metadata.jsonl" in names:  # it would be read first
        os.replace(names["metadata.jsonl"], _free(names["metadata.jsonl"]))
    write_text(report, _csv([*COLUMNS, *(key for key in more if key not in COLUMNS)], noted))
    return table


def _free(path: Path) -> Path:
    """Return a name beside a table under which it is kept, and never read as a table."""
    kept, number = path.with_name(f"{path.name}.bak"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.{number}.bak")
    return kept


def _csv(columns: list[str], rows: list[dict]) -> str:
    """Return rows as CSV; with a BOM, which Excel needs, where not all letters are ASCII."""
    odd = any(re.search(r"[;|\t]", name) for name in columns)  # or another delimiter would be seen
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
    options = {"quoting": quoting, "lineterminator": "\n", "extrasaction": "ignore"}
    writer = csv.DictWriter(out, columns, **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue() if out.getvalue().isascii() else "\ufeff" + out.getvalue()
