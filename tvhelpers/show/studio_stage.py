"""What does the prompt studio show large?  One image, or all images of a job on a sheet."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

from tvhelpers.sample.grid import sheet_of
from tvhelpers.show.studio_folder import Entry

SIDE, CELLS = 512, (112, 256)  # pixels: of the stage; of one of several images, from least to most


@dataclass
class Stage:
    """`entries`, None for what is not drawn yet, with their `labels`, in so many `columns`;
    `preview` is what is being drawn."""

    entries: list[Entry | None]
    labels: list[str]
    columns: int = 1
    preview: Image.Image | None = None

    @property
    def drawn(self) -> list[Entry]:
        """The entries that are drawn."""
        return [entry for entry in self.entries if entry]

    def without(self, entry: Entry) -> "Stage":
        """Return the stage without an entry."""
        pairs = [pair for pair in zip(self.entries, self.labels) if pair[0] is not entry]
        return Stage([one for one, _ in pairs], [label for _, label in pairs], self.columns)

    def image(self, read: Callable[[Entry | None], Image.Image | None]) -> Image.Image | None:
        """Return the image or the sheet; `read` gives an entry's image.  None for nothing."""
        images, waiting = [read(entry) for entry in self.entries], self.preview
        if waiting and None in self.entries:
            images[self.entries.index(None)] = waiting
        found = next(filter(None, images), None)
        if not found or len(images) == 1:
            return found and ImageOps.contain(found, (SIDE, SIDE), Image.Resampling.LANCZOS)
        cell = min(max(CELLS[0], SIDE // self.columns), CELLS[1])
        size = ImageOps.contain(found, (cell, cell)).size
        cells = [image and ImageOps.pad(image, size, color="white") for image in images]
        return sheet_of(cells, self.labels, self.columns, size)
