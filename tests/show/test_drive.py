"""What a notebook takes from a Drive: the files that are read, no more bytes than needed."""

import shutil

import pytest

from tests.helpers import refused
from tvhelpers import manifest
from tvhelpers.data import copy_files as copying
from tvhelpers.data import h5 as stored
from tvhelpers.data.convert import spread_products
from tvhelpers.data.example import find_or_write_g2
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.show import drive


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in the benchmark's layout, with 60 images."""
    return find_or_write_g2(tmp_path_factory.mktemp("made"), 60).parents[1]


@pytest.fixture
def benchmark(colab, monkeypatch, made):
    """The benchmark's folder on the Drive, with 60 images."""
    monkeypatch.setenv("TV_DATA_DIR", "")
    monkeypatch.setattr(copying, "WAITS", (0, 0))
    monkeypatch.setattr(drive, "WAITS", (0, 0))
    monkeypatch.setattr(drive, "SAMPLE", 24)
    colab.mount(colab.mountpoint)
    folder = colab.drive_dir / "textile-vision" / "data" / "fashion-synthesis"
    shutil.copytree(made, folder)
    (folder / "Img" / "img_highres.zip").write_bytes(b"PK")  # no reader asks for it
    return folder


def test_a_path_of_the_file_brings_captions_and_split(benchmark, colab):
    wanted = open_source(benchmark)
    found = drive.local_data(str(benchmark / "Img" / "G2.h5"))
    assert found.startswith(str(colab.work)) and found.endswith("Img/G2.h5")
    source = open_source(found)
    assert (source.captions, source.splits) == (wanted.captions, wanted.splits)
    assert drive.local_data("auto") == "auto"  # the folder by its name
    assert not (manifest.local_path("fashion-synthesis") / "Img" / "img_highres.zip").exists()


def test_a_large_file_is_decoded_kept_on_the_drive_and_found_by_the_next_machine(
    benchmark, colab, monkeypatch, capsys
):
    monkeypatch.setattr(drive, "LARGE", 0)
    wanted = open_source(benchmark)
    assert drive.local_data("fashion-synthesis") == "fashion-synthesis"
    assert "24 of 60 images are taken" in capsys.readouterr().out
    here = open_source("fashion-synthesis")
    assert 20 <= len(here) <= 28
    assert not (colab.work / "data" / "fashion-synthesis" / "Img").exists()
    rows = [wanted.item_ids.index(name) for name in here.item_ids]
    assert [wanted.captions[i] for i in rows] == here.captions
    assert (wanted.pixels(rows[-1]) == here.pixels(len(here) - 1)).all()
    products = {wanted.product_ids[i] for i in rows}
    assert sum(name in products for name in wanted.product_ids) == len(rows)  # whole ones

    shutil.rmtree(colab.work)  # the next machine
    monkeypatch.setattr(drive, "convert", None)
    for _ in range(2):
        drive.local_data("fashion-synthesis")
        assert open_source("fashion-synthesis").fingerprint == here.fingerprint
    assert drive.original("auto") is None  # results are not on the Drive
    monkeypatch.setenv("TV_ROOT", str(benchmark.parents[1]))
    assert drive.original("auto") == benchmark and drive.original("mine") is None


def test_a_conversion_from_a_drive_that_fails_goes_on(benchmark, colab, monkeypatch):
    monkeypatch.setattr(drive, "LARGE", 0)
    read, calls = stored.StoredImages.get, []

    def fails(self, index):
        calls.append(index)
        if len(calls) in (4, 20):
            raise InputError("file-damaged.part", path=self.path, name="ih", error="errno = 5")
        return read(self, index)

    monkeypatch.setattr(stored.StoredImages, "get", fails)
    drive.local_data("fashion-synthesis")
    assert len(calls) > 24 and len(open_source("fashion-synthesis")) >= 20


def test_a_drive_without_room_loses_nothing(benchmark, colab, monkeypatch, capsys):
    monkeypatch.setattr(drive, "LARGE", 0)
    colab.free = 1000
    drive.local_data("fashion-synthesis")
    assert "not kept on the Drive" in capsys.readouterr().out
    assert len(open_source("fashion-synthesis")) >= 20
    monkeypatch.setattr(drive, "LARGE", 1 << 40)
    shutil.rmtree(colab.work)
    with refused("disk-full"):  # copied whole, that needs this machine's disk
        drive.local_data("fashion-synthesis")


def test_a_sample_comes_from_all_parts(benchmark):
    source = open_source(benchmark)
    found = spread_products(source, 20)
    assert 20 <= len(found) <= 23 and found[0] < 10 and found[-1] > 45
    assert spread_products(source, 60) == list(range(60))


def test_a_gallery_on_a_drive_is_one_file_and_resumes_on_the_next_machine(colab, capsys):
    root, local = colab.mountpoint / "MyDrive" / "textile-vision" / "runs", colab.work / "runs"
    colab.mount(colab.mountpoint)

    def draw(names):
        with drive.gallery(root / "eval", local) as here:
            here.mkdir(parents=True, exist_ok=True)
            for name in names:
                assert not (here / name).exists()
                (here / name).write_bytes(name.encode())
            raise KeyboardInterrupt

    for names in (["a.png", "b.png"], ["c.png"]):
        with pytest.raises(KeyboardInterrupt):
            draw(names)
        shutil.rmtree(local)
    assert [path.name for path in root.iterdir()] == ["eval.zip"]
    with drive.gallery(root / "eval", local) as here:
        assert sorted(path.name for path in here.iterdir()) == ["a.png", "b.png", "c.png"]
        colab.connected = False
    assert "cannot be written" in capsys.readouterr().out and (here / "c.png").exists()
    colab.connected = True
    (root / "old").mkdir()  # drawn by an older version
    with drive.gallery(root / "old", local) as here:
        assert here == root / "old"
    with drive.gallery(local / "eval", local) as here:  # no Drive is used
        assert here == local / "eval"


def test_trainings_that_would_fill_the_drive_stay_here(colab, tmp_path, capsys):
    assert drive.mirror_if_room(None, tmp_path, 1e9) == {}
    assert drive.mirror_if_room(tmp_path, tmp_path, 0) == {}
    colab.free = 5_000_000_000
    assert drive.mirror_if_room(tmp_path, tmp_path, 40) == {"mirror": ""}
    assert "40 GB are needed and 5 are free" in capsys.readouterr().out
