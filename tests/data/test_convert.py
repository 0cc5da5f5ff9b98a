"""Converted rows are correct, also after a kill; inputs that do not fit are refused."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.data import convert as module
from tvhelpers.data.convert import convert
from tvhelpers.data.example import write_g2
from tvhelpers.data.photos import Photos
from tvhelpers.data.sources import open_source

COUNT = 600


@pytest.fixture(scope="module")
def g2(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 128, 128, 3), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("g2")
    write_g2(folder, pixels, [f"tee {i}" for i in range(COUNT)], ["tee"] * COUNT, ["blue"] * COUNT)
    return folder, pixels


def digests(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def watch(monkeypatch):
    """Return a function that has `look(done)` called as a conversion goes; it returns a list."""

    def put(look):
        seen = []

        class Bar(contextlib.nullcontext):
            def __init__(self, what, total, done=0):
                super().__init__(self)
                self.done = done

            def update(self, count):
                self.done += count
                seen.append(self.done)
                look(self.done)

        monkeypatch.setattr(module, "progress_bar", Bar)
        return seen

    return put


def stop_at(count):
    def look(done):
        if done == count:
            raise KeyboardInterrupt

    return look


def test_rows_and_layout(g2, tmp_path, watch, caplog):
    folder, pixels = g2
    at = watch(lambda done: None)
    result = convert(folder, tmp_path / "out")
    assert result["items"] == COUNT and not result["was_done"]
    assert at[-1] == COUNT and len(caplog.messages) == 1
    with h5py.File(tmp_path / "out" / "pixels.h5") as file:
        assert file["pixels"].chunks == (1, 128, 128, 3) and file["pixels"].dtype == np.uint8
        assert np.array_equal(file["pixels"][:], pixels)
    rows = [
        json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    ]
    assert [row["index"] for row in rows] == list(range(COUNT))
    assert rows[5]["caption"] == "tee 5" and rows[5]["attributes"]["colour"] == "blue"
    assert rows[5]["split"] in ("train", "test") and rows[5]["product"]
    before = digests(tmp_path / "out")
    assert convert(folder, tmp_path / "out")["was_done"]
    assert digests(tmp_path / "out") == before
    with refused("another-request"):
        convert(folder, tmp_path / "out", size=64)


SLOW = """
import contextlib, sys, time
from tvhelpers.data import convert

class Bar(contextlib.nullcontext):
    def update(self, count):
        time.sleep(0.05)

