"""How does text from outside become text that can be kept, printed and read again?

All text files that users give are read by `read_text`, all values of tables, arrays and JSON become
text by `as_text`.  Standard library only.
"""

import codecs
import math
import re
from pathlib import Path

from tvhelpers.errors import InputError

# The mark at the start of a file, and its encoding; UTF-32 first, whose mark starts as UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
UNUSABLE = re.compile("[\0\ud800-\udfff]")  # zero bytes and halves of characters


def read_text(path: Path) -> str:
    """Return a text file's content; lines end with "\\n", however the file ends them.

    UTF-8, or what the mark at its start says: UTF-16 or UTF-32.  U+2028, U+0085 and the like stay
    within their lines: split at "\\n" only.  Raises InputError, with the place in the file, for any
    other encoding, and for zero bytes.
    """
    return decoded(Path(path).read_bytes(), path).replace("\r\n", "\n").replace("\r", "\n")


def decoded(data: bytes, path: Path) -> str:
    """Return what the bytes of a text file say, as `read_text` does, with its own line ends."""
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
    """Return a text from a table, an array or JSON, if it can be kept, printed and read again.

    Raises InputError, which names `where` it stands, for zero bytes and halves of characters.
    """
    if found := UNUSABLE.search(value):
        raise InputError("unusable-text", where=where, seen=found[0], text=value)
    return value


def as_text(value) -> str:
    """Return a cell as text: "" for None and NaN, "3" for 3.0, a list joined by spaces."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").strip()
        except UnicodeDecodeError:
            return value.decode("latin-1").strip()
    return " ".join(map(as_text, value)) if isinstance(value, list) else str(value).strip()
