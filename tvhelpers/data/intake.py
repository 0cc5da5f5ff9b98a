"""Which photos of a user can be used, what is wrong with the others, and which captions fit them?

`take_in` reads a folder, drafts what is missing, and never stops at a bad photo; `Intake.save`
writes metadata.csv beside the photos, which `open_source` reads back equal, and photos_report.csv,
which also lists what is not used.  What a user wrote is never changed, in any later run either.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tvhelpers.data.caption_parsing import GARMENTS
from tvhelpers.data.folder_words import words_of_name
from tvhelpers.data.intake_tables import NOTES, OURS, REPORTED, USE, known_rows, write_tables
from tvhelpers.data.items import Images, Source
from tvhelpers.data.leakage import merge_groups, thumbnail
from tvhelpers.data.photo_files import OTHER, Files, list_files
from tvhelpers.data.photo_issues import issues_of_photo, lying, small, twins
from tvhelpers.data.product_names import VIEW, products_of
from tvhelpers.data.rows import own_caption
from tvhelpers.data.unpack import unpack
from tvhelpers.errors import InputError
from tvhelpers.files import atomic_dir, content_key, file_sha256
from tvhelpers.image import read_photo
from tvhelpers.paths import is_there
from tvhelpers.progress import progress_bar
from tvhelpers.text import as_text, clean, read_text
from tvhelpers.words import describe, with_article

THUMB = 96  # pixels of the longer side
EMPTY = "it is empty (0 bytes): copy or download it again"
UNPACKED = ".unpacked"  # the digest of the archive that a folder was unpacked from
REDUCED = 512  # pixels of the longer side that issues and colours are measured on
FIELDS = {"file_name", "caption", "text", "product", "product_id", "category"}  # of a `Photo`

Seen = Callable[[np.ndarray], tuple[str, float]]


@dataclass
class Photo:
    """A photo that can be read; `thumb` uint8 (h, w, 3), 96 pixels long; `size` (width, height).

    `drafted`: its caption was made here, not by the user; `more`: other columns of their table;
    `colour`: as it is seen; `digest` of the file and `tiny` (as of `thumbnail`): to find twins by.
    """

    file_name: str  # below the folder, with slashes
    caption: str = ""
    product: str = ""
    category: str = ""
    use: bool = True
    drafted: bool = False
    issues: list[str] = field(default_factory=list)
    thumb: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    more: dict[str, str] = field(default_factory=dict)
    colour: str = ""
    digest: str = ""
    tiny: np.ndarray | None = None

    def columns(self) -> dict[str, str]:
        """Return what is written of it: our columns and those of the user."""
        return {**{key: getattr(self, key) for key in OURS}, **self.more}


@dataclass
class Unusable:
    """A file that cannot be used, and why; `caption`: what a table says of it."""

    file_name: str
    why: str
    caption: str = ""


@dataclass
class Intake:
    """The photos of a folder in natural order, the files that cannot be used, and an issue that all
    photos share, "" without one."""

    folder: Path
    photos: list[Photo]
    bad: list[Unusable]
    remark: str = ""

    def save(self) -> Path:
        """Write metadata.csv of the photos that are used, and photos_report.csv of all files;
        return the first.

        A table of the user's own is kept beside it, as metadata.csv.bak.  Raises InputError where
        no photo is used, one has no caption, or the folder cannot be written to.
        """
        used = [photo for photo in self.photos if photo.use]
        _check(self.folder, used)
        more = list(dict.fromkeys(key for photo in self.photos for key in photo.more))
        rows = [photo.columns() for photo in used]
        noted = [*map(_noted, self.photos), *map(_noted_unusable, self.bad)]
        try:
            return write_tables(self.folder, rows, more, noted)
        except OSError as error:
            raise InputError("not-written.photos", folder=self.folder, error=error) from None


# -------------------------------------------------------------------------------- reading a folder


def take_in(
    folder: Path,
    *,
    word: str = "garment",
    wanted: int = 512,
    seen: Seen | None = None,
    captioner: Callable[[Source], list[str]] | None = None,
) -> Intake:
    """Return the photos of a folder and its subfolders, with drafts of captions and products.

    `word`: what a photo shows if neither its folder nor its name says so; `wanted`: pixels a side
    of the training; `seen(pixels)`: the garment's colour, "" if uncertain, and the share of the
    middle that it covers; `captioner`: captions of the items of a source.
    Raises InputError where no file is an image, a table of the user cannot be read, or the folder's
    drive is gone.
    """
    files = list_files(Path(folder))
    rows, missing = known_rows(files)
    if not rows:
        files.skip_unused()
        raise files.refuse()
    photos, bad = [], [Unusable(*one) for one in missing]
    with progress_bar("photos read", len(rows)) as bar:
        for path in sorted(rows, key=natural):
            bar.update(1)
            photo = _photo_of(files.name_of(path), rows[path])
            if why := _read(files.folder, path, photo, seen):
                bad.append(Unusable(photo.file_name, why, photo.caption))
            else:
                photos.append(photo)
    bad += _others(files, rows)
    if not photos:
        raise InputError("no-images.unusable", folder=folder, count=len(bad), first=bad[0].why)
    remark = _mark(photos, wanted)
    _draft(photos, word, captioner, files.folder)
    bad.sort(key=lambda one: natural(one.file_name))
    return Intake(files.folder, photos, bad, remark)


def unpack_photos(archive: Path, folder: Path) -> Path:
    """Unpack a zip (or tar) of photos into `folder`, or into FOLDER-2 and so on where other photos
    are; return that folder, where the archive was unpacked before.

    Raises InputError for an archive without photos, or one that is not safe; then nothing stays.
    """
    digest = file_sha256(archive)
    for number in itertools.count(1):
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not place.is_dir() or not any(place.iterdir()):
            break
        if is_there(place / UNPACKED) and read_text(place / UNPACKED) == digest:
            return place
    with atomic_dir(place) as aside:
        files = list_files(unpack(archive, aside))
        if not files.images:
            files.skip_unused()
            why = next(iter(files.skipped), OTHER)
            raise InputError("no-images.archive", path=archive, why=why)
        (aside / UNPACKED).write_text(digest, encoding="ascii")
    return place


def natural(name: str | Path) -> list:
    """Return a key that sorts names as people count: 2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", str(name).casefold())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def _others(files: Files, rows: dict[Path, dict]) -> list[Unusable]:
    """Return the files of a folder that are no photos, such as photos in a format that is not read,
    each with its reason."""
    files.used.update(rows)
    files.skip_unused()
    taken = {files.name_of(path) for path in rows}
    skipped = [(name, why) for why, names in files.skipped.items() for name in names]
    return [Unusable(name, why) for name, why in skipped if name not in taken]


