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
from tvhelpers.data import buckets
from tvhelpers.data.items import Source, Subset
from tvhelpers.data.mixed_sizes import starts_of
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
    fit: str = "keep",
) -> dict:
    """Write all items of a source as decoded pixels, uint8 (H, W, 3) RGB.

    `to`: "h5", OUT/pixels.h5 (`pixels` uint8 (N, H, W, 3), a row per chunk, or as in `mixed_sizes`)
    and OUT/items.jsonl; or "images", OUT/NNNNNN.png and OUT/metadata.jsonl.  `size`: rescaled
    (Lanczos) to size^2 pixels of its own aspect, or, with `fit` "pad", padded to a square of that
    side; None keeps the size.  `reading`: other options of `open_source` (decode, axes, channels,
    mean, photos, skip_bad); `columns` explains a table; `limit`: the first N items only, `sample`:
    some N items by whole products, 0 = all.  A stopped conversion resumes.  Returns {"out",
    "items", "shape" ([N, H, W, 3], None for mixed sizes), "was_done"}.
    Raises InputError where the input cannot be read, or OUT holds other results.
    """
    check_range("size", 1 if size is None else size, 1, MAX_SIZE)
    check_choice("output", to, WRITERS)
    check_choice("fit", fit, ("keep", "pad"))
    source = open_source(path, columns, **(reading or {}))
    source = Subset(source, spread_products(source, sample)) if sample else source
    if limit < 0:
        raise InputError("out-of-range.limit", limit=limit)
    source = Subset(source, [*range(limit)]) if 0 < limit < len(source) else source
    return write_source(source, Path(out_dir), size, to, fit)


def write_source(
    source: Source, out_dir: Path, size: int | None = None, to: str = "h5", fit: str = "keep"
) -> dict:
    """Write the items of an open source; arguments, result and errors as of `convert`."""
    sizes = _sizes(source, size, fit)
    request = {"format": FORMAT, "source": source.fingerprint, "size": size, "to": to}
    if size and (sizes != size).any():
        request["fit"] = fit
    last, write = WRITERS[to]
    scratch = () if _rows_done(out_dir) else SCRATCH
    with claimed(out_dir, request, "conversion", scratch=scratch):
        was_done = (out_dir / last).exists()
        if not was_done:
            with _discarded_if_bad(out_dir, len(source)):
                write(out_dir, source, sizes, size)
    done, shape = ", done already" if was_done else "", None
    what = f"{len(np.unique(sizes, axis=0)):,} sizes"
    if (sizes == sizes[0]).all():
        shape = [len(source), *sizes[0].tolist(), 3]
        what = f"{shape[2]} x {shape[1]} pixels"
    log.info(f"{out_dir}: {counted(len(source), 'item')} of {what}{done}")
    return {"out": str(out_dir), "items": len(source), "shape": shape, "was_done": was_done}


def _sizes(source: Source, size: int | None, fit: str) -> np.ndarray:
    """Return the (height, width) of each image as it is written, int (N, 2)."""
    if size and fit == "pad":
        source.pixels(0)  # refuses what has no images, before anything is written
        return np.full((len(source), 2), size)
    sizes = buckets.image_sizes(source, len(source))
    if not size:
        return sizes
    scales = size / np.sqrt(sizes.prod(1, keepdims=True))
    return np.maximum(1, np.rint(scales * sizes)).astype(int)


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


def _sized(pixels: np.ndarray, shape: np.ndarray, size: int | None, name: str) -> np.ndarray:
    """Return the pixels of an item in the shape (height, width): padded to a square of `size`, or
    scaled."""
    shape = tuple(shape.tolist())
    if size is not None:
        return resize(pixels, size) if shape == (size, size) else buckets.fit(pixels, shape)
    if pixels.shape[:2] != shape:
        seen, said = (f"{wide} x {high}" for high, wide in (pixels.shape[:2], shape))
        raise InputError("not-an-image.size", name=name, seen=seen, said=said)
    return pixels


def _item_rows(source: Source) -> Iterator[dict]:
    columns = (source.item_ids, source.captions, source.attributes, source.product_ids)
    keys = ("index", "item", "caption", "attributes", "product", "split")
    for index, values in enumerate(zip(*columns, source.splits, strict=True)):
        yield dict(zip(keys, (index, *values)))


def _write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# ---------------------------------------------------------------------------------- a folder of PNG


def _write_images(out_dir: Path, source: Source, sizes: np.ndarray, size: int | None) -> None:
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
            pixels = _sized(source.pixels(index), sizes[index], size, source.item_ids[index])
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


def _write_h5(out_dir: Path, source: Source, sizes: np.ndarray, size: int | None) -> None:
    """Write items.jsonl, fill the partial file, and rename it at the end.

    A marker holds the number of rows that are surely on the disk.
    """
    _write_jsonl(out_dir / "items.jsonl", _item_rows(source))
    aside, marker = (remove_link(out_dir / name) for name in (PARTIAL, PROGRESS))
    done, count = _rows_done(out_dir), len(source)
    if done > count:
        raise InputError("file-damaged.conversion", path=marker)
    if not done:
        _lay_out(aside, sizes)
        write_json(marker, 0)
    offsets = _offsets(aside, sizes)
    row_bytes = 3 * int(sizes.prod(1).max())
    between = max(1, BYTES_BETWEEN_SYNCS // row_bytes // ROWS_AT_ONCE) * ROWS_AT_ONCE
    with open(aside, "rb+") as file, progress_bar("converted", count, done=done) as bar:
        for start in range(done, count, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, count)
            try:
                for index, row in enumerate(_rows(source, start, stop, size, sizes), start):
                    file.seek(offsets[index])
                    file.write(row)
            except InputError:  # a drive that fails: the next run resumes here
                _mark(file, marker, start)
                raise
            if stop % between == 0 or stop == count:
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


def _lay_out(path: Path, sizes: np.ndarray) -> None:
    """Write the HDF5 file with space for every row."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    shape, row = (int(starts_of(sizes)[-1]),), None
    is_mixed = (sizes != sizes[0]).any()
    if not is_mixed:
        row = (1, *sizes[0].tolist(), 3)
        shape = (len(sizes), *row[1:])
    with h5py.File(path, "w") as file:
        if is_mixed:
            file.create_dataset("sizes", data=sizes.astype(np.int32))
        file.create_dataset("pixels", shape, "u1", chunks=row, dcpl=how, fill_time="never")
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _offsets(path: Path, sizes: np.ndarray) -> np.ndarray:
    """Return the byte offset of each row in the file."""
    offsets = np.zeros(len(sizes), np.int64)

    def note(chunk):
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset

    with h5py.File(path, "r") as file:
        if file["pixels"].chunks:
            file["pixels"].id.chunk_iter(note)
        else:
            offsets += file["pixels"].id.get_offset() + starts_of(sizes)[:-1]
    if not offsets.all():
        raise InputError("file-damaged.conversion", path=path)
    return offsets


def _rows(source: Source, start: int, stop: int, size: int | None, sizes: np.ndarray):
    """Yield rows start..stop - 1 as contiguous pixels."""
    for index, pixels in enumerate(source.read(start, stop), start):
        name = source.item_ids[index]
        yield np.ascontiguousarray(_sized(pixels, sizes[index], size, name))


# {to: (the file written last, which marks a finished conversion; the function)}
WRITERS = {"h5": ("pixels.h5", _write_h5), "images": ("metadata.jsonl", _write_images)}
