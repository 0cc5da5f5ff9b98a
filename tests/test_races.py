"""Two commands on one folder, and commands that are killed (all pairs: benchmarks/races.py)."""

import errno
import json
import os

import pytest

from tests.helpers import benchmark, refused
from tvhelpers import files
from tvhelpers.files import (
    atomic_path,
    locked,
    remove_temporary,
    write_all_once,
    write_once,
    writing_beside,
)
from tvhelpers.records import add_line, claimed, read_records

PAIRS = ("convert, convert", "captioner, captioner", "studio, studio")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def races():
    return benchmark("races")


def test_two_commands_at_once_leave_what_one_leaves(races, tmp_path):
    template = races.prepared(tmp_path)
    for name in PAIRS:
        row = races.try_pair(name, races.PAIRS[name], template, tmp_path / "one", 2)
        assert row["races"] == 2 and not row["problems"], name


def test_a_taken_or_refused_folder_gets_no_lock(tmp_path):
    (tmp_path / "mine.txt").touch()
    with refused("folder-taken"), claimed(tmp_path, {}, "request"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_second_writer_is_refused_and_an_old_lock_is_none(tmp_path):
    (tmp_path / ".lock").touch()
    first, second = (claimed(tmp_path, {"a": 1}, "conversion") for _ in range(2))
    with first, refused("at-work"), second:
        pass
    with claimed(tmp_path, {"a": 1}, "conversion"):
        pass


def test_a_lock_beside_a_file_is_removed_and_never_held_twice(tmp_path, monkeypatch):
    out, name = tmp_path / "new" / "out.json", ".out.json.lock"
    with writing_beside(out):
        assert [path.name for path in out.parent.iterdir()] == [name]
        with refused("at-work"), writing_beside(out):
            pass
        assert out.parent.joinpath(name).exists()
    assert not [*out.parent.iterdir()]
    first, lock = writing_beside(out), files._try_lock
    first.__enter__()

    def late(handle):  # it ends between the second one's opening of the file and its locking
        monkeypatch.setattr(files, "_try_lock", lock)
        first.__exit__(None, None, None)
        return lock(handle)

    monkeypatch.setattr(files, "_try_lock", late)
    with writing_beside(out):
        assert out.parent.joinpath(name).exists()
        with refused("at-work"), writing_beside(out):
            pass
    assert not [*out.parent.iterdir()]


def test_drives_without_locks_work(tmp_path, monkeypatch):
    def no_lock(*arguments):
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(files.fcntl, "flock", no_lock)
    monkeypatch.setattr(os, "link", no_lock)
    (tmp_path / ".lock").touch()
    with claimed(tmp_path, {"a": 1}, "conversion"):
        write_once(tmp_path / "a", b"1")
    with refused("file-exists"):
        write_once(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_link_in_place_of_our_files_is_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("kept")
    for name in (".lock", "records.jsonl"):
        (tmp_path / name).symlink_to(other)
    with locked(tmp_path / ".lock"):
        pass
    with pytest.raises(OSError):
        add_line(tmp_path / "records.jsonl", {})
    with refused("file-exists"):
        write_once(tmp_path / "records.jsonl", b"new")
    assert other.read_text() == "kept" and not (tmp_path / ".lock").is_symlink()


def test_only_what_killed_writers_left_is_removed(tmp_path):
    ours, user = tmp_path / ".a.png.abcd_123.writing", tmp_path / ".notes.writing"
    for path in (ours, user):
        path.touch()
    with atomic_path(tmp_path / "b.png") as aside:
        aside.write_text("now")
        remove_temporary(tmp_path)
        assert aside.exists() and not ours.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.writing", "b.png"]


def test_all_files_are_checked_before_one_is_written(tmp_path):
    (tmp_path / "b").write_text("mine")
    with refused("file-exists"):
        write_all_once({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert not (tmp_path / "a").exists() and (tmp_path / "b").read_text() == "mine"


def test_half_a_line_is_dropped_before_the_next_one(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    add_line(path, {"a": 2})
    assert read_records(path, "download") == [{"a": 1}, {"a": 2}]


def test_finished_results_open_where_nothing_can_be_written(tmp_path, monkeypatch):
    with claimed(tmp_path, {"a": 1}, "conversion") as folder:
        (folder / "metadata.jsonl").write_text("{}")
    (tmp_path / ".lock").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with claimed(tmp_path, {"a": 1}, "conversion"):
        assert not (tmp_path / ".lock").exists()
    with refused("another-request"), claimed(tmp_path, {"a": 2}, "conversion"):
        pass


def test_a_claim_that_came_to_nothing_gives_way(tmp_path):
    for size in (1, 2):
        with claimed(tmp_path, {"a": size}, "conversion", scratch=("items.jsonl", ".part")):
            assert not (tmp_path / ".part").exists()
            for name in ("items.jsonl", ".part"):
                (tmp_path / name).write_text("{}")
    assert json.loads((tmp_path / "request.json").read_text()) == {"a": 2}
