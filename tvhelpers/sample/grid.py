"""How are images laid out as a grid, each with its prompt below?"""

import math
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tvhelpers.image import MAX_SIDE as MAX_SHEET_SIDE
from tvhelpers.image import read_photo, save_png

GAP = 12  # pixels
MIN_SIDE = 192  # smaller images are enlarged, so that a prompt fits below
MAX_SIDE = 4096  # larger ones are reduced
MAX_SHEET_PIXELS = 64_000_000  # of one sheet, so that any viewer opens it


def save_grid(images: list[tuple[Path, str]], path: Path, columns: int = 0) -> list[Path]:
    """Write images, all of one size, with their prompts below them as PNG; return the files.

    columns = 0 makes the grid nearly square.  Images beyond one sheet go to grid-2.png, grid-3.png
    and so on, beside grid.png.
    """
    side = min(max(MIN_SIDE, read_photo(images[0][0]).shape[1]), MAX_SIDE)
    width, height = _cell(images, side)
    most = max(1, MAX_SHEET_PIXELS // (width * height))
    columns = max(1, min(columns or _columns(min(most, len(images))), MAX_SHEET_SIDE // width))
    rows = max(1, min(MAX_SHEET_PIXELS // (columns * width), MAX_SHEET_SIDE) // height)
    starts = range(0, len(images), rows * columns)
    files = [path.with_stem(f"{path.stem}-{page}") for page in range(2, len(starts) + 1)]
    for start, file in reversed([*zip(starts, [path, *files])]):  # grid.png is the last
        _save_sheet(images[start : start + rows * columns], file, columns, side)
    return [path, *files]


def _words(prompt: str, side: int) -> tuple[list[str], ImageFont.FreeTypeFont, int]:
    """Return (the lines of a prompt below an image, their font, the height of a line)."""
    font = ImageFont.load_default(max(13, side // 15))
    wrap = max(8, int(side / font.getlength("n")))
    lines = textwrap.wrap(prompt, wrap, max_lines=3, placeholder=" ...")
    return lines, font, sum(font.getmetrics())


def _cell(images: list[tuple[Path, str]], side: int) -> tuple[int, int]:
    """Return (width, height) of an image with its prompt, in pixels."""
    found = [_words(prompt, side) for prompt in dict.fromkeys(prompt for _, prompt in images)]
    text = max(len(lines) for lines, _, _ in found)
    return side + GAP, side + text * found[0][2] + 2 * GAP


def _save_sheet(images: list[tuple[Path, str]], path: Path, columns: int, side: int) -> None:
    width, height = _cell(images, side)
    rows = math.ceil(len(images) / columns)
    grid = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(grid)
    for i, (file, prompt) in enumerate(images):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        image = Image.fromarray(read_photo(file))
        grid.paste(image.resize((side, side), Image.Resampling.LANCZOS), (x, y))
        draw.rectangle((x - 1, y - 1, x + side, y + side), outline="#dddddd")
        lines, font, line = _words(prompt, side)
        for number, words in enumerate(lines):
            place = (x + side / 2, y + side + GAP / 2 + number * line)
            draw.text(place, words, "#333333", font, anchor="ma")
    save_png(grid, path)


def _columns(count: int) -> int:
    """Return the columns of a grid that is a little wider than high, its last row nearly full."""
    if count <= 3:
        return count
    widest = math.ceil(math.sqrt(count * 1.5))
    return min(range(widest, 0, -1), key=lambda columns: (-count % columns, -columns))
