"""The studio's state: image, record, seed and file agree, whatever is clicked or fails."""

import errno
import json
import os
import random
import time

import pytest
from PIL import Image

from tests.show.studio_helpers import FakeSampler, expected
from tvhelpers.errors import InputError
from tvhelpers.sample.parameters import read_drawn
from tvhelpers.show import studio_controls, studio_folder
from tvhelpers.show.studio_folder import StudioFolder
from tvhelpers.show.studio_session import Session

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAILURES = [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate"), KeyboardInterrupt(),
            InputError("no-negative", base="mini")]  # fmt: skip
VALUES = {
    "prompt": ["a red dress", "", "a word " * 300, "<img src=x onerror=alert(1)>", "(red:1.3)"],
    "negative_prompt": ["", "belt, hood", "\x07"],
    "colour": ["", "blue", "orange"],
    "category": ["", "coat", "trousers"],
    "count": [1, 2, 3],
    "size": ["128 x 128", "96 x 128", "100 x 100"],
    "steps": [1, 2, 5],
    "guidance": [1.0, 2.5, 7.0],
    "lora_scale": [0.0, 0.5, 1.0],
    "adapter": ["none", "shipped", "of-another-base"],
    "seed": [-5, 0, 7, 2**32 - 1],
    "keep_seed": [True, False],
}
AXES = [[("guidance", "1, 4")], [("colour", "red, blue"), ("steps", "1, 2")], [("steps", "many")]]


@pytest.fixture
def adapters(tmp_path):
    path = tmp_path / "runs" / "of-another-base" / "adapter.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return {"of-another-base": str(path)}


class Sitting:
    """A session that random clicks are made in, and what they must leave."""

    def __init__(self, folder, adapters, seed, patch):
        self.pick, self.folder, self.adapters = random.Random(seed), folder, adapters
        self.full, self.alive, self.cancelled = False, [], False
        keep = studio_folder.save_drawn
        patch.setattr(studio_folder, "save_drawn", lambda *args: self.write(keep, *args))
        patch.setattr(os, "fsync", lambda handle: None)  # which takes most of the time
        self.open()

    def write(self, keep, *args):
        if self.full:
            raise FULL
        keep(*args)

    def open(self):
        """Open the studio; what was on a full disk is lost with the process, and only that."""
        self.session = Session(
            FakeSampler(at_step=self.at_step), self.folder, adapters=self.adapters, threaded=False
        )
        names = [entry.file for entry in self.session.entries]
        assert sorted(names) == sorted(one.file for one in self.alive if one.file)
        self.alive = [*self.session.entries]

    def at_step(self, sampler, step):
        """Click, or fail, while an image is drawn."""
        event = self.pick.random()
        if event < 0.02:
            raise self.pick.choice(FAILURES)
        if event < 0.05:
            self.session.cancel()
            self.cancelled = True
        elif event < 0.08:
            assert not self.session.start()
        elif event < 0.1 and self.session.entries:
            self.session.use(self.session.entries[0])
            self.session.open(self.session.entries[0])

    def click(self):
        session, entries = self.session, self.session.entries
        entry = self.pick.choice(entries) if entries else None
        what = self.pick.choice(
            ["set"] * 5
            + ["draw"] * 4
            + "open use delete undo favourite save zip dice full new".split()
        )
        if what == "set":
            name = self.pick.choice([*VALUES])
            session.set(name, self.pick.choice(VALUES[name]))
        elif what == "draw":
            self.draw()
        elif what in ("open", "use", "favourite", "delete") and entry:
            getattr(session, what)(entry)
            if what == "delete":
                self.alive.remove(entry)
        elif what == "undo":
            self.alive += [session.deleted[1]] if session.deleted else []
            session.undo()
        elif what in ("save", "zip", "dice"):
            getattr(session, what)()
        elif what == "full":
            self.full = not self.full
        elif what == "new":
            self.open()

    def draw(self):
        session, before = self.session, {*map(id, self.session.entries)}
        self.cancelled, seed = False, session.panel.value("seed")
        kind = self.pick.choice(["generate", "generate", "vary", "compare", "grid"])
        began = session.start(kind, self.pick.choice(AXES) if kind == "grid" else ())
        new = [entry for entry in session.entries if id(entry) not in before]
        self.alive += new
        assert not began or session.status
        if new:
            first = session.stage.drawn[0]
            assert {*map(id, session.stage.drawn)} == {*map(id, new)}
            assert session.panel.value("seed") == first.record["seed"] == new[-1].record["seed"]
        elif not began:
            assert session.panel.value("seed") == seed and session.wrong
        if began and self.full and new:
            assert "Not saved: disk full" in session.status and session.wrong

    def check(self):
        session = self.session
        assert not session.busy
        assert {*map(id, session.entries)} == {*map(id, self.alive)}
        assert len({*map(id, session.entries)}) == len(session.entries)
        names = [entry.file for entry in session.entries if entry.file]
        path = self.folder / "records.jsonl"
        lines = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )
        assert sorted(row["file"] for row in lines) == sorted(names)
        assert sorted(one.name for one in self.folder.glob("*.png")) == sorted(names)
        assert {*map(id, session.stage.drawn)} <= {*map(id, session.entries)}
        for entry in session.entries:
            wanted = expected(entry.record).tobytes()
            assert session.folder.image(entry).tobytes() == wanted
            if entry.file:
                with Image.open(self.folder / entry.file) as image:
                    assert image.tobytes() == wanted and entry.line in lines
                    assert json.loads(image.info["tvhelpers"]) == entry.record


