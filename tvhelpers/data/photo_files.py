"""Which files of a folder are photos, captions and tables, and which files are skipped?"""

import contextlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tvhelpers.data.items import Source
from tvhelpers.data.tables import ENDINGS, SPREADSHEETS, read_table
from tvhelpers.errors import InputError
from tvhelpers.image import FORMATS, image_format, is_image, remedy
from tvhelpers.output import Skipped
from tvhelpers.paths import is_there, walk

CAPTION_ENDINGS = (".txt", ".caption")
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
ARCHIVE_STARTS = re.compile(rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd")
REPORT = "photos_report.csv"  # of `intake`, beside the photos: no table of them
SAYS_NOTHING = re.compile(
    r"(readme|licen[cs]e|copying|citation|changelog|request\.json$|photos_report\.csv$)\b", re.I
)

# Why a file is skipped; each ends the sentence "2 files skipped, such as ...: ".
NO_ROW = "no row of the table names it"
SIDE_IMAGE = "a mask or a small copy of another image"
MISSING = "the image of a row is missing"
NO_PHOTO = "a text file without a photo of its name, or whose photo has another caption"
OTHER_TABLE = "a table that is not read; to read it, give its path and --columns"
ARCHIVE = "an archive; unpack it"
SPREADSHEET = "a spreadsheet; save it as CSV UTF-8"
IN_REPORT = f"see {REPORT}"
OTHER = "neither an image nor a caption"


@dataclass
class Files:
    """The files of a folder, each list sorted; `skipped` {reason: names} grows while it is read."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    captions: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    used: set[Path] = field(default_factory=set)  # as photos or captions, or skipped

    def name_of(self, path: Path) -> str:
        """Return a path relative to the folder, faster than relative_to()."""
        return "/".join(path.parts[len(self.folder.parts) :])

    def skip(self, reason: str, paths: Iterable[Path]) -> None:
        """Add files to the skipped ones, under a reason."""
        for path in paths:
            self.used.add(path)
            self.skipped.setdefault(reason, []).append(self.name_of(path))

    def skip_unused(self) -> None:
        """Add all files that were not used, each with its reason."""
        self.skip(NO_ROW, [path for path in self.images if path not in self.used])
        self.skip(NO_PHOTO, [path for path in self.captions if path not in self.used])
        self.skip_formats()
        for path in self.others:
            if path not in self.used and not SAYS_NOTHING.match(path.name):
                self.skip(_why_other(path), [path])

    def skip_formats(self) -> None:
        """Add the images whose format is not read."""
        for path in self.others:
            name = "" if path in self.used else image_format(path)
            if name:
                self.skip(f"{name} is not read; {remedy(name)}", [path])

    def refuse(self) -> InputError:
        """Return the error for a folder without images, which names what it holds instead."""
        if not self.skipped:
            return InputError("no-images.photos", folder=self.folder, endings=FORMATS)
        reason, names = max(self.skipped.items(), key=lambda item: len(item[1]))
        count, first = len(names), names[0]
        return InputError(
            "no-images.unread", folder=self.folder, count=count, first=first, reason=reason
        )


def list_files(folder: Path) -> Files:
    """Return the files of a folder and its subfolders."""
    files = Files(Path(folder))
    for path in walk(folder, files.skipped):
        if path.suffix.lower() in CAPTION_ENDINGS:
            files.captions.append(path)
        else:
            (files.images if is_image(path) else files.others).append(path)
    return files


def is_archive(path: Path) -> bool:
    """Return whether a path is a zip, a tar or another archive, by its ending or first bytes."""
    if not path.is_file() or path.suffix.lower() in (".npz", ".xlsx", ".parquet", ".h5"):
        return False
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return path.suffix.lower() in ARCHIVES or bool(ARCHIVE_STARTS.match(file.read(8)))
    return False


def refuse_archive(name: str, path: Path, options: dict) -> Source:
    """Raise the InputError for an archive that is given instead of a folder."""
    raise InputError("another-format.archive", name=path)


def _why_other(path: Path) -> str:
    ending = path.suffix.lower()
    if ending in ARCHIVES:
        return ARCHIVE
    if ending in SPREADSHEETS:
        return SPREADSHEET
    return OTHER_TABLE if ending in ENDINGS and ending != ".json" else OTHER


def named_in_report(folder: Path) -> set[str]:
    """Return the names of the files that the report of `intake` names, none if it is damaged."""
    with contextlib.suppress(InputError):
        if is_there(folder / REPORT):
            return {row.get("file_name") for row in read_table(folder / REPORT)}
    return set()


def shortened(folder: Path, skipped: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return `skipped` {reason: names} with one short reason for all files that the report of
    `intake` names already."""
    said = named_in_report(folder)
    left = {why: [name for name in names if name not in said] for why, names in skipped.items()}
    known = sorted({name for names in skipped.values() for name in names} & said)
    return {why: names for why, names in {**left, IN_REPORT: known}.items() if names}


def warn_of_skipped(path: Path | str, skipped: dict[str, list[str]]) -> None:
    """Warn once for each reason of `skipped` {reason: names}."""
    for reason, names in skipped.items():
        warnings.warn(Skipped(str(path), reason, names), stacklevel=3)
