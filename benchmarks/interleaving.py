"""How is a command stopped at one of its writes while another one runs, or killed there?

A command is a function.  It runs in a process of its own, forked from this one with all modules
loaded, in a working folder.  Its events are the calls that write: opening a file to write, flush to
disk, rename, link, lock.
"""

import builtins
import contextlib
import fcntl
import hashlib
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120.0  # that a command may take in all
WAITS = 4.0  # after these seconds the second command waits for the first, which then continues
HIDDEN = (".lock", ".writing")
FAILED = 70  # exit status of a command that raised


@dataclass
class Job:
    """A running command: its process, pipes with news of its stop and to let it continue."""

    pid: int
    news: int
    go: int

    def stopped(self, seconds: float) -> bool:
        """Wait until the command stops at its event; False where it ends without."""
        ready, _, _ = select.select([self.news], [], [], seconds)
        return bool(ready) and os.read(self.news, 1) == b"s"

    def status(self, seconds: float = SECONDS) -> int | None:
        """Return the exit status, negative for a signal; None where it has not ended by then."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.news)
                os.close(self.go)
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        return None


def start(command: Callable[[], int], folder: Path, log: Path, at: int = 0, kill=False) -> Job:
    """Start a command in `folder`; before event number `at` it stops, or is killed."""
    (news, tell), (wait, go) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        os.close(wait)
        return Job(pid, news, go)
    status = FAILED
    try:
        os.close(news)
        os.close(go)
        os.chdir(folder)
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for number in (1, 2):
            os.dup2(out, number)
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)
        sys.stderr = sys.stdout
        count = _count_events(at, kill, tell, wait)
        status = command()
        log.with_suffix(".events").write_text(str(count()))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _count_events(at: int, kill: bool, tell: int, wait: int) -> Callable[[], int]:
    """Count events from now on; return what gives their number."""
    number = 0

    def note() -> None:
        nonlocal number
        number += 1
        if number == at and kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == at:
            os.write(tell, b"s")
            os.read(wait, 1)

    def counted(function, when=lambda *arguments, **named: True):
        def call(*arguments, **named):
            if when(*arguments, **named):
                note()
            return function(*arguments, **named)

        return call

    def writes(path, mode="r", *rest, **named):
        return isinstance(mode, str) and bool({*"wax+"} & {*mode}) and not isinstance(path, int)

    for name in ("replace", "rename", "link", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
    fcntl.flock = counted(fcntl.flock)
    builtins.open = counted(builtins.open, writes)
    return lambda: number


def run(command: Callable[[], int], folder: Path, log: Path, **how) -> int | None:
    """Run a command to its end; return its exit status, None where it was too slow."""
    return ended(start(command, folder, log, **how))


def ended(job: Job) -> int | None:
    """Wait for a command; one that is too slow is killed."""
    status = job.status()
    if status is None:
        os.kill(job.pid, signal.SIGKILL)
        job.status()
    return status


def race(first, second, folder: Path, logs: Path, at: int) -> tuple[int | None, int | None]:
    """Stop the first command at an event, run the second one, let the first continue; return their
    exit statuses."""
    a = start(first, folder, logs / "a.log", at)
    if not a.stopped(SECONDS):
        return ended(a), run(second, folder, logs / "b.log")
    b = start(second, folder, logs / "b.log")
    status = b.status(WAITS)
    os.write(a.go, b"g")
    return ended(a), ended(b) if status is None else status


def contents(folder: Path, ignored: tuple[str, ...] = ()) -> dict[str, str]:
    """Return {file: digest} of a folder, without locks and what `ignored` names."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.endswith(HIDDEN) and not any(x in name for x in ignored):
            with contextlib.suppress(FileNotFoundError):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files in a folder."""
    return [path.name for path in folder.rglob("*.writing")]


def fresh(template: Path, folder: Path) -> Path:
    """Return `folder` as a new copy of the template."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return folder