@pytest.mark.parametrize("block", range(4))
def test_whatever_is_clicked_image_record_seed_and_file_agree(
    tmp_path, adapters, monkeypatch, block
):
    for seed in range(50 * block, 50 * block + 50):
        with monkeypatch.context() as patch:
            sitting = Sitting(tmp_path / str(seed), adapters, seed, patch)
            for _ in range(12):
                sitting.click()
                sitting.check()


@pytest.fixture
def session(tmp_path, adapters):
    return Session(FakeSampler(), tmp_path / "studio", adapters=adapters, threaded=False)


def test_a_thread_draws_is_cancelled_and_shows_previews(tmp_path, adapters):
    session = Session(FakeSampler(), tmp_path, adapters=adapters)
    named = []
    session.tell = named.append
    session.panel.set("steps", 9)
    session.panel.set("count", 3)
    seen = []

    def at_step(sampler, step):
        if step == 5 and session.progress[0] < 9:
            seen.append(session.stage.preview)
        if session.progress[0] == 12:
            session.cancel()

    session.sampler.at_step = at_step
    assert session.start() and not session.sampler.at_step(session.sampler, 0)
    session.wait(60)
    assert seen[0] and "Cancelled. 1 of 3 images drawn; they stay." in session.status
    assert not session.wrong and session.panel.value("seed") == 1 and len(session.entries) == 1
    assert {"busy", "progress", "stage", "status", "gallery", "controls"} == {*named}


def test_two_clicks_at_once_draw_once(tmp_path, adapters):
    session = Session(FakeSampler(), tmp_path, adapters=adapters)
    began = []
    session.sampler.at_step = lambda sampler, step: began.append(session.start())
    session.panel.set("steps", 2)
    assert session.start()
    session.wait(60)
    assert began == [False, False] and len(session.entries) == 1


def test_what_was_drawn_is_there_when_the_studio_is_opened_again(session, tmp_path, adapters):
    session.set("prompt", "an old coat")
    session.start()
    session.favourite(session.entries[0])
    (tmp_path / "studio" / "records.jsonl").open("a").write('{"file": "gone.png", "prompt": "a"\n')
    again = Session(FakeSampler(), tmp_path / "studio", adapters=adapters, threaded=False)
    (entry,) = again.entries
    assert entry.favourite and entry.record == session.entries[0].record
    assert again.stage_image().size[1] == 512 and "1 design of before" in again.status
    again.set("prompt", "a skirt")
    again.use(entry)
    assert again.panel.values == session.panel.values
    again.start()
    assert again.entries[0].record == entry.record


