"""Splits keep products whole, the share and their two sides; thinning keeps so many of a kind."""

import numpy as np
import pytest

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.config import TrainConfig
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import sampled, split_by_product, split_items, thin_by_attributes


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_split_keeps_products_whole_and_the_share(share):
    rng = np.random.default_rng(0)
    products = [f"p{p}" for p in (rng.zipf(1.5, 4_000) % 400)]  # a few large, many small
    held = split_by_product(products, share, 3)
    assert not {p for p, out in zip(products, held) if out} & {
        p for p, out in zip(products, held) if not out
    }
    assert abs(held.mean() - share) < 0.01
    order = rng.permutation(len(products))
    again = split_by_product([products[i] for i in order], share, 3)
    assert np.array_equal(again, held[order])
    assert not np.array_equal(split_by_product(products, share, 4), held)


def test_split_has_two_sides():
    for products in (["a", "b"], ["a"] * 99 + ["b"], ["b", "a", "a"]):
        for seed in range(8):
            assert set(split_by_product(products, 0.1, seed)) == {True, False}
    assert not split_by_product(["a", "a"], 0.5, 0).all()


def test_thinning_keeps_so_many_of_each_kind():
    triple = ("dress", "red", "plain")
    source = FlatsSource(3, 60, triples=[triple, ("skirt", "blue", "plain")])
    source.captions = ["a garment"] * 60
    source.attributes = [
        {"category": flats.random_spec(3, i, categories=(triple[0], "skirt")).category}
        for i in range(60)
    ]
    keep = thin_by_attributes(source, 5, seed=0)
    kept = [source.attributes[i]["category"] for i in np.flatnonzero(keep)]
    assert sorted(kept) == ["dress"] * 5 + ["skirt"] * 5
    assert not np.array_equal(keep, thin_by_attributes(source, 5, seed=1))
    with refused("out-of-range"):
        thin_by_attributes(source, 0, seed=0)


def test_at_most_so_many_items_of_a_kind_are_trained_on():
    source = open_source("flats")
    source.captions = ["a garment"] * len(source)
    source.attributes = [{"category": row["category"]} for row in source.attributes]
    config = TrainConfig(at_most=3, eval_items=4, held_out=0.2)
    items, validation = split_items(source, config)
    kinds = [source.attributes[i]["category"] for i in items]
    assert max(kinds.count(kind) for kind in kinds) == 3 and len(items) < 60
    whole, same = split_items(source, TrainConfig(eval_items=4, held_out=0.2))
    assert set(items) < set(whole) and np.array_equal(validation, same)


def test_both_sides_are_needed(photo_folder):
    source = open_source(photo_folder)
    source.splits = ["test"] * len(source)
    with refused("too-few-items"):
        split_items(source, TrainConfig())


def test_a_sample_is_random_and_of_all_products_and_categories():
    source = open_source("flats")
    size = len(source)
    source.product_ids = [f"p{i // 4}" for i in range(size)]  # four items each
    source.attributes = [
        {"category": "dress" if i < size * 3 // 4 else "coat"} for i in range(size)
    ]
    part = sampled(source, size // 5, seed=0)
    assert len(part) == size // 5 == len({*part.product_ids}) and part.numbers != [
        *range(len(part))
    ]
    kinds = [row["category"] for row in part.attributes]
    assert abs(kinds.count("coat") - len(part) / 4) <= 1
    assert part.numbers == sampled(source, size // 5, seed=0).numbers
    assert part.numbers != sampled(source, size // 5, seed=1).numbers
    more = sampled(source, size // 2, seed=0)
    assert set(part.numbers) < set(more.numbers) and len({*more.product_ids}) == size // 4
    assert sampled(source, 0, 0) is source is sampled(source, size, 0)
    config = TrainConfig(sample=size // 5, eval_items=size, held_out=0.2)
    sides, own = split_items(source, config), split_items(part, config)
    for side, numbers in zip(sides, own, strict=True):
        assert side.tolist() == [part.numbers[i] for i in numbers]
