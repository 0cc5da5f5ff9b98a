"""Images that cannot be decoded: all named, or skipped."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.data.helpers import png, save
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data import photo_files
from tvhelpers.data.photos import BAD_IMAGE
from tvhelpers.data.sources import open_source


def with_bad_images(folder):
    """Three good photos; an empty, a truncated and a false one."""
    save(folder, *(f"hat/{i}.jpg" for i in range(6)))
    (folder / "hat" / "1.jpg").write_bytes(b"")
    (folder / "hat" / "3.jpg").write_bytes(png(3)[:300])
    (folder / "hat" / "4.jpg").write_bytes(b"<html>not found</html>")
    return folder


@pytest.mark.parametrize("to", ["h5", "images"])
def test_all_bad_images_are_named_and_can_be_skipped(tmp_path, capsys, to):
    words = ["data", "convert", str(with_bad_images(tmp_path / "in")), "--to", to]
    out = ["--out", str(tmp_path / "out"), "--json"]
    assert cli.main([*words, *out]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "3 of 6 images" in said[-1] and all(f"'{i}.jpg'" in said[-1] for i in (1, 3, 4))
    assert cli.main([*words, *out, "--skip-bad"]) == 0  # the same folder
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    names = ["hat/1.jpg", "hat/3.jpg", "hat/4.jpg"]
    assert result["items"] == 3 and result["skipped"] == {BAD_IMAGE: names}
    assert "3 files skipped, such as 'hat/1.jpg': cannot be read" in printed.err.splitlines()[-1]
    for name in names:
        os.remove(tmp_path / "in" / name)
    assert cli.main([*words, *out]) == 0
    assert json.loads(capsys.readouterr().out)["was_done"]


def test_bad_images_are_looked_for_once_by_all_threads(tmp_path, caplog):
    folder = with_bad_images(tmp_path)
    save(folder, "cap/1.jpg")
    source = open_source(folder)
    caplog.set_level("INFO", "tvhelpers")
    caplog.clear()
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(source.pixels, index).exception() for index in range(7)]
    assert {str(one) for one in found if one} == {str(found[2])} and found.count(None) == 4
    assert "'hat/1.jpg', 'hat/3.jpg', 'hat/4.jpg'" in str(found[2])
    assert len(caplog.messages) == 3


def test_rows_without_their_image_are_skipped_with_the_bad(tmp_path):
    folder = with_bad_images(tmp_path / "in")
    rows = [f"hat/{i}.jpg,hat {i}\n" for i in range(7)]
    (folder / "metadata.csv").write_text("file_name,caption\n" + "".join(rows))
    with refused("file-missing"):
        open_source(folder)
    source = open_source(folder, skip_bad=True)
    assert source.captions == ["hat 0", "hat 2", "hat 5"]
    assert source.skipped[photo_files.MISSING] == ["hat/6.jpg"]
    for i in (0, 2, 5):
        os.remove(folder / "hat" / f"{i}.jpg")
    with refused("no-images", "file-missing"):
        open_source(folder, skip_bad=True)