def test_a_full_disk_loses_nothing_and_saving_twice_saves_once(session, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(studio_folder, "save_drawn", lambda *args: (_ for _ in ()).throw(FULL))
        session.start()
        assert "Not saved: disk full" in session.status and session.wrong
        assert session.save() is None and session.stage_image()
    first = session.save()
    assert session.save() == first and len([*first.parent.glob("*.png")]) == 1
    assert read_drawn(first)["seed"] == session.panel.value("seed")


def test_an_adapter_of_another_base_is_refused_and_the_old_one_stays(session):
    session.set("adapter", "shipped")
    session.set("adapter", "of-another-base")
    assert session.wrong and "another size" in session.status
    assert session.panel.value("adapter") == "shipped" and session.sampler.adapter.exists()
    session.start("compare")
    labels = [entry.label for entry in session.entries]
    assert labels == ["shipped, LoRA scale 1", "base alone"] and session.stage.columns == 2
    one, two = (entry.record for entry in session.entries)
    assert one["seed"] == two["seed"]
    session.set("adapter", "none")
    assert not session.start("compare") and "no adapter to compare" in session.status


def test_a_grid_varies_one_control_or_two_and_refuses_too_many(session):
    assert session.start("grid", [("colour", "red, blue"), ("guidance", "1, 4, 9")])
    rows = [entry.record for entry in session.entries[::-1]]
    assert [row["guidance"] for row in rows] == [1, 4, 9, 1, 4, 9] and session.stage.columns == 3
    assert [row["prompt"] for row in rows] == ["a red dress"] * 3 + ["a blue dress"] * 3
    assert len({row["seed"] for row in rows}) == 1
    assert session.entries[0].label == "Colour blue, Guidance scale 9"
    for axes in (
        [],
        [("guidance", ", ".join("123456789" * 5))],
        [("steps", "x")],
        [("colour", "mauve")],
    ):
        assert not session.start("grid", axes) and session.wrong
    assert len(session.entries) == 6


def test_zip_holds_the_favourites_or_all(session, tmp_path):
    import zipfile

    session.set("count", 3)
    session.start()
    names = zipfile.ZipFile(session.zip()).namelist()
    assert len(names) == 4 and "records.jsonl" in names
    session.favourite(session.entries[1])
    with zipfile.ZipFile(session.zip()) as archive:
        archive.extract(session.entries[1].file, tmp_path)
        assert len(archive.namelist()) == 2 and "1 favourite" in session.status
    assert read_drawn(tmp_path / session.entries[1].file)["prompt"] == "a red dress"


def test_what_the_base_does_not_know_is_said(session):
    session.set("prompt", "a raincoatt (red:1.3)")
    session.set("negative_prompt", "zebra")
    session.set("guidance", 1.0)
    said = " ".join(session.remarks())
    assert "'raincoatt'" in said and "'zebra'" in said and "(red:1.3) is of another program" in said
    assert "no effect" in said.split("zebra")[1]
    session.set("prompt", "a word " * 300)
    assert "its end is ignored" in " ".join(session.remarks())


def test_a_broken_folder_is_opened_and_still_saved_into(tmp_path, adapters):
    broken = '{"file": "0007_1.png"\nno json\n{"file": "../a.png"}\n'
    (tmp_path / "records.jsonl").write_text(broken)
    session = Session(FakeSampler(), tmp_path, adapters=adapters, threaded=False)
    assert not session.entries
    session.start()
    session.favourite(session.entries[0])
    text = (tmp_path / "records.jsonl").read_text()
    assert text.startswith(broken) and "0008_1.png" in text
    assert StudioFolder(tmp_path).restore()[0].favourite


def test_the_fast_adapter_is_a_control_where_the_base_has_one(tmp_path, monkeypatch, session):
    assert "fast" not in session.panel.controls
    monkeypatch.setattr(studio_controls, "has_fast", lambda base: True)
    session = Session(FakeSampler(), tmp_path / "fast", adapters={}, threaded=False)
    session.start()
    session.set("fast", True)
    assert (session.panel.value("steps"), session.panel.value("guidance")) == (8, 1.0)
    session.set("adapter", "shipped")
    session.set("steps", 5)
    session.start()
    fast, slow = session.entries
    assert fast.record["fast_sha256"] and fast.record["guidance"] == 1
    session.set("fast", False)
    assert (session.panel.value("steps"), session.panel.value("guidance")) == (5, 2.5)
    for entry in (fast, slow, fast):
        session.use(entry)
        assert "draw that image again" in session.status
        session.start()
        assert session.entries[0].record == entry.record


def test_whoever_waits_for_a_job_finds_how_it_ended(tmp_path):
    session = Session(FakeSampler(), tmp_path, adapters={})
    keep, seen = session._save, []

    def slowly():
        """Save on a busy disk."""
        time.sleep(0.2)
        seen.append(session.busy)
        return keep()

    session._save = slowly
    session.start()
    while session.busy:
        time.sleep(0.001)
    assert session.status == "Done: 1 image." and all(seen)
