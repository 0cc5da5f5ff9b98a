"""How are files written atomically, folders locked, and contents hashed?"""

import contextlib
import errno
import filecmp
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tvhelpers.errors import InputError, is_disk_full

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

LOCK = ".lock"  # lock file of a folder that a command writes to
NAME_START = 50  # characters of a file's name that its temporary file has
TEMPORARY = ".writing"  # ending of temporary files
LEFT = re.compile(rf"\..{{1,{NAME_START}}}\.[a-z0-9_]{{8}}{re.escape(TEMPORARY)}", re.DOTALL)
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def content_key(value) -> str:
    """Return 16 hex digits that identify a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the file's SHA-256 as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path, once: bool = False):
    """Yield a path to write to; it is renamed to `path` when the block ends without an error.

    The file is flushed to the disk before that, so that nobody ever sees half of it.  `once`: raise
    FileExistsError where `path` exists by then, also if another process has just made it.
    """
    path = Path(path)
    make_dir(path.parent)
    handle, aside = _temporary(path)
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(aside, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        if once:
            _link(aside, path)
        else:
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def _temporary(path: Path) -> tuple[int | None, Path]:
    """Return (handle, path) of a new hidden file beside `path`.  The handle holds a lock on it: a
    temporary file without a lock is left over from a killed process."""
    while True:
        prefix = f".{path.name[:NAME_START]}."
        handle, name = tempfile.mkstemp(TEMPORARY, prefix, path.parent)
        if fcntl is None:  # Windows cannot rename an open file
            os.close(handle)
            return None, Path(name)
        _try_lock(handle)
        if os.fstat(handle).st_nlink:  # else another process removed it before it was locked
            return handle, Path(name)
        os.close(handle)


def _link(aside: Path, path: Path) -> None:
    """Give `aside` its final name; raises FileExistsError where that is taken."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # some mounted drives have no hard links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(aside, path)


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder, if it exists."""
    if fcntl is None or not folder.is_dir():
        return
    for entry in [*os.scandir(folder)]:
        if LEFT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):  # another process was faster
                handle = os.open(entry.path, os.O_RDWR | NO_LINK)
                if _try_lock(handle):
                    os.unlink(entry.path)
                os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically, unless it has this text already."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, unless it has this content already."""
    if not path.is_file() or path.is_symlink() or path.read_bytes() != content:
        with atomic_path(path) as aside:
            aside.write_bytes(content)


def write_zip(path: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) pairs as a zip, not compressed; equal contents give equal bytes, and
    leave a file's time as it was."""
    with atomic_path(path) as aside:
        with zipfile.ZipFile(aside, "w") as archive:
            for name, content in contents:
                archive.writestr(zipfile.ZipInfo(name), content)
        if path.is_file() and filecmp.cmp(aside, path, shallow=False):
            shutil.copystat(path, aside)


def write_once(path: Path, content: bytes) -> None:
    """Write a file; raises InputError where it exists with other content."""
    write_all_once({Path(path): content})


def write_all_once(contents: dict[Path, bytes]) -> None:
    """Write files {path: content}; raises InputError before writing any if one exists with other
    content."""
    for path, content in contents.items():
        _has(path, content)
    for folder in {path.parent for path in contents}:
        remove_temporary(folder)
    for path, content in contents.items():
        write_new(path, content)


def write_new(path: Path, content: bytes) -> None:
    """Write a file as `write_once` does, but keep temporary files of killed processes."""
    try:
        if not _has(path, content):
            with atomic_path(path, once=True) as aside:
                aside.write_bytes(content)
    except FileExistsError:  # made by another process meanwhile
        _has(path, content)


def _has(path: Path, content: bytes) -> bool:
    """Return whether a file exists with this content; raises InputError for other content."""
    if not os.path.lexists(path):
        return False
    if not path.is_file() or path.read_bytes() != content:
        raise InputError("file-exists.content", path=path)
    return True


