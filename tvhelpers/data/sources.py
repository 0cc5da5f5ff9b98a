"""Sources: any set of garments as items with pixels, caption, attributes, product and split."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tvhelpers import manifest
from tvhelpers.config import InputError
from tvhelpers.runtime import content_key, read_json, seed_for, write_json

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
ATTRIBUTES = ("category", "colour", "pattern", "sleeve", "neckline", "length", "gender")
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
NO_ARTICLE = ("outwear", "outerwear", "knitwear", "underwear", "swimwear")


@dataclass(frozen=True)
class Item:
    """One garment: pixels uint8 (H, W, 3) RGB; mask bool (H, W) of the garment, or None."""

    pixels: np.ndarray
    caption: str
    attributes: dict[str, str]
    mask: np.ndarray | None
    item_id: str
    product_id: str
    split: str  # "train", "test", "val", or "" where the source has no split of its own


@dataclass
class Source:
    """What all sources have; a kind of source adds `pixels(i)`, and `mask(i)` where it can.

    `fingerprint` stands for everything that a result computed from the source depends on.
    """

    name: str
    fingerprint: str
    captions: list[str]
    item_ids: list[str]
    product_ids: list[str]
    attributes: list[dict[str, str]]
    splits: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def pixels(self, index: int) -> np.ndarray:
        """Return pixels uint8 (H, W, 3) RGB of item `index`."""
        raise NotImplementedError

    def mask(self, index: int) -> np.ndarray | None:
        """Return the garment, bool (H, W), or None where it is not known."""
        return None

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]
        return Item(
            self.pixels(index),
            self.captions[index],
            self.attributes[index],
            self.mask(index),
            self.item_ids[index],
            self.product_ids[index],
            self.splits[index],
        )


def open_source(name_or_path: str | Path, decode: str = "auto") -> Source:
    """Open a name of data_manifest.yaml, or a folder or file.

    A folder with Img/G2.h5 (and Anno, Eval), or that file; a converted folder (pixels.h5,
    items.jsonl); photos with metadata.csv or .jsonl (file_name and a caption, text, or category);
    photos with a .txt caption each; photos in folders that are named by category.  `decode` is for
    HDF5 files (`open_h5_images`). Raises InputError where nothing of that is found.
    """
    row = manifest.entries().get(str(name_or_path))
    if row and row["kind"] == "flats":
        return _manifest_flats(str(name_or_path), row.get("params") or {})
    if row and row["kind"] != "images":
        raise InputError(
            f"{name_or_path} is no source of images but {row['kind']}; give a data set's name "
            "or folder"
        )
    path = manifest.local_path(str(name_or_path)) if row else Path(name_or_path)
    name = str(name_or_path) if row else _safe_name(path)
    if not path.exists():
        names = [
            key for key, row in manifest.entries().items() if row["kind"] in ("images", "flats")
        ]
        raise InputError(
            f"{path} does not exist; give a folder, a file, or one of {', '.join(names)}"
        )
    if (path / "items.jsonl").is_file():
        return _open_converted(name, path)
    if path.is_file() or (path / "Img" / "G2.h5").is_file() or (path / "G2.h5").is_file():
        return _open_g2(name, path, decode)
    return _open_photos(name, path)


def _safe_name(path: Path) -> str:
    """Return a name for folders of results: letters, digits, dots, dashes."""
    name = path.stem if path.is_file() else path.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "source"


def file_digest(path: Path, pieces: int = 16, piece: int = 1 << 16) -> str:
    """Return 16 hex digits of a file's size and of pieces spread over it, head to tail."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for offset in np.unique(np.linspace(0, max(0, size - piece), pieces).astype(int)):
            file.seek(offset)
            digest.update(file.read(piece))
    return digest.hexdigest()[:16]


@dataclass
class H5Source(Source):
    """Items whose pixels are in an HDF5 file."""

    images: object = field(kw_only=True)  # H5Images

    def pixels(self, index: int) -> np.ndarray:
        return self.images[index]

    def mask(self, index: int) -> np.ndarray | None:
        return self.images.mask(index)


def _open_g2(name: str, path: Path, decode: str) -> H5Source:
    from tvhelpers.data import annotations as codebook
    from tvhelpers.data.fashion_synthesis import find_h5, open_h5_images

    h5 = find_h5(path)
    images = open_h5_images(h5, decode)
    language = _beside(h5, "Anno", "language_original.mat")
    partition = _beside(h5, "Eval", "ind.mat")
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
    key = content_key([file_digest(h5), images.encoding, images.axes, *columns, splits])
    return H5Source(name, key, *columns, splits, images=images)


def _beside(h5: Path, folder: str, file: str) -> Path | None:
    places = [h5.parents[1] / folder / file, h5.parent / folder / file, h5.parent / file]
    return next((place for place in places if place.is_file()), None)


