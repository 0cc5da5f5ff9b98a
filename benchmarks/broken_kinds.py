"""Which inputs are damaged, how, and which readers read them?

`kinds` says it.  A reader is reader(folder, out, most items), and raises AssertionError for a
result that cannot be right; a mutation is mutate(folder, rng), and may return what is `Right`.
"""

import json
import os
import shutil

import h5py
import numpy as np
from common import REPO
from damage_adapters import ADAPTERS, make_adapter, make_dora, make_peft, read_all
from damage_arrays import BYTES, CHANGES, LANGUAGE, PARTITION, of_bytes, of_h5, of_mat
from damage_folders import SHAPES
from damage_image_files import IMAGE_FILES
from damage_images import ARCHIVES, PNGS, of_archive, of_png
from damage_json import READERS, complete, mutations
from damage_tables import CSV, ITEMS, JSON, JSONL, TSV, YAML, of_text
from sound_inputs import (
    make_classes,
    make_coarse,
    make_converted,
    make_csv,
    make_g2,
    make_h5,
    make_json,
    make_jsonl,
    make_manifest,
    make_npy,
    make_npz,
    make_originals,
    make_parquet,
    make_tar,
    make_text,
    make_tgz,
    make_tsv,
    make_zip,
)

from tvhelpers import manifest
from tvhelpers.data.convert import convert
from tvhelpers.data.h5 import inspect_images
from tvhelpers.data.sources import open_source
from tvhelpers.data.unpack import unpack
from tvhelpers.image import read_photo
from tvhelpers.score.image_folder import open_folder

ENCODINGS = "mean_subtracted affine unit uint8 minmax wrapped unknown".split()
COLUMNS = {"images": "pics/{sku}.png", "caption": "title", "category": "kind", "product": "sku"}
H5_COLUMNS = {"pixels": "pixels", "caption": "input_description"}
SAVED = REPO / "tests" / "saved" / "work"
# no sound ones: it is compared with another request, or mutations make all
UNSOUND = ("JSON out/half/request.json", "shapes", "image files")
MAX_JSON = 60  # mutations of a file of JSON, spread over all


# ------------------------------------------------------------------------------ readers and checks


def check_source(source, most):
    """Hold that a source is as long as it may be, and that its items are in range."""
    count = len(source)
    assert 1 <= count <= most, f"{count} items of {most}"
    columns = (source.captions, source.item_ids, source.product_ids, source.attributes)
    assert {len(column) for column in (*columns, source.splits)} == {count}, "unequal columns"
    for item in source:
        assert item.pixels.dtype == np.uint8 and item.pixels.ndim == 3, "not uint8 (H, W, 3)"
        assert item.pixels.shape[2] == 3 and item.pixels.size, "not uint8 (H, W, 3)"
        assert item.split in ("", "train", "test", "val"), f"split {item.split!r}"
        assert isinstance(item.caption, str) and isinstance(item.product_id, str), "no text"
        assert all(isinstance(word, str) for word in item.attributes.values()), "no text"
        assert item.mask is None or item.mask.shape == item.pixels.shape[:2], "mask of other size"


def read(folder, out, most, columns=None):
    source = open_source(folder, columns=columns)
    check_source(source, most)
    return source


def read_image(folder, out, most):
    return read_photo(next(folder.iterdir()))


def read_gallery(folder, out, most):
    """Hold that a gallery's images are those of its records, and are read."""
    found = open_folder(folder / "out" / "plain")
    for path in (folder / "out" / "plain").glob("*.png"):
        assert read_photo(path).ndim == 3, "no image"
    return found


def read_table(folder, out, most):
    path = next(path for path in folder.iterdir() if path.is_file())
    read(path, out, most, H5_COLUMNS if path.suffix == ".h5" else COLUMNS)


def read_store(folder, out, most):
    path = next(folder.iterdir())
    check_source(open_source(path, axes="CHW" if path.suffix == ".npz" else "HWC"), most)


def read_originals(folder, out, most):
    check_source(open_source(folder, photos=folder / "photos.zip"), most)


def inspect(folder, out, most):
    files = [path for path in folder.iterdir() if path.suffix in (".npy", ".npz")]
    images = inspect_images(*files or [folder])["images"]
    json.dumps(images, allow_nan=False)
    assert images["encoding"] in ENCODINGS and 0 <= images["confidence"] <= 1, "no verdict"


def convert_all(folder, out, most):
    count = convert(folder, out, size=32)["items"]
    with h5py.File(out / "pixels.h5") as file:
        assert len(file["pixels"]) == count, "unequal lengths"
    read(out, None, most)


def unpack_all(folder, out, most):
    unpack(next(folder.iterdir()), out / "in")
    paths = [path for path in out.rglob("*") if not path.is_dir() or path.is_symlink()]
    assert not any(path.is_symlink() or not path.is_file() for path in paths), "a link or device"
    assert len(paths) <= most, f"{len(paths)} files of {most}"


