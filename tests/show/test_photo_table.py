"""The table of photos and the way into notebook 00, without a browser."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ipywidgets")

from tests.colab import colab  # noqa: F401  a fixture
from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.data.intake import take_in
from tvhelpers.data.sources import open_source
from tvhelpers.show import intake
from tvhelpers.show.photo_table import PAGE, PhotoTable, contact_sheet, short_name
from tvhelpers.show.settings import NotebookSettings

pytestmark = pytest.mark.filterwarnings("ignore::tvhelpers.output.Skipped")


def photo(number=0, size=96):
    out = io.BytesIO()
    pixels = flats.render(flats.random_spec(3, number), 3, number, size)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def taken(tmp_path):
    """An intake of 22 photos, the first with a name that is HTML."""
    folder = tmp_path / "photos"
    folder.mkdir()
    names = ["0<img onerror=x>.png", *(f"IMG_{number}.png" for number in range(1, 22))]
    for number, name in enumerate(names):
        (folder / name).write_bytes(photo(number, 512 if number == 21 else 96))
    (folder / "cut.png").write_bytes(photo()[:100])
    return take_in(folder)


def fields(table, row):
    """Return the caption, product, use and note of a row of the page."""
    caption, product, below = table.rows.children[row].children[1].children
    return caption, product, *below.children


def test_what_is_typed_ticked_and_saved_reaches_the_file(taken):
    table = PhotoTable(taken)
    assert len(table.rows.children) == PAGE and table.place.value == "photos 1 to 20 of 22"
    caption, product, _, note = fields(table, 1)
    assert "draft" in note.value and "Please look:" in note.value  # small: said in words
    caption.value, product.value = "a red dress", "dress 1"
    assert "draft" not in note.value and "not saved" in table.status.value
    fields(table, 2)[2].value = False
    table.on.click()
    assert table.on.disabled and not table.back.disabled and len(table.rows.children) == 2
    fields(table, 1)[0].value = "the last one"
    table.save_button.click()
    assert "Saved: 21 photos" in table.status.value
    source = open_source(taken.folder)
    assert len(source) == 21 and "IMG_2.png" not in source.item_ids
    by_item = dict(zip(source.item_ids, zip(source.captions, source.product_ids)))
    assert by_item["IMG_1.png"] == ("a red dress", "dress 1")
    assert by_item["IMG_21.png"][0] == "the last one"
    table.back.click()
    assert fields(table, 1)[0].value == "a red dress" and not fields(table, 2)[2].value


def test_the_status_says_what_is_wrong_and_names_are_escaped(taken):
    table = PhotoTable(taken)
    fields(table, 0)[0].value = " "
    table.save_button.click()
    assert "Not saved: 1 photo has no caption" in table.status.value
    assert not (taken.folder / "metadata.csv").exists()
    shown = table.rows.children[0].children[0].value
    assert "<img onerror" not in shown and "alt='0&lt;img onerror=x&gt;.png'" in shown


def test_one_page_has_no_buttons_to_turn_it_and_the_sheet_shows_all(taken):
    sheet = np.asarray(contact_sheet(taken))
    assert (
        sheet.shape == (3 * 138, 8 * 132, 3) and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 50
    )
    few = replace(taken, photos=taken.photos[:3])
    table = PhotoTable(few)
    assert table.on not in table.box.children[1].children
    assert short_name("a/IMG_1.png") == "IMG_1.png" and len(short_name("x" * 99)) == 19


def settings(root, place=None):
    return NotebookSettings("mini", "smoke", "", root, place)


def test_photos_are_found_by_folder_zip_or_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tv = settings(tmp_path / "work")
    example = intake.find_photos(tv)
    assert "drawn examples" in capsys.readouterr().out and intake.find_photos(tv) == example
    assert intake.find_photos(tv, str(example)) == example
    with zipfile.ZipFile("p.zip", "w") as archive:
        archive.writestr("a.png", photo())
    home = tmp_path / "work" / "data" / "mine"
    assert intake.find_photos(tv, "p.zip") == home == intake.find_photos(tv)
    assert intake.what_to_write(tv, home) == f'in notebook 04: DATA = "{home}"'
    for bad in ("no such folder", "/nope.zip"):
        with refused("file-missing"):
            intake.find_photos(tv, bad)
    with refused("bad-name"):
        intake.find_photos(tv, "", "../x")


def test_on_colab_an_upload_is_asked_for_once(tmp_path, monkeypatch, colab):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    tv = replace(settings(tmp_path / "drive", tmp_path / "content"), preset="cpu")
    assert intake.find_photos(tv).name == "example-photos"  # cancelled
    colab.uploads = [{"1.png": photo(1), "2.png": photo(2)}]
    home = intake.find_photos(tv)
    assert home == tv.root / "data" / "mine" and len(take_in(home).photos) == 2
    assert not (tmp_path / "1.png").exists()
    assert intake.find_photos(tv) == home and colab.calls.count(("upload",)) == 2
    assert intake.what_to_write(tv, home).endswith('DATA = "mine", and tick USE_DRIVE')
    assert "on this machine only" in intake.what_to_write(settings(tmp_path), home)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("coats/3.png", photo(3))
    colab.uploads = [{"p.zip": out.getvalue()}]
    (found,) = take_in(intake.find_photos(tv, name="other")).photos
    assert (found.file_name, found.category) == ("coats/3.png", "coats")


def test_a_drive_that_is_gone_is_said_and_changes_nothing(colab):  # noqa: F811
    folder = colab.drive_dir / "photos"
    folder.mkdir()
    colab.mount(colab.mountpoint)
    folder = colab.drive_dir / "photos"
    for number in range(3):
        (folder / f"{number}.png").write_bytes(photo(number))
    found = take_in(folder)
    found.save()
    before = (folder / "metadata.csv").read_bytes()

    def seen(pixels):
        colab.connected = False
        return "", 0.5

    with refused("folder-gone"):
        take_in(folder, seen=seen)
    found.photos[0].caption = "a hat"
    with refused("not-written"):
        found.save()
    colab.connected = True
    assert (folder / "metadata.csv").read_bytes() == before


def test_a_colour_is_certain_where_the_middle_agrees():
    white = np.full((128, 128, 3), 245, np.uint8)
    red = white.copy()
    red[20:110, 30:100] = (200, 20, 30)
    assert intake.certain_colour(red)[0] == "red" and intake.certain_colour(red)[1] > 0.8
    framed = red.copy()
    framed[45:85, 45:85] = (20, 40, 200)  # another colour in the middle
    assert intake.certain_colour(framed)[0] == ""
    assert intake.certain_colour(white) == ("", 0.0)


def test_the_plan_says_steps_minutes_and_a_gpu_without_training(tmp_path, capsys):
    tv = settings(tmp_path)
    folder = intake.find_photos(tv)
    found = intake.open_photos(tv, folder, "coat", "auto")
    assert "1 file not used:\n  IMG_0010.jpg: " in capsys.readouterr().out
    found.save()
    intake.plan(tv, folder)
    shown = capsys.readouterr()
    assert "no row of the table" not in shown.err
    for text in ("base mini, preset smoke", "12 images of 10 products", "minutes on this machine",
                 "preset t4", "200 steps of 16 images", "12 minutes on a T4"):  # fmt: skip
        assert text in shown.out
    assert not (tmp_path / "runs").exists()
