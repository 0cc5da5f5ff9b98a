"""How is DeepFashion's Category and Attribute Prediction opened, with coarse or fine labels?

Coarse: list_*.txt with a count, a header and columns padded with spaces, 289,222 images x 1,000
attributes of 1, -1 or 0 (unknown).  Fine: files without a header, 26 attributes of 0 or 1.
Boxes are of the 300-pixel images of Img/img, not of the original photos.
"""

import hashlib
import io
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath

import numpy as np

from tvhelpers.data import list_files as lists
from tvhelpers.data.caption_parsing import stated_sleeve
from tvhelpers.data.items import Images, Source
from tvhelpers.data.lexicon import VOCABULARY
from tvhelpers.data.photos import key_of_colours, read_unchanged, state_of
from tvhelpers.errors import InputError
from tvhelpers.files import content_key, read_tables
from tvhelpers.image import open_image
from tvhelpers.paths import is_listed
from tvhelpers.words import counted, describe

_BOOK = read_tables(__file__, "deepfashion.yaml")["attribute_prediction"]
CATEGORIES: list[str] = _BOOK["categories"]
COARSE_TYPES: list[str] = _BOOK["coarse_types"]
FINE_ATTRIBUTES: dict[str, list[str]] = _BOOK["fine_attributes"]
FINE_WORDS: dict[str, str] = _BOOK["fine_words"]
SPLITS = ("train", "val", "test")
LENGTHS = ("maxi", "midi", "mini")
COARSE, FINE = "list_attr_img.txt", "train_attr.txt"  # each makes a folder one of its labels
PLACES = {COARSE: ("Anno_coarse", "Anno", "."), FINE: ("Anno_fine", ".")}


@dataclass(frozen=True)
class AttributeLabels:
    """The rows of one annotation folder.

    names: img/<Product_Folder>/img_00000001.jpg; categories: words; boxes: int (N, 4), left, top,
    right, bottom in pixels; splits: "train", "val" or "test"; the positive attributes of row i are
    positives[starts[i]:starts[i + 1]], indices into attribute_names and attribute_types.
    """

    names: list[str]
    categories: list[str]
    boxes: np.ndarray
    splits: list[str]
    starts: np.ndarray
    positives: np.ndarray
    attribute_names: list[str]
    attribute_types: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def of_row(self, row: int) -> np.ndarray:
        """Return the indices of the attributes that row `row` has."""
        return self.positives[self.starts[row] : self.starts[row + 1]]

    def words(self, row: int) -> dict[str, str]:
        """Return the labels of a row under our names: category, pattern, sleeve ....

        Of several values for one name the longest is taken; sleeves of two lengths are ignored.
        """
        found: dict[str, list[str]] = {"category": [self.categories[row]]}
        for at in self.of_row(row).tolist():
            for key, word in _label(self.attribute_names[at], self.attribute_types[at]):
                found.setdefault(key, []).append(word)
        if len(set(found.get("sleeve", ()))) > 1:
            del found["sleeve"]
        return {key: max(words, key=len) for key, words in found.items()}


@cache
def _label(name: str, kind: str) -> tuple[tuple[str, str], ...]:
    """Return the (name, value) of an attribute under our names; () where it has none."""
    if kind in FINE_ATTRIBUTES:
        word = FINE_WORDS.get(name, name.replace("_", " "))
        return ((kind, word),) if word and kind != "fit" else ()
    if kind == "shape" and name in LENGTHS:
        return (("length", name),)
    phrase = name.replace("-", " ")
    if arms := stated_sleeve(phrase):
        return (("sleeve", arms),)
    slot, wording = VOCABULARY.get(phrase, ("", ""))
    fits = {"texture": "pattern", "fabric": "fabric", "part": "neckline"}.get(kind)
    return ((slot, _bare(wording)),) if slot and slot == fits else ()


def _bare(wording: str) -> str:
    """Return "crew" for "a crew neck", as labels have it, and "bow at the neck" as it is."""
    wording = wording.removeprefix("a ")
    stem = wording.removesuffix(" neck").removesuffix(" neckline")
    return stem if f"{stem.lower()} neck" in VOCABULARY else wording


# ------------------------------------------------------------------------------------- the labels


def _find(folder: Path, file: str) -> Path | None:
    """Return the folder that has the label file COARSE or FINE: `folder` or one below it."""
    places = (Path(folder) / place for place in PLACES[file])
    return next((place for place in places if (place / file).is_file()), None)


