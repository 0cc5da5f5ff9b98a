"""Tables that would be misread are refused."""

import re
import shutil

import pytest
from PIL import Image

from tests.data.helpers import photos
from tests.helpers import refused
from tvhelpers.data.sources import open_source


@pytest.mark.parametrize(
    ("table", "code", "seen"),
    [
        ("file_name,caption\n", "no-rows", "metadata.csv"),
        ("name,caption\n0.png,x\n", "column-missing", "file_name"),
        ("file_name,caption\n9.png,x\n", "file-missing", "9.png"),
        (f"file_name,caption\n{'a' * 5000},x\n", "file-missing", "^.{,400}$"),
        ("file_name,caption\n../x.png,x\n", "outside-folder", "'../x.png'"),
        ("file_name,caption\n0.png,\n", "no-caption", "row 0"),
        ("file_name,caption\n0.png,a, b\n", "ragged-row", "line 2"),
        ('file_name,caption\n0.png,"a\n1.png,b\n', "file-damaged", ""),  # one row, it would seem
        ("file_name,caption,caption\n0.png,a,b\n", "given-twice", "caption"),
        ("file_name,caption\n0.png,a\0b\n", "file-damaged", "null characters"),
        ("file_name,caption,split\n0.png,a,dev\n", "unknown-choice", r"row 0 \('0.png'\) .*'dev'"),
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


def test_tables_that_would_be_misread_are_refused(photo_folder, tmp_path):
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    table = folder / "metadata.csv"
    table.write_text("file_name,caption\n000.png,a red dress, striped\n")
    with refused("ragged-row"):
        open_source(folder)
    table.write_text("filename,caption\n000.png,a red dress\n")
    with refused("column-missing") as caught:
        open_source(folder)
    assert "mean 'filename'" in str(caught.value)
    table.write_text("file_name,caption,split\n000.png,a red dress,tests\n")
    with refused("unknown-choice"):
        open_source(folder)
    table.write_text('file_name,caption\n000.png,"a red dress, striped"\n')
    with pytest.warns(UserWarning, match="23 images skipped, such as 001.png"):
        assert open_source(folder).captions == ["a red dress, striped"]
