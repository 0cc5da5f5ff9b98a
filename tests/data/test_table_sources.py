"""Sources that need no code: tables, HDF5 and hub sets in the layouts of their documentation."""

import json
import sys
import types

import numpy as np
import pytest

from tests.data.helpers import converted, png, random_image, save
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.sources import open_source

STYLES = """id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,\
productDisplayName
15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Men Navy Blue Shirt
39386,Men,Apparel,Bottomwear,Jeans,Blue,Summer,2012,Casual,Peter England Men Party, Blue Jeans
59263,Women,Accessories,Watches,Watches,Silver,Winter,2016,Casual,Titan Women Silver Watch
21379,Men,Apparel,Bottomwear,Track Pants,Black,Fall,2011,Casual,\
"Manchester United, Black Track Pants"
"""


def test_fashion_product_images(place):
    folder = place("fashion-product-images")
    (folder / "styles.csv").write_text(STYLES)
    save(folder, "images/15970.jpg", "images/21379.jpg")
    with pytest.warns(UserWarning) as said:
        source = open_source("fashion-product-images")
    assert "1 line skipped" in str(said[0].message)
    assert "59263.jpg': the image of a row is missing" in str(said[1].message)
    assert source.captions == [
        "Turtle Check Men Navy Blue Shirt",
        "Manchester United, Black Track Pants",
    ]
    assert source.product_ids == ["15970", "21379"]
    assert source.attributes[0] == {"category": "Shirts", "colour": "Navy Blue", "gender": "Men"}
    assert np.array_equal(source.pixels(1), random_image(1))


def test_hm_keeps_the_leading_zero(place):
    folder = place("hm")
    header = "article_id,product_code,prod_name,product_type_name,graphical_appearance_name,"
    (folder / "articles.csv").write_text(
        f"{header}colour_group_name,detail_desc\n"
        "0108775015,0108775,Strap top,Vest top,Solid,Black,Jersey top with narrow straps.\n"
        "0108775044,0108775,Strap top,Vest top,Solid,White,\n"
    )
    save(folder, "images/010/0108775015.jpg", "images/010/0108775044.jpg")
    source = open_source("hm")
    assert source.product_ids == ["0108775"] * 2
    assert source.captions[0] == "Jersey top with narrow straps."
    assert source.captions[1] == "a photo of a White Solid Vest top"  # no description: its labels
    assert source.item_ids[1] == "images/010/0108775044.jpg"


def test_inshop_gives_every_image_of_an_item_its_description(place):
    folder = place("inshop")
    (folder / "Anno").mkdir()
    rows = [
        {"item": "id_00000001", "color": "Black", "description": ["A jacket.", "Zips."]},
        {"item": "id_00000001", "color": "Cream", "description": ["A jacket.", "Zips."]},
        {"item": "id_00000002", "color": "Red", "description": ["A dress."]},
    ]
    (folder / "Anno" / "list_description_inshop.json").write_text(json.dumps(rows))
    start = "Img/img/WOMEN"
    names = ["Jackets/id_00000001/01_1_front", "Jackets/id_00000001/02_1_front"]
    names += ["Dresses/id_00000002/01_4_full"]
    save(folder, *(f"{start}/{name}.jpg" for name in names))
    source = open_source("inshop")
    assert source.captions == ["A jacket. Zips."] * 2 + ["A dress."]
    assert source.product_ids == ["id_00000001"] * 2 + ["id_00000002"]


def test_one_image_of_two_products_is_refused(own_row, place):
    folder = place("mine")
    save(folder, "10.jpg")
    (folder / "t.csv").write_text("sku,caption\n1,a\n10,b\n")
    own_row(reader="table", table="t.csv", images="{sku}*.jpg", columns={"product": "sku"})
    with refused("ambiguous"):
        open_source("mine")


