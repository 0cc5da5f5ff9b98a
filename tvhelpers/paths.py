"""Which files does a folder hold, and is a path that somebody names inside it?

No file outside the folder is ever returned, whatever a name or a link says, with one exception: in
the cache of the Hugging Face hub, the files of a snapshot are links to `blobs` beside `snapshots`.
"""

import contextlib
import functools
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tvhelpers.errors import InputError

AND = " + "  # between the names or paths of sources that are joined

# Why a file is skipped; each ends the sentence "2 files skipped, such as ...: ".
HIDDEN = "hidden, a backup or a thumbnail by its name, or in a folder of the system"
LEADS_OUT = "a link out of the folder, or to a missing file; copy the folder with `cp -rL`"
NOT_UTF8 = "its name is not UTF-8; rename it"
CLOSED = "a folder that cannot be opened"
NO_FILE = "not a file, but an empty folder, a pipe or a device"

SERVICE = frozenset(
    """@eadir __macosx ehthumbs.db desktop.ini lost+found $recycle.bin recycler #recycle @recycle
__pycache__""".split()
) | {"system volume information"}
THUMBS = re.compile(r"[\W_]*thumb(nail)?s?[\W\d_]*(db)?", re.I)  # _thumbs, thumbs_128, Thumbs.db
BACKUPS = (
    *"~ .bak .old .orig .tmp .part .crdownload".split(),
    *(".jpg_original", ".jpeg_original", ".png_original"),  # exiftool's
)
LIKE_IMAGE = re.compile(
    r"\.(jpe?g?|jfif|png|webp|bmp|gif|tiff?|avif|hei[cf]|jxl|psd|svg)"
    r"(~|_original|\.(bak|old|orig|tmp|part|crdownload))?$",
    re.I,
)


def walk(folder: Path, skipped: dict[str, list[str]] | None = None) -> list[Path]:
    """Return the regular files of a folder and its subfolders, sorted.

    Skips hidden and service files and folders, such as .ipynb_checkpoints, @eaDir and ._x.png,
    thumbnails and backups (thumbs/x.png, x.png~), names that are not UTF-8, and links that lead out
    of the folder.  They are added to `skipped` {reason: names}; of hidden files, pipes,
    devices and empty folders only those with the ending of an image.
    """
    folder, found, skipped = Path(folder), [], {} if skipped is None else skipped

    def skip(reason: str, path: str) -> None:
        name = os.path.relpath(path, folder).encode("utf-8", "backslashreplace").decode()
        skipped.setdefault(reason, []).append(name)

    for place, folders, files in os.walk(folder, onerror=lambda one: skip(CLOSED, one.filename)):
        folders.sort()
        if not folders and not files and place != os.fspath(folder) and LIKE_IMAGE.search(place):
            skip(NO_FILE, place)
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        plain = set() if _why_not(folder, os.path.join(place, "x")) else _plain(place)
        for name in sorted(files + links):
            path = os.path.join(place, name)
            if name in plain:
                found.append(Path(path))
                continue
            reason = _why_not(folder, path)
            if not reason and os.path.isfile(path):
                found.append(Path(path))
            elif (reason or not os.path.isdir(path)) and (
                reason not in ("", HIDDEN) or LIKE_IMAGE.search(path)
            ):
                skip(reason or NO_FILE, path)
    return sorted(found)


def _plain(folder: str) -> set[str]:
    """Return the names of files that are surely not skipped, without the cost of `_why_not`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        files = [one.name for one in entries if one.is_file(follow_symlinks=False)]
        return {name for name in files if name.isascii() and not _is_service(name)}
    return set()


def snapshot_of(folder: Path) -> Path:
    """Return the newest snapshot of a folder of the hub's cache; any other folder unchanged."""
    if not (folder / "snapshots").is_dir() or not (folder / "blobs").is_dir():
        return folder
    snapshots = [path for path in (folder / "snapshots").iterdir() if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=folder)


def is_listed(folder: Path, path: Path) -> bool:
    """Return whether `walk(folder)` would list a file: neither hidden nor a link out of it."""
    return is_there(path) and not _why_not(folder, os.fspath(path)) and _stays(folder, path)


