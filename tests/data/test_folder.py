"""Folders of photos, and where their captions come from."""

import json
import shutil
import unicodedata
import zipfile

import numpy as np
import pytest

from tests.data.helpers import converted, photos, png, random_image, save
from tests.helpers import refused
from tvhelpers import paths
from tvhelpers.data import photo_files
from tvhelpers.data.folder_words import words_of_name
from tvhelpers.data.sources import open_source

ROWS = "file_name,caption\na.jpg,a red hat\nb.jpg,a cap\n"
NFD = unicodedata.normalize("NFD", "Größe.jpg")
# {shape: ({file: its text, or None for an image}, {item: caption or its split}, {why: files})}
SHAPES = {
    "a table in each split": (
        {"train/a.jpg": 0, "train/b.jpg": 0, "val/a.jpg": 0, "val/metadata.csv": ROWS[:33],
         "train/metadata.csv": ROWS},
        {"train/a.jpg": "a red hat", "train/b.jpg": "a cap", "val/a.jpg": "a red hat"},
        {},
    ),
    "a table beside its photos": (
        {"images/a.jpg": 0, "images/b.jpg": 0, "images/Metadata.CSV": ROWS, "README.md": "of Ana"},
        {"images/a.jpg": "a red hat", "images/b.jpg": "a cap"},
        {},
    ),
    "a table above its photos": (
        {"images/a.jpg": 0, "images/b.jpg": 0, "metadata.csv": ROWS},
        {"images/a.jpg": "a red hat", "images/b.jpg": "a cap"},
        {},
    ),
    "a table that names its photos in another way": (
        {"Pics/a.JPG": 0, f"Pics/{NFD}": 0, "Pics/c.jpg": 0, "Pics/c.txt": "x",
         "metadata.csv": f"file_name,caption\npics\\A.jpg,a cap\nPics\\{NFD.upper()},a hat\n"},
        {"Pics/a.JPG": "a cap", f"Pics/{NFD}": "a hat", "Pics/c.jpg": "x"},
        {},
    ),
    "two tables": (
        {"a.jpg": 0, "metadata.csv": ROWS,
         "metadata.jsonl": '{"file_name":"a.jpg","text":"a cap"}'},
        {"a.jpg": "a cap"},
        {"metadata.jsonl is read instead": ["metadata.csv"]},
    ),
    "caption files of any name": (
        {"a.jpg": 0, "a.TXT": "a hat", "b.jpg": 0, "b.caption": "a cap", "c.jpg": 0,
         "c.jpg.txt": "a tie", "d": 0, "d.txt": "a bag", "e.jpeg": 0, "e.jpeg.caption": "a bow",
         "lost.txt": "a tee", "notes.docx": "x"},
        {"a.jpg": "a hat", "b.jpg": "a cap", "c.jpg": "a tie", "d": "a bag", "e.jpeg": "a bow"},
        {photo_files.NO_PHOTO: ["lost.txt"], photo_files.OTHER: ["notes.docx"]},
    ),
    "captions in a folder of their own": (
        {"images/train/a.jpg": 0, "labels/train/a.txt": "a hat", "val_images/a.png": 0,
         "captions/val/a.png.txt": "a cap", "images/train/b.jpg": 0,
         "text/train/b.caption": "a tie"},
        {"images/train/a.jpg": "a hat", "images/train/b.jpg": "a tie", "val_images/a.png": "a cap"},
        {},
    ),
    "boxes in place of captions": (
        {"images/hat/a.jpg": 0, "labels/hat/a.txt": "0 0.51 0.4 0.2 0.1\n3 0.1 0.2 0.5 1e-3\n"},
        {"images/hat/a.jpg": "a photo of a hat"},
        {photo_files.NO_PHOTO: ["labels/hat/a.txt"]},
    ),
    "class folders in splits and containers": (
        {"Train/hat/1.jpg": 0, "validation/images/hat/1.jpg": 0, "data/test2017/cap/512/1.jpg": 0,
         "tie/train/1.jpg": 0},
        {"Train/hat/1.jpg": "a photo of a hat", "validation/images/hat/1.jpg": "a photo of a hat",
         "data/test2017/cap/512/1.jpg": "a photo of a cap", "tie/train/1.jpg": "a photo of a tie"},
        {},
    ),
    "kohya's repeats": (
        {"img/10_dress/a.jpg": 0, "3_red hat/a.jpg": 0},
        {"img/10_dress/a.jpg": "a photo of a dress", "3_red hat/a.jpg": "a photo of a red hat"},
        {},
    ),
    "masks and small copies": (
        {"images/hat/1.jpg": 0, "masks/hat/1.png": 0, "thumbs/hat/1.jpg": 0, "masks/cap/2.png": 0},
        {"images/hat/1.jpg": "a photo of a hat", "masks/cap/2.png": "a photo of a cap"},
        {photo_files.SIDE_IMAGE: ["masks/hat/1.png"], paths.HIDDEN: ["thumbs/hat/1.jpg"]},
    ),
    "thumbnails and backups": (
        {"hat/1.jpg": 0, "hat/1.jpg~": 0, "hat/2.png_original": 0, "hat/3.jpg.bak": 0,
         "_thumbs/7.jpg": 0, "hat/Thumbnails/8.jpg": 0, "thumb.jpg/9.jpg": 0},
        {"hat/1.jpg": "a photo of a hat", "thumb.jpg/9.jpg": "a photo of a thumb.jpg"},
        {paths.HIDDEN: ["hat/1.jpg~", "hat/2.png_original", "hat/3.jpg.bak", "_thumbs/7.jpg",
                        "hat/Thumbnails/8.jpg"]},
    ),
    "folders of cameras, and of other languages": (
        {"DCIM/100CANON/hat/1.jpg": 0, "Meine Bilder/tie/1.jpg": 0, "cap/101_PANA/1.jpg": 0,
         "bow/Zdjęcia/1.jpg": 0, "10_VEST/202405_a/1.jpg": 0},
        {"DCIM/100CANON/hat/1.jpg": "a photo of a hat",
         "Meine Bilder/tie/1.jpg": "a photo of a tie",
         "cap/101_PANA/1.jpg": "a photo of a cap", "bow/Zdjęcia/1.jpg": "a photo of a bow",
         "10_VEST/202405_a/1.jpg": "a photo of a VEST"},
        {},
    ),
    "formats that are not read": (
        {"hat/1.jpg": 0, "hat/2.heic": "\0\0\0\x18ftypheic\0\0", "hat/3": "8BPS\0\1",
         "hat/4.zip": "PK",
         "hat/._1.jpg": "x", "__MACOSX/hat/._1.jpg": "x", "hat/Thumbs.db": "x", "hats.csv": "x"},
        {"hat/1.jpg": "a photo of a hat"},
        {"HEIC is not read; run: pip install pillow-heif, or save it as .jpg": ["hat/2.heic"],
         "PSD is not read; save it as .jpg or .png": ["hat/3"],
         photo_files.ARCHIVE: ["hat/4.zip"], photo_files.OTHER_TABLE: ["hats.csv"],
         paths.HIDDEN: ["hat/._1.jpg", "__MACOSX/hat/._1.jpg"]},
    ),
}  # fmt: skip


