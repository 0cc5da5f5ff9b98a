"""How does a folder of photos become a source, and what are their captions?"""

import functools
import logging
import re
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

from tvhelpers.data import photo_files, tables
from tvhelpers.data.arrow_tables import find_shards
from tvhelpers.data.folder_words import Place, place_of, words_of_name
from tvhelpers.data.items import Source
from tvhelpers.data.photo_files import Files, list_files
from tvhelpers.data.table_sources import is_table, only_table, open_found, open_rows, open_table
from tvhelpers.data.tables import SPREADSHEETS
from tvhelpers.errors import InputError, in_words
from tvhelpers.paths import inside, is_there
from tvhelpers.text import read_text
from tvhelpers.words import counted

log = logging.getLogger(__name__)
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # the first that is there
BOXES = re.compile(r"(\d+(\s+[-+.\deE]+){4,}\s*)+")  # labels of object detection, as YOLO has them


def open_photos(name: str, folder: Path, options: dict) -> Source:
    """Open a folder of photos; `sources.open_source` says what it may hold.

    A photo that has neither caption nor category raises InputError, or, with the option
    `captions_optional`, gets "a garment".  Raises InputError too where a photo is missing.
    """
    files = list_files(folder)
    shards = {} if files.images else find_shards(folder, files.others)
    if shards:
        return open_table(name, folder, {**options, "table": shards}, files)
    if options["columns"]:
        return open_table(name, only_table(folder), options, files)
    metadata = find_metadata(files)
    if metadata and metadata[0].parent == folder:
        return open_table(name, metadata[0], options, files, functools.partial(_unnamed, files))
    if metadata:
        rows = [row for table in metadata for row in rows_of_table(folder, table)]
        more = functools.partial(_unnamed, files)
        return open_found(name, folder, rows, "file_name", options, files, more)
    rows = rows_of_photos(files)
    if not rows:
        files.skip_unused()
        raise files.refuse()
    rows = _captions_of_names(folder, rows)
    if not options["captions_optional"]:
        _check_captions(files, rows)
    _log_categories(folder, rows)
    found = [(row, files.folder / row["file_name"]) for row in rows]
    return open_rows(name, found, options, files)


def _log_categories(folder: Path, rows: list[dict]) -> None:
    """Log which folders were taken as categories."""
    names = list(dict.fromkeys(row["category"] for row in rows if "category" in row))
    if names:
        log.info(f"{folder}: categories are the names of folders: {in_words(names)}")


# --------------------------------------------------------------------------------- tables of photos


def find_metadata(files: Files) -> list[Path]:
    """Return the metadata table of the folder; without one, those of its subfolders."""
    found = [path for path in files.others if path.name.lower() in METADATA]
    first = {}
    for path in sorted(found, key=lambda path: METADATA.index(path.name.lower())):
        first.setdefault(path.parent, path)
    files.used.update(found)
    for path in found:
        if (used := first.get(files.folder, first[path.parent])) != path:
            files.skip(f"{used.name} is read instead", [path])
    return [first[files.folder]] if files.folder in first else sorted(first.values())


def rows_of_table(folder: Path, table: Path) -> list[dict]:
    """Return the rows of a table in a folder or below it: with paths from `folder` on, a split."""
    rows, above = tables.read_table(table), table.parent.relative_to(folder)
    tables.check_columns(table, "images", "file_name", list(rows[0]))
    rows = tables.rename(table, rows, {}, "")  # notes the place of each for `fill`
    split = place_of(above.parts).split
    return [
        {**row, "file_name": _below(folder, above, tables.fill("file_name", row))}
        | {"split": row.get("split") or split}
        for row in rows
    ]


def _unnamed(files: Files, named: set[Path]) -> list[tuple[dict, Path]]:
    """Return (row, path) of the photos that no table names, but that have a caption file or lie in
    a folder named by category; not those that the user has unticked, nor masks."""
    unticked = photo_files.named_in_report(files.folder)
    rest = [path for path in files.images if files.name_of(path) not in unticked]
    rest = [path for path in rest if path not in named and not _is_side(files, path)]
    rest = Files(files.folder, rest, files.captions)
    rows = [row for row in rows_of_photos(rest) if "caption" in row or "category" in row]
    if rows:
        count = counted(len(rows), "photo")
        log.info(f"{files.folder}: {count} that no table names: captions are their text files', or "
                 "the names of their folders")  # fmt: skip
        files.used |= rest.used
    _log_categories(files.folder, rows)
    return [(row, files.folder / row["file_name"]) for row in rows]


def _is_side(files: Files, path: Path) -> bool:
    return place_of(_above(files.folder, path.parent).parts).kind == "side"