def size_of(path: Path) -> int:
    """Return the bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def check_room(name: str, folder: Path, needed: int) -> None:
    """Make a folder; raise InputError where fewer than `needed` bytes are free there for `name`."""
    free = shutil.disk_usage(make_dir(folder)).free
    if needed > free:
        needed, free = needed / 1e9, free / 1e9
        raise InputError("disk-full.room", name=name, needed=needed, folder=folder, free=free)


@contextlib.contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Raise InputError where the disk of `folder` is full within the block, whoever says it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or not is_disk_full(error):
            raise
        raise InputError("disk-full", folder=folder) from error


def make_dir(path: Path) -> Path:
    """Make the folder and its parents; raises InputError where that is impossible."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise InputError("not-a-folder", file=file) from None
    except PermissionError:
        pass
    if not os.access(path, os.W_OK):  # so too where it could not be made
        raise InputError("no-permission", path=path)
    return path


@contextlib.contextmanager
def locked(path: Path, wait: float = 0.0, remove: bool = False) -> Iterator[None]:
    """Hold the lock file `path` within the block, so that no other process can.

    While another holds it, wait that many seconds; then raise InputError.  The lock ends with its
    process, and drives without locks have none.  A link in its place is removed, not followed.
    With `remove`, the file is gone after the block, but on Windows.
    """
    remove_link(path)
    end = time.monotonic() + wait
    while (handle := _locked_file(path)) is None:
        if time.monotonic() >= end:
            what = path.name.removeprefix(".").removesuffix("lock").removesuffix(".")
            raise InputError("at-work", folder=path.parent / what)
        time.sleep(0.05)
    try:
        yield
    finally:
        if remove and fcntl is not None:  # Windows removes no open file
            with contextlib.suppress(OSError):  # it is gone, or its folder
                os.unlink(path)
        os.close(handle)


def _locked_file(path: Path) -> int | None:
    """Return the handle of a file after locking it; None where another process holds its lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        if not _try_lock(handle):
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if fcntl is None or os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)  # the process that held it has removed it since


def writing_beside(path: Path, wait: float = 0.0):
    """Hold the lock of a file or folder that may not exist yet, as `locked` does; make its parent.

    The lock file is removed after the block.
    """
    return locked(make_dir(path.parent) / f".{path.name}.lock", wait, remove=True)


@contextlib.contextmanager
def writing(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a folder's lock within the block, and remove what killed writers left in it.

    Without write permission no lock is taken, so that finished results can still be opened.
    """
    folder = Path(folder)
    if folder.is_dir() and not os.access(folder, os.W_OK):
        yield
        return
    with locked(make_dir(folder) / LOCK, wait):
        remove_temporary(folder)
        yield


def check_idle(folder: Path) -> None:
    """Raise InputError while another process writes into a folder."""
    if (folder / LOCK).is_file() and os.access(folder, os.W_OK):
        with locked(folder / LOCK):
            pass


def _try_lock(handle: int) -> bool:
    """Lock an open file until it is closed; False where another process holds it."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:  # any other one: a mounted drive without locks
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def remove_link(path: Path) -> Path:
    """Remove a link at a path, so that writing there stays in its folder; return the path."""
    if path.is_symlink():
        path.unlink()
    return path


def no_link(path, flags: int) -> int:
    """Open a file, as `opener` of `open`; raise OSError if the path is a link."""
    return os.open(path, flags | NO_LINK, 0o666)


@contextlib.contextmanager
def atomic_dir(path: Path, aside: Path | None = None, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it is renamed to `path` when the block ends without an error.

    An existing `path` is kept, unless `replace`.  Until then, the folder is `aside`, a hidden one
    beside `path` by default; it is removed after an error, and what a killed process left there.
    """
    aside = remove_link(aside or path.with_name(f".{path.name}.partial"))
    shutil.rmtree(aside, ignore_errors=True)
    try:
        yield make_dir(aside)
        if replace and path.exists():
            shutil.rmtree(path)
        replace_dir(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def replace_dir(aside: Path, path: Path) -> None:
    """Rename the finished folder `aside` to `path`; an existing `path` is kept."""
    try:
        os.rename(aside, path)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(aside)  # another process finished the same work first


def read_yaml(path: Path):
    """Return the content of one of our YAML files."""
    import yaml

    text = Path(path).read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_tables(module: str, name: str) -> dict:
    """Return the tables of a YAML file beside a module, given by its `__file__`."""
    return read_yaml(Path(module).with_name(name))