def inside(folder: Path, name: str) -> Path:
    """Return the path in a folder that `name` means; the file may be missing.

    `name` may be an absolute path into the folder.  Where there is no such file, backslashes count
    as slashes, and case and Unicode form are ignored.  Raises InputError for a name, or a link,
    that leads out of the folder.
    """
    folder, spelled = Path(folder), dict.fromkeys((str(name), str(name).replace("\\", "/")))
    inner = [_relative(folder, one) for one in spelled]
    known = [one for one in inner if one is not None]
    try:
        paths = itertools.chain(
            (folder / one for one in known), (_as_written(folder, one) for one in known)
        )
        other = None if None in inner else folder / inner[0]
        path = next((one for one in paths if one.exists()), other)
        if path and _stays(folder, path):
            return path
    except (OSError, ValueError, RuntimeError):  # null characters, too long, links in a circle
        return folder / "\N{REPLACEMENT CHARACTER}"  # no such file
    if None not in inner:
        raise InputError("outside-folder.link", name=str(name), folder=folder)
    raise InputError("outside-folder", name=str(name), folder=folder)


def is_there(path: Path) -> bool:
    """Return whether a path is a file; False too for an impossible name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _relative(folder: Path, name: str) -> str | None:
    """Return a name relative to the folder, without ".."; None where it leads out of it."""
    if os.path.isabs(name):
        places = [Path(os.path.abspath(folder)), folder.resolve()]
        path = Path(os.path.normpath(name))
        place = next((one for one in places if path.is_relative_to(one)), None)
        return path.relative_to(place).as_posix() if place else None
    inner = os.path.normpath(name)
    return None if inner.split(os.sep)[0] == ".." or re.match(r"[A-Za-z]:[\\/]", inner) else inner


def _as_written(folder: Path, inner: str) -> Path:
    """Return the existing path that differs only by case and Unicode form, if there is one."""
    path = folder
    for part in Path(inner).parts:
        if path.is_dir() and not (path / part).exists():
            part = _entries(path, path.stat().st_mtime_ns).get(folded(part), part)
        path = path / part
    return path


@functools.lru_cache(maxsize=64)
def _entries(folder: Path, changed: int) -> dict[str, str]:
    """Return {folded name: name} of a folder, without names whose folded forms are equal."""
    names = os.listdir(folder)
    counts = Counter(map(folded, names))
    return {folded(name): name for name in names if counts[folded(name)] == 1}


def folded(name: str) -> str:
    """Return a name in lower case and one Unicode form, to compare names."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stays(folder: Path, path: Path) -> bool:
    """Return whether all links of a path end in the folder, or in the blobs of its hub snapshot."""
    own = [path, *path.parents][: len(path.parts) - len(folder.parts)]
    if path.exists() and not any(map(os.path.islink, own)):
        return True  # the usual case; resolve() takes ten times longer
    end, root = path.resolve(), folder.resolve()
    if end.is_relative_to(root):
        return True
    snapshots = (one for one in (root, *root.parents) if one.name == "snapshots")
    blobs = [one.with_name("blobs") for one in snapshots]
    return any(end.parent == one and not one.is_symlink() for one in blobs)


def _is_service(part: str) -> bool:
    name = part.lower()
    hidden = name[0] == "." or name in SERVICE or name.endswith(BACKUPS)
    return hidden or ("thumb" in name and bool(THUMBS.fullmatch(name)))


def _why_not(folder: Path, path: str) -> str:
    """Return why a file, or a link to a folder, is skipped; "" if it is not."""
    above = os.path.join(folder, "")  # relpath() takes longer than all the rest
    inner = path[len(above) :] if path.startswith(above) else os.path.relpath(path, folder)
    if any(map(_is_service, inner.split(os.sep))):
        return HIDDEN
    try:
        inner.encode()
    except UnicodeEncodeError:
        return NOT_UTF8
    if os.path.islink(path) and not (os.path.exists(path) and _stays(folder, Path(path))):
        return LEADS_OUT
    return ""


def names_of(name: str) -> list[str]:
    """Return the names or paths in "photos + more photos"; [] where it is one name."""
    names = [part.strip() for part in name.split(AND)]
    return names if len(names) > 1 and all(names) and not Path(name).exists() else []


def for_each(name: str, change: Callable[[str], str]) -> str:
    """Return a name with `change` made to each of the names that it joins; "" if one becomes ""."""
    changed = [change(part) for part in names_of(name) or [name]]
    return AND.join(changed) if all(changed) else ""
