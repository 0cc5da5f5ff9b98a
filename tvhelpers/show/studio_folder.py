"""How does the prompt studio keep what it has drawn, and open it again?

Its folder has a PNG for each image, named NUMBER_SEED, and records.jsonl with a line for each.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from tvhelpers.errors import InputError
from tvhelpers.files import write_text, write_zip, writing
from tvhelpers.image import read_photo
from tvhelpers.paths import inside
from tvhelpers.records import add_line, as_record, parse
from tvhelpers.sample.parameters import drawn_png, save_drawn

RECORDS, ZIP = "records.jsonl", "designs.zip"
OF_THE_FOLDER = ("file", "favourite", "label")  # keys of a line that are not of the image
SAVE_SECONDS = 10.0  # how long saving waits while another program writes to the folder
FILE_NAME = re.compile(r'"file": "([^"]+)"')  # in a line of records, also a broken one


@dataclass(eq=False)
class Entry:
    """One image of the gallery; `record` is all that draws it again."""

    record: dict
    image: Image.Image | None = None  # None: in its file alone
    label: str = ""  # what differs from the other images of a grid or comparison
    file: str = ""  # its name in the folder, "" while it is not saved
    favourite: bool = False

    @property
    def line(self) -> dict:
        """The line of records.jsonl."""
        line = {"file": self.file, **self.record}
        line |= {"favourite": True} if self.favourite else {}
        return line | ({"label": self.label} if self.label else {})


class StudioFolder:
    """The folder of a studio."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def restore(self) -> list[Entry]:
        """Return the entries that the folder has, newest first, their images not loaded.

        A broken line, and one whose image is not there, is ignored.
        """
        entries = [self._entry(line) for line in self._lines()]
        return [entry for entry in entries if entry][::-1]

    def _lines(self) -> list[str]:
        path = self.path / RECORDS
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return text.split("\n")

    def _entry(self, line: str) -> Entry | None:
        try:
            row = as_record(parse(line, RECORDS), "image", RECORDS)
            record = {key: value for key, value in row.items() if key not in OF_THE_FOLDER}
            as_record(record, "drawn image", RECORDS)
            if not inside(self.path, row["file"]).is_file():
                return None
        except InputError:
            return None
        label, favourite = str(row.get("label", "")), row.get("favourite") is True
        return Entry(record, None, label, row["file"], favourite)

    def image(self, entry: Entry) -> Image.Image:
        """Return the image of an entry; raises InputError where its file cannot be read."""
        return entry.image or Image.fromarray(read_photo(inside(self.path, entry.file)))

    def seen(self, entry: Entry | None) -> Image.Image | None:
        """Return the image of an entry; None where there is none, or it cannot be read."""
        with contextlib.suppress(InputError):
            return self.image(entry) if entry else None

    def keep(self, entry: Entry) -> Path:
        """Write an entry's image and line, if it is not saved yet; return the image's path.

        Raises OSError on a full disk, and InputError while another program writes there.
        """
        if entry.file:
            return self.path / entry.file
        with writing(self.path, wait=SAVE_SECONDS):
            if entry.file:  # another thread has just saved it
                return self.path / entry.file
            path = self.path / f"{self._next_number():04d}_{entry.record['seed']}.png"
            try:
                save_drawn(entry.image, path, entry.record)
                entry.file = path.name  # before its line: an interrupt must not save it twice
                add_line(self.path / RECORDS, entry.line)
            except BaseException:
                entry.file = ""
                path.unlink(missing_ok=True)
                raise
        return path

    def _next_number(self) -> int:
        """Return a number above those of all images and records, also where a file is gone."""
        names = [path.name for path in self.path.glob("*_*.png")]
        names += FILE_NAME.findall("\n".join(self._lines()))
        numbers = [name.partition("_")[0] for name in names]
        return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)

    def delete(self, entry: Entry) -> None:
        """Remove an entry's line and file; it keeps its image, and counts as not saved."""
        entry.image = self.seen(entry)
        if entry.file:
            self._change(entry.file, "")
            inside(self.path, entry.file).unlink(missing_ok=True)
            entry.file = ""

    def mark(self, entry: Entry, favourite: bool) -> None:
        """Make an entry a favourite, or none, once that is written into its line."""
        if entry.file:
            self._change(entry.file, json.dumps(replace(entry, favourite=favourite).line))
        entry.favourite = favourite

    def _change(self, name: str, changed: str) -> None:
        """Replace the line of an image; other lines stay as they are."""
        with writing(self.path, wait=SAVE_SECONDS):
            lines = [
                changed if FILE_NAME.findall(line)[:1] == [name] else line for line in self._lines()
            ]
            write_text(self.path / RECORDS, "".join(f"{line}\n" for line in lines if line))

    def zip(self, entries: Iterable[Entry]) -> tuple[Path, int]:
        """Write the entries' images and records to a zip in the folder; return its path, and how
        many images it has: one that cannot be read is skipped."""
        lines = []

        def contents() -> Iterator[tuple[str, bytes]]:
            """Yield the name and bytes of each file, so that one image at a time is in memory."""
            for number, entry in enumerate(entries):
                name = entry.file or f"unsaved-{number}_{entry.record['seed']}.png"
                with contextlib.suppress(InputError):
                    yield name, drawn_png(self.image(entry), entry.record)
                    lines.append(json.dumps({**entry.line, "file": name}) + "\n")
            yield RECORDS, "".join(lines).encode()

        write_zip(self.path / ZIP, contents())
        return self.path / ZIP, len(lines)
