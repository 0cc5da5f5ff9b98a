"""Drawn garments are a source."""

import numpy as np

from tests.helpers import refused
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.sources import open_source


def test_flats():
    source = open_source("flats")
    assert len(source) == 2_000
    assert not any(spec.is_new for spec in source.specs)
    assert source[7].pixels.shape == (128, 128, 3) and np.array_equal(
        source.pixels(7), source.pixels(7)
    )
    assert all(spec.is_new for spec in open_source("flats-new-season").specs)
    a, b = (FlatsSource(seed, 20, triples=[("dress", "red", "plain")]) for seed in (1, 2))
    assert all(row["category"] == "dress" and row["colour"] == "red" for row in a.attributes)
    assert a.fingerprint != b.fingerprint != source.fingerprint
    with refused("unknown-choice"):
        FlatsSource(1, 3, categories=["crown"])


def test_flats_of_a_shop():
    source = FlatsSource(5, 30, season="base", shop=True)
    assert all(spec.shade and not spec.is_new for spec in source.specs)
    assert (
        source.attributes[0] == source.specs[0].attributes() and "shade" not in source.attributes[0]
    )
    assert source.fingerprint != FlatsSource(5, 30, season="base").fingerprint
    with refused("given-twice"):
        FlatsSource(5, 30, shop=True, colours=["red"])


def test_parameters_that_there_are_not(own_row):
    own_row(kind="flats", params={"seed": 1, "number": 3})
    with refused("unknown-choice"):
        open_source("mine")
