"""How are images laid out in rows, each with its prompt below?"""

import math
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tvhelpers.image import save_png

GAP = 12  # pixels
MIN_SIDE = 192  # small pictures are enlarged to this, so that a caption fits below


def save_grid(pictures: list[tuple[Path, str]], path: Path, columns: int = 0) -> None:
    """Write pictures, all of one size, with their captions as one PNG; columns = 0 makes it nearly
    square."""
    columns = columns or _columns(len(pictures))
    side = max(MIN_SIDE, Image.open(pictures[0][0]).width)
    font = ImageFont.load_default(max(13, side // 15))
    ascent, descent = font.getmetrics()
    wrap = max(8, int(side / font.getlength("n")))
    captions = [
        textwrap.wrap(caption, wrap, max_lines=3, placeholder=" ...") for _, caption in pictures
    ]
    line, text = ascent + descent, max(len(lines) for lines in captions)
    width, height = side + GAP, side + text * line + 2 * GAP
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, ((file, _), lines) in enumerate(zip(pictures, captions, strict=True)):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        with Image.open(file) as picture:
            sheet.paste(
                picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), (x, y)
            )
        draw.rectangle((x - 1, y - 1, x + side, y + side), outline="#dddddd")
        for number, words in enumerate(lines):
            draw.text(
                (x + side / 2, y + side + GAP / 2 + number * line),
                words,
                "#333333",
                font,
                anchor="ma",
            )
    save_png(sheet, path)


def _columns(count: int) -> int:
    """Return the columns of a sheet that is a little wider than high, without a nearly empty last
    row."""
    widest = min(count, max(1, math.ceil(math.sqrt(count * 1.5))))
    return (
        min(range(widest, 0, -1), key=lambda columns: (-count % columns, -columns))
        if count > 3
        else count
    )
