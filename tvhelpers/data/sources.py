"""Sources: any set of garments as items with pixels, caption, attributes, product and split."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

import numpy as np

from tvhelpers import manifest
from tvhelpers.config import InputError
from tvhelpers.data.attributes import is_attribute_prediction, open_attribute_prediction
from tvhelpers.data.folder import open_photos
from tvhelpers.data.highres import open_highres
from tvhelpers.data.items import Source, StoredSource, file_digest, read_rows
from tvhelpers.data.readers import open_mapped, open_reader
from tvhelpers.data.tables import ENDINGS
from tvhelpers.files import content_key

ROW_KINDS = {"caption": str, "attributes": dict, "product": str, "split": str}  # of items.jsonl


def open_source(
    name_or_path: str | Path,
    columns: dict[str, str] | None = None,
    *,
    photos: Path | None = None,
    bare: bool = False,
    **reading,
) -> Source:
    """Open a name of data_manifest.yaml, or a folder or file.

    A folder with Img/G2.h5 (and Anno, Eval), or that file; a converted folder (pixels.h5,
    items.jsonl); photos with metadata.csv or .jsonl (file_name and a caption, text, or category);
    photos with a .txt caption each; photos in folders that are named by category; photos named in
    words; a table of any columns, which `columns` {ours: theirs} explains as the manifest's rows
    do; DeepFashion's Category and Attribute Prediction (Img, and Anno_coarse or Anno_fine, or
    either alone).  `photos`: an archive of original photos to take instead (`open_highres`).
    `bare`: photos may have no caption yet.
    `reading`: decode, axes, channels, mean of a store (`open_images`).  Raises InputError where
    nothing of that is found.
    """
    if photos:
        return open_highres(open_source(name_or_path, columns, **reading), photos)
    if not str(name_or_path):
        raise InputError("no data were named; give a folder, a file, or a name of the manifest")
    row = manifest.entries().get(str(name_or_path))
    if row and row["kind"] == "flats":
        return FlatsSource(name=str(name_or_path), **(row.get("params") or {}))
    if row and row["kind"] != "images":
        raise InputError(
            f"{name_or_path} is no source of images but {row['kind']}; give a data set's name "
            "or folder"
        )
    if row and columns:
        raise InputError(f"the columns of {name_or_path} are in the manifest; leave --columns out")
    if row and row.get("reader", "photos") != "photos":
        return open_reader(str(name_or_path), row, **reading)
    path = manifest.local_path(str(name_or_path)) if row else Path(name_or_path)
    name = str(name_or_path) if row else _safe_name(path)
    if not path.exists():
        names = [
            key for key, row in manifest.entries().items() if row["kind"] in ("images", "flats")
        ]
        raise InputError(
            f"{path} does not exist; give a folder, a file, or one of {', '.join(names)}"
        )
    if columns or (path.is_file() and path.suffix.lower() in ENDINGS):
        return open_mapped(name, path, columns or {}, **reading)
    if (path / "items.jsonl").is_file():
        return _open_converted(name, path)
    if path.is_file() or (path / "Img" / "G2.h5").is_file() or (path / "G2.h5").is_file():
        return _open_store(name, path, reading)
    if is_attribute_prediction(path):
        return open_attribute_prediction(name, path)
    return open_photos(name, path, bare)


def _safe_name(path: Path) -> str:
    """Return a name for folders of results: letters, digits, dots, dashes."""
    name = path.stem if path.is_file() else path.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "source"


def _open_store(name: str, path: Path, reading: dict) -> StoredSource:
    from tvhelpers.data import fashion_synthesis as codebook
    from tvhelpers.data.h5 import find_store, open_images

    h5 = find_store(path)
    images = open_images(h5, **reading)
    language = beside(h5, "Anno", "language_original.mat")
    partition = beside(h5, "Eval", "ind.mat")
    count = len(images)
    if language:
        notes = codebook.read_language(language)
        if len(notes) != count:
            raise InputError(
                f"{language} has {len(notes)} rows, but {h5} has {count} images; give files of "
                "one set"
            )
        columns = [notes.captions, notes.names, notes.products, notes.attributes()]
    else:
        warnings.warn(
            f"{h5} has no Anno/language_original.mat beside it: captions are empty", stacklevel=2
        )
        ids = [f"{i:06d}" for i in range(count)]
        columns = [[""] * count, ids, ids, [{} for _ in ids]]
    splits = codebook.read_partition(partition, count) if partition else [""] * count
    key = content_key([file_digest(h5), images.reading(), *columns, splits])
    return StoredSource(name, key, *columns, splits, images=images)


def beside(h5: Path, folder: str, file: str) -> Path | None:
    """Return the benchmark's `file` that belongs to an image file, None where there is none."""
    h5 = h5.resolve()  # "G2.h5" alone has no folder above it
    places = [h5.parents[1] / folder / file, h5.parent / folder / file, h5.parent / file]
    return next((place for place in places if place.is_file()), None)


