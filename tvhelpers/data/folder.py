"""Photos in a folder as a source; captions from a table, text files or folder names."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data.items import ATTRIBUTES, Source, file_digest
from tvhelpers.data.tables import ENDINGS, read_table
from tvhelpers.files import content_key
from tvhelpers.image import IMAGE_ENDINGS, is_photo, read_photo
from tvhelpers.paths import inside
from tvhelpers.text import as_text
from tvhelpers.words import describe, some

SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
CAMERA_WORDS = (
    "img", "dsc", "dscn", "dscf", "pxl", "mvimg", "image", "photo", "picture", "pic", "screenshot",
    "scan", "file", "whatsapp", "untitled", "copy", "edited", "at", "am", "pm", "new", "final",
)  # fmt: skip


@dataclass
class PhotoSource(Source):
    """Items whose pixels are image files."""

    paths: list[Path] = field(kw_only=True)

    def pixels(self, index: int) -> np.ndarray:
        return read_photo(self.paths[index])


def open_photos(name: str, folder: Path, bare: bool = False) -> PhotoSource:
    """Open a folder of photos; `tvhelpers.data.sources.open_source` says what it may hold.

    `bare`: a photo that has neither caption nor category is "a garment" until it is captioned.
    Raises InputError where a photo is missing, or, unless `bare`, has neither.
    """
    rows = _metadata(folder)
    if rows is None:
        rows = [_row_of_photo(folder, path) for path in sorted(folder.rglob("*")) if is_photo(path)]
        rows = _captions_of_names(folder, rows)
        rows = _named(rows) if bare else rows
        _check_captions(folder, rows)
    elif bare:
        rows = _named(rows)
    return open_rows(name, folder, rows)


def open_rows(name: str, folder: Path, rows: list[dict]) -> PhotoSource:
    """Open photos by rows with file_name and a caption or category, product, split ....

    Raises InputError as `open_photos`.
    """
    place = f"{folder}: row {{}} of the metadata"
    names = [as_text(row["file_name"]) for row in rows]
    paths = [inside(folder, name, place.format(i)) for i, name in enumerate(names)]
    ids = [path.relative_to(folder).as_posix() for path in paths]
    words = item_columns(folder, rows, ids)
    _warn_of_others(folder, paths)
    captions, products, attributes, splits = words
    digests = [file_digest(path) for path in paths]
    key = content_key([digests, captions, ids, products, attributes, splits])
    return PhotoSource(name, key, captions, ids, products, attributes, splits, paths=paths)


def item_columns(where: Path | str, rows: list[dict], ids: list[str]) -> tuple:
    """Return (captions, product ids, attributes, splits) of rows under our names.

    Raises InputError for a row without caption, text and category, of an unknown split, or with a
    weight that is none.
    """
    places = [f"{where}: row {number} ({one})" for number, one in enumerate(ids)]
    attributes = [_attributes(row, place) for row, place in zip(rows, places)]
    captions = [_caption(*each) for each in zip(rows, attributes, places)]
    _warn_of_labels(where, rows, captions)
    products = [
        as_text(row.get("product") or row.get("product_id")) or own for row, own in zip(rows, ids)
    ]
    return captions, products, attributes, [_split(row, at) for row, at in zip(rows, places)]


def _metadata(folder: Path) -> list[dict] | None:
    """Return the rows of metadata.jsonl or metadata.csv, None where there is neither."""
    if (folder / "metadata.jsonl").is_file():
        rows = read_table(folder / "metadata.jsonl")
    elif (folder / "metadata.csv").is_file():
        rows = read_table(folder / "metadata.csv")
    else:
        return None
    lacking = [number for number, row in enumerate(rows) if not row.get("file_name")]
    if lacking:
        seen = f"row {lacking[0]} has {some(rows[lacking[0]])}"
        raise InputError(
            f"{folder}: the metadata needs rows, each with a file_name and a caption or category; "
            f"{seen}; if columns have other names, give --columns"
        )
    return rows


def _split(row: dict, place: str) -> str:
    word = as_text(row.get("split")).lower()
    if word and word not in SPLITS:
        raise InputError(f"{place} is of split {word!r}; give {', '.join(SPLITS)}, or nothing")
    return SPLITS.get(word, "")


def _warn_of_others(folder: Path, paths: list[Path]) -> None:
    """Say how many images of the folder are left out."""
    taken = set(paths)
    kinds = (*IMAGE_ENDINGS, ".gif", ".tif", ".tiff", ".avif", ".heic")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in kinds]
    if others := sorted(path for path in files if path not in taken):
        warnings.warn(
            f"{folder}: {len(others)} images are left out, {others[0].name} the first; they are "
            f"not in the metadata, or not {', '.join(IMAGE_ENDINGS)}",
            stacklevel=3,
        )


def _row_of_photo(folder: Path, path: Path) -> dict:
    """Return the row of a photo with a caption file beside it, or in a folder [SPLIT/]CATEGORY/."""
    row = {"file_name": path.relative_to(folder).as_posix()}
    if path.with_suffix(".txt").is_file():
        row["caption"] = (
            path.with_suffix(".txt").read_text(encoding="utf-8", errors="replace").strip()
        )
    elif path.parent != folder:
        row["category"] = path.parent.name
        above = path.parent.parent.name
        row["split"] = above if above.lower() in SPLITS and path.parent.parent != folder else ""
    return row


def _captions_of_names(folder: Path, rows: list[dict]) -> list[dict]:
    """Take captions from names such as green-bomber-jacket-2.jpg where there is nothing else.

    What has the same words is one product.  The rows stay as they are where one name has no words.
    """
    if any("caption" in row or "category" in row for row in rows):
        return rows
    words = [_words(Path(row["file_name"]).stem) for row in rows]
    if not rows or not all(words):
        return rows
    warnings.warn(
        f"{folder}: captions are the names of the files, such as {words[0]!r}; for better ones "
        "write a metadata.csv (file_name,caption)",
        stacklevel=4,
    )
    return [{**row, "caption": one, "product": one} for row, one in zip(rows, words)]


def _words(stem: str) -> str:
    """Return the words of a file's name, "" for one that a camera gave: IMG_0042."""
    stem = re.sub(r"\s*\(\d+\)$", "", stem)  # a copy: "red dress (2)"
    parts = re.split(r"[\s_]+" if re.search(r"[\s_]", stem) else r"-+", stem)
    parts = [part.rstrip("0123456789").strip("-.,()") for part in parts]
    words = [part for part in parts if part and not re.search(r"\d", part)]
    words = [word for word in words if word.lower() not in CAMERA_WORDS]
    return " ".join(words) if any(re.search(r"[^\W\d_]{3}", word) for word in words) else ""


