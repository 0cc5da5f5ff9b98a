"""A second place for a run, such as Google Drive: a new machine goes on from there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

from tvhelpers.config import InputError
from tvhelpers.files import atomic_path, file_sha256, make_dir
from tvhelpers.models.base import TEXT_ENCODER_DIR
from tvhelpers.train.checkpoint import newest_first

TREES = ("pipeline", TEXT_ENCODER_DIR)  # folders that belong to a result


class Mirror:
    """Copies of a run's files and of its newest checkpoint in `folder`.

    A folder that is gone or full never ends a training: it is said, and tried again next time.
    """

    def __init__(self, folder: str | Path, run_dir: Path, say: Callable[[str], None]):
        self.folder, self.run_dir, self.say = Path(folder) / run_dir.name, run_dir, say
        self.failing = False
        if self.folder.resolve() == run_dir.resolve():
            raise InputError(f"mirror {folder} is where the run itself is; give another folder")

    def restore(self, check: Callable[[Path], None]) -> None:
        """Bring back what is there into a run folder that is empty.

        `check(folder)` raises where it is another run's, which is passed on.
        """
        begun = self.run_dir / ".bringing-back"
        try:
            check(self.folder)
            files = [path for path in self.folder.rglob("*") if path.is_file()]
            files = [path for path in files if not _hidden(path)]
            empty = all(map(_hidden, self.run_dir.iterdir()))
            if not (self.folder / "config.json").exists() or not (empty or begun.exists()):
                return
            begun.touch()
            for path in files:
                copy_checked(path, self.run_dir / path.relative_to(self.folder))
            begun.unlink()
            self.say(f"brought back from {self.folder}: {len(files)} files")
        except OSError as error:
            self.say(f"nothing could be brought back from {self.folder} ({error})")

    def update(self, finished: bool = False) -> None:
        """Copy what is new: logs first, then the checkpoint, so that they never lag behind it."""
        try:
            self._copy(finished)
        except (OSError, InputError) as error:
            if not self.failing:
                self.say(f"no copy in {self.folder} ({error}); training goes on without, and tries "
                         "again at each checkpoint")  # fmt: skip
            self.failing = True
        else:
            if self.failing:
                self.say(f"{self.folder} takes copies again")
            self.failing = False

    def _copy(self, finished: bool) -> None:
        files = [path for path in self.run_dir.iterdir() if path.is_file() and not _hidden(path)]
        if finished:
            trees = [self.run_dir / name for name in TREES]
            trained = [path for tree in trees for path in tree.rglob("*") if path.is_file()]
            files = [*trained, *files]  # result.json, which marks the run as done, after them
        newest = [] if finished else newest_first(self.run_dir / "checkpoints")[:1]
        for path in [*files, *newest]:
            copy_checked(path, self.folder / path.relative_to(self.run_dir))
        for old in newest_first(self.folder / "checkpoints"):
            if old.name not in [path.name for path in newest]:
                old.unlink()


def copy_checked(source: Path, target: Path) -> None:
    """Copy a file, visible under its name only when the copy's checksum is right.

    Raises OSError where it is not, or the disk refuses.
    """
    make_dir(target.parent)
    digest = file_sha256(source)
    if target.exists() and file_sha256(target) == digest:
        return
    with atomic_path(target) as aside:
        shutil.copyfile(source, aside)
        if file_sha256(aside) != digest:
            raise OSError(errno.EIO, "the copy differs from the file", str(target))


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")
