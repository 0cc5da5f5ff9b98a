"""The Fashion Synthesis codebook and its .mat files.

The codes are explained nowhere in the release; this table was read off the captions and the product
folders' names (the category equals the folder's last word in every row).  Guesses that code 1 is
the T-shirt, black, or short-sleeved are common and wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data.mat import check_mat
from tvhelpers.files import atomic_path
from tvhelpers.runtime import seed_for

CATEGORIES = {
    1: "blazer", 2: "blouse", 3: "bomber", 4: "cardigan", 5: "henley", 6: "hoodie", 7: "jacket",
    8: "jersey", 9: "parka", 10: "poncho", 11: "sweater", 12: "tank", 13: "tee", 14: "top",
    15: "coat", 16: "dress", 17: "jumpsuit", 18: "kimono", 19: "romper",
}  # fmt: skip
COLOURS = {
    1: "red", 2: "blue", 3: "white", 4: "pink", 5: "orange", 6: "black", 7: "brown", 8: "green",
    9: "purple", 10: "yellow", 11: "khaki", 12: "gray", 13: "beige", 14: "blonde", 15: "silver",
    16: "olive", 17: "multicolour, other or not stated",
}  # fmt: skip
SLEEVES = {1: "long", 2: "short", 3: "sleeveless", 4: "not stated"}
GENDERS = {0: "female", 1: "male"}
UNSTATED_COLOURS = (14, 17)  # 14 is one mistranslated row
UNSTATED_SLEEVES = (4,)

SEGMENTS = (
    "background",
    "hat and hair",
    "sunglasses and face",
    "upper clothes and scarf",
    "skirt, pants, dress, belt and bag",  # the paper says pants, which hides the dresses
    "legs and shoes",
    "arms",
)
SEGMENT_REGIONS = (0, 1, 1, 2, 2, 1, 1)  # of each in `items.REGIONS`: background, skin, garment
LOWER_LABEL_CATEGORIES = (16, 17, 19)  # dress, jumpsuit, romper: labelled 4 rather than 3

# variable of language_original.mat -> its codebook
CODES = {"cate_new": CATEGORIES, "color_": COLOURS, "sleeve_": SLEEVES, "gender_": GENDERS}


@dataclass(frozen=True)
class Annotations:
    """The rows of language_original.mat, in the order of G2.h5; codes are int arrays (N,)."""

    captions: list[str]
    names: list[str]  # img/<Product_Folder>/img_00000001.jpg
    categories: np.ndarray
    colours: np.ndarray
    sleeves: np.ndarray
    genders: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def products(self) -> list[str]:
        """The product folder of each row, as spelled (two differ by case alone)."""
        return [PurePosixPath(name).parent.name or name for name in self.names]

    def attributes(self) -> list[dict[str, str]]:
        """Return the codes of each row as words; what a row does not state is left out."""
        codes = zip(self.categories, self.colours, self.sleeves, self.genders, strict=True)
        return [to_words(*map(int, row)) for row in codes]


def to_words(category: int, colour: int, sleeve: int, gender: int) -> dict[str, str]:
    """Return the attributes of one row as words, without those that are not stated."""
    words = {"category": CATEGORIES[category]}
    if colour not in UNSTATED_COLOURS:
        words["colour"] = COLOURS[colour]
    if sleeve not in UNSTATED_SLEEVES:
        words["sleeve"] = SLEEVES[sleeve]
    return {**words, "gender": GENDERS[gender]}


def read_language(path: Path) -> Annotations:
    """Return the annotations of a language_original.mat.

    Raises InputError for a file that cannot be read, columns that are missing or of unequal length,
    and codes outside the codebook.
    """
    columns = read_mat(path, ("engJ", "nameList", *CODES))
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            f"{path}: the columns are of unequal length ({lengths}); get the file anew"
        )
    codes = [_codes(path, name, columns[name], book) for name, book in CODES.items()]
    return Annotations(_texts(path, columns["engJ"]), _texts(path, columns["nameList"]), *codes)


def read_partition(path: Path, num_rows: int) -> list[str]:
    """Return "train" or "test" for each of `num_rows` rows, by an ind.mat (its indices are
    1-based).

    Raises InputError where the two sets overlap, leave a row out, or name one that does not exist.
    """
    columns = read_mat(path, ("train_ind", "test_ind"))
    rows = {name: _integers(path, name, column) for name, column in columns.items()}
    every = np.concatenate(list(rows.values()))
    if len(every) and not 1 <= every.min() <= every.max() <= num_rows:
        raise InputError(
            f"{path}: its indices go from {every.min()} to {every.max()}, but there are rows 1 to "
            f"{num_rows}; give the ind.mat of the same set"
        )
    if len(np.unique(every)) != len(every):
        raise InputError(
            f"{path}: a row is named twice in train_ind and test_ind; get the file anew"
        )
    if len(every) != num_rows:
        raise InputError(
            f"{path}: it names {len(every)} of {num_rows} rows; give the file of the same set"
        )
    splits = np.full(num_rows, "train", object)
    splits[rows["test_ind"] - 1] = "test"
    return splits.tolist()


def read_mat(path: Path, names: tuple[str, ...], ravel: bool = True) -> dict[str, np.ndarray]:
    """Return variables of a MATLAB file, each flattened to one axis where `ravel`.

    Raises InputError for a file that is missing, damaged, of version 7.3, or without a variable.
    """
    from scipy.io import loadmat

    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; put the benchmark's file there")
    try:
        check_mat(path, names)
        found = loadmat(path, variable_names=names)
    except Exception as error:  # a damaged .mat raises nearly anything, struct and zlib errors too
        raise InputError(f"{path} cannot be read as a MATLAB file ({error}); get it anew") from None
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{path} has no variable {missing[0]}; is it the right .mat file?")
    return {name: np.ravel(found[name]) if ravel else found[name] for name in names}


def _texts(path: Path, cells: np.ndarray) -> list[str]:
    """Return the strings of a cell array; each cell holds an array of no or one string."""
    if cells.dtype != object:
        raise InputError(f"{path}: a text column holds {cells.dtype}, not cells; get the file anew")
    texts = [str(cell.item()) if np.size(cell) == 1 else "" for cell in map(np.asarray, cells)]
    return [text.strip() for text in texts]


def _integers(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    values = (
        column.astype(np.int64)
        if column.dtype.kind in "iuf" and np.isfinite(column).all()
        else None
    )
    if values is None or (values != column).any():
        raise InputError(
            f"{path}: {name} holds something other than whole numbers; get the file anew"
        )
    return values


def _codes(path: Path, name: str, column: np.ndarray, book: dict[int, str]) -> np.ndarray:
    values = _integers(path, name, column)
    wrong = np.flatnonzero(~np.isin(values, list(book)))
    if len(wrong):
        raise InputError(
            f"{path}: {name} holds {values[wrong[0]]} in row {wrong[0]}, outside "
            f"{min(book)}..{max(book)}; "
            "get the file anew"
        )
    return values


def encode(
    count: int, captions, categories, colours, sleeves=None, genders=None, products=None
) -> dict:
    """Return the columns of language_original.mat for `count` rows; words become codes.

    Without sleeves they are not stated, without genders female, without products each row is its
    own. Raises InputError for a column of another length, or a word or code outside the codebook.
    """
    given = {"cate_new": categories, "color_": colours, "sleeve_": sleeves, "gender_": genders}
    default = {"sleeve_": 4, "gender_": 0}
    columns = {"engJ": list(captions)}
    for name, values in given.items():
        words = {word: code for code, word in CODES[name].items()}
        values = [default[name]] * count if values is None else list(values)
        columns[name] = np.array([words.get(value, value) for value in values], object)
        wrong = [value for value in columns[name] if value not in CODES[name]]
        if wrong:
            raise InputError(f"{name} has no {wrong[0]!r}; choose one of {', '.join(words)}")
    products = [f"Product_{i:06d}" for i in range(count)] if products is None else list(products)
    columns["nameList"] = _number_images(products)
    for name, values in columns.items():
        if len(values) != count:
            raise InputError(f"{name} has {len(values)} rows, but there are {count} captions")
    return columns


def _number_images(products: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    names = []
    for product in products:
        seen[product] = seen.get(product, 0) + 1
        names.append(f"img/{product}/img_{seen[product]:08d}.jpg")
    return names


def write_language(path: Path, columns: dict) -> None:
    """Write language_original.mat from the columns of `encode`, atomically."""
    kinds = {name: np.uint8 if name in CODES else object for name in columns}
    _write_mat(
        path, {name: np.array(values, kinds[name])[:, None] for name, values in columns.items()}
    )


def write_partition(path: Path, count: int, test_share: float, seed: int) -> None:
    """Write ind.mat: a random `test_share` of `count` rows is test, whatever their product."""
    order = (
        np.random.default_rng(seed_for(seed, "partition"))
        .permutation(count)[:, None]
        .astype(np.int32)
        + 1
    )
    cut = count - round(count * test_share)
    pairs = np.roll(order[cut:], 1)
    _write_mat(
        path, {"train_ind": order[:cut], "test_ind": order[cut:], "test_set_pair_ind": pairs}
    )


def _write_mat(path: Path, variables: dict) -> None:
    from scipy.io import savemat

    with atomic_path(path) as aside, open(aside, "wb") as file:
        savemat(file, variables)