convert.BYTES_BETWEEN_SYNCS = 64 * 128 * 128 * 3
convert.progress_bar = lambda *about, **more: Bar(Bar())
convert.convert(sys.argv[1], sys.argv[2])
"""


def test_killed_and_run_again_gives_the_same_bytes(g2, tmp_path, watch):
    folder, _ = g2
    convert(folder, tmp_path / "whole")
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(folder), str(out)])
    marker = out / ".progress.json"
    deadline = time.monotonic() + 30
    while not (marker.exists() and json.loads(marker.read_text()) >= 128):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "pixels.h5").exists()
    at = watch(lambda done: None)
    convert(folder, out)
    assert at[0] > 128  # it resumed, and did not start again
    assert digests(out) == digests(tmp_path / "whole")


def test_rows_half_written_are_written_again(g2, tmp_path, monkeypatch, watch):
    """A power cut after the last sync may leave any bytes in the rows after it."""
    folder, pixels = g2
    monkeypatch.setattr(module, "BYTES_BETWEEN_SYNCS", 64 * 128 * 128 * 3)
    watch(stop_at(256))
    with pytest.raises(KeyboardInterrupt):
        convert(folder, tmp_path)
    with h5py.File(tmp_path / ".pixels.h5.partial", "r+") as file:
        file["pixels"][256:] = np.full_like(pixels[256:], 77)
    convert(folder, tmp_path)
    with h5py.File(tmp_path / "pixels.h5") as file:
        assert np.array_equal(file["pixels"][:], pixels)


def test_the_first_items_alone(g2, tmp_path):
    g2, _ = g2
    done = convert(g2, tmp_path / "some", limit=3)
    source, some = open_source(g2), open_source(tmp_path / "some")
    assert done["items"] == 3 and some.captions == source.captions[:3]
    assert np.array_equal(some.pixels(2), source.pixels(2))
    with refused("another-request"):
        convert(g2, tmp_path / "some")
    with refused("out-of-range"):
        convert(g2, tmp_path / "none", limit=-5)


def test_a_folder_of_images_is_the_same_source(g2, tmp_path, watch):
    folder, pixels = g2
    before, out = open_source(folder), tmp_path / "out"
    watch(stop_at(20))
    with pytest.raises(KeyboardInterrupt):
        convert(folder, out, to="images")
    assert not (out / "metadata.jsonl").exists()
    first = (out / "000003.png").stat().st_mtime_ns
    convert(folder, out, to="images")
    assert (out / "000003.png").stat().st_mtime_ns == first
    after = open_source(out)
    assert np.array_equal(after.pixels(17), pixels[17])
    for name in ("captions", "product_ids", "attributes", "splits"):
        assert getattr(after, name) == getattr(before, name)
    with refused("another-request"):
        convert(folder, out)


def test_size_and_unequal_photos(tmp_path, monkeypatch):
    for i, shape in enumerate([(40, 30, 3), (30, 30, 3)]):
        Image.fromarray(np.full(shape, 90, np.uint8)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text("a tee")
    own = convert(tmp_path, tmp_path / "a")
    assert own["shape"] is None and open_source(tmp_path / "a").pixels(0).shape == (40, 30, 3)
    assert convert(tmp_path, tmp_path / "b", size=64, fit="pad")["shape"] == [2, 64, 64, 3]
    with refused("out-of-range"):
        convert(tmp_path, tmp_path / "c", size=0)
    monkeypatch.setattr(Photos, "size", lambda self, index: (9, 9))
    with refused("not-an-image"):
        convert(tmp_path, tmp_path / "d")


def mixed_photos(folder, count=150):
    """Write photos of several sizes, each with shades of its own."""
    for i in range(count):
        down, right = np.mgrid[: 40 + i % 3 * 20, :60]
        pixels = np.stack([2 * down, 3 * right, np.full_like(down, i)], -1)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(f"a tee {i}")


@pytest.mark.parametrize("to", ["h5", "images"])
def test_photos_keep_their_aspect(tmp_path, watch, to):
    (folder := tmp_path / "photos").mkdir()
    mixed_photos(folder)
    before, out = open_source(folder), tmp_path / "out"
    watch(stop_at(64))
    with pytest.raises(KeyboardInterrupt):
        convert(folder, out, size=48, to=to)
    watch(lambda done: None)
    convert(folder, out, size=48, to=to)
    with refused("another-request"):
        convert(folder, out, size=48, to=to, fit="pad")
    after = open_source(out)
    assert after.captions == before.captions
    # 48^2 pixels of 2:3, 1:1 and 4:3
    for i, shape in ((0, (39, 59)), (1, (48, 48)), (2, (55, 42)), (149, (55, 42))):
        photo = Image.fromarray(before.pixels(i))
        small = np.asarray(photo.resize(shape[::-1], Image.LANCZOS)).astype(int)
        assert after.size(i) == shape
        assert np.abs(after.pixels(i) - small).max() <= 4  # a rounded side crops a little


@pytest.mark.parametrize("size", [(9, 9), (-60, -60)])
def test_a_mixed_file_of_wrong_sizes_is_refused(tmp_path, size):
    mixed_photos(tmp_path, 4)
    convert(tmp_path, tmp_path / "out")
    with h5py.File(tmp_path / "out" / "pixels.h5", "a") as file:
        file["sizes"][1] = size
    with refused("file-damaged"):
        open_source(tmp_path / "out")


def test_without_annotations_or_mean_image(g2, tmp_path):
    with h5py.File(g2[0] / "Img" / "G2.h5") as file:
        ih, mean = file["ih"][:20], file["ih_mean"][:]
    for name, extra in {"whole": {"ih_mean": mean}, "bare": {}}.items():
        (tmp_path / name).mkdir()
        with h5py.File(tmp_path / name / "G2.h5", "w") as file:
            for key, values in {"ih": ih, **extra}.items():
                file[key] = values
    with pytest.warns(UserWarning, match="captions are empty"):
        convert(tmp_path / "whole" / "G2.h5", tmp_path / "out")
    row = json.loads((tmp_path / "out" / "items.jsonl").read_text().splitlines()[0])
    assert (row["caption"], row["split"]) == ("", "")
    with refused("mean-missing"):
        convert(tmp_path / "bare", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_other_files_are_left_alone(g2, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with refused("folder-taken"):
        convert(g2[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_captions_with_line_separators_are_read_again(tmp_path):
    texts = ["red\u2028dress", "a tee\x85", "blue\x0bcoat"]
    pixels = np.zeros((3, 128, 128, 3), np.uint8)
    write_g2(tmp_path / "g2", pixels, texts, ["tee"] * 3, ["blue"] * 3)
    old = open_source(tmp_path / "g2")
    convert(tmp_path / "g2", tmp_path / "h5")
    assert open_source(tmp_path / "h5").captions == old.captions
    assert any("\u2028" in text for text in old.captions)