def _annotations(folder: Path, file: str) -> Path:
    if place := _find(folder, file):
        return place
    raise InputError("file-missing.labels", folder=folder, name=f"{PLACES[file][0]}/{file}")


def read_coarse(folder: Path) -> AttributeLabels:
    """Return the coarse labels of a folder with Anno_coarse/ (or Anno/) and Eval/.

    Rows are in the order of list_category_img.txt.  Raises InputError with file and line for files
    that are missing or cut off, unequal rows, and values out of range.
    """
    anno = _annotations(folder, COARSE)
    kinds = [kind.lower() for kind, _ in lists.table_of(anno / "list_category_cloth.txt", 2)]
    first = anno / "list_category_img.txt"
    rows = lists.table_of(first, 2)
    labels = lists.integers_of(first, [label for _, label in rows], 1, len(kinds))
    names = [name for name, _ in rows]
    beside = anno / "list_eval_partition.txt"
    partition = beside if beside.is_file() else anno.parent / "Eval" / beside.name
    return AttributeLabels(
        names,
        [kinds[label - 1] for label in labels.tolist()],
        _coarse_boxes(anno / "list_bbox.txt", names, first),
        _coarse_splits(partition, names, first),
        *_coarse_attributes(anno, names, first),
    )


def _coarse_boxes(path: Path, names: list[str], first: Path) -> np.ndarray:
    rows = lists.table_of(path, 5)
    order = lists.order_of(path, [row[0] for row in rows], names, first)
    return lists.boxes_of(path, [row[1:] for row in rows])[order]


def _coarse_splits(path: Path, names: list[str], first: Path) -> list[str]:
    rows = lists.table_of(path, 2)
    for number, (_, split) in enumerate(rows, 3):
        if split not in SPLITS:
            raise InputError(
                "file-damaged.list-split", line=number, path=path, seen=split, known=SPLITS
            )
    order = lists.order_of(path, [name for name, _ in rows], names, first)
    return [rows[at][1] for at in order.tolist()]


def _coarse_attributes(anno: Path, names: list[str], first: Path) -> tuple:
    """Return starts, positives, attribute names and types."""
    path, seen = anno / COARSE, []
    attributes, types = _attribute_list(anno / "list_attr_cloth.txt", COARSE_TYPES)

    def blocks():
        for some, values in lists.stream_attributes(path, len(attributes)):
            seen.extend(some)
            yield values

    starts, positives = lists.sparse_rows(blocks())
    order = lists.order_of(path, seen, names, first)
    return *lists.reordered(starts, positives, order), attributes, types


def _attribute_list(path: Path, types: list[str]) -> tuple[list[str], list[str]]:
    rows = lists.table_of(path, 2)
    codes = lists.integers_of(path, [code for _, code in rows], 1, len(types))
    return [name for name, _ in rows], [types[code - 1] for code in codes.tolist()]


def read_fine(folder: Path) -> AttributeLabels:
    """Return the fine labels of a folder with Anno_fine/: train, then val, then test.

    The attributes are list_attr_cloth.txt's where that is there, else the benchmark's 26.  Raises
    InputError as `read_coarse`.
    """
    anno = _annotations(folder, FINE)
    if (anno / "list_attr_cloth.txt").is_file():
        attributes, types = _attribute_list(anno / "list_attr_cloth.txt", list(FINE_ATTRIBUTES))
    else:
        pairs = [(name, kind) for kind, some in FINE_ATTRIBUTES.items() for name in some]
        attributes, types = map(list, zip(*pairs, strict=True))
    parts = [_fine_split(anno, split, len(attributes)) for split in SPLITS]
    names, labels, boxes, values = zip(*parts, strict=True)
    return AttributeLabels(
        [name for some in names for name in some],
        [CATEGORIES[label - 1] for label in np.concatenate(labels).tolist()],
        np.concatenate(boxes),
        [split for split, some in zip(SPLITS, names, strict=True) for _ in some],
        *lists.sparse_rows(iter(values)),
        attributes,
        types,
    )


def _fine_split(anno: Path, split: str, width: int) -> tuple:
    """Return (names, category codes, boxes, values) of one split."""
    names = [line.strip() for line in lists.lines_of(anno / f"{split}.txt")]
    paths = [anno / f"{split}_{part}.txt" for part in ("cate", "bbox", "attr")]
    columns = []
    for path, count in zip(paths, (1, 4, width), strict=True):
        columns.append(lists.cells_of(path, lists.lines_of(path), count))
        if len(columns[-1]) != len(names):
            raise InputError(
                "file-differs.rows",
                path=path,
                count=len(columns[-1]),
                other=f"{split}.txt",
                needed=len(names),
            )
    labels = lists.integers_of(paths[0], columns[0], 1, len(CATEGORIES), 1)[:, 0]
    boxes = lists.boxes_of(paths[1], columns[1], 1)
    return names, labels, boxes, lists.integers_of(paths[2], columns[2], 0, 1, 1)


