"""How are large files copied from a drive that may fail, so that a stopped copy resumes?

A partial file's name holds a key of the source's path, size and time: where one of these changed,
the copy begins again.  A finished copy has the size and the time of its source.
"""

import contextlib
import errno
import glob
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TypeVar

from tvhelpers.errors import InputError
from tvhelpers.files import check_room, content_key, remove_link, size_of, writing_beside
from tvhelpers.output import say
from tvhelpers.progress import progress_bar

PIECE = 1 << 20  # bytes that are read at once: few, so that the bar moves on a slow drive
FLUSH = 64 << 20  # bytes after which what was written is surely on the disk
SPOTS = 16  # pieces in which a copy is compared with its source: all of a small file
WAITS = (1, 2, 4, 8, 15)  # seconds before a failed read is tried again
RESERVE = 1 << 30  # bytes that stay free on this machine
# what a network drive says that may work again a little later
PASSING = {
    getattr(errno, name)
    for name in "EIO ENOTCONN ETIMEDOUT EAGAIN EBUSY ESTALE ECONNABORTED ECONNRESET".split()
    if hasattr(errno, name)
}

Answer = TypeVar("Answer")


def copy_files(pairs: dict[Path, Path], what: str) -> int:
    """Copy {source: target} with a bar named `what`, and return how many were not there yet.

    Reads that fail are tried again for half a minute.  What was copied by then stays: the next call
    resumes there.  Of two processes that copy the same file one waits for the other.  Raises
    InputError where the disk is too small, or the drive cannot be read.
    """
    found = {source: patiently(source.stat, source) for source in pairs}
    lacking = {
        source: facts for source, facts in found.items() if not _is_copy(pairs[source], facts)
    }
    if not lacking:
        return 0
    total = sum(facts.st_size for facts in lacking.values())
    here = sum(size_of(_partial(pairs[source], source, lacking[source])) for source in lacking)
    check_room(what, next(iter(pairs.values())).parent, total - here + RESERVE)
    with progress_bar(what, total, done=here, unit="B") as bar:
        bar.miniters, bar.dynamic_miniters = 0, False  # it moves with each piece, however slow
        for source in lacking:
            _copy(source, pairs[source], bar)
    return len(lacking)


def list_tree(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted; a folder that cannot be listed is never skipped."""

    def stop(error: OSError):
        """Raise what os.walk would ignore."""
        raise error

    found = os.walk(folder, onerror=stop)
    return sorted(Path(place, name) for place, _, names in found for name in names)


def patiently(work: Callable[[], Answer], path: Path, rest: Callable = time.sleep) -> Answer:
    """Return `work()`, tried again, after a rest of some seconds, where the drive of `path` fails.

    Raises InputError where it stays so.
    """
    for seconds in (*WAITS, None):
        try:
            return work()
        except OSError as error:
            said = f"Errno {error.errno}, {error.strerror}"
            if seconds is None or error.errno not in PASSING:
                raise InputError("drive-lost", path=path, error=said) from None
            say(f"{path.name}: {said}; trying again in {seconds} s")
            rest(seconds)
    raise AssertionError


def _is_copy(target: Path, facts: os.stat_result) -> bool:
    there = target.stat() if target.is_file() else None
    wanted = (facts.st_size, facts.st_mtime_ns)
    return there is not None and (there.st_size, there.st_mtime_ns) == wanted


def _partial(target: Path, source: Path, facts: os.stat_result) -> Path:
    key = content_key([str(source), facts.st_size, facts.st_mtime_ns])[:8]
    return target.with_name(f".{target.name[:50]}.{key}.part")


def _copy(source: Path, target: Path, bar) -> None:
    """Copy one file, unless another process has done so meanwhile."""
    with writing_beside(target, math.inf):
        for _ in range(3):  # it may change while it is copied
            facts = patiently(source.stat, source)
            if _is_copy(target, facts):
                bar.update(facts.st_size)
                return
            part = remove_link(_partial(target, source, facts))
            names = f".{glob.escape(target.name[:50])}.????????.part"
            for old in {*target.parent.glob(names)} - {part}:
                old.unlink()
            with contextlib.closing(_Reader(source, bar)) as reader:
                begun = _fill(part, reader, facts.st_size)
                same = _is_same(part, reader, facts.st_size, begun)
            os.utime(part, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
            if same and _is_copy(part, patiently(source.stat, source)):
                os.replace(part, target)
                return
            part.unlink()
        raise InputError("file-changed.copy", path=source)


def _fill(part: Path, reader: "_Reader", size: int) -> int:
    """Append to the partial file what it lacks of the source; return where that began."""
    try:
        with open(part, "ab") as out:
            begun = done = out.tell()
            while done < size:
                block = reader.read(done, min(PIECE, size - done))
                out.write(block)
                done += len(block)
                reader.bar.update(len(block))
                if done == size or done % FLUSH < len(block):
                    out.flush()
                    os.fsync(out.fileno())
    except OSError:
        check_room(f"copying {part.name}", part.parent, size - size_of(part) + RESERVE)
        raise
    return begun


def _is_same(part: Path, reader: "_Reader", size: int, begun: int) -> bool:
    """Return whether a copy has its size, and equals the source in pieces spread over it, its first
    and last bytes and where the copying began among them."""
    last = max(0, size - PIECE)
    spots = {last * i // (SPOTS - 1) for i in range(SPOTS)}
    spots.add(min(last, max(0, begun - PIECE // 2)))
    if size_of(part) != size:
        return False
    with open(part, "rb") as copy:
        for offset in sorted(spots):
            copy.seek(offset)
            mine = copy.read(PIECE)
            if mine != reader.read(offset, len(mine)):
                return False
    return True


class _Reader:
    """A file on a drive, read in a thread: while the drive is silent the bar moves, and the cell
    can be stopped."""

    def __init__(self, path: Path, bar):
        self.path, self.bar, self.pool = path, bar, ThreadPoolExecutor(1)
        self.file = None

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from a place on, tried again where the drive fails."""
        read, rest = partial(self._shown, self._once), partial(self._shown, time.sleep)
        return patiently(lambda: read(offset, count), self.path, rest)

    def close(self) -> None:
        """Close the file, and wait for nothing."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._close_file()

    def _close_file(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.file.close()
        self.file = None

    def _shown(self, work: Callable, *given):
        """Return `work(*given)`; the bar shows the time meanwhile."""
        future = self.pool.submit(work, *given)
        while not wait([future], timeout=0.5).done:
            self.bar.update(0)
        self.bar.update(0)
        return future.result()

    def _once(self, offset: int, count: int) -> bytes:
        found = b""
        try:
            self.file = self.file or open(self.path, "rb", buffering=0)
            self.file.seek(offset)
            while block := self.file.read(count - len(found)):
                found += block
            if len(found) < count:
                raise OSError(errno.EIO, "the file ends too early", str(self.path))
        except OSError:
            self._close_file()
            raise
        return found
