"""How are Parquet and Arrow files read: their columns, cells and shards?

Only the columns that are used are loaded; images are loaded one group of rows at a time.  Notes of
the datasets library in a file are used: which column holds images, and the names of labels.
"""

import contextlib
import glob
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

from tvhelpers.data.rows import SPLITS
from tvhelpers.errors import InputError
from tvhelpers.text import check_size
from tvhelpers.words import counted

ENDINGS = (".parquet", ".arrow", ".feather")
SHARD = re.compile(r"(.*?)-?\d{5}-of-(\d{5})")  # train-00000-of-00004
CONTAINERS = ("data", "default", *SPLITS)  # folders that hold shards
IMAGE_NAMES = ("image", "img", "photo", "pixels", "jpg", "png")
LABELS = ("label", "labels", "class")  # read as category if their numbers have names
AT_ONCE = 200  # rows


@contextlib.contextmanager
def _opened(path: Path, once: tuple[str, ...] = ()) -> Iterator:
    """Yield a pyarrow ParquetFile, or a Table of an .arrow file, which stays on the disk.

    `once`: leaf columns whose repeated values are kept in memory only once, as in the file.  Raises
    InputError without pyarrow, or if the file is damaged.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("not-installed.reader", name=path, package="pyarrow") from None
    try:
        if path.suffix.lower() != ".parquet":
            source = pyarrow.memory_map(str(path))
            whole = source.read(6) == b"ARROW1"
            source.seek(0)
            yield (pyarrow.ipc.open_file if whole else pyarrow.ipc.open_stream)(source).read_all()
            return
        with pyarrow.parquet.ParquetFile(path, read_dictionary=once) as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # damaged files raise many kinds
        raise InputError("file-damaged.reason", path=path, error=error) from None


def _fields(file) -> dict[str, tuple[str, dict]]:
    """Return {column: (its type in words, what the datasets library notes about it)}."""
    schema = getattr(file, "schema_arrow", None) or file.schema
    try:
        notes = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        notes = {name: note if isinstance(note, dict) else {} for name, note in notes.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        notes = {}
    return {name: (str(schema.field(name).type), notes.get(name, {})) for name in schema.names}


def image_column(path: Path, given: list[str]) -> str:
    """Return the column of a file that holds images, or "" if there is none or `given` replaces it.

    Raises InputError if several columns hold images, and `given` names none of them.
    """
    with _opened(path) as file:
        fields = _fields(file)
    found = [name for name, (kind, note) in fields.items() if _holds_images(name, kind, note)]
    chosen = [name for name in found if name in given] or found
    if not found or (chosen is found and all(name in fields for name in given)):
        return ""
    if len(chosen) > 1:
        raise InputError("ambiguous.pixels", path=path, names=found, first=found[0])
    return chosen[0]


def _holds_images(name: str, kind: str, note: dict) -> bool:
    files = kind.startswith("struct<") and "bytes: " in kind and note.get("_type") != "Audio"
    named = kind in ("binary", "large_binary") and name.lower() in IMAGE_NAMES
    return note.get("_type") == "Image" or files or named


def rows_of(path: Path, wanted: set[str]) -> list[dict]:
    """Return the rows of a file: the cells of the columns `wanted`, and None for all others.

    Numbers of labels become their names; a column of LABELS also becomes the category.  Raises
    InputError if the file is damaged, or its text is larger than `text.MAX_BYTES`.
    """
    with _opened(path) as file:
        fields, size, rows = _fields(file), 0, []
        classes = {name: note.get("names") for name, (_, note) in fields.items()}
        classes = {name: names for name, names in classes.items() if isinstance(names, list)}
        taken = [name for name in fields if name in {*wanted, *classes}]
        for name in taken:
            if _holds_images(name, *fields[name]):
                raise InputError("wrong-type.cell", where=str(path), key=name, seen=fields[name][0])
        for batch in _batches(file, taken):
            size += batch.nbytes
            check_size(path, size)
            rows += batch.to_pylist()
    empty = dict.fromkeys(fields)
    category = [name for name in LABELS if name in classes and "category" not in fields][:1]
    for row in rows:
        for name, names in classes.items():
            row[name] = _named(row.get(name), names)
        for name in category:
            row["category"] = row[name]
    return [{**empty, **row} for row in rows]


def _named(value, names: list):
    """Return the name for the number of a label; None for -1."""
    if isinstance(value, int) and -1 <= value < len(names):
        return names[value] if value >= 0 else None
    return value


def _batches(file, columns: list[str]) -> Iterator:
    if hasattr(file, "iter_batches"):
        return file.iter_batches(AT_ONCE, columns=columns)
    return iter(file.select(columns).to_batches(AT_ONCE))


def cells_of(path: Path, column: str) -> tuple[int, Callable[[int], object]]:
    """Return (number of rows, a function of a row that returns its cell of `column`)."""
    with _opened(path) as file:
        if parquet := hasattr(file, "num_row_groups"):
            groups = range(file.num_row_groups)
            sizes = [file.metadata.row_group(group).num_rows for group in groups]
        else:
            groups, sizes = [0], [file.num_rows]
    places = [(group, row) for group in groups for row in range(sizes[group])]

    def cell(index: int):
        group, row = places[index]
        return _group(path, column, group, parquet)[row].as_py()

    return len(places), cell


@lru_cache(maxsize=2)
def _group(path: Path, column: str, group: int, parquet: bool):
    """Return the cells of one group of rows; the last two groups are cached."""
    with _opened(path) as file:
        kind, _ = _fields(file)[column]
    once = column if "binary" in kind.partition("<")[0] else f"{column}.bytes"
    with _opened(path, (once,)) as file:
        table = file.read_row_group(group, columns=[column]) if parquet else file
        return table.column(column)


# ------------------------------------------------------------------------------- folders of shards


def find_shards(folder: Path, paths: list[Path]) -> dict[str, list[str]]:
    """Return {split: patterns of its files} of the `paths` in a folder that are Parquet or Arrow
    files, as from the Hugging Face hub or from `datasets`; {"": patterns} for only one split."""
    found = {}
    for path in filter(partial(_is_shard, folder), paths):
        name = path.relative_to(folder)
        words = [*re.split(r"[-_.]", name.stem.lower()), *map(str.lower, name.parent.parts)]
        split = next((SPLITS[word] for word in words if word in SPLITS), "")
        found.setdefault(split, []).append(glob.escape(name.as_posix()))
    return found if len(found) != 1 else {"": next(iter(found.values()))}


def _is_shard(folder: Path, path: Path) -> bool:
    """Return whether a file is a shard: in the folder itself, or in folders of CONTAINERS; the
    caches of `datasets` are not."""
    if path.suffix.lower() not in ENDINGS or path.name.startswith("cache-"):
        return False
    return all(part.lower() in CONTAINERS for part in path.relative_to(folder).parts[:-1])


def warn_of_missing(paths: list[Path]) -> None:
    """Warn where shards are missing, such as train-00001-of-00004."""
    parts = [(path.parent, match) for path in paths if (match := SHARD.fullmatch(path.stem))]
    counts = Counter((folder, match[1], int(match[2])) for folder, match in parts)
    for (folder, name, total), count in counts.items():
        if count < total:
            seen = f"{count} of {counted(total, 'file')} named {name}-…-of-{total:05d}"
            warnings.warn(f"{folder}: only {seen} will be read; give a folder of all", stacklevel=4)
