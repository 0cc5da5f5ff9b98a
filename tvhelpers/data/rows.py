"""How do the rows of a table become captions, labels, products and splits of items?"""

import re
import warnings
from pathlib import Path

from tvhelpers.data.items import ATTRIBUTES
from tvhelpers.errors import Choice, InputError, in_words
from tvhelpers.runtime import seed_for
from tvhelpers.text import as_text
from tvhelpers.words import counted, describe

SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
TEXT = ("caption", "text")  # columns that may hold the caption
PLACE = ("place",)  # key of a row's (number, table), which no column of a file has
NUMBER = re.compile(r"\d+(\.\d*)?([eE][-+]?\d+)?")  # from 0 on


def item_columns(
    where: Path | str, rows: list[dict], ids: list[str], captions_optional: bool = False
) -> list[list]:
    """Return the columns of a source (`items.COLUMNS`) from rows under our names (`tables.OURS`).

    A row with no caption, text or category gets "a garment" where `captions_optional`; otherwise
    it raises InputError, as an unknown split and a weight that is no number of 0 or more do.
    """
    places = []
    for row, one in zip(rows, ids):
        number, table = row.get(PLACE, (len(places), where))
        places.append(f"row {number} ({in_words(one)}) of {in_words(table)}")
    attributes = [_attributes(row, place) for row, place in zip(rows, places)]
    own = [own_caption(*each) for each in zip(rows, places, ids)]
    captions = [
        caption or _caption_of_labels(*each, captions_optional)
        for caption, *each in zip(own, rows, attributes, places)
    ]
    if not captions_optional:
        _warn_of_labels(where, rows, own, captions)
    products = [row.get("product") or row.get("product_id") for row in rows]
    products = [as_text(*each, "product") for each in zip(products, places)]
    products = [product or item_id for product, item_id in zip(products, ids)]
    return [captions, ids, products, attributes, [_split(*each) for each in zip(rows, places)]]


def _attributes(row: dict, place: str) -> dict[str, str]:
    """Return the labels of a row and its weight (how often a training draws it), as text."""
    row = {"colour": row.get("color"), **{key: value for key, value in row.items() if value}}
    found = {key: as_text(row.get(key), place, key) for key in (*ATTRIBUTES, "weight")}
    weight = found["weight"]
    if weight and not NUMBER.fullmatch(weight):
        raise InputError("out-of-range.row-weight", where=place, value=weight)
    return {key: value for key, value in found.items() if value}


def own_caption(row: dict, place: str, item: str) -> str:
    """Return a row's caption, "" without one; of several, one by a hash of the item's id, the same
    in every run."""
    caption = row.get("caption") or row.get("text")
    if isinstance(caption, list):
        caption = [text for text in caption if as_text(text, place, "caption")] or [""]
        caption = caption[seed_for("caption", item) % len(caption)]
    return as_text(caption, place, "caption")


def _caption_of_labels(row: dict, attributes: dict, place: str, captions_optional: bool) -> str:
    """Return the caption of a row without one of its own."""
    if "category" in attributes:
        return describe(attributes)
    if not captions_optional:
        names = [key for key in row if key not in (*TEXT, "file_name", PLACE)]
        if names:
            raise InputError("no-caption.row", where=place, names=names)
        raise InputError("no-caption.empty", where=place)
    return "a garment"


def _split(row: dict, place: str) -> str:
    word = as_text(row.get("split"), place, "split").lower()
    if word and word not in SPLITS:
        choice = Choice(word, SPLITS)
        raise InputError("unknown-choice.split", where=place, value=word, choice=choice)
    return SPLITS.get(word, "")


def _has_words(cell) -> bool:
    return isinstance(cell, str) and " " in cell.strip()


def _warn_of_labels(where: Path | str, rows: list[dict], own: list, captions: list) -> None:
    """Warn of `captions` made from labels, as the rows' `own` are empty, where a column may hold
    better ones."""
    bare, taken = [i for i, text in enumerate(own) if not text], {*TEXT, *ATTRIBUTES, "color"}
    columns = {key for row in rows for key in row} - {*taken, "file_name", PLACE}
    longer = [
        key for key in sorted(columns) if any(map(_has_words, (row.get(key) for row in rows)))
    ]
    if bare and (any("caption" in row for row in rows) or longer):
        meant = [f"; if {key} is better, give --columns caption={key}" for key in longer[:1]]
        warnings.warn(
            f"{where}: {len(bare)} of {counted(len(rows), 'item')} without a caption: it is made "
            f"from the labels, such as {captions[bare[0]]!r}{''.join(meant)}",
            stacklevel=2,
        )