def _photo_of(name: str, row: dict) -> Photo:
    """Return a photo with what is known of it."""
    product = as_text(row.get("product") or row.get("product_id"), name, "product")
    more = {key: _text(row[key]) for key in row if isinstance(key, str) and key not in FIELDS}
    return Photo(
        name,
        own_caption(row, name, name),
        product or (name if row[REPORTED] else ""),  # the user has removed the draft of a product
        as_text(row.get("category"), name, "category"),
        row.get(USE, True),
        issues=row[NOTES],
        more={key: text for key, text in more.items() if text},
    )


def _text(value) -> str:
    """Return a cell of a user's own column as text, "" for what a CSV cannot hold."""
    with contextlib.suppress(InputError):
        return as_text(value)
    return ""


def _read(folder: Path, path: Path, photo: Photo, seen: Seen | None) -> str:
    """Read a photo and note what its file says; return in words why it cannot be used, "" if it
    can."""
    if photo.file_name != photo.file_name.strip():
        return "its name begins or ends with a space; rename it"
    try:
        pixels = read_photo(path, photo.file_name)
        photo.digest = file_sha256(path)
    except (InputError, OSError) as error:
        _check_there(folder)
        is_empty = is_there(path) and not path.stat().st_size
        return EMPTY if is_empty else str(error).removeprefix(f"'{photo.file_name}' ")
    photo.size = pixels.shape[1::-1]
    reduced = _reduced(pixels, REDUCED)
    photo.thumb, photo.tiny = _reduced(reduced, THUMB), thumbnail(pixels)
    photo.colour, covers = seen(reduced) if seen else ("", None)
    photo.issues += issues_of_photo(reduced, covers)
    return ""


