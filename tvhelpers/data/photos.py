"""How are the image files of a source read: which colours are converted, which files changed?"""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tvhelpers.errors import InputError, in_words
from tvhelpers.files import content_key, file_sha256
from tvhelpers.image import conversion_of_file, read_photo
from tvhelpers.words import counted

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
