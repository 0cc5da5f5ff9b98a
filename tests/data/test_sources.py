"""Every kind of source gives the same kind of items; splits keep products whole."""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.cli import main
from tvhelpers.config import TrainConfig
from tvhelpers.data import sources
from tvhelpers.data.convert import convert
from tvhelpers.data.drawn import FlatsSource
from tvhelpers.data.example import write_g2
from tvhelpers.data.fashion_synthesis import encode, write_language
from tvhelpers.data.items import Source, file_digest
from tvhelpers.data.sources import open_source
from tvhelpers.files import content_key
from tvhelpers.image import read_photo, resize
from tvhelpers.train.trainer import train
from tvhelpers.words import describe


def noise(count, height=128, width=128, seed=0):
    shape = (count, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photos(folder, count=3, ending="png"):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = noise(count, 40, 30)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{i}.{ending}")
    return pixels


@pytest.fixture
def g2(tmp_path):
    pixels = noise(12)
    captions = [f"dress {i}" for i in range(12)]
    options = {"products": ["A", "B", "C"] * 4, "test_share": 0.25}
    write_g2(tmp_path / "set", pixels, captions, ["dress"] * 12, ["red"] * 12, **options)
    return tmp_path / "set", pixels


def test_g2_items(g2):
    folder, pixels = g2
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


def test_mat_of_another_length(g2):
    folder, _ = g2
    language = folder / "Anno" / "language_original.mat"
    write_language(language, encode(11, ["x"] * 11, ["tee"] * 11, [1] * 11))
    with refused("count-differs"):
        open_source(folder)
    language.unlink()
    with pytest.warns(UserWarning, match="captions are empty"):
        assert open_source(folder)[0].caption == ""


def test_fingerprint_follows_pixels_and_captions_not_the_place(g2, tmp_path):
    folder, pixels = g2
    before = open_source(folder).fingerprint
    folder = folder.rename(tmp_path / "moved")
    assert open_source(folder).fingerprint == before
    assert open_source(folder, decode="affine").fingerprint != before
    other = ["dress"] * 12, ["red"] * 12
    write_g2(tmp_path / "b", pixels, ["other"] * 12, *other, products=["A", "B", "C"] * 4)
    assert open_source(tmp_path / "b").fingerprint != before


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
    assert open_source(tmp_path / "a", bare=True).captions == [
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


@pytest.mark.parametrize(
    ("table", "code", "seen"),
    [
        ("file_name,caption\n", "no-rows", "metadata.csv"),
        ("name,caption\n0.png,x\n", "column-missing", "file_name"),
        ("file_name,caption\n9.png,x\n", "file-missing", "9.png"),
        (f"file_name,caption\n{'a' * 5000},x\n", "file-missing", "^.{,400}$"),
        ("file_name,caption\n../x.png,x\n", "outside-folder", "row 0 .*x.png"),
        ("file_name,caption\n0.png,\n", "no-caption", "row 0"),
        ("file_name,caption\n0.png,a, b\n", "ragged-row", "line 2"),
        ('file_name,caption\n0.png,"a\n1.png,b\n', "file-damaged", ""),  # one row, it would seem
        ("file_name,caption,caption\n0.png,a,b\n", "given-twice", "caption"),
        ("file_name,caption\n0.png,a\0b\n", "file-damaged", "zero bytes"),
        ("file_name,caption,split\n0.png,a,dev\n", "unknown-choice", r"row 0 \(0.png\) .*'dev'"),
        ("file_name,caption,weight\n0.png,a,-1\n", "out-of-range", "'-1'"),
    ],
)
def test_broken_tables(tmp_path, table, code, seen):
    pixels = photos(tmp_path / "in")
    Image.fromarray(pixels[0]).save(tmp_path / "x.png")
    (tmp_path / "in" / "metadata.csv").write_text(table)
    with refused(code) as caught:
        open_source(tmp_path / "in")
    assert re.search(seen, str(caught.value))


def test_photos_are_upright_rgb_on_white(tmp_path):
    red = np.zeros((4, 6, 3), np.uint8)
    red[:, :3, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(red).save(tmp_path / "turned.png", exif=exif)
    turned = read_photo(tmp_path / "turned.png")
    assert turned.shape == (6, 4, 3) and turned[0, 0, 0] == 255 and turned[-1, 0, 0] == 0
    Image.new("RGBA", (3, 3), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_photo(tmp_path / "clear.png") == 255).all()
    Image.fromarray(np.full((3, 3), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (read_photo(tmp_path / "deep.png") == 128).all()
    (tmp_path / "cut.png").write_bytes((tmp_path / "deep.png").read_bytes()[:40])
    with refused("not-an-image"):
        read_photo(tmp_path / "cut.png")


def test_nothing_to_open(tmp_path):
    for name, code in [
        (tmp_path / "none", "file-missing"),
        (tmp_path, "no-images"),
        ("sd15", "unknown-choice"),
        ("", "no-images"),
    ]:
        with refused(code):
            open_source(name)


def test_clothing_photos_by_their_name(shared, tmp_path, monkeypatch):
    (tmp_path / "clothing-small").symlink_to(shared / "data" / "clothing")
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path))
    source = open_source("clothing-small")
    assert source.name == "clothing-small" and len(source) > 3_000
    assert source[0].caption.startswith("a photo of a") and source[0].pixels.dtype == np.uint8


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


def test_converted_source_is_the_same_items(g2, tmp_path):
    folder, _ = g2
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
        with refused("missing-key") as caught:
            open_source(tmp_path / "out")
        assert f"row 0 has no {min(change)}" in str(caught.value)
    (tmp_path / "out" / "items.jsonl").write_text("\n".join(lines[:-1]))
    with refused("count-differs"):
        open_source(tmp_path / "out")


def test_resize_pads_and_never_distorts():
    wide = np.full((20, 60, 3), 200, np.uint8)
    wide[5:15, 25:35] = 0  # a black square
    small = resize(wide, 60)
    assert small.shape == (60, 60, 3) and (small[0] == 200).all()
    with refused("out-of-range"):
        resize(np.zeros((200_000, 1, 3), np.uint8), 60)
    rows, columns = np.nonzero(small[..., 0] < 100)
    assert np.ptp(rows) == np.ptp(columns) == 9
    assert resize(small, 60) is small
    assert resize(wide, 30).shape == (30, 30, 3)


def test_captions_from_words():
    assert describe({"category": "pants", "colour": "black"}) == "a photo of black pants"
    assert describe({"category": "dress", "colour": "olive"}) == "a photo of an olive dress"
    assert describe({"category": "outwear"}) == "a photo of outwear"


def test_tables_that_would_be_misread_are_refused(photo_folder, tmp_path):
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    table = folder / "metadata.csv"
    table.write_text("file_name,caption\n000.png,a red dress, striped\n")
    with refused("ragged-row"):
        open_source(folder)
    table.write_text("filename,caption\n000.png,a red dress\n")
    with refused("column-missing") as caught:
        open_source(folder)
    assert "filename, caption" in str(caught.value)
    table.write_text("file_name,caption,split\n000.png,a red dress,tests\n")
    with refused("unknown-choice"):
        open_source(folder)
    table.write_text('file_name,caption\n000.png,"a red dress, striped"\n')
    with pytest.warns(UserWarning, match="23 images are left out, 001.png the first"):
        assert open_source(folder).captions == ["a red dress, striped"]


def test_a_g2_file_in_the_current_folder_is_opened_by_its_bare_name(g2, monkeypatch):
    whole = open_source(g2[0])
    monkeypatch.chdir(Path(g2[0]) / "Img")
    assert open_source("G2.h5").captions == whole.captions


def test_a_pixel_changed_in_the_middle_changes_the_fingerprint(tmp_path):
    path = tmp_path / "pixels.bin"
    path.write_bytes(bytes(3_000_000))
    before = file_digest(path)
    with open(path, "rb+") as file:
        file.seek(1_111_111)
        file.write(b"x")
    assert file_digest(path) != before


def test_captions_made_from_labels_beside_a_title_are_said(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    rows = "file_name,title,category\na.png,a linen dress for summer,dress\n"
    (tmp_path / "metadata.csv").write_text(rows)
    with pytest.warns(UserWarning, match=r"1 of 1 items have no caption.*caption=title"):
        assert open_source(str(tmp_path)).captions == ["a photo of a dress"]


@dataclass
class PpmSource(Source):
    """Items of .ppm files."""

    paths: list = field(kw_only=True)

    def pixels(self, index):
        return np.asarray(Image.open(self.paths[index]))


def open_ppm(name, path, options):
    paths = sorted(path.glob("*.ppm"))
    captions = [one.stem.replace("-", " ") for one in paths]
    attributes = [{"category": caption.split()[-2]} for caption in captions]
    key = content_key([file_digest(one) for one in paths])
    ids = [one.name for one in paths]
    return PpmSource(name, key, captions, ids, ids, attributes, [""] * len(ids), paths=paths)


def test_a_reader_of_ones_own_is_one_line_in_the_registry(tmp_path, tiny_base, monkeypatch, capsys):
    ppm = sources.Reader("ppm", lambda path: any(path.glob("*.ppm")), open_ppm)
    monkeypatch.setattr(sources, "READERS", [ppm, *sources.READERS])
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    pixels = noise(8, 64, 64)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"a-red-dress-{i}.ppm")
    convert(folder, tmp_path / "out")
    again = open_source(tmp_path / "out")
    assert again.captions[3] == "a red dress 3" and np.array_equal(again.pixels(3), pixels[3])
    row = {"kind": "images", "licence": "mine", "obtain": "by hand", "reader": "ppm"}
    (tmp_path / "tv.yaml").write_text(json.dumps({"mine": row}))
    monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "tv.yaml"))
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "data"))
    assert open_source("mine").fingerprint == open_source(folder).fingerprint
    for verb in ("split", "coverage"):
        assert main(["data", verb, "mine"]) == 0
    assert main(["data", "captions", str(folder), "--out", str(tmp_path / "new.jsonl")]) == 0
    config = TrainConfig(base=str(tiny_base), data="mine", steps=2, batch_size=2, rank=2,
                         eval_items=2, eval_steps=0, device="cpu", held_out=0.3)  # fmt: skip
    assert train(config, tmp_path / "run")["num_items"] == 6
