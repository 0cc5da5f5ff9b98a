"""How is a zip or tar from outside unpacked safely?

Nothing is written outside the folder, and sizes are bounded.  Links, devices and unsafe names are
refused here, because tarfile's filter "data" removes the slash of "/etc/x" and allows links, and
names such as "C:/x", which a zip may contain too.
"""

import bz2
import contextlib
import errno
import getpass
import gzip
import itertools
import lzma
import os
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from tvhelpers.errors import InputError, in_words
from tvhelpers.files import make_dir
from tvhelpers.progress import in_notebook, progress_bar

MAX_BYTES = 1 << 40
MAX_FILES = 1_000_000
MAX_NAME, MAX_PART, MAX_DEPTH = 4096, 255, 64  # bytes of a name; bytes of each part; folders in it
MAX_HEADER = 8192  # bytes of a tar header that only names the next member
# Label files compress a hundred to one, a zip bomb a thousand to one; up to the floor any is safe.
MAX_RATIO, RATIO_FLOOR = 200, 256 << 20
PIECE = 1 << 20
LOCAL_HEADER, DIRECTORY_ENTRY = 30, 128  # bytes in a zip: at least before a member; usual
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def unpack(
    archive: Path,
    folder: Path,
    *,
    strip: int = 0,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
) -> Path:
    """Unpack a zip or tar (plain, gz, bz2, xz) into `folder`, and return it.

    `strip`: leading folders to remove from each name.  The password of an encrypted zip is asked
    for, or taken from $TV_ZIP_PASSWORD.  Raises InputError for an existing file, names outside the
    folder, links, devices, names used twice, more than `max_bytes` or `max_files`, a zip bomb, a
    wrong password, and damage; files unpacked before that stay.
    """
    archive, folder = Path(archive), make_dir(Path(folder))
    room = shutil.disk_usage(folder).free
    limit = min(max_bytes, max(RATIO_FLOOR, MAX_RATIO * archive.stat().st_size), room)
    seen: dict[tuple, bool] = {(): False}

    def take(name: str, stream) -> None:
        """Write one member of the archive into the folder, within the limit."""
        parts = _safe_parts(archive, name)[strip:]
        if not parts:
            return
        is_new = parts[:-1] not in seen
        _note_name(archive, parts, seen)
        if is_new:
            make_dir(folder.joinpath(*parts[:-1]))
        with open(folder.joinpath(*parts), "xb") as out:
            shutil.copyfileobj(stream, out, PIECE)

    with archive_errors(archive), open(archive, "rb") as raw:
        is_zip = raw.read(4) == b"PK\x03\x04" or zipfile.is_zipfile(raw)
        raw.seek(0)
        (_read_zip if is_zip else _read_tar)(archive, raw, limit, max_files, take)
    if not any(seen.values()):
        raise InputError("file-damaged.empty-archive", path=archive)
    return folder


@contextlib.contextmanager
def archive_errors(archive: Path, member: zipfile.ZipInfo | None = None):
    """Raise an InputError for whatever a damaged archive makes a library raise.

    It names the archive, or a `member` of a zip, but never the password.
    """
    where = f"{in_words(member.filename)} in {in_words(archive)}" if member else in_words(archive)
    try:
        yield
    except InputError:
        raise
    except FileExistsError as error:
        raise InputError("file-exists.folder", path=Path(error.filename)) from None
    except NotImplementedError as error:
        raise InputError("zip-method", where=where, error=error) from None
    except Exception as error:
        if getattr(error, "errno", None) in DISK_ERRORS:
            raise
        if member and member.flag_bits & 1:  # a wrong password passes the check 1 time in 256
            raise InputError("wrong-password", where=where) from None
        raise InputError("file-damaged.archive", where=where, error=error) from None


def _read_zip(archive: Path, raw, limit: int, max_files: int, take: Callable) -> None:
    """Pass (name, stream) of each file to `take`, after a check of all declared sizes.

    zipfile reads no more of a file than its declared size.
    """
    end = zipfile._EndRecData(raw)  # before all members are read into memory
    if end and max(end[4], end[5] // DIRECTORY_ENTRY) > max_files:
        raise InputError("unsafe-archive.files", path=archive, count=max_files)
    with zipfile.ZipFile(raw) as file:
        members = [one for one in file.infolist() if not one.is_dir()]
        _check_overlap(archive, members)
        total = sum(one.file_size for one in members)
        _check_bounds(archive, total, limit, len(members), max_files)
        for one in members:
            if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG):
                raise InputError("unsafe-archive.link", path=archive, name=one.filename)
        password = zip_password(archive) if any(one.flag_bits & 1 for one in members) else None
        with progress_bar(f"unpacking {archive.name}", total, unit="B") as bar:
            for one in members:
                with archive_errors(archive, one), file.open(one, pwd=password) as stream:
                    take(one.orig_filename, stream)
                bar.update(one.file_size)


