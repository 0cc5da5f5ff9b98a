"""How is an array file (HDF5, .npz, .npy) opened as a source: the benchmark's, ours, any other?"""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.data.arrays import (
    DOCUMENTED,
    can_be_images,
    check_chunks,
    find_array_file,
    open_arrays,
    read_errors,
)
from tvhelpers.data.h5 import StoredImages, open_images
from tvhelpers.data.items import DIGEST_PIECES, Source, file_digest
from tvhelpers.data.mixed_sizes import MixedImages, is_mixed
from tvhelpers.data.table_sources import open_columns, own_table
from tvhelpers.data.tables import USED, find_tables, names_in
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import content_key
from tvhelpers.records import read_rows
from tvhelpers.text import as_text, check_size
from tvhelpers.words import counted

SAYS_MORE = re.compile("caption|text|descr|title|prompt", re.I)  # names of arrays of captions


def is_array_file(path: Path) -> bool:
    """Return whether a path is a file, or the benchmark's folder."""
    return path.is_file() or any((path / name).is_file() for name in ("Img/G2.h5", "G2.h5"))


def open_array_file(name: str, path: Path, options: dict) -> Source:
    """Open HDF5, .npz or .npy: by `columns` of pixels and text, or in the benchmark's layout.

    Raises InputError where the images' format is not detected, or the benchmark's files do not fit
    together.
    """
    pixels = options["columns"].get("pixels", "")
    alone = pixels and len(options["columns"]) == 1 and path.is_file()
    if options.get("table") or (options["columns"] and not (alone and not _own_texts(path))):
        folder, options = own_table(name, path, options)
        found = find_tables(folder, options["table"])
        return open_columns(name, folder, found, options, _file_of_columns)
    h5 = find_array_file(path)
    images = open_images(h5, **_reading(options), key=pixels.strip("/"))
    _warn_of_other_images(h5, "" if pixels else images.key)
    columns = _benchmark_columns(h5, images)
    digest = file_digest(h5, options.get("digest_pieces", DIGEST_PIECES))
    key = content_key([digest, images.reading(), *columns])
    return Source(name, key, *columns, images)


def benchmark_files(path: Path) -> dict[str, Path]:
    """Return the files that are read of an array file, or of a folder with one, by their places.

    A place is relative to the benchmark's folder, such as Img/G2.h5; alone, the file has its name.
    """
    h5 = find_array_file(path)
    beside = {
        f"{folder}/{file}": _beside(h5, folder, file)
        for folder, file in (("Anno", "language_original.mat"), ("Eval", "ind.mat"))
    }
    found = {place: file for place, file in beside.items() if file}
    return {f"Img/{h5.name}" if found or h5.parent.name == "Img" else h5.name: h5, **found}


def _reading(options: dict) -> dict:
    return {key: options[key] for key in ("decode", "axes", "channels", "mean") if key in options}


def _file_of_columns(path: Path, pixels: str, options: dict) -> tuple[StoredImages, list, list]:
    images = open_images(path, **_reading(options), key=pixels.strip("/"))
    rows = _words(path, len(images), options["columns"].values())
    return images, rows, [file_digest(path), images.reading()]


def _words(path: Path, count: int, specs: Iterable[str]) -> list[dict]:
    """Return a row per image, from the arrays that have one value for each image.

    Cells of columns that `specs` name, or with names in USED, are text; others are None.
    """
    columns, used = {}, USED.union(names_in(*specs))
    for name, data in open_arrays(path).items():
        if tuple(data.shape or ()) in ((count,), (count, 1)):
            columns[name] = _cells(path, name, data) if name in used else [None] * count
    return [dict(zip(columns, values)) for values in zip(*columns.values())] or [{}] * count


def _cells(path: Path, name: str, data) -> list[str]:
    check_size(path, data.size * data.dtype.itemsize)
    with read_errors(path, name):
        check_chunks(path, name, data)
        return [as_text(value, str(path), name) for value in data[:].ravel().tolist()]


def _own_texts(path: Path) -> bool:
    """Return whether an array has a name that is read as captions or labels (USED)."""
    return not USED.isdisjoint(open_arrays(path))


