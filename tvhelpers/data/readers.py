"""Readers that need no code: a row of the manifest says where pixels and words are."""

from __future__ import annotations

import glob
import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tvhelpers import manifest
from tvhelpers.config import InputError, one_line
from tvhelpers.data import folder as photos
from tvhelpers.data import tables
from tvhelpers.data.arrays import open_arrays, readable
from tvhelpers.data.h5 import StoredImages, open_images
from tvhelpers.data.items import Source, StoredSource, file_digest
from tvhelpers.files import content_key
from tvhelpers.image import is_photo, read_photo
from tvhelpers.paths import is_there
from tvhelpers.text import as_text


def open_reader(name: str, row: dict, folder: Path | None = None, **reading) -> Source:
    """Open a manifest row with a `reader`; `folder` is where it lies if not where rows do.

    Raises InputError where a file, a column or an image is missing, or cannot be read.
    """
    if row["reader"] == "huggingface":
        return _open_hub(name, row)
    folder = folder or manifest.local_path(name)
    if not row.get("table"):
        raise InputError(f"row {name!r} of reader {row['reader']} lacks table; add it")
    row = {"columns": {}, **row}
    if row["reader"] == "h5":
        return _open_h5(name, folder, row, reading)
    if "pixels" in row["columns"]:
        return _open_cells(name, folder, row)
    return _open_images(name, folder, row)


def open_mapped(name: str, path: Path, columns: dict[str, str], **reading) -> Source:
    """Open a table or HDF5 file of a user's own, or the one table of a folder, by its columns.

    `columns`: {ours: theirs} as in the manifest, and `images`.  Raises InputError as `open_reader`.
    """
    if path.is_dir():
        found = [one for one in sorted(path.iterdir()) if one.suffix.lower() in tables.ENDINGS]
        if len(found) != 1:
            seen = ", ".join(one.name for one in found) or "none"
            raise InputError(f"{path} has not one table but {seen}; give the path of a table")
        path = found[0]
    columns = dict(columns)
    row = {"table": glob.escape(path.name), "images": columns.pop("images", "file_name")}
    row["reader"] = "table" if path.suffix.lower() in tables.ENDINGS else "h5"
    return open_reader(name, {**row, "columns": columns}, path.parent, **reading)


def _open_images(name: str, folder: Path, row: dict) -> photos.PhotoSource:
    """Open a table whose rows name image files."""
    rows, spec = [], row.get("images", "file_name")
    for path, split in tables.find_tables(folder, row["table"]):
        part = tables.read_table(path, row.get("bad_lines", ""))
        tables.check_columns(path, "images", spec, list(part[0]))
        rows += _with_split(tables.rename(path, part, row["columns"]), split)
    rows, missing = _find_images(folder, rows, spec)
    if missing and (not rows or not row.get("missing_images")):
        raise InputError(
            f"{folder}: {len(missing)} of {len(missing) + len(rows)} images are not there, "
            f"{missing[0]} the first; is `images` right?"
        )
    if missing:
        warnings.warn(
            f"{folder}: {len(missing)} rows are left out, their images are not there, "
            f"{missing[0]} the first",
            stacklevel=4,
        )
    return photos.open_rows(name, folder, rows)


def _with_split(rows: list[dict], split: str) -> list[dict]:
    return [{**row, "split": split} for row in rows] if split else rows


def _find_images(folder: Path, rows: list[dict], spec: str) -> tuple[list[dict], list[str]]:
    """Return (rows with file_name, one for each image; images that are not there)."""
    if "*" in spec:
        return _find_many_images(folder, rows, spec)
    names = [tables.fill(spec, row) for row in rows]
    there = [bool(name) and is_there(folder / name) for name in names]
    found = [{**row, "file_name": name} for row, name, ok in zip(rows, names, there) if ok]
    return found, [name or "(empty)" for name, ok in zip(names, there) if not ok]


def _find_many_images(folder: Path, rows: list[dict], spec: str) -> tuple[list[dict], list[str]]:
    """Return the same where `spec` finds any number of images a row; each is of one product."""
    found, missing, owner = [], [], {}
    for row in rows:
        pattern = tables.fill(spec, row, glob.escape)
        product = as_text(row.get("product")) or pattern
        names = sorted(glob.glob(pattern, root_dir=folder))
        names = [name for name in names if is_photo(folder / name)]
        missing += [] if names else [pattern]
        for name in names:
            if owner.get(name, product) != product:
                raise InputError(
                    f"{folder}: {name} is of {owner[name]} and of {product}; mend `images`"
                )
            if name not in owner:
                found.append({**row, "file_name": name, "product": product})
            owner[name] = product
    return found, missing


@dataclass
class CellSource(Source):
    """Items whose pixels are image files inside the cells of a table."""

    cell: Callable[[int], bytes | dict] = field(kw_only=True)

    def pixels(self, index: int) -> np.ndarray:
        data = self.cell(index)
        data = data.get("bytes") if isinstance(data, dict) else data
        where = f"{self.name}: the image of {self.item_ids[index]}"
        if not isinstance(data, bytes):
            raise InputError(f"{where} is {type(data).__name__}, not bytes; see `pixels`")
        return read_photo(io.BytesIO(data), where)