def _open_converted(name: str, path: Path) -> H5Source:
    from tvhelpers.data.fashion_synthesis import open_h5_images

    rows = _read_lines(path / "items.jsonl")
    images = open_h5_images(path / "pixels.h5", "uint8")
    if len(rows) != len(images):
        raise InputError(
            f"{path}: items.jsonl has {len(rows)} rows, pixels.h5 {len(images)}; convert anew"
        )
    missing = {"caption", "attributes", "product", "split"} - set.intersection(*map(set, rows))
    if missing:
        raise InputError(
            f"{path}/items.jsonl lacks {', '.join(sorted(missing))} in some row; convert anew"
        )
    ids = [str(row.get("item", i)) for i, row in enumerate(rows)]
    columns = [[row[key] for row in rows] for key in ("caption", "product", "attributes", "split")]
    key = content_key([file_digest(path / "pixels.h5"), rows])
    return H5Source(name, key, columns[0], ids, *columns[1:], images=images)


def _read_lines(path: Path) -> list[dict]:
    try:
        rows = [
            json.loads(line)
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
    except ValueError as error:
        raise InputError(f"{path} is not JSON lines ({error}); mend it") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} holds no rows, or some that are no objects; mend it")
    return rows


@dataclass
class PhotoSource(Source):
    """Items whose pixels are image files."""

    paths: list[Path] = field(kw_only=True)

    def pixels(self, index: int) -> np.ndarray:
        return read_photo(self.paths[index])


def read_photo(path: Path) -> np.ndarray:
    """Return an image file as pixels uint8 (H, W, 3) RGB.

    It is upright by its EXIF, on white where it is transparent, 8 bits where it had 16.
    Raises InputError where it cannot be read.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a channel, which convert() would clip
                image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}); replace or remove it"
        ) from None


def _open_photos(name: str, folder: Path) -> PhotoSource:
    rows = _metadata(folder)
    if rows is None:
        rows = [
            _row_of_photo(folder, path) for path in sorted(folder.rglob("*")) if _is_photo(path)
        ]
        _check_captions(folder, rows)
    paths = [_inside(folder, row, number) for number, row in enumerate(rows)]
    attributes = [_attributes(row) for row in rows]
    captions = [
        _caption(folder, row, words, i)
        for i, (row, words) in enumerate(zip(rows, attributes, strict=True))
    ]
    ids = [path.relative_to(folder).as_posix() for path in paths]
    products = [
        row.get("product") or row.get("product_id") or own
        for row, own in zip(rows, ids, strict=True)
    ]
    splits = [SPLITS.get(str(row.get("split") or "").lower(), "") for row in rows]
    digests = [file_digest(path, pieces=3) for path in paths]
    key = content_key([digests, captions, ids, products, attributes, splits])
    return PhotoSource(
        name, key, captions, ids, [str(p) for p in products], attributes, splits, paths=paths
    )


def _metadata(folder: Path) -> list[dict] | None:
    """Return the rows of metadata.jsonl or metadata.csv, None where there is neither."""
    if (folder / "metadata.jsonl").is_file():
        rows = _read_lines(folder / "metadata.jsonl")
    elif (folder / "metadata.csv").is_file():
        with open(folder / "metadata.csv", newline="", encoding="utf-8-sig") as file:
            try:
                rows = list(csv.DictReader(file))
            except (csv.Error, UnicodeDecodeError) as error:
                raise InputError(
                    f"{folder}/metadata.csv cannot be read ({error}); save it as UTF-8 CSV"
                ) from None
    else:
        return None
    if not rows or not all(row.get("file_name") for row in rows):
        raise InputError(
            f"{folder}: the metadata needs rows, each with a file_name and a caption or category"
        )
    return rows


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and path.is_file() and not path.name.startswith(".")


def _row_of_photo(folder: Path, path: Path) -> dict:
    """Return the row of a photo with a caption file beside it, or in a folder [SPLIT/]CATEGORY/."""
    row = {"file_name": path.relative_to(folder).as_posix()}
    if path.with_suffix(".txt").is_file():
        row["caption"] = (
            path.with_suffix(".txt").read_text(encoding="utf-8", errors="replace").strip()
        )
    elif path.parent != folder:
        row["category"] = path.parent.name
        row["split"] = path.parent.parent.name if path.parent.parent != folder else ""
    return row


def _check_captions(folder: Path, rows: list[dict]) -> None:
    if not rows:
        raise InputError(
            f"{folder} holds no images ({', '.join(IMAGE_ENDINGS)}), no G2.h5 and no pixels.h5; "
            "give another"
        )
    captioned = sum("caption" in row for row in rows)
    bare = [
        row["file_name"]
        for row in rows
        if not (row.get("caption") or (not captioned and row.get("category")))
    ]
    if bare:
        raise InputError(
            f"{folder}: {len(bare)} of {len(rows)} images have no caption, {bare[0]} the first; "
            "write a metadata.csv (file_name,caption), or a .txt beside each image"
        )


def _inside(folder: Path, row: dict, number: int) -> Path:
    path = folder / row["file_name"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{folder}: row {number} of the metadata names {row['file_name']}, outside the folder"
        )
    if not path.is_file():
        raise InputError(
            f"{folder}: row {number} of the metadata names {row['file_name']}, which is not there"
        )
    return path


def _attributes(row: dict) -> dict[str, str]:
    row = {"colour": row.get("color"), **{key: value for key, value in row.items() if value}}
    return {key: str(row[key]) for key in ATTRIBUTES if row.get(key)}


def _caption(folder: Path, row: dict, attributes: dict[str, str], number: int) -> str:
    caption = str(row.get("caption") or row.get("text") or "").strip()
    if not caption and "category" not in attributes:
        raise InputError(
            f"{folder}: row {number} ({row['file_name']}) has no caption, text or category; add one"
        )
    return caption or describe(attributes)


def describe(attributes: dict[str, str]) -> str:
    """Return a caption such as "a photo of a black dress"; colour and pattern where known."""
    category = attributes["category"]
    words = " ".join(filter(None, [attributes.get("colour"), attributes.get("pattern"), category]))
    plural = category.endswith("s") and not category.endswith("ss")
    article = "an " if words[0].lower() in "aeio" else "a "
    return f"a photo of {'' if plural or category in NO_ARTICLE else article}{words}"


class FlatsSource(Source):
    """Flats, drawn when read; flat i is a function of (seed, i) and of the words to choose from.

    `categories`, `colours`, `patterns`: words, None for all; `triples`: rows (category, colour,
    pattern) of which flat i is of row i modulo their number, instead of the words.
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
        name: str = "flats",
        size: int = 128,
    ):
        from tvhelpers.data import flats

        if count < 1:
            raise InputError(f"{name} is to have {count} flats; give 1 or more")
        words = {"categories": categories, "colours": colours, "patterns": patterns}
        words = {key: tuple(values) for key, values in words.items() if values}
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
        code = [
            file_digest(Path(flats.__file__).with_name(f"{part}.py"))
            for part in ("flats", "fabric", "garments")
        ]
        drawn = hashlib.sha256(probe.tobytes()).hexdigest()
        key = content_key([seed, size, words, triples, code, drawn, captions, attributes])
        super().__init__(name, key, captions, ids, ids, attributes, [""] * count)

    def _spec(self, index: int, words: dict, triples: list[tuple]):
        if triples:
            triple = triples[index % len(triples)]
            words = {
                key: (word,)
                for key, word in zip(("categories", "colours", "patterns"), triple, strict=True)
            }
        return self.flats.random_spec(self.seed, index, **words)

    def pixels(self, index: int) -> np.ndarray:
        return self.flats.render(self.specs[index], self.seed, index, self.size)