def _below(folder: Path, above: Path, name: str) -> str:
    """Return the path from the outer folder of a file that a table in `above` names."""
    own = (above / name).as_posix()
    return own if name and is_there(inside(folder, own)) else name


# ------------------------------------------------------------------------- photos and caption files


def rows_of_photos(files: Files, read: Callable[[Path], str] = read_text) -> list[dict]:
    """Return a row for each photo, without masks and small copies of photos.

    `read`: returns the text of a caption file.
    """
    places = {path: place_of(_above(files.folder, path.parent).parts) for path in files.images}
    keys = {(place.key, path.stem) for path, place in places.items() if place.kind != "side"}
    sides = {path for path, place in places.items() if place.kind == "side"}
    sides = {path for path in sides if (places[path].key, path.stem) in keys}
    files.skip(photo_files.SIDE_IMAGE, sorted(sides))
    rows, captions = [], _caption_files(files)
    for path in (path for path in files.images if path not in sides):
        row = {"file_name": files.name_of(path), "split": places[path].split}
        text = _caption_of(path, _above(files.folder, path.parent), places[path], captions)
        caption = read(text).strip() if text else ""
        if text and not BOXES.fullmatch(caption):
            row["caption"] = caption
            files.used.add(text)
        elif places[path].category:
            row["category"] = places[path].category
        rows.append(row)
    _warn_of_repeats(files, [place.repeats for place in places.values() if place.repeats])
    return rows


@functools.lru_cache(4096)
def _above(folder: Path, parent: Path) -> Path:
    return parent.relative_to(folder)


def _caption_files(files: Files) -> dict[tuple, Path]:
    """Return {(folder or `Place.key`, name without ending): caption file}."""
    found, endings = {}, photo_files.CAPTION_ENDINGS
    order = {ending: number for number, ending in enumerate((*endings, *map(str.upper, endings)))}
    for path in sorted(files.captions, key=lambda path: order.get(path.suffix, len(order))):
        above, stem = _above(files.folder, path.parent), unicodedata.normalize("NFC", path.stem)
        found.setdefault((above, stem), path)
        place = place_of(above.parts)
        if place.kind == "captions":
            found.setdefault((place.key, stem), path)
    return found


def _caption_of(photo: Path, above: Path, place: Place, captions: dict) -> Path | None:
    """Return the caption file of a photo: x.txt or x.jpg.txt beside it, or in a caption folder."""
    stems = [unicodedata.normalize("NFC", stem) for stem in (photo.stem, photo.name)]
    keys = [(where, stem) for where in (above, place.key) for stem in stems]
    return next((captions[key] for key in keys if key in captions), None)


def _warn_of_repeats(files: Files, names: list[str]) -> None:
    if names:
        warnings.warn(
            f"{files.folder}: the number in {names[0]!r} (repeats of each photo in kohya's "
            "trainer) is ignored",
            stacklevel=5,
        )


def _captions_of_names(folder: Path, rows: list[dict]) -> list[dict]:
    """Take captions from names such as green-bomber-jacket-2.jpg where there is nothing else.

    Photos with equal words are one product.  Where one name has no words, no row is changed.
    """
    if any("caption" in row or "category" in row for row in rows):
        return rows
    words = [words_of_name(Path(row["file_name"]).stem) for row in rows]
    if not all(words):
        return rows
    products = counted(len({*words}), "product")
    warnings.warn(
        f"{folder}: captions are the names of the files, such as {words[0]!r}, and photos with the "
        f"same words are one product ({products}); for better ones write a metadata.csv "
        "(file_name,caption,product)",
        stacklevel=4,
    )
    return [{**row, "caption": one, "product": one} for row, one in zip(rows, words)]


def _check_captions(files: Files, rows: list[dict]) -> None:
    """Raise InputError where a photo has neither a caption nor a category."""
    bare = [row for row in rows if not (row.get("caption") or row.get("category"))]
    folder = files.folder
    if not bare:
        return
    found = [path for path in files.others if path.parent == folder and is_table(path)]
    tables = [path.name for path in found if path.suffix.lower() not in SPREADSHEETS]
    count, total, first = len(bare), len(rows), bare[0]["file_name"]
    if "records.jsonl" in tables:
        raise InputError("no-caption.records", folder=folder)
    if tables:
        raise InputError("no-caption.table", count=count, folder=folder, table=tables[0])
    if found:
        name = found[0].name
        raise InputError("no-caption.spreadsheet", count=count, folder=folder, name=name)
    names = [row["file_name"] for row in bare if not words_of_name(Path(row["file_name"]).stem)]
    if count == total and 0 < len(names) < total:
        raise InputError("no-caption.name", folder=folder, count=len(names), first=names[0])
    raise InputError("no-caption.photos", folder=folder, count=count, first=first)
