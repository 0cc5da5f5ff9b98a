"""Copy 200 MB from a made-up Drive that is slow and fails, as a notebook does.

python benchmarks/drive_copy.py

Five reads at random offsets fail (Errno 5, a short read, and once a Drive that unmounts: Errno
107), and one is silent for six seconds.  The cell is run again after the unmount.  The bar's moves
are timed in a terminal that is made up too.  Then the disk is said to be too small.
"""

import errno
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from common import write_result

from tests.colab import install
from tvhelpers.errors import InputError
from tvhelpers.files import file_sha256
from tvhelpers.progress import show_log
from tvhelpers.show import colab, drive

SIZE, RATE = 200_000_000, 10e6  # bytes; bytes a second
FAILURES = (errno.EIO, errno.EIO, 0, errno.EIO, errno.ENOTCONN)


class Terminal(io.StringIO):
    """A terminal that notes when something is written to it."""

    def __init__(self):
        super().__init__()
        self.moves = [time.monotonic()]

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.moves += [time.monotonic()] if "MB/" in text or "B/s" in text else []
        return super().write(text)


def run(folder: Path, patch: pytest.MonkeyPatch, terminal: Terminal) -> dict:
    """Return what was measured."""
    fake = install(folder, patch)
    patch.setattr(colab, "WORK", fake.work)
    patch.setattr(colab, "DRIVE", fake.mountpoint)
    patch.setenv("TV_DATA_DIR", "")
    source = fake.drive_dir / "textile-vision" / "data" / "mine" / "photos.bin"
    source.parent.mkdir(parents=True)
    source.write_bytes(np.random.default_rng(0).bytes(SIZE))
    digest, chance = file_sha256(source), random.Random(0)
    offsets = sorted(chance.randrange(SIZE) for _ in FAILURES)
    fake.failures = [*zip(offsets, FAILURES, strict=True), (SIZE // 3, -6)]
    fake.rate, runs, largest, begun = RATE, 0, 0.0, time.monotonic()
    found = None
    while found is None:
        runs += 1
        colab.mount_drive()
        terminal.moves = [time.monotonic()]
        try:
            found = drive.local_data("mine")
        except InputError as error:
            said = str(error)
        largest = max(largest, *np.diff([*terminal.moves, time.monotonic()]).tolist())
    seconds, read = time.monotonic() - begun, fake.bytes_read
    copied = file_sha256(Path(found) / "photos.bin")
    fake.rate, fake.free = 0, SIZE
    os.unlink(Path(found) / "photos.bin")
    try:
        drive.local_data("mine")
    except InputError as error:
        refused = str(error)
    return {
        "megabytes": SIZE / 1e6,
        "failures": len(FAILURES),
        "unmounted": said.replace(str(folder), ""),
        "runs_of_the_cell": runs,
        "seconds": round(seconds, 1),
        "hash_is_right": digest == copied,
        "read_again_share": round(read / SIZE - 1, 4),
        "longest_pause_of_the_bar_seconds": round(largest, 2),
        "refused": refused.replace(str(folder), ""),
    }


def main() -> None:
    """Measure, print and store the result."""
    terminal, patch = Terminal(), pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory() as folder, patch.context() as inner:
        inner.setattr(sys, "stderr", terminal)
        show_log()  # without it there is no bar
        result = run(Path(folder), inner, terminal)
    write_result("drive_copy", result)


if __name__ == "__main__":
    main()
