"""How are images laid out as a grid, each with its prompt below?"""

import contextlib
import math
import textwrap
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tvhelpers.image import MAX_SIDE as MAX_SHEET_SIDE
from tvhelpers.image import open_image, read_photo, save_png

GAP = 12  # pixels
MIN_SIDE = 192  # smaller images are enlarged, so that a prompt fits below
MAX_SIDE = 4096  # larger ones are reduced
MAX_SHEET_PIXELS = 64_000_000  # of one sheet, so that any viewer opens it


def save_grid(images: list[tuple[Path, str]], path: Path, columns: int = 0) -> list[Path]:
    """Write images with their prompts below them as PNG; return the files.

    A cell is as wide as the widest image and as high as the highest.  columns = 0 makes the grid
    nearly square.  Images beyond one sheet go to grid-2.png, grid-3.png and so on, beside grid.png.
    """
    wide, high = map(max, zip(*(_size_of(file) for file, _ in images)))
    side = min(max(MIN_SIDE, wide), MAX_SIDE)
    size = side, min(max(1, round(side * high / wide)), MAX_SIDE)
    cell = _cell([prompt for _, prompt in images], size)
    columns, rows = sheet_shape(len(images), *cell, columns)
    starts = range(0, len(images), rows * columns)
    files = [path.with_stem(f"{path.stem}-{page}") for page in range(2, len(starts) + 1)]
    for start, file in reversed([*zip(starts, [path, *files])]):  # grid.png is the last
        _save_sheet(images[start : start + rows * columns], file, columns, size)
    return [path, *files]


def sheet_shape(count: int, width: int, height: int, columns: int = 0) -> tuple[int, int]:
    """Return the most (columns, rows) of a sheet of `count` images of width x height pixels, each
    with its text; columns = 0 makes it nearly square."""
    most = max(1, MAX_SHEET_PIXELS // (width * height))
    columns = max(1, min(columns or nearly_square(min(most, count)), MAX_SHEET_SIDE // width))
    return columns, max(1, min(MAX_SHEET_PIXELS // (columns * width), MAX_SHEET_SIDE) // height)


def _words(prompt: str, side: int) -> tuple[list[str], ImageFont.FreeTypeFont, int]:
    """Return (the lines of a prompt below an image, their font, the height of a line)."""
    font = font_for(prompt, max(13, side // 15))
    wrap = max(8, int(side / font.getlength("n")))
    lines = textwrap.wrap(prompt, wrap, max_lines=3, placeholder=" ...")
    return lines, font, sum(font.getmetrics())


def font_for(prompt: str, size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's font, or for letters that it lacks, such as umlauts, that of matplotlib."""
    if not prompt.isascii() and (plots := find_spec("matplotlib")):
        with contextlib.suppress(OSError):  # not there, nor among the system's fonts
            fonts = Path(plots.origin).parent / "mpl-data" / "fonts" / "ttf"
            return ImageFont.truetype(fonts / "DejaVuSans.ttf", size)
    return ImageFont.load_default(size)


def _cell(prompts: Sequence[str], size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of an image of `size` with its prompt, in pixels."""
    words = [_words(prompt, size[0]) for prompt in dict.fromkeys(prompts)]
    text = max(len(lines) * line for lines, _, line in words)
    return size[0] + GAP, size[1] + text + 2 * GAP


def _size_of(file: Path) -> tuple[int, int]:
    with open_image(file) as image:
        return image.size


def _save_sheet(
    images: list[tuple[Path, str]], path: Path, columns: int, size: tuple[int, int]
) -> None:
    opened = (Image.fromarray(read_photo(file)) for file, _ in images)
    save_png(sheet_of(opened, [prompt for _, prompt in images], columns, size), path)


def sheet_of(
    images: Iterable[Image.Image | None],
    prompts: Sequence[str],
    columns: int,
    size: tuple[int, int],
) -> Image.Image:
    """Return images, each as large as `size` allows with its prompt below, in so many columns; the
    place of None stays empty."""
    (wide, high), (width, height) = size, _cell(prompts, size)
    rows = math.ceil(len(prompts) / columns)
    grid = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(grid)
    for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        if image:
            shown = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
            place = x + (wide - shown.width) // 2, y + (high - shown.height) // 2
            grid.paste(shown, place)
        draw.rectangle((x - 1, y - 1, x + wide, y + high), outline="#dddddd")
        lines, font, line = _words(prompt, wide)
        for number, words in enumerate(lines):
            place = (x + wide / 2, y + high + GAP / 2 + number * line)
            draw.text(place, words, "#333333", font, anchor="ma")
    return grid


def nearly_square(count: int) -> int:
    """Return the columns of a grid that is a little wider than high, its last row nearly full."""
    if count <= 3:
        return count
    least, widest = (math.ceil(math.sqrt(count * ratio)) for ratio in (1, 1.5))
    return min(range(widest, least - 1, -1), key=lambda columns: (-count % columns, -columns))
