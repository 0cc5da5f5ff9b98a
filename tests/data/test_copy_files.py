"""Copies from a drive that fails: nothing is lost, nothing wrong gets its name."""

import errno
import os
import threading

import numpy as np
import pytest

from tests.helpers import refused
from tvhelpers.data import copy_files as module
from tvhelpers.data.copy_files import copy_files, list_tree

SIZE = 100_000


@pytest.fixture
def pair(colab, monkeypatch):
    """A file of 100,000 bytes on the Drive, read in pieces of 1,000, and where it is to go."""
    monkeypatch.setattr(module, "PIECE", 1000)
    monkeypatch.setattr(module, "WAITS", (0, 0))
    monkeypatch.setattr(module, "RESERVE", 0)
    colab.mount(colab.mountpoint)
    source = colab.drive_dir / "G2.h5"
    source.write_bytes(content())
    return source, colab.content / "data" / "G2.h5"


def content(seed=0) -> bytes:
    return np.random.default_rng(seed).bytes(SIZE)


def copied(pair) -> bool:
    source, target = pair
    copy_files({source: target}, "G2.h5")
    left = [path.name for path in target.parent.iterdir()]
    return target.read_bytes() == source.read_bytes() and left == ["G2.h5"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, 0])
def test_a_read_that_fails_is_tried_again(colab, pair, number):
    colab.failures = [(offset, number) for offset in (0, 1234, 50_000, 50_001, 99_999)]
    assert copied(pair) and not colab.failures
    before = colab.bytes_read
    assert copied(pair) and colab.bytes_read == before + SIZE  # the test's own read


def test_a_drive_that_unmounts_is_named_and_the_copy_resumes(colab, pair):
    colab.failures = [(60_500, errno.ENOTCONN)]
    with refused("drive-lost") as caught:
        copied(pair)
    assert "Errno 107" in str(caught.value) and len(str(caught.value)) < 300
    with refused("drive-lost"):  # still gone
        copied(pair)
    colab.mount(colab.mountpoint)
    before = colab.bytes_read
    copy_files({pair[0]: pair[1]}, "G2.h5")
    assert colab.bytes_read - before <= 40_000 + 17 * 1000  # the rest, and what is compared
    assert pair[1].read_bytes() == content()


def test_a_stop_in_the_middle_loses_nothing(colab, pair, monkeypatch):
    done, shown = [], module._Reader._shown

    def stop_at_70(*given):
        done.append(shown(*given))
        if len(done) == 70:
            raise KeyboardInterrupt
        return done[-1]

    monkeypatch.setattr(module._Reader, "_shown", stop_at_70)
    with pytest.raises(KeyboardInterrupt):
        copied(pair)
    assert not pair[1].exists() and copied(pair)


def test_a_source_that_changed_is_copied_again(colab, pair):
    source, target = pair
    colab.failures = [(60_500, errno.ENOTCONN)]
    with refused("drive-lost"):
        copied(pair)
    colab.mount(colab.mountpoint)
    source.write_bytes(content(1))
    os.utime(source, (1e9, 1e9))
    assert copied(pair) and target.read_bytes() == content(1)
    source.write_bytes(content(2))  # of the same size
    os.utime(source, (2e9, 2e9))
    assert copied(pair) and target.read_bytes() == content(2)


def test_a_damaged_partial_file_is_found_and_copied_again(colab, pair):
    colab.failures = [(60_500, errno.ENOTCONN)]
    with refused("drive-lost"):
        copied(pair)
    colab.mount(colab.mountpoint)
    (part,) = pair[1].parent.glob(".G2.h5.*.part")
    part.write_bytes(bytes(60_000))
    assert copied(pair)


def test_a_small_disk_is_refused_before_anything_is_copied(colab, pair):
    colab.free = SIZE - 1
    with refused("disk-full"):
        copied(pair)
    assert not colab.bytes_read and not pair[1].exists()


def test_of_two_at_once_one_waits_for_the_other(colab, pair):
    colab.rate = 1e6
    threads = [threading.Thread(target=copy_files, args=({pair[0]: pair[1]}, "x")) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert colab.bytes_read <= 1.2 * SIZE and copied(pair)


def test_a_folder_that_cannot_be_listed_is_never_taken_for_an_empty_one(colab, pair):
    folder = pair[0].parent
    assert list_tree(folder) == [pair[0]]
    colab.connected = False
    with pytest.raises(OSError):
        list_tree(folder)