def _named(rows: list[dict]) -> list[dict]:
    """Return the rows, with a caption for each that says nothing."""
    says = ("caption", "text", "category")
    return [
        row if any(row.get(key) for key in says) else {**row, "caption": "a garment"}
        for row in rows
    ]


def _check_captions(folder: Path, rows: list[dict]) -> None:
    if not rows:
        raise InputError(
            f"{folder} holds no images ({', '.join(IMAGE_ENDINGS)}), no G2.h5 and no pixels.h5; "
            "give another"
        )
    captioned = sum("caption" in row for row in rows)
    bare = [
        row["file_name"]
        for row in rows
        if not (row.get("caption") or (not captioned and row.get("category")))
    ]
    if bare:
        tables = [path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS]
        other = f", or say what is in {tables[0]} with --columns" if tables else ""
        raise InputError(
            f"{folder}: {len(bare)} of {len(rows)} images have no caption, {bare[0]} the first; "
            f"write a metadata.csv (file_name,caption), or a .txt beside each image{other}, or let "
            "a model write captions: data captions --captioner"
        )


def _attributes(row: dict, place: str) -> dict[str, str]:
    """Return the labels of a row, and its weight: how often it is to be drawn, as text."""
    row = {"colour": row.get("color"), **{key: value for key, value in row.items() if value}}
    found = {key: as_text(row.get(key)) for key in (*ATTRIBUTES, "weight")}
    weight = found["weight"]
    if weight and not re.fullmatch(r"\d+(\.\d*)?([eE][-+]?\d+)?", weight):
        raise InputError(f"{place} has weight {weight!r}; give a number from 0 on")
    return {key: value for key, value in found.items() if value}


def _caption(row: dict, attributes: dict[str, str], place: str) -> str:
    caption = as_text(row.get("caption") or row.get("text"))
    if not caption and "category" not in attributes:
        raise InputError(
            f"{place} has no caption, text or category; add one, or name it: "
            f"data convert --columns caption=COLUMN (it has {some(row)})"
        )
    return caption or describe(attributes)


def _warn_of_labels(where: Path | str, rows: list[dict], captions: list[str]) -> None:
    """Say that captions are made from labels where a column could have been meant for them."""
    bare = [i for i, row in enumerate(rows) if not as_text(row.get("caption") or row.get("text"))]
    columns = {key for row in rows for key in row} - {"caption", "text", "file_name"}
    longer = [key for key in sorted(columns) if any(" " in as_text(row.get(key)) for row in rows)]
    if bare and ("caption" in rows[0] or longer):
        meant = [f"; if {key} says more, give --columns caption={key}" for key in longer[:1]]
        warnings.warn(
            f"{where}: {len(bare)} of {len(rows)} items have no caption; theirs are made from the "
            f"labels, such as {captions[bare[0]]!r}{''.join(meant)}",
            stacklevel=2,
        )
