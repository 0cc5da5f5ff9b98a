"""How are files written atomically, folders locked, and contents hashed?"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tvhelpers.errors import InputError


def content_key(value) -> str:
    """Return 16 hex digits that identify a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the file's SHA-256 as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path):
    """Yield a path to write to; it is renamed to `path` when the block ends without an error.

    The file is flushed to the disk before that, so that nobody ever sees half of it.
    """
    path = Path(path)
    make_dir(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_once(path: Path, content: bytes) -> None:
    """Write a file; raises InputError where it exists with other content."""
    if path.exists() and path.read_bytes() != content:
        raise InputError("file-exists.content", path=path)
    with atomic_path(path) as aside:
        aside.write_bytes(content)


def make_dir(path: Path) -> Path:
    """Make the folder and its parents; raises InputError where that is impossible."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if place.exists())
        raise InputError("not-a-folder", file=file) from None
    except PermissionError:
        pass
    if not os.access(path, os.W_OK):  # so too where it could not be made
        raise InputError("no-permission", path=path)
    return path


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` within the block, so that no other process can.

    While another holds it, `wait`, or raise InputError.  The lock ends with its process.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise InputError("at-work", folder=path.parent) from None
    except NotImplementedError:  # some mounted drives have no locks
        yield
        return
    try:
        yield
    finally:
        lock.release()


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
