"""How is a training's state saved?  In checkpoints, and in a mirror of its folder, as on a Drive.

A checkpoint is one file with a checksum, visible only when complete; the newest intact one is used.
"""

import contextlib
import errno
import io
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from tvhelpers.errors import InputError, one_line
from tvhelpers.files import atomic_path, file_sha256, make_dir, remove_link
from tvhelpers.models.base import TEXT_ENCODER_DIR
from tvhelpers.train.step_files import SNAPSHOT, SNAPSHOTS, newest_first, step_of
from tvhelpers.words import counted

log = logging.getLogger(__name__)
UNFINISHED = re.compile(r"\.writing-[a-z0-9_]{8}")  # name of an unfinished folder
TREES = ("pipeline", TEXT_ENCODER_DIR)  # folders of a result


def save_checkpoint(folder: Path, step: int, state: dict, keep: int = 2) -> Path:
    """Write `state` (tensors, numbers, texts in dicts and lists) as the checkpoint of `step`.

    The file name holds the first 12 digits of its SHA-256.  The `keep` newest are kept, one per
    step.  Raises OSError if the disk cannot be written; older checkpoints stay as they are.
    """
    folder = make_dir(folder)
    _remove_unfinished(folder)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as aside:
        whole = Path(aside) / "checkpoint.pt"
        _write(whole, state)
        path = folder / f"step-{step:07d}-{file_sha256(whole)[:12]}.pt"
        os.replace(whole, path)
    for old in newest_first(folder):
        if step_of(old) == step and old != path:
            old.unlink()
    for old in newest_first(folder)[keep:]:
        old.unlink()
    return path


class _File(io.FileIO):
    """A file that keeps the error of the disk, for which torch raises another one."""

    error: OSError | None = None

    def write(self, data) -> int:
        """Write bytes, and return how many were written."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _write(path: Path, state: dict) -> None:
    try:
        with _File(path, "wb") as raw, io.BufferedWriter(raw) as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:
        raise raw.error or OSError(f"torch cannot write it ({error})") from None


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint whose checksum is right, None if there is none."""
    for path in newest_first(folder):
        if is_intact(path):
            return path
        warnings.warn(f"checkpoint {path} is damaged; an older one is used", stacklevel=2)
        path.unlink()  # or it would always count among the newest
    return None


def is_intact(path: Path) -> bool:
    """Return whether the checksum of a checkpoint file is right."""
    return file_sha256(path)[:12] == path.stem.rpartition("-")[2]


def load_checkpoint(folder: Path) -> dict | None:
    """Return the state of the newest intact checkpoint, on the CPU, None if there is none."""
    path = find_checkpoint(folder)
    return path and read_checkpoint(path)


def read_checkpoint(path: Path) -> dict:
    """Return the state of a checkpoint file, on the CPU."""
    return torch.load(path, map_location="cpu", weights_only=True)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a folder, and the folder if it is empty then."""
    with contextlib.suppress(OSError):  # a read-only disk
        _remove_unfinished(folder)
        for path in newest_first(folder):
            path.unlink()
        folder.rmdir()


def _remove_unfinished(folder: Path) -> None:
    """Remove the unfinished checkpoints of killed processes."""
    for left in folder.glob(".writing-*"):
        if UNFINISHED.fullmatch(left.name) and not left.is_symlink():
            shutil.rmtree(left)


class Mirror:
    """Copies of a run's files and of its newest checkpoint in a second folder.

    If that folder is gone or full, training continues with a warning and tries again next time.
    """

    def __init__(self, folder: str | Path, run_dir: Path):
        self.folder, self.run_dir, self.failing = Path(folder) / run_dir.name, run_dir, False
        own = run_dir.resolve()
        if own in (self.folder.resolve(), *self.folder.resolve().parents):
            raise InputError("folder-taken.mirror", folder=folder)

    def restore(self, check: Callable[[Path], object]) -> None:
        """Copy the mirror's files into the run folder, if that is empty.

        `check(folder)` raises an error if the mirror belongs to another run.
        """
        begun = self.run_dir / ".bringing-back"
        try:
            check(self.folder)
            empty = all(map(_is_hidden, self.run_dir.iterdir()))
            if not (self.folder / "config.json").exists() or not (empty or begun.exists()):
                return
            remove_link(begun).touch()
            files = _files_of(self.folder.rglob("*"))
            for path in files:
                copy_checked(path, self.run_dir / path.relative_to(self.folder))
            begun.unlink()
            log.info(f"{counted(len(files), 'file')} restored from the mirror {self.folder}")
        except OSError as error:
            log.warning(
                f"nothing could be restored from the mirror {self.folder} ({one_line(error)})"
            )

    def update(self, finished: bool = False, best: Path | None = None) -> None:
        """Copy new files: logs and the `best` snapshot first, then the checkpoint, so that they are
        never older than it."""
        failed, self.failing = self.failing, True
        try:
            self._copy(finished, [best] if best else [])
            self.failing = False
            if failed:
                log.info(f"the mirror {self.folder} can be written again")
        except (OSError, InputError) as error:
            if not failed:
                what = "training continues without it and tries again at each checkpoint"
                log.warning(
                    f"the mirror {self.folder} cannot be written ({one_line(error)}); {what}"
                )

    def _copy(self, finished: bool, best: list[Path]) -> None:
        files = _files_of(self.run_dir.iterdir())
        if finished:  # result.json, which marks the run as finished, after the trained weights
            trees = [self.run_dir / name for name in TREES]
            files = [path for tree in trees for path in tree.rglob("*") if path.is_file()] + files
        newest = [] if finished else newest_first(self.run_dir / "checkpoints")[:1]
        files += best + newest
        targets = {path: self.folder / path.relative_to(self.run_dir) for path in files}
        self._check_room(targets)
        for path, target in targets.items():
            copy_checked(path, target)
        old = newest_first(self.folder / "checkpoints")
        for path in old + newest_first(self.folder / SNAPSHOTS, SNAPSHOT):
            if path.name not in [path.name for path in best + newest]:
                empty(path).unlink()

    def _check_room(self, targets: dict[Path, Path]) -> None:
        """Raise OSError where the new files do not fit, so that no half of a checkpoint is sent."""
        new = sum(path.stat().st_size for path, target in targets.items() if not target.exists())
        if new > shutil.disk_usage(make_dir(self.folder)).free:
            raise OSError(errno.ENOSPC, "disk full", str(self.folder))


def empty(path: Path) -> Path:
    """Make a file empty before it is removed: the trash of a Drive counts, and keeps what it was.

    Not a file with other names: these are other files to whoever uses them.
    """
    if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
        os.truncate(path, 0)
    return path


def copy_checked(source: Path, target: Path) -> None:
    """Copy a file; it gets its name only after its checksum was verified.

    Raises OSError if the checksum differs or the disk cannot be written.
    """
    make_dir(target.parent)
    digest = file_sha256(source)
    if target.exists() and file_sha256(target) == digest:
        return
    with atomic_path(target) as aside:
        shutil.copyfile(source, aside)
        if file_sha256(aside) != digest:
            raise OSError(errno.EIO, "the copy differs from the file", str(target))


def _files_of(paths) -> list[Path]:
    return [path for path in paths if path.is_file() and not _is_hidden(path)]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")
