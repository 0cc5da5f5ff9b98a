"""Array files as sources: the benchmark's, those with columns, converted ones."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.data.helpers import fashion_gen, noise, random_image
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.convert import convert
from tvhelpers.data.example import write_g2
from tvhelpers.data.fashion_synthesis import encode, write_language
from tvhelpers.data.sources import open_source


@pytest.fixture
def benchmark(tmp_path):
    pixels = noise(12)
    captions = [f"dress {i}" for i in range(12)]
    options = {"products": ["A", "B", "C"] * 4, "test_share": 0.25}
    write_g2(tmp_path / "set", pixels, captions, ["dress"] * 12, ["red"] * 12, **options)
    return tmp_path / "set", pixels


def test_g2_items(benchmark):
    folder, pixels = benchmark
    source = open_source(folder)
    item = source[4]
    assert len(source) == 12 and source.name == "set"
    assert np.array_equal(item.pixels, pixels[4]) and item.mask.shape == (128, 128)
    assert (item.caption, item.product_id) == ("dress 4", "B")
    assert item.item_id == "img/B/img_00000002.jpg"
    assert item.attributes == {"category": "dress", "colour": "red", "gender": "female"}
    assert source.splits.count("test") == 3
    assert [one.caption for one in source] == source.captions
    assert open_source(folder / "Img" / "G2.h5").fingerprint == source.fingerprint


def test_mat_of_another_length(benchmark):
    folder, _ = benchmark
    language = folder / "Anno" / "language_original.mat"
    write_language(language, encode(11, ["x"] * 11, ["tee"] * 11, [1] * 11))
    with refused("count-differs"):
        open_source(folder)
    language.unlink()
    with pytest.warns(UserWarning, match="captions are empty"):
        assert open_source(folder)[0].caption == ""


def test_fingerprint_follows_pixels_and_captions_not_the_place(benchmark, tmp_path):
    folder, pixels = benchmark
    before = open_source(folder).fingerprint
    folder = folder.rename(tmp_path / "moved")
    assert open_source(folder).fingerprint == before
    assert open_source(folder, decode="affine").fingerprint != before
    other = ["dress"] * 12, ["red"] * 12
    write_g2(tmp_path / "b", pixels, ["other"] * 12, *other, products=["A", "B", "C"] * 4)
    assert open_source(tmp_path / "b").fingerprint != before


def test_a_g2_file_in_the_current_folder_is_opened_by_its_bare_name(benchmark, monkeypatch):
    whole = open_source(benchmark[0])
    monkeypatch.chdir(Path(benchmark[0]) / "Img")
    assert open_source("G2.h5").captions == whole.captions


def test_converted_source_is_the_same_items(benchmark, tmp_path):
    folder, _ = benchmark
    convert(folder, tmp_path / "out")
    source, before = open_source(tmp_path / "out"), open_source(folder)
    for a, b in zip(source, before, strict=True):
        assert np.array_equal(a.pixels, b.pixels)
        assert (a.caption, a.attributes, a.item_id) == (b.caption, b.attributes, b.item_id)
        assert (a.product_id, a.split) == (b.product_id, b.split)
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    for change in ({"split": "dev"}, {"split": 3}, {"caption": None}, {"attributes": []}):
        rows = [json.dumps({**json.loads(line), **change}) for line in lines]
        (tmp_path / "out" / "items.jsonl").write_text("\n".join(rows))
        with refused("missing-key", "wrong-type") as caught:
            open_source(tmp_path / "out")
        assert repr(min(change)) in str(caught.value)
    (tmp_path / "out" / "items.jsonl").write_text("\n".join(lines[:-1]))
    with refused("count-differs"):
        open_source(tmp_path / "out")


def test_fashion_gen(place):
    folder = place("fashion-gen")
    fashion_gen(folder / "fashiongen_256_256_validation.h5", range(10, 13), "utf-8")
    with pytest.warns(UserWarning, match="has no fashiongen_256_256_train.h5"):
        assert open_source("fashion-gen").splits == ["val"] * 3
    fashion_gen(folder / "fashiongen_256_256_train.h5", range(4))
    source = open_source("fashion-gen")
    assert source.splits == ["train"] * 4 + ["val"] * 3
    assert source.captions == [f"Robe décolletée {i}." for i in [0, 1, 2, 3, 10, 11, 12]]
    assert source.product_ids == ["0", "0", "1", "1", "5", "5", "6"]
    assert source.attributes[5] == {"category": "DRESSES", "gender": "Women"}
    for index, number in enumerate([0, 1, 2, 3, 10, 11, 12]):
        assert np.array_equal(source[index].pixels, random_image(number, (256, 256)))
    code = cli.main(["data", "convert", "fashion-gen", "--out", str(folder / "out")])
    assert code == 0
    again = open_source(folder / "out")
    assert np.array_equal(again.pixels(6), source.pixels(6)) and again.captions == source.captions


def test_h5_columns_that_are_not_there(own_row, place):
    folder = place("mine")
    fashion_gen(folder / "a.h5", range(3))
    row = {"reader": "h5", "decode": "uint8", "table": "a.h5", "axes": "HWC"}
    own_row(**row, columns={"pixels": "input_image", "caption": "words"})
    with refused("column-missing") as caught:
        open_source("mine")
    assert "'input_category'" in str(caught.value)
    own_row(**row, columns={"caption": "input_name"})
    with refused("missing-key"):
        open_source("mine")
    own_row(**row, columns={"pixels": "index", "caption": "input_name"})
    with refused("no-images") as caught:
        open_source("mine")
    assert "'index'" in str(caught.value)


@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_what_else_an_array_file_holds_is_said(tmp_path, ending):
    path, pixels = tmp_path / f"two.{ending}", noise(6)
    texts = [f"a dress {number}" for number in range(4)]
    arrays = {"x_train": pixels[:4], "x_test": pixels[4:], "title": np.array(texts, "S")}
    arrays["data"] = np.array([b"\x89PNG\r\n\x1a\n\0\xff" + bytes([i + 1]) for i in range(4)])
    if ending == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, data in arrays.items():
                file[name] = data
    axes = {"axes": "HWC", "channels": "RGB", "decode": "uint8"}
    with pytest.warns(UserWarning) as caught:
        source = open_source(path, **axes)
    said = " ".join(str(one.message) for one in caught)
    assert "--columns pixels=x_test" in said and "pixels=x_train,caption=title" in said
    assert len(source) == 4 and set(source.captions) == {""}
    with pytest.warns(UserWarning, match="all captions are empty; put Anno"):
        other = open_source(path, {"pixels": "x_test"}, **axes)
    assert np.array_equal(other.pixels(1), pixels[5])
    assert open_source(path, {"pixels": "x_train", "caption": "title"}, **axes).captions == texts
    with refused("wrong-type"):
        open_source(path, {"pixels": "x_train", "caption": "data"}, **axes)
