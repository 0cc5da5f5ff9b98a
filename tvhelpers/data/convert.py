"""How is any source written as decoded images, to one HDF5 file or to a folder?

pixels.h5 is allocated in full first; each row is then written at its final place without the HDF5
library, so that after a kill at any moment the next run resumes.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tvhelpers.config import check_choice, check_range
from tvhelpers.data.items import Source, Subset
from tvhelpers.data.photos import MASK_LEVELS
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path, make_dir, remove_link
from tvhelpers.image import resize, save_png
from tvhelpers.progress import progress_bar
from tvhelpers.records import claimed, read_json, write_json
from tvhelpers.words import counted

FORMAT = 1  # raise it when a change of this module changes what is written
ROWS_AT_ONCE = 64
STRETCHES = 64  # parts of a source that a sample is taken from
MAX_SIZE = 4096
BYTES_BETWEEN_SYNCS = 256 << 20
PARTIAL, PROGRESS = ".pixels.h5.partial", ".progress.json"
SCRATCH = ("items.jsonl", PARTIAL, PROGRESS)  # left by a conversion without a finished row

log = logging.getLogger(__name__)


def convert(
    path: Path | str,
    out_dir: Path,
    size: int | None = None,
    reading: dict | None = None,
    to: str = "h5",
    columns: dict[str, str] | None = None,
    limit: int = 0,
    sample: int = 0,
) -> dict:
    """Write all items of a source as decoded pixels, uint8 (H, W, 3) RGB.

    `to`: "h5", OUT/pixels.h5 (`pixels` uint8 (N, H, W, 3), a row per chunk) and OUT/items.jsonl; or
    "images", OUT/NNNNNN.png and OUT/metadata.jsonl.  `size`: pixels a side, padded to a square and
    rescaled (Lanczos); None keeps the size.  `reading`: other options of `open_source` (decode,
    axes, channels, mean, photos, skip_bad); `columns` explains a table; `limit`: the first N items
    only, `sample`: some N items by whole products, 0 = all.  A stopped conversion resumes.  Returns
    {"out", "items", "shape", "was_done"}.
    Raises InputError where the input cannot be read, or OUT holds other results.
    """
    check_range("size", 1 if size is None else size, 1, MAX_SIZE)
    check_choice("output", to, WRITERS)
    source = open_source(path, columns, **(reading or {}))
    source = Subset(source, spread_products(source, sample)) if sample else source
    if limit < 0:
        raise InputError("out-of-range.limit", limit=limit)
    source = Subset(source, [*range(limit)]) if 0 < limit < len(source) else source
    return write_source(source, Path(out_dir), size, to)


def write_source(source: Source, out_dir: Path, size: int | None = None, to: str = "h5") -> dict:
    """Write the items of an open source; arguments, result and errors as of `convert`."""
    shape = (len(source), *_sized(source.pixels(0), size).shape)
    request = {"format": FORMAT, "source": source.fingerprint, "size": size, "to": to}
    last, write = WRITERS[to]
    scratch = () if _rows_done(out_dir) else SCRATCH
    with claimed(out_dir, request, "conversion", scratch=scratch):
        was_done = (out_dir / last).exists()
        if not was_done:
            with _discarded_if_bad(out_dir, len(source)):
                write(out_dir, source, shape, size)
    done = ", done already" if was_done else ""
    log.info(f"{out_dir}: {counted(shape[0], 'item')} of {shape[2]} x {shape[1]} pixels{done}")
    return {"out": str(out_dir), "items": shape[0], "shape": list(shape), "was_done": was_done}


def spread_products(source: Source, count: int) -> list[int]:
    """Return some `count` item numbers, ascending, of products from all parts of a source.

    Rows of one product that follow each other stay together, and are taken from STRETCHES places:
    a file on a slow drive is read in long pieces.
    """
    kept, chosen = False, []
    for i, product in enumerate(source.product_ids):
        if i == 0 or product != source.product_ids[i - 1]:
            stretch = i * STRETCHES // len(source)
            kept = len(chosen) < count * (stretch + 1) / STRETCHES
        if kept:
            chosen.append(i)
    return chosen


@contextlib.contextmanager
def _discarded_if_bad(out_dir: Path, count: int) -> Iterator[None]:
    """Remove the output of the block if bad or changed images stop it: it cannot be resumed, and
    the conversion without these images needs the same folder."""
    try:
        yield
    except InputError as error:
        if error.code in ("not-an-image", "out-of-range", "file-changed"):
            for name in (*SCRATCH, "request.json", *map("{:06d}.png".format, range(count))):
                (out_dir / name).unlink(missing_ok=True)
        raise


def _sized(pixels: np.ndarray, size: int | None) -> np.ndarray:
    return pixels if size is None else resize(pixels, size)


def _item_rows(source: Source) -> Iterator[dict]:
    columns = (source.item_ids, source.captions, source.attributes, source.product_ids)
    keys = ("index", "item", "caption", "attributes", "product", "split")
    for index, values in enumerate(zip(*columns, source.splits, strict=True)):
        yield dict(zip(keys, (index, *values)))


def _write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# ---------------------------------------------------------------------------------- a folder of PNG


def _write_images(out_dir: Path, source: Source, shape: tuple, size: int | None) -> None:
    """Write a PNG per item, its mask if the source has masks and no `size` is asked for, and last
    the table that `open_source` reads."""
    names, masks = [f"{index:06d}.png" for index in range(len(source))], out_dir / "masks"
    is_masked = size is None and source.regions(0) is not None
    todo = [index for index, name in enumerate(names) if not (out_dir / name).exists()]
    with progress_bar("converted", len(names), done=len(names) - len(todo)) as bar:
        for index in todo:
            if is_masked:
                shown = np.array(MASK_LEVELS, np.uint8)[source.regions(index)]
                save_png(Image.fromarray(shown), make_dir(masks) / names[index])
            pixels = _sized(source.pixels(index), size)
            save_png(Image.fromarray(pixels), out_dir / names[index])
            bar.update(1)
    rows = (
        {"file_name": name, "caption": row["caption"], **row["attributes"]}
        | ({"mask": f"{masks.name}/{name}"} if is_masked else {})
        | {key: row[key] for key in ("product", "split")}
        for name, row in zip(names, _item_rows(source))
    )
    _write_jsonl(out_dir / "metadata.jsonl", rows)


# ----------------------------------------------------------------------------------------- one file


def _write_h5(out_dir: Path, source: Source, shape: tuple, size: int | None) -> None:
    """Write items.jsonl, fill the partial file, and rename it at the end.

    A marker holds the number of rows that are surely on the disk.
    """
    _write_jsonl(out_dir / "items.jsonl", _item_rows(source))
    aside, marker = (remove_link(out_dir / name) for name in (PARTIAL, PROGRESS))
    done = _rows_done(out_dir)
    if done > shape[0]:
        raise InputError("file-damaged.conversion", path=marker)
    if not done:
        _lay_out(aside, shape)
        write_json(marker, 0)
    offsets = _offsets(aside, shape[0])
    row_bytes = int(np.prod(shape[1:]))
    between = max(1, BYTES_BETWEEN_SYNCS // row_bytes // ROWS_AT_ONCE) * ROWS_AT_ONCE
    with open(aside, "rb+") as file, progress_bar("converted", shape[0], done=done) as bar:
        for start in range(done, shape[0], ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, shape[0])
            try:
                for index, row in enumerate(_rows(source, start, stop, size, shape), start):
                    file.seek(offsets[index])
                    file.write(row)
            except InputError:  # a drive that fails: the next run resumes here
                _mark(file, marker, start)
                raise
            if stop % between == 0 or stop == shape[0]:
                _mark(file, marker, stop)
            bar.update(stop - start)
    os.replace(aside, out_dir / "pixels.h5")
    marker.unlink(missing_ok=True)


def _mark(file, marker: Path, rows: int) -> None:
    """Flush the rows to the disk, then write their number."""
    file.flush()
    os.fsync(file.fileno())
    write_json(marker, rows)


def _rows_done(out_dir: Path) -> int:
    """Return the number of rows of the partial file that are flushed to the disk."""
    there = all((out_dir / name).is_file() for name in (PARTIAL, PROGRESS))
    done = read_json(out_dir / PROGRESS) if there else 0
    if type(done) is not int or done < 0:
        raise InputError("file-damaged.conversion", path=out_dir / PROGRESS)
    return done


def _lay_out(path: Path, shape: tuple) -> None:
    """Write the HDF5 file with space for every row."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    row = (1, *shape[1:])
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", shape, "u1", chunks=row, dcpl=how, fill_time="never")
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _offsets(path: Path, count: int) -> np.ndarray:
    """Return the byte offset of each row in the file."""
    offsets = np.zeros(count, np.int64)

    def note(chunk):
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset

    with h5py.File(path, "r") as file:
        file["pixels"].id.chunk_iter(note)
    if not offsets.all():
        raise InputError("file-damaged.conversion", path=path)
    return offsets


def _rows(source: Source, start: int, stop: int, size: int | None, shape: tuple):
    """Yield rows start..stop - 1 as contiguous pixels; raises InputError for another shape."""
    for index, pixels in enumerate(source.read(start, stop), start):
        pixels = _sized(pixels, size)
        if pixels.shape != shape[1:]:
            seen = f"{pixels.shape[1]} x {pixels.shape[0]}"
            first = f"{shape[2]} x {shape[1]}"
            raise InputError("unequal-images", name=source.name, row=index, seen=seen, first=first)
        yield np.ascontiguousarray(pixels)


# {to: (the file written last, which marks a finished conversion; the function)}
WRITERS = {"h5": ("pixels.h5", _write_h5), "images": ("metadata.jsonl", _write_images)}
