"""How is a table opened as a source, with image files in its rows or images in its cells?"""

import contextlib
import glob
import hashlib
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from tvhelpers.data import tables
from tvhelpers.data.arrow_tables import ENDINGS, cells_of, image_column
from tvhelpers.data.items import Images, Source, file_digest
from tvhelpers.data.photo_files import MISSING, REPORT, Files, list_files
from tvhelpers.data.photos import (
    BAD_IMAGE,
    MaskedPhotos,
    Photos,
    bad_images,
    check_images,
    key_of_colours,
)
from tvhelpers.data.rows import SPLITS, item_columns
from tvhelpers.errors import InputError
from tvhelpers.files import content_key
from tvhelpers.image import is_image, read_photo
from tvhelpers.paths import inside, is_there
from tvhelpers.text import as_text

More = Callable[[set[Path]], list[tuple[dict, Path]]]
HUB_HELP = (
    "check its name and the columns (--columns pixels=COLUMN), or log in with `hf auth login`"
)


def is_table(path: Path) -> bool:
    """Return whether a path is a table by its ending; a spreadsheet is one that is refused."""
    return path.is_file() and path.suffix.lower() in (*tables.ENDINGS, *tables.SPREADSHEETS)


def only_table(folder: Path) -> Path:
    """Return the one table of a folder; raises InputError for none or several."""
    found = [x for x in sorted(folder.iterdir()) if is_table(x) and x.name != REPORT]
    found = [one for one in found if one.suffix.lower() in tables.ENDINGS] or found
    if len(found) != 1:
        raise InputError("ambiguous.table", path=folder, names=[one.name for one in found])
    return found[0]


def own_table(name: str, path: Path, options: dict) -> tuple[Path, dict]:
    """Return (folder, options with `table` and `images`) of a row, or of a table at `path`."""
    if path.is_dir() and not options.get("table"):
        raise InputError("missing-key.reader", name=name, missing=["table"])
    columns = dict(options["columns"])
    images = columns.pop("images", options.get("images", "file_name"))
    folder, table = (path, options["table"]) if path.is_dir() else (path.parent, path.name)
    table = table if path.is_dir() else glob.escape(table)
    return folder, {**options, "table": table, "images": images, "columns": columns}


def open_table(
    name: str, path: Path, options: dict, files: Files | None = None, more: More | None = None
) -> Source:
    """Open a table whose rows name image files, or hold them in a column `pixels` (Parquet).

    `files`: the files of its folder; `more`: as in `open_found`.  Raises InputError where a file, a
    column or an image is missing or cannot be read.
    """
    folder, options = own_table(name, path, options)
    found = tables.find_tables(folder, options["table"])
    rows, spec, columns = [], options["images"], options["columns"]
    if found[0][0].suffix.lower() in ENDINGS and "pixels" not in columns:
        pixels = image_column(found[0][0], tables.names_in(spec))
        columns = {**columns, "pixels": pixels} if pixels else columns
    if "pixels" in columns:
        return open_columns(name, folder, found, {**options, "columns": columns}, _parquet_file)
    files = files or list_files(folder)
    for path, split in found:
        part = tables.read_table(path, options.get("bad_lines", ""), [spec, *columns.values()])
        tables.check_columns(path, "images", spec, list(part[0]))
        rows += tables.rename(path, part, columns, split)
        files.used.add(path)
    return open_found(name, folder, rows, spec, options, files, more)


def open_found(
    name: str, folder: Path, rows: list[dict], spec: str, options: dict, files: Files,
    more: More | None = None,
) -> Source:  # fmt: skip
    """Open the images that rows name; `spec` is the column of the names, or a pattern for them.

    `more(paths)` returns the (row, path) of photos that no row names.
    Raises InputError where one is missing, unless the options skip missing or bad images.
    """
    total = len(rows)
    found, missing = find_images(folder, rows, spec, files)
    if missing and (not found or not (options.get("missing_images") or options.get("skip_bad"))):
        raise InputError(
            "file-missing.of-rows",
            count=len(missing),
            total=total,
            column=spec,
            folder=folder,
            first=missing[0],
        )
    if missing:
        files.skipped[MISSING] = missing
    found += more({path for _, path in found}) if more else []
    return open_rows(name, found, options, files)


def find_images(
    folder: Path, rows: list[dict], spec: str, files: Files
) -> tuple[list[tuple[dict, Path]], list[str]]:
    """Return ((row, path) of each image; names of missing images).

    A missing image "0.jpg" may be in a subfolder, if only one image there has this name.
    """
    if "*" in spec:
        return _find_many_images(folder, rows, spec)
    found, missing, below = [], [], None
    for row in rows:
        name = tables.fill(spec, row)
        path = inside(folder, name) if name else folder
        if spec == "file_name" and not is_there(path):
            below = below or _named_below(files)
            path = below(path)
        if is_there(path):
            found.append((row, path))
        else:
            missing.append(name[:200] or "(empty)")
    return found, missing


