"""How are images laid out as a grid, each with its prompt below?"""

import math
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tvhelpers.image import save_png

GAP = 12  # pixels
MIN_SIDE = 192  # smaller images are enlarged, so that a prompt fits below


def save_grid(images: list[tuple[Path, str]], path: Path, columns: int = 0) -> None:
    """Write images, all of one size, with their prompts below them as one PNG.

    columns = 0 makes the grid nearly square.
    """
    columns = columns or _columns(len(images))
    side = max(MIN_SIDE, Image.open(images[0][0]).width)
    font = ImageFont.load_default(max(13, side // 15))
    ascent, descent = font.getmetrics()
    wrap = max(8, int(side / font.getlength("n")))
    prompts = [textwrap.wrap(prompt, wrap, max_lines=3, placeholder=" ...") for _, prompt in images]
    line, text = ascent + descent, max(len(lines) for lines in prompts)
    width, height = side + GAP, side + text * line + 2 * GAP
    rows = math.ceil(len(images) / columns)
    grid = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(grid)
    for i, ((file, _), lines) in enumerate(zip(images, prompts, strict=True)):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        with Image.open(file) as image:
            grid.paste(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), (x, y))
        draw.rectangle((x - 1, y - 1, x + side, y + side), outline="#dddddd")
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
