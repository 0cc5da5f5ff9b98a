"""What does the prompt studio show large?  One image, or all images of a job on a sheet."""

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

from tvhelpers.sample.grid import font_for
from tvhelpers.show.studio_folder import Entry
from tvhelpers.words import counted

SIDE, SHEET = 512, 1024  # pixels: of an image that is alone, and of a sheet's wider side
LETTER, GAP, BESIDE = 36, 12, 190  # of a sheet: height of letters, gap, width of rows' headings


@dataclass
class Stage:
    """`entries`, None for what is not drawn or deleted, in so many `columns`; `labels` are what is
    special in each, first that of its row, last that of its column; `preview` is being drawn."""

    entries: list[Entry | None]
    labels: list[tuple[str, ...]]
    columns: int = 1
    preview: Image.Image | None = None

    @property
    def drawn(self) -> list[Entry]:
        """The entries that are drawn."""
        return [entry for entry in self.entries if entry]

    @property
    def single(self) -> Entry | None:
        """The image that is shown alone; None for a sheet, and while it is drawn."""
        return self.entries[0] if len(self.entries) == 1 else None

    @property
    def mark(self) -> str:
        """The name of the button that makes the single image a favourite, or none any more."""
        return "★ Unmark" if self.single and self.single.favourite else "☆ Favourite"

    @property
    def caption(self) -> str:
        """What is shown, in a line."""
        if one := self.single:
            record, star = one.record, "★ " * one.favourite
            parts = [star + record["prompt"], one.label, f"seed {record['seed']}"]
            parts += [f"{record['steps']} steps"] if "steps" in record else []
            parts += [f"guidance {record['guidance']:g}"] if "guidance" in record else []
            parts += [f"not: {record['negative_prompt']}"] if record.get("negative_prompt") else []
            return " · ".join(filter(None, parts))
        if not self.drawn:
            return ""
        of = f" of {len(self.entries)}" * (len(self.drawn) < len(self.entries))
        prompts = {entry.record["prompt"] for entry in self.drawn}
        parts = [counted(len(self.drawn), "image") + of, "open one in the gallery to use it again"]
        return " · ".join([*parts, *(prompts if len(prompts) == 1 else ())])

    def without(self, entry: Entry, following: list[Entry]) -> "Stage":
        """Return the stage without an entry: the first of the `following` where it was alone, else
        its place on the sheet is empty."""
        if self.single is entry:
            return Stage(following[:1], [()])
        left = [None if one is entry else one for one in self.entries]
        return Stage(left if any(left) else [], self.labels, self.columns)

    def image(self, read: Callable[[Entry | None], Image.Image | None]) -> Image.Image | None:
        """Return the image or the sheet; `read` gives an entry's image.  None for nothing."""
        images = [read(entry) for entry in self.entries]
        if self.preview and None in self.entries:
            images[self.entries.index(None)] = self.preview
        found = next(filter(None, images), None)
        if not found or len(images) == 1:
            return found and ImageOps.contain(found, (SIDE, SIDE), Image.Resampling.LANCZOS)
        return self._sheet(images, found)

    def _sheet(self, images: list[Image.Image | None], first: Image.Image) -> Image.Image:
        """Return the images in columns, each as large as the `first`, below and beside headings."""
        above = [label[-1] if label else "" for label in self.labels[: self.columns]]
        beside = [label[0] if len(label) > 1 else "" for label in self.labels[:: self.columns]]
        left, rows = BESIDE * any(beside), len(beside)
        cell = (SHEET - left) // max(self.columns, rows)
        wide, high = ImageOps.contain(first, (cell - GAP, cell - GAP)).size
        heads = [wrapped(text, wide) for text in above]
        top = max(len(lines) for lines in heads) * (LETTER + 6) + GAP
        size = left + self.columns * (wide + GAP) + GAP, top + rows * (high + GAP)
        sheet = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(sheet)
        for number, image in enumerate(images):
            x = left + GAP + number % self.columns * (wide + GAP)
            y = top + number // self.columns * (high + GAP)
            if image:
                sheet.paste(ImageOps.pad(image, (wide, high), color="white"), (x, y))
            draw.rectangle((x - 1, y - 1, x + wide, y + high), outline="#cccccc")
            if number < self.columns:
                write(draw, heads[number], x, GAP // 2)
            if number % self.columns == 0:
                write(draw, wrapped(beside[number // self.columns], left - GAP), GAP, y)
        return sheet


def wrapped(text: str, width: int) -> list[str]:
    """Return at most three lines of a text, of letters of a sheet, within so many pixels."""
    if not text:
        return []
    letters = int(width / font_for(text, LETTER).getlength("n"))
    return textwrap.wrap(text, max(4, letters), max_lines=3, placeholder="…")


def write(draw: ImageDraw.ImageDraw, lines: Iterable[str], x: int, y: int) -> None:
    """Write lines onto a sheet."""
    for number, line in enumerate(lines):
        draw.text((x, y + number * (LETTER + 6)), line, "#222222", font_for(line, LETTER))
