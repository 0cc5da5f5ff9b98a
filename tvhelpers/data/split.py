"""Which items are for training and which for validation?  Whole products, never single images."""

from collections import Counter
from dataclasses import replace

import numpy as np

from tvhelpers.config import TrainConfig
from tvhelpers.data.items import Source, Subset
from tvhelpers.errors import InputError
from tvhelpers.runtime import seed_for


def split_by_product(product_ids: list[str], validation_share: float, seed: int) -> np.ndarray:
    """Return bool (N,), True = validation: whole products, chosen by a hash of (seed, product).

    The share of items is as near to `validation_share` (0..1) as the products allow; of two
    products or more, each side gets at least one.  The order of the rows does not matter.
    """
    if not 0 < validation_share < 1:
        raise InputError("out-of-range.share", share=validation_share)
    products, rows = np.unique(np.asarray(product_ids, object).astype(str), return_inverse=True)
    sizes = np.bincount(rows, minlength=len(products))
    order = sorted(range(len(products)), key=lambda p: seed_for(seed, str(products[p])))
    held, taken, wanted = np.zeros(len(products), bool), 0, validation_share * len(rows)
    for product in order:
        if taken + sizes[product] <= wanted:
            held[product] = True
            taken += sizes[product]
    rest = [product for product in order if not held[product]]
    if len(rest) > 1:
        smallest = min(rest, key=lambda product: sizes[product])
        held[smallest] = not held.any() or taken + sizes[smallest] / 2 < wanted
    return held[rows]


def thin_by_attributes(source: Source, limit: int, seed: int) -> np.ndarray:
    """Return bool (N,), True = kept: at most `limit` items of equal attributes and caption.

    Which are kept is a function of (seed, item id).  Raises InputError for a limit below 1.
    """
    if limit < 1:
        raise InputError("out-of-range.thinning", limit=limit)
    order = sorted(range(len(source)), key=lambda i: seed_for(seed, "thin", source.item_ids[i]))
    keep, seen = np.zeros(len(source), bool), {}
    for index in order:
        row = (source.captions[index], *sorted(source.attributes[index].items()))
        seen[row] = seen.get(row, 0) + 1
        keep[index] = seen[row] <= limit
    return keep


def sampled(source: Source, count: int, seed: int) -> Source:
    """Return `count` random items of a source, in its order; the source itself if it has no more,
    or if `count` is 0.

    A second item of a product is taken only when each product has one, and so on; within that,
    categories keep their shares.  Which are taken is a function of (seed, item id).
    """
    if not 0 < count < len(source):
        return source
    order = sorted(range(len(source)), key=lambda i: seed_for(seed, "sample", source.item_ids[i]))
    turns = _numbered(order, source.product_ids)  # which item of its product each is
    strata = [(turns[i], row.get("category", "")) for i, row in enumerate(source.attributes)]
    places, sizes = _numbered(order, strata), Counter(strata)
    order.sort(key=lambda i: (turns[i], (places[i] + 0.5) / sizes[strata[i]]))  # a stable sort
    return Subset(source, sorted(order[:count]))


def _numbered(order: list[int], kinds: list) -> list[int]:
    """Return for each item how many of its kind stand before it in `order`."""
    seen, numbers = Counter(), [0] * len(kinds)
    for item in order:
        numbers[item] = seen[kinds[item]]
        seen[kinds[item]] += 1
    return numbers


def split_items(source: Source, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of (training items, validation items), each int, ascending.

    The first `config.limit` items, or a random `config.sample`, are split by product.  Items of the
    source's own test or val split are never trained on.  Of the validation items
    `config.eval_items` are taken at random.  Raises InputError where a side is empty.
    """
    part = sampled(source, config.sample, config.split_seed)
    if part is not source:
        sides = split_items(part, replace(config, sample=0))
        return tuple(np.array(part.numbers)[side] for side in sides)
    count = config.limit or len(source)
    held = split_by_product(source.product_ids[:count], config.held_out, config.split_seed)
    own = np.array([split in ("", "train") for split in source.splits[:count]])
    if config.at_most:
        own &= thin_by_attributes(source, config.at_most, config.split_seed)[:count]
    train_items, validation = np.flatnonzero(~held & own), np.flatnonzero(held)
    if not len(train_items) or not len(validation):
        train, held = len(train_items), len(validation)
        products = len({*source.product_ids[:count]})
        raise InputError(
            "too-few-items.split", name=source.name, products=products, train=train, held=held
        )
    order = sorted(validation, key=lambda item: seed_for(config.split_seed, source.item_ids[item]))
    return train_items, np.sort(order[: config.eval_items])
