"""How are large files copied from a drive that may fail, so that a stopped copy resumes?

A partial file's name holds a key of the source's path, size and time: where one of these changed,
the copy begins again.  A finished copy has the size and the time of its source.
"""

import contextlib
import errno
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from tvhelpers.errors import InputError, is_disk_full, one_line
from tvhelpers.files import content_key, make_dir, remove_link, writing_beside
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
    sizes, here = {}, 0
    for source, target in pairs.items():
        facts = patiently(source.stat, source)
        if not _is_copy(target, facts):
            sizes[source] = facts.st_size
            here += _size(_partial(source, target, facts))
    if not sizes:
        return 0
    _check_room(what, next(iter(pairs.values())), sum(sizes.values()) - here)
    with progress_bar(what, sum(sizes.values()), done=here, unit="B") as bar:
        bar.miniters, bar.dynamic_miniters = 0, False  # it moves with each piece, however slow
        for source in sizes:
            _copy(source, pairs[source], bar)
    return len(sizes)


def list_tree(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted; a folder that cannot be listed is never skipped."""

    def stop(error: OSError):
        raise error

    found = os.walk(folder, onerror=stop)
    return sorted(Path(place, name) for place, _, names in found for name in names)


def patiently(work: Callable[[], Answer], path: Path) -> Answer:
    """Return `work()`, tried again where a drive fails; raises InputError where it stays so."""
    for seconds in (*WAITS, None):
        try:
            return work()
        except OSError as error:
            if seconds is None or error.errno not in PASSING:
                raise _lost(path, error) from None
            time.sleep(seconds)
    raise AssertionError


def _lost(path: Path, error: OSError, done: int = 0, size: int = 0) -> InputError:
    if not size:
        return InputError("drive-lost", path=path, error=_said(error))
    done, size = done / 1e9, size / 1e9
    return InputError("drive-lost.copy", path=path, error=_said(error), done=done, size=size)


def _said(error: OSError) -> str:
    return f"Errno {error.errno}, {error.strerror}" if error.strerror else one_line(error)


def _check_room(what: str, target: Path, needed: int) -> None:
    """Raise InputError where `needed` bytes, and a reserve, are not free."""
    free = shutil.disk_usage(make_dir(target.parent)).free
    if needed + RESERVE > free:
        needed, free = (needed + RESERVE) / 1e9, free / 1e9
        raise InputError("disk-full.copy", what=what, needed=needed, free=free)


def _is_copy(target: Path, facts: os.stat_result) -> bool:
    there = target.stat() if target.is_file() else None
    wanted = (facts.st_size, facts.st_mtime_ns)
    return there is not None and (there.st_size, there.st_mtime_ns) == wanted


def _partial(source: Path, target: Path, facts: os.stat_result) -> Path:
    key = content_key([str(source), facts.st_size, facts.st_mtime_ns])[:8]
    return target.with_name(f".{target.name[:50]}.{key}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _copy(source: Path, target: Path, bar) -> None:
    """Copy one file, unless another process has done so meanwhile."""
    with writing_beside(target, math.inf):
        for _ in range(3):  # it may change while it is copied
            facts = patiently(source.stat, source)
            if _is_copy(target, facts):
                bar.update(max(0, facts.st_size))
                return
            part = remove_link(_partial(source, target, facts))
            for old in set(target.parent.glob(f".{target.name[:50]}.????????.part")) - {part}:
                old.unlink()
            with _reading(source, bar) as read:
                begun = _fill(read, part, facts.st_size, bar)
                same = _is_same(read, part, facts.st_size, begun)
            now = patiently(source.stat, source)
            if same and (now.st_size, now.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns):
                os.utime(part, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
                os.replace(part, target)
                return
            part.unlink()
        raise InputError("file-changed.copy", path=source)


def _fill(read: Callable, part: Path, size: int, bar) -> int:
    """Append to the partial file what it lacks of the source; return where that began."""
    try:
        with open(part, "ab") as out:
            begun = done = out.tell()
            while done < size:
                block = read(done, min(PIECE, size - done), size)
                out.write(block)
                done += len(block)
                bar.update(len(block))
                if done == size or done // FLUSH > (done - len(block)) // FLUSH:
                    out.flush()
                    os.fsync(out.fileno())
    except OSError as error:
        if not is_disk_full(error):
            raise
        free = shutil.disk_usage(part.parent).free / 1e9
        rest = (size - _size(part)) / 1e9
        raise InputError(
            "disk-full.copy", what=f"copying {part.name}", needed=rest, free=free
        ) from None
    return begun


def _is_same(read: Callable, part: Path, size: int, begun: int) -> bool:
    """Return whether a copy has its size, and equals the source in pieces spread over it, its first
    and last bytes and where the copying began among them."""
    last = max(0, size - PIECE)
    spots = {last * i // (SPOTS - 1) for i in range(SPOTS)}
    spots.add(min(last, max(0, begun - PIECE // 2)))
    with open(part, "rb") as copy:
        for offset in sorted(spots if size else ()):
            copy.seek(offset)
            mine, done = copy.read(PIECE), 0
            while done < len(mine):
                block = read(offset + done, len(mine) - done, size)
                if mine[done : done + len(block)] != block:
                    return False
                done += len(block)
    return _size(part) == size


@contextlib.contextmanager
def _reading(path: Path, bar) -> Iterator[Callable]:
    """Yield read(offset, count, size) -> bytes, at least one.

    It reads in a thread: while a drive is silent the bar moves, and the cell can be stopped.
    """
    pool, opened = ThreadPoolExecutor(1), contextlib.ExitStack()
    files: list = []

    def once(offset: int, count: int) -> bytes:
        if not files:
            files.append(opened.enter_context(open(path, "rb", buffering=0)))
        files[0].seek(offset)
        return files[0].read(count)

    def read(offset: int, count: int, size: int) -> bytes:
        for seconds in (*WAITS, None):
            try:
                if block := _moving(pool.submit(once, offset, count), bar):
                    return block
                raise OSError(errno.EIO, "the file ends too early", str(path))
            except OSError as error:
                files.clear()
                with contextlib.suppress(OSError):
                    opened.close()
                if seconds is None or error.errno not in PASSING:
                    raise _lost(path, error, offset, size) from None
                say(f"{path.name}: {_said(error)}; trying again in {seconds} s")
                _moving(pool.submit(time.sleep, seconds), bar)
        raise AssertionError

    try:
        yield read
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(OSError):
            opened.close()


def _moving(future, bar):
    """Return a future's result; the bar shows the time meanwhile."""
    while not wait([future], timeout=0.5).done:
        bar.update(0)
    bar.update(0)
    return future.result()