def make(folder, files):
    """Write {file: its text, or 0 for an image}."""
    for seed, (name, text) in enumerate(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode() if text else png(seed))
    return folder


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_folders_as_people_have_them(tmp_path, shape):
    files, captions, skipped = SHAPES[shape]
    source = open_source(make(tmp_path / "photos", files))
    assert dict(zip(source.item_ids, source.captions)) == captions
    assert {why: sorted(names) for why, names in source.skipped.items()} == {
        why: sorted(names) for why, names in skipped.items()
    }
    words = {"train": "train", "Train": "train", "val": "val", "validation": "val",
             "test2017": "test", "val_images": "val"}  # fmt: skip
    for item, split in zip(source.item_ids, source.splits):
        assert split == next((words[part] for part in item.split("/") if part in words), "")
    assert all(source.pixels(i).shape == (12, 16, 3) for i in range(len(source)))


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"train/1.jpg": 0, "test/2.jpg": 0}, "no-caption"),
        ({"images/1.jpg": 0, "01/2.jpg": 0, "DCIM/100/3.jpg": 0, "data/4.jpg": 0}, "no-caption"),
        ({"Fotos 2024/1.jpg": 0, "DCIM/100CANON/2.jpg": 0, "写真/Foto 3.jpg": 0}, "no-caption"),
        ({"thumbs/1.jpg": 0}, "no-images"),
        ({"images/1.jpg": 0, "train.csv": ROWS}, "no-caption"),
        ({"a.heic": "\0\0\0\x18ftypheic\0\0"}, "no-images"),
        ({"photos.zip": "PK"}, "no-images"),
        ({"train/a.jpg": 0, "train/metadata.csv": ROWS}, "file-missing"),
        ({"d/a.jpg": 0, "d/metadata.csv": ROWS.replace("b.jpg", "../../b.jpg")}, "outside-folder"),
        ({"a.jpg": 0, "a.txt": "caf\udce9"}, "file-damaged"),
    ],
)
def test_folders_that_cannot_be_read_right_are_refused(tmp_path, files, code):
    for name, text in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        data = text.encode("utf-8", "surrogateescape") if text else png(0)
        (tmp_path / "in" / name).write_bytes(data)
    save(tmp_path, "b.jpg")
    with refused(code) as caught:
        open_source(tmp_path / "in")
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 200