def read_manifest(folder, out, most):
    os.environ["TV_MANIFEST"] = str(folder / "m.yaml")
    assert all(row["kind"] for row in manifest.entries().values()), "no kind"


def empty_folder(folder):
    pass


def make_work(folder):
    """Copy the saved work of the tests: a base, trainings, galleries, a study."""
    shutil.copytree(SAVED, folder, dirs_exist_ok=True)
    complete(folder)


def reader_of(file):
    """Return the reader of a file of the saved work."""

    def read_json(folder, out, most):
        READERS[file](folder / file)

    return read_json


def of_json(file, number, found):
    """Return the mutation of that number of those `found` for a file of JSON, spread over all."""

    def mutate(folder, rng):
        (folder / file).write_bytes(found[number * len(found) // MAX_JSON][1])

    mutate.__name__, mutate.once = f"{number} of {MAX_JSON}", True
    return mutate


def json_kind(file):
    """Return what `kinds` has, for a file of JSON of the saved work."""
    found = []  # filled once, before there are processes

    def make(folder):
        make_work(folder)
        found.extend(mutations(folder / file))

    changed = [of_json(file, number, found) for number in range(MAX_JSON)]
    return make, (reader_of(file),), changed + any_bytes(file)


def any_bytes(*patterns):
    return [of_bytes(change, pattern) for pattern in patterns for change in BYTES]


def changes(table, make, *where):
    return [make(name, *where, change) for name, change in table.items()]


def kinds():
    """Return {kind: (make a sound one, readers, mutations)}."""
    h5 = [of_h5(name, "ih", change) for name, change in CHANGES.items()]
    h5 += [
        of_h5(name, key, change) for key in ("ih_mean", "b_") for name, change in CHANGES.items()
    ]
    language = changes(LANGUAGE, of_mat, "language_original.mat")
    language += changes(PARTITION, of_mat, "ind.mat") + any_bytes("Anno/*.mat", "Eval/*.mat")
    rows = [
        of_h5(name, key, change)
        for key in ("input_description", "pixels")
        for name, change in CHANGES.items()
    ]
    photos = [of_png(name, data) for name, data in PNGS.items()]
    archives = [of_archive(name, make) for name, make in ARCHIVES.items()]
    return {
        "G2.h5": (make_g2, (read, inspect, convert_all), h5 + any_bytes("Img/*.h5")),
        "mat": (make_g2, (read,), language),
        "converted": (make_converted, (read,),
                      any_bytes("*.h5", "*.jsonl") + changes(ITEMS, of_text, "items.jsonl")),
        "csv": (make_csv, (read, convert_all),
                any_bytes("*.csv", "*.png") + photos + changes(CSV, of_text, "metadata.csv")),
        "jsonl": (make_jsonl, (read,),
                  any_bytes("*.jsonl") + changes(JSONL, of_text, "metadata.jsonl")),
        "classes": (make_classes, (read, convert_all), any_bytes("train/dress/*.png") + photos),
        "tsv": (make_tsv, (read_table,), any_bytes("*.tsv") + changes(TSV, of_text, "stock.tsv")),
        "json": (make_json, (read_table,),
                 any_bytes("*.json") + changes(JSON, of_text, "stock.json")),
        "parquet": (make_parquet, (read_table,), any_bytes("*.parquet")),
        "npz": (make_npz, (read_store, inspect), any_bytes("*.npz")),
        "npy": (make_npy, (read_store, inspect), any_bytes("*.npy")),
        "text beside": (make_text, (read,), any_bytes("*.txt", "*.png")),
        "attributes": (make_coarse, (read,), any_bytes("Anno/*.txt", "Anno/*attr_img.txt",
                                                       "Img/img/*/*.png")),
        "originals": (make_originals, (read_originals,), any_bytes("*.zip")),
        "h5 columns": (make_h5, (read_table,), rows + any_bytes("*.h5")),
        "zip": (make_zip, (unpack_all,), any_bytes("*.zip") + archives),
        "tar": (make_tar, (unpack_all,), any_bytes("*.tar")),
        "tgz": (make_tgz, (unpack_all,), any_bytes("*.tgz")),
        "manifest": (make_manifest, (read_manifest,),
                     any_bytes("*.yaml") + changes(YAML, of_text, "m.yaml")),
        "adapter": (make_adapter, (read_all,), ADAPTERS),
        "adapter DoRA": (make_dora, (read_all,), ADAPTERS),
        "adapter of peft": (make_peft, (read_all,), ADAPTERS),
        **{f"JSON {file}": json_kind(file) for file in READERS},
        "shapes": (empty_folder, (read,), SHAPES),
        "image files": (empty_folder, (read_image,), IMAGE_FILES),
        "gallery": (make_work, (read_gallery,), any_bytes("out/plain/*")),
        "study": (make_work, (reader_of("study/study.json"),), any_bytes("study/*.json",
                                                                         "study/*/*.png")),
    }  # fmt: skip
