"""Photos in a folder as a source; captions from a table, text files or folder names."""

from __future__ import annotations

import csv
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from tvhelpers.config import InputError
from tvhelpers.data.items import Source, file_digest, read_rows
from tvhelpers.runtime import content_key

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
ATTRIBUTES = ("category", "colour", "pattern", "sleeve", "neckline", "length", "gender")
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
NO_ARTICLE = ("outwear", "outerwear", "knitwear", "underwear", "swimwear")


@dataclass
class PhotoSource(Source):
    """Items whose pixels are image files."""

    paths: list[Path] = field(kw_only=True)

    def pixels(self, index: int) -> np.ndarray:
        return read_photo(self.paths[index])


def open_photos(name: str, folder: Path) -> PhotoSource:
    """Open a folder of photos; `tvhelpers.data.sources.open_source` says what it may hold.

    Raises InputError where a photo is missing, or has no caption and no category.
    """
    rows = _metadata(folder)
    if rows is None:
        rows = [
            _row_of_photo(folder, path) for path in sorted(folder.rglob("*")) if _is_photo(path)
        ]
        _check_captions(folder, rows)
    paths = [_inside(folder, row, number) for number, row in enumerate(rows)]
    attributes = [_attributes(row) for row in rows]
    captions = [
        _caption(folder, row, words, i)
        for i, (row, words) in enumerate(zip(rows, attributes, strict=True))
    ]
    ids = [path.relative_to(folder).as_posix() for path in paths]
    products = [
        row.get("product") or row.get("product_id") or own
        for row, own in zip(rows, ids, strict=True)
    ]
    splits = [_split(folder, row, number) for number, row in enumerate(rows)]
    _warn_of_others(folder, paths)
    digests = [file_digest(path) for path in paths]
    key = content_key([digests, captions, ids, products, attributes, splits])
    return PhotoSource(
        name, key, captions, ids, [str(p) for p in products], attributes, splits, paths=paths
    )


def _metadata(folder: Path) -> list[dict] | None:
    """Return the rows of metadata.jsonl or metadata.csv, None where there is neither."""
    if (folder / "metadata.jsonl").is_file():
        rows = read_rows(folder / "metadata.jsonl")
    elif (folder / "metadata.csv").is_file():
        rows = _read_csv(folder / "metadata.csv")
    else:
        return None
    lacking = [number for number, row in enumerate(rows) if not row.get("file_name")]
    if not rows or lacking:
        seen = f"row {lacking[0]} has {', '.join(rows[lacking[0]])}" if rows else "it has none"
        raise InputError(
            f"{folder}: the metadata needs rows, each with a file_name and a caption or category; "
            f"{seen}"
        )
    return rows


def _read_csv(path: Path) -> list[dict]:
    """Return the rows of a CSV file with a header; raises InputError for one that is broken."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        try:
            rows = []
            for row in reader:
                if None in row:  # more cells than columns
                    raise InputError(
                        f"line {reader.line_num} of {path} has more cells than the header; put a "
                        'caption with a comma in double quotes: "a red dress, striped"'
                    )
                rows.append(row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}); save it as UTF-8 CSV") from None
    return rows


def _split(folder: Path, row: dict, number: int) -> str:
    word = str(row.get("split") or "").strip().lower()
    if word and word not in SPLITS:
        raise InputError(
            f"{folder}: row {number} ({row['file_name']}) is of split {word!r}; give "
            f"{', '.join(SPLITS)}, or nothing"
        )
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


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and path.is_file() and not path.name.startswith(".")


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
        raise InputError(
            f"{folder}: {len(bare)} of {len(rows)} images have no caption, {bare[0]} the first; "
            "write a metadata.csv (file_name,caption), or a .txt beside each image"
        )


def _inside(folder: Path, row: dict, number: int) -> Path:
    path = folder / row["file_name"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{folder}: row {number} of the metadata names {row['file_name']}, outside the folder"
        )
    if not path.is_file():
        raise InputError(
            f"{folder}: row {number} of the metadata names {row['file_name']}, which is not there"
        )
    return path


def _attributes(row: dict) -> dict[str, str]:
    row = {"colour": row.get("color"), **{key: value for key, value in row.items() if value}}
    return {key: str(row[key]) for key in ATTRIBUTES if row.get(key)}


def _caption(folder: Path, row: dict, attributes: dict[str, str], number: int) -> str:
    caption = str(row.get("caption") or row.get("text") or "").strip()
    if not caption and "category" not in attributes:
        raise InputError(
            f"{folder}: row {number} ({row['file_name']}) has no caption, text or category; add one"
        )
    return caption or describe(attributes)


def describe(attributes: dict[str, str]) -> str:
    """Return a caption such as "a photo of a black dress"; colour and pattern where known."""
    category = attributes["category"]
    words = " ".join(filter(None, [attributes.get("colour"), attributes.get("pattern"), category]))
    return f"a photo of {with_article(words, category)}"


def with_article(words: str, noun: str = "") -> str:
    """Return "a black dress" for "black dress"; a plural, or what is not counted, has no article.

    `noun` is the word that decides that; without it there is one of the thing.
    """
    if noun in NO_ARTICLE or (noun.endswith("s") and not noun.endswith("ss")):
        return words
    first = words.lower()
    vowel = first[0] in "aeio" and not first.startswith("one")  # as "a one-shoulder dress"
    return f"{'an' if vowel else 'a'} {words}"


def read_photo(path: Path | BinaryIO, name: str = "") -> np.ndarray:
    """Return an image file as pixels uint8 (H, W, 3) RGB.

    It is upright by its EXIF, on white where it is transparent, 8 bits where it had 16.
    Raises InputError, which calls it `name`, where it cannot be read.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a channel, which convert() would clip
                image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{name or path} cannot be read as an image ({error}); replace or remove it"
        ) from None


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return pixels uint8 (size, size, 3), rescaled by Lanczos.

    They are first padded to a square with the median colour of the border.  Nothing is cut or
    distorted; pixels of that size already come back as they are.
    """
    height, width = pixels.shape[:2]
    if height != width:
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        side = max(height, width)
        square = np.empty((side, side, 3), np.uint8)
        square[:] = np.median(border, 0).astype(np.uint8)
        y, x = (side - height) // 2, (side - width) // 2
        square[y : y + height, x : x + width] = pixels
        pixels = square
    if pixels.shape[0] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.LANCZOS))
