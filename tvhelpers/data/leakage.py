"""What do training and validation items share: products, captions, near-duplicate images?"""

from collections.abc import Sequence

import numpy as np

from tvhelpers.data.items import Source
from tvhelpers.errors import InputError
from tvhelpers.output import escaped_lines
from tvhelpers.progress import progress_bar
from tvhelpers.words import counted

HASH_BITS = 6  # two photos of one scene differ in fewer of 64 bits
THUMB_LEVELS = 5  # and by less on average in their thumbnails; other garments, posed alike: 9
SIDE = 16
BLOCK = 1024  # rows of hashes that are compared with all others at once
LABELS = {
    "products": "products",
    "captions": "captions",
    "attribute_tuples": "combinations of attributes",
}
NORMAL = "shared captions and combinations are normal; only shared products must be 0"


def difference_hash(thumb: np.ndarray) -> np.uint64:
    """Return 64 bits: where a thumbnail uint8 (16, 16, 3) gets brighter to the right.

    Neighbouring means of 8 x 9 cells are compared (dHash, Krawetz 2013).
    """
    grey = thumb.astype(np.float32).mean(2)
    rows = grey.reshape(8, 2, SIDE).mean(1)
    places = np.linspace(0, SIDE - 1, 9)
    cells = np.stack([np.interp(places, np.arange(SIDE), row) for row in rows])
    bits = np.packbits(cells[:, 1:] > cells[:, :-1])
    return bits.view(np.uint64)[0]


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) averaged down to uint8 (16, 16, 3)."""
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def thumbnails(source: Source) -> np.ndarray:
    """Return the thumbnails uint8 (N, 16, 16, 3) of all items, read one by one."""
    thumbs = np.empty((len(source), SIDE, SIDE, 3), np.uint8)
    with progress_bar("thumbnails", len(source)) as bar:
        for index in range(len(source)):
            thumbs[index] = thumbnail(source.pixels(index))
            bar.update()
    return thumbs


def near_duplicates(thumbs: np.ndarray) -> np.ndarray:
    """Return the pairs int (P, 2), i < j, of images that are nearly the same.

    Their hashes differ in at most 6 bits of 64, their thumbnails by less than 5 levels on average:
    the same photo, compressed or scaled again.  All pairs are compared; 79,000 images take half a
    minute.
    """
    hashes = np.array([difference_hash(thumb) for thumb in thumbs], np.uint64)
    flat = thumbs.reshape(len(thumbs), -1).astype(np.int16)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(hashes), BLOCK):
        rows = hashes[start : start + BLOCK, None]
        bits = np.bitwise_count(rows ^ hashes[None, start:])
        i, j = np.nonzero(bits <= HASH_BITS)
        i, j = (i + start)[j > i], (j + start)[j > i]
        near = np.abs(flat[i] - flat[j]).mean(1) < THUMB_LEVELS
        found.append(np.stack([i[near], j[near]], 1))
    return np.concatenate(found)


def merge_groups(product_ids: Sequence[str], pairs: np.ndarray) -> list[str]:
    """Return a group an item: its product, joined with the products of its near-duplicates."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    names, products = np.unique(np.asarray(product_ids, object).astype(str), return_inverse=True)
    ends = products[np.asarray(pairs, np.int64).reshape(-1, 2)]
    links = coo_matrix((np.ones(len(ends)), ends.T), shape=(len(names), len(names)))
    _, groups = connected_components(links, directed=False)
    first = {group: names[i] for i, group in reversed(list(enumerate(groups)))}
    return [str(first[groups[product]]) for product in products]


def leakage(source: Source, validation: np.ndarray, pairs: np.ndarray | None = None) -> dict:
    """Return what the validation items, True in `validation` bool (N,), share with the others.

    {"items", "validation", "products", "captions", "attribute_tuples": each {"different",
    "shared", "items_share"} as in `_shared`, "near_duplicates": of `pairs` int (P, 2) those with
    one image on each side, None without}.  Raises InputError where a side is empty.
    """
    validation = np.asarray(validation, bool)
    if validation.shape != (len(source),) or validation.all() or not validation.any():
        name, count, held = source.name, len(source), int(validation.sum())
        raise InputError("too-few-items.sides", name=name, given=held, count=count)
    crossing = None if pairs is None else validation[pairs[:, 0]] != validation[pairs[:, 1]]
    tuples = [tuple(sorted(row.items())) for row in source.attributes]
    return {
        "items": len(source),
        "validation": int(validation.sum()),
        "products": _shared(source.product_ids, validation),
        "captions": _shared(source.captions, validation),
        "attribute_tuples": _shared(tuples, validation),
        "near_duplicates": None if crossing is None else int(crossing.sum()),
    }


def _shared(values: Sequence, validation: np.ndarray) -> dict[str, float]:
    """Return how many different values the validation items have, how many of them training items
    have too, and the share (0..1) of validation items with one of these."""
    rest = {value for value, out in zip(values, validation, strict=True) if not out}
    mine = [value for value, out in zip(values, validation, strict=True) if out]
    both = {value for value in mine if value in rest}
    share = sum(value in both for value in mine) / len(mine)
    return {"different": len(set(mine)), "shared": len(both), "items_share": round(share, 4)}


def format_leakage(reports: dict[str, dict]) -> str:
    """Return {name of a split: `leakage`} as text to read."""
    lines = []
    for name, row in reports.items():
        lines.append(f"{name}: {row['validation']:,} of {row['items']:,} items are for validation")
        for what in LABELS:
            one, count = row[what], row["validation"]
            about = "" if count < 10_000 else "about "  # `items_share` is rounded
            lines.append(
                f"  {one['shared']:,} of the {one['different']:,} {LABELS[what]} in validation "
                f"also occur in training; they cover {about}"
                f"{round(one['items_share'] * count):,} of the {count:,} validation items"
            )
        if row["near_duplicates"] is not None:
            pairs = counted(row["near_duplicates"], "pair")
            lines.append(f"  {pairs} of near-duplicate images with one image in each part")
    return escaped_lines([*lines, NORMAL])
