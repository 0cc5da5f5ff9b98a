"""Claim: 2,000 damaged inputs each give a named error or a correct result, for every reader.

No crash, no hang over 10 s, no other exception, no result of a wrong length or out of range.  Each
runs in its own process, with limited memory.

python benchmarks/broken_inputs.py WORK_DIR      writes results/broken_inputs.json
python benchmarks/broken_inputs.py WORK_DIR --only 17      runs number 17 here, with its traceback
"""

import argparse
import collections
import importlib.util
import json
import math
import multiprocessing
import os
import re
import resource
import shutil
import sys
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
from common import write_result
from damage_arrays import BYTES, CHANGES, LANGUAGE, PARTITION, of_bytes, of_h5, of_mat
from damage_images import ARCHIVES, PNGS, of_archive, of_png
from damage_tables import CSV, ITEMS, JSON, JSONL, TSV, YAML, of_text
from sound_inputs import (
    ROWS,
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
from tvhelpers.errors import InputError
from tvhelpers.runtime import seed_for

SEED, SECONDS, MEMORY, AT_ONCE = 5, 10, 3 << 30, 2
ENCODINGS = "mean_subtracted affine unit uint8 minmax wrapped unknown".split()
SKIPPED = () if importlib.util.find_spec("pyarrow") else ("parquet",)
COLUMNS = {"images": "pics/{sku}.png", "caption": "title", "category": "kind", "product": "sku"}
H5_COLUMNS = {"pixels": "pixels", "caption": "input_description"}


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
    check_source(open_source(folder, columns=columns), most)


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
    found = {
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
    }  # fmt: skip
    return {kind: row for kind, row in found.items() if kind not in SKIPPED}


# ------------------------------------------------------------------------------------ running them


def unchanged(folder, rng):
    pass


def jobs(rounds):
    """Return (kind, reader, mutation): unchanged ones, then each with `rounds` seeds."""
    every = [
        (kind, reader, mutation)
        for kind, (_, readers, mutations) in kinds().items()
        for mutation in mutations
        for reader in readers
    ]
    sound = [
        (kind, reader, unchanged) for kind, (_, readers, _) in kinds().items() for reader in readers
    ]
    return [*sound, *every * rounds]


def run(number, job, work):
    """Mutate, read and check; returns (outcome, what was said)."""
    kind, reader, mutation = job
    folder, out = work / "in", work / "out"
    shutil.copytree(work.parent / "base" / kind, folder)
    mutation(folder, np.random.default_rng(seed_for(SEED, number)))
    most = 3_000 if kind == "zip" else 2 * ROWS  # a block of a table may be there twice
    out.mkdir()
    try:
        reader(folder, out, ROWS if kind in ("G2.h5", "mat", "h5 columns") else most)
    except InputError as error:
        if mutation is unchanged:
            return "sound input refused", str(error)
        said = str(error)
        is_sentence = said and "\n" not in said and len(said) < 1000
        return "named error" if is_sentence else "error of many lines", said
    except AssertionError as error:
        return "wrong result", str(error)
    return "right result", ""


def child(number, job, work):
    """Run with bounded memory and file sizes, and leave the outcome in a file."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, soft))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))
    sys.stderr = sys.stdout = open(os.devnull, "w", encoding="utf-8")
    warnings.simplefilter("ignore")
    try:
        outcome = run(number, job, work)
    except BaseException as error:
        outcome = "other exception", f"{type(error).__name__}: {error}"
    (work / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def outcome_of(process, work, began):
    """Return (outcome, said) of a process that ended, or is over its time; None while it runs."""
    if process.is_alive() and time.monotonic() - began < SECONDS:
        return None
    hung = process.is_alive()
    process.kill()
    process.join()
    path = work / "outcome.json"
    if hung:
        return "hang", f"over {SECONDS} s"
    if not path.exists():
        return "crash", f"exit {process.exitcode}"
    return json.loads(path.read_text(encoding="utf-8"))


def run_all(listed, work):
    """Return [(number, job, outcome, said, seconds)], two at a time."""
    fork, waiting, running, results = (
        multiprocessing.get_context("fork"),
        [*enumerate(listed)],
        [],
        [],
    )
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number, job = waiting.pop(0)
            place = work / f"{number:03d}"
            place.mkdir()
            process = fork.Process(target=child, args=(number, job, place))
            process.start()
            running.append((number, job, process, place, time.monotonic()))
        time.sleep(0.005)
        for one in [*running]:
            number, job, process, place, began = one
            if outcome := outcome_of(process, place, began):
                running.remove(one)
                results.append((number, job, *outcome, time.monotonic() - began))
                shutil.rmtree(place)
    return results


def report(results):
    """Return the figures, and what went wrong in full."""
    table, wrong = collections.defaultdict(collections.Counter), []
    for number, (kind, reader, mutation), outcome, said, _ in sorted(results, key=lambda r: r[0]):
        table[kind][outcome] += 1
        if outcome not in ("named error", "right result"):
            said = re.sub(r"\S*/\d{3}/", "", said)[:300]
            wrong.append([number, kind, reader.__name__, mutation.__name__, outcome, said])
    total = sum(table.values(), collections.Counter())
    return {
        "inputs": len(results),
        "left_out": [f"{kind}: a library is not installed" for kind in SKIPPED],  # stable name
        "mutations": len({(kind, mutation.__name__) for _, (kind, _, mutation), *_ in results}),
        "outcomes": dict(total),
        "by_kind": {kind: dict(counts) for kind, counts in table.items()},
        "slowest_seconds": math.ceil(max(result[-1] for result in results)),
        "wrong": wrong,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="seeds a mutation")
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    work = options.work_dir / "broken-inputs"
    shutil.rmtree(work, ignore_errors=True)
    for kind, (make, _, _) in kinds().items():
        (work / "base" / kind).mkdir(parents=True)
        make(work / "base" / kind)
    listed = jobs(options.rounds)
    if options.only is not None:
        (work / "only").mkdir()
        job = listed[options.only]
        print(job[0], job[1].__name__, job[2].__name__, *run(options.only, job, work / "only"))
        return
    result = report(run_all(listed, work))
    shutil.rmtree(work)
    write_result("broken_inputs", result)


if __name__ == "__main__":
    main()