def _open_cells(name: str, folder: Path, row: dict) -> CellSource:
    """Open Parquet files whose column `pixels` holds image files, as {bytes, path} or bytes."""
    columns = dict(row["columns"])
    column, rows, places, digests = columns.pop("pixels"), [], [], []
    for path, split in tables.find_tables(folder, row["table"]):
        part = tables.read_table(path, without=column)
        cells = tables.parquet_cells(path, column)
        rows += _with_split(tables.rename(path, part, columns), split)
        places += cells
        digests.append(file_digest(path))
    ids = [f"{i:06d}" for i in range(len(rows))]
    words = photos.item_columns(folder, rows, ids)
    key = content_key([digests, words])
    return CellSource(
        name, key, words[0], ids, *words[1:], cell=lambda i: tables.read_parquet_cell(places[i])
    )


class _Joined:
    """The images of several HDF5 files, one after the other."""

    def __init__(self, parts: list[StoredImages]):
        self.parts, self.ends = parts, np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        return next(self.read(index, index + 1))

    def read(self, start: int, stop: int):
        """Yield pixels uint8 (H, W, 3) of rows start..stop - 1."""
        for index in range(start, stop):
            part = int(np.searchsorted(self.ends, index, side="right"))
            yield self.parts[part][index - (int(self.ends[part]) - len(self.parts[part]))]

    def regions(self, index: int) -> None:
        """Return None: the garment is not known."""


def _open_h5(name: str, folder: Path, row: dict, reading: dict) -> StoredSource:
    """Open HDF5 files with a dataset of pixels and datasets of words, a row an image."""
    columns = dict(row["columns"])
    if "pixels" not in columns:
        raise InputError(f"{name}: columns lacks pixels, the dataset of images; add it")
    pixels, rows, parts, digests = columns.pop("pixels"), [], [], []
    said = {how: row[how] for how in ("decode", "axes") if how in row}
    said |= {how: value for how, value in reading.items() if value not in ("auto", None)}
    for path, split in tables.find_tables(folder, row["table"]):
        images = open_images(path, **said, key=pixels.strip("/"))
        part = _h5_words(path, len(images))
        rows += _with_split(tables.rename(path, part, columns), split)
        parts.append(images)
        digests.append([file_digest(path), images.reading()])
    ids = [f"{i:06d}" for i in range(len(rows))]
    words = photos.item_columns(folder, rows, ids)
    return StoredSource(
        name, content_key([digests, words]), words[0], ids, *words[1:],
        images=parts[0] if len(parts) == 1 else _Joined(parts),
    )  # fmt: skip


def _h5_words(path: Path, count: int) -> list[dict]:
    """Return a row for each of `count` images of what else has a value for each, as text."""
    columns = {}
    for name, data in open_arrays(path).items():
        if tuple(data.shape or ()) in ((count,), (count, 1)):
            with readable(path, name):
                columns[name] = [as_text(value) for value in data[:].ravel().tolist()]
    return [dict(zip(columns, values)) for values in zip(*columns.values())] or [{}] * count


def _open_hub(name: str, row: dict) -> CellSource:
    """Open a data set of the Hugging Face hub through the datasets library."""
    columns = dict(row.get("columns") or {})
    if "pixels" not in columns or not row.get("hub"):
        raise InputError(f"row {name!r} of reader huggingface lacks hub, or pixels in columns")
    pixels, rows, cells = columns.pop("pixels"), [], []
    splits = _load_hub(name, row)
    for split, data in splits.items():
        tables.check_columns(row["hub"], "pixels", pixels, data.column_names)
        own = photos.SPLITS.get(split, "") if len(splits) > 1 else ""
        part = list(data.remove_columns(pixels)) or [{}]
        rows += _with_split(tables.rename(row["hub"], part, columns), own)
        cells += [(data, i) for i in range(len(data))]
    ids = [f"{i:06d}" for i in range(len(rows))]
    words = photos.item_columns(row["hub"], rows, ids)

    def cell(index: int):
        data, place = cells[index]
        return data[place][pixels]

    digest = hashlib.sha256()
    for index in range(len(cells)):
        digest.update(cell(index)["bytes"] or b"")
    key = content_key([digest.hexdigest(), words])
    return CellSource(name, key, words[0], ids, *words[1:], cell=cell)


def _load_hub(name: str, row: dict) -> dict:
    """Return {split: datasets.Dataset} whose images are bytes, not yet decoded."""
    try:
        from datasets import Image, load_dataset
    except ImportError:
        raise InputError(f"{name} is read by the datasets library: pip install datasets") from None
    pixels = row["columns"]["pixels"]
    try:
        splits = load_dataset(row["hub"], revision=row.get("revision"))
        return {key: data.cast_column(pixels, Image(decode=False)) for key, data in splits.items()}
    except Exception as error:  # no network, no such set, a gate: each another library's exception
        reason = one_line(error)
        raise InputError(f"{row['hub']} cannot be loaded ({reason}); {row['obtain']}") from None
