"""The sheet of a job: its images in their places, their headings above and beside them."""

import numpy as np
import pytest
from PIL import Image

from tvhelpers.show.studio_folder import Entry
from tvhelpers.show.studio_stage import SHEET, Stage

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (250, 0, 250), (0, 250, 250)]


def entries(size):
    return [Entry({}, Image.new("RGB", size, colour)) for colour in COLOURS]


def place(sheet, colour):
    """Where a colour is on a sheet: (top, bottom, left, right)."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def inked(sheet, top, bottom, left, right):
    """Whether something is written in a part of a sheet."""
    return bool((np.asarray(sheet)[top:bottom, left:right] < 99).all(-1).any())


@pytest.mark.parametrize("size", [(128, 128), (96, 128), (1024, 512)])
def test_images_are_in_rows_and_columns_with_their_headings(size):
    labels = [(row, column) for row in ("Colour red", "Colour blue") for column in "abc"]
    stage = Stage(entries(size), labels, 3)
    sheet = stage.image(lambda entry: entry and entry.image)
    assert max(sheet.size) <= SHEET + 60
    places = [place(sheet, colour) for colour in COLOURS]
    tops, lefts = [top for top, *_ in places], [left for *_, left, _ in places]
    assert len({*tops}) == 2 and lefts[:3] == lefts[3:] == sorted({*lefts})
    for top, bottom, left, right in places:
        assert abs((right - left) / (bottom - top) - size[0] / size[1]) < 0.02
    for top, bottom, *_ in places[::3]:
        assert inked(sheet, top, bottom, 0, lefts[0] - 3)
    for left in lefts[:3]:
        assert inked(sheet, 0, tops[0] - 3, left, left + 40)
    without = stage.without(stage.entries[1], [])
    assert without.entries[1] is None and len(without.drawn) == 5
    assert place(without.image(lambda entry: entry and entry.image), COLOURS[2]) == places[2]


def test_one_image_is_alone_and_what_is_drawn_has_its_preview():
    first, second, *_ = entries((64, 128))
    assert Stage([first], [()]).image(lambda entry: entry.image).size == (256, 512)
    assert Stage([first], [()]).without(first, [second]).single is second
    assert Stage([first], [()]).without(first, []).entries == []
    stage = Stage([first, None], [(), ()], 2, second.image)
    sheet = stage.image(lambda entry: entry and entry.image)
    assert place(sheet, COLOURS[0])[0] == place(sheet, COLOURS[1])[0] < 20
