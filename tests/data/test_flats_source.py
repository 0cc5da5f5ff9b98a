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


def test_parameters_that_there_are_not(own_row):
    own_row(kind="flats", params={"seed": 1, "number": 3})
    with refused("unknown-choice"):
        open_source("mine")
