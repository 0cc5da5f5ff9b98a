"""The codebook and the .mat files: real ones where present, small and broken ones everywhere."""

from collections import Counter

import numpy as np
import pytest
from scipy.io import savemat

from tests.helpers import refused
from tvhelpers.data import fashion_synthesis as codebook


def test_real_files(shared):
    real = shared / "data" / "deepfashion_annotations"
    notes = codebook.read_language(real / "language_original.mat")
    assert len(notes) == 78_979
    assert len(set(notes.captions)) == 4_004
    assert len(set(notes.products)) == 4_133
    words = notes.attributes()
    categories = Counter(row["category"] for row in words)
    assert (categories["dress"], categories["tee"], categories["bomber"]) == (23_209, 12_244, 142)
    colours = Counter(row.get("colour") for row in words)
    assert (colours["red"], colours["black"], colours[None]) == (2_907, 12_590, 25_927)
    assert Counter(row.get("sleeve") for row in words)[None] == 629
    assert Counter(row["gender"] for row in words)["male"] == 4_904
    # The codes against an independent witness: the product folder ends in the category.
    folders = [product.rsplit("_", 1)[-1].lower() for product in notes.products]
    agree = np.mean([row["category"] == word for row, word in zip(words, folders)])
    assert agree > 0.999
    splits = Counter(codebook.read_partition(real / "ind.mat", len(notes)))
    assert splits == {"train": 70_000, "test": 8_979}


def columns(**changes):
    return {**codebook.encode(4, list("abcd"), ["dress"] * 4, ["red"] * 4), **changes}


def test_round_trip_and_what_is_not_stated(tmp_path):
    path = tmp_path / "language_original.mat"
    given = codebook.encode(
        2,
        ["a red dress.", ""],
        ["dress", 13],
        [1, 17],
        [4, "short"],
        [0, "male"],
        ["A_Dress", "B_Tee"],
    )
    codebook.write_language(path, given)
    notes = codebook.read_language(path)
    assert notes.captions == ["a red dress.", ""]
    assert notes.names[1] == "img/B_Tee/img_00000001.jpg"
    assert notes.products == ["A_Dress", "B_Tee"]
    assert notes.attributes() == [
        {"category": "dress", "colour": "red", "gender": "female"},
        {"category": "tee", "sleeve": "short", "gender": "male"},
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"cate_new": [16, 16, 0, 16]}, "row 2 of 'cate_new'"),
        ({"gender_": [0, 1, 2, 0]}, "row 2 of 'gender_'"),
        ({"color_": [1, 1, 1]}, "'color_ 3'"),
    ],
)
def test_wrong_codes(tmp_path, changes, named):
    codebook.write_language(tmp_path / "l.mat", columns(**changes))
    with refused("file-damaged") as caught:
        codebook.read_language(tmp_path / "l.mat")
    assert named in str(caught.value)


def test_damaged_mat(tmp_path):
    path = tmp_path / "l.mat"
    with refused("file-missing"):
        codebook.read_language(path)
    codebook.write_language(path, columns())
    whole = path.read_bytes()
    for broken in (b"", b"text, no matrix" * 30, whole[: len(whole) // 2], whole[:200]):
        path.write_bytes(broken)
        with refused("file-damaged", "file-differs"):
            codebook.read_language(path)


@pytest.mark.parametrize(
    ("train", "test", "code"),
    [
        ([1, 2], [2, 3], "file-damaged"),  # a row twice
        ([1, 2], [3], "file-differs"),  # 3 of 4 rows
        ([0, 1, 2], [3], "file-differs"),  # 0-based
        ([1, 2, 3], [5], "file-differs"),
    ],
)
def test_wrong_partition(tmp_path, train, test, code):
    savemat(tmp_path / "ind.mat", {"train_ind": train, "test_ind": test})
    with refused(code):
        codebook.read_partition(tmp_path / "ind.mat", 4)
