"""What do the codes and the .mat files of the Fashion Synthesis benchmark mean?

language_original.mat: captions, product folders and codes of each row; ind.mat: its split.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tvhelpers.data.mat import read_mat
from tvhelpers.errors import Choice, InputError
from tvhelpers.files import atomic_path, read_tables
from tvhelpers.runtime import seed_for

_BOOK = read_tables(__file__, "deepfashion.yaml")["fashion_synthesis"]
CATEGORIES: dict[int, str] = _BOOK["categories"]
COLOURS: dict[int, str] = _BOOK["colours"]
SLEEVES: dict[int, str] = _BOOK["sleeves"]
GENDERS: dict[int, str] = _BOOK["genders"]
SEGMENTS: list[str] = _BOOK["segments"]  # of b_ in G2.h5
FLATS: dict[str, str] = _BOOK["flats"]  # {drawn garment: category}
UNSTATED_COLOURS = (14, 17)
UNSTATED_SLEEVES = (4,)
SEGMENT_REGIONS = (0, 1, 1, 2, 2, 1, 1)  # of each in `items.REGIONS`: background, skin, garment
LOWER_LABEL_CATEGORIES = (16, 17, 19)  # dress, jumpsuit, romper: segment 4, others 3

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
        """Return the stated codes of each row as words."""
        codes = zip(self.categories, self.colours, self.sleeves, self.genders, strict=True)
        return [to_words(*map(int, row)) for row in codes]


def to_words(category: int, colour: int, sleeve: int, gender: int) -> dict[str, str]:
    """Return the stated attributes of one row as words."""
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
    by_length = sorted((len(column), name) for name, column in columns.items())
    (short, first), (long, last) = by_length[0], by_length[-1]
    if short != long:
        shortest, longest = f"{first} {short}", f"{last} {long}"
        raise InputError("file-damaged.mat-columns", path=path, shortest=shortest, longest=longest)
    codes = [_codes(path, name, columns[name], book) for name, book in CODES.items()]
    return Annotations(_texts(path, columns["engJ"]), _texts(path, columns["nameList"]), *codes)


def read_partition(path: Path, num_rows: int) -> list[str]:
    """Return "train" or "test" for each of `num_rows` rows, from an ind.mat of 1-based indices.

    Raises InputError where the two sets overlap, miss a row, or have an index out of range.
    """
    columns = read_mat(path, ("train_ind", "test_ind"))
    rows = {name: _integers(path, name, column) for name, column in columns.items()}
    every = np.concatenate(list(rows.values()))
    low, high = (every.min(), every.max()) if len(every) else (1, num_rows)
    if not 1 <= low <= high <= num_rows:
        raise InputError("file-differs.indices", path=path, low=low, high=high, count=num_rows)
    if len(np.unique(every)) != len(every):
        raise InputError("file-damaged.mat-twice", path=path)
    if len(every) != num_rows:
        raise InputError("file-differs.partition", path=path, count=len(every), total=num_rows)
    splits = np.full(num_rows, "train", object)
    splits[rows["test_ind"] - 1] = "test"
    return splits.tolist()


def _texts(path: Path, cells: np.ndarray) -> list[str]:
    """Return the strings of a cell array; each cell holds an array of no or one string."""
    if cells.dtype != object:
        raise InputError("file-damaged.mat-text", path=path, seen=str(cells.dtype))
    texts = [str(cell.item()) if np.size(cell) == 1 else "" for cell in map(np.asarray, cells)]
    return [text.strip() for text in texts]


def _integers(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    is_finite = column.dtype.kind in "iuf" and np.isfinite(column).all()
    values = column.astype(np.int64) if is_finite else None
    if values is None or (values != column).any():
        raise InputError("file-damaged.mat-number", path=path, name=name)
    return values


def _codes(path: Path, name: str, column: np.ndarray, book: dict[int, str]) -> np.ndarray:
    values = _integers(path, name, column)
    wrong = np.flatnonzero(~np.isin(values, list(book)))
    if len(wrong):
        raise InputError(
            "file-damaged.mat-code",
            path=path,
            row=wrong[0],
            name=name,
            value=values[wrong[0]],
            low=min(book),
            high=max(book),
        )
    return values


# ------------------------------------------------------------------------------------- writing


def encode(
    count: int, captions, categories, colours, sleeves=None, genders=None, products=None
) -> dict:
    """Return the columns of language_original.mat for `count` rows; words become codes.

    Defaults: sleeves not stated, genders female, a product per row.  Raises InputError for a column
    of another length, and a word or code outside the codebook.
    """
    sleeves = [4] * count if sleeves is None else sleeves
    genders = [0] * count if genders is None else genders
    columns = {"engJ": list(captions)}
    for name, given in zip(CODES, (categories, colours, sleeves, genders), strict=True):
        words = {word: code for code, word in CODES[name].items()}
        columns[name] = np.array([words.get(value, value) for value in given], object)
        wrong = [value for value in columns[name] if value not in CODES[name]]
        if wrong:
            choice = Choice(wrong[0], words)
            raise InputError("unknown-choice.codebook", name=name, value=wrong[0], choice=choice)
    products = [f"Product_{i:06d}" for i in range(count)] if products is None else list(products)
    columns["nameList"] = _number_images(products)
    for name, values in columns.items():
        if len(values) != count:
            raise InputError("count-differs.column", name=name, given=len(values), count=count)
    return columns


def _number_images(products: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    names = []
    for product in products:
        seen[product] += 1
        names.append(f"img/{product}/img_{seen[product]:08d}.jpg")
    return names


def write_language(path: Path, columns: dict) -> None:
    """Write language_original.mat from the columns of `encode`, atomically."""
    kinds = {name: np.uint8 if name in CODES else object for name in columns}
    arrays = {name: np.array(values, kinds[name]) for name, values in columns.items()}
    _write_mat(path, arrays)


def write_partition(path: Path, count: int, test_share: float, seed: int) -> None:
    """Write ind.mat: a random `test_share` (0..1) of the rows is test, regardless of product."""
    order = np.random.default_rng(seed_for(seed, "partition")).permutation(count) + 1
    train, test = np.split(order.astype(np.int32), [count - round(count * test_share)])
    _write_mat(path, {"train_ind": train, "test_ind": test, "test_set_pair_ind": np.roll(test, 1)})


def _write_mat(path: Path, columns: dict) -> None:
    """Write arrays (N,) as variables (N, 1) of a MATLAB 5 file."""
    from scipy.io import savemat

    with atomic_path(path) as aside, open(aside, "wb") as file:
        savemat(file, {name: values[:, None] for name, values in columns.items()})
