"""What tests of the data share: a file in the benchmark's format, and its real captions."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tvhelpers import flats
from tvhelpers.data import arrow_tables
from tvhelpers.data.example import write_g2
from tvhelpers.data.sources import open_source


@pytest.fixture(scope="session")
def real_captions(shared):
    """The 78,979 rows of the benchmark's language_original.mat, a source without images."""
    return open_source(shared / "data" / "deepfashion_annotations" / "language_original.mat")


@pytest.fixture(scope="session")
def pixels():
    """Flats, all different: uint8 (96, 128, 128, 3)."""
    return np.stack([flats.render(flats.random_spec(5, i), 5, i) for i in range(96)])


@pytest.fixture(scope="session")
def g2(pixels, tmp_path_factory):
    """Img/G2.h5 of `pixels`, as the benchmark has it."""
    folder, words = tmp_path_factory.mktemp("g2"), ["dress", "tee"] * 48
    return write_g2(folder, iter(pixels), ["a garment."] * 96, words, ["red"] * 96)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a function of a packaged name: the folder where its data is to lie."""
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "data"))

    def make(name):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        return folder

    return make


@pytest.fixture
def own_row(tmp_path, monkeypatch):
    """Return a function that puts the row `mine` into a manifest of its own."""

    def write(**row):
        row = {"kind": "images", "licence": "mine", "obtain": "manually", **row}
        (tmp_path / "tv.yaml").write_text(json.dumps({"mine": row}))
        monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "tv.yaml"))
        arrow_tables._group.cache_clear()

    return write


@pytest.fixture(scope="session")
def drawn():
    """Flats, uint8 (64, 128, 128, 3)."""
    return np.stack([flats.render(flats.random_spec(8, i), 8, i) for i in range(64)])


@pytest.fixture(scope="session")
def real(shared, tmp_path_factory):
    """Return (folder, true pixels) of 200 real photos in the benchmark's layout."""
    tool = shared / "tools" / "make_g2_fixture.py"
    out = tmp_path_factory.mktemp("real")
    command = [sys.executable, str(tool), str(out), "--count", "200", "--truth"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out, np.stack([np.asarray(Image.open(p)) for p in sorted((out / "truth").iterdir())])
