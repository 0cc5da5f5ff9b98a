"""Which items are held out: whole products, never single images."""

from __future__ import annotations

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.runtime import seed_for


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