def _check_overlap(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise InputError where two members share bytes, as in a zip bomb."""
    ordered = sorted(members, key=lambda one: one.header_offset)
    for one, following in itertools.pairwise(ordered):
        if one.header_offset + LOCAL_HEADER + one.compress_size > following.header_offset:
            raise InputError("unsafe-archive.overlap", path=archive, name=following.filename)


def zip_password(archive: Path) -> bytes:
    """Return the password from $TV_ZIP_PASSWORD or a prompt; raises InputError without either."""
    given = os.environ.get("TV_ZIP_PASSWORD")
    if not given:
        if not (sys.stdin and sys.stdin.isatty()) and not in_notebook():
            raise InputError("no-password", path=archive)
        given = getpass.getpass(f"password of {archive.name}: ")
    return given.encode()


def _read_tar(archive: Path, raw, limit: int, max_files: int, take: Callable) -> None:
    """Pass (name, stream) of each file to `take`, in one pass that stops at the limit."""
    start = raw.read(6)
    raw.seek(0)
    opener = next((OPENERS[magic] for magic in OPENERS if start.startswith(magic)), None)
    stream, count = _Bounded(archive, opener(raw) if opener else raw, limit), 0
    options = {"mode": "r|", "bufsize": PIECE, "tarinfo": _StrictInfo}
    bar = progress_bar(f"unpacking {archive.name}", archive.stat().st_size, unit="B")
    with bar, tarfile.open(fileobj=stream, **options) as file:
        for one in file:
            if one.isdir():
                continue
            if not one.isreg() or one.issparse():
                raise InputError("unsafe-archive.link", path=archive, name=one.name)
            count += 1
            _check_bounds(archive, one.size, limit, count, max_files)
            take(one.name, file.extractfile(one))
            bar.update(raw.tell() - bar.n)


class _StrictInfo(tarfile.TarInfo):
    """A member whose damaged header is an error; tarfile would end silently, or never."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """Return the member of a header; raise for a size that no header can have."""
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type not in tarfile.REGULAR_TYPES and info.size > MAX_HEADER):
            raise tarfile.InvalidHeaderError(f"a header of {info.size} bytes")
        return info

    @classmethod
    def fromtarfile(cls, file):
        """Return the next member; raise ReadError for a damaged header."""
        try:
            return super().fromtarfile(file)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _Bounded:
    """A stream that raises InputError after `limit` bytes."""

    def __init__(self, archive: Path, stream, limit: int):
        self.archive, self.stream, self.limit, self.given = archive, stream, limit, 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`."""
        piece = self.stream.read(size)
        self.given += len(piece)
        _check_bounds(self.archive, self.given, self.limit)
        return piece


def _check_bounds(archive: Path, size: int, limit: int, count: int = 0, max_files: int = 0) -> None:
    if size > limit:
        raise InputError("unsafe-archive.size", path=archive, size=limit // 10**6)
    if count > max_files:
        raise InputError("unsafe-archive.files", path=archive, count=max_files)


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    if len(os.fsencode(name)) > MAX_NAME or name.count("/") + name.count("\\") > MAX_DEPTH:
        raise InputError("unsafe-archive.name", path=archive, name=name[:MAX_NAME])
    path = PureWindowsPath(name)  # knows drives and both slashes
    if any(len(os.fsencode(part)) > MAX_PART for part in path.parts):
        raise InputError("unsafe-archive.name", path=archive, name=name)
    dots = any(not part.rstrip(". ") for part in path.parts)  # "..", and what Windows takes for it
    if path.anchor or not path.parts or dots or min(name) < " ":
        raise InputError("unsafe-archive.outside", path=archive, name=name)
    return path.parts


def _note_name(archive: Path, parts: tuple, seen: dict[tuple, bool]) -> None:
    """Add a file and the folders above it to `seen` {parts: whether it is a file}.

    Raises InputError for a name that occurs twice, or is both a file and a folder.
    """
    above = [parts[:depth] for depth in range(1, len(parts))]
    if parts in seen or any(seen.get(folder) for folder in above):
        raise InputError("unsafe-archive.twice", path=archive, name="/".join(parts))
    seen |= {**dict.fromkeys(above, False), parts: True}