def _warn_of_other_images(path: Path, key: str) -> None:
    """Warn of other arrays of images, which are not read; not if `key` is "" or the benchmark's."""
    arrays = {} if key in ("", *DOCUMENTED) else open_arrays(path)
    others = [name for name in arrays if name != key and can_be_images(arrays[name])]
    others = [name for name in others if len(arrays[name]) > 1]
    if others:
        warnings.warn(
            f"{path}: only {key} is read, which has {counted(len(arrays[key]), 'image')}; it holds "
            f"{in_words(others)} too: take them with --columns pixels={others[0]}",
            stacklevel=3,
        )


# --------------------------------------------------------------------------- the benchmark's layout


def _benchmark_columns(h5: Path, images: StoredImages) -> list[list]:
    """Return the columns (`items.COLUMNS`) of an array file from the .mat files beside it."""
    language, count = _beside(h5, "Anno", "language_original.mat"), len(images)
    if not language:
        warnings.warn(f"{h5}: all captions are empty; {_way_to_captions(h5, images)}", stacklevel=3)
        ids = [f"{i:06d}" for i in range(count)]
        return [[""] * count, ids, ids, [{} for _ in ids], _splits(h5, count)]
    notes = codebook.read_language(language)
    if len(notes) != count:
        raise InputError(
            "count-differs.language", path=language, count=len(notes), other=h5.name, images=count
        )
    return [notes.captions, notes.names, notes.products, notes.attributes(), _splits(h5, count)]


def _way_to_captions(h5: Path, images: StoredImages) -> str:
    """Return advice on captions: use an array of texts in the file, or add a file."""
    arrays, shapes = open_arrays(h5), ((len(images),), (len(images), 1))
    texts = [name for name, data in arrays.items() if data.shape in shapes]
    texts = [name for name in texts if arrays[name].dtype.kind in "SUO"]
    if texts := sorted(texts, key=lambda name: not SAYS_MORE.search(name)):
        way = f"--columns pixels={images.key},caption={texts[0]}"
        return f"it holds {in_words(texts)} for each image: take one with {way}"
    return "put Anno/language_original.mat beside it"


def _splits(path: Path, count: int) -> list[str]:
    partition = _beside(path, "Eval", "ind.mat")
    return codebook.read_partition(partition, count) if partition else [""] * count


def _beside(path: Path, folder: str, file: str) -> Path | None:
    """Return the benchmark's `file` that belongs to the file `path`, or None."""
    path = path.resolve()  # "G2.h5" alone has no folder above it
    places = [path.parents[1] / folder / file, path.parent / folder / file, path.parent / file]
    return next((place for place in places if place.is_file()), None)


def open_language(name: str, path: Path, options: dict) -> Source:
    """Open a language_original.mat alone: a source without pixels."""
    notes = codebook.read_language(path)
    columns = [notes.captions, notes.names, notes.products, notes.attributes()]
    splits = _splits(path, len(notes))
    return Source(name, content_key([columns, splits]), *columns, splits)


# ------------------------------------------------------------------------------ a converted folder


def is_converted(path: Path) -> bool:
    """Return whether a folder is what `data convert` writes."""
    return (path / "items.jsonl").is_file()


def open_converted(name: str, path: Path, options: dict) -> Source:
    """Open pixels.h5 and items.jsonl; raises InputError where they do not fit together."""
    rows = read_rows(path / "items.jsonl", "item")
    file = path / "pixels.h5"
    images = MixedImages(file) if is_mixed(file) else open_images(file, "uint8", "HWC", "RGB")
    if len(rows) != len(images):
        num_images = len(images)
        raise InputError("count-differs.converted", folder=path, count=len(rows), images=num_images)
    for number, row in enumerate(rows):
        if row["split"] not in ("", "train", "test", "val"):
            raise InputError("missing-key.item", path=path / "items.jsonl", row=number, key="split")
    ids = [str(row.get("item", i)) for i, row in enumerate(rows)]
    columns = [[row[key] for row in rows] for key in ("caption", "product", "attributes", "split")]
    key = content_key([file_digest(path / "pixels.h5"), rows])
    return Source(name, key, columns[0], ids, *columns[1:], images)
