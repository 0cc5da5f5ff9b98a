"""Parquet and Arrow: shards, cells of images, labels, and what is damaged."""

import json

import numpy as np
import pyarrow.parquet
import pytest

from tests.data.helpers import png, random_image, save
from tests.helpers import refused
from tvhelpers import text
from tvhelpers.data.arrow_tables import find_shards
from tvhelpers.data.sources import open_source
from tvhelpers.paths import walk


def write_parquet(path, rows):
    """Write rows, two in a group."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)


def test_parquet_with_images_in_its_cells(own_row, place):
    folder = place("mine")
    for part in range(2):
        rows = [
            {"image": {"bytes": png(i), "path": None}, "name": f"dress {i}", "id": float(i // 2)}
            for i in range(3 * part, 3 * part + 3)
        ]
        write_parquet(folder / f"train-{part}-of-2.parquet", rows)
    columns = {"pixels": "image", "caption": "a {name}", "product": "id"}
    own_row(reader="table", table="train-*.parquet", columns=columns)
    source = open_source("mine")
    assert source.captions == [f"a dress {i}" for i in range(6)]
    assert source.product_ids == ["0", "0", "1", "1", "2", "2"]
    assert all(np.array_equal(source.pixels(i), random_image(i)) for i in (5, 0, 2, 3, 1, 4))
    before = source.fingerprint
    rows[1]["image"]["bytes"] = png(9)  # the words are as they were
    write_parquet(folder / "train-1-of-2.parquet", rows)
    assert open_source("mine").fingerprint != before


def cells(count, first=0, **more):
    rows = [{"image": {"bytes": png(i), "path": None}} for i in range(first, first + count)]
    return [{**row, "text": f"a dress {i}", **more} for i, row in enumerate(rows, first)]


@pytest.mark.parametrize(
    ("files", "splits"),
    {
        "one file": (["train-00000-of-00001.parquet"], [""]),
        "shards": ([f"train-{i:05d}-of-00002.parquet" for i in range(2)], ["", ""]),
        "of the hub": (
            ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"],
            ["test", "train"],
        ),
        "converted by the hub": (
            ["default/train/0000.parquet", "default/validation/0000.parquet"],
            ["train", "val"],
        ),
        "named as splits": (["train.parquet", "valid.parquet"], ["train", "val"]),
    }.values(),
)
def test_a_folder_of_shards(tmp_path, files, splits):
    for number, name in enumerate(files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_parquet(tmp_path / name, cells(3, 3 * number))
    (tmp_path / "README.md").write_text("a data set")
    source = open_source(tmp_path)
    assert source.captions == [f"a dress {i}" for i in range(len(source))]
    assert source.splits == [split for split in splits for _ in range(3)]
    assert all(np.array_equal(source.pixels(i), random_image(i)) for i in range(len(source)))
    titled = open_source(tmp_path, columns={"caption": "{text}!"})
    assert titled.captions == [f"a dress {i}!" for i in range(len(source))]
    alone = open_source(tmp_path / files[0], columns={"images": "image"})
    assert alone.captions == source.captions[:3]


def test_missing_shards_are_counted(tmp_path):
    write_parquet(tmp_path / "train-00001-of-00004.parquet", cells(2))
    for path in (tmp_path, tmp_path / "train-00001-of-00004.parquet"):
        with pytest.warns(UserWarning) as said:
            assert len(open_source(path)) == 2
        assert "only 1 of 4 files named train-" in str(said[0].message) and len(said) == 1


def test_cells_of_images_that_cannot_be_taken(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, cells(1, image2={"bytes": png(1), "path": "x.png"}))
    with refused("ambiguous") as caught:
        open_source(path)
    assert "--columns pixels=image" in str(caught.value)
    assert np.array_equal(open_source(path, {"pixels": "image2"}).pixels(0), random_image(1))
    for columns in ({"caption": "image"}, {"caption": "a {image}"}):
        with refused("wrong-type"):
            open_source(path, {"pixels": "image2", **columns})
    with refused("column-missing"):
        open_source(path, {"pixels": "photo"})
    write_parquet(path, [{"text": "a dress", "name": "x"}])
    with refused("column-missing") as caught:
        open_source(path)
    assert "file_name" in str(caught.value)


@pytest.mark.parametrize("saved", ["parquet", "stream", "file"])
def test_names_of_labels_and_columns_that_nobody_reads(tmp_path, saved, monkeypatch):
    names = {"label": {"names": ["dress", "hat"], "_type": "ClassLabel"}}
    notes = {"info": {"features": {"photo": {"_type": "Image"}, **names}}}
    rows = [{"photo": {"bytes": png(i), "path": None}, "label": i % 2, "text": ["a", "b"][i],
             "unused": "x" * 1000} for i in range(2)]  # fmt: skip
    table = pyarrow.Table.from_pylist(rows)
    table = table.replace_schema_metadata({"huggingface": json.dumps(notes)})
    folder = tmp_path / "train"
    folder.mkdir()
    if saved == "parquet":
        pyarrow.parquet.write_table(table, folder / "data-00000-of-00001.parquet")
    else:
        new = pyarrow.ipc.new_stream if saved == "stream" else pyarrow.ipc.new_file
        with new(str(folder / "data-00000-of-00001.arrow"), table.schema) as out:
            out.write_table(table)
        (folder / "cache-1.arrow").write_bytes(b"damaged")
        (folder / "state.json").write_text("{}")
    source = open_source(tmp_path)
    assert source.captions == ["a", "b"] and source.splits == ["", ""]
    assert [row["category"] for row in source.attributes] == ["dress", "hat"]
    assert np.array_equal(source.pixels(1), random_image(1))
    made = open_source(tmp_path, {"caption": "a {label}"})
    assert made.captions == ["a dress", "a hat"]
    with refused("column-missing"):
        open_source(tmp_path, {"pixels": "photos"})
    monkeypatch.setattr(text, "MAX_BYTES", 1000)
    assert len(open_source(tmp_path)) == 2
    with refused("too-large"):
        open_source(tmp_path, {"caption": "unused"})


def test_shards_behind_a_link_out_of_the_folder_are_not_found(tmp_path):
    for folder in ("one/data", "two"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "one" / "data" / "train.parquet").write_bytes(b"PAR1")
    (tmp_path / "two" / "data").symlink_to(tmp_path / "one" / "data")
    one, two = (find_shards(tmp_path / name, walk(tmp_path / name)) for name in ("one", "two"))
    assert one == {"": ["data/train.parquet"]} and not two


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize("data", [b"", b"PAR1", b"ARROW1\0\0", b"x" * 100])
def test_damaged_shards(tmp_path, ending, data):
    (tmp_path / f"a.{ending}").write_bytes(data)
    for path in (tmp_path, tmp_path / f"a.{ending}"):
        with refused("file-damaged"):
            open_source(path)


@pytest.mark.parametrize("name", ["stock.xlsx", "stock.XLS", "stock.ods", "stock.numbers"])
def test_a_spreadsheet_is_refused_with_the_way(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    for path in (tmp_path / name, tmp_path):
        with refused("not-a-table") as caught:
            open_source(path, columns={"caption": "title"})
        assert "CSV UTF-8" in str(caught.value)
    with refused("no-images") as caught:
        open_source(tmp_path)
    assert "CSV UTF-8" in str(caught.value)
    (tmp_path / "stock.csv").write_text("file_name,title\n0.png,a\n", encoding="utf-8")
    save(tmp_path, "0.png")
    assert open_source(tmp_path, columns={"caption": "title"}).captions == ["a"]


def test_parquet_names_image_files_too(place, tmp_path):
    save(tmp_path, "a/0.png", "a/1.png")
    rows = [{"file": f"{i}.png", "caption": f"tee {i}"} for i in range(2)]
    write_parquet(tmp_path / "t.parquet", rows)
    source = open_source(tmp_path / "t.parquet", columns={"images": "a/{file}"})
    assert source.captions == ["tee 0", "tee 1"] and np.array_equal(
        source.pixels(1), random_image(1)
    )
