"""Which original photos in a zip or a folder belong to a benchmark's small images?

Rows are joined by product folder and file name, as img/Red_Dress/img_00000001.jpg is
img_highres/Red_Dress/img_00000001.jpg in DeepFashion's img_highres.zip.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from tvhelpers.data.items import COLUMNS, Images, Source
from tvhelpers.data.photos import key_of_colours, state_of
from tvhelpers.data.unpack import archive_errors, zip_password
from tvhelpers.errors import InputError
from tvhelpers.files import content_key
from tvhelpers.image import IMAGE_ENDINGS, read_photo
from tvhelpers.paths import walk
from tvhelpers.words import counted

log = logging.getLogger(__name__)
JPEG_HEAD = 1 << 20  # bytes at the start of a JPEG that hold its ICC profile
MAX_BYTES = 1 << 28  # of one photo; a zip that declares more is damaged or a bomb

Key = tuple[str, ...]  # the last two parts of a path, case and all


def open_highres(source: Source, archive: Path) -> Source:
    """Return the items of `source` that have a photo in `archive`, with its pixels and no mask.

    `archive`: a folder, or a zip, which is read without unpacking.  On a case-insensitive disk give
    the zip, because names may differ by case alone.  An encrypted zip's password is asked for, or
    taken from $TV_ZIP_PASSWORD; Python decrypts some 2.5 MB a second, so unpack a large one first.
    Raises InputError where no photo matches, or the archive cannot be read.
    """
    archive = Path(archive)
    if not archive.exists():
        raise InputError("file-missing.photos", path=archive)
    photos = FolderPhotos(archive) if archive.is_dir() else ZipPhotos(archive)
    keys = [_key(name) for name in source.item_ids]
    kept = [row for row, key in enumerate(keys) if key in photos.places]
    if not kept:
        name, wanted = source.name, "/".join(keys[0])
        some = "/".join(next(iter(photos.places), ("nothing",)))
        raise InputError("file-differs.photos", path=archive, name=name, seen=some, needed=wanted)
    log.info(f"{archive}: photos were found for {len(kept):,} of {counted(len(source), 'item')}")
    photos.read(keys[kept[0]])  # asks for a password, and tries it
    columns = {name: [getattr(source, name)[row] for row in kept] for name in COLUMNS}
    sums = [photos.checksum(keys[row]) for row in kept]
    key = content_key([source.fingerprint, columns["item_ids"], sums])
    key = key_of_colours(key, archive, ((str(row), photos.head(keys[row])) for row in kept))
    images = Images(len(kept), partial(_photo, photos, columns["item_ids"]))
    return Source(source.name, key, **columns, images=images)


def _photo(photos: ZipPhotos | FolderPhotos, names: list[str], index: int) -> np.ndarray:
    data = photos.read(_key(names[index]))
    return read_photo(io.BytesIO(data), f"{photos.path}: {names[index]}")


def _key(name: str) -> Key:
    return PurePosixPath(name.replace("\\", "/")).parts[-2:]


def _places(path: Path, pairs: list) -> dict:
    """Return {key: place} of (name, place); raises InputError where two photos have one key."""
    places, names = {}, {}
    for name, place in pairs:
        if PurePosixPath(name).suffix.lower() not in IMAGE_ENDINGS:
            continue
        key = _key(name)
        if key in places:
            raise InputError("ambiguous", path=path, first=names[key], second=name)
        places[key], names[key] = place, name
    return places


class FolderPhotos:
    """The photos below a folder."""

    def __init__(self, path: Path):
        self.path, self.states = path, {}
        self.places = _places(path, [(str(file.relative_to(path)), file) for file in walk(path)])

    def checksum(self, key: Key) -> list[int]:
        """Return CRC-32 and size in bytes, as a zip's directory has them."""
        data = self.read(key)
        return [zlib.crc32(data), len(data)]

    def read(self, key: Key) -> bytes:
        """Return the bytes of a photo; raises InputError if its file has changed."""
        data, path = self.places[key].read_bytes(), self.places[key]
        if state_of(path) != self.states.setdefault(key, state_of(path)):
            raise InputError("file-changed", path=path)
        return data

    def head(self, key: Key) -> Path:
        """Return a file with at least the first bytes of a photo: its header and ICC profile."""
        return self.places[key]


class ZipPhotos:
    """The photos in a zip; each process that reads opens the zip itself."""

    def __init__(self, path: Path):
        self.path, self._password, self._opened = path, None, (0, None)
        self.state = state_of(path)
        members = [member for member in self._file().infolist() if member.filename[-1:] != "/"]
        self.places = _places(path, [(member.filename, member) for member in members])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_opened": (0, None)}

    def checksum(self, key: Key) -> list[int]:
        """Return CRC-32 and size, from the zip's directory."""
        return [self.places[key].CRC, self.places[key].file_size]

    def read(self, key: Key) -> bytes:
        """Return the bytes of a photo; the first that is encrypted asks for the password."""
        member = self.places[key]
        if member.flag_bits & 1 and self._password is None:
            self._password = zip_password(self.path)
        if member.file_size > MAX_BYTES:
            name, size = member.filename, member.file_size
            raise InputError("file-damaged.photo", path=self.path, name=name, size=size)
        if state_of(self.path) != self.state:
            raise InputError("file-changed", path=self.path)
        with archive_errors(self.path, member):
            return self._file().read(member, self._password)

    def head(self, key: Key) -> io.BytesIO:
        """Return a file with at least the first bytes of a photo; an empty one if it is damaged."""
        member = self.places[key]
        size = JPEG_HEAD if member.filename.lower().endswith((".jpg", ".jpeg")) else MAX_BYTES
        with contextlib.suppress(InputError), archive_errors(self.path, member):
            return io.BytesIO(self._file().open(member, "r", self._password).read(size))
        return io.BytesIO()

    def _file(self) -> zipfile.ZipFile:
        """Return the zip as this process opened it: forks would share one position in the file."""
        process, file = self._opened
        if process != os.getpid():
            with archive_errors(self.path):
                file = zipfile.ZipFile(self.path)
            self._opened = os.getpid(), file
        return file
