"""How is text from files, tables, arrays and JSON read, so that it can be stored and printed?

All text files that users give are read by `read_text`; `as_text` makes text of all values of
tables, arrays and JSON.  Standard library only.
"""

import codecs
import re
from pathlib import Path

from tvhelpers.errors import InputError

# Byte order marks (BOM) and their encodings; UTF-32 first, as its BOM starts like that of UTF-16.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
MAX_BYTES = 1 << 30  # of a text file, which is read whole
UNUSABLE = re.compile("[\0\ud800-\udfff]")  # null characters, and halves of characters


def read_text(path: Path) -> str:
    """Return a text file's content; lines end with "\\n", whatever the file has.

    The encoding is UTF-8, or the UTF-16 or UTF-32 of its BOM.  U+2028, U+0085 and the like do not
    end a line, so split at "\\n" only.  Raises InputError, with the place in the file, for any
    other encoding, and for null characters.
    """
    return decoded(file_bytes(path), path).replace("\r\n", "\n").replace("\r", "\n")


def file_bytes(path: Path) -> bytes:
    """Return the bytes of a text file; raises InputError for a pipe, a folder, and more than
    MAX_BYTES."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError("not-a-file.text", path=path)
    check_size(path, path.stat().st_size)
    return path.read_bytes()


def check_size(path: Path, size: int) -> None:
    """Raise InputError where the text of a file has more than MAX_BYTES."""
    if size > MAX_BYTES:
        raise InputError("too-large.text", path=path, size=size >> 20, most=MAX_BYTES >> 20)


def decoded(data: bytes, path: Path) -> str:
    """Decode the bytes of a text file as `read_text` does; line ends stay as in the file."""
    mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
    try:
        text = data[len(mark) :].decode(MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        place = len(mark) + error.start
        raise InputError(
            "file-damaged.encoding", path=path, seen=f"{data[place]:02X}", place=place
        ) from None
    if "\0" in text:
        raise InputError("file-damaged.zero-bytes", path=path)
    return text


def clean(value: str, where: str) -> str:
    """Return a text of a table, an array or JSON, if it can be stored and printed.

    Raises InputError, with `where` for its place, for null characters and halves of characters.
    """
    if found := UNUSABLE.search(value):
        raise InputError("unusable-text", where=where, seen=found[0], text=value)
    return value


def as_text(value, where: str = "the table", key: str = "a column") -> str:
    """Return a cell as text: "" for None and NaN, "3" for 3.0.

    Bytes are read as UTF-8, else as Latin-1, as in Fashion-Gen.  Raises InputError, with `where`
    for the place of the cell and `key` for its column, for objects, lists of several values, true,
    false, and bytes that are not text.
    """
    if isinstance(value, (list, tuple)) and len(value) < 2:
        value = value[0] if value else None
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = _text_of_bytes(value)
    if isinstance(value, (bool, list, tuple, dict, bytes)):
        seen = "bytes" if isinstance(value, bytes) else value
        raise InputError("wrong-type.cell", where=where, key=key, seen=seen)
    return str(value).strip()


def _text_of_bytes(data: bytes) -> str | bytes:
    """Return bytes as text, or unchanged if they are not text."""
    data = data.rstrip(b"\0")  # of arrays whose texts all have the same length
    try:
        text, strange = data.decode("utf-8"), "\0"
    except UnicodeDecodeError:
        text, strange = data.decode("latin-1"), "[\0-\x08\x0e-\x1f\x7f-\x9f]"
    return data if re.search(strange, text) else text
