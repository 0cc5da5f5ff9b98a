"""Which files of a folder are photos, captions and tables, and which files are skipped?"""

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np

from tvhelpers.data.items import Images, Source, Subset, file_digest
from tvhelpers.data.photos import key_of_colours, read_unchanged, state_of
from tvhelpers.data.rows import item_columns
from tvhelpers.data.tables import ENDINGS, SPREADSHEETS
from tvhelpers.errors import InputError
from tvhelpers.files import content_key
from tvhelpers.image import FORMATS, image_format, is_image, read_photo
from tvhelpers.output import Skipped
from tvhelpers.paths import inside, is_there, walk
from tvhelpers.progress import progress_bar
from tvhelpers.text import as_text

CAPTION_ENDINGS = (".txt", ".caption")
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
ARCHIVE_STARTS = re.compile(rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd")
SAYS_NOTHING = re.compile(r"(readme|licen[cs]e|copying|citation|changelog|request\.json$)\b", re.I)

# Why a file is skipped; each ends the sentence "2 files skipped, such as ...: ".
NO_ROW = "no row of the table names it"
SIDE_IMAGE = "a mask or a small copy of another image"
BAD_IMAGE = "cannot be read as an image"
MISSING = "the image of a row is missing"
NO_PHOTO = "a text file without a photo of its name, or whose photo has another caption"
OTHER_TABLE = "a table that is not read; to read it, give its path and --columns"
ARCHIVE = "an archive; unpack it"
SPREADSHEET = "a spreadsheet; save it as CSV UTF-8"
OTHER = "neither an image nor a caption"

LOOKING = Lock()  # several threads read photos; after an error, one of them checks all photos

log = logging.getLogger(__name__)


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
                self.skip(f"{name} is not read; save it as .jpg or .png", [path])

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


def named_below(folder: Path, images: list[Path]) -> Callable[[Path], Path]:
    """Return a function that finds a missing image: the only image of its name in a subfolder."""
    below = {}
    for path in images:
        parts = path.relative_to(folder).parts
        for start in range(1, len(parts)):
            below.setdefault("/".join(parts[start:]), []).append(path)

    def find(missing: Path) -> Path:
        found = below.get(missing.relative_to(folder).as_posix().replace("\\", "/"), [])
        return found[0] if len(found) == 1 else missing

    return find


def open_rows(
    name: str, folder: Path, rows: list[dict], options: dict, files: Files | None = None
) -> Source:
    """Open the photos that rows name: file_name, a caption or category, product, split and so on.

    `files`: the files of the folder.  Raises InputError where a photo is missing or outside the
    folder, or a row has no caption or category.
    """
    files = files or list_files(folder)
    names = [as_text(row["file_name"], str(folder), "file_name") for row in rows]
    listed = {files.name_of(path): path for path in files.images}
    paths = [listed.get(name) or inside(folder, name) for name in names]
    for row, path in enumerate(paths):
        if names[row] not in listed and not is_there(path):
            raise InputError("file-missing.of-row", folder=folder, row=row, name=names[row])
    files.used.update(paths)
    files.skip_unused()
    if options.get("skip_bad"):
        rows, paths = _readable(files, rows, paths)
    ids = [files.name_of(path) for path in paths]
    columns = item_columns(folder, rows, ids, options["captions_optional"])
    photos = Photos(paths)  # before the digests, so that later changes are refused
    key = content_key([_digests(paths), *columns])
    key = key_of_colours(key, folder, zip(paths, paths))
    return Source(name, key, *columns, photos, files.skipped)


def _digests(paths: list[Path]) -> list[str]:
    try:
        return [file_digest(path) for path in paths]
    except OSError:  # no permission, or a broken disk; name all such files
        check_images(paths)
        raise


def _readable(files: Files, rows: list[dict], paths: list[Path]) -> tuple[list[dict], list[Path]]:
    """Return the rows and paths of the photos that can be read."""
    bad = bad_images(len(paths), lambda index: read_photo(paths[index]))
    files.skip(BAD_IMAGE, (paths[index] for index in bad))
    good = [index for index in range(len(paths)) if index not in bad]
    if not good:
        raise files.refuse()
    return [rows[index] for index in good], [paths[index] for index in good]


# ----------------------------------------------------------------------------------- damaged images


class Photos(Images):
    """Image files.  If one cannot be read, all are checked, and the error names all bad ones."""

    def __init__(self, paths: list[Path]):
        states = [state_of(path) for path in paths]
        super().__init__(len(paths), partial(read_one_of, paths, states, []))


def read_one_of(paths: list[Path], states: list, seen: list, index: int) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) of an image file; raises InputError with all bad ones.

    `seen`: an empty list, which keeps that error for the next bad image.
    """
    try:
        return read_unchanged(paths[index], states[index])
    except InputError as error:
        if error.code == "file-changed":
            raise
        with LOOKING:
            seen += [] if seen else [_problem(paths) or error]
        raise seen[0] from None


def _problem(paths: list[Path]) -> InputError | None:
    try:
        check_images(paths)
    except InputError as error:
        return error


def check_images(paths: list[Path]) -> None:
    """Raise one InputError that counts the unreadable images; list each of them in the log."""
    bad = bad_images(len(paths), lambda index: read_photo(paths[index]))
    if len(bad) > 1:
        for error in bad.values():
            log.info(str(error))
        top, total = os.path.commonpath([path.parent for path in paths]), len(paths)
        names = [os.path.relpath(paths[index], top) for index in bad]
        raise InputError("not-an-image.some", count=len(bad), total=total, names=names)
    for error in bad.values():
        raise error


def bad_images(count: int, read: Callable[[int], np.ndarray]) -> dict[int, InputError]:
    """Return {number: error} of those of `count` images that `read(number)` cannot read."""
    bad = {}
    with progress_bar("images checked", count) as bar:
        for index in range(count):
            try:
                read(index)
            except InputError as error:
                if error.code not in ("not-an-image", "out-of-range"):
                    raise
                bad[index] = error
            bar.update(1)
    return bad


def without_bad(source: Source) -> Source:
    """Return the readable items of a source whose images are cells of a table or in an archive."""
    bad = bad_images(len(source), source.pixels)
    if not bad:
        return source
    kept = Subset(source, [index for index in range(len(source)) if index not in bad])
    kept.skipped = {**source.skipped, BAD_IMAGE: [source.item_ids[index] for index in bad]}
    return kept


# ------------------------------------------------------------------------------------ what is said


def warn_of_skipped(path: Path | str, skipped: dict[str, list[str]]) -> None:
    """Warn once for each reason of `skipped` {reason: names}."""
    for reason, names in skipped.items():
        warnings.warn(Skipped(str(path), reason, names), stacklevel=3)
