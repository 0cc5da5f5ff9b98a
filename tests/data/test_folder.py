"""Folders of photos, and where their captions come from."""

import json

import numpy as np

from tests.data.helpers import converted, photos, save
from tests.helpers import refused
from tvhelpers.data.sources import open_source


def test_photos_with_a_table(tmp_path):
    pixels = photos(tmp_path)
    rows = ["file_name,caption,category,color,split,product"]
    rows += ["0.png,a shirt I like,,,train,p", "1.png,,dress,orange,validation,p", "2.png,,tee,,,"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    source = open_source(tmp_path)
    assert source.captions == ["a shirt I like", "a photo of an orange dress", "a photo of a tee"]
    assert source.attributes[1] == {"category": "dress", "colour": "orange"}
    assert source.product_ids == ["p", "p", "2.png"]
    assert source.splits == ["train", "val", ""]
    assert np.array_equal(source.pixels(2), pixels[2]) and source.mask(2) is None
    lines = [json.dumps({"file_name": f"{i}.png", "text": f"text {i}"}) for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert open_source(tmp_path).captions == ["text 0", "text 1", "text 2"]


def test_photos_with_text_files_or_in_class_folders(tmp_path):
    photos(tmp_path / "a", ending="jpg")
    for i in range(3):
        (tmp_path / "a" / f"{i}.txt").write_text(f"caption {i}\n")
    assert open_source(tmp_path / "a").captions == ["caption 0", "caption 1", "caption 2"]
    (tmp_path / "a" / "1.txt").unlink()
    with refused("no-caption"):
        open_source(tmp_path / "a")
    assert open_source(tmp_path / "a", captions_optional=True).captions == [
        "caption 0",
        "a garment",
        "caption 2",
    ]
    photos(tmp_path / "b" / "train" / "shorts")
    photos(tmp_path / "b" / "test" / "hat")
    assert open_source(tmp_path / "b" / "train").splits == ["", "", ""]
    source = open_source(tmp_path / "b")
    assert source[0].caption == "a photo of a hat" and source[0].split == "test"
    assert source[5].caption == "a photo of shorts" and source[5].split == "train"


def test_a_folder_of_product_photos_in_one_command(tmp_path, capsys):
    names = [f"green bomber jacket {i}.jpg" for i in range(1, 5)]
    names += [f"V-neck_t-shirt_{i}.png" for i in range(8)]
    names += [f"red-dress-{i}.JPG" for i in range(7)] + ["linen-trousers (2).webp"]
    save(tmp_path / "my photos", *names)
    rows = converted(tmp_path, tmp_path / "my photos")
    assert len(rows) == 20
    assert (
        "captions are the names of the files, such as 'V-neck t-shirt'" in capsys.readouterr().err
    )
    said = {row["caption"] for row in rows}
    assert said == {"green bomber jacket", "V-neck t-shirt", "red dress", "linen trousers"}
    assert all(row["product"] == row["caption"] for row in rows)
    save(tmp_path / "my photos", "IMG_0042.jpg")
    with refused("no-caption"):
        open_source(tmp_path / "my photos")