def _manifest_flats(name: str, params: dict) -> FlatsSource:
    from tvhelpers.data.flats import PATTERNS

    params = dict(params)
    without = params.pop("without_patterns", [])
    if without:
        params["patterns"] = [pattern for pattern in PATTERNS if pattern not in without]
    return FlatsSource(name=name, **params)


def split_by_product(product_ids: list[str], held_out: float, seed: int) -> np.ndarray:
    """Return bool (N,), True = held out: whole products, chosen by a hash of (seed, product).

    The share of items is as near to `held_out` (0..1) as the products allow; of two products or
    more, each side gets at least one.  The order of the rows does not matter.
    """
    if not 0 < held_out < 1:
        raise InputError(f"held_out is {held_out}; give a share between 0 and 1")
    products, rows = np.unique(np.asarray(product_ids, object).astype(str), return_inverse=True)
    sizes = np.bincount(rows, minlength=len(products))
    order = sorted(range(len(products)), key=lambda p: seed_for(seed, str(products[p])))
    held, taken, wanted = np.zeros(len(products), bool), 0, held_out * len(rows)
    for product in order:
        if taken + sizes[product] <= wanted:
            held[product] = True
            taken += sizes[product]
    rest = [product for product in order if not held[product]]
    if len(rest) > 1:
        smallest = min(rest, key=lambda product: sizes[product])
        held[smallest] = not held.any() or taken + sizes[smallest] / 2 < wanted
    return held[rows]


def write_split(path: Path, source: Source, held_out: float, seed: int) -> None:
    """Write, or add to, split.json: products held out at (held_out, seed), and the own split."""
    path = Path(path)
    now = {
        "source": source.name,
        "fingerprint": source.fingerprint,
        "own": source.splits,
        "by_product": {},
    }
    before = read_json(path) if path.exists() else now
    if before.get("fingerprint") == now["fingerprint"]:
        now["by_product"] = before["by_product"]
    held = split_by_product(source.product_ids, held_out, seed)
    products = sorted({p for p, out in zip(source.product_ids, held, strict=True) if out})
    now["by_product"][f"held_out={held_out:g} seed={seed}"] = products
    write_json(path, now)


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return pixels uint8 (size, size, 3), rescaled by Lanczos.

    They are first padded to a square with the median colour of the border.  Nothing is cut or
    distorted; pixels of that size already come back as they are.
    """
    height, width = pixels.shape[:2]
    if height != width:
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        side = max(height, width)
        square = np.empty((side, side, 3), np.uint8)
        square[:] = np.median(border, 0).astype(np.uint8)
        y, x = (side - height) // 2, (side - width) // 2
        square[y : y + height, x : x + width] = pixels
        pixels = square
    if pixels.shape[0] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.LANCZOS))
