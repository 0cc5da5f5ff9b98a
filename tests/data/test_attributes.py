"""Category and Attribute Prediction: every file's format, every way in which it can be wrong."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.data import attributes as module
from tvhelpers.data import list_files
from tvhelpers.data.attributes import read_coarse, read_fine
from tvhelpers.data.caption_files import write_captions
from tvhelpers.data.list_files import stream_attributes
from tvhelpers.data.sources import open_source

NAMES = [
    "img/Abstract_Chevron_Blouse/img_00000001.jpg",
    "img/Abstract_Chevron_Blouse/img_00000002.jpg",
    "img/There's_A_Will._Dress/img_00000001.jpg",
    "img/Striped_A-Line_Dress/img_00000001.jpg",
    "img/Striped_A-line_Dress/img_00000001.jpg",
]
ATTRIBUTES = [  # name, type; the first has spaces, the second is longer than its column
    ("abstract chevron print", 1), ("a very long name that fills all of the width of it", 5),
    ("striped", 1), ("chiffon", 2), ("maxi", 3), ("long sleeve", 4), ("v-neck", 4),
    ("sleeveless", 4), ("polka dot", 1), ("bow", 4), ("dot", 1),
]  # fmt: skip
VALUES = np.array([
    [1, -1, -1, 1, -1, 1, 1, -1, -1, -1, 0],
    [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
    [-1, 1, -1, -1, 1, 1, -1, 1, 1, 1, 1],
    [0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0],
    [-1, -1, 1, -1, -1, -1, -1, -1, -1, -1, 1],
])  # fmt: skip
LABELS = [3, 3, 41, 41, 50]
SPLITS = ["train", "val", "test", "train", "train"]
BOXES = [[5, 6, 25, 46], [0, 0, 30, 50], [2, 2, 300, 300], [0, 0, 10, 10], [0, 0, 10, 10]]


def table(path, header, rows, width=70):
    """Write a file of the benchmark: count, header, a first column padded with spaces."""
    lines = [f"{first:{width}} {rest}" for first, rest in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(len(rows)), header, *lines]) + "\n")


def cells(values):
    return " ".join(f"{value:2d}" for value in values)


def photos(root, names=NAMES):
    """Write images of 30 x 50 whose red is x and green is y."""
    x, y = np.meshgrid(np.arange(30), np.arange(50))
    pixels = np.stack([x * 8, y * 5, np.full_like(x, 99)], -1).astype(np.uint8)
    for name in names:
        path = root / "Img" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=95)
    return pixels


@pytest.fixture
def coarse(tmp_path):
    anno = tmp_path / "Anno_coarse"
    kinds = [(name.title(), 1 + (at > 19) + (at > 35)) for at, name in enumerate(module.CATEGORIES)]
    table(anno / "list_category_cloth.txt", "category_name  category_type", kinds, 15)
    table(anno / "list_category_img.txt", "image_name  category_label", zip_(NAMES, LABELS))
    table(anno / "list_attr_cloth.txt", "attribute_name  attribute_type", ATTRIBUTES, 30)
    rows = [(name, cells(row)) for name, row in zip(NAMES, VALUES)]
    table(anno / "list_attr_img.txt", "image_name  attribute_labels", rows)
    boxes = [" ".join(f"{side:03d}" for side in box) for box in BOXES]
    table(anno / "list_bbox.txt", "image_name  x_1  y_1  x_2  y_2", zip_(NAMES, boxes))
    partition = tmp_path / "Eval" / "list_eval_partition.txt"
    table(partition, "image_name  evaluation_status", zip_(NAMES, SPLITS))
    return tmp_path


def zip_(names, values):
    return list(zip(names, values, strict=True))


@pytest.fixture
def fine(tmp_path):
    anno = tmp_path / "Anno_fine"
    anno.mkdir()
    rows = {"train": [0, 1], "val": [2], "test": [3, 4]}
    values = np.zeros((5, 26), int)
    for row, some in enumerate(
        [(0, 9, 12, 13, 17), (4, 7, 10, 14), (6, 16, 21, 23), (4, 16, 18), ()]
    ):
        values[row, list(some)] = 1
    for split, some in rows.items():
        parts = {
            "": [NAMES[i] for i in some],
            "_attr": [" ".join(map(str, values[i])) + " " for i in some],
            "_cate": [str(LABELS[i]) for i in some],
            "_bbox": [" ".join(map(str, BOXES[i])) for i in some],
        }
        for part, lines in parts.items():
            (anno / f"{split}{part}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_coarse_labels(coarse):
    labels = read_coarse(coarse)
    assert labels.names == NAMES and labels.splits == SPLITS
    assert labels.categories == ["blouse", "blouse", "dress", "dress", "sundress"]
    assert labels.boxes.tolist() == BOXES
    assert labels.attribute_names == [name for name, _ in ATTRIBUTES]
    assert labels.attribute_types[:6] == ["texture", "style", "texture", "fabric", "shape", "part"]
    dense = np.zeros_like(VALUES)
    for row in range(len(labels)):
        dense[row, labels.of_row(row)] = 1
    assert np.array_equal(dense, VALUES == 1)


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_blocks_of_any_size_give_the_same_values(coarse, monkeypatch, block, ending):
    path = coarse / "Anno_coarse" / "list_attr_img.txt"
    text = path.read_text().replace(" 1", "   1 ", 3).rstrip("\n")
    path.write_bytes(text.replace("\n", ending).encode())
    monkeypatch.setattr(list_files, "BLOCK", block)
    names, values = zip(*stream_attributes(path, len(ATTRIBUTES)))
    assert [name for some in names for name in some] == NAMES
    assert np.array_equal(np.concatenate(values), VALUES) and values[0].dtype == np.int8


def test_rows_in_another_order_join_by_name(coarse):
    expected = read_coarse(coarse)
    for file in ("Anno_coarse/list_attr_img.txt", "Anno_coarse/list_bbox.txt",
                 "Eval/list_eval_partition.txt"):  # fmt: skip
        lines = (coarse / file).read_text().splitlines()
        (coarse / file).write_text("\n".join([*lines[:2], *lines[:1:-1]]) + "\n")
    labels = read_coarse(coarse)
    assert np.array_equal(labels.positives, expected.positives)
    assert np.array_equal(labels.starts, expected.starts)
    assert np.array_equal(labels.boxes, expected.boxes) and labels.splits == expected.splits


def test_fine_labels(fine):
    labels = read_fine(fine)
    assert labels.names == NAMES and labels.splits == ["train", "train", "val", "test", "test"]
    assert labels.words(0) == {
        "category": "blouse", "pattern": "floral", "sleeve": "sleeveless", "fabric": "denim",
        "neckline": "crew",
    }  # fmt: skip
    assert labels.words(1) == {
        "category": "blouse", "pattern": "pleated", "sleeve": "long", "length": "maxi",
        "neckline": "V-neck",
    }  # fmt: skip
    assert labels.words(2) == {"category": "dress", "pattern": "lattice"}  # faux, tight: no labels
    assert labels.words(4) == {"category": "sundress"}


def test_words(coarse):
    labels = read_coarse(coarse)
    first = {"category": "blouse", "fabric": "chiffon", "sleeve": "long", "neckline": "V-neck"}
    assert labels.words(0).items() >= first.items()
    assert labels.words(1) == {"category": "blouse"}
    third = labels.words(2)  # long and sleeveless at once: neither is said
    assert "sleeve" not in third and third["pattern"] == "polka-dot" and third["length"] == "maxi"
    assert labels.words(3) == {"category": "dress", "pattern": "striped", "sleeve": "sleeveless"}


def test_source(coarse, recwarn):
    pixels = photos(coarse, NAMES[:3])
    (coarse / "Img" / NAMES[1]).write_bytes((coarse / "Img" / NAMES[2]).read_bytes()[:500])
    with pytest.warns(UserWarning) as said:
        source = open_source(coarse)
    (only,) = said
    assert "3 of 5 images skipped (1 unreadable, 2 missing)" in str(only.message)
    assert f"such as {NAMES[1]}; 1 box cut at the border" in str(only.message)
    assert source.item_ids == [NAMES[0], NAMES[2]] and source.splits == ["train", "test"]
    assert source.product_ids == ["Abstract_Chevron_Blouse", "There's_A_Will._Dress"]
    assert source.captions[1] == "a photo of a polka-dot dress"
    for index, box in [(0, np.s_[6:46, 5:25]), (1, np.s_[2:50, 2:30])]:
        seen = source.pixels(index)
        assert seen.shape == pixels[box].shape and seen.dtype == np.uint8
        assert np.abs(seen.astype(int) - pixels[box]).mean() < 6
    assert source.mask(0) is None


@pytest.mark.parametrize(
    ("file", "line", "old", "new", "named"),
    [
        ("list_attr_img.txt", 1, "5", "6", "'6' rows"),
        ("list_attr_img.txt", 4, " -1", " -2", "holds '-2'"),
        ("list_attr_img.txt", 4, " -1", " +1", "holds '+1'"),
        ("list_attr_img.txt", 5, " -1", " - 1", "holds '-'"),
        ("list_attr_img.txt", 6, "  0", "  00", "holds '00'"),
        ("list_attr_img.txt", 7, " -1", "", "has 10 values"),
        ("list_attr_img.txt", 3, " -1", " -1 -1", "has 12 values"),
        ("list_attr_img.txt", 5, "img/", "img/x", "There's"),
        ("list_attr_cloth.txt", 3, " 1", " 6", "holds '6' instead of a whole number from 1 to 5"),
        (
            "list_category_img.txt",
            4,
            " 3",
            " 51",
            "holds '51' instead of a whole number from 1 to 50",
        ),
        ("list_category_img.txt", 4, " 3", "", "has 1 column instead of 2"),
        ("list_category_img.txt", 1, "5", "five", "'five' rows"),
        ("list_bbox.txt", 3, "025", "x", "holds 'x'"),
        ("list_bbox.txt", 3, "025", "005", "(5, 6, 5, 46), a box without"),
        ("list_bbox.txt", 5, "002 002 ", "", "has 3 columns instead of 5"),
        ("../Eval/list_eval_partition.txt", 6, "train", "rest", "holds 'rest'"),
    ],
)
def test_damaged_coarse_labels(coarse, file, line, old, new, named):
    path = coarse / "Anno_coarse" / file
    lines = path.read_text().split("\n")
    changed = new.join(lines[line - 1].rsplit(old, 1))
    assert changed != lines[line - 1]
    lines[line - 1] = changed
    path.write_text("\n".join(lines))
    with refused("file-damaged", "file-differs") as caught:
        read_coarse(coarse)
    said = str(caught.value)
    assert f"line {line} " in said and named in said and path.name.split("_")[1] in said


def test_a_value_in_the_next_line_is_not_taken_for_the_right_number(coarse):
    path = coarse / "Anno_coarse" / "list_attr_img.txt"
    lines = path.read_text().split("\n")
    lines[2], lines[3] = lines[2].removesuffix("  0"), lines[3] + "  0"
    path.write_text("\n".join(lines))
    with refused("file-damaged") as caught:
        read_coarse(coarse)
    assert "line 3 " in str(caught.value) and "has 10 values" in str(caught.value)


def test_files_of_unequal_rows_or_missing(coarse, fine):
    path = coarse / "Anno_coarse" / "list_bbox.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["4", *lines[1:-1]]))
    with refused("file-differs") as caught:
        read_coarse(coarse)
    assert "4 rows" in str(caught.value) and "5" in str(caught.value)
    path.unlink()
    with refused("file-missing"):
        read_coarse(coarse)
    path.with_name("list_attr_img.txt").unlink()
    with refused("file-missing"):
        read_coarse(coarse)


@pytest.mark.parametrize(
    ("file", "text", "code", "named"),
    [
        ("test_cate.txt", "41\n0", "file-damaged", "line 2 "),
        ("val_cate.txt", "41\n41", "file-differs", "val_cate.txt' has 2 rows"),
        ("val_attr.txt", "1 " * 25, "file-damaged", "has 25 columns instead of 26"),
        ("val_attr.txt", "-1 " * 26, "file-damaged", "holds '-1'"),
        ("val_attr.txt", "1 " * 27, "file-damaged", "holds '1 1'"),
        ("val_bbox.txt", "1 2 3", "file-damaged", "has 3 columns instead of 4"),
    ],
)
def test_damaged_fine_labels(fine, file, text, code, named):
    (fine / "Anno_fine" / file).write_text(text)
    with refused(code) as caught:
        read_fine(fine)
    assert named in str(caught.value) and file in str(caught.value)


def test_coarse_where_there_are_both_fine_by_its_folder(coarse, fine, tmp_path):
    photos(coarse)
    with pytest.warns(UserWarning, match="1 box cut at the border"):
        assert len(open_source(coarse)) == 5
        only = open_source(coarse / "Anno_fine")
    assert only.captions[0] == "a photo of a floral blouse"
    assert only.splits == ["train", "train", "val", "test", "test"]
    write_captions(only, tmp_path / "new.jsonl")
    text = (tmp_path / "new.jsonl").read_text().splitlines()[0]
    assert "sleeveless" in text and "denim" in text and "a crew neck" in text


def test_no_image_left(coarse):
    with refused("file-missing"):
        open_source(coarse)
    (coarse / "Img" / "img").mkdir(parents=True)
    with refused("file-missing"):
        open_source(coarse)


@pytest.mark.parametrize("leads", ["up", "absolute", "link", "folder", "pipe"])
def test_names_that_lead_out_of_the_folder_are_not_followed(fine, leads):
    photos(fine)
    (fine / "secret.jpg").write_bytes((fine / "Img" / NAMES[0]).read_bytes())
    (fine / "Img" / "img" / "folder").symlink_to(fine)
    (fine / "Img" / "img" / "link.jpg").symlink_to(fine / "secret.jpg")
    os.mkfifo(fine / "Img" / "img" / "pipe.jpg")  # would block its reader
    name = {
        "up": "img/../../secret.jpg",
        "absolute": f"{fine}/secret.jpg",
        "link": "img/link.jpg",
        "folder": "img/folder/secret.jpg",
        "pipe": "img/pipe.jpg",
    }[leads]
    (fine / "Anno_fine" / "test.txt").write_text(f"{name}\nimg/{'a' * 300}.jpg\n")
    with pytest.warns(UserWarning, match=r"2 of 5 images skipped \(2 missing\)"):
        assert open_source(fine).item_ids == NAMES[:3]
