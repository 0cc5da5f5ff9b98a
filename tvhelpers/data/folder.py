"""How does a folder of photos become a source, and what are their captions?"""

import re
import warnings
from pathlib import Path

from tvhelpers.data.items import Source
from tvhelpers.data.lexicon import WORDS
from tvhelpers.data.rows import SPLITS
from tvhelpers.data.table_sources import open_rows, open_table
from tvhelpers.data.tables import ENDINGS
from tvhelpers.errors import InputError
from tvhelpers.image import IMAGE_ENDINGS, is_image
from tvhelpers.text import read_text


def open_photos(name: str, folder: Path, options: dict) -> Source:
    """Open a folder of photos; `sources.open_source` says what it may hold.

    A photo that has neither caption nor category raises InputError, or, with the option
    `captions_optional`, gets "a garment".  Raises InputError too where a photo is missing.
    """
    for table in ("metadata.jsonl", "metadata.csv"):
        if (folder / table).is_file():
            return open_table(name, folder / table, options)
    rows = [_row_of_photo(folder, path) for path in sorted(folder.rglob("*")) if is_image(path)]
    if not rows:
        raise InputError("no-images.photos", folder=folder, endings=IMAGE_ENDINGS)
    rows = _captions_of_names(folder, rows)
    if not options["captions_optional"]:
        _check_captions(folder, rows)
    return open_rows(name, folder, rows, options["captions_optional"])


def _row_of_photo(folder: Path, path: Path) -> dict:
    """Return the row of a photo with a caption file beside it, or in a folder [SPLIT/]CATEGORY/."""
    row, text = {"file_name": path.relative_to(folder).as_posix()}, path.with_suffix(".txt")
    if text.is_file():
        row["caption"] = read_text(text).strip()
    elif path.parent != folder:
        row["category"], above = path.parent.name, path.parent.parent
        row["split"] = above.name if above.name.lower() in SPLITS and above != folder else ""
    return row


def _captions_of_names(folder: Path, rows: list[dict]) -> list[dict]:
    """Take captions from names such as green-bomber-jacket-2.jpg where there is nothing else.

    Photos with equal words are one product.  Where one name has no words, no row is changed.
    """
    if any("caption" in row or "category" in row for row in rows):
        return rows
    words = [_words(Path(row["file_name"]).stem) for row in rows]
    if not all(words):
        return rows
    warnings.warn(
        f"{folder}: captions are the names of the files, such as {words[0]!r}; for better ones "
        "write a metadata.csv (file_name,caption)",
        stacklevel=4,
    )
    return [{**row, "caption": one, "product": one} for row, one in zip(rows, words)]


def _words(stem: str) -> str:
    """Return the words of a file's name; "" for a name that a camera gave, such as IMG_0042."""
    stem = re.sub(r"\s*\(\d+\)$", "", stem)  # the second photo of it: "red dress (2)"
    parts = re.split(r"[\s_]+" if re.search(r"[\s_]", stem) else r"-+", stem)
    parts = [part.rstrip("0123456789").strip("-.,()") for part in parts]
    words = [part for part in parts if part and not re.search(r"\d", part)]
    words = [word for word in words if word.lower() not in WORDS["camera_words"]]
    return " ".join(words) if any(re.search(r"[^\W\d_]{3}", word) for word in words) else ""


def _check_captions(folder: Path, rows: list[dict]) -> None:
    """Raise InputError where a photo has no caption, nor, where none has one, a category."""
    key = "caption" if any("caption" in row for row in rows) else "category"
    without = [row["file_name"] for row in rows if not row.get(key)]
    if without:
        tables = [path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS]
        count, total, first = len(without), len(rows), without[0]
        if "records.jsonl" in tables:
            raise InputError("no-caption.records", folder=folder)
        if tables:
            raise InputError("no-caption.table", count=count, folder=folder, table=tables[0])
        raise InputError("no-caption.photos", folder=folder, count=count, total=total, first=first)