def test_folders_that_are_taken_as_categories_are_said_once(tmp_path, caplog):
    caplog.set_level("INFO", "tvhelpers")
    save(tmp_path, "hat/1.jpg", "hat/2.jpg", "Mützen/1.jpg")
    open_source(tmp_path)
    (message,) = caplog.messages
    assert "'Mützen', 'hat'" in message


def test_a_folder_mixes_a_table_caption_files_and_categories(tmp_path, caplog):
    save(
        tmp_path, "1.png", "2.png", "new/3.png", "coat/4.png", "coat/5.png", "masks/1.png", "6.png"
    )
    (tmp_path / "metadata.csv").write_text("file_name,caption\n1.png,a hat\n2.png,a cap\n")
    (tmp_path / "new" / "3.txt").write_text("a long scarf")
    (tmp_path / "photos_report.csv").write_text("file_name,use\ncoat/5.png,no\n")
    caplog.set_level("INFO", "tvhelpers")
    with pytest.warns(UserWarning, match="6.png"):
        source = open_source(tmp_path)
    assert dict(zip(source.item_ids, source.captions)) == {
        "1.png": "a hat", "2.png": "a cap", "coat/4.png": "a photo of a coat",
        "new/3.png": "a long scarf",
    }  # fmt: skip
    assert "2 photos that no table names" in caplog.text
    (tmp_path / "metadata.csv").unlink()
    for name in ("1", "2", "6"):
        (tmp_path / f"{name}.txt").write_text(f"number {name}")
    source = open_source(tmp_path)
    assert len(source) == 6 and source.captions[3] == "a photo of a coat"


def test_several_sources_are_one(tmp_path):
    for name in ("a/shop", "b/shop"):
        save(tmp_path / name, "dress/1.png", "dress/2.png")
    both = f"{tmp_path}/a/shop + {tmp_path}/b/shop + flats-new-season"
    source, flats = open_source(both), open_source("flats-new-season")
    assert len(source) == 4 + len(flats) and len({*source.item_ids}) == len(source)
    assert source.item_ids[:3] == ["shop-1/dress/1.png", "shop-1/dress/2.png", "shop-2/dress/1.png"]
    assert (source.pixels(4) == flats.pixels(0)).all() and source.pixels(0).shape[2] == 3
    assert source.fingerprint == open_source(both).fingerprint
    assert source.fingerprint != open_source(f"{tmp_path}/b/shop + {tmp_path}/a/shop").fingerprint
    with refused("file-missing"):
        open_source(f"{tmp_path}/a/shop + {tmp_path}/none")
    odd = tmp_path / "a + b"  # a folder of that name comes first
    save(odd, "hat/1.png")
    assert len(open_source(odd)) == 1