def test_missing_libraries_are_named(own_row, place, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet", "datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    (place("mine") / "a.parquet").write_bytes(b"PAR1")
    own_row(reader="table", table="a.parquet", columns={"caption": "x"})
    with refused("not-installed"):
        open_source("mine")
    with refused("not-installed"):
        open_source("fashion-product-images-small")


class FakeDataset:
    """datasets.Dataset as far as it is used; an image is bytes only after the cast."""

    def __init__(self, rows, decoded=True):
        self.rows, self.decoded, self.column_names = rows, decoded, list(rows[0])

    def cast_column(self, column, feature):
        assert column == "image" and feature.decode is False
        return FakeDataset(self.rows, decoded=False)

    def remove_columns(self, column):
        return [{key: row[key] for key in row if key != column} for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        assert not self.decoded
        return self.rows[index]


def test_a_hub_set_through_the_datasets_library(monkeypatch):
    rows = [
        {"id": 15970 + i, "gender": "Men", "articleType": "Shirts", "baseColour": "Navy Blue",
         "productDisplayName": f"Shirt {i}", "image": {"bytes": png(i), "path": None}}
        for i in range(3)
    ]  # fmt: skip
    asked = []

    def load_dataset(hub, revision):
        asked.append((hub, revision))
        return {"train": FakeDataset(rows)}

    fake = types.ModuleType("datasets")
    fake.load_dataset = load_dataset
    fake.Image = lambda decode: types.SimpleNamespace(decode=decode)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    source = open_source("fashion-product-images-small")
    assert asked == [("ashraq/fashion-product-images-small", None)]
    assert source.captions == ["Shirt 0", "Shirt 1", "Shirt 2"] and source.splits == [""] * 3
    assert source.product_ids == ["15970", "15971", "15972"]
    assert np.array_equal(source.pixels(2), random_image(2))
    asked.clear()
    columns = {"caption": "productDisplayName"}
    assert open_source("hub:nobody/set", columns).captions == source.captions
    assert asked == [("nobody/set", None)]
    with refused("file-missing") as caught:
        open_source("nobody/set")
    assert "hub:nobody/set" in str(caught.value)
    fake.load_dataset = lambda *args, **options: 1 / 0
    with refused("not-at-hand"):
        open_source("fashion-product-images-small")


def test_a_table_with_other_column_names_in_one_command(tmp_path):
    save(tmp_path / "shop", "pics/a-01.jpg", "pics/a-02.jpg")
    table = tmp_path / "shop" / "stock.csv"
    # as a spreadsheet in Europe saves it
    table.write_text(
        "sku;title;kind;sold\na-01;Blue tee;tee;12\na-02;Red; dress;0,5\n", "utf-8-sig"
    )
    columns = "images=pics/{sku}.jpg,caption=title,category=kind,product=sku"
    rows = converted(tmp_path, tmp_path / "shop", "--columns", columns)
    assert [row["caption"] for row in rows] == ["Blue tee", "Red"]
    assert rows[1]["attributes"] == {"category": "dress"} and rows[1]["product"] == "a-02"
    assert open_source(table, columns={"images": "pics/{sku}.jpg", "caption": "title"}).captions
    for code, seen, columns in (
        (
            "column-missing",
            "column 'name'",
            {"images": "pics/{sku}.jpg", "caption": "name"},
        ),
        ("column-missing", "column 'file_name'", {"caption": "title"}),
        ("file-missing", "pics/a-01.png", {"images": "pics/{sku}.png", "caption": "title"}),
        ("unknown-choice", "'kind'", {"images": "pics/{sku}.jpg", "kind": "title"}),
        ("no-caption", "row 0", {"images": "pics/{sku}.jpg"}),
        ("out-of-range", "'0,5'", {"images": "pics/{sku}.jpg", "caption": "sku", "weight": "sold"}),
    ):
        with refused(code) as caught:
            open_source(table, columns=columns)
        assert seen in str(caught.value)
    out = ["--out", str(tmp_path / "no"), "--columns", "caption"]
    assert cli.main(["data", "convert", str(table), *out]) == 2


def test_weights_and_splits_are_passed_on(own_row, place):
    folder = place("mine")
    save(folder, "0.png", "1.png")
    (folder / "a.tsv").write_text("name\tsold\n0\t12\n")
    (folder / "b.jsonl").write_text('{"name": 1, "sold": 2.5}\n')
    columns = {"caption": "tee {name}", "weight": "sold"}
    own_row(reader="table", table={"train": "a.tsv", "test": "b.jsonl"}, images="{name}.png",
            columns=columns)  # fmt: skip
    source = open_source("mine")
    assert source.splits == ["train", "test"] and source.captions == ["tee 0", "tee 1"]
    assert [row["weight"] for row in source.attributes] == ["12", "2.5"]


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "a" * 300 + ".png", "a\0b.png"])
def test_images_outside_the_folder_or_impossible(tmp_path, name):
    save(tmp_path, "x.png", "in/y.png")
    (tmp_path / "in" / "t.jsonl").write_text(json.dumps({"file_name": name, "caption": "a"}))
    with refused("outside-folder", "file-missing", "unusable-text"):
        open_source(tmp_path / "in" / "t.jsonl")
