"""What did a model generate while it was trained?  Its previews on one sheet, also as they come."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tvhelpers.image import read_photo
from tvhelpers.progress import in_notebook
from tvhelpers.sample.preview import Previews

WIDTH, LEAST = 1000, 480  # pixels of a sheet: the output of a notebook is as wide
MOST = 8  # strips of a sheet
TITLE = 26  # pixels of the line above each strip


def step_of(path: Path) -> int:
    """Return the step of a preview's file, step-<step>.png."""
    return int(path.stem.removeprefix("step-"))


def strips_of(folder: Path, most: int = MOST) -> list[Path]:
    """Return the previews in a folder by step: all, or the first, the last and `most` - 2 between
    them at growing distances, as a model changes most at first."""
    strips = sorted(Path(folder).glob("step-[0-9]*.png"), key=step_of)
    if len(strips) <= most:
        return strips
    places = np.geomspace(1, len(strips), most).round().astype(int) - 1
    return [strips[place] for place in dict.fromkeys(places.tolist())]


def sheet(strips: Sequence[Path], prompts: Sequence[str] = ()) -> Image.Image:
    """Return strips below each other, each with its step above it; above them the `prompts`.

    Small ones are enlarged, large ones reduced to WIDTH.
    """
    rows = [Image.fromarray(read_photo(path)) for path in strips]
    width = min(WIDTH, max(LEAST, 2 * rows[0].width))
    rows = [row.resize((width, round(width * row.height / row.width))) for row in rows]
    top = TITLE * bool(prompts)
    page = Image.new("RGB", (width, top + sum(row.height + TITLE for row in rows)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    wide = width / max(1, len(prompts))
    for column, prompt in enumerate(prompts):
        draw.text((column * wide + 4, 5), _cut(prompt, font, wide - 8), "#222222", font)
    for path, row in zip(strips, rows, strict=True):
        step = step_of(path)
        draw.text((4, top + 5), f"step {step:,}" if step else "before training", "#1f6f8b", font)
        page.paste(row, (0, top + TITLE))
        top += row.height + TITLE
    return page


def _cut(text: str, font, width: float) -> str:
    """Return as much of a text as is `width` pixels wide."""
    while font.getlength(text) > width:
        text = text[:-2].rstrip(" .") + "…"
    return text


class ShownPreviews(Previews):
    """Previews that a notebook shows while it trains, in one figure that is replaced each time.

    It is shown by the thread that trains: Colab shows nothing that another one changes.
    """

    handle = None  # of the figure in the cell's output

    def __call__(self, step: int, parts: dict) -> None:
        """Draw as `Previews`, and show what there is so far."""
        super().__call__(step, parts)
        self.show()

    def show(self) -> None:
        """Show the previews so far, if this is a notebook and there are any."""
        strips = strips_of(self.folder)
        if not strips or not in_notebook():
            return
        from IPython import display

        data = io.BytesIO()
        sheet(strips, self.prompts).save(data, "JPEG", quality=88)
        image = display.Image(data.getvalue(), format="jpeg")
        if self.handle:
            self.handle.update(image)
        else:
            self.handle = display.display(image, display_id=True)