def _open_converted(name: str, path: Path) -> StoredSource:
    from tvhelpers.data.h5 import open_images

    rows = read_rows(path / "items.jsonl")
    images = open_images(path / "pixels.h5", "uint8", "HWC", "RGB")
    if len(rows) != len(images):
        raise InputError(
            f"{path}: items.jsonl has {len(rows)} rows, pixels.h5 {len(images)}; convert anew"
        )
    for number, row in enumerate(rows):
        lacking = [key for key, kind in ROW_KINDS.items() if type(row.get(key)) is not kind]
        if lacking or row["split"] not in ("", "train", "test", "val"):
            raise InputError(
                f"{path}/items.jsonl: row {number} has no {lacking[0] if lacking else 'split'} "
                "that can be used; convert anew"
            )
    ids = [str(row.get("item", i)) for i, row in enumerate(rows)]
    columns = [[row[key] for row in rows] for key in ("caption", "product", "attributes", "split")]
    key = content_key([file_digest(path / "pixels.h5"), rows])
    return StoredSource(name, key, columns[0], ids, *columns[1:], images=images)


class FlatsSource(Source):
    """Flats, drawn when read; flat i is a function of (seed, i) and of the words to choose from.

    `categories`, `colours`, `patterns`: words, None for all; `season`: "base", "new" or "all";
    `triples`: rows (category, colour, pattern) of which flat i is of row i modulo their number,
    instead of the words.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        *,
        categories=None,
        colours=None,
        patterns=None,
        triples=None,
        season: str = "all",
        name: str = "flats",
        size: int = 128,
    ):
        from tvhelpers import flats

        if count < 1:
            raise InputError(f"{name} is to have {count} flats; give 1 or more")
        words = {"categories": categories, "colours": colours, "patterns": patterns}
        words = {key: tuple(values) for key, values in words.items() if values}
        words["season"] = season
        triples = [tuple(triple) for triple in triples or []]
        self.seed, self.size, self.flats = seed, size, flats
        try:
            self.specs = [self._spec(i, words, triples) for i in range(count)]
            probe = flats.render(self.specs[0], seed, 0, size)
        except (ValueError, KeyError) as error:
            raise InputError(f"{name} cannot be drawn ({error}); change its words") from None
        ids = [f"{name}-{seed}-{i:06d}" for i in range(count)]
        captions = [flats.caption(spec, seed, i) for i, spec in enumerate(self.specs)]
        attributes = [spec.attributes() for spec in self.specs]
        drawn = hashlib.sha256(probe.tobytes()).hexdigest()
        key = content_key([seed, size, words, triples, flats.DRAWING, drawn, captions, attributes])
        super().__init__(name, key, captions, ids, ids, attributes, [""] * count)

    def _spec(self, index: int, words: dict, triples: list[tuple]):
        if triples:
            triple = triples[index % len(triples)]
            keys = ("categories", "colours", "patterns")
            words |= {key: (word,) for key, word in zip(keys, triple, strict=True)}
        return self.flats.random_spec(self.seed, index, **words)

    def pixels(self, index: int) -> np.ndarray:
        return self.flats.render(self.specs[index], self.seed, index, self.size)
