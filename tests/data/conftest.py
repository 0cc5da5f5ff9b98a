"""What tests of the data share: a file in the benchmark's format, and its real captions."""

import numpy as np
import pytest

from tvhelpers import flats
from tvhelpers.data.example import write_g2
from tvhelpers.data.sources import open_source


@pytest.fixture(scope="session")
def real_captions(shared):
    """The 78,979 rows of the benchmark's language_original.mat, a source without images."""
    return open_source(shared / "data" / "deepfashion_annotations" / "language_original.mat")


@pytest.fixture(scope="session")
def pixels():
    """Flats, all different: uint8 (96, 128, 128, 3)."""
    return np.stack([flats.render(flats.random_spec(5, i), 5, i) for i in range(96)])


@pytest.fixture(scope="session")
def g2(pixels, tmp_path_factory):
    """Img/G2.h5 of `pixels`, as the benchmark has it."""
    folder, words = tmp_path_factory.mktemp("g2"), ["dress", "tee"] * 48
    return write_g2(folder, iter(pixels), ["a garment."] * 96, words, ["red"] * 96)