# -------------------------------------------------------------------------------------- the source


def is_attribute_prediction(path: Path) -> bool:
    """Return whether a folder is the benchmark's, or one of its Anno folders."""
    return any(_find(path, file) for file in PLACES)


def open_attribute_prediction(name: str, folder: Path, options: dict) -> Source:
    """Open the benchmark: its folder, with coarse labels where it has them, or an Anno folder.

    Pixels are cropped to the box; captions are made from the labels (`describe`); a product is a
    folder of images.  Images that are missing, unreadable or outside their box are skipped, boxes
    beyond their image clipped; one warning counts both.  Raises InputError where a label file is
    wrong, or every image is skipped.
    """
    folder = Path(folder)
    inside = any((folder / file).is_file() for file in PLACES)
    root = folder.resolve().parent if inside else folder
    labels = (read_coarse if _find(folder, COARSE) else read_fine)(folder)
    base = _image_folder(root)
    paths = [base / name.removeprefix("img/") for name in labels.names]
    kept, digest = _examine(root, base, paths, labels)
    ids = [labels.names[row] for row in kept]
    attributes = [labels.words(row) for row in kept]
    captions = [describe(words) for words in attributes]
    products = [PurePosixPath(one).parent.name or one for one in ids]
    splits = [labels.splits[row] for row in kept]
    boxes = labels.boxes[kept]
    columns = [captions, ids, products, attributes, splits]
    key = content_key([digest, boxes.tolist(), *columns])
    paths = [paths[row] for row in kept]
    states = [state_of(path) for path in paths]
    key = key_of_colours(key, root, zip(paths, paths))
    return Source(name, key, *columns, Images(len(kept), partial(_crop, paths, states, boxes)))


def _crop(paths: list[Path], states: list, boxes: np.ndarray, index: int) -> np.ndarray:
    left, top, right, bottom = boxes[index]
    pixels = read_unchanged(paths[index], states[index])
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _image_folder(root: Path) -> Path:
    """Return the folder that "img/" in the names stands for."""
    places = ("Img/img", "Img/img1", "img", "Img")
    found = next((root / place for place in places if (root / place).is_dir()), None)
    if found is None:
        raise InputError("file-missing.image-folder", folder=root)
    return found


def _examine(
    root: Path, base: Path, paths: list[Path], labels: AttributeLabels
) -> tuple[list[int], str]:
    """Return the rows whose image can be read, and a digest of their bytes; warn of the others."""
    problems, clipped, digest = {}, 0, hashlib.sha256()
    for row, (left, top, right, bottom) in enumerate(labels.boxes.tolist()):
        problem, (width, height) = _check_file(base, paths[row], digest)
        if problem or left >= width or top >= height:
            problems[row] = problem or "outside their box"
        else:
            clipped += right > width or bottom > height
    if len(problems) == len(paths):
        raise InputError("file-missing.images", path=paths[0])
    _warn(root, labels.names, problems, clipped)
    return [row for row in range(len(paths)) if row not in problems], digest.hexdigest()


def _check_file(base: Path, path: Path, digest) -> tuple[str, tuple[int, int]]:
    """Return the problem of an image file, "" for none, and its (width, height)."""
    try:
        data = path.read_bytes() if is_listed(base, path) else None
    except OSError:
        data = None
    if data is None:
        return "missing", (0, 0)
    try:
        with open_image(io.BytesIO(data), str(path)) as image:
            if b"\xff\xd9" not in data[-64:]:  # no JPEG, or one that may be cut off
                image.load()
            size = image.size
    except Exception:  # each of Pillow's readers has its own kinds for damaged files
        return "unreadable", (0, 0)
    digest.update(hashlib.sha256(data).digest())
    return "", size


def _warn(root: Path, names: list[str], problems: dict[int, str], clipped: int) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(problems.values()).items())
    first = next((names[row] for row in problems), "")
    text = f"{len(problems):,} of {counted(len(names), 'image')} skipped ({kinds}), such as {first}"
    parts = [text] if problems else []
    if clipped:
        parts.append(f"{counted(clipped, 'box', 'boxes')} cut at the border of the image")
    if parts:
        warnings.warn(f"{root}: {'; '.join(parts)}", stacklevel=4)
