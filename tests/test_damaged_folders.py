"""Folders and images as people have them are read right (benchmarks/broken_inputs.py: more)."""

import numpy as np
import pytest

from tests.helpers import benchmark
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.image import read_photo


@pytest.fixture(scope="module")
def damage():
    """The modules that make folders and images."""
    return benchmark("damage_folders"), benchmark("damage_image_files")


def judge(mutation, seed, read, folder):
    """Hold that what a mutation writes is read as it says."""
    folder.mkdir()
    right = mutation(folder, np.random.default_rng(seed))
    try:
        found = read(folder)
    except InputError as error:
        assert right.only != "read", (mutation.__name__, seed, str(error))
        return
    assert right.only != "refused", (mutation.__name__, seed)
    right.check(found)


@pytest.mark.filterwarnings("ignore")
def test_folders_of_any_shape_are_read_right(damage, tmp_path):
    for seed, mutation in enumerate(damage[0].SHAPES):
        judge(mutation, seed, open_source, tmp_path / str(seed))


@pytest.mark.filterwarnings("ignore")
def test_images_of_any_kind_are_read_right(damage, tmp_path):
    def read(folder):
        return read_photo(next(folder.iterdir()))

    for seed, mutation in enumerate(damage[1].IMAGE_FILES[::3]):
        judge(mutation, seed, read, tmp_path / str(seed))


def test_a_wrong_result_is_found_out(damage, tmp_path):
    right = damage[0].SHAPES[0](tmp_path, np.random.default_rng(0))
    source = open_source(tmp_path)
    source.captions = source.captions[::-1]
    with pytest.raises(AssertionError, match=" for "):
        right.check(source)
    with pytest.raises(AssertionError, match="differ"):
        damage[1].shows(np.zeros((2, 2, 3)))(np.full((2, 2, 3), 9, np.uint8))