def test_a_caption_file_that_is_a_link_out_is_not_read(tmp_path):
    save(tmp_path / "in", "hat/1.jpg", "hat/2.jpg")
    (tmp_path / "secret").write_text("my password")
    (tmp_path / "in" / "hat" / "1.txt").symlink_to(tmp_path / "secret")
    with pytest.warns(UserWarning, match=r"1 file skipped: 'hat/1.txt': a link out of the folder"):
        source = open_source(tmp_path / "in")
    assert source.captions == ["a photo of a hat"] * 2


def test_an_archive_in_place_of_a_folder_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.writestr("hat/1.jpg", png(0))
    shutil.copy(tmp_path / "photos.zip", tmp_path / "photos")
    for name in ("photos.zip", "photos"):
        with refused("another-format"):
            open_source(tmp_path / name)


def test_a_cache_of_the_hub_opens_its_snapshot(tmp_path):
    cache = tmp_path / "datasets--ana--hats"
    make(cache, {"blobs/0a": 0, "blobs/0b": ROWS[:33], "refs/main": "f0"})
    (cache / "snapshots" / "f0").mkdir(parents=True)
    for name, blob in {"a.jpg": "0a", "metadata.csv": "0b"}.items():
        (cache / "snapshots" / "f0" / name).symlink_to(f"../../blobs/{blob}")
    for folder in (cache, cache / "snapshots" / "f0"):
        source = open_source(folder)
        assert source.captions == ["a red hat"]
        assert np.array_equal(source.pixels(0), random_image(0))


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({"1.jpg": 0}, "write metadata.csv"),
        ({"1.jpg": 0, "1.txt": "a hat", "2.jpg": 0}, "write metadata.csv"),
        ({"1.jpg": 0, "stock.csv": "x"}, "'stock.csv' has captions, name its columns"),
        ({"1.jpg": 0, "prices.xlsx": "x"}, "'prices.xlsx' has captions, save it as CSV"),
        ({"1.jpg": 0, "metadata.csv": "file_name,caption\n1.jpg,\n"}, "empty caption"),
        ({"1.jpg": 0, "metadata.csv": "file_name,title\n1.jpg,a hat\n"}, "COLUMN, one of 'title'"),
    ],
)
def test_where_captions_are_missing_the_next_step_is_said(tmp_path, files, advice):
    with refused("no-caption") as caught:
        open_source(make(tmp_path, files))
    assert advice in str(caught.value)


# ------------------------------------------------------------------------------------- bad images


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"decode": "nonsense"}, "unknown-choice"),
        ({"axes": "HW"}, "unknown-choice"),
        ({"channels": "CMYK"}, "unknown-choice"),
        ({"mean": "nothing.npy"}, "file-missing"),
        ({"columns": {"colours": "x"}}, "unknown-choice"),
    ],
)
def test_options_that_photos_ignore_are_checked(tmp_path, options, code):
    save(tmp_path, "hat/1.jpg")
    with refused(code):
        open_source(tmp_path, **options)


def test_a_data_set_with_columns_of_its_own_takes_no_others():
    with refused("given-twice"):
        open_source("flats", {"caption": "title"})


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
    save(tmp_path / "my photos", "IMG_0042.jpg", "3f9a7b2c-1d2e-beef.jpg")
    with refused("no-caption") as caught:
        open_source(tmp_path / "my photos")
    assert "2 names say nothing" in str(caught.value) and "'3f9a7b2c" in str(caught.value)


def test_ids_and_names_of_cameras_are_no_captions(tmp_path):
    ids = "3f9a1c2b 3f9a-bcde deadbeef e3b0c44298fc1c149afbf4c8996fb924 fbeadcab12_o abc123"
    cameras = "IMG_1234 DSC0001 P1000123 GOPR0001 MVI_0001 WhatsApp_Image_2023-01-01"
    for stem in (ids + " " + cameras).split():
        assert words_of_name(stem) == "", stem
    for stem in ("beaded-12", "faded 12", "red_dress_3f9a1c", "facade-2", "dress1"):
        assert words_of_name(stem), stem
    save(tmp_path, *(f"{stem}.jpg" for stem in ids.split()))
    with refused("no-caption"):
        open_source(tmp_path)
