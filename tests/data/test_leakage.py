"""Leaks between the sides of a split are found, on real rows and real photos."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.data import fashion_synthesis as annotations
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.leakage import (
    format_leakage,
    leakage,
    merge_groups,
    near_duplicates,
    thumbnail,
    thumbnails,
)
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_by_product
from tvhelpers.image import read_photo


@pytest.fixture(scope="module")
def real_rows(shared):
    folder = shared / "data" / "deepfashion_annotations"
    if not (folder / "language_original.mat").is_file():
        pytest.skip("the benchmark's annotation files are not available")
    source = open_source(folder / "language_original.mat")
    return source, np.array(annotations.read_partition(folder / "ind.mat", len(source))) == "test"


def test_the_benchmarks_own_split_leaks_and_ours_does_not(real_rows):
    source, test_rows = real_rows
    own = leakage(source, test_rows)
    assert (own["products"]["shared"], own["products"]["different"]) == (3226, 3241)
    assert own["captions"]["items_share"] == pytest.approx(0.969, abs=0.001)
    ours = leakage(source, split_by_product(source.product_ids, 0.1, seed=0))
    assert ours["products"]["shared"] == 0 and ours["near_duplicates"] is None
    assert "3,226 of the 3,241" in format_leakage({"its own": own})


def test_the_same_photo_is_found_whatever_was_done_to_the_file(shared):
    paths = sorted((shared / "data" / "clothing" / "images").rglob("*.jpg"))[:600:6]
    photos = [read_photo(path) for path in paths]
    changed = []
    for i, pixels in enumerate(photos[:30]):
        image, file = Image.fromarray(pixels), io.BytesIO()
        small = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.LANCZOS)
        (image if i % 2 else small).save(file, "JPEG", quality=60)
        changed.append(np.asarray(Image.open(file)))
    thumbs = np.stack([thumbnail(pixels) for pixels in (*photos, *changed)])
    assert {tuple(pair) for pair in near_duplicates(thumbs).tolist()} == {
        (i, len(photos) + i) for i in range(30)
    }


def test_groups_join_products_and_duplicates():
    products = ["a", "a", "b", "c", "c", "d"]
    groups = merge_groups(products, np.array([[1, 2], [2, 3]]))
    assert groups == ["a", "a", "a", "a", "a", "d"]
    assert merge_groups(products, np.empty((0, 2))) == products
    held = split_by_product(merge_groups(products * 20, np.array([[0, 3]])), 0.4, seed=1)
    sides = {}
    for product, out in zip(products * 20, held, strict=True):
        sides.setdefault(product, set()).add(bool(out))
    assert all(len(side) == 1 for side in sides.values()) and sides["a"] == sides["c"]


def test_duplicates_across_the_sides_are_counted():
    source = FlatsSource(3, 20)
    thumbs = thumbnails(source)
    thumbs[15] = thumbs[4]
    pairs = near_duplicates(thumbs)
    assert [4, 15] in pairs.tolist()
    held = np.arange(20) >= 10
    assert leakage(source, held, pairs)["near_duplicates"] == sum(
        (i < 10) != (j < 10) for i, j in pairs.tolist()
    )
    with refused("too-few-items"):
        leakage(source, np.zeros(20, bool))