def _find_many_images(
    folder: Path, rows: list[dict], spec: str
) -> tuple[list[tuple[dict, Path]], list[str]]:
    """Return the same for a `spec` with *, which may find several images of a row's product."""
    found, missing, owner = [], [], {}
    for row in rows:
        pattern = tables.fill(spec, row, glob.escape)
        product = as_text(row.get("product")) or pattern
        paths = [inside(folder, name) for name in sorted(glob.glob(pattern, root_dir=folder))]
        paths = [path for path in paths if is_image(path)]
        missing += [] if paths else [pattern[:200]]
        for path in paths:
            if (first := owner.get(path, product)) != product:
                name = path.relative_to(folder).as_posix()
                raise InputError(
                    "ambiguous.product", name=name, folder=folder, first=first, second=product
                )
            if path not in owner:
                found.append(({**row, "product": product}, path))
            owner[path] = product
    return found, missing


def _named_below(files: Files) -> Callable[[Path], Path]:
    """Return a function that finds a missing image: the only image of its name in a subfolder."""
    below = {}
    for path in files.images:
        parts = files.name_of(path).split("/")
        for start in range(1, len(parts)):
            below.setdefault("/".join(parts[start:]), []).append(path)

    def find(missing: Path) -> Path:
        found = below.get(files.name_of(missing).replace("\\", "/"), [])
        return found[0] if len(found) == 1 else missing

    return find


def open_rows(name: str, found: list[tuple[dict, Path]], options: dict, files: Files) -> Source:
    """Open photos by (row with a caption or category, product, split ...; path) in a folder of
    `files`; raises InputError where a row has no caption or category."""
    files.used.update(path for _, path in found)
    mask_of = _masks(files, found)
    files.skip_unused()
    if options.get("skip_bad"):
        bad = bad_images(len(found), lambda index: read_photo(found[index][1]))
        files.skip(BAD_IMAGE, (found[index][1] for index in bad))
        found = [one for index, one in enumerate(found) if index not in bad]
        if not found:
            raise files.refuse()
    rows, paths = map(list, zip(*found))
    ids = [files.name_of(path) for path in paths]
    columns = item_columns(files.folder, rows, ids, options["captions_optional"])
    masks = [mask_of[path] for path in paths] if mask_of else []
    # before the digests, so that later changes are refused
    photos = MaskedPhotos(paths, masks) if masks else Photos(paths)
    key = content_key([_digests(paths), *columns, *([_digests(masks)] if masks else [])])
    key = key_of_colours(key, files.folder, zip(paths, paths))
    return Source(name, key, *columns, photos, files.skipped)


def _masks(files: Files, found: list[tuple[dict, Path]]) -> dict[Path, Path]:
    """Return {photo: the mask that its row names in a column `mask`}, {} if no row does; raises
    InputError where one is missing."""
    named = sum(bool(row.get("mask")) for row, _ in found)
    if not named:
        return {}
    if named < len(found):
        raise InputError("mask-missing", count=len(found) - named, folder=files.folder)
    masks = {path: inside(files.folder, tables.fill("mask", row)) for row, path in found}
    if missing := [files.name_of(path) for path in masks.values() if not is_there(path)]:
        raise InputError(
            "file-missing.of-rows",
            count=len(missing),
            total=len(found),
            column="mask",
            folder=files.folder,
            first=missing[0],
        )
    files.used.update(masks.values())
    return masks


def _digests(paths: list[Path]) -> list[str]:
    try:
        return [file_digest(path) for path in paths]
    except OSError:  # no permission, or a broken disk; name all such files
        check_images(paths)
        raise


# ---------------------------------------------------------------- files that hold images and text


def _cells(where: Path | str, count: int, cell: Callable[[int], bytes | dict]) -> Images:
    """Return images that are files inside the cells of a column, as bytes or {"bytes": ...}."""
    return Images(count, lambda row: read_photo(*_file_in(where, row, cell(row))))


def _file_in(where: Path | str, row: int, data) -> tuple[io.BytesIO, str]:
    """Return (the image file in a cell, its name)."""
    name = f"{where}: the image of row {row}"
    data = data.get("bytes") if isinstance(data, dict) else data
    if not isinstance(data, bytes):
        raise InputError("not-an-image.cell", name=name, wanted=type(data))
    return io.BytesIO(data), name


