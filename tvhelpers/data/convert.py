"""Convert any source to one HDF5 file or to a folder of images, streaming and resumable.

pixels.h5 is laid out in full first, each row at its final place; rows are then written past the
HDF5 library, so that a process killed at any moment leaves a file that can be gone on with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tvhelpers.config import InputError
from tvhelpers.data.items import Part, Source
from tvhelpers.data.sources import open_source
from tvhelpers.files import atomic_path
from tvhelpers.image import resize
from tvhelpers.records import claim_dir, read_json, write_json

FORMAT = 1  # raise it when a change of this module changes what is written
ROWS_AT_ONCE = 64
MAX_SIZE = 4096
BYTES_BETWEEN_SYNCS = 256 << 20


def convert(
    path: Path | str,
    out_dir: Path,
    size: int | None = None,
    reading: dict | None = None,
    to: str = "h5",
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] | None = None,
    columns: dict[str, str] | None = None,
    limit: int = 0,
) -> dict:
    """Write all items of a source as decoded pixels, uint8 (H, W, 3) RGB.

    `to`: "h5", OUT/pixels.h5 (`pixels` uint8 (N, H, W, 3), one row a chunk) and OUT/items.jsonl; or
    "images", OUT/NNNNNN.png and OUT/metadata.jsonl.  `size`: pixels a side, padded to a square and
    rescaled (Lanczos); None keeps them.  `reading`: what else `open_source` takes (decode, axes,
    channels, mean, photos); `columns` explains a table; `limit`: the first so many items only, 0 =
    all.  `progress(done, total)` is called as it goes, `say` with sentences.  A conversion that was
    stopped goes on.  Returns {"out", "items", "shape", "was_done"}.  Raises InputError where the
    input cannot be read, or OUT holds other results.
    """
    if size is not None and not 1 <= size <= MAX_SIZE:
        raise InputError(f"size is {size}; give 1 to {MAX_SIZE} pixels")
    if to not in WRITERS:
        raise InputError(f"unknown output {to!r}; choose {', '.join(WRITERS)}, latents")
    source = open_source(path, columns, **(reading or {}))
    if limit < 0:
        raise InputError(f"limit is {limit}; give a number of items, or 0 for all of them")
    source = Part(source, [*range(limit)]) if 0 < limit < len(source) else source
    shape = (len(source), *_row(source, 0, size).shape)
    request = {"format": FORMAT, "source": source.fingerprint, "size": size, "to": to}
    out_dir = claim_dir(Path(out_dir), request, "conversion")
    last, write = WRITERS[to]
    was_done = (out_dir / last).exists()
    if not was_done:
        write(out_dir, source, shape, size, progress)
    if say:
        say(
            f"{out_dir}: {shape[0]} items of {shape[2]} x {shape[1]} "
            f"pixels{', done already' if was_done else ''}"
        )
    return {"out": str(out_dir), "items": shape[0], "shape": list(shape), "was_done": was_done}


def _write_h5(out_dir: Path, source: Source, shape: tuple, size, progress: Callable) -> None:
    _write_items(out_dir / "items.jsonl", source)
    aside = out_dir / ".pixels.h5.partial"
    _write_rows(aside, source, shape, size, progress)
    os.replace(aside, out_dir / "pixels.h5")
    _marker(aside).unlink(missing_ok=True)


def _write_images(out_dir: Path, source: Source, shape: tuple, size, progress: Callable) -> None:
    """Write a PNG an item, and last the table that `open_source` reads."""
    names = [f"{index:06d}.png" for index in range(len(source))]
    todo = [index for index, name in enumerate(names) if not (out_dir / name).exists()]
    for index in todo:
        pixels = _row(source, index, size)
        with atomic_path(out_dir / names[index]) as aside:
            Image.fromarray(pixels).save(aside, "PNG")
        progress(index + 1, len(source))
    columns = zip(names, source.captions, source.attributes, source.product_ids, source.splits)
    table = out_dir / "metadata.jsonl"
    with atomic_path(table) as aside, open(aside, "w", encoding="utf-8") as file:
        for name, caption, attributes, product, split in columns:
            row = {"file_name": name, "caption": caption, **attributes, "product": product}
            file.write(json.dumps({**row, "split": split}, ensure_ascii=False) + "\n")


# what is written last, and so says that all of it is there; how it is written
WRITERS = {"h5": ("pixels.h5", _write_h5), "images": ("metadata.jsonl", _write_images)}


def _write_items(path: Path, source: Source) -> None:
    columns = zip(
        source.item_ids,
        source.captions,
        source.attributes,
        source.product_ids,
        source.splits,
        strict=True,
    )
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8") as file:
        for index, (item, caption, attributes, product, split) in enumerate(columns):
            row = {
                "index": index,
                "item": item,
                "caption": caption,
                "attributes": attributes,
                "product": product,
                "split": split,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _marker(aside: Path) -> Path:
    return aside.with_name(".progress.json")


def _write_rows(
    path: Path, source: Source, shape: tuple, size: int | None, progress: Callable
) -> None:
    """Fill the partial file; the marker says how many rows are on the disk for certain."""
    marker, row_bytes = _marker(path), int(np.prod(shape[1:]))
    done = read_json(marker) if marker.exists() and path.exists() else 0
    if not done:
        _lay_out(path, shape)
        write_json(marker, 0)
    offsets = _offsets(path, shape[0])
    between = max(1, BYTES_BETWEEN_SYNCS // row_bytes // ROWS_AT_ONCE) * ROWS_AT_ONCE
    with open(path, "rb+") as file:
        for start in range(done, shape[0], ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, shape[0])
            for index, row in enumerate(_rows(source, start, stop, size, shape), start):
                file.seek(offsets[index])
                file.write(row)
            if stop % between == 0 or stop == shape[0]:
                file.flush()
                os.fsync(file.fileno())
                write_json(marker, stop)
            progress(stop, shape[0])


def _lay_out(path: Path, shape: tuple) -> None:
    """Write the HDF5 file with the place of every row, and no row."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, *shape[1:]))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plist.set_obj_track_times(False)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file.id, b"pixels", h5py.h5t.STD_U8LE, space, plist)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _offsets(path: Path, count: int) -> np.ndarray:
    """Return where each row lies in the file, in bytes."""
    offsets = np.zeros(count, np.int64)

    def note(chunk):
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset

    with h5py.File(path, "r") as file:
        file["pixels"].id.chunk_iter(note)
    if not offsets.all():
        raise InputError(f"{path} is damaged; remove it and run the same command again")
    return offsets


def _row(source: Source, index: int, size: int | None) -> np.ndarray:
    pixels = source.pixels(index)
    return pixels if size is None else resize(pixels, size)


def _rows(source: Source, start: int, stop: int, size: int | None, shape: tuple):
    """Yield rows start..stop - 1 as contiguous pixels of one shape."""
    images = getattr(source, "images", None)
    block = images.read(start, stop) if images else (source.pixels(i) for i in range(start, stop))
    for index, pixels in enumerate(block, start):
        pixels = pixels if size is None else resize(pixels, size)
        if pixels.shape != shape[1:]:
            raise InputError(
                f"{source.name}: image {index} is {pixels.shape[1]} x {pixels.shape[0]} pixels, "
                "the first "
                f"{shape[2]} x {shape[1]}; give --size to make them equal"
            )
        yield np.ascontiguousarray(pixels)
