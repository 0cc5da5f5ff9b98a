"""Photos of a user: which are used, what is said of the others, and what is written beside them."""

import csv
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.data.example import write_photos
from tvhelpers.data.intake import natural, take_in, unpack_photos
from tvhelpers.data.product_names import products_of
from tvhelpers.data.sources import open_source

pytestmark = pytest.mark.filterwarnings("ignore::tvhelpers.output.Skipped")


def put(folder, *names, size=96, first=0):
    """Write a flat of its own for each name."""
    for number, name in enumerate(names, first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = flats.render(flats.random_spec(3, number), 3, number, size)
        Image.fromarray(pixels).save(folder / name, "PNG")
    return folder


def is_read_back(intake):
    """Hold that the saved table opens with what the intake says."""
    source, used = open_source(intake.folder), [photo for photo in intake.photos if photo.use]
    assert source.item_ids == [photo.file_name for photo in used]
    assert source.captions == [photo.caption for photo in used]
    assert source.product_ids == [photo.product for photo in used]
    assert [row.get("category", "") for row in source.attributes] == [x.category for x in used]
    return source


def said(intake, name):
    return next(photo for photo in intake.photos if photo.file_name == name)


def test_the_table_reads_back_equal_and_bad_files_are_named(tmp_path):
    put(tmp_path, "IMG_10.png", "IMG_9.png", "dress/IMG_2.png", "blue-skirt.png")
    whole = (tmp_path / "IMG_9.png").read_bytes()
    bad = {
        "cut.png": (whole[:200], "cannot be read"),
        "text.jpg": (b"not a photo", "does not begin like an image"),
        "empty.jpg": (b"", "0 bytes"),
        "phone.heic": (b"\0\0\0\x18ftypheic", "HEIC is not read"),
        "inner.zip": (b"PK\x03\x04", "an archive"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    intake = take_in(tmp_path, word="coat", seen=lambda pixels: ("red", 0.5))
    assert [x.file_name for x in intake.photos] == sorted(
        ["IMG_10.png", "IMG_9.png", "dress/IMG_2.png", "blue-skirt.png"], key=natural
    )
    reasons = {one.file_name: one.why for one in intake.bad}
    assert reasons.keys() == bad.keys()
    assert all(bad[name][1] in why for name, why in reasons.items()), reasons
    drafts = {photo.file_name: photo.caption for photo in intake.photos if photo.drafted}
    assert drafts == {
        "IMG_9.png": "a photo of a red coat",
        "IMG_10.png": "a photo of a red coat",
        "dress/IMG_2.png": "a photo of a red dress",
        "blue-skirt.png": "a blue skirt",
    }
    intake.photos[0].caption = '"quilted"; a, b | c — ä\u2028x'
    intake.photos[1].caption = "line one\nline two"
    assert intake.save() == tmp_path / "metadata.csv"
    is_read_back(intake)
    with open(tmp_path / "photos_report.csv", encoding="utf-8-sig", newline="") as file:
        notes = {row["file_name"]: row for row in csv.DictReader(file)}
    assert {name for name, row in notes.items() if row["use"] == "bad"} == bad.keys()
    assert {path.name for path in tmp_path.iterdir()} >= bad.keys()  # nothing is deleted


def test_what_the_user_wrote_is_kept_in_every_run(tmp_path):
    put(tmp_path, *"abcdefg")
    own = (
        "file_name;text;product_id;colour;size\na;a cap;p1;red;S\nb;;p1;;M\ngone;a hat;p2;blue;L\n"
    )
    (tmp_path / "metadata.csv").write_text(own)
    (tmp_path / "b.txt").write_text("a long scarf")
    (tmp_path / "c.txt").write_bytes("une robe d'été".encode("latin-1"))
    first = take_in(tmp_path)
    drafted = "a photo of a garment"
    assert [said(first, name).caption for name in "abc"] == ["a cap", "a long scarf", drafted]
    assert [photo.drafted for photo in first.photos] == [False, False] + [True] * 5
    assert "not UTF-8" in said(first, "c").issues[0]
    assert [(one.file_name, one.caption) for one in first.bad] == [("gone", "a hat")]
    said(first, "d").caption, said(first, "d").drafted = "mine", False
    said(first, "e").use = said(first, "a").use = False
    said(first, "f").product = "p1"
    first.save()
    assert (tmp_path / "metadata.csv.bak").read_text() == own
    (tmp_path / "c.txt").write_text("une robe d'été", encoding="utf-8")
    second = take_in(tmp_path, word="coat")
    shown = {photo.file_name: (photo.caption, photo.use) for photo in second.photos}
    assert shown["a"] == ("a cap", False) and said(second, "a").more == {
        "colour": "red",
        "size": "S",
    }
    assert shown["b"] == ("a long scarf", True) and shown["d"] == ("mine", True)
    assert shown["c"] == ("une robe d'été", True)  # its file can be read now
    assert shown["e"] == ("a photo of a coat", False) and shown["g"] == ("a photo of a coat", True)
    assert said(second, "f").product == "p1" and not said(second, "d").drafted
    said(second, "a").use = True
    second.save()
    source = is_read_back(second)
    assert source.attributes[0] == {"colour": "red"}
    with open(tmp_path / "metadata.csv", encoding="utf-8", newline="") as file:
        assert [row["size"] for row in csv.DictReader(file)] == ["S", "M", "", "", "", ""]
    assert [path.name for path in tmp_path.glob("*.bak")] == ["metadata.csv.bak"]
    before = (tmp_path / "metadata.csv").read_bytes()
    take_in(tmp_path, word="coat").save()
    assert (tmp_path / "metadata.csv").read_bytes() == before


def test_a_jsonl_table_does_not_hide_the_new_one(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": ["a hat", "a hat"]}')
    intake = take_in(tmp_path)
    intake.save()
    assert is_read_back(intake).captions == ["a hat", "a photo of a garment"]
    assert (tmp_path / "metadata.jsonl.bak").is_file()


def test_a_table_that_cannot_be_read_is_not_replaced(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_bytes("file_name,caption\na.png,été\n".encode("latin-1"))
    with refused("file-damaged"):
        take_in(tmp_path)


def test_issues_name_what_to_look_at(tmp_path):
    intake = take_in(write_photos(tmp_path / "photos"), wanted=512, seen=lambda pixels: ("", 0.3))
    issues = {photo.file_name: "; ".join(photo.issues) for photo in intake.photos}
    assert issues["IMG_0003.jpg"] == "small: 96 x 96 pixels, and the training uses 512"
    assert "very dark" in issues["IMG_0006.jpg"]
    assert "nearly the same as IMG_0001.jpg" in issues["IMG_0009.jpg"]
    assert [one.file_name for one in intake.bad] == ["IMG_0010.jpg"]
    assert said(intake, "coat-1.jpg").product == said(intake, "coat-2.jpg").product == "coat"
    assert said(intake, "IMG_0009.jpg").product == said(intake, "IMG_0001.jpg").product
    assert max(said(intake, "IMG_0001.jpg").thumb.shape) == 96
    assert write_photos(intake.folder) == intake.folder  # a second call changes nothing


def test_what_is_so_of_all_photos_is_said_once(tmp_path):
    intake = take_in(put(tmp_path, "a.png", "b.png"), wanted=512)
    assert "the largest has 96 pixels" in intake.remark
    assert not any("small" in issue for photo in intake.photos for issue in photo.issues)
    put(tmp_path, "c.png", size=512)
    intake = take_in(tmp_path, wanted=512)
    assert not intake.remark and ["small" in str(photo.issues) for photo in intake.photos] == [
        True,
        True,
        False,
    ]


@pytest.mark.filterwarnings("default::tvhelpers.output.Skipped")
def test_files_that_the_report_names_are_said_in_one_short_warning(tmp_path, recwarn):
    put(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "e.jpg").write_bytes(b"")
    intake = take_in(tmp_path)
    said(intake, "c.png").use = False
    intake.save()
    source = open_source(tmp_path)
    assert source.skipped == {"see photos_report.csv": ["c.png", "d.heic", "e.jpg"]}
    (warning,) = [str(one.message) for one in recwarn]
    assert warning.endswith("3 files skipped, such as 'c.png': see photos_report.csv")
    (tmp_path / "new.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert len(open_source(tmp_path).skipped) == 2


@pytest.mark.parametrize("content", ["", "file_name,use\na.png,no\n", "\0"])
def test_a_damaged_report_is_said_and_kept_aside(tmp_path, content):
    put(tmp_path, "a.png", "b.png")
    take_in(tmp_path).save()
    (tmp_path / "photos_report.csv").write_text(content)
    with pytest.warns(UserWarning, match="kept as photos_report.csv.bak"):
        intake = take_in(tmp_path)
    assert (tmp_path / "photos_report.csv.bak").read_text() == content
    assert len(intake.photos) == 2 and not any(photo.drafted for photo in intake.photos)
    intake.save()
    is_read_back(take_in(tmp_path))


def test_shapes_twins_and_an_empty_middle(tmp_path):
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (30, 20, 3), np.uint8)
        Image.fromarray(pixels if number else np.rot90(pixels)).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes((tmp_path / "1.png").read_bytes())
    intake = take_in(tmp_path, wanted=8, seen=lambda pixels: ("", 0.0))
    (lying,) = [x.file_name for x in intake.photos if any("on its side" in y for y in x.issues)]
    assert lying == "0.png"
    assert "the same photo as 1.png; untick one of the two" in intake.photos[5].issues
    assert all("no garment stands out in the middle" in photo.issues for photo in intake.photos)


def test_a_captioner_drafts_where_the_user_wrote_nothing(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.txt").write_text("mine")

    def captioner(source):
        assert source.item_ids == ["b.png", "c.png"] and source.pixels(0).shape == (96, 96, 3)
        return ["a man in a hat", ""]

    captions = [photo.caption for photo in take_in(tmp_path, captioner=captioner).photos]
    assert captions == ["mine", "a man in a hat", "a photo of a garment"]
    captions = [photo.caption for photo in take_in(tmp_path, captioner=lambda source: []).photos]
    assert captions == ["mine"] + ["a photo of a garment"] * 2


def test_what_cannot_be_saved_is_said(tmp_path):
    intake = take_in(put(tmp_path, "a.png"))
    intake.photos[0].caption = "  "
    with refused("no-caption"):
        intake.save()
    intake.photos[0].use = False
    with refused("no-images"):
        intake.save()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with refused("no-images"):
        take_in(tmp_path.joinpath("none"))
    (tmp_path / "a.png").write_bytes(b"")
    with refused("no-images"):
        take_in(tmp_path)


def test_zips_are_unpacked_once_and_refused_whole(tmp_path):
    def zipped(name, **content):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, data in content.items():
                archive.writestr(member.replace("__", "."), data)
        return tmp_path / name

    photo = (put(tmp_path / "x", "a.png") / "a.png").read_bytes()
    good, home = zipped("good.zip", a__png=photo), tmp_path / "data" / "mine"
    assert unpack_photos(good, home) == home == unpack_photos(good, home)
    other = zipped("other.zip", b__png=photo)
    assert unpack_photos(other, home).name == "mine-2" == unpack_photos(other, home).name
    for bad, code in (
        (zipped("none.zip", notes__docx="x"), "no-images"),
        (zipped("heic.zip", a__heic=b"\0\0\0\x18ftypheic"), "no-images"),
        (zipped("slip.zip", **{"../a__png": photo}), "unsafe-archive"),
    ):
        with refused(code):
            unpack_photos(bad, home)
    assert sorted(path.name for path in home.parent.iterdir()) == ["mine", "mine-2"]
    assert not (tmp_path / "data" / "a.png").exists()


def test_names_that_count_views_are_products_and_those_of_cameras_are_not():
    views = "coat-1.jpg coat-2.jpg A17_a.jpg A17_b.jpg x/40213_1.jpg x/40213_2.jpg".split()
    assert products_of(views) == ["coat", "coat", "A17", "A17", "x/40213", "x/40213"]
    spelled = ["red coat.jpg", "red_coat_back.jpg", "Red-Coat (2).jpg"]
    assert products_of(spelled) == ["red coat"] * 3
    none = """IMG_1234.jpg IMG_1235.jpg DSC_0001.jpg DSC_0002.jpg photo-1.png photo-2.png 1.jpg
    2.jpg 12-1.jpg 12-2.jpg 20240501_120000.jpg 20240501_120101.jpg alone-1.jpg""".split()
    assert products_of(none) == [""] * len(none)
    many = [f"dress-{number}.jpg" for number in range(9)]  # a collection
    assert products_of(many) == [""] * 9 and products_of(many[:8]) == ["dress"] * 8