def _files_in(
    where: Path | str, count: int, cell: Callable[[int], bytes | dict]
) -> Iterator[tuple[str, io.BytesIO]]:
    """Yield (name, image file) of the cells of a column."""
    for row in range(count):
        with contextlib.suppress(InputError):  # a cell without a file is refused when it is read
            yield _file_in(where, row, cell(row))[::-1]


def open_columns(
    name: str, folder: Path, found: list[tuple[Path, str]], options: dict, open_file: Callable
) -> Source:
    """Open files with a column `pixels` of images and columns of text, a row per image.

    `found`: (path, split) of each file, as of `tables.find_tables`; `open_file(path, pixels,
    options)` returns (images, rows of text, digest of both).
    """
    columns = dict(options["columns"])
    if "pixels" not in columns:
        raise InputError("missing-key.reader", name=name, missing=["columns: pixels"])
    pixels, files, rows, digests = columns.pop("pixels"), [], [], []
    for path, split in found:
        images, part, digest = open_file(path, pixels, options)
        rows += tables.rename(path, part, columns, split)
        files.append(images)
        digests.append(digest)
    return _joined(name, folder, files, rows, digests)


def _joined(name: str, where: Path | str, files: list[Images], rows: list, digest) -> Source:
    """Return the images of several files as one source, in order."""
    ids = [f"{i:06d}" for i in range(len(rows))]
    columns = item_columns(where, rows, ids)
    key = content_key([digest, [columns[0], *columns[2:]]])
    places = [(images, row) for images in files for row in range(len(images))]
    joined = Images(len(places), lambda index: places[index][0][places[index][1]])
    return Source(name, key, *columns, files[0] if len(files) == 1 else joined)


def _parquet_file(path: Path, pixels: str, options: dict) -> tuple[Images, list[dict], str]:
    texts = [theirs for ours, theirs in options["columns"].items() if ours != "pixels"]
    rows = tables.read_table(path, columns=texts)
    tables.check_columns(path, "pixels", pixels, list(rows[0]))
    cells = cells_of(path, pixels)
    digest = key_of_colours(file_digest(path), path, _files_in(path, *cells))
    return _cells(path, *cells), rows, digest


def open_hub_id(hub: str, columns: dict[str, str]) -> Source:
    """Open a data set of the Hugging Face hub by its id; its images are in the column
    `columns["pixels"]`, or else in "image"."""
    row = {"columns": {"pixels": "image", **columns}, "hub": hub, "obtain": HUB_HELP}
    return open_hub(hub.replace("/", "-"), Path(hub), row)


def open_hub(name: str, path: Path, options: dict) -> Source:
    """Open a data set of the Hugging Face hub (a row's `hub`) through the datasets library."""
    columns, hub = dict(options["columns"]), options.get("hub")
    if "pixels" not in columns or not hub:
        raise InputError("missing-key.reader", name=name, missing=["hub", "columns: pixels"])
    pixels, rows, cells, digest = columns.pop("pixels"), [], [], hashlib.sha256()
    splits = _load_hub(name, options, pixels)
    for split, data in splits.items():
        tables.check_columns(hub, "pixels", pixels, data.column_names)
        own = SPLITS.get(split, "") if len(splits) > 1 else ""
        rows += tables.rename(hub, list(data.remove_columns(pixels)) or [{}], columns, own)
        cells.append((len(data), lambda row, data=data: data[row][pixels]))
        for row in range(len(data)):
            digest.update(data[row][pixels]["bytes"] or b"")
    found = itertools.chain.from_iterable(_files_in(hub, *each) for each in cells)
    key = key_of_colours(digest.hexdigest(), hub, found)
    return _joined(name, hub, [_cells(hub, *each) for each in cells], rows, key)


def _load_hub(name: str, row: dict, pixels: str) -> dict:
    """Return {split: datasets.Dataset} with images as undecoded bytes."""
    try:
        import datasets
    except ImportError:
        raise InputError("not-installed.reader", name=name, package="datasets") from None
    # before version 4, datasets could run a script of the data set
    old = int(getattr(datasets, "__version__", "4").split(".")[0]) < 4
    safe, image = {"trust_remote_code": False} if old else {}, datasets.Image(decode=False)
    try:
        splits = datasets.load_dataset(row["hub"], revision=row.get("revision"), **safe)
        return {key: data.cast_column(pixels, image) for key, data in splits.items()}
    except Exception as error:  # no network, no such set, a gate: each another library's exception
        hub, how = row["hub"], row["obtain"]
        raise InputError("not-at-hand.hub", hub=hub, error=error, obtain=how) from None
