"""The original photos behind a benchmark's small images, out of their archive.

Rows are joined by product folder and file name, as img/Red_Dress/img_00000001.jpg is
img_highres/Red_Dress/img_00000001.jpg in DeepFashion's img_highres.zip.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from tvhelpers.config import InputError, one_line
from tvhelpers.data.items import Source
from tvhelpers.data.unpack import zip_password
from tvhelpers.files import content_key
from tvhelpers.image import IMAGE_ENDINGS, read_photo

MAX_BYTES = 1 << 28  # of one photo; a zip that claims more is damaged, or a bomb

Key = tuple[str, ...]  # the last two parts of a path, case and all


@dataclass
class HighresSource(Source):
    """Items whose pixels are photos of an archive: a zip, read in place, or a folder."""

    archive: ZipPhotos | FolderPhotos = field(kw_only=True)

    def pixels(self, index: int) -> np.ndarray:
        name = self.item_ids[index]
        data = self.archive.read(_key(name))
        return read_photo(io.BytesIO(data), f"{self.archive.path}: {name}")


def open_highres(source: Source, archive: Path, say: Callable[[str], None] = print) -> Source:
    """Return the items of `source` that have a photo in `archive`, with its pixels and no mask.

    `archive`: a zip, of which nothing is unpacked, or a folder.  Folders that differ by case alone
    stay apart, which a case-insensitive disk cannot hold: there, give the zip.  An encrypted zip's
    password is asked for, or $TV_ZIP_PASSWORD; Python decrypts some 2.5 MB a second, so unpack a
    large one first.  `say` tells how many matched.  Raises InputError
    where none matches, or the archive cannot be read.
    """
    archive = Path(archive)
    if not archive.exists():
        raise InputError(f"{archive} does not exist; give img_highres.zip, or its folder")
    photos = FolderPhotos(archive) if archive.is_dir() else ZipPhotos(archive)
    keys = [_key(name) for name in source.item_ids]
    kept = [row for row, key in enumerate(keys) if key in photos.places]
    if not kept:
        some = "/".join(next(iter(photos.places), ("nothing",)))
        raise InputError(
            f"{archive} has no photo of {source.name}: it holds {some}, looked for was "
            f"{'/'.join(keys[0])}; give the photos of the same set"
        )
    say(f"{archive}: photos matched {len(kept):,} of {len(source):,} items")
    photos.unlock(keys[kept[0]])
    columns = [
        [column[row] for row in kept]
        for column in (
            source.captions,
            source.item_ids,
            source.product_ids,
            source.attributes,
            source.splits,
        )
    ]
    sums = [photos.checksum(keys[row]) for row in kept]
    key = content_key([source.fingerprint, [source.item_ids[row] for row in kept], sums])
    return HighresSource(source.name, key, *columns, archive=photos)


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
            raise InputError(
                f"{path} holds both {names[key]} and {name}, and either could be meant; give the "
                "photos alone, as img_highres.zip or its folder"
            )
        places[key], names[key] = place, name
    return places


class FolderPhotos:
    """The photos below a folder."""

    def __init__(self, path: Path):
        self.path = path
        files = sorted(file for file in path.rglob("*") if file.is_file())
        self.places = _places(path, [(file.relative_to(path).as_posix(), file) for file in files])

    def unlock(self, key: Key) -> None:
        """Do nothing: files of a folder are not encrypted."""

    def checksum(self, key: Key) -> list[int]:
        """Return CRC-32 and size, as a zip has them."""
        data = self.read(key)
        return [zlib.crc32(data), len(data)]

    def read(self, key: Key) -> bytes:
        """Return the bytes of a photo."""
        return self.places[key].read_bytes()


class ZipPhotos:
    """The photos in a zip, which is opened anew in each process that reads."""

    def __init__(self, path: Path):
        self.path, self._password, self._opened = path, None, (0, None)
        members = [member for member in self._file().infolist() if member.filename[-1:] != "/"]
        self.places = _places(path, [(member.filename, member) for member in members])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_opened": (0, None)}

    def unlock(self, key: Key) -> None:
        """Ask for the password where the photo is encrypted, and try it on the photo."""
        if self.places[key].flag_bits & 1:
            self._password = zip_password(self.path)
        self.read(key)

    def checksum(self, key: Key) -> list[int]:
        """Return CRC-32 and size, from the zip's directory."""
        return [self.places[key].CRC, self.places[key].file_size]

    def read(self, key: Key) -> bytes:
        """Return the bytes of a photo."""
        member = self.places[key]
        if member.file_size > MAX_BYTES:
            raise InputError(
                f"{self.path}: {member.filename} claims {member.file_size} bytes; get the zip anew"
            )
        with _decrypted(self.path, member):
            return self._file().read(member, self._password)

    def _file(self) -> zipfile.ZipFile:
        """Return the open zip: a fork that shared it would share its place in the file."""
        process, file = self._opened
        if process != os.getpid():
            try:
                file = zipfile.ZipFile(self.path)
            except Exception as error:  # a damaged zip raises nearly anything
                raise InputError(
                    f"{self.path} is no zip ({one_line(error)}); get it anew"
                ) from None
            self._opened = os.getpid(), file
        return file


@contextlib.contextmanager
def _decrypted(archive: Path, member: zipfile.ZipInfo):
    """Say of a member that is damaged or encrypted what is wrong, and never the password."""
    try:
        yield
    except NotImplementedError as error:
        raise InputError(
            f"{archive}: {member.filename} is packed or encrypted in a way that Python cannot open "
            f"({one_line(error)}); unpack it with 7-Zip and give the folder"
        ) from None
    except Exception as error:  # a damaged zip raises nearly anything
        # a wrong password passes for the right one 1 time in 256, and then gives rubbish
        reason = (
            "the password does not open it; try another"
            if member.flag_bits & 1
            else f"it is damaged ({one_line(error)}); get the zip anew"
        )
        raise InputError(f"{archive}: {member.filename}: {reason}") from None
