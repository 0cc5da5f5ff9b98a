"""How are image files of a source read: which are converted to sRGB, damaged, or changed since?"""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
from PIL import ExifTags

from tvhelpers.data.items import Images, Source, Subset
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import content_key, file_sha256
from tvhelpers.image import conversion_of_file, open_image, read_photo
from tvhelpers.progress import progress_bar
from tvhelpers.words import counted

BAD_IMAGE = "cannot be read as an image"  # why a file is skipped
MASK_LEVELS = (0, 128, 255)  # of background, skin and garment in an image of a mask
LOOKING = Lock()  # several threads read photos; after an error, one of them checks all photos

log = logging.getLogger(__name__)


def state_of(path: Path) -> tuple[int, int]:
    """Return (size, time of the last change in ns) of a file; zeros if it is missing."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns


def read_unchanged(path: Path, state: tuple[int, int]) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) of an image file; raises InputError if the file changed since
    `state`, its `state_of` when its source was opened: the fingerprint would be wrong."""
    pixels = read_photo(path)
    if state_of(path) != state:
        raise InputError("file-changed", path=path)
    return pixels


def photo_sha256(path: Path) -> str:
    """Return the SHA-256 of an image file, with a suffix if older versions, which ignored ICC
    profiles, read other pixels."""
    return file_sha256(path) + "-sRGB" * conversion_of_file(path)[1]


def key_of_colours(key: str, where, files: Iterable[tuple[str | Path, Path | BinaryIO]]) -> str:
    """Return a source's key; another one if older versions read other pixels of any of its `files`
    (name, image file), as they ignored ICC profiles.  Log how many profiles are used or broken."""
    converted, broken, others = [], [], False
    for name, file in files:
        conversion, other = conversion_of_file(file)
        others |= other
        if conversion.transform:
            converted.append(conversion.name)
        elif conversion.broken:
            broken.append((name, conversion.broken))
    if converted:
        profiles, count = in_words(list(dict.fromkeys(converted))), counted(len(converted), "image")
        log.info(f"{where}: {count} converted to sRGB by the ICC profile of the file ({profiles})")
    if broken:
        (name, why), count = broken[0], counted(len(broken), "image")
        seen = f"{in_words(str(name))}: {in_words(why)}"
        warnings.warn(f"{where}: ICC profile of {count} ignored, such as {seen}", stacklevel=5)
    return content_key([key, "sRGB"]) if others else key


# ----------------------------------------------------------------------------------- damaged images


class Photos(Images):
    """Image files.  If one cannot be read, all are checked, and the error names all bad ones."""

    def __init__(self, paths: list[Path]):
        states = [state_of(path) for path in paths]
        super().__init__(len(paths), partial(read_one_of, paths, states, []))
        self.paths = paths

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) by the file's header, of an image turned upright."""
        # of a damaged file, reading the pixels says what is wrong
        with contextlib.suppress(Exception), open_image(self.paths[index]) as image:
            if image.format != "TIFF":  # Pillow turns these itself, some versions on opening
                lies = image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
                return image.size if lies else image.size[::-1]
        return super().size(index)


class MaskedPhotos(Photos):
    """Image files, and for each a mask of its size: white is the garment, a middle gray is skin or
    hair, black is the background."""

    def __init__(self, paths: list[Path], masks: list[Path]):
        super().__init__(paths)
        self.names, self.masks = [path.name for path in paths], Photos(masks)

    def regions(self, index: int) -> np.ndarray:
        """Return each pixel's code in REGIONS, uint8 (H, W); raises InputError for a mask of
        another size than its photo."""
        mask, photo = self.masks[index], self[index]
        if mask.shape != photo.shape:
            seen, needed = (f"{one.shape[1]} x {one.shape[0]}" for one in (mask, photo))
            raise InputError("mask-unfit", name=self.names[index], seen=seen, needed=needed)
        distances = np.abs(mask.mean(2)[..., None] - MASK_LEVELS)
        return distances.argmin(2).astype(np.uint8)


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
