"""Grids of images: every image, no long column, bounded sheets, letters of all prompts."""

import numpy as np
import pytest
from PIL import Image

from tvhelpers.sample.gallery import generate
from tvhelpers.sample.grid import save_grid, sheet_shape
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler


@pytest.fixture(scope="module")
def sampler(tiny_base):
    return Sampler(str(tiny_base), device="cpu")


def test_the_grid_holds_every_image(sampler, tmp_path):
    generate(sampler, Request(tuple("a b c d e f g h".split()), steps=1), tmp_path)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width > grid.height  # 4 x 2
        pixels = np.asarray(grid.convert("L")).astype(float)
    assert (pixels.std(0) > 5).mean() > 0.8


def test_a_nearly_square_grid_has_no_long_column():
    widths = {2: 2, 4: 2, 5: 3, 7: 4, 8: 4, 10: 4, 11: 4, 13: 5, 20: 5, 23: 6}
    assert {n: sheet_shape(n, 200, 240)[0] for n in widths} == widths


def test_many_images_go_to_several_sheets(tmp_path, monkeypatch):
    files = []
    for level in range(30):
        Image.new("RGB", (64, 64), (level * 8, 0, 0)).save(tmp_path / f"{level}.png")
        files.append((tmp_path / f"{level}.png", "a red dress"))
    assert [one.name for one in save_grid(files, tmp_path / "grid.png")] == ["grid.png"]
    monkeypatch.setattr("tvhelpers.sample.grid.MAX_SHEET_PIXELS", 600_000)
    sheets = save_grid(files, tmp_path / "grid.png")
    assert [one.name for one in sheets] == ["grid.png", "grid-2.png", "grid-3.png"]
    shown = set()
    for sheet in sheets:
        with Image.open(sheet) as opened:
            assert opened.width * opened.height < 900_000
            shown |= {red for _, (red, green, _) in opened.getcolors(1 << 20) if not green}
    assert shown >= {level * 8 for level in range(30)}


def test_the_grid_keeps_the_shape_of_images_and_the_letters_of_prompts(tmp_path):
    Image.new("RGB", (64, 128), "red").save(tmp_path / "0.png")
    drawn = set()
    for prompt in ("\u00e4", "\u00f6", "\u0142", "\u0416"):  # boxes would all be the same
        save_grid([(tmp_path / "0.png", prompt)], tmp_path / "grid.png")
        drawn.add((tmp_path / "grid.png").read_bytes())
        with Image.open(tmp_path / "grid.png") as grid:
            red = np.all(np.asarray(grid) == (255, 0, 0), -1)
        assert (red.any(1).sum(), red.any(0).sum()) == (384, 192)
    assert len(drawn) == 4


def test_images_of_mixed_sizes_are_not_stretched(tmp_path):
    files = []
    for i, size in enumerate([(64, 96), (96, 64), (64, 64)]):
        Image.new("RGB", size, ("red", "lime", "blue")[i]).save(tmp_path / f"{i}.png")
        files.append((tmp_path / f"{i}.png", "a dress"))
    save_grid(files, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        pixels = np.asarray(grid)
    for channel, size in enumerate([(128, 192), (192, 128), (192, 192)]):
        shown = (pixels == 255 * np.eye(3, dtype=int)[channel]).all(-1)
        assert (shown.any(0).sum(), shown.any(1).sum()) == size


def test_several_sheets_are_said(sampler, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "tvhelpers")
    monkeypatch.setattr("tvhelpers.sample.grid.MAX_SHEET_PIXELS", 1)
    generate(sampler, Request(("a", "b", "c"), steps=1), tmp_path)
    assert caplog.messages[-1].endswith("; grid.png to grid-3.png show all")