def _check_there(folder: Path) -> None:
    """Raise InputError if a folder is gone, as a Drive that is no longer connected."""
    try:
        os.listdir(folder)
    except OSError as error:
        raise InputError("folder-gone", folder=folder, error=error) from None


def _reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return np.asarray(image)


# ------------------------------------------------------------------------------- issues and drafts


def _mark(photos: list[Photo], wanted: int) -> str:
    """Add the issues that need all photos, and draft products where the user gave none; return an
    issue that all photos share."""
    found, remark = small([photo.size for photo in photos], wanted)
    for number, issue in found.items():
        photos[number].issues.insert(0, issue)
    pairs = twins([photo.tiny for photo in photos])
    for first, later in pairs:
        one, other = photos[first], photos[later]
        what = "the same photo as" if one.digest == other.digest else "nearly the same as"
        other.issues.append(f"{what} {one.file_name}; untick one of the two")
    for number, issue in lying([photo.size for photo in photos]).items():
        photos[number].issues.append(issue)
    given = [photo.product for photo in photos]
    drafts = products_of([photo.file_name for photo in photos])
    names = [own or draft or photo.file_name for own, draft, photo in zip(given, drafts, photos)]
    groups = merge_groups(names, np.array(pairs))
    best = {}  # the first name that the user gave to a photo of the group, else the first draft
    for found in (drafts, given):
        best |= {group: name for group, name in reversed([*zip(groups, found)]) if name}
    for photo, group in zip(photos, groups):
        photo.product = photo.product or best.get(group, group)
    return remark


def _draft(photos: list[Photo], word: str, captioner, folder: Path) -> None:
    """Draft a caption for each photo that has none of the user."""
    bare = [photo for photo in photos if not photo.caption]
    texts = captioner(_source_of(folder, bare)) if captioner and bare else []
    for photo, text in itertools.zip_longest(bare, texts, fillvalue=""):
        photo.caption, photo.drafted = text or _template(photo, word), True


def _template(photo: Photo, word: str) -> str:
    """Return "a photo of a red dress", or what a file's name says if it names a garment."""
    words = words_of_name(VIEW.sub("", Path(photo.file_name).stem))
    if not GARMENTS.isdisjoint(words.casefold().split()):
        return with_article(words, words.split()[-1])
    said = {"category": photo.category or word, "colour": photo.colour}
    return describe({**said, **photo.more})


def _source_of(folder: Path, photos: list[Photo]) -> Source:
    names = [photo.file_name for photo in photos]
    images = Images(len(names), lambda index: read_photo(folder / names[index]))
    key = content_key([photo.digest for photo in photos])
    blank, labels = [""] * len(names), [{} for _ in names]
    return Source("photos", key, blank, names, names, labels, blank, images)


# ----------------------------------------------------------------------------------------- writing


def _check(folder: Path, used: list[Photo]) -> None:
    """Raise InputError where the table could not be read back."""
    if not used:
        raise InputError("no-images.unticked", folder=folder)
    for photo in used:
        for key in ("caption", "product", "category"):
            setattr(photo, key, clean(getattr(photo, key).strip(), photo.file_name))
    if bare := [photo.file_name for photo in used if not photo.caption]:
        raise InputError("no-caption.intake", count=len(bare), first=bare[0])


def _noted(photo: Photo) -> dict:
    """Return the row of a photo in the report."""
    origin = "draft" if photo.drafted else "you"
    added = {"use": "yes" if photo.use else "no", "caption_from": origin}
    return {**photo.columns(), **added, "note": "; ".join(photo.issues)}


def _noted_unusable(file: Unusable) -> dict:
    return {"file_name": file.file_name, "use": "bad", "caption": file.caption, "note": file.why}
