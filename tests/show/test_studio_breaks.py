"""The studio when things break: an interrupt at any moment, a file or folder that goes away."""

import errno
import os
import threading
import time

import pytest
from PIL import Image

from tests.show.studio_helpers import FakeSampler
from tvhelpers.sample.sampler import Sampler
from tvhelpers.show import studio_folder
from tvhelpers.show.studio_folder import Entry, StudioFolder
from tvhelpers.show.studio_session import Session

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def opened(folder, **how):
    return Session(FakeSampler(), folder, adapters={}, threaded=False, **how)


def check(session):
    """Nothing is drawn; each image is in one file, and each file is of an image."""
    assert not session.busy and "…" not in session.status
    files = [entry.file for entry in session.entries if entry.file]
    assert len({*files}) == len(files)
    assert sorted(files) == sorted(path.name for path in session.folder.path.glob("*.png"))
    again = opened(session.folder.path)
    assert [entry.file for entry in again.entries] == files


class Interrupt:
    """Stops the kernel at the `at`-th moment of a job: before something is shown or written."""

    def __init__(self, at):
        self.left = at

    def __call__(self, work):
        def wrapped(*given, **named):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return work(*given, **named)

        return wrapped


def interrupted(folder, at):
    """Draw two images with an interrupt at moment `at`; return the session, and whether it came."""
    with pytest.MonkeyPatch.context() as patch:
        stop, session = Interrupt(at), opened(folder)
        session.set("count", 2)
        session.set("steps", 2)
        session.tell, session.poll = stop(session.tell), stop(session.poll)
        for name in ("save_drawn", "add_line"):
            patch.setattr(studio_folder, name, stop(getattr(studio_folder, name)))
        try:
            session.start()
        except KeyboardInterrupt:
            assert not session.busy
    session.tell, session.poll = lambda what: None, lambda: None
    return session, stop.left <= 0


def test_an_interrupt_at_any_moment_loses_nothing(tmp_path):
    at, came = 1, True
    while came:
        session, came = interrupted(tmp_path / str(at), at)
        session.save()
        check(session)
        drawn = len(session.entries)
        session.start()
        check(session)
        assert len(session.entries) == drawn + 2
        at += 1
    assert at > 20


def test_two_studios_in_one_folder(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path)
    one.start()
    other.start()
    third = opened(tmp_path)
    assert len(third.entries) == 2
    gone = one.entries[0]
    seen = next(entry for entry in third.entries if entry.file == gone.file)
    one.delete(gone)
    third.open(seen)
    assert third.wrong and third.stage_image()
    assert third.zip() and "1 design in" in third.status
    third.delete(seen)
    third.undo()
    assert third.save() and len(third.entries) == 1
    one.undo()
    assert {entry.file for entry in opened(tmp_path).entries} >= {one.entries[0].file}


def test_a_favourite_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    session = opened(tmp_path)
    session.start()
    with monkeypatch.context() as patch:
        patch.setattr(studio_folder, "write_text", lambda *given: (_ for _ in ()).throw(FULL))
        session.favourite(session.entries[0])
        assert session.wrong and not session.entries[0].favourite
        session.delete(session.entries[0])
        assert session.wrong and session.entries
    check(session)


def test_an_adapter_whose_file_is_removed(tmp_path, tiny_base):
    from tests.sample.test_sampler import random_adapter

    path = tmp_path / "runs" / "mine" / "adapter.safetensors"
    path.parent.mkdir(parents=True)
    random_adapter(tiny_base, path, 0)
    adapters = {"mine": str(path), "other": str(tmp_path / "gone.safetensors")}
    sampler = Sampler(str(tiny_base), str(path), "cpu")
    session = Session(sampler, tmp_path / "s", adapters=adapters, threaded=False)
    session.set("steps", 1)
    session.start()
    path.unlink()
    session.start()  # it is in memory
    assert len(session.entries) == 2 and not session.wrong, session.status
    session.set("adapter", "other")
    assert session.wrong and session.panel.value("adapter") == "mine"
    session.set("adapter", "none")
    session.use(session.entries[0])
    assert "not in the menu" in session.status and not session.wrong
    session.set("adapter", "mine")
    assert session.wrong and session.panel.value("adapter") == "none"
    session.start()
    assert len(session.entries) == 3 and session.entries[0].record["adapter_sha256"] is None
    check(session)


def test_saving_from_two_threads_at_once_saves_once(tmp_path, monkeypatch):
    folder, write, held = StudioFolder(tmp_path), studio_folder.save_drawn, threading.Event()
    record = {"prompt": "a red dress", "seed": 1, "steps": 2, "guidance": 2.5}
    entry = Entry(record, Image.new("RGB", (2, 2)))

    def slow(*given):
        held.wait(20)
        write(*given)

    monkeypatch.setattr(studio_folder, "save_drawn", slow)
    threads = [threading.Thread(target=folder.keep, args=(entry,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # both have found it unsaved
    held.set()
    for thread in threads:
        thread.join(20)
    assert [path.name for path in tmp_path.glob("*.png")] == [entry.file]
